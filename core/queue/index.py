"""A durable queue's index: one unit of 20 bytes per message, offset-addressed, pointing into the log.

    unit = | overhead u16 | log offset u48 | size u32 | tags code i64 |   big-endian

That is RocketMQ's consume queue unit, whose log offset has 64 bits: nobody's log reaches 2^48. Overhead is what of the
record's `size` bytes is not the message's body, 65,535 = that or more, so that bodies can be added up without reading
them: a limit of bytes counts them (limits.py).

Units lie in chunks of 512. A chunk that became full is stored by the checkpointer and may then leave memory (unload);
who meets a missing chunk asks for it (load). The tags code of an AMQP queue's unit is the time at which its message
expires (ms since the epoch, 0 = never). An absent unit, one of size 0, reads as done.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.wire import rd16, rd32, rd64, wr16, wr32, wr64
else:
    from core.wire import rd16, rd32, rd64, wr16, wr32, wr64

UNIT_BYTES = 20
CHUNK_UNITS = 512
CHUNK_BYTES = UNIT_BYTES * CHUNK_UNITS
FOUND, ABSENT, NOT_LOADED = 1, 0, -1
CODE_MAX = (1 << 63) - 1
HELD_UNITS = cython.declare(cython.longlong, 1 << 16)  # 1.3 MB of units
FIRST_BYTES = 8 * UNIT_BYTES  # a chunk grows as it fills: most queues never hold 512 messages


@cython.cclass
class Index:
    """Units from `begin` (lowest that may still be wanted) up to `end` (the offset the next message gets).

    find() leaves what it found in log_offset, size, body_size and code: C integers, no object.
    unstored: numbers of full chunks that no checkpoint holds yet; stored: numbers of chunks that the store holds.
    held_from: units from there on stay until 65,536 follow, though they are done: somebody is to read them (replays).
    copied_to: units below it may point at copies (retention makes them), in no order; from there on each record lies
    behind that of the unit before it.
    """

    def __init__(self, begin: int = 0):
        self.begin = begin
        self.end = begin
        self._chunks = {}
        self._memo_number = -1
        self._memo = None
        self.unstored = set()
        self.stored = set()
        self.copied_to = 0
        self.held_from = CODE_MAX
        self.log_offset = self.code = 0
        self.size = self.body_size = 0

    @cython.cfunc
    def _chunk(self, number: cython.longlong, create: cython.bint) -> bytearray:
        """The chunk of that number from memory, or None; made empty when `create` asks for it."""
        if number == self._memo_number:
            return self._memo
        chunk = self._chunks.get(number)
        if chunk is None:
            if not create:
                return None
            chunk = bytearray(FIRST_BYTES)
            self._chunks[number] = chunk
        self._memo_number = number
        self._memo = chunk
        return chunk

    @cython.ccall
    def put(
        self,
        offset: cython.longlong,
        log_offset: cython.longlong,
        size: cython.Py_ssize_t,
        body_size: cython.Py_ssize_t,
        code: cython.longlong,
    ):
        """Place the unit of `offset`: its record has `size` bytes, of which `body_size` are the message's body. It
        is `end`, or of a copy; replay may come in any order and may repeat."""
        if offset < self.begin:
            return
        overhead: cython.longlong = min(size - body_size, 0xFFFF)
        number: cython.longlong = offset // 512
        chunk: bytearray = self._chunk(number, True)
        at: cython.Py_ssize_t = (offset - number * 512) * 20
        if at >= len(chunk):
            chunk += bytes(min(max(2 * len(chunk), at + 20), 10240) - len(chunk))
        p: cython.p_uchar = chunk
        wr16(p, at, overhead)
        wr16(p, at + 2, log_offset >> 32)
        wr32(p, at + 4, log_offset)  # its low half; a mask of 32 bits would be an object
        wr32(p, at + 8, size)
        wr64(p, at + 12, code)
        if offset >= self.end:
            if offset > self.end:
                self._leave(self.end // 512, number)
            self.end = offset + 1
            if at == 10220:  # full now
                self.unstored.add(number)
        elif at == 10220 or number in self.stored or number < (self.end - 1) // 512:  # written again, or late
            self.unstored.add(number)

    @cython.cfunc
    def _leave(self, number: cython.longlong, to: cython.longlong):
        """In replay: what follows the youngest unit is nowhere. The rest of its chunk, if the end leaves that, too."""
        if number < to and number in self._chunks:
            self.unstored.add(number)

    def reach(self, end: int) -> None:
        """In replay: every offset below `end` was given to a message, though of some of them nothing is left."""
        if end > self.end:
            self._leave(self.end // CHUNK_UNITS, end // CHUNK_UNITS)
            self.end = end

    @cython.ccall
    @cython.exceptval(-9)
    def find(self, offset: cython.longlong) -> cython.int:
        """FOUND (then log_offset, size, body_size and code tell), ABSENT (done long ago) or NOT_LOADED (stored)."""
        if offset < self.begin or offset >= self.end:
            return 0
        number: cython.longlong = offset // 512
        chunk: bytearray = self._chunk(number, False)
        if chunk is None:
            return -1 if number in self.stored else 0
        at: cython.Py_ssize_t = (offset - number * 512) * 20
        if at >= len(chunk):
            return 0
        p: cython.p_uchar = chunk
        self.size = rd32(p, at + 8)
        if self.size == 0:
            return 0
        self.log_offset = cython.cast(cython.longlong, rd16(p, at + 2)) << 32 | rd32(p, at + 4)
        self.body_size = self.size - rd16(p, at)
        self.code = rd64(p, at + 12)
        return 1

    @cython.ccall
    def trim(self, begin: cython.longlong):
        """Forget everything below `begin`: it is done. Whole chunks leave memory."""
        if begin > self.held_from:
            begin = max(self.held_from, begin - HELD_UNITS)
        if begin <= self.begin:
            return
        if begin > self.end:
            self.end = begin
        first: cython.longlong = self.begin // 512
        kept: cython.longlong = begin // 512
        self.begin = begin
        while first < kept:
            if self._memo_number == first:
                self._memo_number = -1
                self._memo = None
            self._chunks.pop(first, None)
            self.unstored.discard(first)
            first += 1

    @cython.ccall
    @cython.exceptval(-1)
    def loaded(self, offset: cython.longlong) -> cython.bint:
        """Whether the chunk of `offset` is in memory."""
        return offset // 512 in self._chunks

    def loaded_chunks(self) -> list:
        """Numbers of the chunks in memory, ascending."""
        return sorted(self._chunks)

    def chunk_bytes(self, number: int) -> bytes:
        """A copy of one loaded chunk (10,240 bytes)."""
        return bytes(self._chunks[number]).ljust(CHUNK_BYTES, b"\0")

    def used_bytes(self, number: int) -> bytes:
        """A copy of one loaded chunk for the checkpointer: without zeros at its end."""
        return bytes(self._chunks[number]).rstrip(b"\0")

    def load(self, number: int, units: bytes) -> None:
        """Put a stored chunk back into memory; one that is there already is newer and stays."""
        assert len(units) == CHUNK_BYTES
        if number not in self._chunks and (number + 1) * CHUNK_UNITS > self.begin:
            used = len(units.rstrip(b"\0"))
            self._chunks[number] = bytearray(units[: max(FIRST_BYTES, used + -used % UNIT_BYTES)])
            if self._memo_number == number:
                self._memo_number = -1

    def unload(self, number: int) -> None:
        """Let a stored chunk leave memory. The chunk that is being filled never does."""
        assert number in self.stored and number not in self.unstored
        if number != self.end // CHUNK_UNITS:
            self._chunks.pop(number, None)
            if self._memo_number == number:
                self._memo_number = -1
                self._memo = None

    def restore(self, begin: int, end: int, stored: set) -> None:
        """Take the extent that a checkpoint recorded; units follow by load() or replay."""
        self.begin, self.end, self.stored = begin, max(begin, end), set(stored)

    def forget_stored(self) -> list:
        """Numbers of stored chunks wholly below `begin`: the store may delete them; they are forgotten here."""
        gone = sorted(number for number in self.stored if (number + 1) * CHUNK_UNITS <= self.begin)
        self.stored.difference_update(gone)
        return gone
