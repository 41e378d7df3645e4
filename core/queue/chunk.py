"""Chunks of a transient queue (held.py): up to 512 messages, what of them is in spill/, and what is there only."""

from __future__ import annotations

from typing import Any

import cython

if cython.compiled:
    from cython.cimports.core.message import Message
else:
    from core.message import Message

    BLOCK_BYTES = 256 << 10  # of messages in one piece; one that is bigger is a piece of its own
    MESSAGE_BYTES = 256  # what a message takes beside its body and header block


@cython.ccall
@cython.exceptval(check=False)
def size_of(message: Message) -> cython.Py_ssize_t:
    """What a message takes in memory."""
    return message.body_size + len(message.header) + MESSAGE_BYTES


@cython.final
@cython.cclass
class Room:
    """bytes: of messages that transient queues hold in memory, each counted in every queue; away: messages that are in
    spill/ only. limit: of bytes. keeper: who makes room (spill.Spill), or None: nobody does."""

    def __init__(self, limit: cython.longlong = 1 << 62):
        self.bytes = self.away = 0
        self.limit = limit
        self.keeper: Any = None


@cython.final
@cython.cclass
class Piece:
    """Messages from offset `start` up to `stop` that are in spill/: parts = (offset, block, number of the first record,
    count) one behind the other, codes = (block, number of the record) or None. lost: they cannot be read."""

    def __init__(self, start: cython.longlong, stop: cython.longlong, parts: tuple, codes: tuple | None):
        self.start = start
        self.stop = stop
        self.parts = parts
        self.codes = codes
        self.lost = False


@cython.final
@cython.cclass
class Chunk:
    """Messages from offset `first` on, None where settled or away; `live` of all are not settled.

    codes    8 bytes for each offset of the chunk, or None
    away     a bitmap of those that are in spill/ only, away_count of them, or None
    pieces   what is in spill/, from the chunk's beginning up to `covered`, or None; writing: more is on its way there
    came_ms  when some last came back
    """

    def __init__(self, number: cython.longlong, first: cython.longlong):
        self.number = number
        self.first = self.covered = first
        self.live = self.away_count = 0
        self.messages = []
        self.codes = self.away = self.pieces = None
        self.writing = False
        self.came_ms = 0

    @cython.ccall
    @cython.exceptval(-1)
    def is_away(self, offset: cython.longlong) -> cython.bint:
        """Whether the message at `offset`, which is not settled, is in spill/ only."""
        return self.away is not None and (self.away[(offset & 511) >> 3] >> (offset & 7)) & 1

    @cython.ccall
    @cython.exceptval(-2)
    def next_away(self, offset: cython.longlong) -> cython.longlong:
        """The first offset from `offset` on of a message that is away, or -1."""
        if self.away is not None:
            while offset >> 9 == self.number:
                if self.is_away(offset):
                    return offset
                offset += 1
        return -1

    @cython.ccall
    def piece_at(self, offset: cython.longlong) -> Piece:
        """The piece with a message that is away."""
        piece: Piece
        for piece in self.pieces:
            if piece.start <= offset < piece.stop:
                return piece
        raise AssertionError(f"offset {offset} lies in no piece")

    @cython.ccall
    @cython.exceptval(-1)
    def unwritten(self) -> cython.Py_ssize_t:
        """Bytes of its messages that are not in spill/."""
        total: cython.Py_ssize_t = 0
        at: cython.Py_ssize_t
        for at in range(self.covered - self.first, len(self.messages)):
            message: Message = self.messages[at]
            if message is not None:
                total += size_of(message)
        return total

    def next_piece(self) -> tuple:
        """What is to be written next: (up to which offset, messages from `covered` on with None for the settled)."""
        taken: list = []
        total: cython.Py_ssize_t = 0
        at: cython.Py_ssize_t
        for at in range(self.covered - self.first, len(self.messages)):
            message: Message = self.messages[at]
            if message is not None:
                size: cython.Py_ssize_t = size_of(message)
                if total and total + size > BLOCK_BYTES:
                    break
                total += size
            taken.append(message)
        return self.covered + len(taken), taken

    def codes_of(self, start: int, stop: int) -> bytes | None:
        """Their tags codes, None when all are 0."""
        if self.codes is None:
            return None
        codes = bytes(self.codes[8 * (start & 511) : 8 * (((stop - 1) & 511) + 1)])
        return codes if codes.strip(b"\0") else None

    def written(self, piece: Piece) -> None:
        """The messages from `covered` on up to the piece's end are in spill/."""
        if self.pieces is None:
            self.pieces = []
        self.pieces.append(piece)
        self.covered = piece.stop
