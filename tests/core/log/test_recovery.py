"""Finding the log's end: torn tails are cut, damage is refused, by offset."""

import shutil
from array import array

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import LogCorrupt
from core.log.recovery import scan
from tests.core.log.conftest import make_message

SEGMENT = 64 << 10


def recover(disk, start=0, **options):
    """Restart: returns what scan() found and the (kind, offset, body) of every record."""
    disk.files.close()
    disk.open()
    seen = []
    options.setdefault("clean", False)
    result = scan(disk.files, start, lambda view: seen.append((view.kind, view.offset, view.body())), **options)
    return result, seen


def fill(disk, count, size=500, batch=5):
    """`count` messages, `batch` of them in a batch."""
    messages = []
    for number in range(count):
        messages.append(disk.store(bytes([number % 256]) * size))
        if number % batch == batch - 1:
            disk.commit()
    disk.commit()
    return messages


def test_an_empty_log_begins_at_zero(disk):
    disk.open()
    result, seen = recover(disk)
    assert (result.tail, result.records, result.cut_bytes, seen) == (0, 0, 0, [])
    disk.worker.run()
    assert recover(disk)[0].tail == 0


def test_all_records_of_all_segments_come_back_in_order_and_counting_goes_on(disk):
    disk.open()
    messages = fill(disk, 400)
    disk.log.append(2, b"a fact")
    disk.commit()
    end = disk.log.appended
    assert end > 3 * SEGMENT
    result, seen = recover(disk)
    assert (result.tail, result.records, result.cut_bytes) == (end, 401, 0)
    assert [(offset, body) for kind, offset, body in seen if kind == 1] == [(m.offset, m.body) for m in messages]
    assert result.counters == (0, 400, 1, 0, 0) and seen[-1][0] == 2
    disk.open(result.tail, result.counters)
    disk.worker.run()
    fill(disk, 3)
    result, _ = recover(disk, messages[200].offset, counters=(0, 200, 0, 0, 0))
    assert result.records == 204 and result.counters == (0, 403, 1, 0, 0)


def test_freed_segments_are_not_missed_but_a_checkpoint_that_needs_them_is_refused(disk):
    disk.open()
    messages = fill(disk, 400)
    disk.files.remove_front(2 * SEGMENT)
    result, seen = recover(disk)
    assert result.records == len([m for m in messages if m.offset >= 2 * SEGMENT]) == len(seen)
    for start in (messages[1].offset, 1 << 40):
        with pytest.raises(LogCorrupt, match=f"up to {start}, but it spans {2 * SEGMENT}"):
            recover(disk, start)


def test_records_bigger_than_a_block_are_read_whole(new_disk, monkeypatch):
    monkeypatch.setattr("core.log.recovery.BLOCK_BYTES", 4096)
    disk = new_disk().open()
    sizes = [10, 20_000, 4096, 3900, 40_000, 1, 30_000, 4000]
    for size in sizes:
        disk.store(b"x" * size)
    disk.commit()
    result, seen = recover(disk)
    assert [len(body) for _, _, body in seen] == sizes and result.tail == disk_end(seen, disk)


def disk_end(seen, disk):
    return seen[-1][1] + len(seen[-1][2]) + overhead(disk)


def overhead(disk):
    return disk.store(b"").record_size


def test_a_tail_torn_at_any_byte_of_the_last_record_is_cut_there(disk, tmp_path):
    disk.open()
    messages = fill(disk, 11, size=40)
    last = messages[-1]
    record = disk.files.read(last.offset, last.record_size)
    for kept in range(last.record_size):
        disk.raw(last.offset, record[:kept] + bytes(last.record_size - kept))
        result, _ = recover(disk)
        nonzero = len(record[:kept].rstrip(b"\0"))
        assert (result.tail, result.records, result.cut_bytes) == (last.offset, 10, nonzero)
        assert disk.files.read(last.offset, last.record_size) == bytes(last.record_size)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_torn_batch_is_cut_whatever_pages_of_it_arrived(disk, data):
    """A crash while a batch is written leaves any part of it; what was committed before stays, to the byte."""
    shutil.rmtree(disk.path, ignore_errors=True)
    disk.open()
    disk.worker.run()
    whole = fill(disk, data.draw(st.integers(0, 9)), size=100)
    committed = disk.log.appended
    torn = [disk.store(b"torn" * data.draw(st.integers(1, 900))) for _ in range(8)]
    disk.commit()
    for number in range(committed // 512, disk.log.appended // 512 + 1):
        start = max(committed, number * 512)
        if data.draw(st.booleans()):
            disk.raw(start, bytes((number + 1) * 512 - start))
    result, seen = recover(disk)
    offsets = [offset for _, offset, _ in seen]
    expected = [message.offset for message in whole + torn]
    assert offsets == expected[: len(offsets)] and len(offsets) >= len(whole)
    again, repeated = recover(disk)
    assert (again.tail, again.cut_bytes, repeated) == (result.tail, 0, seen)


def test_after_a_cut_the_log_goes_on_and_no_survivor_of_the_torn_batch_comes_back(disk):
    disk.open()
    messages = fill(disk, 10, size=100, batch=10)
    disk.raw(messages[3].offset, bytes(8))
    result, _ = recover(disk)
    assert result.records == 3 and result.cut_bytes == disk_cut(messages)
    disk.open(result.tail, result.counters)
    disk.worker.run()
    disk.store(messages[3].body)  # fills exactly the gap before a survivor
    disk.commit()
    result, _ = recover(disk)
    assert result.records == 4 and result.tail == messages[4].offset


def disk_cut(messages):
    return messages[-1].offset + messages[-1].record_size - messages[3].offset


@pytest.mark.parametrize("at", [0, 4, 8, 30, 76, 100, -1])
def test_damage_before_a_later_batch_is_refused_with_the_offset(disk, at):
    disk.open()
    messages = fill(disk, 40)
    victim = messages[12]
    place = victim.offset + at % victim.record_size
    byte = disk.files.read(place, 1)
    disk.raw(place, bytes([byte[0] ^ 0x40]))
    with pytest.raises(LogCorrupt, match=f"damaged at offset {victim.offset}:"):
        recover(disk)
    disk.raw(place, byte)
    assert recover(disk)[0].records == 40


@pytest.mark.parametrize("block", range(240, 300, 4))
def test_a_later_batch_is_seen_wherever_blocks_end(disk, monkeypatch, block):
    monkeypatch.setattr("core.log.recovery.BLOCK_BYTES", block)
    disk.open()
    victim = fill(disk, 1, size=100)[0]
    fill(disk, 1, size=100)
    disk.raw(0, bytes(victim.record_size))
    disk.raw(victim.record_size - 1, b"\1")  # so that blocks begin here or there
    with pytest.raises(LogCorrupt, match="offset 0:"):
        recover(disk)


def test_a_blank_of_a_wrong_size_is_damage(disk):
    disk.open()
    messages = fill(disk, 200)
    disk.raw(messages[50].offset, (100).to_bytes(4, "big") + bytes.fromhex("cbd43194"))
    with pytest.raises(LogCorrupt, match=f"offset {messages[50].offset}:"):
        recover(disk)


def test_damage_in_one_segment_is_seen_from_a_later_one(disk):
    disk.open()
    messages = fill(disk, 200)
    boundary = max(m.offset for m in messages if m.offset < SEGMENT)
    disk.raw(boundary, bytes(SEGMENT - boundary))  # the last record and the blank behind it
    with pytest.raises(LogCorrupt, match=f"offset {boundary}:"):
        recover(disk)


def test_unsynced_batches_are_cut_with_async_flush_but_not_more_than_that(disk):
    disk.open()
    messages = fill(disk, 40)
    disk.raw(messages[30].offset, bytes(100))
    behind = disk.log.appended - messages[30].offset
    with pytest.raises(LogCorrupt):
        recover(disk, unsynced_bytes=behind - 1)
    result, _ = recover(disk, unsynced_bytes=behind)
    assert result.records == 30 and result.cut_bytes == behind


def test_after_a_clean_stop_there_is_no_torn_tail(disk):
    disk.open()
    messages = fill(disk, 10)
    assert recover(disk, clean=True)[0].records == 10
    disk.raw(messages[-1].offset + 100, b"\xff")
    with pytest.raises(LogCorrupt, match="closed cleanly"):
        recover(disk, clean=True)


def test_what_the_last_checkpoint_reflects_must_be_there_whatever_the_stop_was(disk):
    disk.open()
    messages = fill(disk, 20)
    batch, end = disk.log.batch_offset, disk.log.appended
    assert batch == messages[15].offset
    for clean in (True, False):
        result, seen = recover(disk, end, batch=batch, clean=clean)
        assert (seen, result.batch) == ([], batch)
    assert recover(disk)[0].batch == batch, "as it was found"
    lost = messages[-2].offset
    for clean in (True, False):
        for harm in (b"\xff" * 10, bytes(end - lost)):  # damaged, or never written
            old = disk.files.read(lost, len(harm))
            disk.raw(lost, harm)
            text = f"damaged at offset {lost}: the state reflects it up to {end}, .*mqgateway repair"
            with pytest.raises(LogCorrupt, match=text):
                recover(disk, end, batch=batch, clean=clean)
            disk.raw(lost, old)
    assert recover(disk, end, batch=batch)[0].tail == end


def test_a_batch_over_the_edge_of_a_segment_is_seen_whole_before_a_checkpoint(disk):
    disk.open()
    messages = [disk.store(bytes([number % 256]) * 500) for number in range(300)]
    disk.commit()
    assert disk.log.batch_offset == 0 and disk.log.appended > SEGMENT
    end = disk.log.appended
    assert recover(disk, end, batch=0)[0].tail == end
    old = disk.files.read(messages[3].offset, 9)
    disk.raw(messages[3].offset, bytes(9))
    with pytest.raises(LogCorrupt, match=f"damaged at offset {messages[3].offset}:"):
        recover(disk, end, batch=0)
    disk.raw(messages[3].offset, old)


def test_recycled_space_with_old_records_is_the_log_s_end(disk):
    disk.open()
    messages = fill(disk, 6)
    old = disk.files.read(0, disk.log.appended)
    end = disk.log.appended
    disk.raw(end, old)
    result, seen = recover(disk)
    assert (result.tail, len(seen)) == (end, len(messages))


def test_a_log_that_ends_with_a_blank_goes_on_in_the_next_segment(disk):
    disk.open()
    while disk.log.appended < SEGMENT:
        last = disk.store(b"x" * 3000)
    disk.commit()
    disk.raw(last.offset, bytes(last.record_size))
    result, _ = recover(disk)
    assert result.tail == last.offset == SEGMENT and result.cut_bytes == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=400))
def test_any_garbage_behind_the_end_is_cut(disk, garbage):
    shutil.rmtree(disk.path, ignore_errors=True)
    disk.open()
    disk.worker.run()
    fill(disk, 3)
    end = disk.log.appended
    disk.raw(end, garbage)
    result, _ = recover(disk)
    assert (result.tail, result.records) == (end, 3)
    assert result.cut_bytes == len(garbage.rstrip(b"\0"))


def transaction(disk, *sizes, settled=()):
    """Store messages of these sizes as one transaction in a batch of its own; gives them."""
    disk.log.join(sum(sizes))
    messages = [disk.store(b"t" * size) for size in sizes]
    disk.log.end_joined(list(settled))
    disk.commit()
    return messages


@pytest.mark.parametrize("settled", [(), (b"\x01\x00", b"\x02\x00")], ids=["nothing settled", "two done records"])
def test_a_transaction_comes_back_with_the_done_records_that_end_it(disk, settled):
    disk.open()
    fill(disk, 2)
    transaction(disk, 10, 20, settled=settled)
    fill(disk, 1)
    result, seen = recover(disk)
    assert result.tail == seen[-1][1] + overhead(disk) + 500
    ends = [(3, body) for body in settled or [b""]]
    assert [(kind, body) for kind, _, body in seen[2:-1]] == [(1, b"t" * 10), (1, b"t" * 20), *ends]
    assert result.counters == (0, 5, 0, len(ends), 0)


def test_a_transaction_torn_at_any_record_is_cut_whole_and_what_was_before_it_in_its_batch_stays(disk):
    disk.open()
    fill(disk, 3)
    before = disk.store(b"same batch")
    messages = transaction(disk, 100, 100, 100)
    start, end = messages[0].offset, disk.log.appended
    image = disk.files.read(start, end - start)
    for kept in [*range(0, len(image), 7), len(image) - 1]:
        disk.raw(start, image[:kept] + bytes(len(image) - kept))
        result, seen = recover(disk)
        assert result.tail == start and seen[-1][1] == before.offset, kept
        disk.raw(start, image)
    result, seen = recover(disk)
    assert result.tail == end and result.records == 8


def test_a_transaction_is_one_batch_however_large_also_over_segments(disk):
    disk.open(batch_bytes_max=4096)
    fill(disk, 2)
    batches = disk.log.batches
    messages = transaction(disk, *[5000] * 30)
    assert disk.log.batches == batches + 1
    assert messages[-1].offset - messages[0].offset > 2 * SEGMENT
    result, seen = recover(disk)
    assert result.records == 33 and result.tail == disk_end_of(seen, result)
    last = messages[-1]
    disk.raw(last.offset, bytes(last.record_size))
    result, seen = recover(disk)
    assert result.tail == messages[0].offset and result.records == 2
    assert recover(disk)[0].cut_bytes == 0


def disk_end_of(seen, result):
    """The end of the empty done record that ends the log."""
    assert seen[-1][0] == 3 and seen[-1][2] == b""
    return result.tail


def test_a_damaged_transaction_behind_which_batches_follow_is_refused_and_the_bad_record_is_named(disk):
    disk.open()
    fill(disk, 2)
    messages = transaction(disk, 50, 50, 50)
    fill(disk, 2)
    bad = messages[1]
    disk.raw(bad.offset + 90, b"?")
    with pytest.raises(LogCorrupt, match=f"damaged at offset {bad.offset}"):
        recover(disk)


def test_links_inside_a_transaction_leave_it_joined(disk):
    disk.open()
    places = array("q", [number for queue in range(300) for number in (queue, 0, 0)])
    disk.log.join(1000)
    disk.log.append_store(make_message(b"wide"), places, 300)
    disk.store(b"after the links")
    disk.log.end_joined([])
    disk.commit()
    flags = []
    disk.files.close()
    disk.open()
    scan(disk.files, 0, lambda view: flags.append((view.kind, view.flag & 2)))
    assert flags == [(1, 2), (4, 2), (1, 2), (3, 0)]


def test_a_transaction_that_stored_nothing_leaves_no_trace(disk):
    disk.open()
    end = disk.log.appended
    transaction(disk)
    assert disk.log.appended == end
