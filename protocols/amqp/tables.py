"""AMQP 0-9-1 field tables, with the types as RabbitMQ reads them (its errata differ from the spec for s and L).

    table  size u32 | (key size u8 | key | value)*        value  tag | payload
    tag  RabbitMQ's name  Python here    payload       tag  RabbitMQ's name  Python here    payload
    t    bool             bool           u8            f    float            Float32        IEEE 32
    b    byte             Int8           i8            d    double           float          IEEE 64
    B    unsignedbyte     UInt8          u8            D    decimal          ScaledDecimal  scale u8, unscaled u32
    s    short            Int16          i16           T    timestamp        Timestamp      seconds u64
    u    unsignedshort    UInt16         u16           S    longstr          str, or bytes  size u32 + bytes
    I    signedint        int            i32           x    binary           Binary         size u32 + bytes
    i    unsignedint      UInt32         u32           F    table            dict           a table
    l    long             Int64          i64           A    array            list           size u32 + values
    L    long             Int64L         i64           V    void             None           nothing

A value remembers its type, so encode(decode(x)) == x for every legal table. Of the illegal ones, a bool octet above 1
is read as true, and of two equal keys (forbidden, spec 4.2.5.5) the first counts, as in RabbitMQ. A plain int that
does not fit 32 bits is encoded as `l`; an S that is not UTF-8 is bytes; keys must be UTF-8.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from protocols.amqp.errors import TableError

DEPTH_MAX = 64  # x-death needs 3, client properties 2; two Python calls a level stay far below the interpreter's 1000
KEY_BYTES_MAX = 255
KEY_CHARS_SHOWN = 64  # in error texts
SIZE_BYTES = 4

Value = Any  # one of the Python types above
Buffer = bytes | bytearray | memoryview


class Int8(int):
    """A `b`."""

    __slots__ = ()


class UInt8(int):
    """A `B`."""

    __slots__ = ()


class Int16(int):
    """An `s`."""

    __slots__ = ()


class UInt16(int):
    """A `u`."""

    __slots__ = ()


class UInt32(int):
    """An `i`."""

    __slots__ = ()


class Int64(int):
    """An `l`."""

    __slots__ = ()


class Int64L(Int64):
    """An `L`: the same number as `l`, as older clients write it."""

    __slots__ = ()


class Timestamp(int):
    """A `T`: seconds since the epoch, unsigned."""

    __slots__ = ()


class Float32(float):
    """An `f`."""

    __slots__ = ()


class Binary(bytes):
    """An `x`: bytes that are no text."""

    __slots__ = ()


class ScaledDecimal(NamedTuple):
    """A `D`: unscaled / 10 ** scale."""

    scale: int
    unscaled: int


class _Fixed(NamedTuple):
    """A type whose payload has one size."""

    tag: str
    name: str
    kind: type
    layout: struct.Struct


_FIXED = tuple(
    _Fixed(tag, name, kind, struct.Struct(">" + layout))
    for tag, name, kind, layout in (
        ("t", "bool", bool, "B"),
        ("b", "byte", Int8, "b"),
        ("B", "unsignedbyte", UInt8, "B"),
        ("s", "short", Int16, "h"),
        ("u", "unsignedshort", UInt16, "H"),
        ("I", "signedint", int, "i"),
        ("i", "unsignedint", UInt32, "I"),
        ("l", "long", Int64, "q"),
        ("L", "long", Int64L, "q"),
        ("f", "float", Float32, "f"),
        ("d", "double", float, "d"),
        ("D", "decimal", ScaledDecimal, "BI"),
        ("T", "timestamp", Timestamp, "Q"),
    )
)
_FIXED_BY_TAG = {ord(fixed.tag): fixed for fixed in _FIXED}
_FIXED_BY_KIND = {fixed.kind: fixed for fixed in _FIXED}
_SIZED_NAMES = {str: "longstr", bytes: "longstr", Binary: "binary", dict: "table", list: "array", type(None): "void"}
_NAMES = {fixed.kind: fixed.name for fixed in _FIXED} | _SIZED_NAMES
_TYPE_CLASSES = {
    name: "int"
    for name in ("byte", "unsignedbyte", "short", "unsignedshort", "signedint", "unsignedint", "long", "decimal")
} | {"float": "float", "double": "float"}
_LONG = _FIXED_BY_KIND[Int64]
_VOID, _STRING, _BINARY, _ARRAY, _TABLE = b"VSxAF"


def decode(data: Buffer, at: int, end: int) -> tuple[dict[str, Value], int]:
    """Read the table whose size field is at `at`, none of it at or beyond `end`; return it and where it ends.
    Raises TableError, which names the field, the type and the place (counted in bytes from the table's start)."""
    return _Decoder(data, at).table(at, end, 1)


def encode(table: dict[str, Value]) -> bytes:
    """The bytes of a table, size field included. Raises TableError for what no AMQP type can hold."""
    return _encode_table(table, 1)


def type_name(value: Value) -> str:
    """RabbitMQ's name of the value's type, as its error texts give it: `signedint`, `longstr`, `table` ..."""
    kind = _kind(value)
    return _LONG.name if kind is int and not _fits_int(value) else _NAMES[kind]


def equivalent(a: Value, b: Value) -> bool:
    """Whether two arguments mean the same on a redeclare: integers of all widths compare as numbers, and floats of
    both; otherwise the types must agree (1 is not "1", nor true). Tables and arrays compare member by member."""
    name_a, name_b = type_name(a), type_name(b)
    if _TYPE_CLASSES.get(name_a, name_a) != _TYPE_CLASSES.get(name_b, name_b):
        return False
    if name_a == "table":
        return a.keys() == b.keys() and all(equivalent(value, b[key]) for key, value in a.items())
    if name_a == "array":
        return len(a) == len(b) and all(map(equivalent, a, b))
    return bool(a == b)


def _kind(value: Value) -> type:
    """The entry of _NAMES for the value: its own type, or the nearest base (an enum's int, a subclass of str)."""
    for kind in type(value).__mro__:
        if kind in _NAMES:
            return kind
    raise TableError(f"no AMQP type holds a Python {type(value).__name__}")


def _fits_int(value: int) -> bool:
    return -(1 << 31) <= value < 1 << 31


class _Decoder:
    """One decode() call. `origin` is where the outermost table starts, `key` the field being read, for error texts."""

    def __init__(self, data: Buffer, origin: int):
        self._data = data
        self._origin = origin
        self._key = ""

    def table(self, at: int, end: int, depth: int) -> tuple[dict[str, Value], int]:
        """The table whose size field is at `at`; `depth` counts from 1, its nested ones included."""
        at, end = self._content(at, end, "table")
        if depth > DEPTH_MAX:
            raise self._error(f"more than {DEPTH_MAX} levels", at)
        data = self._data
        fields: dict[str, Value] = {}
        while at < end:
            key_end = at + 1 + data[at]
            if key_end > end:
                raise self._error("key goes beyond its table", at)
            try:
                key = str(data[at + 1 : key_end], "utf-8")
            except UnicodeDecodeError:
                raise self._error("key is not UTF-8", at) from None
            self._key = key
            value, at = self._value(key_end, end, depth)
            fields.setdefault(key, value)
        return fields, at

    def _array(self, at: int, end: int, depth: int) -> tuple[list[Value], int]:
        at, end = self._content(at, end, "array")
        if depth > DEPTH_MAX:
            raise self._error(f"more than {DEPTH_MAX} levels", at)
        values = []
        while at < end:
            value, at = self._value(at, end, depth)
            values.append(value)
        return values, at

    def _value(self, at: int, end: int, depth: int) -> tuple[Value, int]:
        """The value whose type tag is at `at`, in a table or array at `depth`."""
        if at >= end:
            raise self._error("type and value are missing", at)
        tag = self._data[at]
        at += 1
        fixed = _FIXED_BY_TAG.get(tag)
        if fixed is not None:
            value_end = at + fixed.layout.size
            if value_end > end:
                raise self._error(f"truncated {fixed.name}", at)
            return fixed.kind(*fixed.layout.unpack_from(self._data, at)), value_end
        if tag == _STRING:
            at, value_end = self._content(at, end, "longstr")
            return text_or_bytes(bytes(self._data[at:value_end])), value_end
        if tag == _TABLE:
            return self.table(at, end, depth + 1)
        if tag == _ARRAY:
            return self._array(at, end, depth + 1)
        if tag == _BINARY:
            at, value_end = self._content(at, end, "binary")
            return Binary(self._data[at:value_end]), value_end
        if tag == _VOID:
            return None, at
        raise self._error(f"unknown type {chr(tag)!r}", at - 1)

    def _content(self, at: int, end: int, name: str) -> tuple[int, int]:
        """Where the content of the value whose size field is at `at` starts and ends."""
        start = at + SIZE_BYTES
        if start > end:
            raise self._error(f"truncated {name}", at)
        size = int.from_bytes(self._data[at:start], "big")
        if size > end - start:
            raise self._error(f"{name} of {size} bytes where {end - start} are left", at)
        return start, start + size

    def _error(self, what: str, at: int) -> TableError:
        where = f"field '{self._key[:KEY_CHARS_SHOWN]}'" if self._key else "table"
        return TableError(f"{where}, byte {at - self._origin}: {what}")


def text_or_bytes(data: bytes) -> str | bytes:
    """A string's value: text, or its bytes if they are not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _encode_table(table: dict[str, Value], depth: int) -> bytes:
    parts: list[bytes] = []
    for key, value in table.items():
        name = _utf8(key, key)
        if len(name) > KEY_BYTES_MAX:
            raise _unfit(key, f"key of {len(name)} bytes is longer than {KEY_BYTES_MAX}")
        parts += (len(name).to_bytes(1, "big"), name, _encode_value(value, key, depth))
    return _sized(b"".join(parts))


def _encode_value(value: Value, key: str, depth: int) -> bytes:
    """Type tag and payload. `key` is the table field that holds the value, `depth` how deep its table or array lies."""
    kind = _kind(value)
    if kind is str:
        return b"S" + _sized(_utf8(value, key))
    if kind is bytes or kind is Binary:
        return (b"x" if kind is Binary else b"S") + _sized(value)
    if kind is dict or kind is list:
        if depth >= DEPTH_MAX:
            raise _unfit(key, f"more than {DEPTH_MAX} levels")
        if kind is dict:
            return b"F" + _encode_table(value, depth + 1)
        return b"A" + _sized(b"".join([_encode_value(item, key, depth + 1) for item in value]))
    if value is None:
        return b"V"
    fixed = _LONG if kind is int and not _fits_int(value) else _FIXED_BY_KIND[kind]
    try:
        payload = fixed.layout.pack(*value) if kind is ScaledDecimal else fixed.layout.pack(value)
    except (struct.error, OverflowError):
        raise _unfit(key, f"value does not fit type {fixed.name}") from None
    return fixed.tag.encode() + payload


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(SIZE_BYTES, "big") + content


def _utf8(text: str, key: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise _unfit(key, "text has half a surrogate pair, which UTF-8 cannot hold") from None


def _unfit(key: str, what: str) -> TableError:
    return TableError(f"field {key[:KEY_CHARS_SHOWN]!r}: {what}")
