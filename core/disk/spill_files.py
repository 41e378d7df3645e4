"""The files of spill/: what is written is wanted by this process only, and for a while.

    DATA/spill/%020d   blocks, each from a new page on; named by a number that goes up

Nothing is synced. What a block took is given back when the block goes, also where others of its file stay (a hole in
it), and a file goes with its last block: so one block that stays costs itself. Methods block: worker threads call them,
write() and free() one and the same.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from core.disk.ops import PAGE_BYTES, FileOps
from core.errors import StoreRefused

NAME_DIGITS = 20
BLANK = bytes(PAGE_BYTES)

Place = tuple[int, int, int]  # number of the file, where the block begins in it, its bytes


class SpillFiles:
    """Empties the directory at first. A file has `file_bytes`, or one block that is bigger. Raises StoreRefused."""

    def __init__(self, directory: str | Path, file_bytes: int, ops: FileOps | None = None):
        self.directory = str(directory)
        self._file_bytes = file_bytes
        self._ops = ops or FileOps()
        self._used: dict[int, int] = {}  # file -> bytes of the blocks in it
        self._fd = -1
        self._number = self._at = 0  # the file that is being written, and where its next block begins
        try:
            for name in self._ops.sizes(self.directory):
                if len(name) == NAME_DIGITS and name.isdigit():
                    self._ops.remove(f"{self.directory}/{name}")
        except OSError as error:
            raise StoreRefused(f"spill directory {self.directory}: {error.strerror}") from None

    def write(self, blocks: Sequence[bytes]) -> list[Place]:
        """Write blocks and return their places. Raises OSError; then none of them takes space."""
        places: list[Place] = []
        try:
            while len(places) < len(blocks):
                places += self._write_some(blocks[len(places) :])
        except OSError:
            self.free(places)
            raise
        return places

    def _write_some(self, blocks: Sequence[bytes]) -> list[Place]:
        """Those that the file has room for, one at least: in a new file, if need be."""
        if self._fd < 0 or (self._at and self._at + len(blocks[0]) > self._file_bytes):
            self._next_file()
        at = self._at
        places: list[Place] = []
        buffers: list[bytes] = []
        for block in blocks:
            if places and at + len(block) > self._file_bytes:
                break
            places.append((self._number, at, len(block)))
            buffers += [block, BLANK[: -len(block) % PAGE_BYTES]]
            at += len(block) + len(buffers[-1])
        try:
            self._ops.write_all(self._fd, buffers[:-1], self._at)
        except OSError:
            self._ops.set_size(self._fd, self._at)
            raise
        self._at = at
        self._used[self._number] = self._used.get(self._number, 0) + sum(map(len, buffers[::2]))
        return places

    def read(self, place: Place) -> bytes:
        """A block that is not freed. Raises OSError."""
        number, at, size = place
        fd = self._ops.open(self._path(number))
        try:
            data = b""
            while len(data) < size:
                more = self._ops.read(fd, size - len(data), at + len(data))
                if not more:
                    raise OSError(errno.EIO, f"{self._path(number)} is shorter than it was")
                data = data + more if data else more
            return data
        finally:
            self._ops.close(fd)

    def free(self, places: Iterable[Place]) -> None:
        """These blocks are not wanted any more. Raises OSError."""
        for number, at, size in places:
            self._used[number] -= size
            if self._used[number] and number == self._number:
                self._ops.punch(self._fd, at, size + -size % PAGE_BYTES)
            elif self._used[number]:
                fd = self._ops.open(self._path(number))
                try:
                    self._ops.punch(fd, at, size + -size % PAGE_BYTES)
                finally:
                    self._ops.close(fd)
            else:
                del self._used[number]
                if number == self._number:
                    self._close()
                self._ops.remove(self._path(number))

    def close(self) -> None:
        """Remove everything; what cannot be goes at the next start."""
        self._close()
        for number in self._used:
            with suppress(OSError):
                self._ops.remove(self._path(number))
        self._used = {}

    def _next_file(self) -> None:
        self._close()
        number = self._number + 1
        self._fd = self._ops.open(self._path(number))
        self._number, self._at = number, 0

    def _close(self) -> None:
        """No more is written to the file; one in which nothing is goes."""
        if self._fd >= 0:
            self._ops.close(self._fd)
            self._fd = -1
            if self._number not in self._used and not self._at:
                self._ops.remove(self._path(self._number))

    def _path(self, number: int) -> str:
        return f"{self.directory}/{number:0{NAME_DIGITS}d}"
