"""Consumers: delivery tags, round robin, cancel, exclusive, get (amqp.md K3-K8)."""

import re

import pytest
from pika import spec

from tests.clients.deliveries import Inbox, depth, drain, fill, pour, pump
from tests.clients.raw import CAPABILITIES, encode_content


@pytest.fixture
def queue(channel, name):
    """A queue of this connection's own."""
    return channel.queue_declare(name, exclusive=True).method.queue


def test_delivery_tags_count_per_channel_from_one_over_all_its_consumers(connection, channel, queue):
    fill(channel, queue, [b"1", b"2", b"3", b"4"])
    assert channel.basic_get(queue)[0].delivery_tag == 1
    inbox = Inbox()
    channel.basic_consume(queue, inbox)
    inbox.wait(connection, 3)
    assert inbox.tags == [2, 3, 4]
    second, other = Inbox(), connection.channel()
    channel.basic_nack(0, multiple=True)
    channel.close()
    other.basic_consume(queue, second, auto_ack=True)
    assert second.wait(connection, 4) == [b"1", b"2", b"3", b"4"]
    assert second.tags == [1, 2, 3, 4]


def test_a_delivery_names_consumer_exchange_and_key(connection, channel, queue):
    channel.queue_bind(queue, "amq.topic", "a.#")
    inbox = Inbox()
    tag = channel.basic_consume(queue, inbox, consumer_tag="me")
    channel.basic_publish("amq.topic", "a.b", b"x")
    inbox.wait(connection, 1)
    method = inbox.got[0].method
    assert tag == "me"
    assert (method.consumer_tag, method.exchange, method.routing_key) == ("me", "amq.topic", "a.b")
    assert not method.redelivered


def test_the_broker_names_a_consumer_without_a_tag(raw, name):
    client = raw().open()
    client.call(spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    tags = {client.call(spec.Basic.Consume(queue=name), spec.Basic.ConsumeOk).consumer_tag for _ in range(2)}
    assert len(tags) == 2
    assert all(re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", tag) for tag in tags), tags


def test_equal_consumers_take_turns(connection, channel, queue):
    inboxes = [Inbox() for _ in range(4)]
    for inbox in inboxes:
        channel.basic_consume(queue, inbox, auto_ack=True)
    fill(channel, queue, [b"%d" % each for each in range(40)])
    pump(connection, lambda: sum(len(inbox.got) for inbox in inboxes) == 40)
    assert [len(inbox.got) for inbox in inboxes] == [10] * 4
    assert all(inbox.bodies == sorted(inbox.bodies, key=int) for inbox in inboxes)


def test_a_waiting_backlog_goes_to_a_new_consumer_in_order(connection, channel, queue):
    pour(channel, queue, [b"%d" % each for each in range(1000)])
    inbox = Inbox()
    channel.basic_consume(queue, inbox, auto_ack=True)
    assert inbox.wait(connection, 1000) == [b"%d" % each for each in range(1000)]


def test_a_consumer_without_acks_leaves_nothing_behind(connection, channel, queue):
    inbox, other = Inbox(), connection.channel()
    other.basic_consume(queue, inbox, auto_ack=True)
    fill(channel, queue, [b"1", b"2"])
    inbox.wait(connection, 2)
    other.close()
    assert depth(channel, queue) == 0


def test_after_cancel_nothing_comes_and_what_was_delivered_can_be_acked(connection, channel, queue):
    inbox = Inbox()
    channel.basic_qos(prefetch_count=2)
    tag = channel.basic_consume(queue, inbox)
    fill(channel, queue, [b"1", b"2", b"3"])
    inbox.wait(connection, 2)
    assert channel.basic_cancel(tag) == []
    channel.basic_ack(inbox.tags[0])
    channel.basic_nack(inbox.tags[1])
    assert [(each.body, each.method.redelivered) for each in drain(channel, queue)] == [(b"2", True), (b"3", False)]


def test_a_deleted_queue_cancels_the_consumers_that_understand_it(connection, channel, name):
    channel.queue_declare(name)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    channel.basic_consume(name, Inbox(), consumer_tag="c")
    connection.channel().queue_delete(name)
    pump(connection, lambda: cancelled)
    assert cancelled == ["c"]
    assert channel.is_open


def test_a_deleted_queue_says_nothing_to_a_client_that_would_not_understand(raw, name):
    client = raw().open(capabilities={**CAPABILITIES, "consumer_cancel_notify": False})
    client.call(spec.Queue.Declare(queue=name), spec.Queue.DeclareOk)
    client.call(spec.Basic.Consume(queue=name), spec.Basic.ConsumeOk)
    client.call(spec.Queue.Delete(queue=name), spec.Queue.DeleteOk)
    assert client.serves()


@pytest.mark.ours  # documented; RabbitMQ 3.10 closes with 503 "unimplemented method"
def test_a_client_may_answer_the_brokers_cancel(raw, name):
    client = raw().open()
    client.call(spec.Queue.Declare(queue=name), spec.Queue.DeclareOk)
    client.call(spec.Basic.Consume(queue=name, consumer_tag="c"), spec.Basic.ConsumeOk)
    client.send_method(spec.Queue.Delete(queue=name), 1)
    answers = {type(client.read_method(1)) for _ in range(2)}
    assert answers == {spec.Basic.Cancel, spec.Queue.DeleteOk}
    client.send_method(spec.Basic.CancelOk(consumer_tag="c"), 1)
    assert client.serves()


def test_an_exclusive_consumer_makes_room_when_it_goes(connection, channel, queue):
    other = connection.channel()
    tag = other.basic_consume(queue, Inbox(), exclusive=True)
    other.basic_cancel(tag)
    channel.basic_consume(queue, Inbox(), exclusive=True)


def test_get_tells_what_is_left_and_empty_when_nothing_is(channel, queue):
    fill(channel, queue, [b"1", b"2"])
    first, _, body = channel.basic_get(queue, auto_ack=True)
    assert (first.message_count, first.exchange, first.routing_key, body) == (1, "", queue, b"1")
    assert channel.basic_get(queue, auto_ack=True)[0].message_count == 0
    assert channel.basic_get(queue) == (None, None, None)


def test_get_empty_carries_an_empty_cluster_id(raw, name):
    client = raw().open()
    client.call(spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    assert client.call(spec.Basic.Get(queue=name), spec.Basic.GetEmpty).cluster_id == ""


def test_many_consumers_on_many_channels_share_a_queue(connect, name):
    readers = [connect() for _ in range(3)]
    first = readers[0].channel()
    first.queue_declare(name)
    inboxes = []
    for reader in readers:
        for _ in range(3):
            channel, inbox = reader.channel(), Inbox(ack=True)
            channel.basic_qos(prefetch_count=5)
            channel.basic_consume(name, inbox)
            inboxes.append(inbox)
    sent = [b"%d" % each for each in range(300)]
    writer = connect()
    fill(writer.channel(), name, sent)

    def all_here():
        for reader in readers:
            reader.process_data_events(0)
        return sum(len(inbox.got) for inbox in inboxes) == len(sent)

    pump(writer, all_here)
    got = [body for inbox in inboxes for body in inbox.bodies]
    assert sorted(got, key=int) == sent
    assert all(inbox.got for inbox in inboxes)
    writer.channel().queue_delete(name)


def test_no_local_is_ignored(raw, name):
    client = raw().open()
    client.call(spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    client.call(spec.Basic.Consume(queue=name, no_local=True, no_ack=True), spec.Basic.ConsumeOk)
    client.send_method(spec.Basic.Publish(exchange="", routing_key=name), 1)
    client.send(encode_content(1, b"mine"))
    client.expect(spec.Basic.Deliver, 1)
    assert client.read_content()[1] == b"mine"


def test_the_python_generator_of_pika_ends_when_nothing_comes(channel, queue):
    fill(channel, queue, [b"1", b"2"])
    got = []
    for method, _, body in channel.consume(queue, inactivity_timeout=0.5):
        if method is None:
            break
        channel.basic_ack(method.delivery_tag)
        got.append(body)
    assert got == [b"1", b"2"]
    assert channel.cancel() == 0


def test_a_consumer_of_a_broken_connection_frees_its_messages(raw, connection, channel, name):
    channel.queue_declare(name)
    fill(channel, name, [b"1", b"2"])
    broken = raw().open()
    broken.call(spec.Basic.Consume(queue=name), spec.Basic.ConsumeOk)
    for _ in range(2):
        broken.expect(spec.Basic.Deliver, 1)
        broken.read_content()
    broken.close()
    inbox = Inbox()
    channel.basic_consume(name, inbox, auto_ack=True)
    assert inbox.wait(connection, 2) == [b"1", b"2"]
    assert all(each.method.redelivered for each in inbox.got)
    channel.queue_delete(name)


def test_an_unknown_consumer_argument_is_ignored(connection, channel, queue):
    inbox = Inbox()
    channel.basic_consume(queue, inbox, auto_ack=True, arguments={"x-of-my-own": "value"})
    fill(channel, queue, [b"1"])
    assert inbox.wait(connection, 1) == [b"1"]


def test_a_consumer_that_fails_in_its_callback_loses_nothing(connect, channel, name):
    reader = connect()
    reading = reader.channel()
    channel.queue_declare(name)
    fill(channel, name, [b"1"])

    def fail(*_):
        raise ValueError("callback")

    reading.basic_consume(name, fail)
    with pytest.raises(ValueError):
        pump(reader, lambda: False)
    reader.close()
    assert [each.body for each in drain(channel, name)] == [b"1"]
    channel.queue_delete(name)
