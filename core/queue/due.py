"""When which offset of a queue is due: a heap of pairs (time, offset) in one flat array, 16 bytes each.

Equal times come in the order of their offsets. What is done meanwhile stays until it comes up, or until sift().
"""

from __future__ import annotations

from array import array

import cython

if cython.compiled:
    from cython.cimports.core.queue.cursor import Cursor
    from cython.cimports.core.wire import rd32, rd64
else:
    from core.queue.cursor import Cursor
    from core.wire import rd32, rd64

UNIT_BYTES = cython.declare(cython.Py_ssize_t, 20)  # see index.py
DUE_MS = cython.declare(cython.longlong, (1 << 42) - 1)  # of a tags code: until 2109; what is above is its user's
ROOM_MIN = cython.declare(cython.Py_ssize_t, 64)


@cython.final
@cython.cclass
class DueHeap:
    """push(), then pop() while first() is due; len() is how many there are."""

    def __init__(self):
        self._memory = array("q", bytes(16 * ROOM_MIN))
        self._pairs = self._memory
        self._room = ROOM_MIN
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @cython.cfunc
    def _resize(self, room: cython.Py_ssize_t):
        """Have room for so many pairs. The array is moved by the system, not copied through memory of ours."""
        self._pairs = None
        if room > self._room:
            self._memory.extend(array("q", bytes(16 * (room - self._room))))
        else:
            del self._memory[2 * room :]
        self._room = room
        self._pairs = self._memory

    @cython.ccall
    def push(self, ms: cython.longlong, offset: cython.longlong):
        """`offset` is due at `ms`."""
        if self._count == self._room:
            self._resize(self._room + max(ROOM_MIN, self._room // 8))
        at: cython.Py_ssize_t = self._count
        self._count += 1
        above: cython.Py_ssize_t
        while at > 0:
            above = (at - 1) >> 1
            if not self._is_before(ms, offset, above):
                break
            self._pairs[2 * at] = self._pairs[2 * above]
            self._pairs[2 * at + 1] = self._pairs[2 * above + 1]
            at = above
        self._pairs[2 * at] = ms
        self._pairs[2 * at + 1] = offset

    @cython.ccall
    @cython.exceptval(-2)
    def first(self) -> cython.longlong:
        """The earliest time, or -1."""
        return self._pairs[0] if self._count else -1

    @cython.ccall
    @cython.exceptval(-2)
    def pop(self) -> cython.longlong:
        """Take out the earliest, and return its offset, or -1."""
        if self._count == 0:
            return -1
        offset: cython.longlong = self._pairs[1]
        self._count -= 1
        last: cython.Py_ssize_t = self._count
        if last:
            self._sink(0, self._pairs[2 * last], self._pairs[2 * last + 1])
        if self._room > 4 * ROOM_MIN and self._count * 4 < self._room:
            self._resize(self._room // 2)
        return offset

    @cython.cfunc
    @cython.exceptval(check=False)
    def _is_before(self, ms: cython.longlong, offset: cython.longlong, at: cython.Py_ssize_t) -> cython.bint:
        """Whether this pair comes before the one at `at`."""
        return ms < self._pairs[2 * at] or (ms == self._pairs[2 * at] and offset < self._pairs[2 * at + 1])

    @cython.cfunc
    @cython.exceptval(-1)
    def _sink(self, at: cython.Py_ssize_t, ms: cython.longlong, offset: cython.longlong) -> cython.int:
        """Put this pair at `at`, or below it where it belongs."""
        below: cython.Py_ssize_t = 2 * at + 1
        while below < self._count:
            if below + 1 < self._count and self._is_before(
                self._pairs[2 * below + 2], self._pairs[2 * below + 3], below
            ):
                below += 1
            if self._is_before(ms, offset, below):
                break
            self._pairs[2 * at] = self._pairs[2 * below]
            self._pairs[2 * at + 1] = self._pairs[2 * below + 1]
            at = below
            below = 2 * at + 1
        self._pairs[2 * at] = ms
        self._pairs[2 * at + 1] = offset
        return 0

    @cython.ccall
    def fill(self, units: bytes, offset: cython.longlong, cursor: Cursor):
        """Push the units of one chunk of the index, the first of which has that offset; not those that are done."""
        p: cython.p_uchar = units
        at: cython.Py_ssize_t
        for at in range(0, len(units) - UNIT_BYTES + 1, UNIT_BYTES):
            if rd32(p, at + 8) != 0 and not cursor.is_done(offset):
                self.push(rd64(p, at + 12) & DUE_MS, offset)
            offset += 1

    def sift(self, cursor: Cursor) -> None:
        """Forget what is done."""
        i: cython.Py_ssize_t
        kept: cython.Py_ssize_t = 0
        for i in range(self._count):
            if not cursor.is_done(self._pairs[2 * i + 1]):
                self._pairs[2 * kept] = self._pairs[2 * i]
                self._pairs[2 * kept + 1] = self._pairs[2 * i + 1]
                kept += 1
        self._count = kept
        for i in range(kept // 2 - 1, -1, -1):
            self._sink(i, self._pairs[2 * i], self._pairs[2 * i + 1])

    def at(self, ms: cython.longlong) -> list:
        """The offsets that are due exactly then, ascending."""
        i: cython.Py_ssize_t
        found: list = []
        for i in range(self._count):
            if self._pairs[2 * i] == ms:
                found.append(self._pairs[2 * i + 1])
        found.sort()
        return found

    def pairs(self) -> list:
        """A copy: (time, offset), in no order."""
        return [(self._pairs[2 * i], self._pairs[2 * i + 1]) for i in range(self._count)]
