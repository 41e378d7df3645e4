"""Queues with x-max-priority: which message comes next (amqp.md Q6)."""

import pika
import pytest

from tests.clients.deliveries import Inbox, depth, pump

PRIORITIES = [0, 3, 1, None, 9, 3, 2, 0]


@pytest.fixture
def publish(connection):
    """publish(queue, priorities): one message each, whose body is its number, all confirmed."""
    confirming = connection.channel()
    confirming.confirm_delivery()

    def send(queue, priorities, first=0, **properties):
        for number, priority in enumerate(priorities, first):
            confirming.basic_publish(
                "", queue, b"%d" % number, pika.BasicProperties(priority=priority, delivery_mode=2, **properties)
            )

    return send


def drain(channel, queue):
    """Everything that is ready, by basic.get."""
    bodies = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        bodies.append(got[2])
    return bodies


@pytest.mark.parametrize("durable", [False, True])
def test_the_highest_comes_first_and_equals_in_order(channel, name, publish, durable):
    channel.queue_declare(name, durable=durable, arguments={"x-max-priority": 3})
    publish(name, PRIORITIES)
    assert depth(channel, name) == 8
    assert drain(channel, name) == [b"1", b"4", b"5", b"6", b"2", b"0", b"3", b"7"]
    channel.queue_delete(name)


def test_one_level_is_no_priority(channel, name, publish):
    channel.queue_declare(name, exclusive=True, arguments={"x-max-priority": 0})
    publish(name, PRIORITIES)
    assert drain(channel, name) == [b"%d" % number for number in range(8)]


def test_a_priority_is_for_queues_that_have_them(channel, name, publish):
    channel.queue_declare(name, exclusive=True)
    publish(name, PRIORITIES)
    assert drain(channel, name) == [b"%d" % number for number in range(8)]


def test_a_late_high_priority_overtakes_what_is_ready_but_not_what_is_delivered(connection, channel, name, publish):
    channel.queue_declare(name, exclusive=True, arguments={"x-max-priority": 255})
    publish(name, [0, 0, 0])
    inbox, reading = Inbox(), connection.channel()
    reading.basic_qos(prefetch_count=1)
    reading.basic_consume(name, inbox)
    inbox.wait(connection, 1)
    publish(name, [255], first=3)
    for count in range(2, 5):
        reading.basic_ack(inbox.tags[-1])
        inbox.wait(connection, count)
    assert inbox.bodies == [b"0", b"3", b"1", b"2"]
    assert inbox.got[1].properties.priority == 255


def test_what_comes_back_goes_to_its_place_in_its_level(channel, name, publish):
    channel.queue_declare(name, exclusive=True, arguments={"x-max-priority": 3})
    publish(name, [0, 3, 3, 1, 3])
    gets = [channel.basic_get(name) for _ in range(4)]
    for got in (gets[3], gets[1]):
        channel.basic_nack(got[0].delivery_tag)
    pump(channel.connection, lambda: depth(channel, name) == 3)
    again = [channel.basic_get(name) for _ in range(3)]
    assert [(got[2], got[0].redelivered) for got in again] == [(b"2", True), (b"3", True), (b"0", False)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (256, "{max_value_exceeded,256}"),
        (-1, "{value_negative,-1}"),
        ("5", '"expected integer, got longstr"'),
    ],
)
def test_what_a_highest_priority_cannot_be(channel, name, value, text):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.queue_declare(name, exclusive=True, arguments={"x-max-priority": value})
    expected = f"PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue '{name}' in vhost '/': {text}"
    assert (refusal.value.reply_code, refusal.value.reply_text) == (406, expected)


def test_a_quorum_queue_has_no_priorities(channel, name):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum", "x-max-priority": 5})
    text = f"invalid arg 'x-max-priority' for queue '{name}' in vhost '/' of queue type rabbit_quorum_queue"
    assert refusal.value.reply_text == f"PRECONDITION_FAILED - {text}"


def test_purge_takes_every_level(channel, name, publish):
    channel.queue_declare(name, exclusive=True, arguments={"x-max-priority": 9})
    publish(name, PRIORITIES)
    assert channel.queue_purge(name).method.message_count == 8
    publish(name, [1, 2], first=8)
    assert drain(channel, name) == [b"9", b"8"]
