"""Dead letters as RabbitMQ marks them: x-death and its kin in the header block.

x-death is an array of tables, the newest death first, one table per queue and reason: count, reason, queue, time
(timestamp in seconds), exchange, routing-keys (the key and those of CC), and original-expiration if the message had an
expiration, which is taken out. x-first-death-* says where it died first, x-last-death-* where last. All else stays as
it came, byte by byte; the new fields come last in the table.
Source: rabbit_dead_letter.erl of RabbitMQ 3.10 (x-death, cycles) and mc.erl of 3.13 (x-last-death-*).
"""

from __future__ import annotations

import cython

from protocols.amqp import tables
from protocols.amqp.copies import keys_of, unseen_keys

if cython.compiled:
    from cython.cimports.core.dead_letters import Dead, new_dead
    from cython.cimports.core.message import Message, new_message
    from cython.cimports.core.wire import put, put_range, rd16, rd32, rd64, same, take, wr8, wr16, wr32, wr64
    from cython.cimports.protocols.amqp.properties import Scan, end_of_value, scan_properties
else:
    from core.dead_letters import Dead, new_dead
    from core.message import Message, new_message
    from core.wire import put, put_range, rd16, rd32, rd64, same, take, wr8, wr16, wr32, wr64
    from protocols.amqp.properties import Scan, end_of_value, scan_properties

REJECTED = cython.declare(bytes, b"rejected")
NO_PROPERTIES = cython.declare(bytes, b"\x00\x00")
OUT_BYTES = 4096  # room for a header block, at first
COUNT_MAX = (1 << 63) - 1
TEXT = cython.declare(cython.int, 0x53)  # tags of values: S
TABLE, ARRAY = cython.declare(cython.int, 0x46), cython.declare(cython.int, 0x41)  # F, A
LONG, LONG_TOO = cython.declare(cython.int, 0x6C), cython.declare(cython.int, 0x4C)  # l, L
HEADERS_FLAG, EXPIRATION_FLAG = cython.declare(cython.int, 0x2000), cython.declare(cython.int, 0x0100)
CC = cython.declare(bytes, b"CC")
X_DEATH = cython.declare(bytes, b"x-death")
DEATHS_BEGIN = cython.declare(bytes, b"\x07x-deathA")
EXPIRATION_NAME = cython.declare(bytes, b"\x13original-expiration")
PARTS = (b"reason", b"queue", b"exchange")
FIRST = cython.declare(tuple, tuple([b"x-first-death-" + part for part in PARTS]))
LAST = cython.declare(tuple, tuple([b"x-last-death-" + part for part in PARTS]))


def text_field(name: bytes, value: bytes) -> bytes:
    """A field of a table with a long string."""
    return bytes((len(name),)) + name + b"S" + len(value).to_bytes(4, "big") + value


@cython.cfunc
@cython.exceptval(-2)
def field(header: bytes, at: cython.Py_ssize_t, end: cython.Py_ssize_t, name: bytes) -> cython.Py_ssize_t:
    """Where the type tag of the first field of that name is, among the fields header[at:end], or -1."""
    tag_at: cython.Py_ssize_t
    while at < end:
        tag_at = at + 1 + header[at]
        if same(header, at + 1, tag_at - at - 1, name):
            return tag_at
        at = end_of_value(header, tag_at, end, 1)
    return -1


@cython.cfunc
@cython.exceptval(-1)
def is_text(header: bytes, tag_at: cython.Py_ssize_t, text: bytes) -> cython.bint:
    """Whether the value whose tag is at `tag_at` (-1: there is none) is that long string."""
    return tag_at >= 0 and header[tag_at] == TEXT and same(header, tag_at + 5, rd32(header, tag_at + 1), text)


@cython.cfunc
@cython.exceptval(-1)
def one_of(header: bytes, at: cython.Py_ssize_t, size: cython.Py_ssize_t, names: tuple) -> cython.bint:
    """Whether the name of that size at `at` is one of them."""
    for name in names:  # noqa: SIM110 - a C loop
        if same(header, at, size, name):
            return True
    return False


@cython.cfunc
@cython.exceptval(-1)
def place_of_headers(header: bytes) -> cython.Py_ssize_t:
    """Where the headers belong in a block without any: behind content_type and content_encoding."""
    at: cython.Py_ssize_t = 2
    flags: cython.int = rd16(header, 0)
    if flags & 0x8000:
        at += 1 + header[at]
    if flags & 0x4000:
        at += 1 + header[at]
    return at


@cython.final
@cython.cclass
class Deaths:
    """Marks messages that died. What the deaths in one queue, for one reason, of messages of one exchange have in
    common is kept as bytes: see _remember()."""

    def __init__(self):
        self._scan = Scan()
        self._out = bytearray(OUT_BYTES)
        self._at = 0
        self._target = ""
        self._address = b""
        self._remember("", "", b"")

    @cython.ccall
    def stamp(self, message: Message, queue: str, reason: str, seconds: cython.longlong, target: tuple) -> Dead:
        """A message that died in `queue` at `seconds` since the epoch, on its way to target = (exchange, routing key,
        or None: by its own keys). The message itself is not changed; body and persistence are shared."""
        header: bytes = message.header if message.header else NO_PROPERTIES
        scan_properties(header, 0, len(header), self._scan)
        if queue != self._queue or reason != self._reason or message.exchange != self._exchange:
            self._remember(queue, reason, message.exchange)
        if target[0] != self._target:
            self._target = target[0]
            self._address = self._target.encode()
        key: bytes = target[1]
        keys: tuple = (message.routing_key,)
        if self._scan.copies:
            keys = (message.routing_key, *self._copies(header))
        passed: tuple = self._write(header, seconds, keys, key is not None)
        marked: Message = new_message(
            message.vhost,
            self._address,
            message.routing_key if key is None else key,
            take(self._out, 0, self._at),
            message.body,
            message.body_size,
        )
        marked.persistent = message.persistent
        if key is not None:
            return new_dead(marked, (key,), passed)
        if message.unseen:
            marked.unseen = message.unseen
            keys = (*keys, *unseen_keys(message.unseen))
        return new_dead(marked, keys, passed)

    def _copies(self, header: bytes) -> list[bytes]:
        """The keys that CC names; what is no array names none."""
        found = tables.decode(header, self._scan.headers_at, self._scan.headers_end)[0].get("CC")
        return keys_of(found) if isinstance(found, list) else []

    @cython.cfunc
    def _remember(self, queue: str, reason: str, exchange: bytes):
        """Encode what the deaths to come have in common: the fields around x-death; in its entry, what stands before
        the time and between the time and the keys; and the queues passed by a message that never died before."""
        self._queue, self._reason, self._exchange = queue, reason, exchange
        self._queue_text, self._reason_text = queue.encode(), reason.encode()
        values = (self._reason_text, self._queue_text, exchange)
        self._first = b"".join([text_field(name, value) for name, value in zip(FIRST, values, strict=True)])
        self._last = b"".join([text_field(name, value) for name, value in zip(LAST, values, strict=True)])
        count = b"\x05countl" + (1).to_bytes(8, "big")
        where = text_field(b"reason", self._reason_text) + text_field(b"queue", self._queue_text)
        self._begin = count + where + b"\x04timeT"
        self._end = text_field(b"exchange", exchange) + b"\x0crouting-keysA"
        self._here = () if self._reason_text == REJECTED else (queue,)

    @cython.cfunc
    def _put(self, data: bytes):
        put(self._out, self._at, data)
        self._at += len(data)

    @cython.cfunc
    def _put_range(self, header: bytes, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        put_range(self._out, self._at, header, at, end - at)
        self._at += end - at

    @cython.cfunc
    def _write(self, header: bytes, seconds: cython.longlong, keys: tuple, without_copies: cython.bint) -> tuple:
        """Write the marked header block to _out, up to _at; returns the queues that it passed: see Dead."""
        found: Scan = self._scan
        room: cython.Py_ssize_t = len(header) + len(self._first) + len(self._last) + len(self._begin) + len(self._end)
        for each in keys:
            room += len(cython.cast(bytes, each)) + 5
        if room + found.expiration_size + 128 > len(self._out):
            self._out = bytearray(2 * (room + found.expiration_size + 128))
        at: cython.Py_ssize_t = found.headers_at
        end: cython.Py_ssize_t = found.headers_end
        fields_at: cython.Py_ssize_t = at + 4
        if at < 0:
            at = end = fields_at = place_of_headers(header)
        wr16(self._out, 0, (rd16(header, 0) | HEADERS_FLAG) & ~EXPIRATION_FLAG)
        self._at = 2
        self._put_range(header, 2, at)
        size_at: cython.Py_ssize_t = self._at
        self._at += 4
        deaths_at: cython.Py_ssize_t = -1
        if fields_at < end:
            deaths_at = field(header, fields_at, end, X_DEATH)
            self._put_fields(header, fields_at, end, without_copies)
        if deaths_at < 0:
            self._put(self._first)
        self._put(self._last)
        self._put(DEATHS_BEGIN)
        passed: tuple = self._put_deaths(header, deaths_at, seconds, keys)
        wr32(self._out, size_at, self._at - size_at - 4)
        if found.expiration_at >= 0:
            self._put_range(header, end, found.expiration_at - 1)
            end = found.expiration_at + found.expiration_size
        self._put_range(header, end, len(header))
        return passed

    @cython.cfunc
    def _put_fields(self, header: bytes, at: cython.Py_ssize_t, end: cython.Py_ssize_t, without_copies: cython.bint):
        """Copy the fields header[at:end], but for those that are written anew."""
        anew: cython.bint = field(header, at, end, X_DEATH) < 0
        while at < end:
            size: cython.Py_ssize_t = header[at]
            field_end: cython.Py_ssize_t = end_of_value(header, at + 1 + size, end, 1)
            gone: cython.bint = without_copies and same(header, at + 1, size, CC)
            if size >= 7 and header[at + 1] == 0x78:  # x
                gone = same(header, at + 1, size, X_DEATH) or one_of(header, at + 1, size, LAST)
                gone = gone or (anew and one_of(header, at + 1, size, FIRST))
            if not gone:
                self._put_range(header, at, field_end)
            at = field_end

    @cython.cfunc
    def _put_deaths(self, header: bytes, tag_at: cython.Py_ssize_t, seconds: cython.longlong, keys: tuple) -> tuple:
        """Write the value of x-death, this death first, merged with an earlier one of the same queue and reason;
        tag_at = where the earlier ones are, or -1. Returns the queues that were passed."""
        size_at: cython.Py_ssize_t = self._at
        self._at += 4
        if tag_at < 0 or header[tag_at] != ARRAY:  # a client made something else of it: RabbitMQ begins anew
            self._put_new(header, seconds, keys)
            wr32(self._out, size_at, self._at - size_at - 4)
            return self._here
        at: cython.Py_ssize_t = tag_at + 5
        end: cython.Py_ssize_t = at + rd32(header, tag_at + 1)
        first: cython.Py_ssize_t = -1
        matches: cython.Py_ssize_t = 0
        others: list = []
        while at < end:
            if not self._is_here(header, at):
                others.append(at)
            else:
                matches += 1
                first = at if first < 0 else first
            at = end_of_value(header, at, end, 1)
        if first < 0:
            self._put_new(header, seconds, keys)
        else:
            self._put_again(header, first, matches)
        passed: list = list(self._here)
        passing: cython.bint = len(passed) > 0
        for item in others:
            at = item
            self._put_range(header, at, end_of_value(header, at, end, 1))
            passing = passing and header[at] == TABLE  # what a client put there is as good as a rejection
            if passing:
                inner_end: cython.Py_ssize_t = at + 5 + rd32(header, at + 1)
                passing = not is_text(header, field(header, at + 5, inner_end, b"reason"), REJECTED)
                name_at: cython.Py_ssize_t = field(header, at + 5, inner_end, b"queue")
                if passing and name_at >= 0 and header[name_at] == TEXT:
                    passed.append(tables.text_or_bytes(take(header, name_at + 5, rd32(header, name_at + 1))))
        wr32(self._out, size_at, self._at - size_at - 4)
        return self._here if len(passed) == len(self._here) else tuple(passed)

    @cython.cfunc
    @cython.exceptval(-1)
    def _is_here(self, header: bytes, at: cython.Py_ssize_t) -> cython.bint:
        """Whether the value whose tag is at `at` is a death in the same queue for the same reason."""
        if header[at] != TABLE:
            return False
        end: cython.Py_ssize_t = at + 5 + rd32(header, at + 1)
        if not is_text(header, field(header, at + 5, end, b"queue"), self._queue_text):
            return False
        return is_text(header, field(header, at + 5, end, b"reason"), self._reason_text)

    @cython.cfunc
    def _put_new(self, header: bytes, seconds: cython.longlong, keys: tuple):
        """Write the entry of a first death in this queue for this reason."""
        out: bytearray = self._out
        start: cython.Py_ssize_t = self._at
        wr8(out, start, TABLE)
        self._at += 5
        self._put(self._begin)
        wr64(out, self._at, seconds)
        self._at += 8
        self._put(self._end)
        keys_at: cython.Py_ssize_t = self._at
        self._at += 4
        for item in keys:
            key: bytes = item
            self._put_text(key)
        wr32(out, keys_at, self._at - keys_at - 4)
        if self._scan.expiration_at >= 0:
            self._put(EXPIRATION_NAME)
            at: cython.Py_ssize_t = self._scan.expiration_at
            self._put_text(take(header, at, self._scan.expiration_size))
        wr32(out, start + 1, self._at - start - 5)

    @cython.cfunc
    def _put_text(self, text: bytes):
        """A long string with its tag."""
        wr8(self._out, self._at, TEXT)
        wr32(self._out, self._at + 1, len(text))
        self._at += 5
        self._put(text)

    @cython.cfunc
    def _put_again(self, header: bytes, at: cython.Py_ssize_t, matches: cython.Py_ssize_t):
        """Write the entry at `at`, of which there are so many, with a count that is larger by one."""
        end: cython.Py_ssize_t = at + 5 + rd32(header, at + 1)
        count_at: cython.Py_ssize_t = field(header, at + 5, end, b"count")
        if count_at >= 0 and (header[count_at] == LONG or header[count_at] == LONG_TOO):
            to: cython.Py_ssize_t = self._at + count_at - at
            self._put_range(header, at, end)
            wr8(self._out, to, LONG)
            wr64(self._out, to + 1, rd64(header, count_at + 1) + 1)
            return
        entry = tables.decode(header, at + 1, end)[0]  # not as we write it
        known = entry.get("count", matches)
        count = known + 1 if isinstance(known, int) and known < COUNT_MAX else 1
        self._put(b"F" + tables.encode({**entry, "count": tables.Int64(count)}))
