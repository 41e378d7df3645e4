"""Finding in a block of the log what entered one queue, or was published to one exchange.

It runs in a reader thread, without Python's lock: only what was found costs the loop anything. A record is not verified
here but where its message is read; what is no record ends the walk.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import cython

if cython.compiled:
    from cython.cimports.core.log.record import CRC_BYTES, HEAD_BYTES, LINK, STORE
    from cython.cimports.core.log.view import BLANK, CUT_SHORT, INVALID
    from cython.cimports.core.wire import rd8, rd16, rd32, rd64
else:
    from core.log.record import CRC_BYTES, HEAD_BYTES, LINK, STORE
    from core.log.view import BLANK, CUT_SHORT, INVALID
    from core.wire import rd8, rd16, rd32, rd64

MAGIC = cython.declare(cython.uint, 0xDAA320A7)
MAGIC_2 = cython.declare(cython.uint, 0xDAA320AB)
BLANK_MAGIC = cython.declare(cython.uint, 0xCBD43194)
MIN_BYTES = cython.declare(cython.Py_ssize_t, 88 + 1 + 2 + 20)
STORE_TOPIC_BYTES = cython.declare(cython.uint, 16)  # CORDUROY_MESSAGE; no other of ours is as long
LINK_TOPIC_BYTES = cython.declare(cython.uint, 13)  # as CORDUROY_DONE and CORDUROY_LOST have: two letters tell
LETTER_L = cython.declare(cython.uint, 76)
LETTER_I = cython.declare(cython.uint, 73)
OWN_PREFIX = cython.declare(bytes, b"CORDUROY_")
Q_NAME = cython.declare(bytes, b"__Q")
ADDRESS_NAME = cython.declare(bytes, b"__ADDRESS")
SCRATCH_BYTES = 49152  # of what 64 KiB of base64 stand for
PLACE_FIELDS = 3


class Sifted(NamedTuple):
    """A block that was read at log offset `start`, and what is in it.

    found   array of flat triples: log offset and size of a message's record, which a link may place before the block;
            its offset in the queue, 0 where an exchange was asked for
    end     log offset of the first record that was not looked at, because of `why`: BLANK or CUT_SHORT, then `size`
            is that record's as far as it is known, else 0; INVALID: there is none
    """

    block: bytes
    start: int
    found: array[int]
    end: int
    why: int
    size: int


def exchange_prefix(vhost: bytes, exchange: bytes) -> bytes:
    """How the address of every message begins that was published to that exchange."""
    return _sized(vhost) + _sized(exchange)


def _sized(text: bytes) -> bytes:
    size, out = len(text), b""
    while size > 0x7F:
        out += bytes([size & 0x7F | 0x80])
        size >>= 7
    return out + bytes([size]) + text


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def sextet(letter: cython.uint) -> cython.uint:
    """What a letter of base64 stands for; 64 = it is none."""
    if 65 <= letter <= 90:
        return letter - 65
    if 97 <= letter <= 122:
        return letter - 71
    if 48 <= letter <= 57:
        return letter + 4
    return 62 if letter == 43 else 63 if letter == 47 else 64


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def decode(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, to: cython.p_uchar) -> cython.Py_ssize_t:
    """Write what the base64 text from `at` to `end` stands for, and return how many bytes that are; -1: it is none."""
    i: cython.Py_ssize_t = 0
    held: cython.uint = 0
    bits: cython.int = 0
    value: cython.uint
    while at < end and b[at] != 61:
        value = sextet(b[at])
        if value > 63:
            return -1
        held = (held << 6 | value) & 0xFFFF
        bits += 6
        if bits >= 8:
            bits -= 8
            to[i] = held >> bits & 0xFF
            i += 1
        at += 1
    return i


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lies(b: cython.p_uchar, at: cython.Py_ssize_t, text: cython.p_uchar, n: cython.Py_ssize_t) -> cython.bint:
    """Whether the n bytes of text lie at `at`."""
    i: cython.Py_ssize_t = 0
    while i < n and b[at + i] == text[i]:
        i += 1
    return i == n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_link(b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.bint:
    """Whether a topic of LINK_TOPIC_BYTES is a link's."""
    return b[at + 9] == LETTER_L and b[at + 10] == LETTER_I


@cython.cclass
class BlockWalk:
    """Goes from record to record of a block. A subclass says what of each it wants, and how much it has room for."""

    def __init__(self):
        self._at = self._size = self._count = 0
        self._count_max = 1 << 30
        self._offset = 0
        self._own_prefix = OWN_PREFIX
        self._own = self._own_prefix

    @cython.cfunc
    @cython.exceptval(-9)
    def _search(self, block: bytes, start: cython.ulonglong, room: object) -> cython.int:
        """_walk() a block whose first byte lies at log offset `start`, without Python's lock; what is wanted goes into
        room, an array of i64."""
        found: cython.p_longlong
        if cython.compiled:
            view: cython.longlong[::1] = room
            found = cython.address(view[0])
        else:
            found = room
        b: cython.p_uchar = block
        n: cython.Py_ssize_t = len(block)
        why: cython.int
        self._at = self._size = self._count = 0
        with cython.nogil:
            why = self._walk(b, n, start, found)
        return why

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _walk(
        self, b: cython.p_uchar, n: cython.Py_ssize_t, start: cython.ulonglong, found: cython.p_longlong
    ) -> cython.int:
        """From record to record; returns why it ended."""
        at: cython.Py_ssize_t = 0
        left: cython.Py_ssize_t
        size: cython.Py_ssize_t
        while True:
            left = n - at
            self._at = at
            self._size = 0
            if left < 8:
                return CUT_SHORT
            size = rd32(b, at)
            if rd32(b, at + 4) == BLANK_MAGIC:
                self._size = size
                return BLANK
            if rd32(b, at + 4) != MAGIC and rd32(b, at + 4) != MAGIC_2 or size < MIN_BYTES:
                return INVALID
            if left < HEAD_BYTES:
                return CUT_SHORT
            if rd64(b, at + 28) != start + at:
                return INVALID
            self._size = size
            if left < size:
                return CUT_SHORT
            self._offset = start + at
            if rd32(b, at + 4) != MAGIC or rd32(b, at + 36):
                self._native(b, at, found)
            elif not self._look(b, at, found):
                return INVALID
            at += size
            if self._count >= self._count_max:
                self._at = at
                self._size = 0
                return CUT_SHORT

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _look(self, b: cython.p_uchar, at: cython.Py_ssize_t, found: cython.p_longlong) -> cython.bint:
        """Take what is wanted of one record; False: its sizes do not add up."""
        end: cython.Py_ssize_t = at + self._size
        body_size: cython.Py_ssize_t = rd32(b, at + 84)
        if body_size > self._size - MIN_BYTES:
            return False
        topic_at: cython.Py_ssize_t = at + HEAD_BYTES + body_size + 1
        topic_bytes: cython.uint = rd8(b, topic_at - 1)
        properties_at: cython.Py_ssize_t = topic_at + topic_bytes + 2
        if properties_at + CRC_BYTES > end or properties_at + rd16(b, properties_at - 2) != end:
            return False
        kind: cython.int = 0
        if topic_bytes < LINK_TOPIC_BYTES or not lies(b, topic_at, self._own, 9):
            self._native(b, at, found)
            return True
        if topic_bytes == STORE_TOPIC_BYTES:
            kind = STORE
        elif topic_bytes == LINK_TOPIC_BYTES and is_link(b, topic_at):
            kind = LINK
        if kind:
            self._take(kind, b, at, properties_at, found)
        return True

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _take(
        self,
        kind: cython.int,
        b: cython.p_uchar,
        at: cython.Py_ssize_t,
        properties_at: cython.Py_ssize_t,
        found: cython.p_longlong,
    ) -> cython.void:
        """Note what is wanted of a stored message or a link that lies at `at`."""
        self._count = 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _native(self, b: cython.p_uchar, at: cython.Py_ssize_t, found: cython.p_longlong) -> cython.void:
        """Note what is wanted of a native message that lies at `at`."""
        self._size = self._size


@cython.final
@cython.cclass
class Sieve(BlockWalk):
    """What is wanted: messages that entered the queue of that id, or (queue_id 0) whose address begins with `prefix`,
    and in either case that were stored at `since_ms` or later. Of an exchange no copies that retention made: their
    messages were published before. One thread at a time uses it."""

    def __init__(self, queue_id: int, prefix: bytes = b"", since_ms: int = 0):
        BlockWalk.__init__(self)
        self._queue_id = queue_id
        self._since_ms = since_ms
        self._address = prefix
        self._scratch = bytearray(SCRATCH_BYTES)
        self._decoded = self._scratch
        self._prefix = self._address
        self._q_name = Q_NAME
        self._address_name = ADDRESS_NAME
        self._prefix_bytes = len(prefix)
        self._message_at = self._message_size = 0

    def sift(self, block: bytes, start: int) -> Sifted:
        """Look at all records of a block whose first byte lies at log offset `start`, where a record begins."""
        room = array("q", bytes(8 * PLACE_FIELDS * (len(block) // MIN_BYTES + 1)))
        why: cython.int = self._search(block, start, room)
        return Sifted(block, start, room[: PLACE_FIELDS * self._count], start + self._at, why, self._size)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _take(
        self,
        kind: cython.int,
        b: cython.p_uchar,
        at: cython.Py_ssize_t,
        properties_at: cython.Py_ssize_t,
        found: cython.p_longlong,
    ) -> cython.void:
        """See BlockWalk."""
        unit: cython.longlong = -1
        end: cython.Py_ssize_t = at + self._size
        body_size: cython.Py_ssize_t = rd32(b, at + 84)
        if rd64(b, at + 40) < cython.cast(cython.ulonglong, self._since_ms):
            return
        self._message_at = self._offset
        self._message_size = self._size
        if kind == LINK:
            if self._queue_id:
                unit = self._unit_in(b, at + HEAD_BYTES, at + HEAD_BYTES + body_size, 2)
        elif self._queue_id or rd64(b, at + 40) == rd64(b, at + 56):  # else it is a copy
            unit = self._stored(b, properties_at, end - CRC_BYTES)
        if unit >= 0:
            place: cython.Py_ssize_t = 3 * self._count
            found[place] = self._message_at
            found[place + 1] = self._message_size
            found[place + 2] = unit
            self._count = self._count + 1  # not += 1: that needs Python's lock

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _stored(self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
        """Of a stored message whose properties lie from `at` to `end`: its offset in the queue, 0 when it was published
        to the exchange, -1 when neither."""
        name_at: cython.Py_ssize_t
        n: cython.Py_ssize_t
        while at < end:
            name_at = at
            while at < end and b[at] != 1:
                at += 1
            n = at - name_at
            at += 1
            value_at: cython.Py_ssize_t = at
            while at < end and b[at] != 2:
                at += 1
            if self._queue_id:
                if n == 3 and lies(b, name_at, self._q_name, 3):
                    n = decode(b, value_at, at, self._decoded)
                    return self._unit_in(self._decoded, 0, n, 0)
            elif n == 9 and lies(b, name_at, self._address_name, 9):
                n = decode(b, value_at, at, self._decoded)
                if n >= self._prefix_bytes and lies(self._decoded, 0, self._prefix, self._prefix_bytes):
                    return 0
                return -1
            at += 1
        return -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _unit_in(
        self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, skipped: cython.int
    ) -> cython.longlong:
        """The offset that coded places (record.py) name for the queue, -1 = they do not. A link's `skipped` two numbers
        before them say which message it belongs to."""
        value: cython.ulonglong
        owner: cython.ulonglong = 0
        shift: cython.int
        field: cython.int = -skipped
        wanted: cython.ulonglong = self._queue_id
        while at < end:
            value = 0
            shift = 0
            while at < end and b[at] > 0x7F and shift < 63:
                value |= cython.cast(cython.ulonglong, b[at] & 0x7F) << shift
                shift += 7
                at += 1
            if at == end:
                return -1
            value |= cython.cast(cython.ulonglong, b[at]) << shift
            at += 1
            if field < 0:
                if field == -2:
                    self._message_at = value
                else:
                    self._message_size = value
                field += 1
            elif field == 0:
                owner = value
                field = 1
            else:
                if owner >> 1 == wanted:
                    return value
                if owner & 1:
                    at += 8  # a tags code
                field = 0
        return -1
