// What a program on github.com/rabbitmq/amqp091-go relies on, against a running broker.
//
//	program URL          every scenario: a line "ok NAME" or "FAIL NAME: why" each; exit code 1 if any failed
//	program URL recover  prints "connected", survives a restart of the broker, prints "recovered"
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const patience = 20 * time.Second

// scenario works on a connection and a channel of its own; any panic is its failure.
type scenario struct {
	name string
	run  func(*amqp.Connection, *amqp.Channel)
}

var scenarios = []scenario{
	{"declares every kind of exchange and queue", declares},
	{"is told 404 and 406 on the channel only", channelErrors},
	{"routes over bindings between exchanges", exchangeToExchange},
	{"routes by headers", headersExchange},
	{"gets every publish confirmed", confirms},
	{"gets what has no route back, before its confirm", mandatory},
	{"holds to its prefetch", prefetch},
	{"requeues to the original place", requeue},
	{"gets single messages", gets},
	{"gets every type of header back", headerTypes},
	{"gets every property back", properties},
	{"hears of a consumer's cancellation", cancelNotice},
	{"moves a message of many frames", bigMessage},
	{"uses many channels at once", manyChannels},
}

func main() {
	url := os.Args[1]
	if len(os.Args) > 2 {
		recoverFromRestart(url)
		return
	}
	failed := 0
	for _, each := range scenarios {
		if why := outcome(url, each.run); why != nil {
			failed = 1
			fmt.Printf("FAIL %s: %v\n", each.name, why)
		} else {
			fmt.Printf("ok %s\n", each.name)
		}
	}
	os.Exit(failed)
}

func outcome(url string, run func(*amqp.Connection, *amqp.Channel)) (why any) {
	connection := value(amqp.Dial(url))
	defer connection.Close()
	defer func() { why = recover() }()
	run(connection, value(connection.Channel()))
	return nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func value[T any](it T, err error) T {
	must(err)
	return it
}

func check(holds bool, format string, values ...any) {
	if !holds {
		panic(fmt.Sprintf(format, values...))
	}
}

// next is the channel's next value; a channel that closes or stays silent is a failure.
func next[T any](values <-chan T, what string) T {
	select {
	case got, open := <-values:
		check(open, "%s: closed", what)
		return got
	case <-time.After(patience):
		panic(what + ": nothing came")
	}
}

func bounded() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	time.AfterFunc(patience, cancel)
	return ctx
}

func publish(channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	must(channel.PublishWithContext(bounded(), exchange, key, false, false, message))
}

// ownQueue is a queue that goes with the connection; the server names it.
func ownQueue(channel *amqp.Channel) string {
	return value(channel.QueueDeclare("", false, false, true, false, nil)).Name
}

// numbered publishes the bodies "0" to "count-1" to the queue.
func numbered(channel *amqp.Channel, queue string, count int) {
	for i := range count {
		publish(channel, "", queue, amqp.Publishing{Body: fmt.Appendf(nil, "%d", i)})
	}
}
