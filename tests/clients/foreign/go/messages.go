package main

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func confirms(connection *amqp.Connection, channel *amqp.Channel) {
	queue := "t-confirms-" + ownQueue(channel)[4:]
	value(channel.QueueDeclare(queue, true, false, false, false, nil))
	must(channel.Confirm(false))
	const count = 1000
	waiting := make([]*amqp.DeferredConfirmation, 0, count)
	for i := range count {
		message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: fmt.Appendf(nil, "%d", i)}
		deferred := value(channel.PublishWithDeferredConfirmWithContext(bounded(), "", queue, false, false, message))
		waiting = append(waiting, deferred)
	}
	for i, each := range waiting {
		check(value(each.WaitContext(bounded())), "publish %d was not acked", i)
		check(each.DeliveryTag == uint64(i+1), "tag %d for publish %d", each.DeliveryTag, i)
	}
	check(value(channel.QueueDelete(queue, false, false, false)) == count, "not all are there")
}

func mandatory(connection *amqp.Connection, channel *amqp.Channel) {
	must(channel.Confirm(false))
	order := make(chan string, 2)
	returns := channel.NotifyReturn(make(chan amqp.Return)) // unbuffered: the reader of frames waits for its taker
	confirmed := channel.NotifyPublish(make(chan amqp.Confirmation))
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case each := <-returns:
				order <- fmt.Sprintf("%d %s %s %s", each.ReplyCode, each.ReplyText, each.RoutingKey, each.Body)
			case each := <-confirmed:
				order <- fmt.Sprintf("ack=%v %d", each.Ack, each.DeliveryTag)
			case <-done:
				return
			}
		}
	}()
	must(channel.PublishWithContext(bounded(), "amq.direct", "nobody", true, false, amqp.Publishing{Body: []byte("back")}))
	for _, expected := range []string{"312 NO_ROUTE nobody back", "ack=true 1"} {
		got := next(order, expected)
		check(got == expected, "expected %q, got %q", expected, got)
	}
}

func prefetch(connection *amqp.Connection, channel *amqp.Channel) {
	queue := ownQueue(channel)
	numbered(channel, queue, 30)
	must(channel.Qos(10, 0, false))
	deliveries := value(channel.Consume(queue, "mine", false, false, false, false, nil))
	for held := 10; held <= 30; held += 10 {
		var last amqp.Delivery
		for range 10 {
			last = next(deliveries, "a delivery within the prefetch")
		}
		check(last.DeliveryTag == uint64(held), "delivery tag %d", last.DeliveryTag)
		state := value(channel.QueueDeclarePassive(queue, false, false, true, false, nil))
		check(state.Messages == 30-held && state.Consumers == 1, "with %d held: %+v", held, state)
		must(last.Ack(true))
	}
	must(channel.Cancel("mine", false))
	_, open := <-deliveries
	check(!open, "a delivery after cancel-ok")
}

func requeue(connection *amqp.Connection, channel *amqp.Channel) {
	queue := ownQueue(channel)
	numbered(channel, queue, 5)
	deliveries := value(channel.Consume(queue, "first", false, false, false, false, nil))
	held := make([]amqp.Delivery, 5)
	for i := range held {
		held[i] = next(deliveries, "a first delivery")
		check(!held[i].Redelivered, "redelivered on the first delivery")
	}
	must(channel.Cancel("first", false))
	must(held[3].Nack(false, true))
	must(held[1].Reject(true))
	must(held[0].Nack(false, false))
	must(held[2].Ack(false))
	must(channel.Nack(0, true, true)) // all that is left: 4
	for _, expected := range []string{"1", "3", "4"} {
		got, there, err := channel.Get(queue, true)
		must(err)
		check(there && string(got.Body) == expected && got.Redelivered, "expected %s again, got %+v", expected, got)
	}
}

func gets(connection *amqp.Connection, channel *amqp.Channel) {
	queue := ownQueue(channel)
	_, there, err := channel.Get(queue, false)
	must(err)
	check(!there, "got from an empty queue")
	numbered(channel, queue, 3)
	for left := 2; left >= 0; left-- {
		got, there, err := channel.Get(queue, false)
		must(err)
		check(there && got.MessageCount == uint32(left), "%+v", got)
		must(got.Ack(false))
	}
}

func headerTypes(connection *amqp.Connection, channel *amqp.Channel) {
	queue, when := ownQueue(channel), time.Unix(4102444800, 0)
	sent := amqp.Table{
		"t": true, "B": byte(200), "b": int8(-3), "s": int16(-300), "u": uint16(65000), "I": int32(-70000), "i": uint32(4e9),
		"l": int64(-1 << 60), "f": float32(0.5), "d": 2.25, "D": amqp.Decimal{Scale: 2, Value: 12345}, "S": "text é",
		"x": []byte{0, 255}, "A": []any{int32(1), "two", []any{false}, amqp.Table{"in": "array"}}, "T": when, "V": nil,
		"F": amqp.Table{"nested": amqp.Table{"deeper": int64(1)}, "empty": amqp.Table{}},
	}
	publish(channel, "", queue, amqp.Publishing{Headers: sent})
	got, _, err := channel.Get(queue, true)
	must(err)
	for key, expected := range sent {
		actual, there := got.Headers[key]
		same := reflect.DeepEqual(actual, expected)
		if at, isTime := actual.(time.Time); isTime {
			same = at.Equal(when)
		}
		check(there && same, "%s: sent %#v, got %#v", key, expected, actual)
	}
	check(len(got.Headers) == len(sent), "%d headers", len(got.Headers))
}

func properties(connection *amqp.Connection, channel *amqp.Channel) {
	queue := ownQueue(channel)
	sent := amqp.Publishing{
		Headers: amqp.Table{"h": "1"}, ContentType: "text/plain", ContentEncoding: "utf-8", DeliveryMode: 2, Priority: 7,
		CorrelationId: "corr", ReplyTo: "answers", Expiration: "60000", MessageId: "id-1", Timestamp: time.Unix(1700000000, 0),
		Type: "kind", UserId: "guest", AppId: "app", Body: []byte{},
	}
	publish(channel, "", queue, sent)
	got, _, err := channel.Get(queue, true)
	must(err)
	back := amqp.Publishing{
		Headers: got.Headers, ContentType: got.ContentType, ContentEncoding: got.ContentEncoding,
		DeliveryMode: got.DeliveryMode, Priority: got.Priority, CorrelationId: got.CorrelationId, ReplyTo: got.ReplyTo,
		Expiration: got.Expiration, MessageId: got.MessageId, Timestamp: got.Timestamp, Type: got.Type, UserId: got.UserId,
		AppId: got.AppId, Body: append([]byte{}, got.Body...),
	}
	check(back.Timestamp.Equal(sent.Timestamp), "timestamp %v", back.Timestamp)
	back.Timestamp = sent.Timestamp
	check(reflect.DeepEqual(back, sent), "sent %+v, got %+v", sent, back)
}

func cancelNotice(connection *amqp.Connection, channel *amqp.Channel) {
	queue := ownQueue(channel)
	cancelled := channel.NotifyCancel(make(chan string, 1))
	deliveries := value(channel.Consume(queue, "doomed", false, false, false, false, nil))
	value(value(connection.Channel()).QueueDelete(queue, false, false, false))
	tag := next(cancelled, "basic.cancel")
	check(tag == "doomed", "cancelled %s", tag)
	_, open := <-deliveries
	check(!open, "a delivery of a deleted queue")
	ownQueue(channel) // the channel goes on
}

func bigMessage(connection *amqp.Connection, channel *amqp.Channel) {
	queue := ownQueue(channel)
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	publish(channel, "", queue, amqp.Publishing{Body: body})
	numbered(channel, queue, 1)
	deliveries := value(channel.Consume(queue, "", true, false, false, false, nil))
	check(bytes.Equal(next(deliveries, "the big one").Body, body), "another body came back")
	check(string(next(deliveries, "the small one").Body) == "0", "another small body came back")
}

func manyChannels(connection *amqp.Connection, _ *amqp.Channel) {
	const count = 200
	failures := make(chan any, count)
	var all sync.WaitGroup
	for range count {
		all.Add(1)
		go func() {
			defer all.Done()
			defer func() { failures <- recover() }()
			channel := value(connection.Channel())
			defer channel.Close()
			queue := ownQueue(channel)
			deliveries := value(channel.Consume(queue, "", true, false, false, false, nil))
			numbered(channel, queue, 10)
			for i := range 10 {
				got := string(next(deliveries, "a delivery").Body)
				check(got == fmt.Sprint(i), "expected %d, got %s", i, got)
			}
		}()
	}
	all.Wait()
	for range count {
		why := <-failures
		check(why == nil, "%v", why)
	}
}
