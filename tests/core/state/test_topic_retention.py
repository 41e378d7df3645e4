"""What is kept of a log with native messages: by age and by how full the disk is, as RocketMQ does; not by size."""

import pytest

from tests.core.state.world import SEGMENT_BYTES, World
from tests.core.test_topics import bodies, extents, put, send

HOUR = 3600.0


def fill(world, segments, size=400, name=b"T"):
    """Messages until the log is so many segments longer; returns how many."""
    end, count = world.broker.log.appended + segments * SEGMENT_BYTES, 0
    while world.broker.log.appended < end:
        send(world, name, body=b"%d" % count + b"." * size)
        count += 1
        if count % 20 == 0:
            world.run(0.01)
    world.run()
    return count


def kept_bytes(world):
    return world.broker.log.appended - world.broker.retention.first


def test_segments_with_native_messages_stay_whatever_their_size_and_go_by_age():
    world = World(keep_bytes=SEGMENT_BYTES, keep_hours=2).boot()
    put(world)
    count = fill(world, 5)
    world.checkpoint()
    assert extents(world)[0] == (0, count) and world.broker.retention.first == 0
    world.run(1.5 * HOUR)
    more = fill(world, 3)
    world.run(0.6 * HOUR)
    world.broker.clock.tick()
    world.checkpoint()
    world.run()
    low, high = extents(world)[0]
    assert 0 < low <= count and high == count + more
    assert world.broker.retention.first >= 4 * SEGMENT_BYTES and world.broker.retention.freed["size"] == 0
    assert [body.split(b".")[0] for body in bodies(world)] == [
        b"%d" % (number if number < count else number - count) for number in range(low, high)
    ]


def test_what_lies_in_front_of_native_messages_is_kept_for_replay_only():
    world = World(keep_bytes=SEGMENT_BYTES).boot()
    world.declare("q")
    while world.broker.log.appended < 4 * SEGMENT_BYTES:
        world.publish("", "q", b"x" * 500)
        world.run(0.01)
    world.queue("q").purge()
    world.run()
    put(world)
    count = fill(world, 4)
    world.checkpoint()
    world.run()
    world.checkpoint()
    world.run()
    assert world.broker.retention.first >= 3 * SEGMENT_BYTES and world.broker.retention.freed["size"] >= 3
    assert extents(world)[0] == (0, count)


def test_when_its_topic_is_deleted_a_log_is_kept_for_replay_only():
    world = World(keep_bytes=SEGMENT_BYTES).boot()
    put(world)
    put(world, b"other")
    fill(world, 4)
    fill(world, 1, name=b"other")
    world.broker.topics.delete(b"T")
    world.run()
    world.checkpoint()
    world.run()
    world.checkpoint()
    world.run()
    assert world.broker.retention.first >= 3 * SEGMENT_BYTES
    assert extents(world, b"other")[0][0] == 0
    world.broker.topics.delete(b"other")
    world.checkpoint()
    world.run()
    assert kept_bytes(world) <= 3 * SEGMENT_BYTES


@pytest.mark.parametrize("state_lost", [False, True])
def test_a_disk_that_is_nearly_full_takes_the_oldest_whatever_their_age(state_lost):
    world = World(keep_bytes=SEGMENT_BYTES).boot()
    put(world)
    count = fill(world, 6)
    world.checkpoint()
    total = 1 << 40
    world.broker.retention.look(total * 15 // 100 - 2 * SEGMENT_BYTES, total)
    world.run()
    assert world.broker.retention.freed["disk"] == 2
    low, high = extents(world)[0]
    assert 0 < low < high == count
    world.crash(state_lost)
    world.boot()
    world.run()
    assert extents(world)[0] == (low, count) and send(world) == count


def test_queues_of_which_chunks_are_in_the_store_begin_where_the_log_does():
    world = World(keep_bytes=SEGMENT_BYTES, keep_hours=1).boot()
    put(world)
    count = fill(world, 12, size=1)
    world.checkpoint()
    world.stop()
    world.boot(clean=True)
    queue = world.broker.topics.find(b"T").queues[0]
    assert count > 5000 and len(queue.index.loaded_chunks()) < 5
    world.run(1.5 * HOUR)
    send(world)
    world.run()
    world.checkpoint()
    world.run()
    first = world.broker.retention.first
    assert first >= 10 * SEGMENT_BYTES
    low = queue.min_offset
    assert 4000 < low < count
    found = []
    assert queue.read(low, 1, 1 << 20, None, found.append) is None
    world.run()
    assert int.from_bytes(found[0].records[0][28:36], "big") >= first
    before = []
    queue.store_ms(low - 1, before.append)
    assert isinstance(before[0], LookupError)
