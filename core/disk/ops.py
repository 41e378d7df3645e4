"""Every system call that is made for the log's files, in one class, so that a simulated disk can stand in."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Sequence
from typing import Any

CHUNK_BYTES = 4 << 20
PAGE_BYTES = 4096
NOT_DIRECT = (errno.EINVAL, errno.EOPNOTSUPP)  # a file system that wants larger pages, or none of it
IOV_MAX = 1024
PUNCH_HOLE, KEEP_SIZE = 2, 1  # linux/falloc.h
FALLOCATE = getattr(ctypes.CDLL(None), "fallocate", None)
ZEROS = mmap.mmap(-1, CHUNK_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)  # page-aligned


class FileOps:
    """Every system call made for the log, so that a simulated disk can stand in."""

    def open(self, path: str) -> int:
        """A descriptor for reading and writing; the file is made when it is not there."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def close(self, fd: int) -> None:
        """Give the descriptor back."""
        os.close(fd)

    def write(self, fd: int, buffers: Sequence[Any], at: int) -> int:
        """Write buffers at `at` and return how many bytes went: perhaps not all."""
        return os.pwritev(fd, buffers, at)

    def write_all(self, fd: int, buffers: Sequence[Any], at: int) -> None:
        """Write all of them, however little a call takes."""
        left = list(buffers)
        while left:
            some = left[:IOV_MAX]
            written = self.write(fd, some, at)
            if written <= 0:
                raise OSError(errno.EIO, f"a write at {at} took nothing")
            at += written
            done = 0
            while done < len(some) and written >= len(some[done]):
                written -= len(some[done])
                done += 1
            del left[:done]
            if written:
                left[0] = memoryview(left[0])[written:]

    def write_zeros(self, fd: int, at: int, size: int) -> int:
        """Write zeros at `at` and return how many: perhaps not all. Whole pages go past the page cache where the file
        system can do that: copying zeros through it costs as much as the messages that will replace them."""
        zeros = memoryview(ZEROS)[: min(size, CHUNK_BYTES)]
        direct = self.open_direct(fd) if (at | len(zeros)) % PAGE_BYTES == 0 else -1
        if direct >= 0:
            try:
                return os.pwritev(direct, [zeros], at)
            except OSError as error:
                if error.errno not in NOT_DIRECT:
                    raise
            finally:
                os.close(direct)
        return self.write(fd, [zeros], at)

    def open_direct(self, fd: int) -> int:
        """A descriptor of the same file for whole pages, past the page cache; -1 where there is none."""
        try:
            return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
        except (OSError, AttributeError):  # tmpfs and others; systems without O_DIRECT or /proc
            return -1

    def read(self, fd: int, size: int, at: int) -> bytes:
        """Up to `size` bytes at `at`."""
        return os.pread(fd, size, at)

    def sync(self, fd: int) -> None:
        """fdatasync."""
        os.fdatasync(fd)

    def forget(self, fd: int, at: int, size: int) -> None:
        """Let clean pages leave the page cache, where the system can be told so."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, at, size, os.POSIX_FADV_DONTNEED)

    def set_size(self, fd: int, size: int) -> None:
        """Truncate or extend; what is added takes no space yet."""
        os.ftruncate(fd, size)

    def punch(self, fd: int, at: int, size: int) -> None:
        """Give the space of whole blocks of the file system back, where it can do that: they read as zeros then."""
        if FALLOCATE is not None:
            FALLOCATE(fd, PUNCH_HOLE | KEEP_SIZE, ctypes.c_int64(at), ctypes.c_int64(size))

    def next_data(self, fd: int, at: int) -> int:
        """The first place at or after `at` that is not in a hole, or -1 when only holes follow."""
        try:
            return os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return -1
            return at  # a file system that does not know

    def sizes(self, directory: str) -> dict[str, int]:
        """Name and size of every file in the directory, which is made when it is not there."""
        os.makedirs(directory, mode=0o750, exist_ok=True)
        with os.scandir(directory) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}

    def remove(self, path: str) -> None:
        """Unlink."""
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        """Make names that came or went in the directory durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def links(self, fd: int) -> int:
        """Names that the file has."""
        return os.fstat(fd).st_nlink

    def free_bytes(self, path: str) -> int:
        """Free for us on that file system."""
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize


class ReadOnlyOps(FileOps):
    """For looking at a log without changing it: what FileOps would put right first, is seen as if it were."""

    def open(self, path: str) -> int:
        """A descriptor for reading."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, fd: int, size: int, at: int) -> bytes:
        """`size` bytes at `at`; zeros where the file ends before that."""
        return os.pread(fd, size, at) or bytes(size)

    def sizes(self, directory: str) -> dict[str, int]:
        """See FileOps; the directory has to be there."""
        with os.scandir(directory) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}

    def set_size(self, fd: int, size: int) -> None:
        """Nothing."""

    def remove(self, path: str) -> None:
        """Nothing."""
