"""What is ready in a queue with priorities (x-max-priority), by level: the highest first, in a level by offset.

The queue's one index holds the messages of all levels; a unit's tags code says which level its message is of, above
the time at which it expires. Of each level in use a set of its ready offsets is kept, as bitmaps of 512: about a byte
per message and level at worst. A message is of the level that its priority says, of the highest if that is above it,
without one of level 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any

import cython

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.cursor import Cursor
    from cython.cimports.core.wire import rd32, rd64
else:
    from core.message import Message
    from core.queue.cursor import Cursor
    from core.wire import rd32, rd64

EXPIRY_BITS = 54  # of a tags code: above any time in ms that TTLs may lead to
WORD_UNITS, WORD_BYTES = 512, 64


@cython.final
@cython.cclass
class OffsetSet:
    """A set of offsets that gives its smallest: a bitmap for each 512, and a heap of the bitmaps' numbers."""

    def __init__(self):
        self.count = 0
        self._words = {}  # number -> bitmap, perhaps empty
        self._heap = []  # the same numbers

    @cython.cfunc
    def add(self, offset: cython.longlong):
        """`offset` is not in it."""
        number: cython.longlong = offset // 512
        bits: bytearray = self._words.get(number)
        if bits is None:
            bits = bytearray(64)
            self._words[number] = bits
            heappush(self._heap, number)
        bit: cython.int = offset % 512
        p: cython.p_uchar = bits
        p[bit >> 3] |= 1 << (bit & 7)
        self.count += 1

    @cython.cfunc
    @cython.exceptval(-1)
    def holds(self, offset: cython.longlong) -> cython.bint:
        """Whether it is in it."""
        bits: bytearray = self._words.get(offset // 512)
        if bits is None:
            return False
        p: cython.p_uchar = bits
        bit: cython.int = offset % 512
        return (p[bit >> 3] >> (bit & 7)) & 1

    @cython.cfunc
    @cython.exceptval(-1)
    def remove(self, offset: cython.longlong) -> cython.bint:
        """False: it is not in it."""
        bits: bytearray = self._words.get(offset // 512)
        if bits is None:
            return False
        bit: cython.int = offset % 512
        p: cython.p_uchar = bits
        if not (p[bit >> 3] >> (bit & 7)) & 1:
            return False
        p[bit >> 3] ^= 1 << (bit & 7)
        self.count -= 1
        return True

    @cython.cfunc
    @cython.exceptval(-2)
    def first(self) -> cython.longlong:
        """The smallest, or -1."""
        while self._heap:
            number: cython.longlong = self._heap[0]
            bits: bytearray = self._words[number]
            p: cython.p_uchar = bits
            at: cython.int = 0
            while at < 64 and p[at] == 0:
                at += 1
            if at < 64:
                bit: cython.int = 0
                while not (p[at] >> bit) & 1:
                    bit += 1
                return number * 512 + at * 8 + bit
            heappop(self._heap)
            del self._words[number]
        return -1

    def offsets(self) -> Iterator[int]:
        """All of them, ascending."""
        for number in sorted(self._words):
            value = int.from_bytes(self._words[number], "little")
            while value:
                bit = (value & -value).bit_length() - 1
                yield number * WORD_UNITS + bit
                value &= value - 1


@cython.final
@cython.cclass
class Levels:
    """The ready offsets of one queue. priority_of(header block) reads what a message asks for; top = the highest level.

    What was taken is remembered until it is settled or comes back, so that it comes back to its level.
    """

    def __init__(self, top: int, priority_of: Callable[[bytes], int]):
        self.top = top
        self._priority_of = priority_of
        self._header = b""
        self._header_level = 0
        self.clear()

    def clear(self) -> None:
        """Nothing is ready, and nothing is out."""
        self._sets = [None] * (self.top + 1)
        self._highest = -1
        self._out = {}  # offset -> level, taken and neither settled nor back
        self._back = set()  # ready or out, and came back before

    @cython.ccall
    @cython.exceptval(-1)
    def level_of(self, message: Message) -> cython.longlong:
        """The level that a message belongs to in this queue."""
        if message.header is not self._header:
            self._header_level = min(self._priority_of(message.header), self.top)
            self._header = message.header
        return self._header_level

    @cython.ccall
    def put(self, offset: cython.longlong, level: cython.longlong):
        """`offset` is ready."""
        ready: OffsetSet = self._sets[level]
        if ready is None:
            ready = OffsetSet()
            self._sets[level] = ready
        ready.add(offset)
        if level > self._highest:
            self._highest = level

    @cython.ccall
    @cython.exceptval(-2)
    def first(self) -> cython.longlong:
        """The smallest ready offset of the highest level, or -1."""
        while self._highest >= 0:
            ready: OffsetSet = self._sets[self._highest]
            if ready is not None and ready.count:
                return ready.first()
            self._highest -= 1
        return -1

    @cython.ccall
    @cython.exceptval(-1)
    def holds(self, offset: cython.longlong) -> cython.bint:
        """Whether it is ready."""
        for item in self._sets:
            ready: OffsetSet = item
            if ready is not None and ready.holds(offset):
                return True
        return False

    @cython.ccall
    def take(self, offset: cython.longlong):
        """`offset` is ready no more."""
        level: cython.longlong = self._highest
        while level >= 0:
            ready: OffsetSet = self._sets[level]
            if ready is not None and ready.remove(offset):
                self._out[offset] = level
                return
            level -= 1
        raise AssertionError(f"offset {offset} is not ready")

    @cython.ccall
    def give_back(self, offset: cython.longlong):
        """What was taken is ready again, at its place in its level."""
        self._back.add(offset)
        self.put(offset, self._out.pop(offset))

    @cython.ccall
    @cython.exceptval(-1)
    def came_back(self, offset: cython.longlong) -> cython.bint:
        """Whether it was given back before."""
        return offset in self._back

    @cython.ccall
    def settle(self, offset: cython.longlong):
        """What was taken is done."""
        self._out.pop(offset, None)
        self._back.discard(offset)

    def offsets(self) -> Iterator[int]:
        """All that is ready, in the order of delivery."""
        for ready in reversed(self._sets):
            if ready is not None:
                yield from ready.offsets()

    def restore(self, queue: Any, read_chunk: Callable[[int, int], bytes | None]) -> None:
        """After recovery: what is not done in a durable queue is ready, at the level its unit tells. Units that are
        not in memory are read by read_chunk(queue id, number), which blocks; one that is absent is settled."""
        self.clear()
        index = queue.index
        cursor: Cursor = queue.cursor
        offset: cython.longlong
        for number in range(cursor.floor // WORD_UNITS, -(-index.end // WORD_UNITS)):
            first = number * WORD_UNITS
            units = index.chunk_bytes(number) if index.loaded(first) else read_chunk(queue.id, number)
            for offset in range(max(first, cursor.floor), min(first + WORD_UNITS, index.end)):
                if cursor.is_done(offset):
                    continue
                level = -1 if units is None else level_in(units, offset - first)
                if level >= 0:
                    self.put(offset, min(level, self.top))
                else:
                    cursor.settle(offset)
                    queue.ready -= 1
        cursor.take_runs()


@cython.ccall
@cython.exceptval(-2, check=True)
def level_in(units: bytes, at: cython.Py_ssize_t) -> cython.longlong:
    """The level of the unit at that place of a chunk, or -1: it is absent."""
    p: cython.p_uchar = units
    if rd32(p, at * 20 + 8) == 0:
        return -1
    return cython.cast(cython.longlong, rd64(p, at * 20 + 12)) >> 54
