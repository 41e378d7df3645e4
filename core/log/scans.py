"""Scans of the log: what no index knows any more lies there all the same, until its segment goes.

Everything is rationed: one block is read at a time, the scans in turns, and no more bytes in a second than the limit. A
segment is held only while a block of it is read. So a scan whose reader is slow keeps nothing from going: when it asks
for what is gone, it has lost its place, is told, and goes on where the log begins.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from core.log.keeping import STORE_MS_END, stored_ms
from core.log.sieve import Sieve, Sifted
from core.log.view import BLANK, CUT_SHORT

logger = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20  # read at once, or one bigger record
OFFSET_MAX = (1 << 63) - 1


class Reader(Protocol):
    """Who scans."""

    title: str  # for the log: what is read

    def sifted(self, found: Sifted | None) -> None:
        """The next block is there; None: so far there is no more."""

    def failed(self, error: Exception) -> None:
        """The log cannot be read there."""


class Ports(NamedTuple):
    """What scans work with.

    log                   CommitLog
    first()               where the log begins
    read(offset, size)    bytes of one segment: it blocks, and runs in a reader thread
    submit(job, done)     done(what job(), run in such a thread, returned or raised)
    clock, at(ms, callback)    the time, and a timer
    soon(callback)        in the next turn of the loop
    """

    log: Any
    first: Callable[[], int]
    read: Callable[[int, int], bytes]
    submit: Callable[[Callable[[], Any], Callable[[Any], None]], None]
    clock: Any
    at: Callable[[int, Callable[[], None]], Any]
    soon: Callable[[Callable[[], None]], Any]


class Scan:
    """A reader's way through the log, from record to record: `at` = where it goes on; `upto` = where it ends."""

    def __init__(self, reader: Reader, sieve: Sieve, at: int, upto: int = OFFSET_MAX):
        self.reader = reader
        self.sieve = sieve
        self.at, self.upto = at, upto
        self.wanted = BLOCK_BYTES
        self.asking = self.cancelled = False


class Scans:
    """ask() for a scan's next block. read_bytes, lost (places that were) and unreadable (segments left out) count since
    start; `reading` is the scan whose block is being read."""

    def __init__(self, ports: Ports, bytes_per_second: int):
        self._ports = ports
        self._bytes_per_second = bytes_per_second
        self._waiting: deque[Scan] = deque()
        self._timer: Any = None
        self._free_ms = 0  # when the next block may be read
        self.reading: Scan | None = None
        self.read_bytes = self.lost = self.unreadable = 0

    @property
    def oldest(self) -> int:
        """The log offset that is being read: no segment from there on may go."""
        return OFFSET_MAX if self.reading is None else self.reading.at

    @property
    def waiting(self) -> int:
        """Scans that wait for a block, the one that is being read included."""
        return len(self._waiting) + (self.reading is not None)

    def delay_ms(self) -> int:
        """For how long nothing may be read, by the limit of bytes in a second."""
        return max(0, self._free_ms - self._ports.clock.tick())

    def spend(self, size: int) -> None:
        """So many bytes are read, here or by others that keep to the limit."""
        now = self._ports.clock.tick()
        self._free_ms = max(self._free_ms, now) + -(-size * 1000 // self._bytes_per_second)
        self.read_bytes += size

    def ask(self, scan: Scan) -> None:
        """reader.sifted() or .failed() follows, never from inside this call."""
        assert not scan.asking
        scan.asking = True
        self._waiting.append(scan)
        self._ports.soon(self._next)

    def cancel(self, scan: Scan) -> None:
        """Its reader is told nothing any more."""
        scan.cancelled = True

    def _next(self) -> None:
        """Read the next block if that may be."""
        while self._waiting and self._waiting[0].cancelled:
            self._waiting.popleft()
        if self.reading is not None or self._timer is not None or not self._waiting:
            return
        delay = self.delay_ms()
        if delay:
            self._timer = self._ports.at(self._ports.clock.ms + delay, self._timed)
            return
        scan = self._waiting.popleft()
        self._keep_place(scan)
        log = self._ports.log
        segment_end = scan.at - scan.at % log.segment_bytes + log.segment_bytes
        size = min(scan.wanted, segment_end - scan.at, min(log.committed, scan.upto) - scan.at)
        if size <= 0:
            self._answer(scan, None)
            return
        self.spend(size)
        self.reading = scan
        self._ports.submit(partial(_read, self._ports.read, scan.sieve, scan.at, size), partial(self._got, scan))

    def _timed(self) -> None:
        self._timer = None
        self._next()

    def _keep_place(self, scan: Scan) -> None:
        """What it would read next may have gone."""
        first = self._ports.first()
        if scan.at < first:
            self.lost += 1
            extra = {"reader": scan.reader.title, "log_offset": scan.at, "log_begins_at": first}
            logger.warning("replay lost its place: what it was to read next has gone", extra=extra)
            scan.at = first

    def _answer(self, scan: Scan, found: Sifted | None) -> None:
        scan.asking = False
        if not scan.cancelled:
            scan.reader.sifted(found)
        self._next()

    def _got(self, scan: Scan, result: Sifted | Exception) -> None:
        self.reading = None
        if isinstance(result, Sifted):
            if self._advance(scan, result):
                self._answer(scan, result)
                return
        elif scan.at >= self._ports.first():
            scan.asking = False
            if not scan.cancelled:
                scan.reader.failed(result)
            self._next()
            return
        self._waiting.appendleft(scan)  # it went meanwhile, or is bigger than a block: once more
        self._next()

    def _advance(self, scan: Scan, found: Sifted) -> bool:
        """Go behind what was looked at; False: not even one record was."""
        segment_bytes = self._ports.log.segment_bytes
        segment_end = scan.at - scan.at % segment_bytes + segment_bytes
        left = segment_end - found.end
        scan.wanted = BLOCK_BYTES
        if found.why == BLANK and found.size == left:
            scan.at = segment_end
        elif found.why == CUT_SHORT and found.size <= left:
            if found.end == scan.at:  # it begins the block
                if found.size <= len(found.block):
                    return self._leave_out(scan, segment_end)
                scan.wanted = found.size
                return False
            scan.at = found.end
        else:
            scan.at = found.end
            return self._leave_out(scan, segment_end)
        return True

    def _leave_out(self, scan: Scan, segment_end: int) -> bool:
        """There is no record at its place: go on in the next segment."""
        self.unreadable += 1
        extra = {"reader": scan.reader.title, "log_offset": scan.at}
        logger.error("replay leaves out the rest of a segment: no valid record is there", extra=extra)
        scan.at = segment_end
        return True

    def seek(self, ms: int, done: Callable[[int | Exception], None]) -> None:
        """done(where a scan begins that is to find everything stored at `ms` or later)."""
        log, ports = self._ports.log, self._ports
        job = partial(_segment_of, ports.read, ports.first(), log.committed, log.segment_bytes, ms)
        ports.submit(job, done)


def _read(read: Callable[[int, int], bytes], sieve: Sieve, at: int, size: int) -> Sifted:
    return sieve.sift(read(at, size), at)


def _segment_of(read: Callable[[int, int], bytes], first: int, committed: int, segment_bytes: int, ms: int) -> int:
    """Bisect for the last segment that begins with a record stored before `ms`: times never go back in the log."""
    low, high = first // segment_bytes, max(first, committed - 1) // segment_bytes
    while low < high:
        middle = (low + high + 1) // 2
        begins = middle * segment_bytes
        if stored_ms(read(begins, STORE_MS_END), begins) >= ms:
            high = middle - 1
        else:
            low = middle
    return low * segment_bytes
