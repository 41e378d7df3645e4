"""Writing the record of a native message: byte for byte as RocketMQ 5.5 does with enabledAppendPropCRC.

Nothing of ours is in it. So it says neither where its batch began nor whether the next record belongs to it: the
records of our own that the log writes around native ones do (commit_log.py, append_native).
"""

from __future__ import annotations

import cython

from core.errors import LimitReached
from core.native import BORN_V6, STORE_V6, TRANSACTION

if cython.compiled:
    from cython.cimports.core.log.record import CRC_BYTES, HEAD_BYTES, RecordWriter
    from cython.cimports.core.native import Native
    from cython.cimports.core.wire import put, wr8, wr16, wr32, wr64
else:
    from core.log.record import CRC_BYTES, HEAD_BYTES, RecordWriter
    from core.native import Native
    from core.wire import put, wr8, wr16, wr32, wr64

MAGIC = cython.declare(cython.uint, 0xDAA320A7)
MAGIC_2 = cython.declare(cython.uint, 0xDAA320AB)  # of topics longer than that:
SHORT_TOPIC_MAX = cython.declare(cython.Py_ssize_t, 127)
TOPIC_BYTES_MAX = 255
PROPERTIES_MAX = cython.declare(cython.Py_ssize_t, 32767)
HOST_BYTES = cython.declare(cython.Py_ssize_t, 8)
HOST_V6_BYTES = cython.declare(cython.Py_ssize_t, 20)
V6_BITS = cython.declare(cython.int, BORN_V6 | STORE_V6)
NO_TRANSACTION = cython.declare(cython.int, ~TRANSACTION)
COMMITTED = cython.declare(cython.int, 0x8)


@cython.final
@cython.cclass
class NativeEncoder(RecordWriter):
    """plan() one message, then write it."""

    def __init__(self):
        RecordWriter.__init__(self)
        self._message = None
        self._properties_bytes = self._topic_head = 0
        self._sys_flag = 0

    @cython.ccall
    @cython.exceptval(-1)
    def plan(self, message: Native) -> cython.Py_ssize_t:
        """Take up a message and return its record's size. Raises LimitReached."""
        topic: bytes = message.topic
        properties: bytes = message.properties
        born: cython.Py_ssize_t = len(message.born_host)
        store: cython.Py_ssize_t = len(message.store_host)
        assert 0 < len(topic) <= TOPIC_BYTES_MAX and not topic.startswith(b"CORDUROY_")
        assert (born == HOST_BYTES or born == HOST_V6_BYTES) and (store == HOST_BYTES or store == HOST_V6_BYTES)
        n: cython.Py_ssize_t = len(properties)
        if n and properties[n - 1] != 2:
            n += 1
        n += CRC_BYTES
        if n > PROPERTIES_MAX:
            raise LimitReached(f"properties of {n} bytes, the CRC included, exceed {PROPERTIES_MAX}")
        self._message = message
        self._properties_bytes = n
        self._topic_head = 1 if len(topic) <= SHORT_TOPIC_MAX else 2
        self._sys_flag = message.sys_flag & ~V6_BITS
        assert self._sys_flag & ~NO_TRANSACTION in (0, COMMITTED), "what is prepared or rolled back enters no queue"
        if born == HOST_V6_BYTES:
            self._sys_flag |= 0x10
        if store == HOST_V6_BYTES:
            self._sys_flag |= 0x20
        body: object = message.body
        self._body = body
        self._body_bytes = len(body) if isinstance(body, bytes) else sum([len(piece) for piece in body])
        self.head_bytes = HEAD_BYTES + born + store - 2 * HOST_BYTES
        self.size = self.head_bytes + self._body_bytes + self._topic_head + len(topic) + 2 + n
        return self.size

    @cython.ccall
    def forget(self):
        """Hold on to nothing of the last message."""
        self._message = None

    @cython.cfunc
    @cython.exceptval(check=False)
    def _put_head(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """See RecordWriter."""
        message: Native = self._message
        wr32(b, at, self.size)
        wr32(b, at + 4, MAGIC if self._topic_head == 1 else MAGIC_2)
        wr32(b, at + 12, message.queue_id)
        wr32(b, at + 16, message.flag)
        wr64(b, at + 20, self.queue_offset)
        wr64(b, at + 28, self.offset)
        wr32(b, at + 36, self._sys_flag)
        wr64(b, at + 40, message.born_ms)
        put(b, at + 48, message.born_host)
        at += 48 + len(message.born_host)
        wr64(b, at, self.store_ms)
        put(b, at + 8, message.store_host)
        at += 8 + len(message.store_host)
        wr32(b, at, message.reconsume_times)
        wr64(b, at + 4, message.prepared_offset)
        wr32(b, at + 12, self._body_bytes)
        return at + 16

    @cython.cfunc
    @cython.exceptval(-1)
    def _put_properties(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """See RecordWriter."""
        message: Native = self._message
        topic: bytes = message.topic
        properties: bytes = message.properties
        if self._topic_head == 1:
            wr8(b, at, len(topic))
        else:
            wr16(b, at, len(topic))
        at += self._topic_head
        put(b, at, topic)
        at += len(topic)
        wr16(b, at, self._properties_bytes)
        put(b, at + 2, properties)
        at += 2 + len(properties)
        if self._properties_bytes - CRC_BYTES > len(properties):
            b[at] = 2
            at += 1
        return at
