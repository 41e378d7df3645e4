"""Transactions (amqp.md P2): publishes and acks are held until tx.commit, and happen together or not at all."""

import pika
import pytest
from pika import spec

from tests.clients.deliveries import Inbox, depth, drain, fill, pump
from tests.clients.raw import encode_content, encode_method

MIXED = {
    "commit without select": (lambda c: c.tx_commit(), "channel is not transactional"),
    "rollback without select": (lambda c: c.tx_rollback(), "channel is not transactional"),
    "select after confirms": (lambda c: (c.confirm_delivery(), c.tx_select()), "cannot switch from confirm to tx mode"),
    "confirms in tx mode": (lambda c: (c.tx_select(), c.confirm_delivery()), "cannot switch from tx to confirm mode"),
}


@pytest.mark.parametrize("case", MIXED)
def test_modes_do_not_mix(channel, case):
    act, text = MIXED[case]
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        act(channel)
    assert (refusal.value.reply_code, refusal.value.reply_text) == (406, "PRECONDITION_FAILED - " + text)


@pytest.fixture(params=[False, True], ids=["transient", "durable"])
def queue(request, connection, name):
    """A queue, declared on another channel."""
    other = connection.channel()
    other.queue_declare(name, durable=request.param)
    yield name
    other.queue_delete(name)


@pytest.fixture
def reader(connection):
    """A channel without a transaction."""
    return connection.channel()


@pytest.fixture
def transacted(channel):
    """A channel in tx mode."""
    channel.tx_select()
    return channel


def sent(channel, queue, *bodies):
    """Publish on the channel and know that the broker has seen it."""
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))
    channel.basic_qos(0)


def test_select_twice_changes_nothing(transacted, reader, queue):
    sent(transacted, queue, b"a")
    transacted.tx_select()
    transacted.tx_commit()
    assert [each.body for each in drain(reader, queue)] == [b"a"]


def test_what_is_published_is_there_after_the_commit_and_not_before(transacted, reader, queue):
    sent(transacted, queue, b"a", b"b", b"c")
    assert depth(reader, queue) == 0
    transacted.tx_commit()
    assert [each.body for each in drain(reader, queue)] == [b"a", b"b", b"c"]


def test_what_is_rolled_back_never_was_and_the_next_transaction_begins(transacted, reader, queue):
    sent(transacted, queue, b"never")
    transacted.tx_rollback()
    transacted.tx_commit()
    sent(transacted, queue, b"kept")
    transacted.tx_commit()
    assert [each.body for each in drain(reader, queue)] == [b"kept"]


@pytest.mark.parametrize("end", ["channel", "connection"])
def test_what_was_not_committed_goes_with_its_channel(connect, reader, queue, end):
    fill(reader, queue, [b"taken"])
    connection = connect()
    channel = connection.channel()
    channel.tx_select()
    method, _, _ = channel.basic_get(queue)
    channel.basic_ack(method.delivery_tag)
    sent(channel, queue, b"never")
    (channel if end == "channel" else connection).close()
    got = drain(reader, queue)
    assert [(each.body, each.method.redelivered) for each in got] == [(b"taken", True)]


def test_an_ack_counts_when_it_is_committed(connect, connection, reader, queue):
    fill(reader, queue, [b"a", b"b", b"c"])
    other = connect()
    channel = other.channel()
    channel.tx_select()
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(3)]
    channel.basic_ack(tags[0])
    channel.basic_nack(tags[1], requeue=True)
    channel.basic_reject(tags[2], requeue=False)
    channel.basic_qos(0)
    assert depth(reader, queue) == 0  # what went back is not there yet
    channel.tx_commit()
    got = drain(reader, queue)
    assert [(each.body, each.method.redelivered) for each in got] == [(b"b", True)]
    other.close()
    assert depth(reader, queue) == 0


def test_a_rollback_leaves_what_was_acked_unacknowledged_and_does_not_requeue_it(transacted, reader, queue):
    fill(reader, queue, [b"a", b"b", b"c"])
    tags = [transacted.basic_get(queue)[0].delivery_tag for _ in range(3)]
    transacted.basic_ack(tags[2], multiple=True)
    transacted.tx_rollback()
    assert depth(reader, queue) == 0
    transacted.basic_ack(tags[1])  # as if nothing had been
    transacted.tx_commit()
    transacted.close()
    assert [each.body for each in drain(reader, queue)] == [b"a", b"c"]


@pytest.mark.parametrize("act", ["basic_ack", "basic_nack", "basic_reject"])
def test_a_tag_that_is_acked_already_in_the_transaction_is_unknown(transacted, reader, queue, act):
    fill(reader, queue, [b"a"])
    tag = transacted.basic_get(queue)[0].delivery_tag
    transacted.basic_ack(tag)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        getattr(transacted, act)(tag)
        transacted.basic_qos(0)
    assert refusal.value.reply_text == f"PRECONDITION_FAILED - unknown delivery tag {tag}"
    assert [each.body for each in drain(reader, queue)] == [b"a"]


def test_prefetch_credit_comes_back_at_the_commit(connection, transacted, reader, queue):
    fill(reader, queue, [b"a", b"b"])
    transacted.basic_qos(prefetch_count=1)
    inbox = Inbox()
    transacted.basic_consume(queue, inbox)
    inbox.wait(connection, 1)
    transacted.basic_ack(inbox.tags[0])
    transacted.basic_qos(prefetch_count=1)
    assert inbox.bodies == [b"a"]
    transacted.tx_commit()
    assert inbox.wait(connection, 2) == [b"a", b"b"]


def test_a_publish_to_a_missing_exchange_closes_the_channel_at_once(transacted, name):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        transacted.basic_publish(name, "k", b"x")
        transacted.basic_qos(0)
    assert (refusal.value.reply_code, refusal.value.reply_text) == (
        404,
        f"NOT_FOUND - no exchange '{name}' in vhost '/'",
    )


def test_an_unroutable_mandatory_message_comes_back_before_commit_ok(raw, name):
    client = raw().open()
    client.call(spec.Tx.Select(), spec.Tx.SelectOk)
    client.send(encode_method(spec.Basic.Publish(exchange="", routing_key=name, mandatory=True), 1))
    client.send(encode_content(1, b"back"))
    assert client.serves()  # nothing comes before the commit
    client.send_method(spec.Tx.Commit(), 1)
    returned = client.expect(spec.Basic.Return, 1)
    assert (returned.reply_code, returned.routing_key, client.read_content()[1]) == (312, name, b"back")
    client.expect(spec.Tx.CommitOk, 1)


@pytest.mark.ours  # RabbitMQ refuses whatever comes while it commits
def test_pipelined_transactions_are_answered_in_order(raw, name):
    client = raw().open()
    client.call(spec.Queue.Declare(queue=name, durable=True), spec.Queue.DeclareOk)
    publish = encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1)
    publish += encode_content(1, b"x", b"\x10\x00\x02")
    one = publish * 3 + encode_method(spec.Tx.Commit(), 1) + publish + encode_method(spec.Tx.Rollback(), 1)
    client.send(encode_method(spec.Tx.Select(), 1) + one * 20)
    client.expect(spec.Tx.SelectOk)
    for _ in range(20):
        client.expect(spec.Tx.CommitOk)
        client.expect(spec.Tx.RollbackOk)
    assert client.call(spec.Queue.Delete(queue=name), spec.Queue.DeleteOk).message_count == 60


def test_a_queue_that_went_before_the_commit_gets_nothing_and_one_made_anew_does(connection, transacted, name):
    other = connection.channel()
    for each in ("gone", "anew"):
        other.queue_declare(name + each)
        sent(transacted, name + each, b"x")
        other.queue_delete(name + each)
    other.queue_declare(name + "anew", exclusive=True)
    transacted.tx_commit()
    assert depth(other, name + "anew") == 1


def test_where_a_message_goes_is_decided_when_it_is_published(connection, transacted, name):
    other = connection.channel()
    for each in ("early", "late"):
        other.queue_declare(name + each, exclusive=True)
    other.queue_bind(name + "early", "amq.direct", name)
    transacted.basic_publish("amq.direct", name, b"x")
    transacted.basic_qos(0)
    other.queue_unbind(name + "early", "amq.direct", name)
    other.queue_bind(name + "late", "amq.direct", name)
    transacted.tx_commit()
    assert (depth(other, name + "early"), depth(other, name + "late")) == (1, 0)


def test_the_time_to_live_counts_from_the_commit(connection, transacted, reader, queue):
    transacted.basic_publish("", queue, b"x", pika.BasicProperties(expiration="700"))
    connection.sleep(0.8)
    transacted.tx_commit()
    assert [each.body for each in drain(reader, queue)] == [b"x"]


@pytest.mark.ours
def test_a_transaction_that_is_too_large_is_refused_and_forgotten(start_broker, name):
    broker = start_broker("limits.transaction_bytes=65536")
    client = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port))
    channel, reader = client.channel(), client.channel()
    reader.queue_declare(name)
    channel.tx_select()
    for _ in range(3):
        channel.basic_publish("", name, bytes(20_000))
    channel.tx_commit()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        for _ in range(4):
            channel.basic_publish("", name, bytes(20_000))
        channel.tx_commit()
    assert refusal.value.reply_code == 406
    assert refusal.value.reply_text.endswith("is larger than the limit of 65536 bytes")
    assert depth(reader, name) == 3
    client.close()


@pytest.mark.ours
def test_a_large_transaction_over_several_queues_survives_a_restart_whole(start_broker):
    broker = start_broker("log.segment_bytes=4194304", "log.batch_bytes=262144")
    client = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port))
    channel = client.channel()
    for each in ("a", "b"):
        channel.queue_declare(each, durable=True)
    channel.tx_select()
    for number in range(30):
        body = b"%d:" % number + bytes(300_000)
        channel.basic_publish("", "ab"[number % 2], body, pika.BasicProperties(delivery_mode=2))
    channel.tx_commit()
    broker.kill9()
    broker.start()
    client = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port))
    for start, each in enumerate("ab"):
        got = [int(one.body.split(b":")[0]) for one in drain(client.channel(), each)]
        assert got == list(range(start, 30, 2))
    client.close()


def test_messages_come_at_the_commit_to_a_waiting_consumer(connection, transacted, reader, queue):
    inbox = Inbox()
    reader.basic_consume(queue, inbox, auto_ack=True)
    sent(transacted, queue, b"a", b"b")
    transacted.tx_commit()
    pump(connection, lambda: inbox.bodies == [b"a", b"b"])


@pytest.mark.ours  # RabbitMQ's plugin remembers at once
def test_an_exchange_remembers_what_is_committed(connection, transacted, name):
    other = connection.channel()
    other.exchange_declare(name, "x-recent-history", auto_delete=True)
    for end in (transacted.tx_rollback, transacted.tx_commit):
        transacted.basic_publish(name, "k", end.__name__.encode())
        end()
    other.queue_declare(name, exclusive=True)
    other.queue_bind(name, name)
    assert [each.body for each in drain(other, name)] == [b"tx_commit"]
