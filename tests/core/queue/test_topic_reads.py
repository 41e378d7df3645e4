"""Reading native messages: records as they lie in the log, from memory and from the disk, and places in time."""

import pytest

from core.log.view import View
from core.native import java_hash
from core.queue import topic_reads
from tests.core.state.world import World
from tests.core.test_topics import body_of, put, send

A, B = java_hash(b"a"), java_hash(b"b")
MANY, MUCH = 1 << 20, 1 << 40


@pytest.fixture
def world():
    return World().boot()


def fill(world, count, size=0, tags=(b"a",)):
    put(world)
    for number in range(count):
        properties = b"TAGS\1" + tags[number % len(tags)] + b"\2"
        send(world, body=b"%d" % number + b"." * size, properties=properties)
        if number % 50 == 49:
            world.run(0.01)
    world.run()
    return world.broker.topics.find(b"T").queues[0]


def cold(world):
    """Stop and start: nothing of the messages is in memory."""
    world.checkpoint()
    world.stop()
    world.boot(clean=True)
    return world.broker.topics.find(b"T").queues[0]


def read(world, queue, offset, count=MANY, bytes_max=MUCH, codes=None):
    later = []
    found = queue.read(offset, count, bytes_max, codes, later.append)
    if found is None:
        assert not later  # never from inside the call
        world.run(0.1)
        (found,) = later
    if isinstance(found, Exception):
        raise found
    return found


def numbers(found):
    return [int(body_of(record).rstrip(b".")) for record in found.records]


def everything(world, queue, **options):
    """Read from the first to the last, as a consumer does."""
    offset, got = queue.min_offset, []
    while offset < queue.max_offset:
        found = read(world, queue, offset, **options)
        assert found.next_offset > offset
        got += numbers(found)
        offset = found.next_offset
    return got


def test_records_come_as_they_lie_in_the_log(world):
    queue = fill(world, 10)
    found = read(world, queue, 3, count=4)
    assert (numbers(found), found.next_offset, found.first) == ([3, 4, 5, 6], 7, 3)
    view = View()
    for number, record in enumerate(found.records, 3):
        queue.index.find(number)
        assert view.parse(record, 0, queue.index.log_offset) == len(record) and view.queue_offset == number
    assert found.records[0] is read(world, queue, 3).records[0]  # kept once, never written again


def test_what_is_not_committed_is_not_there(world):
    queue = fill(world, 5)
    send(world)
    assert read(world, queue, 0).next_offset == 5 and read(world, queue, 5).records == []
    world.run()
    assert read(world, queue, 5).next_offset == 6


def test_a_read_keeps_its_limits_but_gives_one_at_least(world):
    queue = fill(world, 10, size=1000)
    size = len(read(world, queue, 5, count=1).records[0])
    assert numbers(read(world, queue, 0, bytes_max=3 * size)) == [0, 1, 2]
    assert numbers(read(world, queue, 0, bytes_max=1)) == [0]
    assert read(world, queue, 0, count=0).next_offset == 0


@pytest.mark.parametrize("from_disk", [False, True])
def test_only_wanted_tags_come_and_800_units_are_looked_at(world, from_disk):
    queue = fill(world, 2000, tags=(b"a",) * 999 + (b"b",))
    queue = cold(world) if from_disk else queue
    found = read(world, queue, 0, codes={B})
    assert (numbers(found), found.next_offset) == ([], 800)
    found = read(world, queue, 800, codes={B})
    assert (numbers(found), found.next_offset) == ([999], 1024 if from_disk else 1600)  # a chunk of the index at a time
    assert everything(world, queue, codes={B}) == [999, 1999]
    assert everything(world, queue, codes={A, B}) == list(range(2000))


def test_a_backlog_comes_from_the_disk_in_order_with_few_reads(world):
    fill(world, 3000, size=100)
    queue = cold(world)
    before = world.broker.reader.blocks
    assert everything(world, queue, count=32) == list(range(3000))
    assert world.broker.reader.blocks - before <= 25  # 3,000 records in pulls of 32 would be 94
    assert len(queue.index.loaded_chunks()) <= 6


def test_two_readers_at_different_places_of_the_disk_each_get_theirs(world):
    fill(world, 2000, size=50)
    queue, one, two = cold(world), 0, 1000
    while one < 1000:
        for place in (one, two):
            found = read(world, queue, place, count=100)
            assert numbers(found) == list(range(place, found.next_offset)) != []
            one, two = (found.next_offset, two) if place == one else (one, found.next_offset)


def test_chunks_and_records_that_were_read_leave_memory_again(world, monkeypatch):
    monkeypatch.setattr(topic_reads, "CHUNKS_MAX", 2)
    monkeypatch.setattr(topic_reads, "AHEAD_QUEUES", 1)
    fill(world, 5000)
    send(world, queue_id=1)
    for _ in range(30):
        send(world, queue_id=1)
    queue = cold(world)
    other = world.broker.topics.find(b"T").queues[1]
    assert everything(world, queue, count=32) == list(range(5000))
    assert len(queue.index.loaded_chunks()) <= 5
    read(world, queue, 0, count=1)
    assert queue.ahead
    read(world, other, 0, count=1)
    assert not queue.ahead and other.ahead


def test_a_record_that_is_damaged_is_an_error_and_those_before_it_are_read(world):
    fill(world, 20)
    queue = cold(world)
    queue.index.find(10)
    at, size = queue.index.log_offset, queue.index.size
    files = world.broker._disk.files
    rest = bytearray(files.read(at, world.broker.log.appended - at))
    rest[95] ^= 0xFF
    files.write_and_sync([(at, [bytes(rest)])], True)
    assert numbers(read(world, queue, 0)) == [0]
    with pytest.raises(Exception, match=f"no message of {size} bytes at log offset {at}"):
        read(world, queue, 10)
    assert numbers(read(world, queue, 11)) == list(range(11, 20))


def test_a_topic_that_is_deleted_meanwhile_is_an_error(world):
    fill(world, 20)
    queue = cold(world)
    later = []
    assert queue.read(0, 1, MUCH, None, later.append) is None
    world.broker.topics.delete(b"T")
    world.run()
    assert isinstance(later[0], LookupError)


@pytest.mark.parametrize("from_disk", [False, True])
def test_places_in_time_are_rocketmq_s(world, from_disk):
    put(world)
    times = []
    for number in range(60):
        world.run(0.05 * (number % 3))
        send(world, body=b"%d" % number)
        times.append(world.broker.clock.ms)
    world.run()
    queue = cold(world) if from_disk else world.broker.topics.find(b"T").queues[0]
    for ms in {times[0] - 1, times[-1] + 1, *(t + d for t in times for d in (-1, 0, 1))}:
        lower, upper = [], []
        queue.offset_at(ms, False, lower.append)
        queue.offset_at(ms, True, upper.append)
        world.run(0.1)
        assert lower == [next((at for at, stored in enumerate(times) if stored >= ms), 60)]
        assert upper == [max((at for at, stored in enumerate(times) if stored <= ms), default=0)]
    told = []
    queue.store_ms(7, told.append)
    queue.store_ms(60, told.append)
    world.run(0.1)
    assert sorted(map(str, told)) == [str(times[7]), "no message at offset 60"]
