"""Cold reads, past the page cache: whole pages into buffers that are used again, by threads that never take Python's
lock.

The log is written past the page cache, so that a cold read finds nothing there, and fills it with what nobody reads
again: fresh memory for that costs many times the copy. And a hand-over by a queue and call_soon_threadsafe costs, with
the fight for the lock, as much as the read. Where a file system knows no O_DIRECT, the same threads read through the
page cache, and the log says so.

All but _serve() and _carry() runs on the loop.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import cython

from core.disk.ops import PAGE_BYTES, FileOps

if cython.compiled:
    from cython.cimports.core.disk.batch_writer import hear, signal
    from cython.cimports.libc.errno import EINTR, EINVAL, EOPNOTSUPP
    from cython.cimports.libc.errno import errno as last_errno
    from cython.cimports.posix.unistd import pread
else:
    from errno import EINVAL, EOPNOTSUPP

    from core.disk.batch_writer import hear, signal

BLOCK_BYTES = 1 << 20  # what is larger goes another way
BUFFER_BYTES = BLOCK_BYTES + 2 * PAGE_BYTES  # whole pages around it
LANES = 5  # one more than the log's reader has under way: the one whose bytes are looked at asks for the next
PAGE = cython.declare(cython.Py_ssize_t, PAGE_BYTES)

Done = Callable[[memoryview | Exception], None]

logger = logging.getLogger(__name__)


@cython.cclass
class Lane:
    """One buffer, and the one read that may be under way into it. files: core.disk.files.SegmentFiles. cached = reads
    that should have gone past the page cache, but went through it."""

    def __init__(self, files: Any, ops: FileOps, past_cache: bool = True):
        self._files = files
        self._ops = ops
        self._segment_bytes = files.segment_bytes
        self._past_cache = past_cache
        self._memory = mmap.mmap(-1, BUFFER_BYTES)  # begins with a page, as O_DIRECT wants it
        self.view = memoryview(self._memory)
        if cython.compiled:
            bytes_of: cython.uchar[::1] = self.view
            self._image = cython.address(bytes_of[0])
        self.busy = False
        self.cached = 0
        self.direct = self.buffered = -1
        self._segment = self._done = None

    @cython.ccall
    @cython.exceptval(-1)
    def begin(self, offset: cython.longlong, size: cython.Py_ssize_t, done: Done) -> cython.bint:
        """See BlockReader.read()."""
        at: cython.longlong = offset % self._segment_bytes
        if size > self._segment_bytes - at:
            size = self._segment_bytes - at
        first: cython.longlong = at - at % PAGE
        pages: cython.Py_ssize_t = at + size - first + PAGE - 1
        pages -= pages % PAGE
        if pages > BUFFER_BYTES:
            return False
        try:
            self._segment = self._files.take(offset)
        except OSError:  # it is gone: whoever is asked instead says so
            return False
        self.buffered = self._segment.fd
        self.direct = self._ops.open_direct(self.buffered) if self._past_cache else -1
        self.place = first
        self.size = pages
        self._at = at - first
        self._wanted = size
        self._done = done
        self.busy = True
        self.put()
        return True

    @cython.ccall
    def put(self):
        """Begin to read `size` bytes at `place` into view, of the file `direct`, or of `buffered` where there is none.
        finished(how many there were, or a negative errno) follows, not from inside this call."""
        raise NotImplementedError

    @cython.ccall
    def finished(self, result: cython.Py_ssize_t):
        """Answer: see BlockReader.read()."""
        done, self._done = self._done, None
        if self._past_cache and self.direct < 0:
            self.cached += 1
        base = self._segment.base
        self.let_go()
        try:
            if result < 0:
                done(OSError(-result, os.strerror(-result)))
            elif result < self._at + self._wanted:
                done(OSError(errno.EIO, f"segment {base:020d} is shorter than it was"))
            else:
                lent = self.view[self._at : self._at + self._wanted]
                try:
                    done(lent)
                finally:
                    lent.release()  # who kept it finds no other bytes there
        finally:
            self.busy = False

    @cython.ccall
    def let_go(self):
        """Of the file, if there is one."""
        if self.direct >= 0:
            self._ops.close(self.direct)
            self.direct = -1
        if self._segment is not None:
            self._files.give(self._segment)
            self._segment = None


@cython.final
@cython.cclass
class ThreadLane(Lane):
    """Its reads are carried out by a thread. watch(descriptor, callback): the loop's add_reader."""

    def __init__(self, files: Any, watch: Callable[..., Any], past_cache: bool = True):
        Lane.__init__(self, files, FileOps(), past_cache)
        self._stopping = self._refused = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        watch(self._told, self._heard)
        self._thread = Thread(target=self._work, name="blocks", daemon=True)
        self._thread.start()

    @cython.ccall
    def put(self):
        """See Lane."""
        signal(self._wake)

    def _heard(self) -> None:
        """The thread told: it is through."""
        if self._stopping:
            return
        hear(self._told)
        if self._refused:
            self._refused = False
            self.cached += 1
        self.finished(self._result)

    def stop(self) -> None:
        """End the thread, when what is under way is through: nobody is told any more. Blocks until then."""
        self._stopping = True
        signal(self._wake)
        self._thread.join()
        os.close(self._wake)
        os.close(self._told)
        self.let_go()

    def _work(self) -> None:
        if cython.compiled:
            with cython.nogil:
                self._serve()
        else:
            self._serve()

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _serve(self) -> cython.int:
        """The thread: wait for a read, carry it out, tell."""
        while True:
            hear(self._wake)
            if self._stopping:
                return 0
            self._result = self._carry()
            signal(self._told)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _carry(self) -> cython.Py_ssize_t:
        """Read all of it; return how many bytes there were, or a negative errno."""
        fd: cython.int = self.direct if self.direct >= 0 else self.buffered
        there: cython.Py_ssize_t = 0
        while there < self.size:
            got: cython.Py_ssize_t = self._read(fd, there)
            if got > 0:
                there += got
            elif got == 0:
                break
            elif fd == self.direct and (got == -EINVAL or got == -EOPNOTSUPP):
                self._refused = True  # it wants larger pages, or goes on in the midst of one
                fd = self.buffered
            else:
                return got
        return there

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _read(self, fd: cython.int, there: cython.Py_ssize_t) -> cython.Py_ssize_t:
        if cython.compiled:
            got: cython.Py_ssize_t = pread(fd, self._image + there, self.size - there, self.place + there)
            while got < 0 and last_errno == EINTR:
                got = pread(fd, self._image + there, self.size - there, self.place + there)
            return got if got >= 0 else -last_errno
        else:
            try:
                return os.preadv(fd, [self.view[there : self.size]], self.place + there)
            except OSError as error:
                return -(error.errno or errno.EIO)


class BlockReader:
    """As many reads at a time as there are lanes."""

    def __init__(self, lanes: Sequence[Lane]):
        self._lanes = lanes
        self._said = False

    @property
    def cached(self) -> int:
        """Reads that should have gone past the page cache, but went through it."""
        return sum(lane.cached for lane in self._lanes)

    def read(self, offset: int, size: int, done: Done) -> bool:
        """Begin to read committed bytes of one segment and return True; done(memoryview of them, which is released when
        done returns, or OSError) comes later. False: this must go another way; it is too large, or no lane is free, or
        no segment is there."""
        if self.cached and not self._said:
            self._said = True
            logger.warning("cold reads go through the page cache: this file system knows no O_DIRECT of 4 KiB pages")
        for lane in self._lanes:
            if not lane.busy:
                return lane.begin(offset, size, done)
        return False

    def stop(self) -> None:
        """Let what is under way finish; nobody is told any more. Blocks until then."""
        for lane in self._lanes:
            lane.stop()


def new_block_reader(files: Any, watch: Callable[..., Any], past_cache: bool) -> BlockReader:
    """For the log's segments. past_cache: they are written past the page cache."""
    return BlockReader([ThreadLane(files, watch, past_cache) for _ in range(LANES)])
