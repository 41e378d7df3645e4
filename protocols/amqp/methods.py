"""AMQP 0-9-1 methods: one table of all of them (spec 1.3-1.8, with RabbitMQ's extensions), and their codec.

    method payload   class u16 | method u16 | fields in the table's order
    method frame     1 u8 | channel u16 | size u32 | method payload | 0xCE
    bit              consecutive ones share octets, the first in the lowest bit
    octet u8, short u16, long u32, longlong u64         -> int
    shortstr         size u8 + bytes, UTF-8             -> str
    shortbytes       the same, but any bytes            -> bytes (routing keys of content-bearing methods)
    longstr          size u32 + bytes                   -> bytes
    table            see tables.py                      -> dict

Each row becomes a class of this module: `queue.declare-ok` is QueueDeclareOk, with the row's fields in order and with
defaults (0, False, "", {}), so that QueueDeclareOk("q", message_count=3) is a whole method.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from protocols.amqp import tables
from protocols.amqp.errors import SyntaxViolation, TableError, UnknownMethod

_FRAME_START, _FRAME_END = b"\x01", b"\xce"
ID_BYTES = 4  # class and method id

_CLASSES = {"connection": 10, "channel": 20, "exchange": 40, "queue": 50, "basic": 60, "confirm": 85, "tx": 90}

# name, method id, flags (s = synchronous: the sender waits for a reply, c = carries content), fields
_METHODS = """
connection.start             10 s  version_major:octet version_minor:octet server_properties:table mechanisms:longstr
                                   locales:longstr
connection.start-ok          11 -  client_properties:table mechanism:shortstr response:longstr locale:shortstr
connection.secure            20 s  challenge:longstr
connection.secure-ok         21 -  response:longstr
connection.tune              30 s  channel_max:short frame_max:long heartbeat:short
connection.tune-ok           31 -  channel_max:short frame_max:long heartbeat:short
connection.open              40 s  virtual_host:shortstr capabilities:shortstr insist:bit
connection.open-ok           41 -  known_hosts:shortstr
connection.close             50 s  reply_code:short reply_text:shortstr class_id:short method_id:short
connection.close-ok          51 -
connection.blocked           60 -  reason:shortstr
connection.unblocked         61 -
connection.update-secret     70 s  new_secret:longstr reason:shortstr
connection.update-secret-ok  71 -
channel.open                 10 s  out_of_band:shortstr
channel.open-ok              11 -  channel_id:longstr
channel.flow                 20 s  active:bit
channel.flow-ok              21 -  active:bit
channel.close                40 s  reply_code:short reply_text:shortstr class_id:short method_id:short
channel.close-ok             41 -
exchange.declare             10 s  ticket:short exchange:shortstr type:shortstr passive:bit durable:bit auto_delete:bit
                                   internal:bit nowait:bit arguments:table
exchange.declare-ok          11 -
exchange.delete              20 s  ticket:short exchange:shortstr if_unused:bit nowait:bit
exchange.delete-ok           21 -
exchange.bind                30 s  ticket:short destination:shortstr source:shortstr routing_key:shortstr nowait:bit
                                   arguments:table
exchange.bind-ok             31 -
exchange.unbind              40 s  ticket:short destination:shortstr source:shortstr routing_key:shortstr nowait:bit
                                   arguments:table
exchange.unbind-ok           51 -
queue.declare                10 s  ticket:short queue:shortstr passive:bit durable:bit exclusive:bit auto_delete:bit
                                   nowait:bit arguments:table
queue.declare-ok             11 -  queue:shortstr message_count:long consumer_count:long
queue.bind                   20 s  ticket:short queue:shortstr exchange:shortstr routing_key:shortstr nowait:bit
                                   arguments:table
queue.bind-ok                21 -
queue.purge                  30 s  ticket:short queue:shortstr nowait:bit
queue.purge-ok               31 -  message_count:long
queue.delete                 40 s  ticket:short queue:shortstr if_unused:bit if_empty:bit nowait:bit
queue.delete-ok              41 -  message_count:long
queue.unbind                 50 s  ticket:short queue:shortstr exchange:shortstr routing_key:shortstr arguments:table
queue.unbind-ok              51 -
basic.qos                    10 s  prefetch_size:long prefetch_count:short global_:bit
basic.qos-ok                 11 -
basic.consume                20 s  ticket:short queue:shortstr consumer_tag:shortstr no_local:bit no_ack:bit
                                   exclusive:bit nowait:bit arguments:table
basic.consume-ok             21 -  consumer_tag:shortstr
basic.cancel                 30 s  consumer_tag:shortstr nowait:bit
basic.cancel-ok              31 -  consumer_tag:shortstr
basic.publish                40 c  ticket:short exchange:shortstr routing_key:shortbytes mandatory:bit immediate:bit
basic.return                 50 c  reply_code:short reply_text:shortstr exchange:shortstr routing_key:shortbytes
basic.deliver                60 c  consumer_tag:shortstr delivery_tag:longlong redelivered:bit exchange:shortstr
                                   routing_key:shortbytes
basic.get                    70 s  ticket:short queue:shortstr no_ack:bit
basic.get-ok                 71 c  delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortbytes
                                   message_count:long
basic.get-empty              72 -  cluster_id:shortstr
basic.ack                    80 -  delivery_tag:longlong multiple:bit
basic.reject                 90 -  delivery_tag:longlong requeue:bit
basic.recover-async         100 -  requeue:bit
basic.recover               110 s  requeue:bit
basic.recover-ok            111 -
basic.nack                  120 -  delivery_tag:longlong multiple:bit requeue:bit
confirm.select               10 s  nowait:bit
confirm.select-ok            11 -
tx.select                    10 s
tx.select-ok                 11 -
tx.commit                    20 s
tx.commit-ok                 21 -
tx.rollback                  30 s
tx.rollback-ok               31 -
"""

_INTEGER_BYTES = {"octet": 1, "short": 2, "long": 4, "longlong": 8}
_SIZE_BYTES = {"shortstr": 1, "shortbytes": 1, "longstr": 4}
_PYTHON = {"bit": bool, "shortstr": str, "shortbytes": bytes, "longstr": bytes, "table": dict} | dict.fromkeys(
    _INTEGER_BYTES, int
)


class Method(msgspec.Struct, frozen=True):
    """One method with its fields; two are equal if they are the same method with equal fields."""

    name: ClassVar[str]  # as the spec writes it: queue.declare-ok
    ids: ClassVar[tuple[int, int]]  # class and method id (the close methods have fields of these names)
    synchronous: ClassVar[bool]  # the sender waits for a reply
    content: ClassVar[bool]  # a content header and body frames follow
    wire: ClassVar[tuple[tuple[str, str], ...]]  # (field, wire type), in order


def decode(data: tables.Buffer, at: int, end: int) -> Any:
    """The method whose payload is data[at:end]: an instance of one of this module's classes.
    Raises UnknownMethod (503), or SyntaxViolation or TableError (502) if the fields do not fill the payload exactly."""
    if end - at < ID_BYTES:
        raise SyntaxViolation(f"method payload of {end - at} bytes, {ID_BYTES} are needed for class and method id")
    class_id, method_id = _integer(data, at, 2), _integer(data, at + 2, 2)
    kind = BY_IDS.get((class_id, method_id))
    if kind is None:
        what = "method" if class_id in _CLASSES.values() else "class"
        raise UnknownMethod(f"unknown {what}: class {class_id}, method {method_id}", class_id, method_id)
    try:
        return kind(*_decode_fields(kind, data, at + ID_BYTES, end))
    except TableError as error:
        raise TableError(f"{kind.name}: {error.text}", class_id, method_id) from None
    except SyntaxViolation as error:
        raise SyntaxViolation(f"{kind.name}: {error.text}", class_id, method_id) from None


def encode(method: Any) -> bytes:
    """The payload of a method. A string field takes str or bytes.
    Raises ValueError if a field's value does not fit its type."""
    class_id, method_id = method.ids
    parts = [class_id.to_bytes(2, "big"), method_id.to_bytes(2, "big")]
    bits = bit_count = 0
    for field, wire in method.wire:
        value = getattr(method, field)
        if wire == "bit":
            bits |= bool(value) << bit_count
            bit_count += 1
            continue
        if bit_count:
            parts.append(bits.to_bytes(1, "big"))
            bits = bit_count = 0
        try:
            parts.append(_encode_field(value, wire))
        except (OverflowError, TableError) as error:
            raise ValueError(f"{method.name}: {field} does not fit a {wire}: {error}") from None
    if bit_count:
        parts.append(bits.to_bytes(1, "big"))
    return b"".join(parts)


def method_frame(channel: int, method: Any) -> bytes:
    """The whole frame of a method, ready to be written."""
    payload = encode(method)
    return b"".join((_FRAME_START, channel.to_bytes(2, "big"), len(payload).to_bytes(4, "big"), payload, _FRAME_END))


def _decode_fields(kind: type[Method], data: tables.Buffer, at: int, end: int) -> list[Any]:
    values: list[Any] = []
    value: Any
    bit = 0  # of the octet before `at`, the next to read; 0 = a new octet
    for field, wire in kind.wire:
        if wire == "bit":
            if bit == 0:
                at = _after(at, 1, end, field)
            values.append(bool(data[at - 1] >> bit & 1))
            bit = (bit + 1) % 8
            continue
        bit = 0
        if wire == "table":
            value, at = tables.decode(data, at, end)
        elif wire in _INTEGER_BYTES:
            start, at = at, _after(at, _INTEGER_BYTES[wire], end, field)
            value = int.from_bytes(data[start:at], "big")
        else:
            start = _after(at, _SIZE_BYTES[wire], end, field)
            at = _after(start, int.from_bytes(data[at:start], "big"), end, field)
            value = bytes(data[start:at])
            if wire == "shortstr":
                value = _utf8(value, field)
        values.append(value)
    if at != end:
        raise SyntaxViolation(f"{end - at} bytes follow the last field")
    return values


def _encode_field(value: Any, wire: str) -> bytes:
    if wire in _INTEGER_BYTES:
        return int(value).to_bytes(_INTEGER_BYTES[wire], "big")
    if wire == "table":
        return tables.encode(value)
    content = value.encode("utf-8") if isinstance(value, str) else bytes(value)
    return len(content).to_bytes(_SIZE_BYTES[wire], "big") + content


def _after(at: int, size: int, end: int, field: str) -> int:
    """Where a value of `size` bytes at `at` ends, which is within the payload."""
    if size > end - at:
        raise SyntaxViolation(f"{field} needs {size} bytes where {end - at} are left")
    return at + size


def _utf8(value: bytes, field: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxViolation(f"{field} is not UTF-8") from None


def _integer(data: tables.Buffer, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _rows(text: str) -> list[list[str]]:
    """The table's rows as words; an indented line goes on with the row before it."""
    rows: list[list[str]] = []
    for line in text.strip().splitlines():
        if line.startswith(" "):
            rows[-1] += line.split()
        else:
            rows.append(line.split())
    return rows


def _define(row: list[str]) -> type[Method]:
    """The class of one row."""
    name, method_id, flag, *fields = row
    wire = tuple(tuple(field.split(":")) for field in fields)
    attributes = {
        "__doc__": f"{name} ({', '.join(field for field, _ in wire)}).",
        "name": name,
        "ids": (_CLASSES[name.partition(".")[0]], int(method_id)),
        "synchronous": flag == "s",
        "content": flag == "c",
        "wire": wire,
    }
    made: Any = msgspec.defstruct(
        "".join(part.capitalize() for part in name.replace(".", "-").split("-")),
        [(field, _PYTHON[kind], _PYTHON[kind]()) for field, kind in wire],
        bases=(Method,),
        namespace=attributes,
        module=__name__,
        frozen=True,
    )
    return made


METHODS: tuple[type[Method], ...] = tuple(map(_define, _rows(_METHODS)))
BY_IDS = {method.ids: method for method in METHODS}
globals().update({method.__name__: method for method in METHODS})


def __getattr__(name: str) -> Any:
    """Tells type checkers that the classes made above exist; at run time only a wrong name comes here."""
    raise AttributeError(f"AMQP 0-9-1 has no method {name}")
