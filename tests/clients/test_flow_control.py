"""Memory alarm: publishers wait and are told why, everything else goes on (amqp.md C11)."""

import threading

import pika
import pytest
from pika import spec

from tests.clients.broker import Broker, parameters, until
from tests.clients.deliveries import Inbox, drain, fill, pump
from tests.clients.raw import CAPABILITIES, RawConnection, encode_content, encode_method

pytestmark = pytest.mark.ours
BODY = b"x" * 100_000
MEMORY, TINY_MEMORY = 160 << 20, 32 << 20  # the second is less than the broker itself needs
FLOOD_COUNT, FLOOD_SECONDS = 3000, 60  # 300 MB
DISK_FULL = f"limits.disk_free_bytes={1 << 50}"  # more than any disk has: the alarm is on from the start


@pytest.fixture
def full(start_broker) -> Broker:
    """A broker that blocks publishers from the first one on."""
    return start_broker(DISK_FULL)


def blocked_publisher(broker, queue: str, **opening) -> RawConnection:
    """A connection whose publishes are held: told so."""
    client = RawConnection(broker.port).open(**opening)
    client.call(spec.Queue.Declare(queue=queue), spec.Queue.DeclareOk)
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    client.send(encode_method(spec.Basic.Publish(exchange="", routing_key=queue), 1) + encode_content(1, b"held"))
    assert client.expect(spec.Connection.Blocked, 0).reason == "low on disk"
    return client


def test_a_blocked_publisher_is_told_the_reason(full, name):
    client = blocked_publisher(full, name)
    assert client.serves()  # and the publish was neither confirmed nor refused


def test_a_client_that_would_not_understand_is_not_told(full, name):
    client = RawConnection(full.port).open(capabilities={**CAPABILITIES, "connection.blocked": False})
    client.call(spec.Queue.Declare(queue=name), spec.Queue.DeclareOk)
    client.send(encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1) + encode_content(1, b"held"))
    assert client.serves()


def test_pika_calls_back_and_gives_up_after_its_own_timeout(full, name):
    connection = pika.BlockingConnection(parameters(full, blocked_connection_timeout=0.5))
    reasons = []
    connection.add_on_connection_blocked_callback(lambda _, frame: reasons.append(frame.method.reason))
    channel = connection.channel()
    channel.basic_publish("", name, b"x")
    pump(connection, lambda: reasons)
    assert reasons == ["low on disk"]
    with pytest.raises(pika.exceptions.ConnectionBlockedTimeout):
        pump(connection, lambda: False)


def test_consumers_of_a_blocked_connection_go_on(full, name):
    client = RawConnection(full.port).open()
    client.call(spec.Queue.Declare(queue=name), spec.Queue.DeclareOk)
    client.call(spec.Basic.Consume(queue=name, consumer_tag="c"), spec.Basic.ConsumeOk)
    client.send(encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1) + encode_content(1, b"held"))
    client.expect(spec.Connection.Blocked, 0)
    client.call(spec.Basic.Cancel(consumer_tag="c"), spec.Basic.CancelOk)
    blocked_publisher(full, name + ".2")  # and others are held by themselves


def test_a_close_takes_the_held_publishes_in_first(full, name):
    client = blocked_publisher(full, name)
    client.send_method(spec.Connection.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    while not isinstance(client.read_method(), spec.Connection.CloseOk):
        pass
    reader = RawConnection(full.port).open()
    reader.send_method(spec.Basic.Get(queue=name, no_ack=True), 1)
    reader.expect(spec.Basic.GetOk, 1)
    assert reader.read_content()[1] == b"held"


def test_low_memory_is_the_other_reason(start_broker, name):
    client = RawConnection(start_broker(f"limits.memory_bytes={TINY_MEMORY}").port).open()
    client.call(spec.Queue.Declare(queue=name), spec.Queue.DeclareOk)
    client.send(encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1) + encode_content(1, b"held"))
    assert client.expect(spec.Connection.Blocked, 0).reason == "low on memory"
    assert client.serves()


class Flood(threading.Thread):
    """Publishes more than the broker's memory takes, in the background; an alarm holds it in its send()."""

    def __init__(self, broker, queue: str):
        super().__init__(daemon=True)
        self.client = RawConnection(broker.port).open()
        self.client.call(spec.Queue.Declare(queue=queue), spec.Queue.DeclareOk)
        self.client.socket.settimeout(FLOOD_SECONDS)
        self.message = encode_method(spec.Basic.Publish(exchange="", routing_key=queue), 1) + encode_content(1, BODY)
        self.sent = 0

    def run(self):
        for _ in range(FLOOD_COUNT):
            self.client.send(self.message)
            self.sent += 1

    def stalled(self) -> bool:
        """All sent, or nothing more for a while."""
        before = self.sent
        self.join(0.5)
        return not self.is_alive() or self.sent == before


@pytest.fixture
def small(start_broker) -> Broker:
    """A broker with little memory, and no disk for what its transient queues have too much of."""
    broker = start_broker(f"limits.memory_bytes={MEMORY}")
    (broker.data / "spill").rmdir()
    return broker


@pytest.mark.timeout(120)
def test_a_flood_stays_below_the_memory_limit_and_arrives_whole(small, name):
    broker = small
    flood = Flood(broker, name)
    flood.start()
    until(flood.stalled, 30)
    assert flood.is_alive() and broker.rss_anon() < MEMORY
    assert broker.log.count("spill/ cannot be written") == 1
    reader = pika.BlockingConnection(parameters(broker))
    inbox, channel = Inbox(ack=True), reader.channel()
    channel.basic_qos(prefetch_count=10)
    channel.basic_consume(name, inbox)
    inbox.wait(reader, FLOOD_COUNT, FLOOD_SECONDS)
    assert broker.rss_anon() < MEMORY
    flood.join(10)
    assert not flood.is_alive() and len(inbox.got) == FLOOD_COUNT
    reader.close()
    flood.client.close()


@pytest.mark.timeout(120)
def test_a_publisher_that_is_its_own_consumer_does_not_deadlock(small, name):
    broker = small
    flood = Flood(broker, name)
    flood.start()
    until(flood.stalled, 30)
    client = RawConnection(broker.port).open()
    client.call(spec.Basic.Qos(prefetch_count=1), spec.Basic.QosOk)
    client.send(encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1) + encode_content(1, b"own"))
    client.send_method(spec.Basic.Consume(queue=name, nowait=True), 1)
    own = False
    for _ in range(FLOOD_COUNT + 1):
        while not isinstance(method := client.read_method(), spec.Basic.Deliver):
            assert isinstance(method, (spec.Connection.Blocked, spec.Connection.Unblocked)), method
        own |= client.read_content()[1] == b"own"
        client.send_method(spec.Basic.Ack(delivery_tag=method.delivery_tag), 1)
    assert own
    client.close()
    flood.client.close()


def test_the_alarm_is_not_one_for_consumers_and_gets(name, tmp_path):
    folder = tmp_path / "refilled"
    folder.mkdir()
    broker = Broker(folder).start()
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.queue_declare(name, durable=True)
    fill(channel, name, [b"1", b"2", b"3"], delivery_mode=2)
    connection.close()
    broker.stop()
    broker.options.append(DISK_FULL)
    broker.start()
    try:
        connection = pika.BlockingConnection(parameters(broker))
        assert [each.body for each in drain(connection.channel(), name)] == [b"1", b"2", b"3"]
        connection.close()
    finally:
        broker.stop()


def test_a_blocked_publisher_gets_heartbeats_and_keeps_its_connection(full, name):
    client = blocked_publisher(full, name, heartbeat=1)
    seen = []

    def heartbeat():
        client.send(b"\x08\x00\x00\x00\x00\x00\x00\xce")
        frame = client.read_frame(2)
        assert frame is not None
        seen.append(frame.kind)
        return len(seen) >= 4

    until(heartbeat)
    assert set(seen) == {8}
