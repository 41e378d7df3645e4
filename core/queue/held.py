"""A transient queue's messages: what the index is for a durable one.

Offset-addressed, in chunks of up to 512 messages. A chunk leaves memory as soon as all in it are settled, wherever it
lies: one message that nobody settles keeps its own chunk, not everything that came after it.

What all queues hold together is counted in their Room (chunk.py). Above its limit spill.py has messages written to
spill/, in pieces of a chunk, and these may leave memory (evict) and come back (fill). All that is told here about
messages that are away is told once per chunk: one that is wholly in memory costs no more than if there were no spill/.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.chunk import MESSAGE_BYTES, Chunk, Piece, Room, size_of
    from cython.cimports.core.wire import rd64, wr64
else:
    from core.message import Message
    from core.queue.chunk import MESSAGE_BYTES, Chunk, Piece, Room, size_of
    from core.wire import rd64, wr64

CHUNK_BITS = cython.declare(cython.int, 9)
SPARE_SLOTS = cython.declare(cython.Py_ssize_t, 64)  # settled ones that an empty chunk may keep


@cython.final
@cython.cclass
class Held:
    """end: the offset that the next message gets; code: of the one that get() gave last; at: about where the queue is
    read; resident: number -> chunk of those with messages in memory."""

    def __init__(self):
        self.room = Room()
        self.end = self.code = self.away = 0
        self.at = -1
        self.resident = {}
        self._chunks = {}
        self._filling = self._read = self._settled = None

    @cython.ccall
    @cython.nonecheck(False)
    def add(self, message: Message, code: cython.longlong):
        """Append a message and its tags code."""
        chunk: Chunk = self._filling
        if chunk is None or chunk.number != self.end >> CHUNK_BITS:
            chunk = self._next_chunk()
        if code:
            if chunk.codes is None:
                chunk.codes = bytearray(8 * 512)
            wr64(chunk.codes, 8 * (self.end & 511), code)
        chunk.messages.append(message)
        chunk.live += 1
        self.end += 1
        self.room.bytes += message.body_size + len(message.header) + MESSAGE_BYTES

    @cython.cfunc
    def _next_chunk(self) -> Chunk:
        chunk: Chunk = Chunk(self.end >> CHUNK_BITS, self.end)
        self._chunks[chunk.number] = chunk
        self.resident[chunk.number] = chunk
        self._filling = chunk
        if self.room.keeper is not None:
            self.room.keeper.filled(self)
        return chunk

    @cython.ccall
    @cython.nonecheck(False)
    def get(self, offset: cython.longlong) -> Message:
        """The message at `offset`, which must not be settled; `code` is what add() was given with it. None: it is away,
        and `code` is 0."""
        chunk: Chunk = self._read
        if chunk is None or chunk.number != offset >> CHUNK_BITS:
            chunk = self._turn_to(offset)
            if chunk is None:
                self.code = 0
                return None
        self.code = 0 if chunk.codes is None else rd64(chunk.codes, 8 * (offset & 511))
        return chunk.messages[offset - chunk.first]

    @cython.cfunc
    def _turn_to(self, offset: cython.longlong) -> Chunk:
        """The chunk of `offset`, None when the message is away."""
        chunk: Chunk = self._chunks[offset >> CHUNK_BITS]
        self.at = offset
        if self.away and self.room.keeper is not None:
            self.room.keeper.ahead(self)
        if chunk.away is None:
            self._read = chunk
        elif chunk.is_away(offset):
            return None
        return chunk

    @cython.ccall
    @cython.nonecheck(False)
    def settle(self, offset: cython.longlong):
        """Let go of the message at `offset`, which must be there."""
        chunk: Chunk = self._settled
        if chunk is None or chunk.number != offset >> CHUNK_BITS:
            chunk = self._chunks[offset >> CHUNK_BITS]
            if chunk.away is None:
                self._settled = chunk
            elif chunk.is_away(offset):
                self._settle_away(chunk, offset)
                return
        message: Message = chunk.messages[offset - chunk.first]
        chunk.messages[offset - chunk.first] = None
        chunk.live -= 1
        self.room.bytes -= message.body_size + len(message.header) + MESSAGE_BYTES
        if chunk.live == 0:
            self._drop(chunk)

    @cython.cfunc
    def _settle_away(self, chunk: Chunk, offset: cython.longlong):
        self._no_longer_away(chunk, offset)
        chunk.live -= 1
        if chunk.live == 0:
            self._drop(chunk)

    @cython.cfunc
    def _no_longer_away(self, chunk: Chunk, offset: cython.longlong):
        chunk.away[(offset & 511) >> 3] ^= 1 << (offset & 7)
        chunk.away_count -= 1
        if chunk.away_count == 0:
            chunk.away = None
        self.away -= 1
        self.room.away -= 1

    @cython.cfunc
    def _drop(self, chunk: Chunk):
        """All in it is settled. The chunk that fills goes on where it is, without its past."""
        if chunk.number == self.end >> CHUNK_BITS:
            if len(chunk.messages) >= SPARE_SLOTS or chunk.pieces is not None or chunk.writing:
                chunk.messages = []
                chunk.codes = None
                chunk.first = chunk.covered = self.end
                self._let_go(chunk)
            return
        del self._chunks[chunk.number]
        self.resident.pop(chunk.number, None)
        if self._read is chunk:
            self._read = None
        if self._filling is chunk:
            self._filling = None
        self._settled = None
        self._let_go(chunk)

    @cython.cfunc
    def _let_go(self, chunk: Chunk):
        """Its place in spill/ is free."""
        if chunk.pieces is not None:
            pieces: list = chunk.pieces
            chunk.pieces = None
            self.room.keeper.release(pieces)

    def clear(self) -> None:
        """Let go of everything; what is in spill/ goes in slices."""
        chunk: Chunk
        for chunk in self.resident.values():
            for message in chunk.messages:
                if message is not None:
                    self.room.bytes -= size_of(message)
        self.room.away -= self.away
        self.away = 0
        chunks = self._chunks
        self._chunks, self.resident = {}, {}
        self._filling = self._read = self._settled = None
        if self.room.keeper is not None:
            self.room.keeper.cleared(self, chunks)

    # -- of spill.py

    @cython.ccall
    def chunk_at(self, offset: cython.longlong) -> Chunk:
        """The chunk of an offset, or None: all in it is settled."""
        return self._chunks.get(offset >> CHUNK_BITS)

    @cython.ccall
    @cython.exceptval(-1)
    def holds(self, offset: cython.longlong) -> cython.bint:
        """Whether the message at `offset`, which is not settled, is in memory."""
        chunk: Chunk = self._chunks[offset >> CHUNK_BITS]
        return not chunk.is_away(offset)

    @cython.ccall
    @cython.exceptval(-1)
    def is_lost(self, offset: cython.longlong) -> cython.bint:
        """Whether it is away and cannot be read."""
        if self.holds(offset):
            return False
        chunk: Chunk = self._chunks[offset >> CHUNK_BITS]
        piece: Piece = chunk.piece_at(offset)
        return piece.lost

    @cython.ccall
    @cython.exceptval(-1)
    def hot_until(self, size: cython.Py_ssize_t, chunks: cython.longlong) -> cython.longlong:
        """Up to which offset messages are about to be delivered: from `at` on `size` bytes of them, one at least, in so
        many chunks."""
        if self.at < 0:
            return 0
        offset: cython.longlong = self.at
        number: cython.longlong
        for number in range(self.at >> CHUNK_BITS, (self.at >> CHUNK_BITS) + chunks):
            chunk: Chunk = self.resident.get(number)
            if chunk is not None:
                offset = max(offset, chunk.first)
                while offset - chunk.first < len(chunk.messages):
                    message: Message = chunk.messages[offset - chunk.first]
                    offset += 1
                    if message is not None:
                        size -= size_of(message)
                        if size <= 0:
                            return offset
            offset = max(offset, (number + 1) << CHUNK_BITS)
        return offset

    @cython.ccall
    @cython.exceptval(-1)
    def is_full(self, chunk: Chunk) -> cython.bint:
        """Whether no more messages enter it."""
        return chunk.number != self.end >> CHUNK_BITS

    @cython.ccall
    @cython.exceptval(-1)
    def evict(self, chunk: Chunk, hot: cython.longlong, until: cython.longlong) -> cython.Py_ssize_t:
        """Let what is in spill/ leave memory, but for the offsets from `hot` up to `until`; return how many bytes."""
        freed: cython.Py_ssize_t = 0
        kept: cython.bint = False
        at: cython.Py_ssize_t
        for at in range(len(chunk.messages)):
            offset: cython.longlong = chunk.first + at
            message: Message = chunk.messages[at]
            if message is None:
                continue
            if offset >= chunk.covered or hot <= offset < until:
                kept = True
                continue
            if chunk.away is None:
                chunk.away = bytearray(64)
            chunk.away[(offset & 511) >> 3] |= 1 << (offset & 7)
            chunk.away_count += 1
            self.away += 1
            self.room.away += 1
            chunk.messages[at] = None
            freed += size_of(message)
        self.room.bytes -= freed
        if freed:
            if self._read is chunk:
                self._read = None
            if self._settled is chunk:
                self._settled = None
        if not kept and chunk.covered >= chunk.first + len(chunk.messages):
            chunk.first += len(chunk.messages)
            chunk.messages = []
            chunk.codes = None
            if self.is_full(chunk):
                self.resident.pop(chunk.number, None)
        return freed

    def fill(self, chunk: Chunk, piece: Piece, messages: list, codes: bytes | None, ms: int) -> None:
        """What was away of a piece is back: messages from its start on, None for what was not written."""
        if chunk.first > piece.start:
            chunk.messages[0:0] = [None] * (chunk.first - piece.start)
            chunk.first = piece.start
        if codes is not None:
            if chunk.codes is None:
                chunk.codes = bytearray(8 * 512)
            at = 8 * (piece.start & 511)
            chunk.codes[at : at + len(codes)] = codes
        offset: cython.longlong = piece.start
        for message in messages:
            if message is not None and chunk.away is not None and chunk.is_away(offset):
                chunk.messages[offset - chunk.first] = message
                self.room.bytes += size_of(message)
                self._no_longer_away(chunk, offset)
            offset += 1
        chunk.came_ms = ms
        self.resident[chunk.number] = chunk
