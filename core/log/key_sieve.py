"""The keys of the messages in a block of the log, as pairs (hash of a key, log offset): what key blocks are made of.

As sieve.py it runs in a reader thread, without Python's lock. What of a message's header block is a key its protocol
knows (KeyReader). Whether a message has the key that was asked for is seen when it is read: hashes may be the same.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import cython

if cython.compiled:
    from cython.cimports.core.log.record import CRC_BYTES, HEAD_BYTES, STORE
    from cython.cimports.core.log.sieve import BlockWalk, decode, lies
    from cython.cimports.core.wire import rd16, rd32
    from cython.cimports.libc.stdlib import qsort
else:
    from core.log.record import CRC_BYTES, HEAD_BYTES, STORE
    from core.log.sieve import BlockWalk, decode, lies
    from core.wire import rd16, rd32

KEYS_MAX = cython.declare(cython.Py_ssize_t, 64)  # of one message: what follows them is not found
MIN_BYTES = cython.declare(cython.Py_ssize_t, 88 + 1 + 2 + 20)
SCRATCH_BYTES = 49152  # of what 64 KiB of base64 stand for
BASIS = cython.declare(cython.ulonglong, 0xCBF29CE484222325)  # FNV-1a
PRIME = cython.declare(cython.ulonglong, 0x100000001B3)
MASK = (1 << 64) - 1
ORIGIN = cython.declare(bytes, b"__ORIGIN")
ORIGIN_TAIL = cython.declare(bytes, b"__ORIGIN_TAIL")
AMQP, AMQP_UNSEEN = cython.declare(cython.int, 1), cython.declare(cython.int, 2)  # an origin's number: see record.py


class Keys(NamedTuple):
    """entries: flat pairs (hash, log offset) of what lies from `start` to `end` in the log; `why`, `size`
    as Sifted has them."""

    entries: array[int]
    start: int
    end: int
    why: int
    size: int


@cython.cclass
class KeyReader:
    """Finds the keys in a header block. A protocol's subclass sets id_at and id_bytes, of the message's id, words_at
    and words_bytes, of keys with blanks between them; 0 bytes: there is none."""

    def __init__(self):
        self.id_at = self.id_bytes = self.words_at = self.words_bytes = 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def find(self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.void:
        """Of the block from `at` to `end`, which may be anything."""
        self.id_bytes = self.words_bytes = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def hash_of(b: cython.p_uchar, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.ulonglong:
    """FNV-1a of n bytes."""
    value: cython.ulonglong = BASIS
    i: cython.Py_ssize_t
    for i in range(at, at + n):
        value = (value ^ b[i]) * PRIME
        if not cython.compiled:
            value &= MASK
    return value


def key_hash(key: bytes) -> int:
    """The hash of a key, 64 bits unsigned."""
    return hash_of(key, 0, len(key))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compare(one: cython.p_const_void, other: cython.p_const_void) -> cython.int:
    """For qsort: by hash, then by log offset."""
    a: cython.p_ulonglong = cython.cast(cython.p_ulonglong, one)
    b: cython.p_ulonglong = cython.cast(cython.p_ulonglong, other)
    if a[0] != b[0]:
        return -1 if a[0] < b[0] else 1
    return -1 if a[1] < b[1] else a[1] > b[1]


def sort_entries(entries: array) -> array:
    """The pairs by hash, then by log offset; compiled, in place and without Python's lock."""
    if cython.compiled:
        if len(entries):
            view: cython.ulonglong[::1] = entries
            flat: cython.p_ulonglong = cython.address(view[0])
            count: cython.Py_ssize_t = len(entries) // 2
            with cython.nogil:
                qsort(flat, count, 16, compare)
    else:
        pairs = sorted(zip(entries[::2], entries[1::2], strict=True))
        entries = array("Q", [number for pair in pairs for number in pair])
    return entries


def search_entries(entries: array, wanted: int) -> list:
    """The log offsets that unsorted pairs have for a hash."""
    found = []
    if cython.compiled and len(entries):
        view: cython.ulonglong[::1] = entries
        flat: cython.p_ulonglong = cython.address(view[0])
        value: cython.ulonglong = wanted
        n: cython.Py_ssize_t = len(entries)
        i: cython.Py_ssize_t = 0
        while i < n:
            with cython.nogil:
                while i < n and flat[i] != value:
                    i += 2
            if i < n:
                found.append(flat[i + 1])
                i += 2
    else:
        found = [entries[i + 1] for i in range(0, len(entries), 2) if entries[i] == wanted]
    return found


@cython.final
@cython.cclass
class KeySieve(BlockWalk):
    """One thread at a time uses it."""

    def __init__(self, reader: KeyReader):
        BlockWalk.__init__(self)
        self._reader = reader
        self._scratch = bytearray(SCRATCH_BYTES)
        self._decoded = self._scratch
        self._origin = ORIGIN
        self._origin_tail = ORIGIN_TAIL
        self._before = 0

    def sift(self, block: bytes, start: int) -> Keys:
        """Look at all records of a block whose first byte lies at log offset `start`, where a record begins."""
        most: cython.Py_ssize_t = len(block) // MIN_BYTES
        room = array("q", bytes(16 * (most + KEYS_MAX)))
        self._count_max = max(most, 1)
        why: cython.int = self._search(block, start, room)
        entries = array("Q")
        entries.frombytes(memoryview(room)[: 2 * self._count].tobytes())
        return Keys(entries, start, start + self._at, why, self._size)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _take(
        self,
        kind: cython.int,
        b: cython.p_uchar,
        at: cython.Py_ssize_t,
        properties_at: cython.Py_ssize_t,
        out: cython.p_longlong,
    ) -> cython.void:
        """See BlockWalk: of a stored message find the header block, among its properties or behind its body."""
        end: cython.Py_ssize_t = properties_at + rd16(b, properties_at - 2) - CRC_BYTES
        body_end: cython.Py_ssize_t = at + HEAD_BYTES + rd32(b, at + 84)
        name_at: cython.Py_ssize_t
        n: cython.Py_ssize_t
        if kind != STORE:
            return
        self._before = self._count
        at = properties_at
        while at < end:
            name_at = at
            while at < end and b[at] != 1:
                at += 1
            n = at - name_at
            at += 1
            value_at: cython.Py_ssize_t = at
            while at < end and b[at] != 2:
                at += 1
            if n == 8 and lies(b, name_at, self._origin, 8):
                n = decode(b, value_at, at, self._decoded)
                self._read(self._decoded, 0, n, out)
                return
            if n == 13 and lies(b, name_at, self._origin_tail, 13):
                n = 0
                while value_at < at and 48 <= b[value_at] <= 57 and n < body_end:
                    n = 10 * n + b[value_at] - 48
                    value_at += 1
                if n <= body_end:
                    self._read(b, body_end - n, body_end, out)
                return
            at += 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _read(
        self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, out: cython.p_longlong
    ) -> cython.void:
        """Note the keys of an origin: its protocol's number, perhaps what is unseen, and the header block."""
        if end - at < 3:
            return
        if b[at] == AMQP_UNSEEN and end - at > 5:
            at += 5 + cython.cast(cython.Py_ssize_t, rd32(b, at + 1))
        elif b[at] == AMQP:
            at += 1
        else:
            return
        if at >= end:
            return
        self._reader.find(b, at, end)
        if self._reader.id_bytes:
            self._put(b, self._reader.id_at, self._reader.id_bytes, out)
        at = self._reader.words_at
        end = at + self._reader.words_bytes
        while at < end:
            word_at: cython.Py_ssize_t = at
            while at < end and b[at] != 32:
                at += 1
            if at > word_at:
                self._put(b, word_at, at - word_at, out)
            at += 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _put(
        self, b: cython.p_uchar, at: cython.Py_ssize_t, n: cython.Py_ssize_t, out: cython.p_longlong
    ) -> cython.void:
        """Note one key of the record that is looked at."""
        value: cython.ulonglong = hash_of(b, at, n)
        place: cython.Py_ssize_t = 2 * self._count
        if self._count - self._before >= KEYS_MAX:
            return
        if cython.compiled:
            out[place] = cython.cast(cython.longlong, value)
        else:
            out[place] = value - (1 << 64) if value >> 63 else value
        out[place + 1] = self._offset
        self._count = self._count + 1
