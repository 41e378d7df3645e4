"""Quorum queues: durable, they count how often a message came back, and a limit ends its journey."""

import pika
import pytest

from tests.clients.broker import until
from tests.clients.deliveries import Inbox, depth, fill, pump

QUORUM = {"x-queue-type": "quorum"}
COUNT = "x-delivery-count"
OF_CLASSIC, OF_QUORUM = (f" for {{}} of queue type rabbit_{kind}_queue" for kind in ("classic", "quorum"))


@pytest.fixture
def queue(connection, channel, name):
    """queue(**arguments) declares a quorum queue of the test's own, and returns its name."""
    declared = set()

    def declare(suffix="", **arguments):
        table = QUORUM | {key.replace("_", "-"): value for key, value in arguments.items()}
        channel.queue_declare(name + suffix, durable=True, arguments=table)
        declared.add(name + suffix)
        return name + suffix

    yield declare
    deleting = connection.channel()
    for each in declared:
        deleting.queue_delete(each)


def take(connection, channel, name):
    """The next message by basic.get, once it is there: RabbitMQ requeues later."""
    found = []

    def come():
        answer = channel.basic_get(name)
        found.append(answer)
        return answer[0] is not None

    pump(connection, come, what=lambda: "a message")
    return found[-1]


def count_of(delivery):
    return (delivery[1].headers or {}).get(COUNT)


def test_the_first_delivery_has_no_count_and_every_later_one_has(connection, channel, queue):
    name = queue()
    fill(channel, name, [b"x"], delivery_mode=2)
    inbox = Inbox()
    channel.basic_consume(name, inbox)
    for times in range(1, 4):
        inbox.wait(connection, times)
        channel.basic_nack(inbox.tags[-1])
    inbox.wait(connection, 4)
    assert [(each.properties.headers or {}).get(COUNT) for each in inbox.got] == [None, 1, 2, 3]
    assert [each.method.redelivered for each in inbox.got] == [False, True, True, True]
    channel.basic_ack(inbox.tags[-1])


def test_a_get_counts_from_zero(connection, channel, queue):
    name = queue()
    fill(channel, name, [b"x"], delivery_mode=2, headers={"a": 1})
    method, properties, _ = take(connection, channel, name)
    assert properties.headers == {"a": 1, COUNT: 0}
    channel.basic_reject(method.delivery_tag)
    assert take(connection, channel, name)[1].headers == {"a": 1, COUNT: 1}


def recovered(connection, channel):
    channel.basic_recover(requeue=True)
    return connection, channel


def closed(connection, channel):
    channel.close()
    return connection, connection.channel()


WAYS = {
    "basic.nack": lambda connection, channel: (channel.basic_nack(0, multiple=True), (connection, channel))[1],
    "basic.recover": recovered,
    "the end of the channel": closed,
}


@pytest.mark.parametrize("way", WAYS)
def test_what_counts_as_coming_back(connection, queue, way):
    name = queue()
    channel = connection.channel()
    fill(channel, name, [b"x"], delivery_mode=2)
    for times in range(3):
        assert count_of(take(connection, channel, name)) == times
        connection, channel = WAYS[way](connection, channel)
    assert count_of(take(connection, channel, name)) == 3


def test_the_end_of_the_connection_counts_and_a_cancel_does_not(connect, connection, channel, queue):
    name = queue()
    fill(channel, name, [b"x"], delivery_mode=2)
    other = connect()
    first, inbox = other.channel(), Inbox()
    tag = first.basic_consume(name, inbox)
    inbox.wait(other, 1)
    first.basic_cancel(tag)
    first.basic_consume(name, inbox)
    assert depth(channel, name) == 0 and len(inbox.got) == 1
    other.close()
    assert count_of(take(connection, channel, name)) == 1


def test_a_rolled_back_nack_does_not_count(connection, queue):
    name = queue()
    channel = connection.channel()
    fill(channel, name, [b"x"], delivery_mode=2)
    channel.tx_select()
    method, _, _ = take(connection, channel, name)
    channel.basic_nack(method.delivery_tag)
    channel.tx_rollback()
    channel.basic_nack(method.delivery_tag)
    channel.tx_commit()
    assert count_of(take(connection, channel, name)) == 1


def test_other_messages_and_other_queues_of_a_message_have_counts_of_their_own(connection, channel, queue):
    one, two = (queue(suffix, x_delivery_limit=9) for suffix in (".1", ".2"))  # or RabbitMQ requeues to the end
    for each in (one, two):
        channel.queue_bind(each, "amq.fanout")
    channel.confirm_delivery()
    channel.basic_publish("amq.fanout", "", b"both", pika.BasicProperties(delivery_mode=2))
    channel.basic_publish("", one, b"next", pika.BasicProperties(delivery_mode=2))
    method, _, _ = take(connection, channel, one)
    channel.basic_nack(method.delivery_tag)
    again = take(connection, channel, one)
    assert (again[2], count_of(again)) == (b"both", 1)
    assert count_of(take(connection, channel, one)) == 0
    assert count_of(take(connection, channel, two)) == 0


def returns(connection, channel, name, most=10):
    """Take and give back until nothing comes; the counts seen."""
    inbox = Inbox()
    seen = []

    def back(channel, method, properties, body):
        inbox(channel, method, properties, body)
        seen.append((properties.headers or {}).get(COUNT))
        channel.basic_nack(method.delivery_tag, requeue=len(seen) < most)

    tag = channel.basic_consume(name, back)
    return seen, tag


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_above_its_delivery_limit_a_message_becomes_a_dead_letter(connection, channel, queue, name, limit):
    channel.queue_declare(f"{name}.dead", durable=True)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.dead"}
    poisoned = queue(x_delivery_limit=limit, **arguments)
    fill(channel, poisoned, [b"poison"], delivery_mode=2)
    seen, tag = returns(connection, channel, poisoned)
    pump(connection, lambda: depth(channel, f"{name}.dead") == 1, what=lambda: "a dead letter")
    assert seen == [None, *range(1, limit + 1)]
    _, properties, body = channel.basic_get(f"{name}.dead", auto_ack=True)
    (death,) = properties.headers["x-death"]
    assert (body, death["reason"], death["queue"], death["count"]) == (b"poison", "delivery_limit", poisoned, 1)
    assert COUNT not in properties.headers
    channel.basic_cancel(tag)
    channel.queue_delete(f"{name}.dead")


def test_without_a_dead_letter_exchange_it_is_dropped(connection, channel, queue):
    name = queue(x_delivery_limit=1)
    fill(channel, name, [b"poison", b"next"], delivery_mode=2)
    channel.basic_qos(prefetch_count=1)
    seen, tag = returns(connection, channel, name)
    pump(connection, lambda: len(seen) == 4, what=lambda: "all deliveries")
    assert seen == [None, 1, None, 1]
    channel.basic_cancel(tag)
    until(lambda: depth(channel, name) == 0)


def test_acks_and_purges_end_what_is_counted(connection, channel, queue):
    name = queue(x_delivery_limit=2)
    fill(channel, name, [b"a", b"b"], delivery_mode=2)
    method, _, _ = take(connection, channel, name)
    channel.basic_nack(method.delivery_tag)
    until(lambda: depth(channel, name) == 2)
    channel.queue_purge(name)
    fill(channel, name, [b"c"], delivery_mode=2)
    assert count_of(take(connection, channel, name)) == 0


@pytest.mark.ours
def test_below_zero_is_no_limit_and_a_publishers_header_is_replaced(connection, channel, queue):
    name = queue(x_delivery_limit=-1)
    fill(channel, name, [b"x"], delivery_mode=2, headers={COUNT: 77})
    seen, _ = returns(connection, channel, name, most=50)
    pump(connection, lambda: len(seen) == 50, what=lambda: "all deliveries")
    assert seen == [77, *range(1, 50)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"x-delivery-limit": 3}, "'x-delivery-limit'" + OF_CLASSIC),
        ({"x-dead-letter-strategy": "at-most-once"}, "'x-dead-letter-strategy'" + OF_CLASSIC),
        ({"x-max-age": "1D"}, "'x-max-age'" + OF_CLASSIC),
        ({"x-max-in-memory-length": -1}, "'x-max-in-memory-length'" + OF_CLASSIC),
        (QUORUM | {"x-max-priority": 3}, "'x-max-priority'" + OF_QUORUM),
        (QUORUM | {"x-queue-mode": "zz"}, "'x-queue-mode'" + OF_QUORUM),
        (QUORUM | {"x-max-in-memory-length": -1}, "'x-max-in-memory-length' for {}: {{value_negative,-1}}"),
        (QUORUM | {"x-quorum-initial-group-size": 0}, "'x-quorum-initial-group-size' for {}: {{value_zero,0}}"),
    ],
)
def test_arguments_of_another_type_are_refused_by_name(connection, name, arguments, text):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        connection.channel().queue_declare(name, durable=True, arguments=arguments)
    wrong = text.format(f"queue '{name}' in vhost '/'")
    assert (refusal.value.reply_code, refusal.value.reply_text) == (406, f"PRECONDITION_FAILED - invalid arg {wrong}")


@pytest.mark.parametrize("kind", ["quorum", "stream"])
def test_they_have_no_generated_names(connection, kind):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        connection.channel().queue_declare("", durable=True, arguments={"x-queue-type": kind})
    text = f"PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_{kind}_queue"
    assert (refusal.value.reply_code, refusal.value.reply_text) == (406, text)


def test_their_own_arguments_are_taken_and_compared(connection, channel, queue):
    arguments = {
        "x_delivery_limit": 5,
        "x_quorum_initial_group_size": 1,
        "x_dead_letter_strategy": "at-most-once",
        "x_queue_leader_locator": "client-local",
        "x_max_in_memory_length": 0,
    }
    name = queue(**arguments)
    assert queue(**arguments) == name
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        connection.channel().queue_declare(name, durable=True, arguments=QUORUM)
    assert refusal.value.reply_code == 406 and "inequivalent arg" in refusal.value.reply_text


@pytest.mark.ours  # RabbitMQ 3.10 ends the connection
def test_the_prefetch_that_a_channel_shares_holds_here_too(connection, channel, queue):
    name = queue()
    fill(channel, name, [b"a", b"b", b"c"], delivery_mode=2)
    mine, inbox = connection.channel(), Inbox()
    mine.basic_qos(prefetch_count=2, global_qos=True)
    mine.basic_consume(name, inbox)
    inbox.wait(connection, 2)
    assert depth(channel, name) == 1


@pytest.mark.ours
def test_a_policy_limits_too_and_the_lesser_counts(start_broker, name):
    from tests.clients.broker import parameters

    policy = {"vhost": "/", "name": "p", "pattern": ".", "apply-to": "all", "definition": {"delivery-limit": 1}}
    broker = start_broker(definitions={"policies": [policy]})
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        for limit, seen_of in ((5, [None, 1]), (0, [None]), (-1, [None, 1]), (None, [None, 1])):
            arguments = QUORUM if limit is None else QUORUM | {"x-delivery-limit": limit}
            channel.queue_declare(name, durable=True, arguments=arguments)
            fill(channel, name, [b"poison", b"last"], delivery_mode=2)
            channel.basic_qos(prefetch_count=1)
            seen, _ = returns(connection, channel, name)
            pump(connection, lambda: len(seen) == 2 * len(seen_of), what=lambda: "all deliveries")  # noqa: B023
            assert seen == 2 * seen_of
            channel.queue_delete(name)
