package main

import (
	"errors"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

func declares(connection *amqp.Connection, channel *amqp.Channel) {
	prefix := ownQueue(channel) + "."
	check(strings.HasPrefix(prefix, "amq.gen-"), "the server named a queue %s", prefix)
	prefix = "t-" + prefix[len("amq."):]
	for _, kind := range []string{"direct", "fanout", "topic", "headers"} {
		for _, durable := range []bool{true, false} {
			name := prefix + kind
			must(channel.ExchangeDeclare(name, kind, durable, false, false, false, nil))
			must(channel.ExchangeDeclare(name, kind, durable, false, false, true, nil)) // no-wait
			must(channel.ExchangeDeclarePassive(name, kind, durable, false, false, false, nil))
			must(channel.ExchangeDelete(name, true, false))
		}
	}
	for _, kind := range []struct{ durable, autoDelete, exclusive bool }{
		{true, false, false}, {false, true, false}, {false, false, true}, {true, true, false},
	} {
		name := prefix + "queue"
		arguments := amqp.Table{"x-message-ttl": int32(60000), "x-expires": int64(600000), "x-unknown": "kept"}
		queue := value(channel.QueueDeclare(name, kind.durable, kind.autoDelete, kind.exclusive, false, arguments))
		check(queue.Name == name && queue.Messages == 0 && queue.Consumers == 0, "declared %+v", queue)
		publish(channel, "", name, amqp.Publishing{Body: []byte("x")})
		passive := value(channel.QueueDeclarePassive(name, kind.durable, kind.autoDelete, kind.exclusive, false, arguments))
		check(passive.Messages == 1, "messages: %d", passive.Messages)
		check(value(channel.QueuePurge(name, false)) == 1, "purged another number than 1")
		check(value(channel.QueueDelete(name, true, true, false)) == 0, "deleted with messages")
	}
}

// refusal runs one method on a channel of its own and is the broker's answer.
func refusal(connection *amqp.Connection, method func(*amqp.Channel) error) *amqp.Error {
	channel := value(connection.Channel())
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	err := method(channel)
	var answer *amqp.Error
	check(errors.As(err, &answer), "expected a refusal, got %v", err)
	check(next(closed, "the end of the channel").Code == answer.Code, "the channel's end has another code")
	return answer
}

func channelErrors(connection *amqp.Connection, channel *amqp.Channel) {
	queue := ownQueue(channel)
	missing := refusal(connection, func(other *amqp.Channel) error {
		_, err := other.QueueDeclarePassive(queue+"-none", false, false, false, false, nil)
		return err
	})
	text := "NOT_FOUND - no queue '" + queue + "-none' in vhost '/'"
	check(missing.Code == amqp.NotFound && missing.Reason == text && missing.Server, "%+v", missing)
	unequal := refusal(connection, func(other *amqp.Channel) error {
		_, err := other.QueueDeclare(queue, false, true, true, false, nil)
		return err
	})
	text = "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue '" + queue +
		"' in vhost '/': received 'true' but current is 'false'"
	check(unequal.Code == amqp.PreconditionFailed && unequal.Reason == text, "%+v", unequal)
	reserved := refusal(connection, func(other *amqp.Channel) error {
		return other.ExchangeDeclare("amq.mine", "direct", false, false, false, false, nil)
	})
	check(reserved.Code == amqp.AccessRefused, "%+v", reserved)
	value(channel.QueueDeclarePassive(queue, false, false, true, false, nil)) // the other channels go on
}

func exchangeToExchange(connection *amqp.Connection, channel *amqp.Channel) {
	queue := ownQueue(channel)
	source, target := "t-source-"+queue[4:], "t-target-"+queue[4:]
	must(channel.ExchangeDeclare(source, "topic", false, true, false, false, nil))
	must(channel.ExchangeDeclare(target, "direct", false, true, false, false, nil))
	must(channel.ExchangeBind(target, "a.#", source, false, nil))
	must(channel.QueueBind(queue, "a.b", target, false, nil))
	must(channel.QueueBind(queue, "*.b", source, false, nil))
	for _, key := range []string{"a.b", "a.c", "c.b", "c.c"} {
		publish(channel, source, key, amqp.Publishing{Body: []byte(key)})
	}
	deliveries := value(channel.Consume(queue, "", true, true, false, false, nil))
	for _, expected := range []string{"a.b", "c.b"} { // a.b once, though two ways lead there
		got := string(next(deliveries, expected).Body)
		check(got == expected, "expected %s, got %s", expected, got)
	}
	must(channel.ExchangeUnbind(target, "a.#", source, false, nil))
	must(channel.QueueUnbind(queue, "*.b", source, nil))
	err := channel.ExchangeDeclarePassive(source, "topic", false, true, false, false, nil)
	var gone *amqp.Error
	check(errors.As(err, &gone) && gone.Code == amqp.NotFound, "auto-delete: its last binding went, it stayed: %v", err)
}

func headersExchange(connection *amqp.Connection, channel *amqp.Channel) {
	all, any := ownQueue(channel), ownQueue(channel)
	exchange := "t-headers-" + all[4:]
	must(channel.ExchangeDeclare(exchange, "headers", false, true, false, false, nil))
	must(channel.QueueBind(all, "", exchange, false, amqp.Table{"x-match": "all", "a": int32(1), "b": "two"}))
	must(channel.QueueBind(any, "", exchange, false, amqp.Table{"x-match": "any", "a": int64(1), "b": "two"}))
	for _, headers := range []amqp.Table{
		{"a": int64(1), "b": "two", "c": true}, {"a": int8(1)}, {"b": "two"}, {"a": "1"}, {},
	} {
		publish(channel, exchange, "", amqp.Publishing{Headers: headers})
	}
	counts := [2]int{}
	for i, queue := range []string{all, any} {
		counts[i] = value(channel.QueueDeclarePassive(queue, false, false, true, false, nil)).Messages
	}
	check(counts == [2]int{1, 3}, "all and any took %v", counts)
}
