"""A message's own expiration, wherever in the queue it lies (amqp.md Q1; RabbitMQ looks at the head only)."""

import time

import pika
import pytest
from pika import spec

from tests.clients.broker import until
from tests.clients.deliveries import Inbox, depth, drain, pump
from tests.clients.raw import encode_content, encode_method

SLACK_SECONDS = 1.0  # a busy machine's


@pytest.fixture
def publish(connection):
    """publish(queue, lives): one message for each time to live in ms, None = for ever, whose body is its number."""
    confirming = connection.channel()
    confirming.confirm_delivery()

    def send(queue, lives, **properties):
        for number, ms in enumerate(lives):
            expiration = None if ms is None else str(ms)
            confirming.basic_publish(
                "", queue, b"%d" % number, pika.BasicProperties(expiration=expiration, delivery_mode=2, **properties)
            )

    return send


@pytest.fixture(params=["durable", "transient", "quorum"])
def declare(request, channel, name):
    """declare(arguments): a queue of that name."""

    def ask(**arguments):
        if request.param == "quorum":
            arguments["x-queue-type"] = "quorum"
        durable = request.param != "transient"
        channel.queue_declare(name, durable=durable, exclusive=not durable, arguments=arguments)

    yield ask
    channel.queue_delete(name)


@pytest.mark.ours
def test_a_message_in_the_middle_dies_at_its_time_and_the_others_keep_their_order(channel, name, declare, publish):
    declare(**{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name + ".dead"})
    channel.queue_declare(name + ".dead", exclusive=True)
    letters, connection = Inbox(), channel.connection
    channel.basic_consume(name + ".dead", letters, auto_ack=True)
    start = time.monotonic()
    publish(name, [None, 900, None, 300, 60_000])
    assert depth(channel, name) == 5
    letters.wait(connection, 1)
    assert 0.3 <= time.monotonic() - start < 0.3 + SLACK_SECONDS
    assert depth(channel, name) == 4
    letters.wait(connection, 2)
    assert 0.9 <= time.monotonic() - start < 0.9 + SLACK_SECONDS
    assert letters.bodies == [b"3", b"1"]
    for each, original in zip(letters.got, ("300", "900"), strict=True):
        (death,) = each.properties.headers["x-death"]
        assert (death["reason"], death["queue"], death["original-expiration"]) == ("expired", name, original)
        assert each.properties.expiration is None
    assert depth(channel, name) == 3
    assert [each.body for each in drain(channel, name)] == [b"0", b"2", b"4"]


@pytest.mark.ours
def test_many_mixed_expirations_leave_exactly_those_without(channel, name, declare, publish):
    declare()
    lives = [None if number % 7 == 0 else 1 + number * 37 % 400 for number in range(1500)]
    publish(name, lives)
    staying = [b"%d" % number for number in range(0, 1500, 7)]
    until(lambda: depth(channel, name) == len(staying), what="the others expire")
    assert [each.body for each in drain(channel, name)] == staying


@pytest.mark.ours
def test_the_lesser_of_the_queues_ttl_and_the_messages_own_counts_anywhere(channel, name, declare, publish):
    declare(**{"x-message-ttl": 900})
    publish(name, [None, 60_000, 200, None])
    until(lambda: depth(channel, name) == 3, what="the third goes")
    assert [channel.basic_get(name)[2] for _ in range(3)] == [b"0", b"1", b"3"]
    publish(name, [None, 60_000])
    until(lambda: depth(channel, name) == 0, what="the queue's TTL")


@pytest.mark.ours
def test_an_expiration_of_zero_behind_others_is_never_seen(connection, channel, name, declare, publish):
    declare()
    publish(name, [None, 0])
    until(lambda: depth(channel, name) == 1)
    assert [each.body for each in drain(channel, name)] == [b"0"]
    inbox = Inbox()
    channel.basic_consume(name, inbox, auto_ack=True)
    for _ in range(100):  # unless the clock goes on before the queue's turn comes: a busy machine
        publish(name, [0])
        connection.process_data_events(0.05)
        if inbox.bodies:
            break
    assert inbox.bodies == [b"0"], "to who is waiting it is delivered"


@pytest.mark.ours
@pytest.mark.parametrize("durable", [True, False])
def test_in_a_queue_with_priorities(channel, name, publish, durable):
    channel.queue_declare(name, durable=durable, arguments={"x-max-priority": 3})
    publish(name, [None, 300], priority=3)
    publish(name, [200, None], priority=0)
    publish(name, [100, None], priority=2)
    until(lambda: depth(channel, name) == 3)
    got = [(each.properties.priority, each.body) for each in drain(channel, name)]
    assert got == [(3, b"0"), (2, b"1"), (0, b"1")]
    channel.queue_delete(name)


@pytest.mark.ours
def test_what_a_consumer_holds_goes_when_it_comes_back_to_the_middle(connection, channel, name, declare, publish):
    declare()
    publish(name, [None, 200, None])
    tags = [channel.basic_get(name)[0].delivery_tag for _ in range(3)]
    deadline = time.monotonic() + 0.4
    pump(connection, lambda: time.monotonic() > deadline)
    assert channel.queue_declare(name, passive=True).method.message_count == 0
    for tag in reversed(tags):
        channel.basic_nack(tag)
    until(lambda: depth(channel, name) == 2)
    assert [each.body for each in drain(channel, name)] == [b"0", b"2"]


@pytest.mark.ours
def test_a_purge_and_a_delete_count_what_has_not_expired(channel, name, publish):
    for end in (channel.queue_purge, channel.queue_delete):
        channel.queue_declare(name, durable=True)
        publish(name, [None, 100, 60_000, None])
        until(lambda: depth(channel, name) == 3)
        assert end(name).method.message_count == 3


def test_an_expiration_counts_from_when_the_message_is_whole(raw, channel, name):
    channel.queue_declare(name, exclusive=False, auto_delete=True)
    consumer, publisher = raw().open(), raw().open()
    consumer.call(spec.Basic.Consume(queue=name, no_ack=True), spec.Basic.ConsumeOk)
    frames = encode_method(spec.Basic.Publish(routing_key=name), 1) + encode_content(1, b"late", b"\x01\x00\x010")
    at = frames.index(b"\x03\x00\x01")  # the body's frame
    publisher.send(frames[:at])
    deadline = time.monotonic() + 0.1
    while time.monotonic() < deadline:
        depth(channel, name)
    publisher.send(frames[at:])
    consumer.expect(spec.Basic.Deliver, 1)
    assert consumer.read_content()[1] == b"late"
