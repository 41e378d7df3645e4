"""Writing one record of the log, in RocketMQ's layout (version 1, IPv4 hosts), always with the CRC of the whole record.

    0 size u32 | 4 magic u32 | 8 body crc u32 | 12 queue id i32 | 16 flag i32 | 20 queue offset i64 | 28 log offset i64
    36 sys flag i32 | 40 born ms i64 | 48 born host 8 | 56 store ms i64 | 64 store host 8 | 72 reconsume count i32
    76 batch offset i64 | 84 body u32 + bytes | topic u8 + bytes | properties u16 + text

- The field at 76 is RocketMQ's prepared transaction offset, which has a meaning in its transactions only. In our own
  topics it holds the offset at which the batch of this record began: so recovery knows a torn batch from a damaged log.
- flag bit 0: the message is persistent; bit 1: the next record belongs to it, without which this one does not count (a
  transaction: its last has the bit clear). Of a copy born ms is when its message was stored first. Hosts are 0.0.0.0:0.
- Properties are name 0x01 value 0x02; the last is `__CRC32#`, ten decimal digits least significant first, over all
  bytes before it. Both CRCs are CRC-32 & 0x7fffffff, as RocketMQ computes them.
- A place is varint(queue id << 1 | has code), varint(queue offset), and the tags code as i64 if has code.
- `__FROM` = base64 of varint queue id, varint queue offset: the message was moved, and this record settles it there.
- `__Q` = base64 of the places (the first 256), `__ADDRESS` = base64 of varint length + bytes of virtual host, exchange
  and routing key, `__ORIGIN` = base64 of the protocol's number (of what is unseen: + 1, then u32 size and bytes of it)
  and its header block. An origin too big for the properties rides behind the body, `__ORIGIN_TAIL` = its length. The
  body of a link: varint log offset and varint size of the stored message, then places.
"""

from __future__ import annotations

import zlib

import cython

from core.errors import LimitReached

try:
    from isal.isal_zlib import crc32 as _crc32
except ImportError:  # no wheel for this machine
    from zlib import crc32 as _crc32

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.wire import base64_size, put, put_base64, put_varint, wr8, wr16, wr32, wr64
    from cython.cimports.cpython.buffer import PyBUF_READ
    from cython.cimports.cpython.memoryview import PyMemoryView_FromMemory
else:
    from core.message import Message
    from core.wire import base64_size, put, put_base64, put_varint, wr8, wr16, wr32, wr64

    HEAD_BYTES = 88  # up to and with the body's length
    CRC_BYTES = 20
    INLINE_BODY_MAX = 16 << 10  # a longer body is not copied into the batch's pages
    PLACES_MAX = 256  # in one store record; more go into links of the same batch
    PLACE_FIELDS = 3  # queue id, queue offset, tags code
    PERSISTENT, JOINED = 1, 2  # bits of flag
    OTHER, STORE, STATE, DONE, LINK = 0, 1, 2, 3, 4

MAGIC = cython.declare(cython.uint, 0xDAA320A7)
CRC_MASK = cython.declare(cython.uint, 0x7FFFFFFF)
TOPICS = cython.declare(tuple, tuple(b"CORDUROY_" + kind for kind in (b"LOST", b"MESSAGE", b"STATE", b"DONE", b"LINK")))
CRC32 = cython.declare(object, _crc32)
FROM_NAME = cython.declare(bytes, b"__FROM\x01")
Q_NAME = cython.declare(bytes, b"__Q\x01")
ADDRESS_NAME = cython.declare(bytes, b"__ADDRESS\x01")
EXPIRE_NAME = cython.declare(bytes, b"EXPIRE_AT\x01")
ORIGIN_NAME = cython.declare(bytes, b"__ORIGIN\x01")
TAIL_NAME = cython.declare(bytes, b"__ORIGIN_TAIL\x01")
CRC_NAME = cython.declare(bytes, b"__CRC32#\x01")
AMQP = cython.declare(bytes, b"\x01")  # the protocol's number before its header block
AMQP_UNSEEN = cython.declare(bytes, b"\x02")  # and when there is something unseen between the two
PROPERTIES_MAX = cython.declare(cython.Py_ssize_t, 32767)
ADDRESS_MAX = cython.declare(cython.Py_ssize_t, 16000)  # so that 256 places and an address always fit the properties
PLACE_BYTES_MAX = cython.declare(cython.Py_ssize_t, 28)
SCRATCH_BYTES = cython.declare(cython.Py_ssize_t, 256 * 28 + 16000 + 96 + 32767)

assert zlib.crc32(b"hello0") == _crc32(b"hello0")


@cython.ccall
@cython.exceptval(0, check=True)
def crc_range(b: cython.p_uchar, at: cython.Py_ssize_t, n: cython.Py_ssize_t, start: cython.uint) -> cython.uint:
    """CRC-32 of n bytes at `at`, continued from `start` (0 at the beginning)."""
    if cython.compiled:
        return CRC32(PyMemoryView_FromMemory(cython.cast(cython.p_char, b + at), n, PyBUF_READ), start)
    else:
        return CRC32(memoryview(b)[at : at + n], start)


@cython.cfunc
@cython.exceptval(check=False)
def put_crc(b: cython.p_uchar, at: cython.Py_ssize_t, crc: cython.uint) -> cython.Py_ssize_t:
    """The last property of every record."""
    i: cython.Py_ssize_t
    put(b, at, CRC_NAME)
    at += 9
    for i in range(10):
        b[at + i] = 48 + crc % 10
        crc = crc // 10
    b[at + 10] = 2
    return at + 11


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
class Encoder:
    """Plans one record (its size decides where it goes), then writes it.

    Between the two the log sets offset, queue_offset, batch_offset and store_ms. Its scratch memory is reused, so
    nothing but the pages is written for a message.
    """

    def __init__(self):
        self._scratch = bytearray(SCRATCH_BYTES)
        self.joined, self.copied_ms = False, 0  # the log's to set; of a copy, when its message was stored first
        self._forget()

    @cython.cfunc
    def _forget(self):
        """Hold on to nothing of the last record."""
        self._topic = self._header = self._prefix = self._expire = self._tail_size = b""
        self._body = b""
        self._body_bytes = self._q_bytes = self._address_bytes = self._origin_bytes = self._properties_bytes = 0
        self._from_bytes = 0
        self._flag = 0
        self.offset = self.queue_offset = self.batch_offset = self.store_ms = self.size = 0

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

    @cython.ccall
    @cython.exceptval(check=False)
    def inline(self) -> cython.bint:
        """True: write() copies the whole record; False: write_around() leaves the body where it is."""
        return self._body_bytes <= INLINE_BODY_MAX

    @cython.ccall
    @cython.exceptval(-1)
    def write(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Write the whole record to `at`, where `size` bytes must be free; return the place behind it."""
        start: cython.Py_ssize_t = at
        end: cython.Py_ssize_t = at + HEAD_BYTES + self._body_bytes
        at = self._put_head(b, at)
        if self._put_body(b, at) != end:
            raise AssertionError("the body is not of its stated size")
        body: object = self._body
        crc: cython.uint
        if isinstance(body, bytes) and not self._tail_size:
            crc = CRC32(body)
        else:
            crc = crc_range(b, at, self._body_bytes, 0)
        wr32(b, start + 8, crc & CRC_MASK)
        at = self._put_properties(b, end)
        at = put_crc(b, at, crc_range(b, start, at - start, 0) & CRC_MASK)
        self._body = None
        return at

    @cython.ccall
    @cython.exceptval(-1)
    def write_around(self, b: cython.p_uchar, at: cython.Py_ssize_t, pieces: list) -> cython.Py_ssize_t:
        """Write head and tail to `at`, one behind the other; append to pieces what belongs between them, uncopied.

        The head has HEAD_BYTES bytes. Returns the place behind the tail.
        """
        start: cython.Py_ssize_t = at
        fragments: tuple = self._body if isinstance(self._body, tuple) else (self._body,)
        if self._tail_size:
            fragments = (*fragments, self._prefix, self._header)
        crc: cython.uint = 0
        total: cython.Py_ssize_t = 0
        for fragment in fragments:
            if fragment:
                crc = CRC32(fragment, crc)
                total += len(fragment)
                pieces.append(fragment)
        assert total == self._body_bytes
        at = self._put_head(b, at)
        wr32(b, start + 8, crc & CRC_MASK)
        crc = crc_range(b, start, HEAD_BYTES, 0)
        for fragment in fragments:
            crc = CRC32(fragment, crc)
        at = self._put_properties(b, at)
        crc = crc_range(b, start + HEAD_BYTES, at - start - HEAD_BYTES, crc)
        at = put_crc(b, at, crc & CRC_MASK)
        self._body = None
        return at

    @cython.cfunc
    @cython.exceptval(check=False)
    def _put_head(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Everything before the body, but the body's CRC."""
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
        """Copy the body, and the header block behind it when it rides there."""
        body: object = self._body
        fragment: bytes
        if isinstance(body, bytes):
            fragment = body
            if len(fragment) > self._body_bytes:
                return -1
            put(b, at, fragment)
            at += len(fragment)
        else:
            room: cython.Py_ssize_t = self._body_bytes
            for fragment in body:
                room -= len(fragment)
                if room < 0:
                    return -1
                put(b, at, fragment)
                at += len(fragment)
        if self._tail_size:
            put(b, at, self._prefix)
            put(b, at + len(self._prefix), self._header)
            at += self._origin_bytes
        return at

    @cython.cfunc
    @cython.exceptval(-1)
    def _put_properties(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Topic and properties, but the CRC."""
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
