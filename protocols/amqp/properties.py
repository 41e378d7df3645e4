"""The basic class's content properties (spec 4.2.6.1): what a header frame holds after class, weight and body size.

    flags u16 | those properties whose flag is set, in order
    bit 15 content_type      14 content_encoding  13 headers (table)  12 delivery_mode (u8)  11 priority (u8)
    10 correlation_id         9 reply_to           8 expiration        7 message_id           6 timestamp (u64)
     5 type                   4 user_id            3 app_id            2 cluster_id           the rest: short strings

scan_properties() finds what the broker acts on without making a Python object; a header block it accepts can be
decoded by decode_properties(), and one it refuses cannot. Bits 1 and 0 (no property, a second flag word) are refused.
"""

from __future__ import annotations

import re
from typing import Any

import cython

from core.errors import PreconditionFailed
from protocols.amqp import tables
from protocols.amqp.errors import SyntaxViolation, TableError

if cython.compiled:
    from cython.cimports.core.wire import rd16, rd32, take
else:
    from core.wire import rd16, rd32, take

NAMES = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
INTEGER_BYTES = {"delivery_mode": 1, "priority": 1, "timestamp": 8}
SHORTSTR_BYTES_MAX = 255
EXPIRATION_MS_MAX = 10 * 365 * 86_400_000  # RabbitMQ's bound

_INTEGER = re.compile(r"[+-]?[0-9]+")
_FIRST_FLAG = 0x8000
_FLAGS_BYTES = cython.declare(cython.int, 2)
_NO_PROPERTY = cython.declare(cython.int, 0x0003)
_HEADERS = cython.declare(cython.int, 2)  # places in NAMES
_DELIVERY_MODE = cython.declare(cython.int, 3)
_PRIORITY = cython.declare(cython.int, 4)
_REPLY_TO = cython.declare(cython.int, 6)
_EXPIRATION = cython.declare(cython.int, 7)
_TIMESTAMP = cython.declare(cython.int, 9)
_USER_ID = cython.declare(cython.int, 11)
_DEPTH_MAX = cython.declare(cython.int, tables.DEPTH_MAX)
_BAD = cython.declare(cython.Py_ssize_t, -1)  # instead of a place: these bytes are no table


@cython.final
@cython.cclass
class Scan:
    """What scan_properties() found; one object serves many scans.

    origin                        where the flags are
    delivery_mode, priority       0 if absent
    headers_at, headers_end       the headers table with its size field, as tables.decode() takes it
    expiration_at, .._size        and user_id, reply_to: the string without its length octet
    copies                        whether the headers have a field CC or BCC
    Places count from the start of the buffer that was scanned; *_at is -1 if the property is absent.
    """

    def __init__(self):
        self.origin = 0
        self.delivery_mode = 0
        self.priority = 0
        self.headers_at = -1
        self.headers_end = -1
        self.expiration_at = -1
        self.expiration_size = 0
        self.user_id_at = -1
        self.user_id_size = 0
        self.reply_to_at = -1
        self.reply_to_size = 0
        self.copies = False


@cython.ccall
@cython.exceptval(-1, check=True)
def scan_properties(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, found: Scan) -> cython.int:
    """Check the properties in b[at:end], which begin with their flags, fill `found`, and return the flags.
    Raises SyntaxViolation or TableError if they do not fill those bytes exactly."""
    found.origin = at
    found.delivery_mode = 0
    found.priority = 0
    found.headers_at = found.headers_end = -1
    found.expiration_at = found.user_id_at = found.reply_to_at = -1
    found.expiration_size = found.user_id_size = found.reply_to_size = 0
    found.copies = False
    flags: cython.int = _flags(b, at, end)
    left: cython.int = flags
    i: cython.int = 0
    value_at: cython.Py_ssize_t = at + _FLAGS_BYTES
    value_end: cython.Py_ssize_t
    while left:
        if left & 0x8000:
            value_end = _property_end(b, value_at, end, i)
            if i == _DELIVERY_MODE:
                found.delivery_mode = b[value_at]
            elif i == _HEADERS:
                found.headers_at = value_at
                found.headers_end = value_end
                found.copies = _has_copies(b, value_at + 4, value_end)
            elif i == _PRIORITY:
                found.priority = b[value_at]
            elif i == _EXPIRATION:
                found.expiration_at = value_at + 1
                found.expiration_size = value_end - value_at - 1
            elif i == _REPLY_TO:
                found.reply_to_at = value_at + 1
                found.reply_to_size = value_end - value_at - 1
            elif i == _USER_ID:
                found.user_id_at = value_at + 1
                found.user_id_size = value_end - value_at - 1
            value_at = value_end
        left = (left << 1) & 0xFFFF
        i += 1
    if value_at != end:
        raise SyntaxViolation(f"{end - value_at} bytes follow the last basic property")
    return flags


def fields_of(header: bytes, found: Scan) -> list[tuple[bytes, int, int]]:
    """Where each field of the headers table lies in a header block with that scan: (name, start, end)."""
    fields = []
    at = found.headers_at - found.origin + 4
    table_end = found.headers_end - found.origin
    while at < table_end:
        name_end = at + 1 + header[at]
        end = end_of_value(header, name_end, table_end, 1)
        fields.append((header[at + 1 : name_end], at, end))
        at = end
    return fields


def scan(header: bytes) -> Scan:
    """scan_properties() of a whole header block, into a Scan of its own."""
    found = Scan()
    scan_properties(header, 0, len(header), found)
    return found


def read_expiration(expiration: bytes) -> int:
    """The milliseconds that the expiration property says. Raises PreconditionFailed in RabbitMQ's words (its terms
    for the reasons: no_integer, leftover_string, value_negative, value_too_large)."""
    text = expiration.decode("utf-8", "backslashreplace")
    digits = _INTEGER.match(text)
    if digits is None:
        reason = "no_integer"
    elif digits.end() < len(text):
        reason = f'{{leftover_string,"{text[digits.end() :]}"}}'
    else:
        value = int(digits[0])
        if 0 <= value <= EXPIRATION_MS_MAX:
            return value
        reason = f"{{{'value_negative' if value < 0 else 'value_too_large'},{value}}}"
    raise PreconditionFailed(f"invalid expiration '{text}': {reason}")


def decode_properties(header: bytes) -> dict[str, Any]:
    """The properties that are present, by their names in NAMES: int, dict (headers), else str, or bytes if not UTF-8.
    Raises what scan_properties() raises."""
    end = len(header)
    flags = _flags(header, 0, end)
    at = 2
    found: dict[str, Any] = {}
    for i, name in enumerate(NAMES):
        if not flags & _FIRST_FLAG >> i:
            continue
        value_end = _property_end(header, at, end, i)
        if name == "headers":
            found[name], _ = tables.decode(header, at, value_end)
        elif name in INTEGER_BYTES:
            found[name] = int.from_bytes(header[at:value_end], "big")
        else:
            found[name] = tables.text_or_bytes(header[at + 1 : value_end])
        at = value_end
    if at != end:
        raise SyntaxViolation(f"{end - at} bytes follow the last basic property")
    return found


def encode_properties(properties: dict[str, Any]) -> bytes:
    """The header block of these properties; None counts as absent.
    Raises ValueError for an unknown name or a value that does not fit, TableError for the headers."""
    unknown = properties.keys() - set(NAMES)
    if unknown:
        raise ValueError(f"no basic property is called {min(unknown)}")
    flags, parts = 0, [b""]
    for i, name in enumerate(NAMES):
        value = properties.get(name)
        if value is not None:
            flags |= _FIRST_FLAG >> i
            parts.append(_encode_property(name, value))
    parts[0] = flags.to_bytes(2, "big")
    return b"".join(parts)


def _encode_property(name: str, value: Any) -> bytes:
    if name == "headers":
        return tables.encode(value)
    if name in INTEGER_BYTES:
        size = INTEGER_BYTES[name]
        if not 0 <= value < 1 << 8 * size:
            raise ValueError(f"{name} {value} is not within 0..{(1 << 8 * size) - 1}")
        return int(value).to_bytes(size, "big")
    content = value.encode("utf-8") if isinstance(value, str) else bytes(value)
    if len(content) > SHORTSTR_BYTES_MAX:
        raise ValueError(f"{name} of {len(content)} bytes is longer than {SHORTSTR_BYTES_MAX}")
    return len(content).to_bytes(1, "big") + content


@cython.cfunc
@cython.exceptval(-1, check=False)
def _flags(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    if end - at < _FLAGS_BYTES:
        raise SyntaxViolation("basic properties without their flags")
    flags: cython.int = rd16(b, at)
    if flags & _NO_PROPERTY:
        raise SyntaxViolation(f"basic property flags {flags:#06x} name more than the {len(NAMES)} properties there are")
    return flags


@cython.cfunc
@cython.exceptval(-1, check=False)
def _property_end(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, i: cython.int) -> cython.Py_ssize_t:
    """Where property i, which starts at `at`, ends; that is not beyond `end`."""
    size: cython.Py_ssize_t = 1
    if i == _HEADERS:
        table_end: cython.Py_ssize_t = _table_end(b, at, end, 1)
        if table_end == _BAD:
            raise _table_error(take(b, at, end - at))
        return table_end
    if i == _TIMESTAMP:
        size = 8
    elif i != _DELIVERY_MODE and i != _PRIORITY and at < end:
        size = 1 + b[at]
    if size > end - at:
        raise SyntaxViolation(f"basic property {NAMES[i]} needs {size} bytes where {end - at} are left")
    return at + size


def _table_error(data: bytes) -> TableError:
    """Why the headers are no table, in the words of the decoder that makes objects."""
    try:
        tables.decode(data, 0, len(data))
    except TableError as error:
        return TableError(f"headers: {error.text}")
    return TableError("headers are not a field table")


@cython.cfunc
@cython.exceptval(-2, check=False)
def _table_end(
    b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, depth: cython.int
) -> cython.Py_ssize_t:
    """Where the table whose size field is at `at` ends, or _BAD. It accepts what tables.decode() accepts."""
    table_end: cython.Py_ssize_t = _sized_end(b, at, end)
    if table_end == _BAD or depth > _DEPTH_MAX:
        return _BAD
    key_end: cython.Py_ssize_t
    at += 4
    while at < table_end:
        key_end = at + 1 + b[at]
        if key_end > table_end or not _is_utf8(b, at + 1, key_end):
            return _BAD
        at = end_of_value(b, key_end, table_end, depth)
        if at == _BAD:
            return _BAD
    return table_end


@cython.cfunc
@cython.exceptval(check=False)
def _has_copies(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
    """Whether the fields of a table that was found to be one, without its size, have the name CC or BCC."""
    while at < end:
        size: cython.int = b[at]
        if size == 2 and b[at + 1] == 0x43 and b[at + 2] == 0x43:
            return True
        if size == 3 and b[at + 1] == 0x42 and b[at + 2] == 0x43 and b[at + 3] == 0x43:
            return True
        at = end_of_value(b, at + 1 + size, end, 1)
    return False


@cython.cfunc
@cython.exceptval(-2, check=False)
def _array_end(
    b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, depth: cython.int
) -> cython.Py_ssize_t:
    array_end: cython.Py_ssize_t = _sized_end(b, at, end)
    if array_end == _BAD or depth > _DEPTH_MAX:
        return _BAD
    at += 4
    while at < array_end:
        at = end_of_value(b, at, array_end, depth)
        if at == _BAD:
            return _BAD
    return array_end


@cython.cfunc
@cython.exceptval(-2, check=False)
def end_of_value(
    b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, depth: cython.int
) -> cython.Py_ssize_t:
    """Where the value whose type tag is at `at`, in a table or array at `depth`, ends, or _BAD."""
    if at >= end:
        return _BAD
    tag: cython.int = b[at]
    at += 1
    if tag == 0x53 or tag == 0x78:  # S x
        return _sized_end(b, at, end)
    if tag == 0x46:  # F
        return _table_end(b, at, end, depth + 1)
    if tag == 0x41:  # A
        return _array_end(b, at, end, depth + 1)
    size: cython.Py_ssize_t = _fixed_size(tag)
    if size < 0 or size > end - at:
        return _BAD
    return at + size


@cython.cfunc
@cython.exceptval(check=False)
def _fixed_size(tag: cython.int) -> cython.Py_ssize_t:
    """The bytes after the tag of a type of one size; -1 for an unknown type."""
    if tag == 0x49 or tag == 0x69 or tag == 0x66:  # I i f
        return 4
    if tag == 0x74 or tag == 0x62 or tag == 0x42:  # t b B
        return 1
    if tag == 0x6C or tag == 0x4C or tag == 0x54 or tag == 0x64:  # l L T d
        return 8
    if tag == 0x73 or tag == 0x75:  # s u
        return 2
    if tag == 0x44:  # D
        return 5
    return 0 if tag == 0x56 else -1  # V


@cython.cfunc
@cython.exceptval(check=False)
def _sized_end(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where the value that begins with its size (u32) ends, or _BAD."""
    if end - at < 4:
        return _BAD
    size: cython.Py_ssize_t = rd32(b, at)
    return at + 4 + size if size <= end - at - 4 else _BAD


@cython.cfunc
@cython.exceptval(-2, check=False)
def _is_utf8(b: cython.p_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
    i: cython.Py_ssize_t
    for i in range(at, end):
        if b[i] > 0x7F:
            return isinstance(tables.text_or_bytes(take(b, at, end - at)), str)
    return 1
