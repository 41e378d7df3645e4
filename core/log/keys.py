"""The keys of messages, as pairs (hash of a key, log offset): what key blocks are made of.

Of AMQP's messages: what their protocol says is a key (KeyReader). Of native ones what RocketMQ's index has: UNIQ_KEY
and each word of KEYS as topic#key, TAGS as topic#T#tags. Source: RocketMQ's IndexService.buildIndex.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.log.sieve import lies
    from cython.cimports.core.wire import rd32
    from cython.cimports.libc.string import memchr
else:
    from core.log.sieve import lies
    from core.wire import rd32

    KEYS_MAX = 1024  # of one message: words of KEYS or x-keys that follow them are not found

BASIS = cython.declare(cython.ulonglong, 0xCBF29CE484222325)  # FNV-1a
PRIME = cython.declare(cython.ulonglong, 0x100000001B3)
MASK = (1 << 64) - 1
AMQP, AMQP_UNSEEN = cython.declare(cython.int, 1), cython.declare(cython.int, 2)  # an origin's number: see record.py
UNIQ_KEY, KEYS, TAGS = (
    cython.declare(bytes, b"UNIQ_KEY"),
    cython.declare(bytes, b"KEYS"),
    cython.declare(bytes, b"TAGS"),
)
SEPARATOR, TAG_SEPARATOR = cython.declare(bytes, b"#"), cython.declare(bytes, b"#T#")
NAME_END, VALUE_END = cython.declare(cython.uchar, 1), cython.declare(cython.uchar, 2)
BLANK = cython.declare(cython.uchar, 32)


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
def fold(value: cython.ulonglong, b: cython.p_uchar, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> cython.ulonglong:
    """FNV-1a of n bytes more than those that `value` stands for."""
    i: cython.Py_ssize_t
    for i in range(at, at + n):
        value = (value ^ b[i]) * PRIME
        if not cython.compiled:
            value &= MASK
    return value


def key_hash(key: bytes) -> int:
    """The hash of a key, 64 bits unsigned."""
    return fold(BASIS, key, 0, len(key))


def topic_key(topic: bytes, key: bytes) -> bytes:
    """What a native message with that UNIQ_KEY, or that word among its KEYS, is found by."""
    return topic + SEPARATOR + key


def topic_tag(topic: bytes, tags: bytes) -> bytes:
    """What a native message with these TAGS is found by."""
    return topic + TAG_SEPARATOR + tags


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_byte(
    b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, wanted: cython.uchar
) -> cython.Py_ssize_t:
    """Where that byte is next; `end` if there is none."""
    if cython.compiled:
        found: cython.p_uchar = (
            cython.cast(cython.p_uchar, memchr(b + at, wanted, end - at)) if at < end else cython.NULL
        )
        return found - b if found != cython.NULL else end
    else:
        while at < end and b[at] != wanted:
            at += 1
        return at


@cython.final
@cython.cclass
class KeyNotes:
    """Notes the pairs of one message after the other in `out`, which has room for KEYS_MAX more before each; count:
    how many there are by now."""

    def __init__(self, reader: KeyReader):
        self._reader = reader
        self.count = self._before = 0
        self._offset = 0
        self._names = (UNIQ_KEY, KEYS, TAGS, SEPARATOR, TAG_SEPARATOR)
        self._uniq_key, self._keys, self._tags, self._separator, self._tag_separator = self._names

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def begin(self, offset: cython.ulonglong) -> cython.void:
        """What follows is of the message whose record lies there."""
        self._offset = offset
        self._before = self.count

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def origin(
        self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, out: cython.p_longlong
    ) -> cython.void:
        """The keys of an origin: its protocol's number, perhaps what is unseen, and the header block."""
        if end - at < 3:
            return
        if b[at] == AMQP_UNSEEN and end - at > 5:
            at += 5 + cython.cast(cython.Py_ssize_t, rd32(b, at + 1))
        elif b[at] == AMQP:
            at += 1
        else:
            return
        if at < end:
            self.content(b, at, end, out)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def content(
        self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, out: cython.p_longlong
    ) -> cython.void:
        """The keys in a header block."""
        self._reader.find(b, at, end)
        if self._reader.id_bytes:
            self._put(fold(BASIS, b, self._reader.id_at, self._reader.id_bytes), out)
        if self._reader.words_bytes:
            self._words(BASIS, b, self._reader.words_at, self._reader.words_at + self._reader.words_bytes, out)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def native(
        self,
        topic: cython.p_uchar,
        topic_at: cython.Py_ssize_t,
        topic_bytes: cython.Py_ssize_t,
        b: cython.p_uchar,
        at: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        out: cython.p_longlong,
    ) -> cython.void:
        """The keys of a native message whose property text lies from `at` to `end`."""
        stop: cython.Py_ssize_t
        n: cython.Py_ssize_t
        value_at: cython.Py_ssize_t
        of_topic: cython.ulonglong = fold(BASIS, topic, topic_at, topic_bytes)
        while at < end:
            stop = find_byte(b, at, end, VALUE_END)
            n = find_byte(b, at, stop, NAME_END) - at
            value_at = at + n + 1
            if value_at < stop:
                if n == 8 and lies(b, at, self._uniq_key, 8):
                    self._put(fold(fold(of_topic, self._separator, 0, 1), b, value_at, stop - value_at), out)
                elif n == 4 and lies(b, at, self._keys, 4):
                    self._words(fold(of_topic, self._separator, 0, 1), b, value_at, stop, out)
                elif n == 4 and lies(b, at, self._tags, 4):
                    self._put(fold(fold(of_topic, self._tag_separator, 0, 3), b, value_at, stop - value_at), out)
            at = stop + 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _words(
        self,
        value: cython.ulonglong,
        b: cython.p_uchar,
        at: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        out: cython.p_longlong,
    ) -> cython.void:
        """Each of the words with blanks between them, as what follows `value`; room is left for UNIQ_KEY and TAGS."""
        word_at: cython.Py_ssize_t
        while at < end:
            word_at = at
            at = find_byte(b, at, end, BLANK)
            if at > word_at and self.count - self._before < KEYS_MAX - 2:
                self._put(fold(value, b, word_at, at - word_at), out)
            at += 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _put(self, value: cython.ulonglong, out: cython.p_longlong) -> cython.void:
        """Note one key."""
        place: cython.Py_ssize_t = 2 * self.count
        if self.count - self._before >= KEYS_MAX:
            return
        if cython.compiled:
            out[place] = cython.cast(cython.longlong, value)
        else:
            out[place] = value - (1 << 64) if value >> 63 else value
        out[place + 1] = self._offset
        self.count = self.count + 1  # not += 1: that needs Python's lock
