"""What all records of the log share: RocketMQ's layout, always with the CRC of the whole record.

    0 size u32 | 4 magic u32 | 8 body crc u32 | 12 queue id i32 | 16 flag i32 | 20 queue offset i64 | 28 log offset i64
    36 sys flag i32 | 40 born ms i64 | 48 born host 8 | 56 store ms i64 | 64 store host 8 | 72 reconsume count i32
    76 prepared offset i64 | 84 body u32 + bytes | topic u8 + bytes | properties u16 + text

- Properties are name 0x01 value 0x02; the last is `__CRC32#`, ten decimal digits least significant first, over all
  bytes before it. Both CRCs are CRC-32 & 0x7fffffff, as RocketMQ computes them.
- Records of our own topics, whose names begin with CORDUROY_, are written by encoder.py, those of other topics by
  native_encoder.py. The prepared offset of ours holds the log offset at which the batch began that the record was
  written with: so recovery knows a torn batch from a damaged log.
- A host of IPv6 has 20 bytes (sys flag 0x10: born host, 0x20: store host), and all that follows lies 12 bytes further
  back. A topic of more than 127 bytes has the second magic, and a length of two bytes.
"""

from __future__ import annotations

import zlib

import cython

try:
    from isal.isal_zlib import crc32 as _crc32
except ImportError:  # no wheel for this machine
    from zlib import crc32 as _crc32

if cython.compiled:
    from cython.cimports.core.wire import put, wr32
    from cython.cimports.cpython.buffer import PyBUF_READ
    from cython.cimports.cpython.memoryview import PyMemoryView_FromMemory
else:
    from core.wire import put, wr32

    HEAD_BYTES = 88  # up to and with the body's length, with hosts of IPv4
    CRC_BYTES = 20
    INLINE_BODY_MAX = 16 << 10  # a longer body is not copied into the batch's pages
    PLACES_MAX = 256  # in one store record; more go into links of the same batch
    PLACE_FIELDS = 3  # queue id, queue offset, tags code
    PERSISTENT, JOINED = 1, 2  # bits of flag
    OTHER, STORE, STATE, DONE, LINK, NATIVE = 0, 1, 2, 3, 4, 5

OWN_TOPICS = b"CORDUROY_"  # how the names of all of ours begin
CRC_MASK = cython.declare(cython.uint, 0x7FFFFFFF)
CRC32 = cython.declare(object, _crc32)
CRC_NAME = cython.declare(bytes, b"__CRC32#\x01")
PROPERTIES_BYTES_MAX = 32767

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


@cython.cclass
class RecordWriter:
    """Writes one record whose size is known: a subclass plans it, and has its head, its body and what follows.

    Between the two the log sets offset, queue_offset, batch_offset and store_ms; head_bytes: up to the body.
    """

    def __init__(self):
        self._body = b""
        self._body_bytes = 0
        self.head_bytes = HEAD_BYTES
        self.offset = self.queue_offset = self.batch_offset = self.store_ms = self.size = 0

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
        end: cython.Py_ssize_t = at + self.head_bytes + self._body_bytes
        at = self._put_head(b, at)
        if self._put_body(b, at) != end:
            raise AssertionError("the body is not of its stated size")
        body: object = self._body
        crc: cython.uint
        if isinstance(body, bytes) and len(body) == self._body_bytes:
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
        Returns the place behind the tail."""
        start: cython.Py_ssize_t = at
        fragments: tuple = self._fragments()
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
        crc = crc_range(b, start, self.head_bytes, 0)
        for fragment in fragments:
            crc = CRC32(fragment, crc)
        at = self._put_properties(b, at)
        crc = crc_range(b, start + self.head_bytes, at - start - self.head_bytes, crc)
        at = put_crc(b, at, crc & CRC_MASK)
        self._body = None
        return at

    @cython.cfunc
    def _fragments(self) -> tuple:
        """What the body consists of."""
        body: object = self._body
        return body if isinstance(body, tuple) else (body,)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _put_head(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Everything before the body, but the body's CRC."""
        return at

    @cython.cfunc
    @cython.exceptval(-1)
    def _put_body(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Copy the body; never more than its stated size."""
        body: object = self._body
        room: cython.Py_ssize_t = self._body_bytes
        fragment: bytes
        if isinstance(body, bytes):
            fragment = body
            if len(fragment) > room:
                return -1
            put(b, at, fragment)
            return at + len(fragment)
        for fragment in body:
            room -= len(fragment)
            if room < 0:
                return -1
            put(b, at, fragment)
            at += len(fragment)
        return at

    @cython.cfunc
    @cython.exceptval(-1)
    def _put_properties(self, b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Topic and properties, but the CRC."""
        return at
