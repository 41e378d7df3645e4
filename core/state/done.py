"""The body of a *done* record: what was settled in each queue since the last batch.

    (varint queue id, varint n, n * (varint start - end of the range before it, varint length))*

The first range of a queue counts from 0. Acks, purges and expiries all come as such ranges [start, end). A length of 0
settles nothing: two varints follow, how often the message at that offset has come back until now, and until when it
waits before it is tried again (ms since the epoch, 0 = it does not).
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.queue.cursor import Cursor
    from cython.cimports.core.queue.delivery import Queue
    from cython.cimports.core.wire import put_varint, rd_varint, varint_size
else:
    from core.queue.cursor import Cursor
    from core.queue.delivery import Queue
    from core.wire import put_varint, rd_varint, varint_size

BODY_BYTES_MAX = 64 << 10
RANGE_BYTES_MAX = cython.declare(cython.Py_ssize_t, 28)  # of a count, a range has less: 9 bytes hold any number
RANGES_AT_ONCE = cython.declare(cython.Py_ssize_t, 100)


@cython.final
@cython.cclass
class DoneWriter:
    """Gathers what was settled into as few bodies as the bound allows: add() for every queue, then take().

    epoch: grows when `touched` of gather() begins anew
    """

    def __init__(self, body_bytes_max: int = BODY_BYTES_MAX):
        assert body_bytes_max >= RANGE_BYTES_MAX * (RANGES_AT_ONCE + 1)
        self.body_bytes_max = body_bytes_max
        self.epoch = 1
        self._buffer = bytearray(body_bytes_max)
        self._at = 0
        self._bodies = []

    @cython.ccall
    def add(self, queue_id: cython.longlong, runs: list):
        """The ranges [start, end) settled in one queue, in any order."""
        if len(runs) > 1:
            runs = merged(runs)
        if len(runs) <= RANGES_AT_ONCE:
            self._add_some(queue_id, runs)
            return
        first: cython.Py_ssize_t = 0
        while first < len(runs):
            self._add_some(queue_id, runs[first : first + RANGES_AT_ONCE])
            first += RANGES_AT_ONCE

    @cython.ccall
    def add_run(self, queue_id: cython.longlong, start: cython.longlong, end: cython.longlong):
        """The range [start, end) settled in one queue."""
        at: cython.Py_ssize_t = self._begin(queue_id, 1)
        b: cython.p_uchar = self._buffer
        at = put_varint(b, at, start)
        self._at = put_varint(b, at, end - start)

    @cython.cfunc
    @cython.exceptval(-1)
    def _begin(self, queue_id: cython.longlong, count: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where the ranges or counts of one queue go, so many of them; a body that is too full for them is closed."""
        if self._at + RANGE_BYTES_MAX * (count + 1) > self.body_bytes_max:
            self._bodies.append(bytes(self._buffer[: self._at]))
            self._at = 0
        b: cython.p_uchar = self._buffer
        return put_varint(b, put_varint(b, self._at, queue_id), count)

    @cython.cfunc
    def _add_some(self, queue_id: cython.longlong, runs: list):
        """A part of one queue's ranges that fits an empty body for sure."""
        if not runs:
            return
        at: cython.Py_ssize_t = self._begin(queue_id, len(runs))
        b: cython.p_uchar = self._buffer
        last: cython.longlong = 0
        start: cython.longlong
        end: cython.longlong
        for run in runs:
            start = run[0]
            end = run[1]
            at = put_varint(b, at, start - last)
            at = put_varint(b, at, end - start)
            last = end
        self._at = at

    @cython.ccall
    def add_counts(self, queue_id: cython.longlong, counts: list):
        """[(offset, how often it came back, until when it waits)] of one queue, ascending."""
        first: cython.Py_ssize_t
        for first in range(0, len(counts), RANGES_AT_ONCE):
            self._add_some_counts(queue_id, counts[first : first + RANGES_AT_ONCE])

    @cython.cfunc
    def _add_some_counts(self, queue_id: cython.longlong, counts: list):
        at: cython.Py_ssize_t = self._begin(queue_id, len(counts))
        b: cython.p_uchar = self._buffer
        last: cython.longlong = 0
        offset: cython.longlong
        for count in counts:
            offset = count[0]
            at = put_varint(b, at, offset - last)
            at = put_varint(b, at, 0)
            at = put_varint(b, at, count[1])
            at = put_varint(b, at, count[2])
            last = offset
        self._at = at

    @cython.ccall
    def take(self) -> list:
        """The bodies since the last take(), none of them empty."""
        bodies: list = self._bodies
        self._bodies = []
        if self._at:
            bodies.append(bytes(self._buffer[: self._at]))
            self._at = 0
        return bodies


@cython.ccall
def done_body(queue_id: int, offset: int) -> bytes:
    """The body that settles one message."""
    writer = DoneWriter(RANGE_BYTES_MAX * (RANGES_AT_ONCE + 1))
    writer.add_run(queue_id, offset, offset + 1)
    body: bytes = writer.take()[0]
    return body


def gather(settled: list, touched: dict, writer: DoneWriter) -> list:
    """Take from the queues what was settled in them, note them in `touched` (id -> Queue), and return the bodies of the
    records that say so."""
    wrote: cython.bint = False
    for item in settled:
        queue: Queue = item
        queue.settled = False
        if not queue.deleted:
            cursor: Cursor = queue.cursor
            if cursor.take_run():
                wrote = True
                writer.add_run(queue.id, cursor.run_start, cursor.run_end)
            else:
                runs: list = cursor.take_runs()
                if runs:
                    wrote = True
                    writer.add(queue.id, runs)
            if queue.counts is not None:
                counts: list = queue.counts.take()
                if counts:
                    wrote = True
                    writer.add_counts(queue.id, counts)
            if queue.gathered != writer.epoch:
                queue.gathered = writer.epoch
                touched[queue.id] = queue
    return writer.take() if wrote else []


def merged(runs: list) -> list:
    """The same ranges ascending, those that touch joined."""
    out = []
    last_start, last_end = -1, -1
    for start, end in sorted(runs):
        if start <= last_end:
            last_end = max(last_end, end)
            continue
        if last_end > last_start:
            out.append((last_start, last_end))
        last_start, last_end = start, end
    if last_end > last_start:
        out.append((last_start, last_end))
    return out


def read_done(body: bytes) -> list:
    """[(queue id, [(start, end), ...], [(offset, how often it came back, until when it waits), ...]), ...]. Raises
    ValueError for what DoneWriter never writes."""
    b: cython.p_uchar = body
    at: cython.Py_ssize_t = 0
    size: cython.Py_ssize_t = len(body)
    found: list = []
    while at < size:
        queue_id: cython.ulonglong = rd_varint(b, at, size)
        at += varint_size(queue_id)
        count: cython.ulonglong = rd_varint(b, at, size)
        at += varint_size(count)
        if count > cython.cast(cython.ulonglong, size - at):
            raise ValueError(f"{count} ranges in {size - at} bytes")
        runs: list = []
        counts: list = []
        last: cython.ulonglong = 0
        for _ in range(count):
            gap: cython.ulonglong = rd_varint(b, at, size)
            at += varint_size(gap)
            length: cython.ulonglong = rd_varint(b, at, size)
            at += varint_size(length)
            start: cython.ulonglong = last + gap
            last = start + length
            if gap >> 62 or length >> 62 or last >> 62:
                raise ValueError("a range is beyond every offset")
            if length:
                runs.append((start, last))
                continue
            times: cython.ulonglong = rd_varint(b, at, size)
            at += varint_size(times)
            due: cython.ulonglong = rd_varint(b, at, size)
            at += varint_size(due)
            if times == 0 or times >> 62 or due >> 62:
                raise ValueError("a count is none")
            counts.append((start, times, due))
        found.append((queue_id, runs, counts))
    return found
