"""The batch that fills: records are written straight into its pages, a large body goes along by reference.

Pages are used again when their batch is committed.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.log.record import RecordWriter
    from cython.cimports.core.wire import take, wr32
else:
    from core.log.record import RecordWriter
    from core.wire import take, wr32

PAGE_BYTES = cython.declare(cython.Py_ssize_t, 256 << 10)
RECORD_IN_PAGE_MAX = cython.declare(cython.Py_ssize_t, 64 << 10)  # head, inline body, properties: always less
PAGES_IDLE = cython.declare(cython.Py_ssize_t, 8)  # kept while nothing is on its way
BLANK_MAGIC = cython.declare(cython.uint, 0xCBD43194)
BLANK_BYTES = cython.declare(cython.Py_ssize_t, 8)


@cython.final
@cython.cclass
class Batch:
    """What goes to the engine in one piece: parts = [(log offset, [buffers])], each contiguous within one segment."""


@cython.final
@cython.cclass
class Filling:
    """write() and blank(), then cut() what was written; `size` = its bytes, a blank counts with its head only."""

    def __init__(self):
        self._pool, self._pages, self._parts, self._buffers = [], [], [], []
        self._page = self._view = None
        self._page_at = self._run_at = 0
        self._pages_wanted = PAGES_IDLE
        self._part_at = -1
        self.size = 0

    @cython.ccall
    def write(self, record: RecordWriter, offset: cython.longlong, keep: cython.bint) -> bytes:
        """Write the record at that log offset; return its bytes if they are to be kept, else None."""
        self._begin(offset)
        at: cython.Py_ssize_t = self._page_at
        kept: bytes = None
        if record.inline():
            self._page_at = record.write(self._page, at)
            if keep:
                kept = take(self._page, at, record.size)
        else:
            pieces: list = []
            end: cython.Py_ssize_t = record.write_around(self._page, at, pieces)
            self._page_at = at + record.head_bytes
            if keep:
                kept = b"".join([self._view[at : self._page_at], *pieces, self._view[self._page_at : end]])
            self._end_run()
            self._buffers.extend(pieces)
            self._page_at = end
        self.size += record.size
        return kept

    @cython.ccall
    def blank(self, offset: cython.longlong, size: cython.longlong):
        """The rest of a segment, `size` bytes from that log offset on, stays empty; what follows lies in the next."""
        self._begin(offset)
        page: cython.p_uchar = self._page
        wr32(page, self._page_at, size)
        wr32(page, self._page_at + 4, BLANK_MAGIC)
        self._page_at += BLANK_BYTES
        self.size += BLANK_BYTES
        self._end_part()

    @cython.ccall
    def cut(self) -> Batch:
        """End the batch and begin another."""
        self._end_part()
        batch: Batch = Batch()
        batch.parts = self._parts
        batch.pages = self._pages
        self._parts, self._pages = [], []
        self._page = self._view = None
        self._page_at = self._run_at = 0
        self.size = 0
        return batch

    @cython.ccall
    def recycle(self, pages: list, idle: cython.bint):
        """Keep about as many pages as the last batches used; after a burst the rest goes back to the system. idle: no
        batch waits."""
        kept: cython.Py_ssize_t = self._pages_wanted - (self._pages_wanted + 7) // 8
        self._pages_wanted = max(len(pages), kept, PAGES_IDLE)
        self._pool.extend(pages)
        room: cython.Py_ssize_t = PAGES_IDLE if idle and not self.size else self._pages_wanted
        if len(self._pool) > room:
            del self._pool[room:]

    @property
    def memory_bytes(self) -> int:
        """Of pages, in use here and kept."""
        return (len(self._pool) + len(self._pages)) * PAGE_BYTES

    @cython.cfunc
    def _begin(self, offset: cython.longlong):
        """Bytes are about to be written at that log offset, into a page with room for them."""
        if self._page is None or PAGE_BYTES - self._page_at < RECORD_IN_PAGE_MAX:
            self._take_page()
        if self._part_at < 0:
            self._part_at = offset

    @cython.cfunc
    def _take_page(self):
        """Write on in another page: one used before, or a new one."""
        self._end_run()
        self._page = self._pool.pop() if self._pool else bytearray(PAGE_BYTES)
        self._view = memoryview(self._page)
        self._pages.append(self._page)
        self._page_at = self._run_at = 0

    @cython.cfunc
    def _end_run(self):
        """What was written since the last run goes to the engine as one buffer."""
        if self._page_at > self._run_at:
            self._buffers.append(self._view[self._run_at : self._page_at])
            self._run_at = self._page_at

    @cython.cfunc
    def _end_part(self):
        """What follows does not lie behind it in the same segment, or not in the same batch."""
        self._end_run()
        if self._buffers:
            self._parts.append((self._part_at, self._buffers))
            self._buffers = []
        self._part_at = -1
