"""The body of SEND_BATCH_MESSAGE: messages of one topic and queue, one behind the other.

    | size u32 | magic u32 | crc u32 | flag i32 | body size i32 + body | properties size i16 + text |

Magic and CRC are 0 and mean nothing. Source: RocketMQ's MessageDecoder.encodeMessages.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.wire import rd16, rd32, take
    from cython.cimports.protocols.remoting.frame import signed32
else:
    from core.wire import rd16, rd32, take
    from protocols.remoting.frame import signed32

HEAD_BYTES = cython.declare(cython.Py_ssize_t, 20)  # up to the body
SIZE_BYTES = cython.declare(cython.Py_ssize_t, 2)  # of the properties


class BatchError(Exception):
    """A body that is no batch: it ends within a message, or a message's parts do not add up to its size."""


@cython.final
@cython.cclass
class Batch:
    """begin(), then next() as long as it is true: where the next message's parts are. check() looks through all.

    flag                what the user set, i32
    body, properties    of the message that next() found; bytes, and how many properties_size are
    """

    def __init__(self):
        self.flag = 0
        self._buffer = None
        self._at = self._end = self._start = 0
        self._body_at = self._body_size = self._text_at = self.properties_size = 0

    @cython.ccall
    def begin(self, buffer: bytearray, at: cython.Py_ssize_t, size: cython.Py_ssize_t):
        """The batch is there; the buffer must not change before the last next()."""
        self._buffer = buffer
        self._at = self._start = at
        self._end = at + size

    @cython.ccall
    @cython.exceptval(-1)
    def check(self) -> cython.Py_ssize_t:
        """How many messages there are; next() then begins with the first. Raises BatchError, also without any."""
        count: cython.Py_ssize_t = 0
        while self.next():
            count += 1
        if not count:
            raise BatchError("a batch without a message")
        self._at = self._start
        return count

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def next(self) -> cython.bint:
        """Go to the next message; false behind the last. Raises BatchError."""
        b: cython.p_uchar = self._buffer
        at: cython.Py_ssize_t = self._at
        left: cython.Py_ssize_t = self._end - at
        if left == 0:
            return False
        if left < HEAD_BYTES + SIZE_BYTES:
            raise BatchError(f"{left} bytes behind the last message of a batch")
        size: cython.Py_ssize_t = rd32(b, at)
        body_size: cython.longlong = signed32(rd32(b, at + 16))
        if size > left or body_size < 0 or body_size > size - HEAD_BYTES - SIZE_BYTES:
            raise BatchError(f"a message of {size} bytes, {body_size} of them body, where {left} are left of the batch")
        self.flag = signed32(rd32(b, at + 12))
        self._body_at = at + HEAD_BYTES
        self._body_size = body_size
        self._text_at = self._body_at + self._body_size + SIZE_BYTES
        self.properties_size = rd16(b, self._text_at - SIZE_BYTES)
        if self._text_at + self.properties_size != at + size:
            raise BatchError(
                f"a message of {size} bytes with {body_size} of body and {self.properties_size} of properties"
            )
        self._at = at + size
        return True

    @cython.ccall
    def body(self) -> bytes:
        """A copy of the message's body."""
        return take(self._buffer, self._body_at, self._body_size)

    @cython.ccall
    def properties(self) -> bytes:
        """Its property text."""
        return take(self._buffer, self._text_at, self.properties_size)
