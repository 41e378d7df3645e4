"""JSON text read and written in place (RFC 8259): what headers need of it, without an object per value.

All work on (buffer, at, end): nothing at `end` or behind it is looked at. A place is negative where the text is broken.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.libc.string import memchr, memcpy

DIGITS_MAX = cython.declare(cython.Py_ssize_t, 19)
DEPTH_MAX = cython.declare(cython.int, 32)  # of values that are only skipped
BROKEN = cython.declare(cython.Py_ssize_t, -1)
QUOTE = cython.declare(cython.uchar, 0x22)
BACKSLASH = cython.declare(cython.uchar, 0x5C)
REPLACED = cython.declare(cython.uchar, 0x3F)  # "?": Java's for half a surrogate pair
HIGH_BITS = cython.declare(cython.ulonglong, 0x8080808080808080)
HEX = cython.declare(bytes, b"0123456789abcdef")


@cython.cfunc
@cython.exceptval(check=False)
def is_blank(c: cython.uchar) -> cython.bint:
    """Whether it is white space between tokens."""
    return c == 0x20 or c == 0x09 or c == 0x0A or c == 0x0D


@cython.ccall
@cython.exceptval(check=False)
def past_blanks(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The next place that holds no white space, or `end`."""
    while at < end and is_blank(b[at]):
        at += 1
    return at


@cython.ccall
@cython.exceptval(check=False)
def find_byte(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, c: cython.uchar) -> cython.Py_ssize_t:
    """The first place in [at, end) that holds c, or a negative number."""
    if cython.compiled:
        found: cython.p_uchar = cython.cast(cython.p_uchar, memchr(b + at, c, end - at)) if at < end else cython.NULL
        return found - b if found != cython.NULL else BROKEN
    else:
        return b.find(c, at, end)


@cython.ccall
@cython.exceptval(check=False)
def string_end(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The place of the quote that closes the string whose first character is at `at`."""
    stop: cython.Py_ssize_t = find_byte(b, at, end, QUOTE)
    at = find_byte(b, at, stop, BACKSLASH) if stop >= 0 else BROKEN
    if at < 0:
        return stop
    while at < end:
        if b[at] == QUOTE:
            return at
        at += 2 if b[at] == BACKSLASH else 1
    return BROKEN


@cython.ccall
@cython.exceptval(check=False)
def is_ascii(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
    """Whether all bytes of [at, end) are below 128."""
    if not cython.compiled:
        return bytes(b[at:end]).isascii()
    bits: cython.ulonglong = 0
    word: cython.ulonglong = 0
    while at + 8 <= end:
        memcpy(cython.address(word), b + at, 8)
        bits |= word
        at += 8
    while at < end:
        bits |= b[at]
        at += 1
    return (bits & HIGH_BITS) == 0


@cython.ccall
@cython.exceptval(check=False)
def scalar_end(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The place behind the number, true, false or null at `at`; of a number only its characters are checked."""
    start: cython.Py_ssize_t = at
    c: cython.uchar
    while at < end:
        c = b[at]
        if c == 0x2C or c == 0x7D or c == 0x5D or is_blank(c):  # , } ]
            break
        at += 1
    c = b[start] if at > start else 0
    if 0x30 <= c <= 0x39 or c == 0x2D:
        return at if _all_numeric(b, start, at) else BROKEN
    if at - start == 5 and _lies(b, start, b"false"):
        return at
    if at - start == 4 and (_lies(b, start, b"true") or _lies(b, start, b"null")):
        return at
    return BROKEN


@cython.cfunc
@cython.exceptval(check=False)
def _all_numeric(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
    c: cython.uchar
    while at < end:
        c = b[at]
        if not (0x30 <= c <= 0x39 or c == 0x2D or c == 0x2B or c == 0x2E or c == 0x65 or c == 0x45):  # - + . e E
            return False
        at += 1
    return True


@cython.cfunc
@cython.exceptval(check=False)
def _lies(b: cython.p_uchar, at: cython.Py_ssize_t, text: bytes) -> cython.bint:
    i: cython.Py_ssize_t = 0
    t: cython.p_uchar = text
    n: cython.Py_ssize_t = len(text)
    while i < n:
        if b[at + i] != t[i]:
            return False
        i += 1
    return True


@cython.ccall
@cython.exceptval(check=False)
def value_end(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The place behind the value at `at`, whatever it is: brackets are counted, what they enclose is not checked."""
    depth: cython.int = 0
    c: cython.uchar
    while True:
        at = past_blanks(b, at, end)
        if at >= end:
            return BROKEN
        c = b[at]
        if c == QUOTE:
            at = string_end(b, at + 1, end)
            if at < 0:
                return BROKEN
            at += 1
        elif c == 0x7B or c == 0x5B:  # { [
            depth += 1
            at += 1
        elif c == 0x7D or c == 0x5D:
            depth -= 1
            at += 1
        elif depth > 0 and (c == 0x2C or c == 0x3A):  # , :
            at += 1
        else:
            at = _token_end(b, at, end)
            if at < 0:
                return BROKEN
        if depth == 0:
            return at
        if depth < 0 or depth > DEPTH_MAX:
            return BROKEN


@cython.cfunc
@cython.exceptval(check=False)
def _token_end(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Behind a scalar, which may also be a bare key: Java's maps with numbers as keys have them."""
    stop: cython.Py_ssize_t = at
    while stop < end and b[stop] != 0x3A:
        if b[stop] == 0x2C or b[stop] == 0x7D or b[stop] == 0x5D or is_blank(b[stop]):
            break
        stop += 1
    return scalar_end(b, at, stop)


@cython.cfunc
@cython.exceptval(check=False)
def _hex4(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    value: cython.int = 0
    i: cython.Py_ssize_t
    c: cython.uchar
    if at + 4 > end:
        return -1
    for i in range(4):
        c = b[at + i]
        if 0x30 <= c <= 0x39:
            value = value << 4 | (c - 0x30)
        elif 0x41 <= (c & 0xDF) <= 0x46:
            value = value << 4 | ((c & 0xDF) - 0x37)
        else:
            return -1
    return value


@cython.ccall
def unescaped(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> bytes:
    """The UTF-8 bytes that the string's text [at, end) stands for. Raises ValueError for an escape that is none."""
    made: bytearray = bytearray(end - at)  # no escape is shorter than what it stands for
    out: cython.p_uchar = made
    to: cython.Py_ssize_t = 0
    code: cython.int
    low: cython.int
    c: cython.uchar
    while at < end:
        c = b[at]
        if c != BACKSLASH:
            out[to] = c
            to += 1
            at += 1
            continue
        c = b[at + 1] if at + 1 < end else 0
        at += 2
        if c != 0x75:
            code = _short_escape(c)
            if code < 0:
                raise ValueError("a backslash that begins no escape")
            out[to] = code
            to += 1
            continue
        code = _hex4(b, at, end)
        if code < 0:
            raise ValueError("\\u without four hexadecimal digits")
        at += 4
        if 0xD800 <= code < 0xDC00 and at + 1 < end and b[at] == BACKSLASH and b[at + 1] == 0x75:
            low = _hex4(b, at + 2, end)
            if 0xDC00 <= low < 0xE000:
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                at += 6
        to = _put_utf8(out, to, code)
    del made[to:]
    return bytes(made)


@cython.cfunc
@cython.exceptval(check=False)
def _short_escape(c: cython.uchar) -> cython.int:
    if c == QUOTE or c == BACKSLASH or c == 0x2F:
        return c
    if c == 0x6E:
        return 0x0A
    if c == 0x74:
        return 0x09
    if c == 0x72:
        return 0x0D
    if c == 0x62:
        return 0x08
    return 0x0C if c == 0x66 else -1


@cython.cfunc
@cython.exceptval(check=False)
def _put_utf8(out: cython.p_uchar, to: cython.Py_ssize_t, code: cython.int) -> cython.Py_ssize_t:
    if code < 0x80:
        out[to] = code
        return to + 1
    if code < 0x800:
        out[to] = 0xC0 | code >> 6
        out[to + 1] = 0x80 | code & 0x3F
        return to + 2
    if 0xD800 <= code < 0xE000:
        out[to] = REPLACED
        return to + 1
    if code < 0x10000:
        out[to] = 0xE0 | code >> 12
        out[to + 1] = 0x80 | code >> 6 & 0x3F
        out[to + 2] = 0x80 | code & 0x3F
        return to + 3
    out[to] = 0xF0 | code >> 18
    out[to + 1] = 0x80 | code >> 12 & 0x3F
    out[to + 2] = 0x80 | code >> 6 & 0x3F
    out[to + 3] = 0x80 | code & 0x3F
    return to + 4


@cython.ccall
@cython.exceptval(check=False)
def put_escaped(out: cython.p_uchar, to: cython.Py_ssize_t, text: bytes) -> cython.Py_ssize_t:
    """Write UTF-8 text as the inside of a JSON string, as fastjson does, and return the place behind it.
    There must be room for six times its bytes."""
    source: cython.p_uchar = text
    i: cython.Py_ssize_t
    n: cython.Py_ssize_t = len(text)
    digits: cython.p_uchar = HEX
    c: cython.uchar
    for i in range(n):
        c = source[i]
        if c >= 0x20 and c != QUOTE and c != BACKSLASH:
            out[to] = c
            to += 1
            continue
        out[to] = BACKSLASH
        if c >= 0x20:
            out[to + 1] = c
            to += 2
        elif c == 0x0A or c == 0x0D or c == 0x09 or c == 0x08 or c == 0x0C:
            out[to + 1] = _letter_of(c)
            to += 2
        else:
            out[to + 1] = 0x75
            out[to + 2] = out[to + 3] = 0x30
            out[to + 4] = digits[c >> 4]
            out[to + 5] = digits[c & 15]
            to += 6
    return to


@cython.ccall
@cython.exceptval(check=False)
def put_decimal(out: cython.p_uchar, to: cython.Py_ssize_t, value: cython.longlong) -> cython.Py_ssize_t:
    """Write a number's digits and return the place behind them; there must be room for 20 bytes. The least of all
    64-bit numbers is not for us."""
    rest: cython.ulonglong
    limit: cython.ulonglong = 10
    digits: cython.Py_ssize_t = 1
    if value < 0:
        out[to] = 0x2D
        to += 1
        value = -value
    rest = value
    while rest >= limit and digits < DIGITS_MAX:
        digits += 1
        limit *= 10
    at: cython.Py_ssize_t = to + digits
    while at > to:
        at -= 1
        out[at] = 0x30 + rest % 10
        rest //= 10
    return to + digits


@cython.cfunc
@cython.exceptval(check=False)
def _letter_of(c: cython.uchar) -> cython.uchar:
    if c == 0x0A:
        return 0x6E
    if c == 0x0D:
        return 0x72
    if c == 0x09:
        return 0x74
    return 0x62 if c == 0x08 else 0x66
