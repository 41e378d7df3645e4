"""Messages that expire before one in front of them: they go at their time, from the middle of the queue.

As long as each message expires no earlier than those in front of it, looking at the head is enough, and nothing is kept
here: queues with a TTL, or whose messages all have the same expiration, pay nothing. The others are in a heap by time,
16 bytes each, and the chunks of the index that their units lie in are known, so that a start reads only those again.
A message that is out (unacknowledged) does not expire; if its time came meanwhile it goes when it comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import cython

from core.queue.due import DueHeap

if cython.compiled:
    from cython.cimports.core.queue.cursor import Cursor
    from cython.cimports.core.queue.due import DueHeap
    from cython.cimports.core.wire import rd32, rd64
else:
    from core.queue.cursor import Cursor
    from core.wire import rd32, rd64

EXPIRES = cython.declare(cython.longlong, (1 << 54) - 1)  # of a tags code: see expiry.py
CHUNK_UNITS, UNIT_BYTES = 512, 20
SIFT_MIN = cython.declare(cython.Py_ssize_t, 1024)  # stale ones that may stay


@cython.final
@cython.cclass
class Overtaking:
    """One queue's. chunks: numbers of the chunks of its index that hold such units.

    back  offsets that came back and are ready again: only the queue without levels needs it
    late  offsets whose time came while they were out
    """

    def __init__(self, returned: Iterable[int]):
        self.heap = DueHeap()
        self.chunks = set()
        self.back = set(returned)
        self.late = set()

    @property
    def count(self) -> int:
        """How many are in the heap, some of them done."""
        return len(self.heap)

    @cython.ccall
    def add(self, ms: cython.longlong, offset: cython.longlong, durable: cython.bint):
        """The message at `offset` expires at `ms`, before one in front of it."""
        self.heap.push(ms, offset)
        if durable:
            self.chunks.add(offset // 512)

    @cython.ccall
    @cython.exceptval(-2)
    def first(self) -> cython.longlong:
        """When the next is due, or -1."""
        return self.heap.first()

    @cython.ccall
    @cython.exceptval(-2)
    def pop(self) -> cython.longlong:
        """Take out the earliest, and return its offset."""
        return self.heap.pop()

    @cython.ccall
    def came_back(self, offset: cython.longlong):
        """It was out, and is ready again."""
        self.back.add(offset)
        if self.late and offset in self.late:
            self.late.discard(offset)
            self.heap.push(1, offset)  # at once

    @cython.ccall
    def settled(self, offset: cython.longlong):
        """It is done."""
        if self.late:
            self.late.discard(offset)

    @cython.ccall
    def sift(self, cursor: Cursor, live: cython.Py_ssize_t):
        """Forget what is done, when that is more than half: `live` = ready, out or on its way."""
        if len(self.heap) > 2 * live + SIFT_MIN:
            self.heap.sift(cursor)

    def chunks_from(self, floor: int) -> set:
        """`chunks`, without those wholly below `floor`."""
        self.chunks = {number for number in self.chunks if number >= floor // CHUNK_UNITS}
        return self.chunks

    def restore(self, queue: Any, numbers: Iterable[int], read_chunk: Callable[[int, int], bytes | None]) -> None:
        """After recovery: fill the heap from these chunks. Blocks."""
        index = queue.index
        for number in sorted(numbers):
            first = number * CHUNK_UNITS
            units = index.chunk_bytes(number) if index.loaded(first) else read_chunk(queue.id, number)
            if units is not None:
                self._fill(units, first, queue.cursor)

    @cython.cfunc
    def _fill(self, units: bytes, offset: cython.longlong, cursor: Cursor):
        """Push the units of one chunk that expire and are not done."""
        p: cython.p_uchar = units
        at: cython.Py_ssize_t
        code: cython.longlong
        for at in range(0, len(units) - 19, 20):
            code = cython.cast(cython.longlong, rd64(p, at + 12)) & EXPIRES
            if rd32(p, at + 8) != 0 and code and not cursor.is_done(offset):
                self.add(code, offset, True)
            offset += 1
