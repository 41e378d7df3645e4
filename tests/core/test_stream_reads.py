"""Streams whose index is partly in the store only, and what becomes of them when it cannot be read."""

import pytest

from core.queue.consumer import Consumer, Gate
from tests.core.state.world import World

SPAN_MS = 10_000


class Reader(Consumer):
    """Reads from a time on; next = the offset of what came first."""

    next = -1
    is_gone = False

    def deliver(self, message, offset, redelivered):
        if self.next < 0:
            self.next = offset

    def gone(self):
        self.is_gone = True


def read_from(world, ms):
    reader = Reader(world.queue("s"), Gate())
    reader.prefetch = 1
    reader.queue.place(reader, "time", ms)
    reader.queue.add_consumer(reader)
    world.run()
    return reader


@pytest.fixture
def world():
    """3,000 messages in 10 s, and of their chunks only those at both ends in memory."""
    made = World(tail_bytes=65536).boot()
    arguments = {"x-queue-type": "stream", "x-max-age": "1h"}
    made.declare("s", arguments=arguments)
    for _ in range(100):
        for _ in range(30):
            made.publish("", "s", b"x" * 100)
        made.run(SPAN_MS / 100 / 1000)
    made.checkpoint()
    assert not made.queue("s").index.loaded(3 * 512)
    return made


def test_a_time_is_found_in_chunks_that_are_in_the_store(world):
    reader = read_from(world, world.broker.clock.ms - SPAN_MS // 2)
    assert 1200 < reader.next < 1900 and world.broker.cold.chunks >= 1


@pytest.mark.parametrize("what", ["a reader", "what is too old"])
def test_a_chunk_that_is_lost_is_read_no_more_and_stops_the_stream(world, what):
    queue = world.queue("s")
    world.store.drop()
    if what == "a reader":
        reader = read_from(world, world.broker.clock.ms - SPAN_MS // 2)
        assert reader.is_gone and reader.next == -1
    else:
        world.run(3600)
    assert queue.stopped and world.broker.cold.chunks <= 2 and world.broker.cold.failed == 1


def test_a_stream_that_is_deleted_while_its_chunk_is_read_is_read_no_more(world):
    world.queue("s").place(Reader(world.queue("s"), Gate()), "time", world.broker.clock.ms - SPAN_MS // 2)
    assert world.broker.cold.chunks == 1
    world.topology.delete_queue(world.vhost, "s", None)
    world.run()
    assert world.broker.cold.chunks == 1
