"""Which consumer gets the next message: priorities, turns, the single active one (amqp.md K2, K3, K7, Q7)."""

import pika
import pytest
from pika import spec

from tests.clients.deliveries import Inbox, depth, fill, pump

SINGLE = {"x-single-active-consumer": True}


def consume(channel, queue, prefetch=0, priority=None, **options):
    """An inbox at the queue; its consumer tag is in `tag`."""
    inbox = Inbox()
    channel.basic_qos(prefetch_count=prefetch)
    arguments = {} if priority is None else {"x-priority": priority}
    inbox.tag = channel.basic_consume(queue, inbox, arguments=arguments, **options)
    return inbox


def test_the_higher_priority_gets_all_until_its_prefetch_is_full(connection, channel, name):
    channel.queue_declare(name, exclusive=True)
    reading = connection.channel()
    low = consume(reading, name, priority=-1)
    high = consume(reading, name, prefetch=3, priority=10)
    fill(channel, name, [b"%d" % each for each in range(5)])
    low.wait(connection, 2)
    assert (high.bodies, low.bodies) == ([b"0", b"1", b"2"], [b"3", b"4"])
    reading.basic_ack(high.tags[0])
    fill(channel, name, [b"5", b"6"])
    low.wait(connection, 3)
    assert (high.bodies[3:], low.bodies[2:]) == ([b"5"], [b"6"])


def test_no_priority_is_priority_zero(connection, channel, name):
    channel.queue_declare(name, exclusive=True)
    inboxes = [consume(connection.channel(), name, prefetch=1, priority=each) for each in (-1, None, 1)]
    for number in range(3):
        fill(channel, name, [b"%d" % number])
    for inbox in inboxes:
        inbox.wait(connection, 1)
    assert [inbox.bodies for inbox in inboxes] == [[b"2"], [b"1"], [b"0"]]


def test_equal_consumers_take_turns(connection, channel, name):
    channel.queue_declare(name, exclusive=True)
    inboxes = [consume(connection.channel(), name, priority=4) for _ in range(3)]
    fill(channel, name, [b"%d" % each for each in range(9)])
    pump(connection, lambda: sum(len(inbox.got) for inbox in inboxes) == 9)
    assert [len(inbox.got) for inbox in inboxes] == [3, 3, 3]
    assert all(inbox.bodies == sorted(inbox.bodies) for inbox in inboxes)


@pytest.mark.parametrize(("value", "kind"), [("5", "longstr"), (True, "bool"), (None, "void")])
def test_a_priority_that_is_no_integer_is_refused(channel, name, value, kind):
    channel.queue_declare(name, exclusive=True)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.basic_consume(name, Inbox(), arguments={"x-priority": value})
    text = f"invalid arg 'x-priority' for queue '{name}' in vhost '/': \"expected integer, got {kind}\""
    assert (refusal.value.reply_code, refusal.value.reply_text) == (406, f"PRECONDITION_FAILED - {text}")


def test_only_the_single_active_consumer_gets_messages(connection, channel, name):
    channel.queue_declare(name, exclusive=True, arguments=SINGLE)
    reading = connection.channel()
    first, second = consume(reading, name, prefetch=2), consume(reading, name, priority=5)
    fill(channel, name, [b"0", b"1", b"2"])
    first.wait(connection, 2)
    assert (second.got, depth(channel, name)) == ([], 1)
    reading.basic_ack(first.tags[0])
    assert first.wait(connection, 3) == [b"0", b"1", b"2"] and second.got == []


@pytest.mark.ours  # RabbitMQ 3.10 leaves the heir without messages until the next one is published
def test_after_its_cancel_the_next_takes_over_and_its_deliveries_stay_ackable(connection, channel, name):
    channel.queue_declare(name, exclusive=True, arguments=SINGLE)
    reading, other = connection.channel(), connection.channel()
    first, low, high = consume(reading, name, prefetch=2), consume(other, name), consume(other, name, priority=1)
    fill(channel, name, [b"0", b"1", b"2", b"3"])
    first.wait(connection, 2)
    reading.basic_cancel(first.tag)
    assert high.wait(connection, 2) == [b"2", b"3"] and low.got == []
    reading.basic_ack(first.tags[0])
    reading.basic_nack(first.tags[1])
    assert high.wait(connection, 3)[2:] == [b"1"] and high.got[2].method.redelivered


@pytest.mark.parametrize("loss", ["channel", "connection"])
def test_when_its_channel_or_connection_goes_the_next_gets_what_it_held(raw, connection, channel, name, loss):
    channel.queue_declare(name, exclusive=False, auto_delete=True, arguments=SINGLE)
    going = raw().open()
    going.call(spec.Basic.Qos(prefetch_count=1), spec.Basic.QosOk)
    going.call(spec.Basic.Consume(queue=name, consumer_tag="active"), spec.Basic.ConsumeOk)
    going.call(spec.Basic.Consume(queue=name, arguments={"x-priority": 3}), spec.Basic.ConsumeOk)
    heir = consume(connection.channel(), name)
    fill(channel, name, [b"0", b"1"])
    assert going.expect(spec.Basic.Deliver, 1).consumer_tag == "active" and going.read_content()[1] == b"0"
    if loss == "channel":
        going.call(spec.Channel.Close(200, "", 0, 0), spec.Channel.CloseOk)
    else:
        going.close()
    assert heir.wait(connection, 2) == [b"0", b"1"]
    assert (heir.got[0].method.redelivered, heir.got[1].method.redelivered) == (True, False)


def test_get_is_served_beside_a_single_active_consumer(connection, channel, name):
    channel.queue_declare(name, exclusive=True, arguments=SINGLE)
    consume(connection.channel(), name, prefetch=1)
    fill(channel, name, [b"0", b"1"])
    pump(connection, lambda: depth(channel, name) == 1)
    assert channel.basic_get(name)[2] == b"1"


def test_an_exclusive_consumer_of_a_queue_with_a_single_active_one_is_refused(channel, name):
    channel.queue_declare(name, exclusive=True, arguments=SINGLE)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.basic_consume(name, Inbox(), exclusive=True)
    assert refusal.value.reply_code == 403
    assert refusal.value.reply_text == f"ACCESS_REFUSED - queue '{name}' in vhost '/' in exclusive use"


def test_a_single_active_consumer_is_asked_for_by_a_boolean(channel, name):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.queue_declare(name, exclusive=True, arguments={"x-single-active-consumer": 1})
    text = f"invalid arg 'x-single-active-consumer' for queue '{name}' in vhost '/': {{unacceptable_type,signedint}}"
    assert refusal.value.reply_text == f"PRECONDITION_FAILED - {text}"


def test_a_queue_is_not_redeclared_without_its_single_active_consumer(channel, name):
    channel.queue_declare(name, exclusive=True, arguments=SINGLE)
    channel.queue_declare(name, exclusive=True, arguments=SINGLE)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="inequivalent arg 'x-single-active-consumer'"):
        channel.queue_declare(name, exclusive=True)
