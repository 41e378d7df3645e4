"""Filling what is damaged in the log with records that say nothing, so that it can be read from end to end again.

A stretch is from the first place without a valid record to the next valid one. Its filler: records of a topic of
their own, CORDUROY_LOST, which every reader skips; at a segment's end RocketMQ's blank. A stretch is always filled by
the same bytes, so that filling it again, after an interruption, changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from core.log.encoder import Encoder
from core.log.record import OTHER
from core.log.recovery import BLOCK_BYTES, KINDS, OFFSET_MAX, ReadFiles, Walk
from core.log.scrub import behind, numbered, scrub
from core.log.view import View

BLANK_BYTES = 8
BLANK_MAGIC = bytes.fromhex("cbd43194")
EMPTY_BYTES = Encoder().plan(OTHER, b"")  # the smallest filler: no record of ours is smaller
FILLER_BYTES_MAX = 1 << 20
HEAD_BYTES = 8  # of a record: its size and the magic


class Stretch(NamedTuple):
    """Log offsets [start, stop) without a valid record."""

    start: int
    stop: int


class Filler(NamedTuple):
    """One record, or the blank that ends a segment: where it lies and up to where it reaches."""

    offset: int
    size: int
    blank: bool

    def bytes(self) -> bytes:
        """What is written: of a blank, its head only."""
        if self.blank:
            return self.size.to_bytes(4, "big") + BLANK_MAGIC
        encoder = Encoder()
        encoder.plan(OTHER, bytes(self.size - EMPTY_BYTES))
        encoder.offset = encoder.batch_offset = self.offset
        out = bytearray(self.size)
        encoder.write(out, 0)
        return bytes(out)


def find(files: ReadFiles, clean: bool, known_end: int) -> list[Stretch]:
    """Read all of the log; return what must be filled, ascending.

    clean: the last broker stopped cleanly, so that all there is was confirmed; known_end: the log reached this offset
    at least, 0 = nobody knows. Else what lies behind the log's end is of a torn batch, which was never confirmed.
    """
    found = scrub(files, lambda view: None)
    stretches: list[Stretch] = []
    for damage in found.damages:
        if not _size_at(files, damage.offset):  # else a record that says something odd about itself
            _add(files, stretches, damage.offset, damage.upto)
    if (clean and found.torn_bytes) or known_end > found.tail:
        _add_those_at_the_end(files, stretches, found.tail, known_end, clean)
    return stretches


def _add(files: ReadFiles, stretches: list[Stretch], start: int, stop: int) -> int:
    """Add a stretch as large as its filler, or join it with the one before: less is filled then. Returns its end."""
    if stretches and stretches[-1].stop >= start:
        start = stretches.pop().start
    stretches.append(Stretch(start, _grown(files, start, stop)))
    return stretches[-1].stop


def _add_those_at_the_end(files: ReadFiles, stretches: list[Stretch], at: int, known_end: int, clean: bool) -> None:
    """What is damaged among the last records, though no later batch follows."""
    limit = OFFSET_MAX if clean else known_end
    while True:
        walk = Walk(files, lambda view: None)
        tail, bad = walk.run(at), walk.stopped_at
        if bad >= limit:
            return
        found, _, dirty_to = behind(files, bad, bad)
        if not bad < found <= limit:
            stop = max(dirty_to, known_end) if clean else known_end
            if stop > bad or (clean and tail < bad):  # or nothing ends the last transaction
                _add(files, stretches, bad, stop)
            return
        at = _add(files, stretches, bad, found)


def _grown(files: ReadFiles, start: int, stop: int) -> int:
    """Where a stretch has to end so that there is room for a filler."""
    segment_end = start - start % files.segment_bytes + files.segment_bytes
    while stop < segment_end and stop - start < EMPTY_BYTES:
        stop += _size_at(files, stop) or EMPTY_BYTES
    return stop if stop + BLANK_BYTES <= segment_end or stop > segment_end else segment_end


def _size_at(files: ReadFiles, offset: int) -> int:
    """The size of the valid record there; 0 if there is none."""
    size = int.from_bytes(files.read(offset, HEAD_BYTES)[:4], "big") if offset < files.end else 0
    left = files.segment_bytes - offset % files.segment_bytes
    if not EMPTY_BYTES <= size <= left:
        return 0
    return max(0, View().parse(files.read(offset, size), 0, offset))


def fillers(stretch: Stretch, segment_bytes: int) -> Iterator[Filler]:
    """What fills a stretch, in order."""
    at = stretch.start
    while at < stretch.stop:
        segment_end = at - at % segment_bytes + segment_bytes
        stop = min(stretch.stop, segment_end)
        while at < stop:
            left = stop - at
            if stop == segment_end and left < EMPTY_BYTES + BLANK_BYTES:
                size = left
            elif stop == segment_end:
                size = EMPTY_BYTES  # says that something is missing; the blank behind it does the rest
            else:
                size = left if left <= FILLER_BYTES_MAX else FILLER_BYTES_MAX - EMPTY_BYTES
            blank = stop == segment_end and size == left
            yield Filler(at, size, blank)
            at += size
            if stop == segment_end and not blank:
                yield Filler(at, stop - at, True)
                at = stop


def written_to(files: ReadFiles, offset: int) -> int:
    """Behind the last byte from `offset` on that is not zero; `offset` if there is none."""
    end = at = offset
    while (at := files.next_data(at)) < files.end:
        left = files.segment_bytes - at % files.segment_bytes
        block = files.read(at, min(BLOCK_BYTES, left))
        if any(block):
            end = at + len(block.rstrip(b"\0"))
        at += len(block)
    return end


class MendedLog:
    """The log as it will be when these stretches are filled. Only to be read; see recovery.ReadFiles."""

    def __init__(self, files: ReadFiles, stretches: Iterable[Stretch]):
        self._files = files
        self.segment_bytes = files.segment_bytes
        self.fillers = [filler for each in stretches for filler in fillers(each, files.segment_bytes)]
        self._starts = [filler.offset for filler in self.fillers]

    @property
    def first(self) -> int:
        """See ReadFiles."""
        return self._files.first

    @property
    def end(self) -> int:
        """See ReadFiles."""
        return self._files.end

    def read(self, offset: int, size: int) -> bytes:
        """See ReadFiles."""
        data = bytearray(self._files.read(offset, size))
        stop = offset + len(data)
        for filler in self.fillers[max(0, bisect_right(self._starts, offset) - 1) :]:
            if filler.offset >= stop:
                break
            patch = filler.bytes()
            start, end = max(filler.offset, offset), min(filler.offset + len(patch), stop)
            if start < end:
                data[start - offset : end - offset] = patch[start - filler.offset : end - filler.offset]
        return bytes(data)

    def next_data(self, offset: int) -> int:
        """See ReadFiles."""
        found = self._files.next_data(offset)
        number = max(0, bisect_right(self._starts, offset) - 1)
        for filler in self.fillers[number : number + 2]:
            if filler.offset + filler.size > offset:
                found = min(found, max(offset, filler.offset))
        return found


class Missing:
    """record() for each record of a mended log: how many of which kind lay where these fillers are, by their numbers.
    What is missing at the log's end nobody can count. first: where the log begins."""

    def __init__(self, starts: set[int], first: int):
        self._starts = starts
        self._last: dict[Any, int] = {} if first else dict.fromkeys(range(1, KINDS), -1)  # numbered() -> its last one
        self._open: set[Any] = set()  # of which some may be missing since
        self.counts: Counter[int] = Counter()

    def record(self, view: View) -> None:
        """One more record."""
        kind = view.kind
        if kind == OTHER:
            if view.offset in self._starts:
                self._open.update(self._last)
            else:  # of an earlier repair
                self._last.clear()
                self._open.clear()
            return
        key = numbered(view)
        if key in self._open:
            self._open.discard(key)
            lost = view.queue_offset - self._last[key] - 1
            if lost > 0:
                self.counts[kind] += lost
        self._last[key] = view.queue_offset
