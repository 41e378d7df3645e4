"""The bytes that every codec shares: big-endian integers, LEB128 varints, base64.

All work on (buffer, at): compiled, the buffer is a bare pointer into bytes or a bytearray, and **nothing here checks
that `at` lies inside it**: the caller has compared with its end first. Uncompiled, it is the object itself.
"""

from __future__ import annotations

import binascii

import cython

if cython.compiled:
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
    from cython.cimports.libc.string import memcmp, memcpy

VARINT_BYTES_MAX = 10
MASK_64 = (1 << 64) - 1
ALPHABET = cython.declare(bytes, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
PAD = cython.declare(cython.uint, 0x3D)  # "="
FOREIGN = cython.declare(cython.uint, 255)  # in SEXTETS: not of the alphabet


def _sextets() -> bytes:
    table = bytearray([255]) * 256
    for value, letter in enumerate(ALPHABET):
        table[letter] = value
    return bytes(table)


SEXTETS = cython.declare(bytes, _sextets())
PAIRS = cython.declare(bytes, b"".join([bytes((one, two)) for one in ALPHABET for two in ALPHABET]))  # by twelve bits


@cython.ccall
@cython.nogil
@cython.exceptval(check=False)
def rd8(b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.uint:
    """The byte at `at`."""
    return b[at]


@cython.ccall
@cython.nogil
@cython.exceptval(check=False)
def rd16(b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.uint:
    """Two bytes, big-endian."""
    return b[at] << 8 | b[at + 1]


@cython.ccall
@cython.nogil
@cython.exceptval(check=False)
def rd32(b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.uint:
    """Four bytes, big-endian, unsigned."""
    if cython.compiled:
        return cython.cast(cython.uint, b[at]) << 24 | b[at + 1] << 16 | b[at + 2] << 8 | b[at + 3]
    else:
        return int.from_bytes(b[at : at + 4], "big")


@cython.ccall
@cython.nogil
@cython.exceptval(check=False)
def rd64(b: cython.p_uchar, at: cython.Py_ssize_t) -> cython.ulonglong:
    """Eight bytes, big-endian, unsigned."""
    if cython.compiled:
        return cython.cast(cython.ulonglong, rd32(b, at)) << 32 | rd32(b, at + 4)
    else:
        return int.from_bytes(b[at : at + 8], "big")


@cython.ccall
@cython.exceptval(check=False)
def wr8(b: cython.p_uchar, at: cython.Py_ssize_t, value: cython.uint) -> cython.void:
    """Write the low byte of value."""
    b[at] = value & 0xFF


@cython.ccall
@cython.exceptval(check=False)
def wr16(b: cython.p_uchar, at: cython.Py_ssize_t, value: cython.uint) -> cython.void:
    """Write the low two bytes of value, big-endian."""
    b[at] = value >> 8 & 0xFF
    b[at + 1] = value & 0xFF


@cython.ccall
@cython.exceptval(check=False)
def wr32(b: cython.p_uchar, at: cython.Py_ssize_t, value: cython.uint) -> cython.void:
    """Write four bytes, big-endian."""
    if cython.compiled:
        b[at] = value >> 24 & 0xFF
        b[at + 1] = value >> 16 & 0xFF
        b[at + 2] = value >> 8 & 0xFF
        b[at + 3] = value & 0xFF
    else:
        b[at : at + 4] = (value & 0xFFFFFFFF).to_bytes(4, "big")


@cython.ccall
@cython.exceptval(check=False)
def wr64(b: cython.p_uchar, at: cython.Py_ssize_t, value: cython.ulonglong) -> cython.void:
    """Write eight bytes, big-endian; a negative C integer goes as its two's complement."""
    if cython.compiled:
        wr32(b, at, cython.cast(cython.uint, value >> 32))
        wr32(b, at + 4, cython.cast(cython.uint, value))
    else:
        b[at : at + 8] = (value & MASK_64).to_bytes(8, "big")


@cython.ccall
def take(b: cython.p_uchar, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> bytes:
    """A copy of n bytes."""
    if cython.compiled:
        return b[at : at + n]
    else:
        return bytes(b[at : at + n])


@cython.ccall
@cython.exceptval(check=False)
def put(b: cython.p_uchar, at: cython.Py_ssize_t, data: bytes) -> cython.void:
    """Copy data to `at`; there must be room for it."""
    if cython.compiled:
        memcpy(b + at, PyBytes_AS_STRING(data), len(data))
    else:
        b[at : at + len(data)] = data


@cython.ccall
@cython.exceptval(check=False)
def put_range(
    b: cython.p_uchar, at: cython.Py_ssize_t, source: cython.p_uchar, start: cython.Py_ssize_t, n: cython.Py_ssize_t
) -> cython.void:
    """Copy n bytes from `start` of source to `at`, which do not overlap; there must be room for them."""
    if cython.compiled:
        memcpy(b + at, source + start, n)
    else:
        b[at : at + n] = source[start : start + n]


@cython.ccall
@cython.exceptval(check=False)
def same(b: cython.p_uchar, at: cython.Py_ssize_t, n: cython.Py_ssize_t, text: bytes) -> cython.bint:
    """Whether the n bytes at `at` are `text`."""
    if n != len(text):
        return False
    if cython.compiled:
        return memcmp(b + at, PyBytes_AS_STRING(text), n) == 0
    else:
        return b[at : at + n] == text


@cython.ccall
@cython.exceptval(check=False)
def varint_size(value: cython.ulonglong) -> cython.Py_ssize_t:
    """How many bytes put_varint writes for value: 1 to 10."""
    n: cython.Py_ssize_t = 1
    while value > 0x7F:
        value >>= 7
        n += 1
    return n


@cython.ccall
@cython.exceptval(check=False)
def put_varint(b: cython.p_uchar, at: cython.Py_ssize_t, value: cython.ulonglong) -> cython.Py_ssize_t:
    """Write value as LEB128 (seven bits a byte, least significant first) and return the place behind it."""
    while value > 0x7F:
        b[at] = value & 0x7F | 0x80
        value >>= 7
        at += 1
    b[at] = value & 0x7F
    return at + 1


@cython.ccall
@cython.exceptval(0xFFFFFFFFFFFFFFFF, check=True)
def rd_varint(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.ulonglong:
    """The varint at `at`; varint_size(value) tells how long it was, since only the shortest form is taken.

    Raises ValueError when it does not end before `end`, is longer than needed, or exceeds 64 bits.
    """
    value: cython.ulonglong = 0
    shift: cython.int = 0
    byte: cython.ulonglong
    while at < end and shift < 70:
        byte = b[at]
        if shift == 63 and byte > 1:
            raise ValueError("varint exceeds 64 bits")
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift > 0:
                raise ValueError("varint is longer than it need be")
            return value
        shift += 7
        at += 1
    raise ValueError("varint does not end")


@cython.ccall
@cython.exceptval(check=False)
def base64_size(n: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """How many bytes put_base64 writes for n."""
    return (n + 2) // 3 * 4


@cython.ccall
@cython.exceptval(check=False)
def put_base64(
    b: cython.p_uchar, at: cython.Py_ssize_t, src: cython.p_uchar, n: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """Write the first n bytes of src as base64 (RFC 4648, padded) and return the place behind them."""
    if not cython.compiled:
        text = binascii.b2a_base64(bytes(src[:n]), newline=False)
        b[at : at + len(text)] = text
        return at + len(text)
    letters: cython.p_uchar = ALPHABET
    pairs: cython.p_uchar = PAIRS
    i: cython.Py_ssize_t = 0
    group: cython.uint
    while i + 2 < n:
        group = cython.cast(cython.uint, src[i]) << 16 | src[i + 1] << 8 | src[i + 2]
        memcpy(b + at, pairs + 2 * (group >> 12), 2)
        memcpy(b + at + 2, pairs + 2 * (group & 0xFFF), 2)
        at += 4
        i += 3
    if i < n:
        group = cython.cast(cython.uint, src[i]) << 16
        if i + 1 < n:
            group |= src[i + 1] << 8
        b[at] = letters[group >> 18]
        b[at + 1] = letters[group >> 12 & 63]
        b[at + 2] = letters[group >> 6 & 63] if i + 1 < n else PAD
        b[at + 3] = PAD
        at += 4
    return at


@cython.ccall
def base64_bytes(b: cython.p_uchar, at: cython.Py_ssize_t, n: cython.Py_ssize_t) -> bytes:
    """Decode n bytes of base64 text. Raises ValueError unless they are whole, padded groups of the alphabet."""
    if n % 4:
        raise ValueError(f"base64 text of {n} bytes is not whole groups of four")
    if not cython.compiled:
        return binascii.a2b_base64(bytes(b[at : at + n]), strict_mode=True)
    if n == 0:
        return b""
    end: cython.Py_ssize_t = at + n
    pads: cython.Py_ssize_t = (b[end - 1] == PAD) + (b[end - 1] == PAD and b[end - 2] == PAD)
    out: bytes = PyBytes_FromStringAndSize(cython.NULL, n // 4 * 3 - pads)
    to: cython.p_uchar = out
    values: cython.p_uchar = SEXTETS
    i: cython.Py_ssize_t = 0
    bad: cython.uint = 0
    one: cython.uint
    two: cython.uint
    three: cython.uint
    four: cython.uint
    while at < end:
        one, two = values[b[at]], values[b[at + 1]]
        three, four = values[b[at + 2]], values[b[at + 3]]
        if at + 4 == end and pads:
            three, four = (0 if pads == 2 else three), 0
        bad |= one | two | three | four
        to[i] = (one << 2 | two >> 4) & 0xFF
        if at + 4 < end or pads < 2:
            to[i + 1] = (two << 4 | three >> 2) & 0xFF
        if at + 4 < end or pads < 1:
            to[i + 2] = (three << 6 | four) & 0xFF
        i += 3
        at += 4
    if bad > 63:
        raise ValueError("base64 text holds a byte that is not of its alphabet")
    return out
