"""The keys of what is appended to the log, noted while it is: as pairs in memory, from one log offset on."""

from __future__ import annotations

from array import array

import cython

if cython.compiled:
    from cython.cimports.core.log.keys import KEYS_MAX, KeyNotes, KeyReader
    from cython.cimports.core.message import Message
    from cython.cimports.core.native import Native
else:
    from core.log.keys import KEYS_MAX, KeyNotes, KeyReader
    from core.message import Message
    from core.native import Native

PIECE_PAIRS = cython.declare(cython.Py_ssize_t, 1 << 16)  # 1 MiB


@cython.final
@cython.cclass
class KeyTable:
    """note_stored(), note_native() each record once it has its place. count: pairs that are held; last_offset, last_ms:
    where and when the newest native message was stored, -1 and 0 before there is one."""

    def __init__(self, reader: KeyReader):
        self._notes = KeyNotes(reader)
        self._full: list = []
        self._memory = array("q")
        self._view = None
        self._room = 0
        self.last_offset = -1
        self.last_ms = 0

    @property
    def count(self) -> int:
        """How many pairs it holds."""
        noted: cython.Py_ssize_t = self._notes.count
        held: int = sum(len(piece) for piece in self._full) // 2
        return held + noted

    @cython.ccall
    def note_stored(self, message: Message):
        """Note the keys of a message of AMQP."""
        header: bytes = message.header
        if not header:
            return
        if self._notes.count + KEYS_MAX > self._room:
            self._make_room()
        self._notes.begin(message.offset)
        b: cython.p_uchar = header
        if cython.compiled:
            self._notes.content(b, 0, len(header), cython.address(self._view[0]))
        else:
            self._notes.content(b, 0, len(header), self._view)

    @cython.ccall
    def note_native(self, message: Native):
        """Note the keys of a native message."""
        topic: bytes = message.topic
        text: bytes = message.properties
        if self._notes.count + KEYS_MAX > self._room:
            self._make_room()
        self._notes.begin(message.offset)
        t: cython.p_uchar = topic
        b: cython.p_uchar = text
        if cython.compiled:
            self._notes.native(t, 0, len(topic), b, 0, len(text), cython.address(self._view[0]))
        else:
            self._notes.native(t, 0, len(topic), b, 0, len(text), self._view)
        self.last_offset = message.offset
        self.last_ms = message.store_ms

    def _make_room(self) -> None:
        """The piece that fills is full, or there is none yet."""
        self._close()
        self._memory = array("q", bytes(16 * PIECE_PAIRS))
        self._view = self._memory
        self._room = PIECE_PAIRS

    def _close(self) -> None:
        if self._notes.count:
            self._full.append(self._noted())
        self._notes.count = 0

    def _noted(self) -> array:
        """The pairs of the piece that fills."""
        pairs = array("Q")
        pairs.frombytes(memoryview(self._memory)[: 2 * self._notes.count].tobytes())
        return pairs

    def pieces(self) -> list[array[int]]:
        """The pairs, flat; what comes later does not change them."""
        return [*self._full, self._noted()] if self._notes.count else list(self._full)

    def take(self) -> list[array[int]]:
        """The pairs, which it holds no longer."""
        self._close()
        taken, self._full = self._full, []
        return taken
