"""By what an AMQP message can be found: the property message_id, and the words of the header x-keys.

x-keys stands for RocketMQ's KEYS, where blanks separate them.
"""

from __future__ import annotations

from typing import Any

import cython

from protocols.amqp.content import Content

if cython.compiled:
    from cython.cimports.core.log.keys import KeyReader
    from cython.cimports.core.log.sieve import lies
    from cython.cimports.core.wire import rd16, rd32
else:
    from core.log.keys import KeyReader
    from core.log.sieve import lies
    from core.wire import rd16, rd32

KEYS = "x-keys"
FIELD = cython.declare(bytes, b"\x06x-keysS")  # name and type of the field, a long string
FIELD_BYTES = cython.declare(cython.Py_ssize_t, 8)
CONTENT_TYPE, CONTENT_ENCODING = cython.declare(cython.uint, 0x8000), cython.declare(cython.uint, 0x4000)
HEADERS, MESSAGE_ID = cython.declare(cython.uint, 0x2000), cython.declare(cython.uint, 0x0080)


def keys_of(content: Content) -> list[str]:
    """All that a message has."""
    found = [content.property_of("message_id")]
    words: Any = content.headers().get(KEYS)
    return [key for key in (*found, *(words.split(" ") if isinstance(words, str) else ())) if key]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def behind(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The place behind a short string; at least `end` when it does not end before."""
    return at + 1 + b[at] if at < end else end


@cython.final
@cython.cclass
class MessageKeys(KeyReader):
    """See KeyReader. Where x-keys seems to stand is not looked at twice: whoever reads the message sees."""

    def __init__(self):
        KeyReader.__init__(self)
        self._field = FIELD

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def find(self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.void:
        """See KeyReader."""
        flags: cython.uint
        table_end: cython.Py_ssize_t
        bit: cython.uint
        self.id_bytes = 0
        self.words_bytes = 0
        if end - at < 2:
            return
        flags = rd16(b, at)
        if not flags & (HEADERS | MESSAGE_ID):
            return
        at += 2
        if flags & CONTENT_TYPE:
            at = behind(b, at, end)
        if flags & CONTENT_ENCODING:
            at = behind(b, at, end)
        if flags & HEADERS:
            if end - at < 4:
                return
            table_end = at + 4 + cython.cast(cython.Py_ssize_t, rd32(b, at))
            if table_end > end:
                return
            self._find_words(b, at + 4, table_end)
            at = table_end
        at += (flags >> 12 & 1) + (flags >> 11 & 1)
        if not flags & MESSAGE_ID:
            return
        bit = 0x0400
        while bit > MESSAGE_ID:
            if flags & bit:
                at = behind(b, at, end)
            bit >>= 1
        if at < end and at + 1 + b[at] <= end:
            self.id_at = at + 1
            self.id_bytes = b[at]

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _find_words(self, b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.void:
        """Of a table's fields."""
        while at + FIELD_BYTES + 4 <= end:
            if b[at] == 6 and lies(b, at, self._field, FIELD_BYTES):
                at += FIELD_BYTES
                if at + 4 + cython.cast(cython.Py_ssize_t, rd32(b, at)) <= end:
                    self.words_at = at + 4
                    self.words_bytes = rd32(b, at)
                    return
            at += 1
