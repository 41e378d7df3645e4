"""Reading one record of the log: see record.py and encoder.py for its bytes.

A View checks a record where it lies in a block and finds its fields; nothing is copied until asked for. Recovery uses
one View for all records, the reader one per fetch. A record of a topic that is none of ours is a native message.
"""

from __future__ import annotations

from array import array

import cython

from core.errors import LogCorrupt

if cython.compiled:
    from cython.cimports.core.log.record import CRC_BYTES, HEAD_BYTES, JOINED, LINK, NATIVE, STORE, crc_range
    from cython.cimports.core.message import Message, new_message
    from cython.cimports.core.native import Native, signed
    from cython.cimports.core.wire import base64_bytes, rd8, rd16, rd32, rd64, rd_varint, same, take, varint_size
else:
    from core.log.record import CRC_BYTES, HEAD_BYTES, JOINED, LINK, NATIVE, STORE, crc_range
    from core.message import Message, new_message
    from core.native import Native, signed
    from core.wire import base64_bytes, rd8, rd16, rd32, rd64, rd_varint, same, take, varint_size

    BLANK, INVALID, CUT_SHORT, UNKNOWN = 0, -1, -2, -3  # what parse() returns instead of a size

MAGIC = cython.declare(cython.uint, 0xDAA320A7)
MAGIC_2 = cython.declare(cython.uint, 0xDAA320AB)  # of RocketMQ's second layout: a longer topic
BLANK_MAGIC = cython.declare(cython.uint, 0xCBD43194)
CRC_MASK = cython.declare(cython.uint, 0x7FFFFFFF)
MIN_BYTES = cython.declare(cython.Py_ssize_t, 88 + 1 + 2 + 20)
TOPICS = cython.declare(tuple, tuple(b"CORDUROY_" + kind for kind in (b"LOST", b"MESSAGE", b"STATE", b"DONE", b"LINK")))
AMQP_UNSEEN = cython.declare(cython.int, 2)  # an origin's number: see record.py
OWN_PREFIX = cython.declare(bytes, b"CORDUROY_")
CRC_NAME = cython.declare(bytes, b"__CRC32#\x01")


@cython.cfunc
def read_places(text: bytes, at: cython.Py_ssize_t):
    """Places from `at` to the end, as array of flat triples (queue id, queue offset, tags code)."""
    b: cython.p_uchar = text
    end: cython.Py_ssize_t = len(text)
    out = array("q")
    value: cython.ulonglong
    code: cython.longlong
    while at < end:
        value = rd_varint(b, at, end)
        at += varint_size(value)
        out.append(value >> 1)
        coded: cython.bint = value & 1
        value = rd_varint(b, at, end)
        at += varint_size(value)
        out.append(value)
        code = 0
        if coded:
            if at + 8 > end:
                raise ValueError("places do not end with a place")
            code = int.from_bytes(take(b, at, 8), "big", signed=True)
            at += 8
        out.append(code)
    return out


@cython.final
@cython.cclass
class View:
    """One record: kind, offset, size, queue_id, queue_offset, store_ms, born_ms, flag, sys_flag, body_size (with its
    block behind).

    joined        it counts only together with the next; a native one says nothing of that
    batch_offset  where its batch began; of a native one: -1, which says nothing
    """

    def __init__(self):
        self._buffer = None
        self.kind = 0
        self.offset = self.queue_offset = self.batch_offset = self.store_ms = 0
        self.size = self.body_size = self.flag = self.sys_flag = self.queue_id = 0
        self.born_ms = 0
        self.joined = False
        self._shift = self._topic_at = self._topic_bytes = 0
        self._at = self._body_at = self._properties_at = self._properties_end = 0
        self._q_at = self._q_end = self._address_at = self._address_end = self._expire_at = self._expire_end = 0
        self._origin_at = self._origin_end = self._tail_at = self._tail_end = self._from_at = self._from_end = 0

    @cython.ccall
    @cython.exceptval(-1)
    def parse(self, buffer: bytes, at: cython.Py_ssize_t, offset: cython.longlong) -> cython.Py_ssize_t:
        """Look at the record at `at`, which lies at `offset` in the log.

        Returns its size, BLANK for the filler at a segment's end, CUT_SHORT when it does not end in this buffer,
        INVALID: no record, not of this place, or its CRC is wrong, or UNKNOWN: one that only a newer version writes.
        """
        return self.parse_in(buffer, buffer, len(buffer) - at, at, offset)

    @cython.cfunc
    @cython.exceptval(-1)
    def parse_in(
        self,
        owner: object,
        b: cython.p_uchar,
        left: cython.Py_ssize_t,
        at: cython.Py_ssize_t,
        offset: cython.longlong,
    ) -> cython.Py_ssize_t:
        """parse(), in memory that stays while `owner` does; `left` = bytes from `at` to its end."""
        if left < 8:
            return CUT_SHORT
        magic: cython.uint = rd32(b, at + 4)
        size: cython.Py_ssize_t = rd32(b, at)
        if magic == BLANK_MAGIC:
            self.size = size
            return BLANK if size >= 8 else INVALID
        if magic != MAGIC and magic != MAGIC_2 or size < MIN_BYTES:
            return INVALID
        if left < HEAD_BYTES:
            return CUT_SHORT
        if rd64(b, at + 28) != cython.cast(cython.ulonglong, offset):
            return INVALID
        self.size = size
        if left < size:
            return CUT_SHORT
        self._buffer = owner
        self._bytes = b
        self._at = at
        self.offset = offset
        self._properties_end = at + size - CRC_BYTES
        if not self._lay_out(b, at, magic == MAGIC_2):
            if magic == MAGIC and self.sys_flag == 0:
                return INVALID
            self.kind = UNKNOWN  # whole, it is of a layout that is none of these
        if not self._verify(b, at):
            return INVALID
        return size if self.kind != UNKNOWN else UNKNOWN

    @cython.cfunc
    @cython.exceptval(check=False)
    def _lay_out(self, b: cython.p_uchar, at: cython.Py_ssize_t, wide: cython.bint) -> cython.bint:
        """Find body, topic and properties; False when their sizes do not add up to the record's. wide: the length of
        the topic has two bytes."""
        end: cython.Py_ssize_t = at + self.size
        self.sys_flag = rd32(b, at + 36)
        born_shift: cython.Py_ssize_t = 12 if self.sys_flag & 0x10 else 0
        self._shift = born_shift + (12 if self.sys_flag & 0x20 else 0)
        beside: cython.Py_ssize_t = MIN_BYTES + self._shift + wide
        if self.size < beside:
            return False
        self.body_size = rd32(b, at + 84 + self._shift)
        self._body_at = at + HEAD_BYTES + self._shift
        if self.body_size > self.size - beside:
            return False
        self._topic_at = self._body_at + self.body_size + 1 + wide
        self._topic_bytes = rd16(b, self._topic_at - 2) if wide else rd8(b, self._topic_at - 1)
        self._properties_at = self._topic_at + self._topic_bytes + 2
        if self._properties_at + CRC_BYTES > end:
            return False
        if self._properties_at + rd16(b, self._properties_at - 2) != end:
            return False
        self.flag = rd32(b, at + 16)
        self.queue_offset = rd64(b, at + 20)
        self.born_ms = rd64(b, at + 40)
        self.store_ms = rd64(b, at + 56 + born_shift)
        self.kind = self._kind_of(b, wide)
        if self.kind == NATIVE:
            self.queue_id = signed(rd32(b, at + 12))
            self.batch_offset = -1
            self.joined = False
        else:
            self.batch_offset = rd64(b, at + 76)
            self.joined = self.flag & JOINED != 0
        return True

    @cython.cfunc
    @cython.exceptval(check=False)
    def _kind_of(self, b: cython.p_uchar, wide: cython.bint) -> cython.int:
        """By the topic."""
        if self._topic_bytes < 9 or not same(b, self._topic_at, 9, OWN_PREFIX):
            return NATIVE if self._topic_bytes else UNKNOWN
        if wide or self.sys_flag:
            return UNKNOWN
        i: cython.int
        for i in range(5):
            if same(b, self._topic_at, self._topic_bytes, TOPICS[i]):
                return i
        return UNKNOWN

    @cython.cfunc
    @cython.exceptval(-1)
    def _verify(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.bint:
        """The CRC over everything before its own property."""
        crc_at: cython.Py_ssize_t = self._properties_end
        if not same(b, crc_at, 9, CRC_NAME) or b[crc_at + 19] != 2:
            return False
        stated: cython.ulonglong = 0
        i: cython.Py_ssize_t
        for i in range(crc_at + 18, crc_at + 8, -1):
            stated = stated * 10 + b[i] - 48
        return stated == crc_range(b, at, crc_at - at, 0) & CRC_MASK

    @cython.ccall
    def body(self) -> bytes:
        """The body, without a header block that rides behind it."""
        n: cython.Py_ssize_t = self.body_size
        if self.kind == STORE:
            self._find_properties(self._bytes)
            if self._tail_end:
                n -= self._decimal(self._bytes, self._tail_at, self._tail_end)
        return take(self._bytes, self._body_at, n)

    @cython.ccall
    @cython.exceptval(-1)
    def is_of(self, topic: bytes) -> cython.bint:
        """Whether that is the record's topic."""
        return same(self._bytes, self._topic_at, self._topic_bytes, topic)

    @cython.ccall
    def topic(self) -> bytes:
        """The name of its topic."""
        return take(self._bytes, self._topic_at, self._topic_bytes)

    @cython.ccall
    def native(self) -> Native:
        """The native message as it was stored, but for its tags code."""
        assert self.kind == NATIVE
        b: cython.p_uchar = self._bytes
        at: cython.Py_ssize_t = self._at + 48
        message: Native = Native(self.topic(), self.queue_id, self.body(), self.properties())
        message.flag, message.sys_flag = signed(self.flag), signed(self.sys_flag)
        message.born_ms, message.store_ms = self.born_ms, self.store_ms
        message.born_host = take(b, at, 20 if self.sys_flag & 0x10 else 8)
        at += len(message.born_host) + 8
        message.store_host = take(b, at, 20 if self.sys_flag & 0x20 else 8)
        at += len(message.store_host)
        message.reconsume_times = signed(rd32(b, at))
        message.prepared_offset = rd64(b, at + 4)
        message.queue_offset, message.offset, message.record_size = self.queue_offset, self.offset, self.size
        return message

    @cython.ccall
    def properties(self) -> bytes:
        """The property text, but for the CRC."""
        return take(self._bytes, self._properties_at, self._properties_end - self._properties_at)

    @cython.ccall
    @cython.exceptval(-1)
    def content_size(self) -> cython.Py_ssize_t:
        """Bytes of this stored message's body, without a header block that rides behind it. After places() only."""
        if self._tail_end == 0:
            return self.body_size
        return self.body_size - self._decimal(self._bytes, self._tail_at, self._tail_end)

    @cython.ccall
    def coded_places(self) -> bytes:
        """places(), as bytes: see record.py."""
        b: cython.p_uchar = self._bytes
        self._find_properties(b)
        return base64_bytes(b, self._q_at, self._q_end - self._q_at)

    @cython.ccall
    def places(self):
        """The queues that hold this stored message: array of flat triples (queue id, queue offset, tags code)."""
        assert self.kind == STORE
        return read_places(self.coded_places(), 0)

    @cython.ccall
    def moved_from(self):
        """Where this stored message was moved from: (queue id, queue offset), which it settles, or None. After
        places() only."""
        if self._from_end == 0:
            return None
        b: cython.p_uchar = self._bytes
        text: bytes = base64_bytes(b, self._from_at, self._from_end - self._from_at)
        queue_id: cython.ulonglong = rd_varint(text, 0, len(text))
        offset: cython.ulonglong = rd_varint(text, varint_size(queue_id), len(text))
        return queue_id, offset

    @cython.ccall
    def link(self):
        """Of a link: (log offset of the stored message, size of its record, places)."""
        assert self.kind == LINK
        text: bytes = self.body()
        offset: cython.ulonglong = rd_varint(text, 0, len(text))
        at: cython.Py_ssize_t = varint_size(offset)
        size: cython.ulonglong = rd_varint(text, at, len(text))
        return offset, size, read_places(text, at + varint_size(size))

    @cython.ccall
    def message(self) -> Message:
        """The stored message as it was."""
        assert self.kind == STORE
        b: cython.p_uchar = self._bytes
        self._find_properties(b)
        address: bytes = base64_bytes(b, self._address_at, self._address_end - self._address_at)
        a: cython.p_uchar = address
        end: cython.Py_ssize_t = len(address)
        vhost_n: cython.Py_ssize_t = rd_varint(a, 0, end)
        at: cython.Py_ssize_t = varint_size(vhost_n)
        vhost: bytes = address[at : at + vhost_n]
        at += vhost_n
        exchange_n: cython.Py_ssize_t = rd_varint(a, at, end)
        at += varint_size(exchange_n)
        exchange: bytes = address[at : at + exchange_n]
        at += exchange_n
        key_n: cython.Py_ssize_t = rd_varint(a, at, end)
        at += varint_size(key_n)
        key: bytes = address[at : at + key_n]
        body_size: cython.Py_ssize_t = self.body_size
        origin: bytes = b""
        if self._origin_end:
            origin = base64_bytes(b, self._origin_at, self._origin_end - self._origin_at)
        elif self._tail_end:
            tail: cython.Py_ssize_t = self._decimal(b, self._tail_at, self._tail_end)
            body_size -= tail
            origin = take(b, self._body_at + body_size, tail)
        header_at: cython.Py_ssize_t = 1
        if origin and origin[0] == AMQP_UNSEEN:
            header_at = 5 + int.from_bytes(origin[1:5], "big")
        body: bytes = take(b, self._body_at, body_size)
        message: Message = new_message(vhost, exchange, key, origin[header_at:], body, body_size)
        if header_at > 1:
            message.unseen = origin[5:header_at]
        message.offset = self.offset
        message.record_size = self.size
        message.store_ms = rd64(b, self._at + 40)  # the time at which it was stored first: this may be a copy
        message.persistent = self.flag & 1 != 0
        if self._expire_end:
            message.expire_at = self._decimal(b, self._expire_at, self._expire_end)
        return message

    @cython.cfunc
    @cython.exceptval(-1)
    def _decimal(self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
        """The decimal number from `at` to `end`."""
        value: cython.longlong = 0
        if end - at > 18:
            raise LogCorrupt(f"record at {self.offset}: a number of {end - at} digits")
        while at < end:
            if b[at] < 48 or b[at] > 57:
                raise LogCorrupt(f"record at {self.offset}: a number with the byte {b[at]}")
            value = value * 10 + b[at] - 48
            at += 1
        return value

    @cython.cfunc
    def _find_properties(self, b: cython.p_uchar):
        """Where the values lie of those properties that are ours."""
        at: cython.Py_ssize_t = self._properties_at
        end: cython.Py_ssize_t = self._properties_end
        name_at: cython.Py_ssize_t
        self._q_at = self._q_end = self._address_at = self._address_end = self._expire_end = 0
        self._origin_end = self._tail_end = self._from_end = 0
        while at < end:
            name_at = at
            while at < end and b[at] != 1:
                at += 1
            name_end: cython.Py_ssize_t = at
            while at < end and b[at] != 2:
                at += 1
            self._name(b, name_at, name_end - name_at, at)
            at += 1

    @cython.cfunc
    def _name(self, b: cython.p_uchar, at: cython.Py_ssize_t, n: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """Note the value of the property whose name has n bytes at `at`."""
        value_at: cython.Py_ssize_t = at + n + 1
        if same(b, at, n, b"__Q"):
            self._q_at, self._q_end = value_at, end
        elif same(b, at, n, b"__ADDRESS"):
            self._address_at, self._address_end = value_at, end
        elif same(b, at, n, b"__ORIGIN"):
            self._origin_at, self._origin_end = value_at, end
        elif same(b, at, n, b"EXPIRE_AT"):
            self._expire_at, self._expire_end = value_at, end
        elif same(b, at, n, b"__ORIGIN_TAIL"):
            self._tail_at, self._tail_end = value_at, end
        elif same(b, at, n, b"__FROM"):
            self._from_at, self._from_end = value_at, end
