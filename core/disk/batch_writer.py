"""The short way to the disk, for batches of up to 1 MiB in one segment.

The batch is copied to where the log's last page lies, whole pages of that image go past the page cache (O_DIRECT), and
what of the last page is not full stays for the next batch:

    image   | last page, as far as it is written | the batch | zeros to the end of the page |

The kernel writes and syncs it by itself where it promises not to make the loop wait (io_submit, RWF_NOWAIT); else a
thread does that never takes Python's lock. A hand-over by a queue and call_soon_threadsafe costs as much as the sync.
Where a file system knows no O_DIRECT, the thread sends the same image through the page cache.

All but _serve() and _put() runs on the loop. Uncompiled, the thread does it all.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import cython

from core.disk.ops import PAGE_BYTES, FileOps

if cython.compiled:
    from cython.cimports.core.disk.batch_writer import aio_close, aio_open, aio_result, aio_write_synced
    from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
    from cython.cimports.libc.errno import EINTR
    from cython.cimports.libc.errno import errno as last_errno
    from cython.cimports.libc.string import memcpy, memset
    from cython.cimports.posix.unistd import fdatasync, pwrite, read, write

IMAGE_BYTES = 1 << 20
IMAGE = cython.declare(cython.Py_ssize_t, IMAGE_BYTES)
SHORT = cython.declare(cython.int, -1)  # in place of an errno: the write took less than it was given
REFUSALS_MAX = cython.declare(cython.int, 64)  # in a row: for the rest of this segment the kernel is not asked again
ELSEWISE = (SHORT, errno.EINVAL, errno.EOPNOTSUPP)  # what a file system that wants larger pages, or none of it, says
PAGE = cython.declare(cython.Py_ssize_t, PAGE_BYTES)

Parts = Sequence[tuple[int, Sequence[Any]]]  # (log offset, buffers that lie there one behind the other)


def available() -> bool:
    """Whether this system has what it takes (eventfd: Linux)."""
    return hasattr(os, "eventfd")


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def signal(event: cython.int) -> cython.int:
    """Wake who waits for an eventfd."""
    if cython.compiled:
        one: cython.ulonglong = 1
        return write(event, cython.address(one), 8) == 8
    else:
        os.eventfd_write(event, 1)
        return 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def hear(event: cython.int) -> cython.int:
    """Take an eventfd's signal; wait for it, unless it does not block."""
    if cython.compiled:
        count: cython.ulonglong = 0
        while read(event, cython.address(count), 8) < 0 and last_errno == EINTR:
            pass
        return count > 0
    else:
        return os.eventfd_read(event) > 0


@cython.cclass
class BatchWriter:
    """files: core.disk.files.SegmentFiles. watch(descriptor, callback): the loop's add_reader. One batch at a time."""

    def __init__(self, files: Any, watch: Callable[..., Any]):
        self._files = files
        self._segment_bytes = files.segment_bytes
        self._ops = FileOps()
        self._memory = mmap.mmap(-1, IMAGE_BYTES + PAGE_BYTES)  # begins with a page, as O_DIRECT wants it
        self._view = memoryview(self._memory)
        if cython.compiled:
            bytes_of: cython.uchar[::1] = self._view
            self._image = cython.address(bytes_of[0])
        self._segment = self._parts = self._done = self._instead = None
        self._segment_base = self._kept_end = -1
        self._direct = self._buffered = -1
        self._kept = self._kept_at = 0
        self._stopping = self._submitted = False
        self._refusals = 0
        if cython.compiled:
            self._context = 0
            aio_open(cython.address(self._context))
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        watch(self._told, self._finished)
        self._thread = Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def start(self, tail: int) -> None:
        """Recovery found the log's end: what its last page holds is read. Blocks."""
        kept: cython.Py_ssize_t = tail % self._files.segment_bytes % PAGE
        if kept:
            self._view[:kept] = self._files.read(tail - kept, kept)
        self._kept_end = tail

    @cython.ccall
    @cython.exceptval(-1)
    def write(
        self, parts: list, sync: cython.bint, done: Callable[[OSError | None], None], instead: Callable[[], None]
    ) -> cython.bint:
        """Begin to write a batch and return True; done(None or OSError) comes later, or instead(), when this way does
        not work for the file. False: the batch must go another way, which is now: it is too large for this one, or
        lies in two segments."""
        offset: cython.longlong = parts[0][0]
        buffers: list = parts[0][1]
        place: cython.longlong = offset % self._segment_bytes
        kept: cython.Py_ssize_t = place % PAGE
        end: cython.Py_ssize_t = kept
        for buffer in buffers:
            end += len(buffer)
        if offset != self._kept_end or end > IMAGE or len(parts) != 1:
            self._goes_by(parts[len(parts) - 1])
            return False
        if offset - place != self._segment_base:
            self._open(offset)
        self._copy(buffers, kept)
        whole: cython.Py_ssize_t = (end + PAGE - 1) // PAGE * PAGE
        filled_to: cython.longlong = self._files.filled_to
        padded: cython.bint = offset - kept + whole <= filled_to and place - kept + whole <= self._segment_bytes
        if padded:
            self._zero(end, whole)
        direct: cython.bint = padded and sync and self._direct >= 0
        self._fd = self._direct if direct else self._buffered
        self._from = 0 if direct else kept
        self._size = (whole if padded else end) - self._from
        self._at = place - kept + self._from
        self._sync = sync
        self._kept = end % PAGE
        self._kept_at = end - self._kept
        self._kept_end = offset + end - kept
        self._parts = parts
        self._done = done
        self._instead = instead
        if not (direct and self._submit()):
            signal(self._wake)
        return True

    @cython.cfunc
    @cython.exceptval(-1)
    def _submit(self) -> cython.bint:
        """Have the kernel do it, if it can without making us wait: that spares the thread."""
        if cython.compiled:
            if self._refusals < REFUSALS_MAX:
                self._submitted = (
                    aio_write_synced(self._context, self._fd, self._image, self._size, self._at, self._told) == 1
                )
                if not self._submitted:
                    self._refusals += 1
                return self._submitted
        return False

    def _finished(self) -> None:
        """The thread told: the batch is through."""
        hear(self._told)
        if cython.compiled:
            if self._submitted:
                self._submitted = False
                if aio_result(self._context) != self._size:  # it would have waited; or an error: it will show
                    self._refusals += 1
                    signal(self._wake)
                    return
                self._refusals = self._error = 0
        parts, self._parts = self._parts, None
        if self._error == 0:
            self._move(self._kept_at, self._kept)
            self._done(None)
        elif self._error in ELSEWISE:
            self._close_direct()
            self._goes_by(parts[len(parts) - 1])
            self._instead()
        else:
            self._done(OSError(self._error, os.strerror(self._error)))

    def _goes_by(self, part: tuple[int, Sequence[Any]]) -> None:
        """A batch goes another way: keep what it leaves in the log's last page."""
        offset, buffers = part
        size = sum(map(len, buffers))
        kept = (offset + size) % self._segment_bytes % PAGE_BYTES
        known = size >= kept or self._kept_end == offset
        self._kept_end = offset + size if known else -1
        missing, last = min(size, kept), []
        for buffer in reversed(buffers):
            if missing and len(buffer):
                last.append(memoryview(buffer)[-min(missing, len(buffer)) :])
                missing -= len(last[-1])
        self._copy(last[::-1], max(0, kept - size))

    def _open(self, offset: int) -> None:
        """The log goes on in another segment."""
        self._give_back()
        self._segment = self._files.take(offset)
        self._segment_base = self._segment.base
        self._buffered = self._segment.fd
        self._direct = self._ops.open_direct(self._buffered)
        if cython.compiled:
            self._refusals = 0 if self._context else REFUSALS_MAX

    def _give_back(self) -> None:
        self._close_direct()
        if self._segment is not None:
            self._files.give(self._segment)
            self._segment = None
            self._segment_base = -1

    def _close_direct(self) -> None:
        if self._direct >= 0:
            self._ops.close(self._direct)
            self._direct = -1

    @cython.cfunc
    def _copy(self, buffers: list, at: cython.Py_ssize_t):
        """Copy the buffers to `at`, one behind the other."""
        if cython.compiled:
            source = cython.declare(Py_buffer)
            for buffer in buffers:
                PyObject_GetBuffer(buffer, cython.address(source), PyBUF_SIMPLE)
                memcpy(self._image + at, source.buf, source.len)
                at += source.len
                PyBuffer_Release(cython.address(source))
        else:
            for buffer in buffers:
                self._view[at : at + len(buffer)] = buffer
                at += len(buffer)

    @cython.cfunc
    def _zero(self, at: cython.Py_ssize_t, upto: cython.Py_ssize_t):
        if cython.compiled:
            memset(self._image + at, 0, upto - at)
        else:
            self._view[at:upto] = bytes(upto - at)

    @cython.cfunc
    def _move(self, at: cython.Py_ssize_t, size: cython.Py_ssize_t):
        """Move the last page's bytes to the image's beginning."""
        if not at:
            return
        if cython.compiled:
            memcpy(self._image, self._image + at, size)
        else:
            self._view[:size] = self._view[at : at + size]

    def stop(self) -> None:
        """End the thread. Nothing may be under way."""
        self._stopping = True
        signal(self._wake)
        self._thread.join()
        os.close(self._wake)
        os.close(self._told)
        if cython.compiled:
            if self._context:
                aio_close(self._context)
        self._give_back()

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
        """The thread: wait for a job, carry it out, tell."""
        while True:
            hear(self._wake)
            if self._stopping:
                return 0
            self._error = self._put()
            signal(self._told)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _put(self) -> cython.int:
        """Write and sync; return 0, an errno, or SHORT."""
        if cython.compiled:
            done: cython.Py_ssize_t = pwrite(self._fd, self._image + self._from, self._size, self._at)
            while done < 0 and last_errno == EINTR:
                done = pwrite(self._fd, self._image + self._from, self._size, self._at)
            if done < 0:
                return last_errno
            if done != self._size:
                return SHORT
            if self._sync and fdatasync(self._fd) != 0:
                return last_errno
            return 0
        else:
            try:
                written = os.pwrite(self._fd, self._view[self._from : self._from + self._size], self._at)
                if written != self._size:
                    return SHORT
                if self._sync:
                    os.fdatasync(self._fd)
            except OSError as error:
                return error.errno or SHORT
            return 0
