package main

import (
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// recoverFromRestart leaves everything to the client's automatic recovery: a durable queue with a confirmed message, an
// exclusive queue that a server named, a binding, and a consumer on each must be there again after a restart.
func recoverFromRestart(url string) {
	retries := &amqp.ReconnectionConfig{MaxRetryCount: 200, RetryInterval: 100 * time.Millisecond}
	connection := value(amqp.DialConfig(url, amqp.Config{Recovery: &amqp.Recovery{ReconnectionConfig: retries}}))
	states := make(chan *amqp.StateChanged, 100)
	connection.NotifyStateChange(states)
	channel := value(connection.Channel())
	queue := "t-recovery-" + ownQueue(channel)[4:]
	value(channel.QueueDeclare(queue, true, false, false, false, nil))
	must(channel.ExchangeDeclare(queue, "topic", false, true, false, false, nil))
	must(channel.Confirm(false))
	kept := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("kept")}
	check(value(value(channel.PublishWithDeferredConfirmWithContext(bounded(), "", queue, false, false, kept)).WaitContext(bounded())),
		"not confirmed")
	own := ownQueue(channel)
	must(channel.QueueBind(own, "k.#", queue, false, nil))
	deliveries := value(channel.Consume(own, "", true, true, false, false, nil))
	publish(channel, queue, "k.1", amqp.Publishing{Body: []byte("before")})
	check(string(next(deliveries, "before").Body) == "before", "another body before")

	fmt.Println("connected")
	for state := next(states, "a change of state"); state.From != amqp.StateReconnecting || state.To != amqp.StateOpen; {
		state = next(states, "a change of state")
	}
	publish(channel, queue, "k.2", amqp.Publishing{Body: []byte("after")})
	check(string(next(deliveries, "after").Body) == "after", "another body after")
	again := value(channel.Consume(queue, "", false, false, false, false, nil))
	got := next(again, "kept")
	check(string(got.Body) == "kept", "another body was kept")
	must(got.Ack(false))
	value(channel.QueueDelete(queue, false, false, false))
	must(connection.Close())
	fmt.Println("recovered")
}
