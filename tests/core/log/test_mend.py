"""What is damaged is filled so that the log reads from end to end; what is sound is left as it is."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.disk.files import SegmentFiles
from core.log.blocking import BlockingLog
from core.log.mend import EMPTY_BYTES, Filler, MendedLog, Missing, Stretch, fillers, find, written_to
from core.log.record import DONE, OTHER, STATE
from core.log.recovery import Walk, scan
from core.log.scrub import scrub
from core.message import Message
from tests.simulation.disk import SimDisk

SEGMENT_BYTES = 16 << 10


class Log:
    """Records of all kinds and sizes on a disk; `records` = {offset: (kind, size, body)}, ends[0] = its end."""

    def __init__(self, sizes, commits=3):
        self.disk = SimDisk(Random(1), 1 << 30)
        self.files = SegmentFiles("commitlog", SEGMENT_BYTES, ops=self.disk)
        log = BlockingLog(self.files)
        for number, size in enumerate(sizes):
            body = b"%d " % number + b"." * size
            if number % 3 == 2:
                log.append((DONE, STATE)[number % 2], body, 5)
            else:
                log.store(Message((b"/", b"", b"q"), b"", body, len(body), True), [(1, number, 0)], 5)
            if number % commits == 0:
                log.commit()
        log.commit()
        self.tail = log.tail
        self.records = self.read()

    def read(self):
        found = {}
        Walk(self.files, lambda view: found.update({view.offset: (view.kind, view.size, view.body())})).run(0)
        return found

    def damage(self, at, count=1):
        for place in range(at, min(at + count, self.tail)):
            byte = self.files.read(place, 1)[0]
            self.files.write_and_sync([(place, [bytes([byte ^ 0x55])])], True)

    def hit(self, places):
        """Offsets of the records that a damage of these places touches."""
        return {
            offset
            for offset, (_, size, _) in self.records.items()
            if any(offset <= at < offset + size for at in places)
        }

    def mend(self, clean=False, known_end=0):
        stretches = find(self.files, clean, known_end)
        for filler in MendedLog(self.files, stretches).fillers:
            self.files.write_and_sync([(filler.offset, [filler.bytes()])], True)
        return stretches


SIZES = st.lists(st.integers(0, 3000), min_size=3, max_size=60)


@settings(max_examples=60)
@given(SIZES, st.lists(st.tuples(st.floats(0, 1), st.integers(1, 5000)), min_size=1, max_size=5), st.booleans())
def test_whatever_is_damaged_the_rest_reads_on_and_nothing_is_damaged_any_more(sizes, damages, clean):
    log = Log(sizes)
    places = set()
    for share, count in damages:
        at = min(int(share * log.tail), log.tail - 1)
        places |= set(range(at, min(at + count, log.tail)))
    for at in places:
        log.damage(at)
    hit = log.hit(places)
    stretches = log.mend(clean, log.tail)
    found = log.read()
    kept = {offset: record for offset, record in log.records.items() if offset not in hit}
    assert {offset: record for offset, record in found.items() if record[0] != OTHER} == kept
    covered = {offset for offset in log.records if any(each.start <= offset < each.stop for each in stretches)}
    assert covered == hit
    assert scrub(log.files, lambda view: None)[3:] == (0, []), "torn bytes, damages"
    assert find(log.files, clean, log.tail) == []
    recovered = scan(log.files, 0, lambda view: None, clean=clean)
    assert recovered.tail >= log.tail or not hit


def test_what_is_seen_as_mended_is_what_mending_makes():
    log = Log([500] * 100)
    for at in (100, 5000, SEGMENT_BYTES - 50, 2 * SEGMENT_BYTES + 3):
        log.damage(at, 700)
    mended = MendedLog(log.files, find(log.files, False, 0))
    seen = [mended.read(at, 1000) for at in range(0, log.tail - 1000, 77)]
    log.mend()
    assert [log.files.read(at, 1000) for at in range(0, log.tail - 1000, 77)] == seen
    assert (mended.first, mended.end, mended.segment_bytes) == (log.files.first, log.files.end, SEGMENT_BYTES)


def test_a_hole_where_the_log_was_is_seen_as_mended():
    log = Log([500] * 10)
    mended = MendedLog(log.files, [Stretch(0, log.tail)])
    log.disk._files[f"commitlog/{0:020d}"].blocks.clear()
    assert mended.next_data(0) == 0 and mended.next_data(100) == 100
    assert mended.next_data(log.tail) == log.files.end


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, EMPTY_BYTES),
        (500, 3 << 20),
        (0, SEGMENT_BYTES),
        (300, 3 * SEGMENT_BYTES + 200),
        (SEGMENT_BYTES - 8, SEGMENT_BYTES),
    ],
)
def test_fillers_lie_one_behind_the_other_and_none_crosses_a_segment(start, stop):
    segment_bytes = 4 << 20 if stop == 3 << 20 else SEGMENT_BYTES
    at = start
    for filler in fillers(Stretch(start, stop), segment_bytes):
        assert filler.offset == at and (filler.size >= EMPTY_BYTES or filler.blank)
        at += filler.size
        assert filler.offset // segment_bytes == (at - 1) // segment_bytes
        assert filler.blank == (at % segment_bytes == 0 and at >= segment_bytes)
    assert at == stop


def test_a_torn_batch_at_the_end_is_no_damage_unless_the_broker_stopped_cleanly_or_state_knows_better():
    log = Log([100] * 20, commits=20)
    last = max(log.records)
    log.damage(last + 50)
    assert find(log.files, False, 0) == []
    assert find(log.files, True, 0) == find(log.files, False, log.tail) == [Stretch(last, log.tail)]


def test_a_last_record_that_is_all_zeros_is_known_by_the_end_that_state_tells():
    log = Log([100] * 20)
    last = max(log.records)
    log.files.erase(last, log.tail)
    assert find(log.files, True, 0) == []
    assert find(log.files, True, log.tail) == [Stretch(last, log.tail)]


def test_missing_records_are_counted_by_their_numbers():
    log = Log([100] * 30)
    offsets = sorted(log.records)
    for number in (3, 4, 5, 20):
        log.damage(offsets[number] + 60)
    mended = MendedLog(log.files, find(log.files, False, 0))
    missing = Missing({filler.offset for filler in mended.fillers}, 0)
    Walk(mended, missing.record).run(0)
    kinds = [log.records[offsets[number]][0] for number in (3, 4, 5, 20)]
    assert missing.counts == {kind: kinds.count(kind) for kind in set(kinds)}
    later = Missing({filler.offset for filler in mended.fillers if filler.offset > offsets[10]}, 0)
    Walk(mended, later.record).run(0)
    assert later.counts == {log.records[offsets[20]][0]: 1}


def test_behind_the_last_byte():
    log = Log([100] * 3)
    assert written_to(log.files, 0) == log.tail and written_to(log.files, log.tail) == log.tail


def test_a_transaction_whose_end_is_lost_at_the_end_of_a_clean_log_is_ended():
    disk = SimDisk(Random(1), 1 << 30)
    files = SegmentFiles("commitlog", SEGMENT_BYTES, ops=disk)
    log = BlockingLog(files)
    log._log.join(1000)
    for number in range(3):
        log.append(STATE, b"%d" % number, 5)
    last = log.tail
    log._log.end_joined([])
    log.commit()
    files.erase(last, log.tail)
    found = []
    for filler in MendedLog(files, find(files, True, 0)).fillers:
        files.write_and_sync([(filler.offset, [filler.bytes()])], True)
    scan(files, 0, lambda view: found.append(view.body()), clean=True)
    assert found[:3] == [b"0", b"1", b"2"]


def test_what_looks_like_a_record_within_a_damaged_one_goes_with_it():
    log = Log([100] * 3)
    at = log.tail + 88 + 30
    writer = BlockingLog(log.files, log.tail, (0, 3, 3, 3, 3))
    inner = Filler(at, 200, False).bytes()
    writer.store(Message((b"/", b"", b"q"), b"", b"." * 30 + inner, 230, True), [(1, 9, 0)], 5)
    writer.append(STATE, b"behind", 5)
    writer.commit()
    log.tail = writer.tail
    log.damage(at - 60)
    log.mend(known_end=log.tail)
    assert find(log.files, False, log.tail) == []
    assert [body for kind, _, body in log.read().values() if kind != OTHER][-1] == b"behind"
