"""The fields of one remoting header, where they lie in the buffer: a value is made only when a handler asks for it.

A field is five numbers in one array, so that a header costs no object, however many fields it has.
"""

from __future__ import annotations

from array import array

import cython

if cython.compiled:
    from cython.cimports.core.wire import same, take
    from cython.cimports.protocols.remoting.json_text import find_byte, unescaped
else:
    from core.wire import same, take
    from protocols.remoting.json_text import find_byte, unescaped

    PLAIN, ESCAPED, NULL = 0, 1, 2  # its bytes are its text; it is a JSON string with a backslash in it; there is none

FIELDS_MAX = cython.declare(cython.Py_ssize_t, 256)
LETTERS = cython.declare(cython.Py_ssize_t, 128)  # names of one letter are found at once
PLACES = cython.declare(cython.Py_ssize_t, 5)  # per field: name at, its size, value at, its size, how it is written
NO_NUMBER = cython.declare(cython.longlong, -9223372036854775807)  # nobody sends it, nor the one below
LONG_MAX = cython.declare(cython.ulonglong, 9223372036854775807)
LONG_DIGITS = cython.declare(cython.Py_ssize_t, 19)
BACKSLASH = cython.declare(cython.uchar, 0x5C)
SHOWN_BYTES = cython.declare(cython.Py_ssize_t, 40)  # of a value that is refused


class FrameError(Exception):
    """Bytes that are no frame: nobody knows where the next one begins, so the connection is closed."""


class FieldError(Exception):
    """A field that is missing or holds no such value: the answer to that request is SYSTEM_ERROR with this text."""


@cython.cclass
class Fields:
    """`field_count` fields in `buffer`. Whatever gives text gives UTF-8 bytes: str is for who must have it.

    A name that is asked for is compared with what is written: RocketMQ has none with a character that JSON escapes.
    """

    def __init__(self):
        self.buffer = None
        self.field_count = 0
        self._memory = array("q", bytes(8 * PLACES * FIELDS_MAX))
        self._places = self._memory
        self._letters = array("q", bytes(8 * LETTERS))

    @cython.cfunc
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def _add(
        self, name_at: cython.Py_ssize_t, name_size: cython.Py_ssize_t, at: cython.Py_ssize_t, size: cython.Py_ssize_t,
        form: cython.longlong,
    ):  # fmt: skip
        """One field more."""
        i: cython.Py_ssize_t = PLACES * self.field_count
        if self.field_count >= FIELDS_MAX:
            raise FrameError(f"header with more than {FIELDS_MAX} fields")
        self._places[i] = name_at
        self._places[i + 1] = name_size
        self._places[i + 2] = at
        self._places[i + 3] = size
        self._places[i + 4] = form
        self.field_count += 1
        if name_size == 1:
            b: cython.p_uchar = self.buffer
            self._letters[b[name_at] & 0x7F] = i

    @cython.cfunc
    @cython.exceptval(-2)
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def _find(self, name: bytes) -> cython.Py_ssize_t:
        """The index of the field's places, or -1. Of two with one name the last counts, as in Java."""
        b: cython.p_uchar = self.buffer
        text: cython.p_uchar = name
        size: cython.Py_ssize_t = len(name)
        at: cython.Py_ssize_t
        i: cython.Py_ssize_t = PLACES * self.field_count
        if size == 1 and text[0] < LETTERS:  # what _add() left there may be another header's
            at = self._letters[text[0]]
            return at if at < i and self._places[at + 1] == 1 and b[self._places[at]] == text[0] else -1
        while i > 0:
            i -= PLACES
            if self._places[i + 1] == size:
                at = self._places[i]
                if size == 0 or b[at] == text[0] and same(b, at, size, name):
                    return i
        return -1

    @cython.cfunc
    def _text(self, at: cython.Py_ssize_t, size: cython.Py_ssize_t, form: cython.longlong):
        """The UTF-8 bytes of a value, or None. Raises FieldError."""
        if form == NULL:
            return None
        if form == PLAIN:
            return take(self.buffer, at, size)
        try:
            return unescaped(self.buffer, at, at + size)
        except ValueError as error:
            raise FieldError(f"a string of the header holds {error}") from None

    @cython.ccall
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def get(self, name: bytes):
        """The field's value as UTF-8 bytes, or None if it is not there or null. Raises FieldError."""
        i: cython.Py_ssize_t = self._find(name)
        if i < 0:
            return None
        return self._text(self._places[i + 2], self._places[i + 3], self._places[i + 4])

    @cython.ccall
    def text(self, name: bytes) -> bytes:
        """The field's value as UTF-8 bytes. Raises FieldError if it is missing."""
        value = self.get(name)
        if value is None:
            raise FieldError(missing(name))
        return value

    @cython.ccall
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def text_like(self, name: bytes, known: bytes) -> bytes:
        """text(), as `known` if it says the same: a name that comes over and over is one object, hashed once."""
        i: cython.Py_ssize_t = self._find(name)
        if i >= 0 and self._places[i + 4] == PLAIN:
            if same(self.buffer, self._places[i + 2], self._places[i + 3], known):
                return known
        return self.text(name)

    @cython.ccall
    @cython.exceptval(-1, check=True)
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def is_true(self, name: bytes) -> cython.bint:
        """Whether the field says true, in any case."""
        i: cython.Py_ssize_t = self._find(name)
        if i < 0 or self._places[i + 4] == NULL:
            return False
        if self._places[i + 4] == PLAIN and self._places[i + 3] != 4:
            return False
        return cython.cast(bytes, self.get(name)).lower() == b"true"

    @cython.ccall
    @cython.exceptval(-1, check=True)
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def number(self, name: bytes) -> cython.longlong:
        """The field's value as i64. Raises FieldError if it is missing or no number."""
        i: cython.Py_ssize_t = self._find(name)
        if i < 0 or self._places[i + 4] == NULL:
            raise FieldError(missing(name))
        return self._number_at(i, name)

    @cython.ccall
    @cython.exceptval(-1, check=True)
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def number_or(self, name: bytes, default: cython.longlong) -> cython.longlong:
        """The field's value as i64, or the default where it is missing. Raises FieldError if it is no number."""
        i: cython.Py_ssize_t = self._find(name)
        if i < 0 or self._places[i + 4] == NULL:
            return default
        return self._number_at(i, name)

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    @cython.boundscheck(False)
    @cython.wraparound(False)
    def _number_at(self, i: cython.Py_ssize_t, name: bytes) -> cython.longlong:
        at: cython.Py_ssize_t = self._places[i + 2]
        value: cython.longlong = decimal(self.buffer, at, at + self._places[i + 3])
        if value == NO_NUMBER:
            shown = take(self.buffer, at, min(self._places[i + 3], SHOWN_BYTES))
            raise FieldError(f"the custom field <{name.decode()}> is not a number: {as_text(shown)}")
        return value

    def fields(self) -> dict[str, str]:
        """All fields that are not null. Raises FieldError."""
        found: dict[str, str] = {}
        i: cython.Py_ssize_t
        for i in range(0, PLACES * self.field_count, PLACES):
            value = self._text(self._places[i + 2], self._places[i + 3], self._places[i + 4])
            if value is not None:
                found[as_text(self._name(i))] = as_text(value)
        return found

    @cython.cfunc
    def _name(self, i: cython.Py_ssize_t) -> bytes:
        at: cython.Py_ssize_t = self._places[i]
        size: cython.Py_ssize_t = self._places[i + 1]
        escaped = self.kind == 0 and has_escape(self.buffer, at, at + size)
        return self._text(at, size, ESCAPED if escaped else PLAIN)


def missing(name: bytes) -> str:
    """What RocketMQ says of a field that must be there."""
    return f"the custom field <{as_text(name)}> is null"


def as_text(data: bytes) -> str:
    """UTF-8 to str. Raises FieldError."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FieldError(f"a string of the header is not UTF-8: {error.reason}") from None


@cython.cfunc
@cython.exceptval(check=False)
def has_escape(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
    """Whether there is a backslash."""
    return find_byte(b, at, end, BACKSLASH) >= 0


@cython.cfunc
@cython.exceptval(check=False)
def decimal(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """The i64 that is written at [at, end), or NO_NUMBER if it is none, or one of the two least of all."""
    negative: cython.bint = at < end and b[at] == 0x2D
    value: cython.ulonglong = 0
    if negative or (at < end and b[at] == 0x2B):
        at += 1
    if at == end or end - at > LONG_DIGITS:
        return NO_NUMBER
    while at < end:
        if not 0x30 <= b[at] <= 0x39:
            return NO_NUMBER
        value = 10 * value + (b[at] - 0x30)
        at += 1
    if value > LONG_MAX:
        return NO_NUMBER
    number: cython.longlong = value
    return -number if negative else number
