"""What a batch writer writes: whole pages, made of what the log's last page holds, the batch, and zeros.

    image   | last page, as far as it is written | the batch | zeros to the end of the page |

What of the last page is not full stays for the next batch. How the image gets to the disk is a subclass's matter: the
kernel or a thread carries it (batch_writer.py), or a simulated disk.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Callable, Sequence
from typing import Any

import cython

from core.disk.ops import PAGE_BYTES, FileOps

if cython.compiled:
    from cython.cimports.cpython.buffer import Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
    from cython.cimports.libc.string import memcpy, memset

IMAGE_BYTES = 4 << 20
SHORT = -1  # in place of an errno: the write took less than it was given
ELSEWISE = (SHORT, errno.EINVAL, errno.EOPNOTSUPP)  # what a file system that wants larger pages, or none of it, says
PAGE = cython.declare(cython.Py_ssize_t, PAGE_BYTES)

Parts = Sequence[tuple[int, Sequence[Any]]]  # (log offset, buffers that lie there one behind the other)


@cython.cclass
class PageImage:
    """files: core.disk.files.SegmentFiles. One batch at a time, of up to `image_bytes` in one segment."""

    def __init__(self, files: Any, ops: FileOps, image_bytes: int = IMAGE_BYTES):
        self._files = files
        self._segment_bytes = files.segment_bytes
        self._ops = ops
        self._image_bytes = image_bytes
        self._memory = mmap.mmap(-1, image_bytes + PAGE_BYTES)  # begins with a page, as O_DIRECT wants it
        self.view = memoryview(self._memory)
        if cython.compiled:
            bytes_of: cython.uchar[::1] = self.view
            self.image = cython.address(bytes_of[0])
        self._segment = self._parts = self._done = self._instead = None
        self._segment_base = self._kept_end = -1
        self._direct = self._buffered = -1
        self._kept = self._kept_at = 0

    def start(self, tail: int) -> None:
        """Recovery found the log's end: what its last page holds is read. Blocks."""
        kept: cython.Py_ssize_t = tail % self._files.segment_bytes % PAGE
        if kept:
            self.view[:kept] = self._files.read(tail - kept, kept)
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
        if offset != self._kept_end or end > self._image_bytes or len(parts) != 1:
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
        self.direct = padded and sync and self._direct >= 0
        self.fd = self._direct if self.direct else self._buffered
        self.at = 0 if self.direct else kept
        self.size = (whole if padded else end) - self.at
        self.place = place - kept + self.at
        self.sync = sync
        self._kept = end % PAGE
        self._kept_at = end - self._kept
        self._kept_end = offset + end - kept
        self._parts = parts
        self._done = done
        self._instead = instead
        self.put()
        return True

    @cython.ccall
    def put(self):
        """Begin to write view[at:at + size] to `place` in the file `fd`, and to sync it if `sync` is true; `direct` =
        past the page cache, in whole pages. finished(error) follows, not from inside this call."""
        raise NotImplementedError

    @cython.ccall
    def finished(self, error: cython.int):
        """The batch is through: 0, an errno, or SHORT."""
        parts, self._parts = self._parts, None
        if error == 0:
            self._move(self._kept_at, self._kept)
            self._done(None)
        elif error in ELSEWISE:
            self._close_direct()
            self._goes_by(parts[len(parts) - 1])
            self._instead()
        else:
            self._done(OSError(error, os.strerror(error)))

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
        self.give_back()
        self._segment = self._files.take(offset)
        self._segment_base = self._segment.base
        self._buffered = self._segment.fd
        self._direct = self._ops.open_direct(self._buffered)
        self.opened()

    @cython.ccall
    def opened(self):
        """Another file is written from now on."""

    @cython.ccall
    def give_back(self):
        """Let go of the file."""
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
                memcpy(self.image + at, source.buf, source.len)
                at += source.len
                PyBuffer_Release(cython.address(source))
        else:
            for buffer in buffers:
                self.view[at : at + len(buffer)] = buffer
                at += len(buffer)

    @cython.cfunc
    def _zero(self, at: cython.Py_ssize_t, upto: cython.Py_ssize_t):
        if cython.compiled:
            memset(self.image + at, 0, upto - at)
        else:
            self.view[at:upto] = bytes(upto - at)

    @cython.cfunc
    def _move(self, at: cython.Py_ssize_t, size: cython.Py_ssize_t):
        """Move the last page's bytes to the image's beginning."""
        if not at:
            return
        if cython.compiled:
            memcpy(self.image, self.image + at, size)
        else:
            self.view[:size] = self.view[at : at + size]
