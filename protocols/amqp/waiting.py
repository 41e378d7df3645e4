"""Frames that wait on a channel, in their order: one behind the other in one buffer, without an object for each.

    kind u8 | size u32 | payload

When nothing waits any more the buffer is kept for the next channel: one that sends on while its commits are on their
way to the disk fills and empties one all the time.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.wire import put_range, rd8, rd32, wr8, wr32
else:
    from core.wire import put_range, rd8, rd32, wr8, wr32

HEAD_BYTES = cython.declare(cython.Py_ssize_t, 5)
BUFFER_BYTES = cython.declare(cython.Py_ssize_t, 16 << 10)  # at first
SPARE_BYTES_MAX = cython.declare(cython.Py_ssize_t, 4 << 20)
SPARE = cython.declare(list, [])  # one buffer at most


@cython.final
@cython.cclass
class WaitingFrames:
    """A queue of frames. Of the first, while count > 0: kind, and its payload is buffer[start:stop], which stays there
    until the next add(). size = bytes of all that wait, their heads included."""

    def __init__(self):
        self.buffer = SPARE.pop() if SPARE else bytearray(BUFFER_BYTES)
        self.count = self.kind = 0
        self.size = self.start = self.stop = self._end = 0

    @cython.ccall
    def add(self, kind: cython.int, b: bytearray, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """Append a frame with the payload b[at:end]."""
        size: cython.Py_ssize_t = end - at + HEAD_BYTES
        if self._end + size > len(self.buffer):
            self._make_room(size)
        p: cython.p_uchar = self.buffer
        wr8(p, self._end, kind)
        wr32(p, self._end + 1, end - at)
        put_range(p, self._end + HEAD_BYTES, b, at, end - at)
        self._end += size
        self.size += size
        self.count += 1
        if self.count == 1:
            self._look(self._end - size)

    @cython.ccall
    def pop(self):
        """Take out the first."""
        self.size -= self.stop - self.start + HEAD_BYTES
        self.count -= 1
        if self.count:
            self._look(self.stop)

    @cython.ccall
    def release(self):
        """Nothing waits any more: the buffer may serve others."""
        if not SPARE and len(self.buffer) <= SPARE_BYTES_MAX:
            SPARE.append(self.buffer)
        self.buffer = None

    @cython.cfunc
    def _look(self, at: cython.Py_ssize_t):
        """The frame at `at` is the first."""
        self.kind = rd8(self.buffer, at)
        self.start = at + HEAD_BYTES
        self.stop = self.start + rd32(self.buffer, at + 1)

    @cython.cfunc
    def _make_room(self, size: cython.Py_ssize_t):
        """Move what waits to the front, of a larger buffer if need be; nobody executes a frame meanwhile."""
        waiting: cython.Py_ssize_t = self.size
        first: cython.Py_ssize_t = self._end - waiting
        buffer: bytearray = self.buffer
        if waiting > first or waiting + size > len(buffer):
            buffer = bytearray(max(len(buffer), 2 * (waiting + size)))
        put_range(buffer, 0, self.buffer, first, waiting)
        self.buffer = buffer
        self._end = waiting
        if self.count:
            self._look(0)
