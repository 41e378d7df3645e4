"""Queues: declaring, lifetimes, limits of time, purge and delete (amqp.md E8-E12, Q1, Q2, Q9)."""

import re
import struct
import time

import pika
import pytest
from pika import spec

from tests.clients.broker import until
from tests.clients.deliveries import Inbox, depth, drain, fill, pump
from tests.clients.raw import METHOD, encode_frame

TTL_MS = 300


def exists(connection, queue) -> bool:
    """Whether the queue is there, asked on a channel of its own."""
    asking = connection.channel()
    try:
        asking.queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker as refusal:
        assert refusal.reply_code == 404, refusal
        return False
    asking.close()
    return True


def test_declare_ok_tells_name_ready_messages_and_consumers(channel, name):
    first = channel.queue_declare(name, exclusive=True).method
    assert (first.queue, first.message_count, first.consumer_count) == (name, 0, 0)
    fill(channel, name, [b"1", b"2", b"3"])
    channel.basic_get(name)
    tag = channel.basic_consume(name, Inbox())
    channel.basic_cancel(tag)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(name, Inbox())
    assert channel.queue_declare(name, passive=True).method.consumer_count == 1


def test_server_named_queues_have_a_name_of_their_own(channel):
    names = {channel.queue_declare("", exclusive=True).method.queue for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", each) for each in names), names


def test_a_server_named_queue_can_be_declared_again_by_its_name(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    assert channel.queue_declare(queue, passive=True).method.queue == queue


def test_names_may_be_any_text(channel):
    queue = channel.queue_declare("größe/日本 *#.%", exclusive=True).method.queue
    fill(channel, queue, [b"1"])
    assert [each.body for each in drain(channel, queue)] == [b"1"]


def test_an_exclusive_queue_goes_before_its_connections_close_is_answered(connect, connection, name):
    for _ in range(10):  # a recovering client comes back within milliseconds
        owner = connect()
        owner.channel().queue_declare(name, exclusive=True)
        owner.close()
        assert not exists(connection, name)


def test_an_exclusive_queue_goes_when_its_connection_breaks(raw, connection, name):
    owner = raw().open()
    owner.call(spec.Queue.Declare(queue=name, exclusive=True, durable=True), spec.Queue.DeclareOk)
    owner.close()

    def free():
        try:
            return not exists(connection, name)
        except AssertionError:  # still locked
            return False

    until(free, what="the queue of a broken connection is gone")


def test_an_exclusive_queue_is_never_durable(channel, name):
    for durable in (True, False, True):
        channel.queue_declare(name, exclusive=True, durable=durable)


def test_modes_and_versions_of_a_classic_queue_are_taken(connection, channel, name):
    for mode in ("lazy", "default"):
        for version in (1, 2):
            arguments = {"x-queue-mode": mode, "x-queue-version": version}
            queue = f"{name}-{mode}-{version}"
            for _ in range(2):
                channel.queue_declare(queue, exclusive=True, arguments=arguments)
            fill(channel, queue, [b"1"])
            assert [each.body for each in drain(channel, queue)] == [b"1"]
    for arguments, wrong in (
        ({"x-queue-mode": "eager"}, "'x-queue-mode' for queue '{}' in vhost '/': \"unsupported queue mode 'eager'\""),
        ({"x-queue-version": 3}, "'x-queue-version' for queue '{}' in vhost '/': \"unsupported queue version '3'\""),
    ):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
            connection.channel().queue_declare(name, arguments=arguments)
        assert refused.value.reply_text == "PRECONDITION_FAILED - invalid arg " + wrong.format(name)


def test_an_exclusive_queue_survives_its_channel(connection, name):
    channel = connection.channel()
    channel.queue_declare(name, exclusive=True)
    channel.close()
    assert exists(connection, name)


def test_an_auto_delete_queue_goes_with_its_last_consumer_never_before_the_first(connection, channel, name):
    channel.queue_declare(name, auto_delete=True)
    assert exists(connection, name)
    tags = [channel.basic_consume(name, Inbox()) for _ in range(2)]
    channel.basic_cancel(tags[0])
    assert exists(connection, name)
    channel.basic_cancel(tags[1])
    assert not exists(connection, name)


def test_an_auto_delete_queue_goes_with_its_consumers_channel(connection, name):
    channel = connection.channel()
    channel.queue_declare(name, auto_delete=True)
    channel.basic_consume(name, Inbox())
    channel.close()
    until(lambda: not exists(connection, name), what="the queue goes with its consumer's channel")


def test_delete_tells_what_was_lost_and_unbinds(connection, channel, name):
    channel.queue_declare(name)
    channel.queue_bind(name, "amq.fanout")
    fill(channel, name, [b"1", b"2"])
    assert channel.queue_delete(name).method.message_count == 2
    assert not exists(connection, name)
    channel.queue_declare(name, exclusive=True)
    assert depth(channel, name) == 0


def test_delete_if_unused_and_if_empty_go_through_when_true(connection, channel, name):
    channel.queue_declare(name)
    channel.queue_delete(name, if_unused=True, if_empty=True)
    assert not exists(connection, name)


def test_purge_takes_the_ready_ones_and_tells_how_many(channel, name):
    channel.queue_declare(name, exclusive=True)
    fill(channel, name, [b"%d" % each for each in range(5)])
    method, _, _ = channel.basic_get(name)
    assert channel.queue_purge(name).method.message_count == 4
    channel.basic_nack(method.delivery_tag)
    assert [each.body for each in drain(channel, name)] == [b"0"]  # the unacked one was not purged


def test_messages_expire_by_the_queues_ttl(channel, name):
    channel.queue_declare(name, exclusive=True, arguments={"x-message-ttl": TTL_MS})
    fill(channel, name, [b"1", b"2"])
    assert depth(channel, name) <= 2
    until(lambda: depth(channel, name) == 0, what="messages expire")
    assert channel.basic_get(name)[0] is None


@pytest.mark.parametrize(("of_the_queue", "of_the_message"), [(TTL_MS, 60_000), (60_000, TTL_MS)])
def test_the_lesser_of_the_queues_and_the_messages_ttl_counts(channel, name, of_the_queue, of_the_message):
    channel.queue_declare(name, exclusive=True, arguments={"x-message-ttl": of_the_queue})
    fill(channel, name, [b"1"], expiration=str(of_the_message))
    until(lambda: depth(channel, name) == 0, what="it expires")


def test_a_message_lives_until_its_ttl(channel, name):
    channel.queue_declare(name, exclusive=True, arguments={"x-message-ttl": 60_000})
    fill(channel, name, [b"1"])
    assert [each.body for each in drain(channel, name)] == [b"1"]


def test_a_ttl_of_zero_delivers_to_who_is_waiting_and_keeps_nothing(connection, channel, name):
    channel.queue_declare(name, exclusive=True, arguments={"x-message-ttl": 0})
    fill(channel, name, [b"lost"])
    assert depth(channel, name) == 0
    inbox = Inbox()
    channel.basic_consume(name, inbox, auto_ack=True)
    fill(channel, name, [b"kept"])
    assert inbox.wait(connection, 1) == [b"kept"]


def test_unacked_messages_do_not_expire_but_requeued_ones_do(connection, channel, name):
    channel.queue_declare(name, exclusive=True, arguments={"x-message-ttl": TTL_MS})
    fill(channel, name, [b"1"])
    method, _, body = channel.basic_get(name)
    assert body == b"1"
    deadline = time.monotonic() + 2 * TTL_MS / 1000
    pump(connection, lambda: time.monotonic() > deadline)
    channel.basic_nack(method.delivery_tag)
    until(lambda: channel.basic_get(name, auto_ack=True)[0] is None, what="the requeued message is gone")


def test_an_unused_queue_expires(connection, channel, name):
    channel.queue_declare(name, arguments={"x-expires": TTL_MS})
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        pump(connection, after(1.5 * TTL_MS / 1000))  # a passive declare counts as use, so ask rarely
        if not exists(connection, name):
            return
    raise AssertionError("the queue did not expire")


def after(seconds):
    """A condition that comes true after `seconds`."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def test_a_queue_with_a_consumer_does_not_expire(connection, channel, name):
    channel.queue_declare(name, arguments={"x-expires": TTL_MS})
    tag = channel.basic_consume(name, Inbox())
    pump(connection, after(3 * TTL_MS / 1000))
    assert exists(connection, name)
    channel.basic_cancel(tag)
    channel.queue_delete(name)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_queue_types_classic_and_quorum_are_taken(connection, channel, name, kind):
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
    fill(channel, name, [b"1", b"2"], delivery_mode=2)
    inbox = Inbox(ack=True)
    channel.basic_qos(prefetch_count=1)
    tag = channel.basic_consume(name, inbox)
    assert inbox.wait(connection, 2) == [b"1", b"2"]
    channel.basic_cancel(tag)
    channel.queue_delete(name)


def declare_with_ttl(client, queue: str, encoded: bytes):
    """queue.declare with x-message-ttl in an integer type of our choice."""
    table = b"\x0dx-message-ttl" + encoded
    payload = struct.pack(">HHHB", 50, 10, 0, len(queue)) + queue.encode() + b"\x00"
    client.send(encode_frame(METHOD, 1, payload + struct.pack(">I", len(table)) + table))
    return client.expect(spec.Queue.DeclareOk, 1)


def test_arguments_are_equal_as_numbers_whatever_their_width(raw, name):
    client = raw().open()
    for encoded in (b"b\x64", b"B\x64", b"s\x00\x64", b"u\x00\x64", b"I" + struct.pack(">i", 100)):
        declare_with_ttl(client, name, encoded)
    for encoded in (b"i" + struct.pack(">I", 100), b"l" + struct.pack(">q", 100)):
        declare_with_ttl(client, name, encoded)
    client.call(spec.Queue.Delete(queue=name), spec.Queue.DeleteOk)
