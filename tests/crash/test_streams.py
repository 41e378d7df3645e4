"""kill -9 under a stream's publishers and readers: offsets go on, and every reader finds its place again."""

import random

import pika
import pytest
from pika import spec

from tests.clients.broker import parameters, until
from tests.clients.deliveries import Inbox
from tests.clients.raw import RawConnection
from tests.crash.load import Load, Producer, identity

ROUNDS = 4
SECONDS = 30
STREAM = "s"


class Follower(Load):
    """Reads a stream from `at` on, and remembers what it saw at which offset: [(offset, identity)], in order."""

    def __init__(self, at):
        super().__init__()
        self.at = at
        self.seen: list[tuple[int, tuple[int, int]]] = []

    def work(self):
        self.client.call(spec.Basic.Qos(prefetch_count=50), spec.Basic.QosOk)
        arguments = {"x-stream-offset": self.at}
        self.client.call(spec.Basic.Consume(queue=STREAM, arguments=arguments), spec.Basic.ConsumeOk)
        while True:
            method = self.next_method()
            properties, data = self.client.read_content()
            headers = spec.BasicProperties().decode(properties).headers
            self.seen.append((headers["x-stream-offset"], identity(data)))
            self.client.send_method(spec.Basic.Ack(delivery_tag=method.delivery_tag), 1)


def read(broker, at="first"):
    """Everything in the stream from there on: [(offset, identity)]. It holds something."""
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel, inbox = connection.channel(), Inbox(ack=True)
        end = channel.queue_declare(STREAM, passive=True).method.message_count
        channel.basic_qos(prefetch_count=100)
        channel.basic_consume(STREAM, inbox, arguments={"x-stream-offset": at})
        inbox.wait(connection, 1)
        first = inbox.got[0].properties.headers["x-stream-offset"]
        if at == "first":
            inbox.wait(connection, end)
        else:
            marker = connection.channel()
            marker.confirm_delivery()
            marker.basic_publish("", STREAM, b"9:0:", pika.BasicProperties(delivery_mode=2))
            until(lambda: connection.process_data_events(0.05) or inbox.bodies[-1] == b"9:0:", SECONDS, "the marker")
        found = [(each.properties.headers["x-stream-offset"], identity(each.body)) for each in inbox.got]
    assert [offset for offset, _ in found] == list(range(first, first + len(found))), "an offset is missing, or twice"
    return found


def declare(broker, **arguments):
    with pika.BlockingConnection(parameters(broker)) as connection:
        arguments = {"x-queue-type": "stream"} | arguments
        connection.channel().queue_declare(STREAM, durable=True, arguments=arguments)


def live_and_kill(broker, round_number, goal, at):
    """Publishers, and a reader from `at`, until so many are confirmed; then the kill. Returns (producers, reader)."""
    producers = [Producer(each + 10 * round_number, "", STREAM, 1, round_number) for each in range(2)]
    follower = Follower(at)
    for each in (*producers, follower):
        each.attach(broker.port)
    until(lambda: sum(each.confirmed for each in producers) >= goal and follower.seen, SECONDS, "confirms")
    broker.kill9()
    for each in (*producers, follower):
        each.join(10)
        assert not each.is_alive() and each.failure is None, each.failure
    broker.start()
    return producers, follower


def safe(producers, seen):
    """Of what a reader saw, that which was confirmed: only that must be where it was."""
    confirmed = {each.identifier: each.confirmed for each in producers}
    return [(offset, (who, number)) for offset, (who, number) in seen if number <= confirmed.get(who, 0)]


@pytest.mark.timeout(240)
def test_offsets_go_on_and_nothing_confirmed_is_lost_or_doubled(broker):
    chance = random.Random("streams")
    broker.start()
    declare(broker)
    there: list[tuple[int, tuple[int, int]]] = []
    for round_number in range(ROUNDS):
        producers, follower = live_and_kill(broker, round_number, chance.randrange(200, 3000), len(there))
        found = read(broker)
        assert found[: len(there)] == there, "what an earlier life kept has moved"
        for each in producers:
            numbers = [number for _, (who, number) in found if who == each.identifier]
            assert numbers == list(range(1, len(numbers) + 1)), f"a gap, or twice: producer {each.identifier}"
            assert each.confirmed <= len(numbers) < each.next
        assert follower.seen[0][0] == len(there), "it began where it was told to"
        for offset, who in safe(producers, follower.seen):
            assert found[offset] == (offset, who), "another message at an offset that a reader has seen"
        resumed = safe(producers, follower.seen)[-1][0] + 1
        there = found
        if resumed < len(found):
            assert read(broker, resumed)[:-1] == found[resumed:], "the reader goes on behind what it has seen"
            there = read(broker)


@pytest.mark.timeout(240)
def test_what_was_dropped_for_its_size_does_not_come_back(broker):
    chance = random.Random("trimmed streams")
    broker.options += ["log.segment_bytes=4194304", "log.checkpoint_bytes=2097152", "log.batch_bytes=1048576"]
    broker.options += ["log.ahead_bytes=1048576", "log.checkpoint_seconds=1", "log.keep_bytes=0"]
    broker.start()
    declare(broker, **{"x-max-length-bytes": 300_000})
    first = end = 0
    for round_number in range(ROUNDS):
        producers, follower = live_and_kill(broker, round_number, chance.randrange(600, 2000), "next")
        found = read(broker)
        assert found[0][0] >= first, "a dropped message is back"
        assert found[-1][0] >= end, "offsets begin anew"
        held = dict(found)
        for offset, who in safe(producers, follower.seen):
            assert offset < found[0][0] or held[offset] == who
        for each in producers:
            numbers = [number for _, (who, number) in found if who == each.identifier]
            if not numbers:  # the faster producer has pushed all of this one's out
                continue
            assert numbers == list(range(numbers[0], numbers[-1] + 1)), f"a gap, or twice: producer {each.identifier}"
            assert each.confirmed <= numbers[-1] < each.next
        first, end = found[0][0], found[-1][0]
        client = RawConnection(broker.port).open()
        count = client.call(spec.Queue.Declare(queue=STREAM, passive=True), spec.Queue.DeclareOk).message_count
        client.close()
        assert count == len(found) < 1000
    assert first > 500
