"""The short way to the disk, for batches of up to 4 MiB in one segment: past the page cache.

The kernel writes and syncs whole pages (page_image.py) by itself where it promises not to make the loop wait
(io_submit, RWF_NOWAIT); else a thread does that never takes Python's lock. A hand-over by a queue and
call_soon_threadsafe costs as much as the sync.
Where a file system knows no O_DIRECT, the thread sends the same image through the page cache.

All but _serve() and _put() runs on the loop. Uncompiled, the thread does it all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread
from typing import Any

import cython

from core.disk.ops import FileOps

if cython.compiled:
    from cython.cimports.core.disk.batch_writer import aio_close, aio_open, aio_result, aio_write_synced
    from cython.cimports.core.disk.page_image import PageImage
    from cython.cimports.libc.errno import EINTR
    from cython.cimports.libc.errno import errno as last_errno
    from cython.cimports.posix.unistd import fdatasync, pwrite, read, write
else:
    from core.disk.page_image import PageImage

SHORT = cython.declare(cython.int, -1)  # see page_image
REFUSALS_MAX = cython.declare(cython.int, 64)  # in a row: for the rest of this segment the kernel is not asked again


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
class BatchWriter(PageImage):
    """files: core.disk.files.SegmentFiles. watch(descriptor, callback): the loop's add_reader. One batch at a time."""

    def __init__(self, files: Any, watch: Callable[..., Any]):
        PageImage.__init__(self, files, FileOps())
        self._stopping = self._submitted = False
        self._refusals = 0
        if cython.compiled:
            self._context = 0
            aio_open(cython.address(self._context))
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        watch(self._told, self._heard)
        self._thread = Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    @cython.ccall
    def opened(self):
        """See PageImage: ask the kernel again."""
        if cython.compiled:
            self._refusals = 0 if self._context else REFUSALS_MAX

    @cython.ccall
    def put(self):
        """See PageImage."""
        if not (self.direct and self._submit()):
            signal(self._wake)

    @cython.cfunc
    @cython.exceptval(-1)
    def _submit(self) -> cython.bint:
        """Have the kernel do it, if it can without making us wait: that spares the thread."""
        if cython.compiled:
            if self._refusals < REFUSALS_MAX:
                self._submitted = (
                    aio_write_synced(self._context, self.fd, self.image, self.size, self.place, self._told) == 1
                )
                if not self._submitted:
                    self._refusals += 1
                return self._submitted
        return False

    def _heard(self) -> None:
        """The kernel or the thread told: the batch is through."""
        hear(self._told)
        if cython.compiled:
            if self._submitted:
                self._submitted = False
                if aio_result(self._context) != self.size:  # it would have waited; or an error: it will show
                    self._refusals += 1
                    signal(self._wake)
                    return
                self._refusals = self._error = 0
        self.finished(self._error)

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
        self.give_back()

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
            done: cython.Py_ssize_t = pwrite(self.fd, self.image + self.at, self.size, self.place)
            while done < 0 and last_errno == EINTR:
                done = pwrite(self.fd, self.image + self.at, self.size, self.place)
            if done < 0:
                return last_errno
            if done != self.size:
                return SHORT
            if self.sync and fdatasync(self.fd) != 0:
                return last_errno
            return 0
        else:
            try:
                written = os.pwrite(self.fd, self.view[self.at : self.at + self.size], self.place)
                if written != self.size:
                    return SHORT
                if self.sync:
                    os.fdatasync(self.fd)
            except OSError as error:
                return error.errno or SHORT
            return 0
