// What a RocketMQ tutorial does, with the Go client: each scenario prints one line, "ok NAME" or "failed NAME: why".
// Argument: the name server's address.
package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const patience = 90 * time.Second

var servers primitive.NsResolver

type scenario struct {
	name string
	run  func(topic string) error
}

func main() {
	rlog.SetLogLevel("fatal")
	servers = primitive.NewPassthroughResolver([]string{os.Args[1]})
	all := []scenario{
		{"sync-async-oneway", waysToSend}, {"tags", tags}, {"ordered", ordered}, {"delay", delay},
		{"retry", retry}, {"broadcast", broadcast}, {"transaction", transaction},
	}
	var ended sync.WaitGroup
	for _, each := range all {
		ended.Add(1)
		go func(one scenario) {
			defer ended.Done()
			if err := one.run("go-" + one.name); err != nil {
				fmt.Printf("failed %s: %v\n", one.name, err)
			} else {
				fmt.Println("ok", one.name)
			}
		}(each)
	}
	ended.Wait()
}

func newProducer(name string) (rocketmq.Producer, error) {
	made, err := rocketmq.NewProducer(producer.WithNsResolver(servers), producer.WithGroupName(name+"-producers"),
		producer.WithInstanceName(name), producer.WithSendMsgTimeout(20*time.Second))
	if err != nil {
		return nil, err
	}
	return made, made.Start()
}

// What a consumer got: bodies in their order, and how long after their birth.
type seen struct {
	sync.Mutex
	bodies []string
	ages   []time.Duration
}

func (s *seen) add(messages []*primitive.MessageExt) {
	s.Lock()
	defer s.Unlock()
	for _, each := range messages {
		s.bodies = append(s.bodies, string(each.Body))
		s.ages = append(s.ages, time.Since(time.UnixMilli(each.BornTimestamp)))
	}
}

// Waits until it has exactly these, in any order or in this one.
func (s *seen) await(inOrder bool, wanted ...string) error {
	end := time.Now().Add(patience)
	for {
		s.Lock()
		got := append([]string{}, s.bodies...)
		s.Unlock()
		if len(got) >= len(wanted) || time.Now().After(end) {
			if !inOrder {
				sort.Strings(got)
				sort.Strings(wanted)
			}
			if !reflect.DeepEqual(got, wanted) {
				return fmt.Errorf("got %v, not %v", got, wanted)
			}
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func consume(topic, instance string, selector consumer.MessageSelector,
	listener func(...*primitive.MessageExt) consumer.ConsumeResult, options ...consumer.Option) (rocketmq.PushConsumer, error) {
	options = append(options, consumer.WithNsResolver(servers), consumer.WithGroupName(topic+"-consumers"),
		consumer.WithInstance(instance), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	made, err := rocketmq.NewPushConsumer(options...)
	if err != nil {
		return nil, err
	}
	err = made.Subscribe(topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		return listener(messages...), nil
	})
	if err != nil {
		return nil, err
	}
	return made, made.Start()
}

func (s *seen) listen(messages ...*primitive.MessageExt) consumer.ConsumeResult {
	s.add(messages)
	return consumer.ConsumeSuccess
}

func waysToSend(topic string) error {
	sender, err := newProducer(topic)
	if err != nil {
		return err
	}
	defer sender.Shutdown()
	ctx := context.Background()
	result, err := sender.SendSync(ctx, primitive.NewMessage(topic, []byte("sync")))
	if err != nil {
		return err
	}
	if result.Status != primitive.SendOK || result.MsgID == "" || result.OffsetMsgID == "" {
		return fmt.Errorf("sent: %v", result)
	}
	answered := make(chan error, 1)
	err = sender.SendAsync(ctx, func(_ context.Context, _ *primitive.SendResult, err error) { answered <- err },
		primitive.NewMessage(topic, []byte("async")))
	if err != nil {
		return err
	}
	if err = <-answered; err != nil {
		return err
	}
	if err = sender.SendOneWay(ctx, primitive.NewMessage(topic, []byte("oneway"))); err != nil {
		return err
	}
	_, err = sender.SendSync(ctx, primitive.NewMessage(topic, []byte("batch-1")), primitive.NewMessage(topic, []byte("batch-2")))
	if err != nil {
		return err
	}
	if _, err = sender.SendSync(ctx, primitive.NewMessage(topic, []byte(strings.Repeat("large ", 20000)))); err != nil {
		return err
	}
	var got seen
	reader, err := consume(topic, topic, consumer.MessageSelector{}, got.listen)
	if err != nil {
		return err
	}
	defer reader.Shutdown()
	return got.await(false, "sync", "async", "oneway", "batch-1", "batch-2", strings.Repeat("large ", 20000))
}

func tags(topic string) error {
	sender, err := newProducer(topic)
	if err != nil {
		return err
	}
	defer sender.Shutdown()
	for _, tag := range []string{"a", "b", "c"} {
		message := primitive.NewMessage(topic, []byte(tag)).WithTag(tag).WithKeys([]string{"k", tag})
		if _, err = sender.SendSync(context.Background(), message); err != nil {
			return err
		}
	}
	var got seen
	reader, err := consume(topic, topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "a || c"}, got.listen)
	if err != nil {
		return err
	}
	defer reader.Shutdown()
	return got.await(false, "a", "c")
}

func ordered(topic string) error {
	sender, err := rocketmq.NewProducer(producer.WithNsResolver(servers), producer.WithInstanceName(topic),
		producer.WithQueueSelector(producer.NewHashQueueSelector()), producer.WithSendMsgTimeout(20*time.Second))
	if err != nil {
		return err
	}
	if err = sender.Start(); err != nil {
		return err
	}
	defer sender.Shutdown()
	wanted := make([]string, 20)
	for i := range wanted {
		wanted[i] = fmt.Sprintf("step %02d", i)
		message := primitive.NewMessage(topic, []byte(wanted[i])).WithShardingKey("order-1")
		if _, err = sender.SendSync(context.Background(), message); err != nil {
			return err
		}
	}
	var got seen
	refused := false
	once := func(messages ...*primitive.MessageExt) consumer.ConsumeResult {
		if string(messages[0].Body) == wanted[3] && !refused {
			refused = true
			return consumer.SuspendCurrentQueueAMoment
		}
		return got.listen(messages...)
	}
	reader, err := consume(topic, topic, consumer.MessageSelector{}, once, consumer.WithConsumerOrder(true),
		consumer.WithConsumeMessageBatchMaxSize(1))
	if err != nil {
		return err
	}
	defer reader.Shutdown()
	if err = got.await(true, wanted...); err == nil && !refused {
		return fmt.Errorf("nothing was refused")
	}
	return err
}

func delay(topic string) error {
	sender, err := newProducer(topic)
	if err != nil {
		return err
	}
	defer sender.Shutdown()
	message := primitive.NewMessage(topic, []byte("late"))
	message.WithDelayTimeLevel(2) // 5 seconds
	if _, err = sender.SendSync(context.Background(), message); err != nil {
		return err
	}
	var got seen
	reader, err := consume(topic, topic, consumer.MessageSelector{}, got.listen)
	if err != nil {
		return err
	}
	defer reader.Shutdown()
	if err = got.await(true, "late"); err == nil && got.ages[0] < 4900*time.Millisecond {
		return fmt.Errorf("it came after %v", got.ages[0])
	}
	return err
}

func retry(topic string) error {
	sender, err := newProducer(topic)
	if err != nil {
		return err
	}
	defer sender.Shutdown()
	if _, err = sender.SendSync(context.Background(), primitive.NewMessage(topic, []byte("again"))); err != nil {
		return err
	}
	var got seen
	var times []int32
	listener := func(messages ...*primitive.MessageExt) consumer.ConsumeResult {
		got.Lock()
		times = append(times, messages[0].ReconsumeTimes)
		got.Unlock()
		if messages[0].ReconsumeTimes == 0 {
			return consumer.ConsumeRetryLater
		}
		return got.listen(messages...)
	}
	reader, err := consume(topic, topic, consumer.MessageSelector{}, listener)
	if err != nil {
		return err
	}
	defer reader.Shutdown()
	if err = got.await(true, "again"); err == nil && !reflect.DeepEqual(times, []int32{0, 1}) {
		return fmt.Errorf("reconsumed %v", times)
	}
	return err
}

func broadcast(topic string) error {
	sender, err := newProducer(topic)
	if err != nil {
		return err
	}
	defer sender.Shutdown()
	if _, err = sender.SendSync(context.Background(), primitive.NewMessage(topic, []byte("to all"))); err != nil {
		return err
	}
	both := [2]seen{}
	for i := range both {
		reader, err := consume(topic, fmt.Sprintf("%s-%d", topic, i), consumer.MessageSelector{}, both[i].listen,
			consumer.WithConsumerModel(consumer.BroadCasting))
		if err != nil {
			return err
		}
		defer reader.Shutdown()
	}
	for i := range both {
		if err = both[i].await(true, "to all"); err != nil {
			return err
		}
	}
	return nil
}

// What a database would know of each message's transaction.
type database struct{ asked sync.Map }

func (d *database) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	switch string(message.Body) {
	case "commit":
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (d *database) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	d.asked.Store(string(message.Body), message.TransactionId)
	if string(message.Body) == "asked commit" {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func transaction(topic string) error {
	plain, err := newProducer(topic)
	if err != nil {
		return err
	}
	defer plain.Shutdown()
	if _, err = plain.SendSync(context.Background(), primitive.NewMessage(topic, []byte("plain"))); err != nil {
		return err
	}
	known := &database{}
	sender, err := rocketmq.NewTransactionProducer(known, producer.WithNsResolver(servers),
		producer.WithGroupName(topic+"-group"), producer.WithInstanceName(topic+"-t"), producer.WithSendMsgTimeout(20*time.Second))
	if err != nil {
		return err
	}
	if err = sender.Start(); err != nil {
		return err
	}
	defer sender.Shutdown()
	for _, body := range []string{"commit", "rollback", "asked commit", "asked rollback"} {
		if _, err = sender.SendMessageInTransaction(context.Background(), primitive.NewMessage(topic, []byte(body))); err != nil {
			return err
		}
	}
	var got seen
	reader, err := consume(topic, topic, consumer.MessageSelector{}, got.listen)
	if err != nil {
		return err
	}
	defer reader.Shutdown()
	if err = got.await(false, "plain", "commit", "asked commit"); err != nil {
		return err
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if _, asked := known.asked.Load("asked rollback"); asked {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("what became of the other was not asked")
		}
	}
}
