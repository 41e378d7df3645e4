"""Start-up: walk the log from a checkpoint, find its end, cut a torn tail, refuse a damaged log.

A batch is synced before the next one is written, and every record says where its batch began. So, at the first place
that holds no valid record:
- nothing valid follows: the log ends here; what lies behind is a torn record, or zeros;
- records of the same batch follow: the batch was torn, none of it was ever confirmed: cut it here;
- a record of a later batch follows: the batch was complete once, so the log is damaged: refuse, and name the offset.
A record counts only where its own log offset says it lies: a message may hold what looks like one. The records of a
transaction count only when all of them are there, so the log ends before one that was torn. What native records do not
say of batch and transaction, those of our own that lie around them do (commit_log.py).

What was read may still be in memory only: the last broker may have ended between the write of its last batch and the
sync, or because of a sync that failed, after which no later one tells of those bytes. So they are written again and
synced before anything is built on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.errors import LogCorrupt, StoreRefused
from core.log.record import NATIVE
from core.log.view import BLANK, CUT_SHORT, UNKNOWN, View

BLOCK_BYTES = 4 << 20
KINDS = 5
OFFSET_MAX = (1 << 63) - 1
MAGIC = bytes.fromhex("daa320")  # how the magic of both of RocketMQ's layouts begins
MAGIC_AT, OFFSET_AT, OFFSET_END = 4, 28, 36  # in a record


class ReadFiles(Protocol):
    """Of core.disk.files.SegmentFiles, what a log is read with. All of it blocks."""

    segment_bytes: int

    @property
    def first(self) -> int:
        """Offset of the first segment."""

    @property
    def end(self) -> int:
        """Offset behind the last segment."""

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of one segment."""

    def next_data(self, offset: int) -> int:
        """The next offset that is not in a hole."""


class Files(ReadFiles, Protocol):
    """And what recovery puts right with."""

    def erase(self, offset: int, upto: int) -> None:
        """Zeros, durably."""

    def write_and_sync(self, parts: Sequence[tuple[int, Sequence[bytes]]], sync: bool) -> None:
        """Bytes, each part within one segment."""


@dataclass(frozen=True)
class Recovered:
    """tail = the log's end; counters = the next queue offset of each kind; cut_bytes = what a torn batch left; batch =
    where the batch of the last record began, -1 = unknown."""

    tail: int
    records: int
    cut_bytes: int
    counters: tuple[int, ...]
    batch: int = -1


def scan(
    files: Files,
    start: int,
    on_record: Callable[[View], None],
    *,
    counters: tuple[int, ...] = (0,) * KINDS,
    batch: int = -1,
    unsynced_bytes: int = 0,
    clean: bool = False,
) -> Recovered:
    """Call on_record(view) for every record from `start` on; the view holds it only during the call.

    start           a record's offset, or 0 = whatever the log still begins with
    counters        as CommitLog.counters() gave them at `start`
    batch           where the batch before `start` began: if the log had lost its end, that would be missing first
    unsynced_bytes  ASYNC_FLUSH: later batches may follow a hole up to so far behind it and be cut with it
    clean           the last broker stopped cleanly: there can be no torn tail
    Raises LogCorrupt; StoreRefused for what a newer version wrote.
    """
    if start and not files.first <= start <= files.end:
        raise LogCorrupt(f"the state reflects the log up to {start}, but it spans {files.first} to {files.end}")
    if batch >= 0 and (found := Walk(files, _nothing, upto=start).run(max(batch, files.first))) != start:
        raise LogCorrupt(
            f"the log is damaged at offset {found}: the state reflects it up to {start}, but no valid record is there; "
            f"mqgateway repair says what can be saved"
        )
    walk = Walk(files, on_record, counters)
    walk.batch_offset = max(batch, 0)  # of what follows as native records, with which no batch begins
    tail = walk.run(max(start, files.first))
    dirty_to = _survey(files, (tail, walk.stopped_at), unsynced_bytes)
    if dirty_to > tail:
        if clean:
            raise LogCorrupt(
                f"the log is damaged at offset {tail}: it was closed cleanly, but no valid record is there"
            )
        files.erase(tail, dirty_to)
    if walk.records and not clean:
        first = walk.batch_offset
        if unsynced_bytes:  # of a segment that was left every batch is synced
            first = max(start, first - first % files.segment_bytes)
        _write_again(files, first, tail)
    last = walk.batch_offset if walk.records else batch
    return Recovered(tail, walk.records, dirty_to - tail, tuple(walk.counters), last)


def newer(offset: int) -> StoreRefused:
    """Of what lies there nothing may be skipped, cut or mended: a newer version knows what it says."""
    return StoreRefused(
        f"the record at log offset {offset} is of a kind that this version does not know: "
        f"start the version that wrote it"
    )


def _nothing(view: View) -> None:
    """It is a valid record: more is not asked."""


class Walk:
    """From record to record, the transactions' only when all of them are there.

    records = how many were taken; batch_offset = where the batch of the last one began; stopped_at = the first place
    without a valid record; upto = a record's offset at which to stop all the same
    """

    def __init__(
        self,
        files: ReadFiles,
        on_record: Callable[[View], None],
        counters: tuple[int, ...] = (0,) * KINDS,
        upto: int = OFFSET_MAX,
    ):
        self._files = files
        self._on_record = on_record
        self._upto = upto
        self._view = View()
        self._found = 0
        self.counters = list(counters)
        self.records = self.batch_offset = self.stopped_at = 0
        self._joined: list[tuple[bytes, int, int]] = []  # of a transaction whose end is still to come: for parse()

    def run(self, offset: int) -> int:
        """Go from record to record and return the offset of the first that is not valid, or not whole."""
        self.stopped_at = self._walk(offset)
        return self._joined[0][2] if self._joined else self.stopped_at

    def _walk(self, offset: int) -> int:
        files, view = self._files, self._view
        wanted = BLOCK_BYTES
        while offset < min(files.end, self._upto):
            segment_end = offset - offset % files.segment_bytes + files.segment_bytes
            left = min(segment_end, self._upto) - offset
            block = files.read(offset, min(wanted, left))
            at = self._records(block, offset)
            offset += at
            if self._found == BLANK and view.size == segment_end - offset:
                offset = segment_end
            elif self._found == UNKNOWN:
                raise newer(offset)
            elif self._found != CUT_SHORT:
                return offset
            elif at == 0:  # it begins the block: read all of it, if it can be a record at all
                if len(block) >= left or view.size > left:
                    return offset
                wanted = view.size
                continue
            wanted = BLOCK_BYTES
        return offset

    def _records(self, block: bytes, offset: int) -> int:
        """Take the records at the beginning of the block; return where they end, with the reason in _found."""
        view, counters, on_record = self._view, self.counters, self._on_record
        parse = view.parse
        at = records = 0
        batch_offset = self.batch_offset
        while (size := parse(block, at, offset + at)) > 0:
            if view.joined or self._joined:
                if self._join(block, at, offset + at):
                    batch_offset = view.batch_offset
            else:
                on_record(view)
                if view.kind != NATIVE:
                    counters[view.kind] = view.queue_offset + 1
                    batch_offset = view.batch_offset
                records += 1
            at += size
        self.records += records
        self.batch_offset = batch_offset
        self._found = size
        return at

    def _join(self, block: bytes, at: int, offset: int) -> bool:
        """Keep a record of a transaction; when it is the last, which is one of our own, take all and return True."""
        view = self._view
        self._joined.append((block, at, offset))
        if view.joined or view.kind == NATIVE:
            return False
        joined, self._joined = self._joined, []
        for place in joined:
            view.parse(*place)
            self._on_record(view)
            if view.kind != NATIVE:
                self.counters[view.kind] = view.queue_offset + 1
        self.records += len(joined)
        return True


def _write_again(files: Files, offset: int, tail: int) -> None:
    """Make the last batch (ASYNC_FLUSH: batches) durable, whatever became of the sync that should have."""
    offset = max(offset, files.first)
    while offset < tail:
        segment_end = offset - offset % files.segment_bytes + files.segment_bytes
        block = files.read(offset, min(BLOCK_BYTES, segment_end - offset, tail - offset))
        files.write_and_sync([(offset, [block])], True)
        offset += len(block)


def _survey(files: Files, ends: tuple[int, int], unsynced_bytes: int) -> int:
    """Look at all that lies behind the log's end. Returns the offset behind the last byte that is not zero.
    ends: the log's end, and where there is no valid record; they differ by a transaction that is not whole."""
    dirty_to = at = ends[0]
    view = View()
    zeros = bytes(BLOCK_BYTES)
    while (at := files.next_data(at)) < files.end:
        segment_end = at - at % files.segment_bytes + files.segment_bytes
        block = files.read(at, min(BLOCK_BYTES, segment_end - at))
        if block != zeros[: len(block)]:
            dirty_to = at + len(block.rstrip(b"\0"))
            _refuse_later_batches(files, view, (block, at), ends, unsynced_bytes)
        if at + len(block) == segment_end:
            at = segment_end
        else:
            at += len(block) - OFFSET_END  # so that a record's head is seen whole in one of two blocks
    return dirty_to


def _refuse_later_batches(
    files: Files, view: View, place: tuple[bytes, int], ends: tuple[int, int], unsynced_bytes: int
) -> None:
    """Raise LogCorrupt when the block holds a valid record, in its place, of a batch that began behind the end."""
    tail, bad = ends
    for own in valid_records(files, view, *place):
        if own > tail and view.batch_offset > tail and own + view.size > tail + unsynced_bytes:
            raise LogCorrupt(
                f"the log is damaged at offset {bad}: no valid record is there, but batches written later follow "
                f"(at {own}, for one); mqgateway repair says what can be saved"
            )


def valid_records(files: ReadFiles, view: View, block: bytes, offset: int) -> Iterator[int]:
    """The log offsets of the valid records, each in its place, whose heads lie in a block read at `offset`; the view
    holds each in turn. Raises StoreRefused for what a newer version wrote."""
    found = block.find(MAGIC, MAGIC_AT)
    while found >= 0:
        at = found - MAGIC_AT
        own = offset + at
        if int.from_bytes(block[at + OFFSET_AT : at + OFFSET_END], "big") == own:
            record = files.read(own, int.from_bytes(block[at:found], "big"))
            size = view.parse(record, 0, own)
            if size == UNKNOWN:
                raise newer(own)
            if size > 0:
                yield own
        found = block.find(MAGIC, found + 1)
