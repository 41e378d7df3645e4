"""Pieces of transient queues in spill/: what of them refers to what others wrote, and the threads that write and read.

A message that another queue has had written is referred to, unless so many short parts would cost more memory than the
disk that they save.
"""

from __future__ import annotations

from typing import Any, Protocol

from core.log.block import BLOCK_BITS, SLICE, decode, decode_codes, encode, encode_codes, skip
from core.log.encoder import Encoder
from core.queue.chunk import Piece

SHARED_PARTS, SHARED_BYTES = 16, 4096  # a piece has so many parts at most, and one more for so many bytes
RECORD_MASK = (1 << BLOCK_BITS) - 1


class Files(Protocol):
    """Of core.disk.spill_files.SpillFiles, what is used here. All of it blocks."""

    def write(self, blocks: Any) -> Any:
        """Write blocks and return their places."""

    def read(self, place: Any) -> bytes:
        """The block that lies there."""

    def free(self, places: Any) -> None:
        """These are wanted no more."""


class Block:
    """place: None until it is written. users: pieces, written or on their way, and reads that refer to it."""

    __slots__ = ("number", "place", "size", "users")

    def __init__(self, number: int, size: int):
        self.number, self.size = number, size
        self.place: Any = None
        self.users = 0


def parts_of(start: int, taken: list[Any], blocks: dict[int, Block]) -> tuple[list[Any], list[Any]]:
    """Where each message from offset `start` on is to be found, as flat parts (see Piece; block None = the one that is
    to be written), and those that are to be written. blocks: those that there are, by number."""
    if any(message is not None and message.spilled for message in taken):
        parts, fresh = _gather(start, taken, blocks)
        if len(parts) // 4 <= SHARED_PARTS + sum(m.body_size for m in taken if m is not None) // SHARED_BYTES:
            return parts, fresh
    return _gather(start, taken, {})


def _gather(start: int, taken: list[Any], blocks: dict[int, Block]) -> tuple[list[Any], list[Any]]:
    parts: list[Any] = []
    fresh: list[Any] = []
    follows: tuple[Any, int] = (None, -1)
    place: tuple[Any, int]
    for offset, message in enumerate(taken, start):
        if message is None:
            follows = (None, -1)
            continue
        block = blocks.get(message.spilled >> BLOCK_BITS)
        if block is None:
            place = None, len(fresh)
            fresh.append(message)
        else:
            place = block, message.spilled & RECORD_MASK
        if place == follows:
            parts[-1] += 1
        else:
            parts += [offset, *place, 1]
        follows = place[0], place[1] + 1
    return parts, fresh


def blocks_of(piece: Piece) -> list[Block]:
    """The blocks that a piece refers to, as often as it does."""
    blocks = list(piece.parts[1::4])
    if piece.codes is not None:
        blocks.append(piece.codes[0])
    return blocks


def encode_block(encoder: Encoder, messages: list[Any], codes: bytes | None, number: int) -> bytes:
    """A block: the messages' records, then one with their codes."""
    buffers = encode(encoder, messages, number)
    if codes is not None:
        buffers.append(encode_codes(encoder, codes, number, len(messages)))
    return b"".join(buffers)


def read_piece(files: Files, piece: Piece) -> tuple[list[Any], bytes | None]:
    """In a reader's thread: the messages from the piece's start on, None where it has none, and their codes."""
    found: list[Any] = [None] * (piece.stop - piece.start)
    data, block = b"", None
    parts = piece.parts
    for at in range(0, len(parts), 4):
        offset, wanted, first, count = parts[at : at + 4]
        if wanted is not block:
            block, data = wanted, files.read(wanted.place)
        messages: list[Any] = []
        place = skip(data, 0, first)
        for record in range(first, first + count, SLICE):
            place = decode(data, place, block.number, record, min(record + SLICE, first + count), messages)
        found[offset - piece.start : offset - piece.start + count] = messages
    if piece.codes is None:
        return found, None
    wanted, record = piece.codes
    if wanted is not block:
        data = files.read(wanted.place)
    return found, decode_codes(data, skip(data, 0, record), wanted.number, record)
