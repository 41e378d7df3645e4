"""A transient queue's messages: what the index is for a durable one.

Offset-addressed, in chunks of up to 512 messages. A chunk leaves memory as soon as all in it are settled, wherever it
lies: one message that nobody settles keeps its own chunk, not everything that came after it.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.wire import rd64, wr64
else:
    from core.message import Message
    from core.wire import rd64, wr64

CHUNK_BITS = cython.declare(cython.int, 9)
MESSAGE_BYTES = cython.declare(cython.Py_ssize_t, 256)  # what a message takes beside its body
SPARE_SLOTS = cython.declare(cython.Py_ssize_t, 64)  # settled ones that an empty chunk may keep


@cython.final
@cython.cclass
class Chunk:
    """Messages from offset `first` on, None where settled; `live` of them are not. codes: 8 bytes for each, or None."""

    def __init__(self, number: cython.longlong, first: cython.longlong):
        self.number = number
        self.first = first
        self.live = 0
        self.messages = []
        self.codes = None


@cython.final
@cython.cclass
class Held:
    """end: the offset that the next message gets; bytes: of the messages that are not settled; code: of the one that
    get() gave last."""

    def __init__(self):
        self.end = self.bytes = self.code = 0
        self._chunks = {}
        self._filling = self._read = self._settled = None

    @cython.ccall
    def add(self, message: Message, code: cython.longlong):
        """Append a message and its tags code."""
        chunk: Chunk = self._filling
        if chunk is None or chunk.number != self.end >> CHUNK_BITS:
            chunk = Chunk(self.end >> CHUNK_BITS, self.end)
            self._chunks[chunk.number] = chunk
            self._filling = chunk
        if code:
            if chunk.codes is None:
                chunk.codes = bytearray(8 * 512)
            wr64(chunk.codes, 8 * len(chunk.messages), code)
        chunk.messages.append(message)
        chunk.live += 1
        self.end += 1
        self.bytes += message.body_size + MESSAGE_BYTES

    @cython.ccall
    def get(self, offset: cython.longlong) -> Message:
        """The message at `offset`, which must not be settled; `code` is what add() was given with it."""
        chunk: Chunk = self._read
        if chunk is None or chunk.number != offset >> CHUNK_BITS:
            chunk = self._chunks[offset >> CHUNK_BITS]
            self._read = chunk
        self.code = 0 if chunk.codes is None else rd64(chunk.codes, 8 * (offset - chunk.first))
        return chunk.messages[offset - chunk.first]

    @cython.ccall
    def settle(self, offset: cython.longlong):
        """Let go of the message at `offset`, which must be there."""
        chunk: Chunk = self._settled
        if chunk is None or chunk.number != offset >> CHUNK_BITS:
            chunk = self._chunks[offset >> CHUNK_BITS]
            self._settled = chunk
        message: Message = chunk.messages[offset - chunk.first]
        chunk.messages[offset - chunk.first] = None
        chunk.live -= 1
        self.bytes -= message.body_size + MESSAGE_BYTES
        if chunk.live == 0:
            self._drop(chunk)

    @cython.cfunc
    def _drop(self, chunk: Chunk):
        """All in it is settled. The chunk that fills goes on where it is, without its past."""
        if chunk.number == self.end >> CHUNK_BITS:
            if len(chunk.messages) >= SPARE_SLOTS:
                chunk.messages = []
                chunk.codes = None
                chunk.first = self.end
            return
        del self._chunks[chunk.number]
        if self._read is chunk:
            self._read = None
        if self._filling is chunk:
            self._filling = None
        self._settled = None
