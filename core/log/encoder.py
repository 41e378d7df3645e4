"""Writing one record of our own topics (record.py has the layout): what is stored, declared or done.

- Queue id, sys flag and reconsume count are 0, hosts are 0.0.0.0:0. The prepared offset is the batch's (record.py).
- flag bit 0: the message is persistent; bit 1: the next record belongs to it, without which this one does not count (a
  transaction: its last has the bit clear). Of a copy born ms is when its message was stored first.
- A place is varint(queue id << 1 | has code), varint(queue offset), and the tags code as i64 if has code.
- `__FROM` = base64 of varint queue id, varint queue offset: the message was moved, and this record settles it there.
- `__Q` = base64 of the places (the first 256), `__ADDRESS` = base64 of varint length + bytes of virtual host, exchange
  and routing key, `__ORIGIN` = base64 of the protocol's number (of what is unseen: + 1, then u32 size and bytes of it)
  and its header block. An origin too big for the properties rides behind the body, `__ORIGIN_TAIL` = its length. The
  body of a link: varint log offset and varint size of the stored message, then places.
"""

from __future__ import annotations

import cython

from core.errors import LimitReached

if cython.compiled:
    from cython.cimports.core.log.record import CRC_BYTES, HEAD_BYTES, JOINED, PERSISTENT, PLACES_MAX, RecordWriter
    from cython.cimports.core.message import Message
    from cython.cimports.core.wire import base64_size, put, put_base64, put_varint, wr8, wr16, wr32, wr64
else:
    from core.log.record import CRC_BYTES, HEAD_BYTES, JOINED, PERSISTENT, PLACES_MAX, RecordWriter
    from core.message import Message
    from core.wire import base64_size, put, put_base64, put_varint, wr8, wr16, wr32, wr64

MAGIC = cython.declare(cython.uint, 0xDAA320A7)
TOPICS = cython.declare(tuple, tuple(b"CORDUROY_" + kind for kind in (b"LOST", b"MESSAGE", b"STATE", b"DONE", b"LINK")))
FROM_NAME = cython.declare(bytes, b"__FROM\x01")
Q_NAME = cython.declare(bytes, b"__Q\x01")
ADDRESS_NAME = cython.declare(bytes, b"__ADDRESS\x01")
EXPIRE_NAME = cython.declare(bytes, b"EXPIRE_AT\x01")
ORIGIN_NAME = cython.declare(bytes, b"__ORIGIN\x01")
TAIL_NAME = cython.declare(bytes, b"__ORIGIN_TAIL\x01")
AMQP = cython.declare(bytes, b"\x01")  # the protocol's number before its header block
AMQP_UNSEEN = cython.declare(bytes, b"\x02")  # and when there is something unseen between the two
PROPERTIES_MAX = cython.declare(cython.Py_ssize_t, 32767)
ADDRESS_MAX = cython.declare(cython.Py_ssize_t, 16000)  # so that 256 places and an address always fit the properties
PLACE_BYTES_MAX = cython.declare(cython.Py_ssize_t, 28)
SCRATCH_BYTES = cython.declare(cython.Py_ssize_t, 256 * 28 + 16000 + 96 + 32767)


@cython.cfunc
@cython.exceptval(check=False)
def put_text(b: cython.p_uchar, at: cython.Py_ssize_t, name: bytes, value: bytes) -> cython.Py_ssize_t:
    """One property whose value is plain text; name ends with its separator."""
    put(b, at, name)
    at += len(name)
    put(b, at, value)
    at += len(value)
    b[at] = 2
    return at + 1


@cython.cfunc
@cython.exceptval(-1)
def put_places(
    b: cython.p_uchar,
    at: cython.Py_ssize_t,
    places: cython.longlong[::1],
    start: cython.Py_ssize_t,
    stop: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Places start..stop of the flat triples, coded; there must be 28 bytes of room for each."""
    i: cython.Py_ssize_t
    code: cython.longlong
    for i in range(start * 3, stop * 3, 3):
        code = places[i + 2]
        at = put_varint(b, at, places[i] << 1 | (code != 0))
        at = put_varint(b, at, places[i + 1])
        if code != 0:
            wr64(b, at, code)
            at += 8
    return at


def link_body(offset: int, size: int, places: cython.longlong[::1], start: cython.Py_ssize_t, stop: cython.Py_ssize_t):
    """The body of a link: the message stored at `offset` with `size` bytes enters places start..stop."""
    out = bytearray(20 + PLACE_BYTES_MAX * (stop - start))
    b: cython.p_uchar = out
    at: cython.Py_ssize_t = put_varint(b, 0, offset)
    at = put_varint(b, at, size)
    at = put_places(b, at, places, start, stop)
    return bytes(out[:at])


@cython.final
@cython.cclass
class Encoder(RecordWriter):
    """Plans one record (its size decides where it goes), then writes it. Its scratch memory is reused, so nothing but
    the pages is written for a message."""

    def __init__(self):
        RecordWriter.__init__(self)
        self._scratch = bytearray(SCRATCH_BYTES)
        self.joined, self.copied_ms = False, 0  # the log's to set; of a copy, when its message was stored first
        self._topic = self._header = self._prefix = self._expire = self._tail_size = b""
        self._q_bytes = self._address_bytes = self._origin_bytes = self._properties_bytes = self._from_bytes = 0
        self._flag = 0

    @cython.ccall
    @cython.exceptval(-1)
    def plan(self, kind: cython.int, body: bytes) -> cython.Py_ssize_t:
        """Take up a state, done or link record and return its size."""
        self._topic = TOPICS[kind]
        self._header = self._expire = self._tail_size = b""
        self._body = body
        self._body_bytes = len(body)
        self._q_bytes = self._address_bytes = self._origin_bytes = self._from_bytes = 0
        self._flag = 0
        return self._measure()

    @cython.ccall
    @cython.exceptval(-1)
    def plan_store(self, message: Message, places: cython.longlong[::1], count: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Take up a message with its first places (at most 256 are written) and return the record's size."""
        b: cython.p_uchar = self._scratch
        q_bytes: cython.Py_ssize_t = put_places(b, 0, places, 0, count if count < PLACES_MAX else PLACES_MAX)
        vhost: bytes = message.vhost
        exchange: bytes = message.exchange
        key: bytes = message.routing_key
        if len(vhost) + len(exchange) + len(key) > ADDRESS_MAX:
            raise LimitReached(
                f"virtual host, exchange and routing key of {len(vhost) + len(exchange) + len(key)} bytes exceed "
                f"{ADDRESS_MAX}"
            )
        at: cython.Py_ssize_t = put_varint(b, q_bytes, len(vhost))
        put(b, at, vhost)
        at = put_varint(b, at + len(vhost), len(exchange))
        put(b, at, exchange)
        at = put_varint(b, at + len(exchange), len(key))
        put(b, at, key)
        self._q_bytes = q_bytes
        self._address_bytes = at + len(key) - q_bytes
        self._from_bytes = 0
        self._topic = TOPICS[1]
        self._header = message.header
        self._tail_size = b""
        self._expire = b"%d" % message.expire_at if message.expire_at else b""
        unseen: bytes = message.unseen
        self._prefix = AMQP_UNSEEN + len(unseen).to_bytes(4, "big") + unseen if unseen else AMQP
        self._origin_bytes = len(self._prefix) + len(self._header) if self._header or unseen else 0
        self._body = message.body
        self._body_bytes = message.body_size
        self._flag = PERSISTENT if message.persistent else 0
        return self._measure()

    @cython.ccall
    @cython.exceptval(-1)
    def plan_from(
        self, message: Message, queue_id: cython.longlong, queue_offset: cython.longlong
    ) -> cython.Py_ssize_t:
        """After plan_store() of the same message: its record also settles that offset of that queue. Returns the
        record's size."""
        b: cython.p_uchar = self._scratch
        start: cython.Py_ssize_t = self._q_bytes + self._address_bytes
        at: cython.Py_ssize_t = put_varint(b, start, queue_id)
        self._from_bytes = put_varint(b, at, queue_offset) - start
        self._tail_size = b""
        self._body_bytes = message.body_size
        return self._measure()

    @cython.cfunc
    @cython.exceptval(-1)
    def _measure(self) -> cython.Py_ssize_t:
        """Decide where the header block goes; set the size of the properties and of the record."""
        n: cython.Py_ssize_t = CRC_BYTES
        if self._q_bytes:
            n += 5 + base64_size(self._q_bytes)
        if self._address_bytes:
            n += 11 + base64_size(self._address_bytes)
        if self._from_bytes:
            n += 8 + base64_size(self._from_bytes)
        if self._expire:
            n += 11 + len(self._expire)
        if self._origin_bytes:
            if n + 10 + base64_size(self._origin_bytes) <= PROPERTIES_MAX:
                n += 10 + base64_size(self._origin_bytes)
            else:
                self._tail_size = b"%d" % self._origin_bytes
                n += 15 + len(self._tail_size)
                self._body_bytes += self._origin_bytes
        assert n <= PROPERTIES_MAX
        self._properties_bytes = n
        self.size = HEAD_BYTES + self._body_bytes + 1 + len(self._topic) + 2 + n
        return self.size

    @cython.cfunc
    def _fragments(self) -> tuple:
        """See RecordWriter: the header block rides behind the body when it is big."""
        fragments: tuple = RecordWriter._fragments(self)
        return (*fragments, self._prefix, self._header) if self._tail_size else fragments

    @cython.cfunc
    @cython.exceptval(check=False)
    def _put_head(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """See RecordWriter."""
        wr32(b, at, self.size)
        wr32(b, at + 4, MAGIC)
        wr32(b, at + 12, 0)
        wr32(b, at + 16, self._flag | JOINED if self.joined else self._flag)
        wr64(b, at + 20, self.queue_offset)
        wr64(b, at + 28, self.offset)
        wr32(b, at + 36, 0)
        wr64(b, at + 40, self.copied_ms or self.store_ms)
        wr64(b, at + 48, 0)
        wr64(b, at + 56, self.store_ms)
        wr64(b, at + 64, 0)
        wr32(b, at + 72, 0)
        wr64(b, at + 76, self.batch_offset)
        wr32(b, at + 84, self._body_bytes)
        return at + HEAD_BYTES

    @cython.cfunc
    @cython.exceptval(-1)
    def _put_body(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """See RecordWriter."""
        if self._tail_size:
            self._body_bytes -= self._origin_bytes
            at = RecordWriter._put_body(self, b, at)
            self._body_bytes += self._origin_bytes
            if at < 0:
                return -1
            put(b, at, self._prefix)
            put(b, at + len(self._prefix), self._header)
            return at + self._origin_bytes
        return RecordWriter._put_body(self, b, at)

    @cython.cfunc
    @cython.exceptval(-1)
    def _put_properties(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """See RecordWriter."""
        scratch: bytearray = self._scratch
        s: cython.p_uchar = scratch
        topic: bytes = self._topic
        n: cython.Py_ssize_t = self._q_bytes
        wr8(b, at, len(topic))
        put(b, at + 1, topic)
        at += 1 + len(topic)
        wr16(b, at, self._properties_bytes)
        at += 2
        if n:
            put(b, at, Q_NAME)
            at = put_base64(b, at + 4, s, n)
            b[at] = 2
            at += 1
        if self._address_bytes:
            put(b, at, ADDRESS_NAME)
            if cython.compiled:
                at = put_base64(b, at + 10, s + n, self._address_bytes)
            else:
                at = put_base64(b, at + 10, scratch[n:], self._address_bytes)
            b[at] = 2
            at += 1
        if self._from_bytes:
            n += self._address_bytes
            put(b, at, FROM_NAME)
            if cython.compiled:
                at = put_base64(b, at + 7, s + n, self._from_bytes)
            else:
                at = put_base64(b, at + 7, scratch[n:], self._from_bytes)
            b[at] = 2
            at += 1
        if self._expire:
            at = put_text(b, at, EXPIRE_NAME, self._expire)
        if self._tail_size:
            return put_text(b, at, TAIL_NAME, self._tail_size)
        if self._origin_bytes:
            put(s, 0, self._prefix)
            put(s, len(self._prefix), self._header)
            put(b, at, ORIGIN_NAME)
            at = put_base64(b, at + 9, s, self._origin_bytes)
            b[at] = 2
            at += 1
        return at
