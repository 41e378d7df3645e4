"""The key blocks' files: which messages of a piece of the log have which keys, by hash.

    state/keys/%020d   named by the log offset at which its piece begins
    magic 8 | begin u64 | end u64 | count u64 | CRC of these u32 | hashes u64 each, ascending | log offsets u64 each

Little-endian. As the rest of state/ they are a cache of the log: one that is not whole goes, and is built anew. All of
it blocks: worker threads call it, but for open().
"""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from bisect import bisect_left
from pathlib import Path
from typing import NamedTuple

HEAD = struct.Struct("<8sQQQ")
HEAD_BYTES = HEAD.size + 4
MAGIC = b"MQKEYS2\n"  # 2: the keys of native messages are among them
WINDOW = 1024  # hashes read at once
NAME_DIGITS = 20


class Block(NamedTuple):
    """What a file covers: the records from log offset `begin` up to `end`, which have so many `keys`."""

    begin: int
    end: int
    keys: int


class KeyFiles:
    """One directory of them."""

    def __init__(self, directory: str | Path):
        self._directory = Path(directory)

    def open(self) -> list[Block]:
        """The blocks there are, in the order of the log; what is none is deleted. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        found = []
        for path in sorted(self._directory.iterdir()):
            block = _head(path)
            if block is None:
                path.unlink()
            else:
                found.append(block)
        return found

    def write(self, begin: int, end: int, entries: array[int]) -> Block:
        """Keep what was found from `begin` to `end`: flat pairs (hash, log offset), sorted. Raises OSError."""
        head = HEAD.pack(MAGIC, begin, end, len(entries) // 2)
        path = self._path(begin)
        unfinished = path.with_suffix(".new")
        with open(unfinished, "wb") as file:
            file.write(head + zlib.crc32(head).to_bytes(4, "little"))
            file.write(entries[::2])
            file.write(entries[1::2])
            file.flush()
            os.fdatasync(file.fileno())
        os.replace(unfinished, path)
        return Block(begin, end, len(entries) // 2)

    def search(self, block: Block, wanted: int) -> list[int]:
        """The log offsets that a block has for a hash, ascending. Raises OSError."""
        fd = os.open(self._path(block.begin), os.O_RDONLY | os.O_CLOEXEC)
        try:
            first = _lower_bound(fd, block.keys, wanted)
            count = 0
            while count < block.keys - first:
                hashes = _read(fd, first + count, min(WINDOW, block.keys - first - count))
                same = hashes.count(wanted)  # they lie together, from the first on
                count += same
                if same < len(hashes):
                    break
            return list(_read(fd, block.keys + first, count))
        finally:
            os.close(fd)

    def remove(self, blocks: list[Block]) -> None:
        """Their piece of the log is gone. Raises OSError."""
        for block in blocks:
            self._path(block.begin).unlink(missing_ok=True)

    def _path(self, begin: int) -> Path:
        return self._directory / f"{begin:0{NAME_DIGITS}d}"


def _head(path: Path) -> Block | None:
    """What a file covers, or None: it is no whole key block."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES or zlib.crc32(head[: HEAD.size]).to_bytes(4, "little") != head[HEAD.size :]:
            return None
        magic, begin, end, count = HEAD.unpack(head[: HEAD.size])
        whole = path.stat().st_size == HEAD_BYTES + 16 * count and path.name == f"{begin:0{NAME_DIGITS}d}"
    except OSError:
        return None
    return Block(begin, end, count) if whole and magic == MAGIC and begin < end else None


def _read(fd: int, at: int, count: int) -> array[int]:
    """So many numbers from the one at `at` on."""
    numbers = array("Q")
    numbers.frombytes(os.pread(fd, 8 * count, HEAD_BYTES + 8 * at))
    return numbers


def _lower_bound(fd: int, count: int, wanted: int) -> int:
    """The place of the first hash that is not below the one wanted. Hashes are spread evenly, so that it is close to
    where that says: most often one window is read."""
    low, high = 0, count
    at = wanted * count >> 64
    while low < high:
        start = max(low, min(at - WINDOW // 2, high - WINDOW))
        hashes = _read(fd, start, min(WINDOW, high - start))
        if not hashes:
            return high  # the file was cut off: what it has is not found
        place = bisect_left(hashes, wanted)
        if place == len(hashes):
            low = start + place
        elif place == 0 and start > low:
            high = start
        else:
            return start + place
        at = (low + high) // 2
    return low
