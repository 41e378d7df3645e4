"""A disk that loses what it may lose: stands in for core.disk.files.FileOps under core.disk.files.SegmentFiles.

A file has what programs read (the page cache) and, per 512-byte sector written since the last sync, every version that
a crash may leave. sync() makes the bytes and the size of one file durable, sync_directory() the names. At a crash each
unsynced sector takes one of its versions at random, so records are torn anywhere; of the names that came or went a
prefix survives, as in a file system with a journal; a size that was not synced is the old or the new one.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from random import Random
from typing import Any, NoReturn

from core.disk.files import FileOps

SECTOR_BYTES = 512
BLOCK_BYTES = 4096  # the disk's space is counted in these


class Crash(BaseException):
    """The power fails here. Not an Exception, so that nothing that the broker catches holds it up."""


class SimFile:
    """One file. versions: sector -> what the disk may hold of it, oldest first; the last one is the page cache's."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.size_durable = 0
        self.versions: dict[int, list[bytes]] = {}
        self.doubtful: dict[int, list[bytes]] = {}  # a sync of these failed: nobody knows, and no later sync tells
        self.blocks: set[int] = set()  # those that take space; the others are holes

    def write(self, at: int, data: bytes) -> None:
        """Change the page cache, remembering what was there."""
        first, last = at // SECTOR_BYTES, (at + len(data) - 1) // SECTOR_BYTES
        for sector in range(first, last + 1):
            if sector not in self.versions:
                self.versions[sector] = [self.sector(sector)]
        end = at + len(data)
        if end > len(self.data):
            self.data.extend(bytes(end - len(self.data)))
        self.data[at:end] = data
        for sector in range(first, last + 1):
            self.versions[sector].append(self.sector(sector))
        self.blocks.update(range(at // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1))

    def sector(self, number: int) -> bytes:
        """The page cache's bytes of a sector."""
        return bytes(self.data[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES]).ljust(SECTOR_BYTES, b"\0")

    def crash(self, random: Random) -> None:
        """Only what the disk has is left."""
        keep = random.choice((0.0, 0.1, 0.5, 0.9, 1.0))  # some crashes lose nearly all, some nearly nothing
        for sector in sorted(self.versions.keys() | self.doubtful.keys()):
            versions = self.doubtful.get(sector, []) + self.versions.get(sector, [])
            chosen = versions[-1] if random.random() < keep else random.choice(versions)
            self.data[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = chosen
        size = random.choice((self.size_durable, len(self.data)))
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))
        self.size_durable = size
        self.versions, self.doubtful = {}, {}


class SimDisk(FileOps):
    """All files of one simulated machine. It outlives the broker; restart() follows every crash().

    capacity      bytes, in blocks; beyond them ENOSPC
    crash_in      so many calls from now the power fails, in the midst of that call; None = not planned
    fail_sync     so many syncs from now one fails with EIO; None = never
    """

    def __init__(self, random: Random, capacity: int):
        self._random = random
        self.capacity = capacity
        self.used = 0
        self.crash_in: int | None = None
        self.fail_sync: int | None = None
        self.direct = True
        self.short_writes = 0.0  # how often a write takes only a part
        self.calls = 0
        self.full_errors = self.sync_errors = 0
        self._files: dict[str, SimFile] = {}  # what the directories say now
        self._durable: dict[str, SimFile] = {}  # what they say after a crash, but for the journal
        self._journal: list[tuple[str, SimFile | None]] = []  # names that came (file) or went (None), not yet synced
        self._open: dict[int, SimFile] = {}
        self._next_fd = 3

    def step(self) -> None:
        """A call to the disk, of whatever kind; the planned crash happens in one."""
        self.calls += 1
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_in = None
                raise Crash

    def open(self, path: str) -> int:
        """See FileOps."""
        self.step()
        file = self._files.get(path)
        if file is None:
            if self.used + BLOCK_BYTES > self.capacity:  # a name takes space, too
                self._refuse_full()
            file = self._files[path] = SimFile()
            self._journal.append((path, file))
        fd = self._next_fd
        self._next_fd += 1
        self._open[fd] = file
        return fd

    def open_direct(self, fd: int) -> int:
        """See FileOps. There is no page cache to go past; `direct` = what the file system says."""
        if not self.direct:
            return -1
        self._next_fd += 1
        self._open[self._next_fd - 1] = self._open[fd]
        return self._next_fd - 1

    def close(self, fd: int) -> None:
        """See FileOps."""
        del self._open[fd]

    def write(self, fd: int, buffers: Sequence[Any], at: int) -> int:
        """See FileOps. Bytes may be on the disk at once, or never: only a sync says."""
        data = b"".join(bytes(buffer) for buffer in buffers)
        file = self._open[fd]
        if self._random.random() < self.short_writes:
            data = data[: self._random.randint(1, len(data))]
        blocks = range(at // BLOCK_BYTES, (at + len(data) - 1) // BLOCK_BYTES + 1)
        wanted = sum(BLOCK_BYTES for block in blocks if block not in file.blocks)
        if self.used + wanted > self.capacity:
            self._refuse_full()
        self.used += wanted
        file.write(at, data)
        self.step()
        return len(data)

    def _refuse_full(self) -> NoReturn:
        self.full_errors += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    def forget(self, fd: int, at: int, size: int) -> None:
        """See FileOps. There is no page cache."""

    def punch(self, fd: int, at: int, size: int) -> None:
        """See FileOps."""
        self.step()
        file = self._open[fd]
        file.write(at, bytes(size))
        gone = file.blocks & set(range(-(-at // BLOCK_BYTES), (at + size) // BLOCK_BYTES))
        file.blocks -= gone
        self.used -= len(gone) * BLOCK_BYTES

    def write_zeros(self, fd: int, at: int, size: int) -> int:
        """See FileOps."""
        return self.write(fd, [bytes(size)], at)

    def read(self, fd: int, size: int, at: int) -> bytes:
        """See FileOps."""
        self.step()
        return bytes(self._open[fd].data[at : at + size])

    def sync(self, fd: int) -> None:
        """See FileOps."""
        self.step()
        file = self._open[fd]
        if self.fail_sync is not None:
            self.fail_sync -= 1
            if self.fail_sync < 0:
                self.fail_sync = None
                self.sync_errors += 1
                for sector, versions in file.versions.items():
                    file.doubtful.setdefault(sector, []).extend(versions)
                file.versions = {}
                raise OSError(errno.EIO, "Input/output error")
        for sector in file.versions:  # written again since, and now it is there
            file.doubtful.pop(sector, None)
        file.versions = {}
        file.size_durable = len(file.data)

    def set_size(self, fd: int, size: int) -> None:
        """See FileOps."""
        self.step()
        data = self._open[fd].data
        del data[size:]
        data.extend(bytes(size - len(data)))

    def next_data(self, fd: int, at: int) -> int:
        """See FileOps."""
        found = [block for block in self._open[fd].blocks if (block + 1) * BLOCK_BYTES > at]
        return max(at, min(found) * BLOCK_BYTES) if found else -1

    def sizes(self, directory: str) -> dict[str, int]:
        """See FileOps."""
        self.step()
        prefix = directory + "/"
        return {path[len(prefix) :]: len(file.data) for path, file in self._files.items() if path.startswith(prefix)}

    def remove(self, path: str) -> None:
        """See FileOps."""
        self.step()
        file = self._files.pop(path)
        self.used -= len(file.blocks) * BLOCK_BYTES
        self._journal.append((path, None))

    def sync_directory(self, path: str) -> None:
        """See FileOps."""
        self.step()
        self._carry_out(len(self._journal))

    def free_bytes(self, path: str) -> int:
        """See FileOps."""
        return max(self.capacity - self.used, 0)

    def durable_files(self) -> dict[str, SimFile]:
        """Every file by path, after a crash or a stop."""
        return self._durable

    def take_from(self, files: dict[str, SimFile]) -> None:
        """Begin with these files."""
        self._durable = files
        self._restart()

    def crash(self) -> None:
        """The machine stops: what was not durable is lost, or not."""
        self._carry_out(self._random.randint(0, len(self._journal)))
        self._journal = []
        for path in sorted(self._durable):
            self._durable[path].crash(self._random)
        self._restart()

    def stop(self) -> None:
        """The process ended, the machine did not: the page cache stays."""
        self._carry_out(len(self._journal))
        self._restart()

    def _carry_out(self, count: int) -> None:
        """The first `count` names of the journal are durable."""
        for path, file in self._journal[:count]:
            if file is None:
                self._durable.pop(path, None)
            else:
                self._durable[path] = file
        del self._journal[:count]

    def _restart(self) -> None:
        self._files = dict(self._durable)
        self._open = {}
        self.crash_in = self.fail_sync = None
        self.used = sum(len(file.blocks) * BLOCK_BYTES for file in self._files.values())
