"""Native records: RocketMQ's bytes, checked by a decoder of its own and against a real broker's, and how the log that
holds them is recovered, cut, checked and mended, though they say nothing of their batch."""

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import LimitReached, LogCorrupt
from core.log.decode import decode_block
from core.log.keeping import STORE_MS_END, stored_ms
from core.log.mend import find
from core.log.native_encoder import NativeEncoder
from core.log.record import DONE, NATIVE, STORE
from core.log.recovery import scan
from core.log.scrub import scrub
from core.log.sieve import Sieve
from core.log.view import CUT_SHORT, INVALID, UNKNOWN, View
from core.native import Native, java_hash, property_of, tags_code
from tests.core.log.newer import signed
from tests.core.log.test_recovery import recover

GOLDEN = Path(__file__).parents[2] / "golden"


def native(number=0, body=b"hello", topic=b"T", **fields):
    message = Native(topic, fields.pop("queue_id", 0), body, fields.pop("properties", b"TAGS\x01TagA\x02"))
    message.queue_offset = number
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def encoded(message, offset=4096, store_ms=1_700_000_000_123):
    encoder = NativeEncoder()
    size = encoder.plan(message)
    encoder.queue_offset, encoder.offset, encoder.store_ms = message.queue_offset, offset, store_ms
    page = bytearray(size + 10)
    if encoder.inline():
        assert encoder.write(page, 5) == 5 + size
        return bytes(page[5 : 5 + size])
    pieces, head = [], encoder.head_bytes
    end = encoder.write_around(page, 5, pieces)
    return bytes(page[5 : 5 + head]) + b"".join(pieces) + bytes(page[5 + head : end])


def plain(data):
    """RocketMQ's layout read the plain way: no code of ours."""
    names = ("size", "magic", "body_crc", "queue_id", "flag", "queue_offset", "offset", "sys_flag", "born_ms")
    fields = dict(zip(names, struct.unpack_from(">IIIiiqqiq", data), strict=True))
    at = 48
    for name, bit in (("born_host", 0x10), ("store_host", 0x20)):
        size = 20 if fields["sys_flag"] & bit else 8
        fields[name] = data[at : at + size]
        at += size
        if name == "born_host":
            (fields["store_ms"],) = struct.unpack_from(">q", data, at)
            at += 8
    fields["reconsume_times"], fields["prepared_offset"], size = struct.unpack_from(">iqI", data, at)
    fields["body"] = data[at + 16 : at + 16 + size]
    at += 16 + size
    wide = fields["magic"] == 0xDAA320AB
    size = int.from_bytes(data[at : at + 1 + wide], "big")
    at += 1 + wide
    fields["topic"] = data[at : at + size]
    at += size
    fields["properties"] = data[at + 2 : -20]
    assert len(data) == fields["size"] == at + 2 + int.from_bytes(data[at : at + 2], "big")
    crc = zlib.crc32(data[:-20]) & 0x7FFFFFFF
    assert data[-20:] == b"__CRC32#\x01" + (b"%010d" % crc)[::-1] + b"\x02"
    assert fields["body_crc"] == zlib.crc32(fields["body"]) & 0x7FFFFFFF
    return fields


HOSTS = st.sampled_from([b"\x7f\0\0\1\0\0\x2a\x9f", bytes(15) + b"\1\0\0\x2a\x9f"])
I32 = st.integers(-(1 << 31), (1 << 31) - 1)
MESSAGES = st.builds(
    native,
    st.integers(0, 1 << 40),
    st.one_of(st.binary(max_size=300), st.just(b"big" * 9000), st.just((b"in ", b"two"))),
    st.sampled_from([b"T", b"%RETRY%g", b"x" * 127, b"x" * 128, b"y" * 255, b"CORDUROY_"[:8]]),
    queue_id=st.integers(0, 1000),
    flag=I32,
    sys_flag=st.sampled_from([0, 1, 0x301, 8]),
    born_ms=st.integers(0, 1 << 42),
    born_host=HOSTS,
    store_host=HOSTS,
    reconsume_times=st.integers(0, 20),
    prepared_offset=st.integers(0, 1 << 50),
    properties=st.sampled_from([b"", b"KEYS\x01k\x02", b"KEYS\x01k", b"a\x01b\x02TAGS\x01\xc3\xa4\x02"]),
)
SAME = ("queue_id", "flag", "born_ms", "born_host", "store_host", "reconsume_times", "prepared_offset", "topic")


@given(MESSAGES)
def test_a_record_has_rocketmq_s_fields_and_comes_back_as_it_was(message):
    data = encoded(message)
    fields = plain(data)
    body = message.body if isinstance(message.body, bytes) else b"".join(message.body)
    closed = message.properties + b"\x02" if message.properties[-1:] not in (b"", b"\x02") else message.properties
    v6 = 0x10 * (len(message.born_host) == 20) | 0x20 * (len(message.store_host) == 20)
    assert {name: fields[name] for name in SAME} == {name: getattr(message, name) for name in SAME}
    assert (fields["body"], fields["properties"], fields["sys_flag"]) == (body, closed, message.sys_flag | v6)
    assert (fields["queue_offset"], fields["offset"]) == (message.queue_offset, 4096)
    assert fields["store_ms"] == 1_700_000_000_123 == stored_ms(data[:STORE_MS_END], 4096)
    view = View()
    assert view.parse(b"--" + data, 2, 4096) == len(data) and view.kind == NATIVE
    assert (view.batch_offset, view.joined) == (-1, False)
    again = view.native()
    assert {name: getattr(again, name) for name in SAME} == {name: getattr(message, name) for name in SAME}
    assert (again.body, again.properties, again.queue_offset) == (body, closed, message.queue_offset)
    assert encoded(again) == data


def test_a_real_broker_s_records_are_read_and_written_byte_for_byte():
    lines = (GOLDEN / "native_records.txt").read_text().splitlines()
    records = [line.split() for line in lines if not line.startswith("#")]
    assert len(records) >= 2
    for offset, text in records:
        data, view = bytes.fromhex(text), View()
        assert view.parse(data, 0, int(offset)) == len(data) and view.kind == NATIVE
        assert encoded(view.native(), int(offset), view.store_ms) == data
        assert plain(data)["topic"] == b"GoldenTopic"
    assert view.body() == b"hello golden" and property_of(view.properties(), b"TAGS") == b"TagA"


@given(MESSAGES, st.data())
def test_any_byte_that_changed_is_seen(message, data):
    record = bytearray(encoded(message))
    at = data.draw(st.integers(0, len(record) - 1))
    record[at] ^= data.draw(st.integers(1, 255))
    assert View().parse(bytes(record), 0, 4096) in (INVALID, CUT_SHORT, 0)


def test_a_whole_record_of_another_layout_is_a_newer_version_s():
    record = encoded(native())
    for data in (record[:4] + bytes.fromhex("daa320ab") + record[8:], record[:36] + b"\0\0\0\x30" + record[40:]):
        assert View().parse(signed(data), 0, 4096) == UNKNOWN


def test_what_is_too_long_is_refused():
    with pytest.raises(LimitReached, match="properties of 32768 bytes, the CRC included, exceed 32767"):
        NativeEncoder().plan(native(properties=b"k\x01" + b"v" * 32745 + b"\x02"))


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"", 0), (b"TagA", 2598919), (b"polygenelubricants", -(1 << 31)), ("Tägä€😀".encode(), None)],
)
def test_tags_are_hashed_as_java_does(text, value):
    units = text.decode().encode("utf-16-be")
    wanted = 0
    for high, low in zip(units[::2], units[1::2], strict=True):
        wanted = (31 * wanted + (high << 8 | low)) & 0xFFFFFFFF
    assert java_hash(text) == (wanted ^ 0x80000000) - 0x80000000
    if text.isascii():
        assert java_hash(text) == value


def test_the_tags_code_is_the_hash_of_the_last_tags_or_when_a_scheduled_message_is_due():
    assert tags_code(b"T", b"TAGS\x01a\x02TAGS\x01TagA\x02", 0) == 2598919
    assert tags_code(b"T", b"KEYS\x01TAGS\x02", 5) == tags_code(b"T", b"", 5) == tags_code(b"T", b"TAGS\x02x", 5) == 0
    assert tags_code(b"SCHEDULE_TOPIC_XXXX", b"TAGS\x01a\x02DELAY\x013\x02", 1000) == 11_000
    assert tags_code(b"SCHEDULE_TOPIC_XXXX", b"DELAY\x0199\x02", 0) == 7_200_000


# -- in the log


def store(disk, number, size=200):
    message = native(number, b"%06d" % number * (size // 6))
    disk.log.append_native(message)
    return message


def fill(disk, count, batch=5, size=200):
    messages = []
    for number in range(count):
        messages.append(store(disk, number, size))
        if number % batch == batch - 1:
            disk.commit()
    disk.commit()
    return messages


def natives(seen):
    return [(offset, body) for kind, offset, body in seen if kind == NATIVE]


def places(messages):
    return [(message.offset, message.body) for message in messages]


def test_all_come_back_over_all_segments_and_own_records_count_on(disk):
    disk.open()
    messages = fill(disk, 700)
    end, marks = disk.log.appended, disk.log.counters()[DONE]
    assert end > 3 * (64 << 10) and marks == 2 * 140
    result, seen = recover(disk)
    assert (result.tail, result.cut_bytes) == (end, 0) and natives(seen) == places(messages)
    assert result.counters == (0, 0, 0, marks, 0)
    assert result.batch == disk_batch(disk, messages[-1])


def disk_batch(disk, message):
    """Where the batch of a message began, by the mark behind it."""
    view = View()
    at = message.offset + message.record_size
    view.parse(disk.files.read(at, 200), 0, at)
    return view.batch_offset


def test_every_batch_begins_and_ends_with_a_record_of_ours_and_none_is_far_from_one(disk):
    disk.open()
    for number in range(40):
        store(disk, number, 12_000)
    batch = disk.log.batch_offset
    disk.commit()
    kinds, own = [], 0
    disk.files.close()
    disk.open()

    def look(view):
        nonlocal own
        kinds.append(view.kind)
        if view.kind == NATIVE:
            assert view.offset - own < (32 << 10) + (64 << 10) * (view.offset // (64 << 10) > own // (64 << 10))
        else:
            own = view.offset + view.size

    scan(disk.files, 0, look)
    assert kinds[0] == kinds[-1] == DONE and 10 < kinds.count(DONE) < 30 and batch >= 0


@pytest.mark.parametrize("damaged", range(10, 15))
def test_a_torn_batch_is_cut_where_its_first_record_is_bad(disk, damaged):
    disk.open()
    messages = fill(disk, 15)
    flip(disk, messages[damaged].offset + 100)
    result, seen = recover(disk)
    assert result.tail == messages[damaged].offset and natives(seen) == places(messages[:damaged])
    assert recover(disk)[0].cut_bytes == 0


def test_damage_in_front_of_a_batch_is_refused(disk):
    disk.open()
    messages = fill(disk, 15)
    flip(disk, messages[9].offset + 100)
    with pytest.raises(LogCorrupt, match=f"damaged at offset {messages[9].offset}"):
        recover(disk)


@pytest.mark.parametrize("survivors", ["first", "last", "middle"])
def test_damage_over_the_end_of_a_batch_is_known_by_whatever_is_left_of_the_next(disk, survivors):
    """Of the last batch a stretch of 33 KiB is whole: that is enough to know that the one before it was complete."""
    disk.open()
    fill(disk, 5)
    messages = [store(disk, 5 + number, 600) for number in range(200)]
    disk.commit()
    end = disk.log.appended
    kept = {"first": (0, 60), "last": (140, 200), "middle": (70, 130)}[survivors]
    flip(disk, messages[0].offset - 300)  # the mark at the end of the batch before
    for number, message in enumerate(messages):
        if not kept[0] <= number < kept[1]:
            flip(disk, message.offset + 100)
    if survivors != "first":
        flip(disk, messages[0].offset - 60)
    if survivors != "last":
        flip(disk, end - 60)
    with pytest.raises(LogCorrupt, match="damaged at offset"):
        recover(disk)


def flip(disk, offset):
    byte = disk.files.read(offset, 1)
    disk.raw(offset, bytes([byte[0] ^ 0xFF]))


def test_a_start_within_a_batch_writes_no_more_than_that_batch_again(disk):
    disk.open()
    messages = fill(disk, 300)
    written = []
    disk.files.close()
    disk.open()
    batch = disk_batch(disk, messages[-1])
    again = disk.files.write_and_sync
    disk.files.write_and_sync = lambda parts, sync: (written.append(parts[0][0]), again(parts, sync))
    result = scan(disk.files, messages[-1].offset, lambda view: None, batch=batch)
    assert result.records == 2 and written == [batch] and batch > 64 << 10


def test_a_transaction_of_native_records_is_there_as_a_whole_or_not_at_all(disk):
    disk.open()
    fill(disk, 5)
    disk.log.join(4000)
    messages = [store(disk, 5), store(disk, 6)]
    disk.log.end_joined([])
    disk.commit()
    begin = disk.log.batch_offset
    result, seen = recover(disk)
    assert natives(seen)[-2:] == places(messages) and result.tail > messages[1].offset
    flip(disk, messages[1].offset + messages[1].record_size + 60)  # its last record
    result, seen = recover(disk)
    assert len(natives(seen)) == 5 and result.tail == begin


def test_scrub_and_repair_count_native_records_by_queue(disk):
    disk.open()
    messages = fill(disk, 20)
    store_again = native(0, b"made anew")
    disk.log.append_native(store_again)
    disk.commit()
    disk.files.close()
    disk.open()
    assert scrub(disk.files, lambda view: None).damages == []
    skipped = native(7, b"one is missing before it")
    disk.open(scan(disk.files, 0, lambda view: None).tail)
    disk.worker.run()
    disk.log.append_native(skipped)
    disk.commit()
    assert [damage.text for damage in scrub(disk.files, lambda view: None).damages][-1:] == [
        "its queue offset is 7, due was 1"
    ]
    flip(disk, messages[3].offset + 100)
    assert [(at.start, at.stop) for at in find(disk.files, False, 0)] == [(messages[3].offset, messages[4].offset)]


def test_a_sieve_goes_past_them(disk):
    disk.open()
    wanted = disk.store(b"wanted")
    for topic in (b"T", b"CORDUROX_MESSAGE", b"x" * 200):
        message = native(0, topic=topic, born_host=bytes(20))
        disk.log.append_native(message)
    wanted = [wanted, disk.store(b"too")]
    disk.commit()
    found = Sieve(1).sift(disk.files.read(0, disk.log.appended), 0)
    assert list(found.found[::3]) == [message.offset for message in wanted] and found.end == disk.log.appended


def test_a_block_gives_their_bytes_beside_messages(disk):
    disk.open()
    one, two = disk.store(b"one"), store(disk, 0)
    disk.commit()
    block = disk.files.read(0, disk.log.appended)
    units, got = [(one.offset, one.record_size), (two.offset, two.record_size)], [None, None]
    decode_block(block, 0, units, [0, 1], got)
    assert got[0].body == b"one" and got[1] == block[two.offset : two.offset + two.record_size]
    assert disk.log.tail.get(two.offset) == got[1]
    with pytest.raises(LogCorrupt):
        decode_block(block[:-1] + b"?", 0, [(two.offset, two.record_size + 1)], [0], [None])


def test_the_tail_keeps_a_large_record_in_one_piece(disk):
    disk.open()
    message = native(0, b"large" * 5000)
    disk.log.append_native(message)
    disk.commit()
    record = disk.files.read(message.offset, message.record_size)
    assert disk.log.tail.get(message.offset) == record and plain(record)["body"] == message.body


def test_a_topic_of_ours_is_never_a_native_message():
    with pytest.raises(AssertionError):
        NativeEncoder().plan(native(topic=b"CORDUROY_MESSAGE"))


def test_a_batch_that_is_cut_before_a_message_of_ours_gets_its_mark_and_the_message_is_whole(new_bench):
    bench = new_bench(batch_bytes_max=4096)
    for number in range(3):
        bench.log.append_native(native(number, b"n" * 1000))
    message = bench.store(b"m" * 2000)
    bench.log.submit()
    bench.engine.finish_all()
    image, view, kinds, at = bench.engine.image(), View(), [], 0
    while at < len(image):
        at += view.parse(image, at, at)
        kinds.append((view.kind, view.batch_offset))
    assert kinds == [(DONE, 0), (NATIVE, -1), (NATIVE, -1), (NATIVE, -1), (DONE, 0), (STORE, message.offset)]
    assert view.message().body == message.body
