"""The exchange type and the queue argument x-message-deduplication, as RabbitMQ's plugin of noxdafox has them, but for
one thing: a duplicate is confirmed, whoever refused it (the plugin's queues nack it, as from RabbitMQ 3.10)."""

import decimal

import pika
import pytest

from tests.clients.broker import parameters, until
from tests.clients.deliveries import Inbox, depth, drain
from tests.clients.test_policies import policy, reload

pytestmark = pytest.mark.ours
KEY, TTL, KIND = "x-deduplication-header", "x-cache-ttl", "x-message-deduplication"


@pytest.fixture
def publish(channel):
    """publish(exchange, routing key, deduplication key, body), confirmed when it returns; other headers by name."""
    channel.confirm_delivery()

    def send(exchange, key, value, body=b"x", mandatory=False, expiration=None, **headers):
        headers |= {} if value is ... else {KEY: value}
        properties = pika.BasicProperties(delivery_mode=2, headers=headers, expiration=expiration)
        channel.basic_publish(exchange, key, body, properties, mandatory)

    return send


@pytest.fixture
def exchange(channel, name):
    """An exchange that remembers two keys, with a queue of the same name behind it."""
    channel.exchange_declare(name, KIND, auto_delete=True, arguments={"x-cache-size": 2, TTL: 3_600_000})
    channel.queue_declare(name, exclusive=True)
    channel.queue_bind(name, name)
    return name


@pytest.fixture
def queue(channel, name):
    """A queue that holds each key once."""
    channel.queue_declare(name, exclusive=True, arguments={KIND: True})
    return name


def bodies(channel, queue):
    return [each.body for each in drain(channel, queue)]


def test_an_exchange_routes_a_key_once_and_what_has_none_always(channel, exchange, publish):
    for number, value in enumerate(("a", "a", ..., ..., "a", "b")):
        publish(exchange, "any.key", value, b"%d" % number)
    assert bodies(channel, exchange) == [b"0", b"2", b"3", b"5"]
    publish(exchange, "", "a")
    assert bodies(channel, exchange) == []  # also when the message is gone


def test_what_a_full_queue_refused_may_be_sent_again(channel, name, publish):
    channel.exchange_declare(name, KIND, auto_delete=True, arguments={"x-cache-size": 10})
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    channel.queue_declare(name, exclusive=True, arguments=full)
    channel.queue_bind(name, name)
    publish(name, "", "a", b"a")
    with pytest.raises(pika.exceptions.NackError):
        publish(name, "", "b", b"b")
    assert bodies(channel, name) == [b"a"]
    publish(name, "", "b", b"b")
    publish(name, "", "b", b"again")
    assert bodies(channel, name) == [b"b"]


def test_keys_of_another_type_are_other_keys(channel, name, publish):
    channel.exchange_declare(name, KIND, auto_delete=True, arguments={"x-cache-size": "10"})
    channel.queue_declare(name, exclusive=True)
    channel.queue_bind(name, name)
    values = ("1", 1, True, None, decimal.Decimal("1"), ["1"], {"a": 1})
    for value in values * 2:
        publish(name, "", value)
    assert len(bodies(channel, name)) == len(values)


def test_the_oldest_key_goes_when_there_are_too_many(channel, exchange, publish):
    for value in "abcab":
        publish(exchange, "", value, value.encode())
    assert bodies(channel, exchange) == [b"a", b"b", b"c", b"a", b"b"]
    for value in "ba":
        publish(exchange, "", value, value.encode())
    assert bodies(channel, exchange) == []


def test_a_key_is_known_for_as_long_as_its_message_or_else_the_exchange_says(channel, exchange, publish):
    for value, headers in (("short", {TTL: 30}), ("long", {})):
        publish(exchange, "", value, b"1", **headers)

    def again():
        for value in ("short", "long"):
            publish(exchange, "", value, value.encode())
        return depth(channel, exchange) > 2

    until(again)
    assert bodies(channel, exchange) == [b"1", b"1", b"short"]


def test_a_duplicate_counts_as_unroutable_and_goes_to_the_alternate_exchange(channel, exchange, name, publish):
    publish(exchange, "", "a", mandatory=True)
    with pytest.raises(pika.exceptions.UnroutableError):
        publish(exchange, "", "a", mandatory=True)
    arguments = {"x-cache-size": 5, "alternate-exchange": "amq.fanout"}
    channel.exchange_declare(name + "-ae", KIND, auto_delete=True, arguments=arguments)
    channel.queue_bind(name, name + "-ae")
    other = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(other, "amq.fanout")
    drain(channel, name)
    for body in (b"1", b"2"):
        publish(name + "-ae", "", "k", body)
    assert (bodies(channel, name), bodies(channel, other)) == ([b"1"], [b"2"])


def test_a_transaction_decides_when_it_is_committed_and_a_rollback_leaves_no_key(connection, channel, exchange):
    properties = pika.BasicProperties(headers={KEY: "a"})
    transaction = connection.channel()
    transaction.tx_select()
    transaction.basic_publish(exchange, "", b"rolled back", properties)
    transaction.tx_rollback()
    for body in (b"1", b"2"):
        transaction.basic_publish(exchange, "", body, properties)
    assert depth(channel, exchange) == 0
    transaction.tx_commit()
    transaction.basic_publish(exchange, "", b"3", properties)
    transaction.tx_commit()
    assert bodies(channel, exchange) == [b"1"]


@pytest.fixture
def behind(channel, exchange, name):
    """A fanout exchange that leads to that exchange, and straight to another queue: the names of all three."""
    entry, straight = name + "-entry", name + "-straight"
    channel.exchange_declare(entry, "fanout", auto_delete=True)
    channel.exchange_bind(exchange, entry)
    channel.queue_declare(straight, exclusive=True)
    channel.queue_bind(straight, entry)
    return entry, exchange, straight


def test_a_transaction_s_messages_go_once_through_an_exchange_behind_another(connection, channel, behind):
    entry, once, always = behind
    properties = pika.BasicProperties(headers={KEY: "a"})
    one, two = (connection.channel() for _ in range(2))
    for transaction, bodies_sent in ((one, (b"1", b"2")), (two, (b"3",))):
        transaction.tx_select()
        for body in bodies_sent:
            transaction.basic_publish(entry, "", body, properties)
    one.tx_commit()
    two.tx_commit()
    assert (bodies(channel, once), bodies(channel, always)) == ([b"1"], [b"1", b"2", b"3"])


def test_what_a_transaction_repeats_goes_to_the_alternate_exchange_or_back(connection, channel, exchange, name):
    arguments = {"x-cache-size": 5, "alternate-exchange": "amq.fanout"}
    channel.exchange_declare(name + "-ae", KIND, auto_delete=True, arguments=arguments)
    channel.queue_bind(name, name + "-ae")
    other = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(other, "amq.fanout")
    transaction, returned = connection.channel(), Inbox()
    transaction.add_on_return_callback(returned)
    transaction.tx_select()
    for to in (name + "-ae", exchange):
        for body in (b"1", b"2"):
            transaction.basic_publish(to, "", body, pika.BasicProperties(headers={KEY: "a"}), mandatory=True)
    transaction.tx_commit()
    connection.process_data_events(0)
    assert (bodies(channel, name), bodies(channel, other)) == ([b"1", b"1"], [b"2"])
    assert [each.body for each in returned.got] == [b"2"]


def test_a_delayed_message_is_a_duplicate_or_not_when_its_time_has_come(channel, exchange, publish):
    publish(exchange, "", "a", b"late", **{"x-delay": 1500})
    publish(exchange, "", "a", b"soon")
    publish(exchange, "", "b", b"alone", **{"x-delay": 2500})
    until(lambda: depth(channel, exchange) == 2)
    assert bodies(channel, exchange) == [b"soon", b"alone"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"),
        ({"x-cache-size": 0}, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"),
        ({"x-cache-size": "many"}, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"),
        ({"x-cache-size": True}, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0"),
        ({"x-cache-size": 10_000_001}, "Invalid argument, 'x-cache-size' must not exceed 10000000"),
        ({"x-cache-size": 1, TTL: 0}, "Invalid argument, 'x-cache-ttl' must be an integer greater than 0"),
        (
            {"x-cache-size": 1, "x-cache-persistence": "tape"},
            "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'",
        ),
    ],
)
def test_an_exchange_that_cannot_be_is_refused(channel, name, arguments, text):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        channel.exchange_declare(name, KIND, arguments=arguments)
    assert (refused.value.reply_code, refused.value.reply_text) == (406, f"PRECONDITION_FAILED - {text}")


def test_a_queue_takes_a_key_once_while_it_is_ready_or_unacknowledged(channel, queue, publish):
    for value in ("a", "a", ..., ..., 1, 1, "1", None, None):
        publish("", queue, value)
    assert depth(channel, queue) == 6
    method = channel.basic_get(queue)[0]
    publish("", queue, "a")
    channel.basic_nack(method.delivery_tag)
    publish("", queue, "a")
    assert depth(channel, queue) == 6
    channel.basic_ack(channel.basic_get(queue)[0].delivery_tag)
    publish("", queue, "a", b"again")
    assert bodies(channel, queue)[-1] == b"again"
    publish("", queue, "a")
    assert depth(channel, queue) == 1  # no_ack settles at once


def test_a_message_that_left_a_queue_stands_in_nobodys_way(channel, name, publish):
    arguments = {KIND: True, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": name + "-dead"}
    channel.queue_declare(name, exclusive=True, arguments=arguments)
    channel.queue_declare(name + "-dead", exclusive=True)
    publish("", name, "a", b"rejected")
    channel.basic_reject(channel.basic_get(name)[0].delivery_tag, requeue=False)
    publish("", name, "a", b"expired", expiration="1")
    until(lambda: depth(channel, name + "-dead") == 2)
    publish("", name, "a", b"purged")
    channel.queue_purge(name)
    publish("", name, "a", b"here")
    publish("", name, "a", b"here too")
    assert bodies(channel, name) == [b"here"]
    assert bodies(channel, name + "-dead") == [b"rejected", b"expired"]


def test_an_exchange_for_dead_letters_takes_each_key_once(channel, exchange, name, publish):
    arguments = {"x-dead-letter-exchange": exchange}
    channel.queue_declare(name + ".source", exclusive=True, arguments=arguments)
    for body in (b"1", b"2"):
        publish("", name + ".source", "a", body)
        channel.basic_reject(channel.basic_get(name + ".source")[0].delivery_tag, requeue=False)
    publish("", name + ".source", ..., b"3")
    channel.basic_reject(channel.basic_get(name + ".source")[0].delivery_tag, requeue=False)
    until(lambda: depth(channel, exchange) == 2)
    assert bodies(channel, exchange) == [b"1", b"3"]


def test_what_a_full_queue_refused_may_go_where_each_key_is_taken_once(channel, exchange, name):
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": exchange}
    channel.queue_declare(name + ".full", exclusive=True, arguments=arguments)
    for body in (b"there", b"1", b"2"):  # without confirms: they are nacked
        channel.basic_publish("", name + ".full", body, pika.BasicProperties(headers={KEY: "a"}))
    until(lambda: depth(channel, exchange) == 1)
    assert bodies(channel, name + ".full") == [b"there"]
    assert bodies(channel, exchange) == [b"1"]


def test_each_queue_of_a_fanout_decides_for_itself_and_a_duplicate_is_not_returned(channel, queue, publish):
    other = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "amq.topic", queue)
    channel.queue_bind(other, "amq.topic", queue)
    for body in (b"1", b"2"):
        publish("amq.topic", queue, "a", body, mandatory=True)
    assert (bodies(channel, queue), bodies(channel, other)) == ([b"1"], [b"1", b"2"])
    publish("", queue, "b", mandatory=True)
    publish("", queue, "b", mandatory=True)


def test_a_consumer_that_takes_all_at_once_gets_every_one(connection, channel, queue, publish):
    inbox = Inbox()
    channel.basic_consume(queue, inbox, auto_ack=True)
    for body in (b"1", b"2"):
        publish("", queue, "a", body)
        inbox.wait(connection, int(body))
    assert inbox.bodies == [b"1", b"2"]


def test_the_queue_argument_is_a_boolean_and_not_for_streams(connection, name):
    title = f"invalid arg '{KIND}' for queue '{name}' in vhost '/'"
    for arguments, text in (
        ({KIND: "yes"}, f"{title}: {{unacceptable_type,longstr}}"),
        ({KIND: True, "x-queue-type": "stream"}, f"{title} of queue type rabbit_stream_queue"),
    ):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
            connection.channel().queue_declare(name, durable=True, arguments=arguments)
        assert (refused.value.reply_code, refused.value.reply_text) == (406, f"PRECONDITION_FAILED - {text}")


def test_a_policy_turns_it_on_and_off(start_broker):
    broker = start_broker(definitions={})
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.queue_declare("q")
    channel.queue_declare("other", arguments={KIND: False})
    channel.confirm_delivery()

    def publish_two():
        for queue in ("q", "other"):
            for _ in range(2):
                channel.basic_publish("", queue, b"x", pika.BasicProperties(headers={KEY: "a"}))
        return len(bodies(channel, "q")), len(bodies(channel, "other"))

    assert publish_two() == (2, 2)
    reload(broker, policies=[policy("p", "", {KIND: True}, "queues")])
    assert publish_two() == (1, 2)
    assert broker.metric("mq_messages_deduplicated_total") == 1
    reload(broker)
    assert publish_two() == (2, 2)
    connection.close()


def test_a_policy_s_cache_settings_beat_the_arguments_until_it_goes(start_broker):
    broker = start_broker(definitions={})
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.exchange_declare("x", KIND, arguments={"x-cache-size": 1})
    channel.queue_declare("q")
    channel.queue_bind("q", "x")
    channel.confirm_delivery()

    def taken(*keys):
        for key in keys:
            channel.basic_publish("x", "", key.encode(), pika.BasicProperties(headers={KEY: key}))
        return b"".join(bodies(channel, "q"))

    assert taken("a", "b", "a", "a") == b"aba"
    reload(broker, policies=[policy("p", "^x$", {"x-cache-size": 2}, "exchanges")])
    assert taken("b", "a", "b") == b"b"
    reload(broker, policies=[policy("p", "^x$", {"x-cache-size": 2, TTL: 1}, "exchanges")])
    until(lambda: taken("c"))
    until(lambda: taken("c"), what="c is forgotten after a millisecond")
    reload(broker)
    assert taken("d", "e", "d", "d") == b"ded"
    connection.close()


def test_a_policy_may_have_keys_kept_over_a_restart(start_broker):
    kept = policy("p", "^x$", {"x-cache-persistence": "disk", "x-cache-size": 3}, "exchanges")
    broker = start_broker(definitions={"policies": [kept]})
    for expected in (b"abc", b"d"):
        connection = pika.BlockingConnection(parameters(broker))
        channel = connection.channel()
        channel.exchange_declare("x", KIND, durable=True, arguments={"x-cache-size": 1})
        channel.queue_declare("q", durable=True)
        channel.queue_bind("q", "x")
        channel.confirm_delivery()
        for key in "abc" if expected == b"abc" else "abcd":
            channel.basic_publish("x", "", key.encode(), pika.BasicProperties(headers={KEY: key}, delivery_mode=2))
        assert b"".join(bodies(channel, "q")) == expected
        connection.close()
        broker.restart()
