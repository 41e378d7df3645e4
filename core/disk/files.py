"""The log's segment files, and the directory that belongs to one broker at a time.

    DATA/lock            held by the broker that runs here
    DATA/abort           is there while it runs: found at start, the last stop was not a clean one; says how it flushed
    DATA/restoring       is there while `mqgateway restore` works, DATA/repairing while `mqgateway repair` does: whoever
                         else finds it refuses, since it was interrupted and has to be run again first
    DATA/commitlog/%020d segments of `segment_bytes`, named by the log offset at which they begin

A segment is a sparse file of full size. Ahead of the log's end it is filled with zeros and synced, off the loop, so
that a batch neither grows a file nor meets a full disk. Methods that read, write or fill block: worker threads call
them.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from core.disk.ops import CHUNK_BYTES, PAGE_BYTES, ZEROS, FileOps
from core.errors import DirectoryInUse, StoreRefused

AHEAD_BYTES = 64 << 20
CACHED_BYTES = 256 << 20
NAME_DIGITS = 20

SYNC, ASYNC = b"flush=sync\n", b"flush=async\n"  # what abort holds
UNFINISHED = {"restore": "restoring", "repair": "repairing"}  # command -> file

Part = tuple[int, Sequence[Any]]  # log offset, buffers that lie there one behind the other


class DataDirectory:
    """Takes the directory for this process; raises StoreRefused with one clear line when that cannot be."""

    def __init__(self, path: str | Path, command: str = ""):
        """command: one of UNFINISHED, which may go on where it was interrupted; `resumed` = it was."""
        self.path = Path(path)
        try:
            self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StoreRefused(f"data directory {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._lock_fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._lock_fd)
            raise DirectoryInUse(f"data directory {self.path} is in use by another broker (process {owner})") from None
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, b"%d\n" % os.getpid(), 0)
        self._unfinished(command)
        self._abort = self.path / "abort"
        self.unclean = self._abort.exists()  # the last broker here was not stopped, it ended
        self.ended_async = self.unclean and self._abort.read_bytes() == ASYNC  # what it wrote last was not synced yet

    def _unfinished(self, command: str) -> None:
        self.resumed = False
        for other, name in UNFINISHED.items():
            if not (self.path / name).exists():
                continue
            if other == command:
                self.resumed = True
                continue
            os.close(self._lock_fd)
            raise StoreRefused(f"data directory {self.path}: mqgateway {other} was interrupted here, run it again")

    def begin(self, command: str) -> None:
        """From here on, until finish(), nobody else may use what lies here."""
        (self.path / UNFINISHED[command]).touch()
        FileOps().sync_directory(str(self.path))

    def finish(self, command: str) -> None:
        """All is on the disk as that command leaves it."""
        FileOps().sync_directory(str(self.path))
        (self.path / UNFINISHED[command]).unlink(missing_ok=True)
        FileOps().sync_directory(str(self.path))

    def mark_running(self, *, sync: bool) -> None:
        """From here on, an end without mark_stopped() is an unclean one, of a broker that did or did not sync what it
        confirmed."""
        with self._abort.open("wb") as file:
            file.write(SYNC if sync else ASYNC)
            file.flush()
            os.fsync(file.fileno())
        FileOps().sync_directory(str(self.path))

    def mark_stopped(self) -> None:
        """Everything is on disk: the next start need not look for a torn tail."""
        self._abort.unlink(missing_ok=True)
        FileOps().sync_directory(str(self.path))

    def space(self) -> tuple[int, int]:
        """Bytes free on its file system, and how many there are for us, used or free: as df counts."""
        stat = os.fstatvfs(self._lock_fd)
        used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
        free = stat.f_bavail * stat.f_frsize
        return free, used + free

    def removed(self) -> bool:
        """Whether somebody deleted it while we hold it: what is written from then on nobody will find."""
        return os.fstat(self._lock_fd).st_nlink == 0

    def release(self) -> None:
        """Let another broker have it."""
        os.close(self._lock_fd)


class Segment:
    """One open file. `users` are jobs under way; a removed one is closed when the last is through."""

    def __init__(self, base: int, fd: int):
        self.base = base
        self.fd = fd
        self.users = 0
        self.removed = False


class SegmentFiles:
    """All segments of one log, contiguous from `first` to `end`; filled with zeros and synced up to `filled_to`.

    failed  the first sync that did, or None. The kernel gave up what it could not write, and says so once: a later sync
            that succeeds tells nothing of those bytes. So none succeeds any more; the next start writes again what it
            reads. No errno of these says that the disk is full: that would be tried again.
    """

    def __init__(
        self,
        directory: str | Path,
        segment_bytes: int,
        *,
        ahead_bytes: int = AHEAD_BYTES,
        cached_bytes: int = CACHED_BYTES,
        ops: FileOps | None = None,
    ):
        self.directory = str(directory)
        self.segment_bytes = segment_bytes
        self.ahead_bytes = min(ahead_bytes, segment_bytes)
        self._cached_bytes = cached_bytes
        self._forgotten_to = 0
        self._ops = ops or FileOps()
        self._lock = Lock()
        self._segments: list[Segment] = []
        self.failed: OSError | None = None
        self._load()
        self.filled_to = self.first

    @property
    def first(self) -> int:
        """The log offset at which the oldest segment begins."""
        return self._segments[0].base if self._segments else 0

    @property
    def end(self) -> int:
        """The log offset at which the newest segment ends."""
        return self._segments[-1].base + self.segment_bytes if self._segments else 0

    def start(self, tail: int) -> None:
        """Recovery found the log's end: zeros are to be made from here on."""
        self.filled_to = tail
        self._forgotten_to = tail

    def write_and_sync(self, parts: Sequence[Part], sync: bool) -> None:
        """Write a batch; with `sync`, return when it is durable. A segment that is left is always synced."""
        for number, (offset, buffers) in enumerate(parts):
            segment = self.take(offset)
            try:
                self._ops.write_all(segment.fd, [*buffers, self._rest_of_page(offset, buffers)], offset - segment.base)
                if sync or number + 1 < len(parts):
                    self._sync(segment)
                self._forget(segment, offset)
            finally:
                self.give(segment)

    def _forget(self, segment: Segment, offset: int) -> None:
        """What lies `cached_bytes` behind the log's end leaves the page cache: its pages serve the next writes, where
        fresh memory would cost many times the copy, and the log takes no more of the machine's memory than it says."""
        start, upto = max(self._forgotten_to, segment.base), offset - self._cached_bytes
        if upto - start >= CHUNK_BYTES:
            self._ops.forget(segment.fd, start - segment.base, upto - start)
            self._forgotten_to = upto

    def _rest_of_page(self, offset: int, buffers: Sequence[Any]) -> memoryview:
        """Zeros to the end of the last page: whole pages need not be read before they are written.

        Only where there are zeros already: what recovery writes again, block by block, has records behind it.
        """
        end = offset + sum(map(len, buffers))
        return memoryview(ZEROS)[: -end % PAGE_BYTES if end <= self.filled_to else 0]

    def sync(self, offset: int) -> None:
        """Make the segment of `offset` durable: for ASYNC_FLUSH, now and then."""
        segment = self.take(offset)
        try:
            self._sync(segment)
        finally:
            self.give(segment)

    def _sync(self, segment: Segment) -> None:
        if self.failed is None:
            try:
                self._ops.sync(segment.fd)
            except OSError as error:
                self.failed = OSError(errno.EIO, f"sync of segment {segment.base:020d} failed: {error.strerror}")
        if self.failed is not None:  # another thread's, perhaps, which was told of these bytes
            raise OSError(self.failed.errno, self.failed.strerror)

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes at `offset`, within one segment; fewer only where the segment ends."""
        segment = self.take(offset)
        try:
            at = offset - segment.base
            size = min(size, self.segment_bytes - at)
            data = self._ops.read(segment.fd, size, at)
            while len(data) < size:
                more = self._ops.read(segment.fd, size - len(data), at + len(data))
                if not more:
                    raise OSError(errno.EIO, f"segment {segment.base:020d} is shorter than it was")
                data += more
            return data
        finally:
            self.give(segment)

    def next_data(self, offset: int) -> int:
        """The first offset at or after `offset` that may hold anything but zeros; `end` when there is none."""
        while offset < self.end:
            segment = self.take(offset)
            try:
                at = self._ops.next_data(segment.fd, offset - segment.base)
            finally:
                self.give(segment)
            if 0 <= at < self.segment_bytes:
                return segment.base + at
            offset = segment.base + self.segment_bytes
        return self.end

    def fill(self) -> int:
        """Fill the next chunk with zeros, in a new segment when this one ends; sync; return the new `filled_to`."""
        at = self.filled_to
        if at >= self.end:
            self._create(at)
        segment = self.take(at)
        try:
            upto = min(at + CHUNK_BYTES - at % PAGE_BYTES, segment.base + self.segment_bytes)
            self._zero(segment, at, upto)
        finally:
            self.give(segment)
        self.filled_to = upto
        return upto

    def extend(self) -> None:
        """Make the next segment, of holes: for a tool, which does not ask for space ahead."""
        self._create(self.end)

    def erase(self, offset: int, upto: int) -> None:
        """Overwrite what lies from `offset` to `upto` with zeros, durably."""
        while offset < upto:
            segment = self.take(offset)
            try:
                stop = min(upto, segment.base + self.segment_bytes)
                self._zero(segment, offset, stop)
            finally:
                self.give(segment)
            offset = stop

    def remove_front(self, upto: int) -> list[int]:
        """Remove every segment that ends at or before `upto`, but never the last; return where they began."""
        gone = []
        while len(self._segments) > 1 and self._segments[0].base + self.segment_bytes <= upto:
            with self._lock:
                segment = self._segments.pop(0)
                segment.removed = True
                unused = not segment.users
            self._ops.remove(self._path(segment.base))
            if unused:
                self._ops.close(segment.fd)
            gone.append(segment.base)
        if gone:
            self._ops.sync_directory(self.directory)
        return gone

    def take(self, offset: int) -> Segment:
        """The segment that holds a log offset, and that stays open until give(). Raises OSError."""
        with self._lock:
            number = (offset - self.first) // self.segment_bytes
            if not self._segments or not 0 <= number < len(self._segments):
                raise OSError(errno.ENOENT, f"no segment holds log offset {offset}")
            segment = self._segments[number]
            segment.users += 1
            return segment

    def give(self, segment: Segment) -> None:
        """The job that had taken it is through."""
        with self._lock:
            segment.users -= 1
            unused = segment.removed and not segment.users
        if unused:
            self._ops.close(segment.fd)

    def free_bytes(self) -> int:
        """Free on the log's file system."""
        return self._ops.free_bytes(self.directory)

    def removed(self) -> bool:
        """Whether somebody deleted the segment that is written, behind our back."""
        with self._lock:
            return bool(self._segments) and self._ops.links(self._segments[-1].fd) == 0

    def close(self) -> None:
        """Close every file, those in use when their job is through."""
        with self._lock:
            for segment in self._segments:
                segment.removed = True
                if not segment.users:
                    self._ops.close(segment.fd)
            self._segments = []

    def _load(self) -> None:
        """Open what is there, and refuse what cannot be a log of ours."""
        try:
            sizes = self._ops.sizes(self.directory)
        except OSError as error:
            raise StoreRefused(f"log directory {self.directory}: {error.strerror}") from None
        names = sorted(name for name in sizes if len(name) == NAME_DIGITS and name.isdigit())
        if names and sizes[names[-1]] == 0:  # made, and not yet given its size
            self._ops.remove(self._path(int(names.pop())))
        for number, name in enumerate(names):
            if sizes[name] > self.segment_bytes or (sizes[name] < self.segment_bytes and name != names[-1]):
                raise StoreRefused(
                    f"log segment {name} has {sizes[name]} bytes, but log.segment_bytes is {self.segment_bytes}: "
                    "set it to the size this log was made with"
                )
            if int(name) != int(names[0]) + number * self.segment_bytes:
                raise StoreRefused(f"log segment {int(names[0]) + number * self.segment_bytes:020d} is missing")
            segment = Segment(int(name), self._ops.open(self._path(int(name))))
            if sizes[name] < self.segment_bytes:  # torn off: recovery finds where its records end
                self._ops.set_size(segment.fd, self.segment_bytes)
            self._segments.append(segment)

    def _create(self, base: int) -> None:
        """Make the segment that begins at `base`: sparse, of full size, its name durable."""
        if self._segments:
            assert base == self.end
        base -= base % self.segment_bytes
        fd = self._ops.open(self._path(base))
        try:
            self._ops.set_size(fd, self.segment_bytes)
            self._ops.sync(fd)
            self._ops.sync_directory(self.directory)
        except OSError:
            self._ops.close(fd)
            raise
        with self._lock:
            self._segments.append(Segment(base, fd))

    def _path(self, base: int) -> str:
        return f"{self.directory}/{base:0{NAME_DIGITS}d}"

    def _zero(self, segment: Segment, offset: int, upto: int) -> None:
        at, end = offset - segment.base, upto - segment.base
        while at < end:
            pages = end - at - end % PAGE_BYTES
            size = -at % PAGE_BYTES or pages if pages > 0 else end - at
            at += self._ops.write_zeros(segment.fd, at, min(size, end - at))
        self._sync(segment)
