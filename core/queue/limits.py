"""The length limits of one queue: what may be ready in it, counted in messages and in bytes of their bodies.

Bytes are counted only while there is a limit of bytes: one that comes to life on a queue with messages (by a policy, or
when a durable queue comes back) has them added up once, in slices (bounded.py). Until a message had its turn in that it
counts nothing. Source: rabbit_amqqueue_process.erl of RabbitMQ 3.10, will_overflow and over_max_length.
"""

from __future__ import annotations

import cython


@cython.final
@cython.cclass
class Limits:
    """max_length, max_bytes: -1 = none; refusing: what is too much is not taken in, else the head goes.

    ready_bytes  of the bodies of what is ready and counted; 0 without a limit of bytes
    counting_at  what lies from here up to `counting_end` is not counted yet
    """

    def __init__(self):
        self.max_length = self.max_bytes = -1
        self.refusing = False
        self.forget()

    def forget(self) -> None:
        """Nothing is counted, and nothing is to be."""
        self.ready_bytes = 0
        self.counting_at = self.counting_end = 0
        self._out = {}  # offset -> body size: neither ready nor settled, and counted before

    def count_from(self, first: int, end: int) -> None:
        """What lies in these offsets is to be counted, whole chunks of the queue at a time."""
        self.forget()
        self.counting_at = first
        self.counting_end = -(-end // 512) * 512

    @cython.ccall
    @cython.exceptval(-1)
    def exceeded(self, count: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.bint:
        """Whether `count` messages are too many, or the bytes of those that are ready and `size` more."""
        if self.max_length >= 0 and count > self.max_length:
            return True
        return self.max_bytes >= 0 and self.ready_bytes + size > self.max_bytes

    @cython.ccall
    @cython.exceptval(-1)
    def counted(self, offset: cython.longlong) -> cython.bint:
        """Whether the bytes of the message at `offset` are counted."""
        return self.max_bytes >= 0 and (offset < self.counting_at or offset >= self.counting_end)

    @cython.ccall
    def put(self, offset: cython.longlong, size: cython.Py_ssize_t):
        """A message with a body of `size` bytes is ready."""
        if self.counted(offset):
            self.ready_bytes += size

    @cython.ccall
    def take(self, offset: cython.longlong, size: cython.Py_ssize_t):
        """It is ready no more."""
        if self.counted(offset):
            self.ready_bytes -= size
            self._out[offset] = size

    @cython.ccall
    def give_back(self, offset: cython.longlong):
        """What was taken is ready again."""
        if self.counted(offset):
            self.ready_bytes += self._out.pop(offset)

    @cython.ccall
    def settle(self, offset: cython.longlong):
        """What was taken is done."""
        if self._out:
            self._out.pop(offset, None)

    @cython.ccall
    def resize(self, offset: cython.longlong, before: cython.Py_ssize_t, size: cython.Py_ssize_t):
        """A message, not done, is said to have another size than before."""
        if size != before and self.counted(offset) and offset not in self._out:
            self.ready_bytes += size - before

    @cython.ccall
    def purged(self):
        """Nothing is ready any more."""
        self.ready_bytes = 0

    @cython.ccall
    def count(self, offset: cython.longlong, size: cython.Py_ssize_t, ready: cython.bint):
        """A message that is not done, and was not counted yet."""
        if ready:
            self.ready_bytes += size
        else:
            self._out[offset] = size
