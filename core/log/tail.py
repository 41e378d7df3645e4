"""The newest messages of the log, kept in memory: whoever keeps up reads here.

A ring in log order, of messages and of native records, whole as they lie in the log; bounded in bytes of record. What
is not committed yet stays whatever its size, since it cannot be read from the disk; flow control bounds that.
"""

from __future__ import annotations

from array import array

import cython

if cython.compiled:
    from cython.cimports.core.message import Message
else:
    from core.message import Message

RING_MIN = cython.declare(cython.Py_ssize_t, 256)


@cython.final
@cython.cclass
class Tail:
    """`bytes_held` never exceeds `bytes_max` by more than what waits for its commit."""

    def __init__(self, bytes_max: cython.longlong):
        self.bytes_max = bytes_max
        self.bytes_held = 0
        self._ring = [None] * RING_MIN
        self._offsets = array("q", bytes(8 * RING_MIN))
        self._sizes = array("q", bytes(8 * RING_MIN))
        self._mask = RING_MIN - 1
        self._head = self._count = self._hint = 0
        self._committed = 0

    def __len__(self) -> int:
        return self._count

    @cython.ccall
    def add(self, message: Message):
        """Hold the message just appended: its offset is above all others'."""
        self._add(message, message.offset, message.record_size)

    @cython.ccall
    def add_record(self, record: bytes, offset: cython.longlong):
        """Hold the record of a native message, just appended at `offset`."""
        self._add(record, offset, len(record))

    @cython.cfunc
    def _add(self, item: object, offset: cython.longlong, size: cython.longlong):
        if self._count > self._mask:
            self._resize((self._mask + 1) << 1)
        at: cython.Py_ssize_t = (self._head + self._count) & self._mask
        self._ring[at] = item
        self._offsets[at] = offset
        self._sizes[at] = size
        self._count += 1
        self.bytes_held += size
        if self.bytes_held > self.bytes_max:
            self._shrink()

    @cython.ccall
    def get(self, offset: cython.longlong) -> object:
        """The message whose record lies at `offset`, or the bytes of a native one's; None when it is held no more. Fast
        when asked in log order, also when others lie between."""
        offsets: cython.longlong[::1] = self._offsets
        found: cython.longlong
        low: cython.Py_ssize_t = 0
        high: cython.Py_ssize_t = self._count
        middle: cython.Py_ssize_t
        if self._hint < self._count:  # the one after the last one asked for
            found = offsets[(self._head + self._hint) & self._mask]
            if found == offset:
                self._hint += 1
                return self._ring[(self._head + self._hint - 1) & self._mask]
            if found > offset:
                high = self._hint
            else:
                low = self._hint + 1
                high = self._beyond(low, offset)
        while low < high:
            middle = (low + high) >> 1
            if offsets[(self._head + middle) & self._mask] < offset:
                low = middle + 1
            else:
                high = middle
        if low < self._count:
            middle = (self._head + low) & self._mask
            if offsets[middle] == offset:
                self._hint = low + 1
                return self._ring[middle]
        return None

    @cython.cfunc
    @cython.exceptval(-1)
    def _beyond(self, low: cython.Py_ssize_t, offset: cython.longlong) -> cython.Py_ssize_t:
        """A place from `low` on that is not below `offset`, in steps that double."""
        step: cython.Py_ssize_t = 1
        while low < self._count:
            if self._offsets[(self._head + low) & self._mask] >= offset:
                return low
            low += step
            step *= 2
        return self._count

    @cython.ccall
    def released(self, committed: cython.longlong):
        """The log is committed up to here: what lies before it may be dropped when the bound asks for it."""
        self._committed = committed
        if self.bytes_held > self.bytes_max:
            self._shrink()

    @cython.cfunc
    def _shrink(self):
        """Drop the oldest committed messages until the bound is kept."""
        while self._count and self.bytes_held > self.bytes_max:
            if self._offsets[self._head] >= self._committed:
                break
            self._ring[self._head] = None
            self.bytes_held -= self._sizes[self._head]
            self._head = (self._head + 1) & self._mask
            self._count -= 1
            if self._hint:
                self._hint -= 1
        if self._mask >= RING_MIN * 2 and self._count < self._mask >> 3:
            self._resize((self._mask + 1) >> 1)

    def _resize(self, slots: int):
        ring = [None] * slots
        offsets = array("q", bytes(8 * slots))
        sizes = array("q", bytes(8 * slots))
        at: cython.Py_ssize_t
        i: cython.Py_ssize_t
        for i in range(self._count):
            at = (self._head + i) & self._mask
            ring[i], offsets[i], sizes[i] = self._ring[at], self._offsets[at], self._sizes[at]
        self._ring, self._offsets, self._sizes = ring, offsets, sizes
        self._head = 0
        self._mask = slots - 1
