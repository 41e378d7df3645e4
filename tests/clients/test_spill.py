"""Transient queues beyond limits.transient_bytes: the same messages, in the same order, from the disk."""

import pika
import pytest

from tests.clients.broker import parameters, until
from tests.clients.deliveries import Inbox, depth, drain, pour, pump
from tests.clients.raw import RawConnection, encode_content, encode_method

pytestmark = pytest.mark.ours
TINY = f"limits.transient_bytes={64 << 10}"
COUNT = 3000


@pytest.fixture
def spilling(start_broker):
    """A broker whose transient queues hold next to nothing in memory."""
    return start_broker(TINY)


@pytest.fixture
def connection(spilling):
    opened = pika.BlockingConnection(parameters(spilling))
    yield opened
    if opened.is_open:
        opened.close()


@pytest.fixture
def channel(connection):
    return connection.channel()


def files(broker):
    return list((broker.data / "spill").iterdir())


def on_disk(broker, least=1):
    """Wait until so many messages are on the disk only."""
    return until(lambda: broker.metric("mq_spill_messages") >= least, what=f"{least} messages on the disk")


def nothing_left(broker):
    """Wait until the disk holds nothing any more."""
    until(lambda: not files(broker), what="spill/ empty")
    assert (broker.metric("mq_spill_messages"), broker.metric("mq_spill_bytes")) == (0, 0)
    assert broker.metric("mq_transient_queue_bytes") == 0


def body(number):
    return b"%d:" % number + b"." * (number % 7 * 100 if number % 500 else 300_000)


def test_what_comes_back_is_what_was_published_in_order(spilling, channel, name):
    channel.queue_declare(name)
    wanted = []
    for number in range(COUNT):
        properties = pika.BasicProperties(
            headers={"n": number, "long": "x" * (40_000 if number % 1000 == 0 else number % 50)},
            content_type="text/plain", message_id=str(number), priority=number % 3, delivery_mode=1 + number % 2,
        )  # fmt: skip
        channel.basic_publish("", name, body(number), properties)
        wanted.append((body(number), properties))
    on_disk(spilling, COUNT // 2)
    got = drain(channel, name)
    assert [(each.body, each.properties) for each in got] == wanted
    assert not any(each.method.redelivered for each in got)
    nothing_left(spilling)
    assert "go to spill/" not in spilling.log and "goes to spill/" in spilling.log


def test_a_message_in_many_queues_is_written_once(spilling, channel, name):
    queues = [f"{name}.{number}" for number in range(4)]
    channel.exchange_declare(name, "fanout")
    for queue in queues:
        channel.queue_declare(queue)
        channel.queue_bind(queue, name)
    bodies = [b"%d" % number for number in range(COUNT)]
    for each in bodies:
        channel.basic_publish(name, "", each)
    on_disk(spilling, 3 * COUNT)
    assert spilling.metric("mq_spill_messages_written_total") < 1.3 * COUNT
    for queue in queues:
        assert [each.body for each in drain(channel, queue)] == bodies
    nothing_left(spilling)


def test_a_consumer_with_a_prefetch_gets_all_and_what_it_leaves_comes_back_first(spilling, connection, channel, name):
    channel.queue_declare(name)
    bodies = [body(number) for number in range(COUNT)]
    pour(channel, name, bodies)
    on_disk(spilling)
    leaving = connection.channel()
    leaving.basic_qos(prefetch_count=1500)
    first = Inbox()
    leaving.basic_consume(name, first)
    first.wait(connection, 1500)
    leaving.basic_ack(first.got[700].method.delivery_tag)
    pour(channel, name, [b"late"] * 600)  # what is unacknowledged may leave memory, too
    leaving.close()
    second = Inbox(ack=True)
    channel.basic_qos(prefetch_count=20)
    channel.basic_consume(name, second)
    rest = bodies[:700] + bodies[701:] + [b"late"] * 600
    assert second.wait(connection, len(rest), 30) == rest
    assert [each.method.redelivered for each in second.got] == [at < 1500 for at in range(len(rest))]
    pump(connection, lambda: not files(spilling))
    nothing_left(spilling)


def test_priorities(spilling, channel, name):
    channel.queue_declare(name, arguments={"x-max-priority": 3})
    for number in range(COUNT):
        channel.basic_publish("", name, b"%d" % number, pika.BasicProperties(priority=number % 4))
    on_disk(spilling, COUNT // 2)
    got = [int(each.body) for each in drain(channel, name)]
    assert got == sorted(range(COUNT), key=lambda number: (-(number % 4), number))
    nothing_left(spilling)


def test_what_expires_on_the_disk_is_a_dead_letter_in_order(spilling, channel, name):
    channel.queue_declare(f"{name}.dead")
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.dead"}
    channel.queue_declare(name, arguments={"x-message-ttl": 1500, **dead})
    pour(channel, name, [b"%d" % number for number in range(COUNT)])
    on_disk(spilling)
    until(lambda: depth(channel, f"{name}.dead") == COUNT, 20)
    assert depth(channel, name) == 0
    got = drain(channel, f"{name}.dead")
    assert [int(each.body) for each in got] == list(range(COUNT))
    assert {each.properties.headers["x-first-death-reason"] for each in got} == {"expired"}
    nothing_left(spilling)


@pytest.mark.parametrize("limit", [{"x-max-length": 1200}, {"x-max-length-bytes": 12_000}])
def test_length_limits_drop_the_head_that_is_on_the_disk(spilling, channel, name, limit):
    channel.queue_declare(name, arguments=limit)
    bodies = [b"%010d" % number for number in range(COUNT)]
    pour(channel, name, bodies)
    assert [each.body for each in drain(channel, name)] == bodies[-1200:]
    nothing_left(spilling)


def test_purge_and_deletion_free_what_is_on_the_disk(spilling, channel, name):
    for end in (lambda queue: channel.queue_purge(queue), lambda queue: channel.queue_delete(queue)):
        channel.queue_declare(name)
        pour(channel, name, [bytes(200)] * COUNT)
        on_disk(spilling, COUNT // 2)
        assert end(name).method.message_count == COUNT
        nothing_left(spilling)


def test_an_exclusive_queue_goes_with_its_connection_and_its_files(spilling, channel, connection, name):
    channel.queue_declare(name, exclusive=True)
    pour(channel, name, [bytes(200)] * COUNT)
    on_disk(spilling, COUNT // 2)
    connection.close()
    nothing_left(spilling)


def test_memory_stays_flat_while_messages_wait(start_broker, name):
    broker = start_broker(f"limits.transient_bytes={2 << 20}")
    client = RawConnection(broker.port).open()
    client.call(pika.spec.Queue.Declare(queue=name), pika.spec.Queue.DeclareOk)
    message = encode_method(pika.spec.Basic.Publish(routing_key=name), 1) + encode_content(1, b"x" * 100)
    client.send(message * 20_000)
    on_disk(broker, 5_000)
    before = broker.rss_anon()
    client.send(message * 180_000)  # would be 70 MB
    on_disk(broker, 190_000)
    assert broker.rss_anon() - before < 12 << 20
    client.close()
