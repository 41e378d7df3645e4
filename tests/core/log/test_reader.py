"""Cold reads."""

import pytest

from core.errors import LogCorrupt
from core.log.reader import BLOCK_BYTES_MAX, READS_MAX, Reader
from core.log.tail import Tail


@pytest.fixture
def cold(new_disk):
    """A committed log on disk, a reader with an empty tail, and the messages."""
    disk = new_disk(segment_bytes=4 << 20).open()
    messages = [disk.store(bytes([n % 256]) * 2000) for n in range(600)]
    disk.commit()
    return disk, Reader(disk.engine, Tail(0), disk.soon.append, disk.segment_bytes), messages


def units(messages):
    return [(message.offset, message.record_size) for message in messages]


def test_messages_come_in_the_order_asked_for(cold):
    disk, reader, messages = cold
    wanted = [messages[5], messages[500], messages[6], messages[0], messages[5]]
    got = []
    reader.fetch(units(wanted), got.append)
    assert got == [] and reader.pending == 2
    disk.worker.run()
    assert [(m.offset, m.body) for m in got[0]] == [(m.offset, m.body) for m in wanted]
    assert reader.blocks == 2 and reader.pending == 0


def test_neighbours_share_a_block_up_to_its_bound(cold):
    disk, reader, messages = cold
    got = []
    reader.fetch(units(messages), got.append)
    disk.worker.run()
    assert len(got[0]) == 600
    assert reader.blocks == -(-messages[-1].offset // BLOCK_BYTES_MAX)


def test_no_block_spans_two_segments(new_disk):
    disk = new_disk(segment_bytes=64 << 10).open()
    messages = []
    for n in range(100):
        messages.append(disk.store(bytes([n]) * 1500))
        disk.commit()
    reader, got = Reader(disk.engine, Tail(0), disk.soon.append, disk.segment_bytes), []
    reader.fetch(units(messages), got.append)
    disk.worker.run()
    assert [m.body for m in got[0]] == [m.body for m in messages] and reader.blocks == 3


def test_a_record_bigger_than_a_block_is_read_alone(new_disk):
    disk = new_disk(segment_bytes=8 << 20).open()
    messages = [disk.store(b"s"), disk.store((b"a" * (1 << 20), b"b" * (1 << 20))), disk.store(b"t")]
    disk.commit()
    reader, got = Reader(disk.engine, Tail(0), disk.soon.append, disk.segment_bytes), []
    reader.fetch(units(messages), got.append)
    disk.worker.run()
    assert [m.body_size for m in got[0]] == [1, 2 << 20, 1] and reader.blocks == 3


def test_what_the_tail_holds_is_not_read_and_done_comes_in_a_later_turn(cold):
    disk, _, messages = cold
    reader, got = Reader(disk.engine, disk.log.tail, disk.soon.append, disk.segment_bytes), []
    reader.fetch(units(messages[:3]), got.append)
    assert got == [] and reader.pending == 0
    disk.soon.pop()()
    assert got[0][0] is messages[0] and len(got[0]) == 3


def test_reads_under_way_are_bounded(cold):
    disk, reader, messages = cold
    got = []
    for message in messages[:20]:
        reader.fetch(units([message]), got.append)
    assert len(disk.worker.jobs) == READS_MAX and reader.pending == 20
    disk.worker.run()
    assert [m.offset for (m,) in got] == [m.offset for m in messages[:20]]


def test_a_damaged_record_is_an_answer_that_names_the_offset(cold):
    disk, reader, messages = cold
    disk.raw(messages[7].offset + 200, b"\xee")
    got = []
    reader.fetch(units(messages[5:10]), got.append)
    disk.worker.run()
    (error,) = got
    assert isinstance(error, LogCorrupt) and str(messages[7].offset) in str(error)


def test_a_failed_read_is_answered_once(cold):
    disk, reader, messages = cold
    got = []
    reader.fetch([(1 << 40, 10), (1 << 41, 10)], got.append)
    reader.fetch(units(messages[:1]), got.append)
    disk.worker.run()
    assert isinstance(got[0], OSError) and got[1][0].offset == 0 and len(got) == 2 and reader.pending == 0
