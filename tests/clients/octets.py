"""Encoded values: every field-table type, and a property list that has them all."""

import struct


def short(text: str) -> bytes:
    """A short string."""
    return bytes([len(text.encode())]) + text.encode()


def long(data: bytes) -> bytes:
    """A long string, array or table: size and content."""
    return struct.pack(">I", len(data)) + data


FIELDS = {
    "boolean": b"t\x01",
    "signed 8 bit": b"b\x80",
    "unsigned 8 bit": b"B\xff",
    "signed 16 bit": b"s\x80\x00",
    "unsigned 16 bit": b"u\xff\xff",
    "signed 32 bit": b"I\x80\x00\x00\x00",
    "unsigned 32 bit": b"i\xff\xff\xff\xff",
    "signed 64 bit": b"l\x80" + b"\x00" * 7,
    "float": b"f" + struct.pack(">f", 1.5),
    "double": b"d" + struct.pack(">d", -2.25e300),
    "decimal": b"D\x02" + struct.pack(">i", 31415),
    "long string": b"S" + long("größe".encode()),
    "empty long string": b"S" + long(b""),
    "octets": b"x" + long(bytes(range(256))),
    "array": b"A" + long(b"t\x00I\x00\x00\x00\x07S" + long(b"x") + b"A" + long(b"V")),
    "empty array": b"A" + long(b""),
    "timestamp": b"T" + struct.pack(">Q", 1 << 33),
    "table": b"F" + long(short("in") + b"F" + long(short("deep") + b"V") + short("n") + b"b\x05"),
    "empty table": b"F" + long(b""),
    "void": b"V",
}
NO_EXPIRATION_FLAGS = 0xFEFC  # all fourteen but expiration, which the broker acts on; cluster-id the lowest
ALL_PROPERTIES = (
    struct.pack(">H", NO_EXPIRATION_FLAGS)
    + short("application/json")
    + short("gzip")
    + long(b"".join(short(key) + field for key, field in FIELDS.items()))
    + b"\x02\x09"  # delivery mode, priority
    + short("correlation")
    + short("reply.queue")
    + short("message-1")
    + struct.pack(">Q", 1_700_000_000)
    + short("kind")
    + short("guest")
    + short("app")
    + short("cluster")
)
