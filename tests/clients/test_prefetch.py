"""basic.qos: per consumer, per channel, changed while consumers run (amqp.md K1)."""

import pytest
from pika import spec

from tests.clients.deliveries import Inbox, depth, fill, pump
from tests.clients.raw import encode_content, encode_method


@pytest.fixture
def queue(channel, name):
    """A queue with a hundred messages."""
    channel.queue_declare(name, exclusive=True)
    fill(channel, name, [b"%d" % each for each in range(100)])
    return name


def settled_at(connection, channel, queue, *inboxes) -> list[int]:
    """How many each has once the queue and the inboxes account for all hundred."""

    def all_told():
        return sum(len(inbox.got) - inbox.settled for inbox in inboxes) + depth(channel, queue) == 100 - sum(
            inbox.settled for inbox in inboxes
        )

    pump(connection, all_told)
    return [len(inbox.got) for inbox in inboxes]


class Counted(Inbox):
    """An inbox that acks by hand and counts what it acked."""

    settled = 0

    def ack(self, channel, count: int) -> None:
        """Ack the oldest `count` that are open."""
        for tag in self.tags[self.settled : self.settled + count]:
            channel.basic_ack(tag)
        self.settled += count


def test_a_consumer_gets_as_many_as_its_prefetch(connection, channel, queue):
    inbox, reading = Counted(), connection.channel()
    reading.basic_qos(prefetch_count=7)
    reading.basic_consume(queue, inbox)
    inbox.wait(connection, 7)
    assert settled_at(connection, channel, queue, inbox) == [7]
    inbox.ack(reading, 3)
    inbox.wait(connection, 10)
    assert settled_at(connection, channel, queue, inbox) == [10]


def test_each_consumer_of_a_channel_has_its_own_limit(connection, channel, queue):
    inboxes, reading = [Counted(), Counted()], connection.channel()
    reading.basic_qos(prefetch_count=4)
    for inbox in inboxes:
        reading.basic_consume(queue, inbox)
    for inbox in inboxes:
        inbox.wait(connection, 4)
    assert settled_at(connection, channel, queue, *inboxes) == [4, 4]


def test_a_new_prefetch_counts_for_consumers_that_start_after_it(connection, channel, queue):
    first, second, reading = Counted(), Counted(), connection.channel()
    reading.basic_qos(prefetch_count=2)
    reading.basic_consume(queue, first)
    reading.basic_qos(prefetch_count=5)
    reading.basic_consume(queue, second)
    first.wait(connection, 2)
    second.wait(connection, 5)
    assert settled_at(connection, channel, queue, first, second) == [2, 5]


def test_a_global_prefetch_is_shared_by_the_channels_consumers(connection, channel, queue):
    inboxes, reading = [Counted(), Counted()], connection.channel()
    reading.basic_qos(prefetch_count=6, global_qos=True)
    for inbox in inboxes:
        reading.basic_consume(queue, inbox)
    pump(connection, lambda: sum(len(inbox.got) for inbox in inboxes) == 6)
    assert sum(settled_at(connection, channel, queue, *inboxes)) == 6


def test_both_limits_hold_together(connection, channel, queue):
    inboxes, reading = [Counted(), Counted(), Counted()], connection.channel()
    reading.basic_qos(prefetch_count=3)
    reading.basic_qos(prefetch_count=7, global_qos=True)
    for inbox in inboxes:
        reading.basic_consume(queue, inbox)
    pump(connection, lambda: sum(len(inbox.got) for inbox in inboxes) == 7)
    counts = settled_at(connection, channel, queue, *inboxes)
    assert sum(counts) == 7 and max(counts) <= 3


def test_a_raised_global_prefetch_works_at_once(connection, channel, queue):
    inbox, reading = Counted(), connection.channel()
    reading.basic_qos(prefetch_count=3, global_qos=True)
    reading.basic_consume(queue, inbox)
    inbox.wait(connection, 3)
    reading.basic_qos(prefetch_count=8, global_qos=True)
    inbox.wait(connection, 8)
    assert settled_at(connection, channel, queue, inbox) == [8]


def test_a_lowered_global_prefetch_waits_until_enough_is_acked(connection, channel, queue):
    inbox, reading = Counted(), connection.channel()
    reading.basic_qos(prefetch_count=8, global_qos=True)
    reading.basic_consume(queue, inbox)
    inbox.wait(connection, 8)
    reading.basic_qos(prefetch_count=2, global_qos=True)
    inbox.ack(reading, 6)
    assert settled_at(connection, channel, queue, inbox) == [8]
    inbox.ack(reading, 1)
    inbox.wait(connection, 9)
    assert settled_at(connection, channel, queue, inbox) == [9]


def test_zero_means_no_limit(connection, channel, queue):
    inbox, reading = Counted(), connection.channel()
    reading.basic_qos(prefetch_count=1)
    reading.basic_qos(prefetch_count=0)
    reading.basic_consume(queue, inbox)
    assert len(inbox.wait(connection, 100)) == 100


def test_a_global_zero_lifts_the_limit_of_running_consumers(connection, channel, queue):
    inbox, reading = Counted(), connection.channel()
    reading.basic_qos(prefetch_count=1, global_qos=True)
    reading.basic_consume(queue, inbox)
    inbox.wait(connection, 1)
    reading.basic_qos(prefetch_count=0, global_qos=True)
    assert len(inbox.wait(connection, 100)) == 100


def test_a_consumer_without_acks_has_no_limit(connection, channel, queue):
    inbox, reading = Counted(), connection.channel()
    reading.basic_qos(prefetch_count=1)
    reading.basic_consume(queue, inbox, auto_ack=True)
    assert len(inbox.wait(connection, 100)) == 100


def test_get_is_not_limited_and_does_not_use_up_a_consumers_prefetch(connection, channel, queue):
    inbox, reading = Counted(), connection.channel()
    reading.basic_qos(prefetch_count=2)
    for _ in range(5):
        assert reading.basic_get(queue)[0] is not None
    reading.basic_consume(queue, inbox)
    assert inbox.wait(connection, 2) == [b"5", b"6"]


@pytest.mark.parametrize("settle", ["reject", "nack", "recover"])
def test_what_comes_back_makes_room_again(connection, channel, queue, settle):
    inbox, reading = Inbox(), connection.channel()
    reading.basic_qos(prefetch_count=2)
    reading.basic_consume(queue, inbox)
    inbox.wait(connection, 2)
    if settle == "reject":
        reading.basic_reject(inbox.tags[0], requeue=False)
        reading.basic_reject(inbox.tags[1], requeue=False)
        expected = [b"2", b"3"]
    elif settle == "nack":
        reading.basic_nack(inbox.tags[1], multiple=True)
        expected = [b"0", b"1"]
    else:
        reading.basic_recover(requeue=True)
        expected = [b"0", b"1"]
    assert sorted(inbox.wait(connection, 4)[2:]) == expected


def test_a_slow_consumer_does_not_hold_back_another(connection, channel, queue):
    slow, quick, reading = Inbox(), Inbox(ack=True), connection.channel()
    reading.basic_qos(prefetch_count=1)
    reading.basic_consume(queue, slow)
    reading.basic_consume(queue, quick)
    quick.wait(connection, 99)
    assert len(slow.got) == 1


def test_a_consumer_that_never_acks_costs_others_nothing(raw, channel, name):
    channel.queue_declare(name + ".stuck")
    stuck = raw().open()
    stuck.call(spec.Basic.Qos(prefetch_count=10), spec.Basic.QosOk)
    stuck.call(spec.Basic.Consume(queue=name + ".stuck"), spec.Basic.ConsumeOk)
    other = raw().open()
    other.call(spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    other.call(spec.Basic.Consume(queue=name, no_ack=True), spec.Basic.ConsumeOk)
    for number in range(50):
        for queue in (name + ".stuck", name):
            publish = spec.Basic.Publish(exchange="", routing_key=queue)
            other.send(encode_method(publish, 1) + encode_content(1, b"%d" % number))
        other.expect(spec.Basic.Deliver, 1)
        assert other.read_content()[1] == b"%d" % number
    channel.queue_delete(name + ".stuck")


def test_a_socket_that_does_not_read_costs_others_nothing(raw, channel, name):
    channel.queue_declare(name)
    deaf = raw().open()
    deaf.send_method(spec.Basic.Consume(queue=name, no_ack=True, nowait=True), 1)
    body = b"x" * 100_000
    fill(channel, name, [body] * 300)  # more than any socket buffer holds
    other = raw().open()
    assert other.serves()
    deaf.close()
    channel.queue_delete(name)
