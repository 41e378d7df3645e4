"""Looking for the keys of the messages in a block of the log, and sorting and searching what was found.

As sieve.py it runs in a reader thread, without Python's lock. What of a message is a key: see keys.py. Whether a
message has the key that was asked for is seen when it is read: hashes may be the same.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import cython

if cython.compiled:
    from cython.cimports.core.log.keys import KEYS_MAX, KeyNotes, KeyReader
    from cython.cimports.core.log.record import CRC_BYTES, HEAD_BYTES, STORE
    from cython.cimports.core.log.sieve import BlockWalk, decode, lies
    from cython.cimports.core.wire import rd8, rd16, rd32
    from cython.cimports.libc.stdlib import qsort
else:
    from core.log.keys import KEYS_MAX, KeyNotes, KeyReader
    from core.log.record import CRC_BYTES, HEAD_BYTES, STORE
    from core.log.sieve import BlockWalk, decode, lies
    from core.wire import rd8, rd16, rd32

MIN_BYTES = cython.declare(cython.Py_ssize_t, 88 + 1 + 2 + 20)
SCRATCH_BYTES = 49152  # of what 64 KiB of base64 stand for
ORIGIN = cython.declare(bytes, b"__ORIGIN")
ORIGIN_TAIL = cython.declare(bytes, b"__ORIGIN_TAIL")
MAGIC_2 = cython.declare(cython.uint, 0xDAA320AB)  # of records whose topic's size has two bytes
BORN_V6, STORE_V6 = cython.declare(cython.uint, 0x10), cython.declare(cython.uint, 0x20)  # bits of the sys flag
ROLLBACK = cython.declare(cython.uint, 0xC)  # both of these
V6_BYTES = cython.declare(cython.Py_ssize_t, 12)  # that such a host is longer


class Keys(NamedTuple):
    """entries: flat pairs (hash, log offset) of what lies from `start` to `end` in the log; `why`, `size`
    as Sifted has them."""

    entries: array[int]
    start: int
    end: int
    why: int
    size: int


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
        self._notes = KeyNotes(reader)
        self._scratch = bytearray(SCRATCH_BYTES)
        self._decoded = self._scratch
        self._origin = ORIGIN
        self._origin_tail = ORIGIN_TAIL

    def sift(self, block: bytes, start: int) -> Keys:
        """Look at all records of a block whose first byte lies at log offset `start`, where a record begins."""
        most: cython.Py_ssize_t = len(block) // MIN_BYTES
        room = array("q", bytes(16 * (most + KEYS_MAX)))
        self._count_max = max(most, 1)
        self._notes.count = 0
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
        """See BlockWalk."""
        if kind == STORE:
            self._notes.begin(self._offset)
            self._stored(b, at, properties_at, out)
            self._count = self._notes.count

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _stored(
        self,
        b: cython.p_uchar,
        at: cython.Py_ssize_t,
        properties_at: cython.Py_ssize_t,
        out: cython.p_longlong,
    ) -> cython.void:
        """Of a stored message find the header block, among its properties or behind its body."""
        end: cython.Py_ssize_t = properties_at + rd16(b, properties_at - 2) - CRC_BYTES
        body_end: cython.Py_ssize_t = at + HEAD_BYTES + rd32(b, at + 84)
        name_at: cython.Py_ssize_t
        n: cython.Py_ssize_t
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
                self._notes.origin(self._decoded, 0, n, out)
                return
            if n == 13 and lies(b, name_at, self._origin_tail, 13):
                n = 0
                while value_at < at and 48 <= b[value_at] <= 57 and n < body_end:
                    n = 10 * n + b[value_at] - 48
                    value_at += 1
                if n <= body_end:
                    self._notes.origin(b, body_end - n, body_end, out)
                return
            at += 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _native(self, b: cython.p_uchar, at: cython.Py_ssize_t, out: cython.p_longlong) -> cython.void:
        """See BlockWalk: of a native message note the keys, if it was not rolled back and its sizes add up."""
        end: cython.Py_ssize_t = at + self._size
        flags: cython.uint = rd32(b, at + 36)
        shift: cython.Py_ssize_t = (V6_BYTES if flags & BORN_V6 else 0) + (V6_BYTES if flags & STORE_V6 else 0)
        wide: cython.bint = rd32(b, at + 4) == MAGIC_2
        body_size: cython.Py_ssize_t = rd32(b, at + 84 + shift) if self._size >= MIN_BYTES + shift + wide else end
        if body_size > self._size - MIN_BYTES - shift - wide or flags & ROLLBACK == ROLLBACK:
            return
        topic_at: cython.Py_ssize_t = at + HEAD_BYTES + shift + body_size + 1 + wide
        topic_bytes: cython.Py_ssize_t = rd16(b, topic_at - 2) if wide else rd8(b, topic_at - 1)
        at = topic_at + topic_bytes + 2
        if at + CRC_BYTES > end or at + rd16(b, at - 2) != end:
            return
        self._notes.begin(self._offset)
        self._notes.native(b, topic_at, topic_bytes, b, at, end - CRC_BYTES, out)
        self._count = self._notes.count
