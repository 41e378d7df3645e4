"""One header more in a header block, without decoding the rest: what a delivery adds to a message as it was published.

flags u16 | properties | headers: size u32, (name, type, value)* | properties
"""

from __future__ import annotations

import cython

from protocols.amqp.properties import decode_properties, encode_properties, scan
from protocols.amqp.tables import Int64L

if cython.compiled:
    from cython.cimports.core.message import Message, new_message
else:
    from core.message import Message, new_message

NO_PROPERTIES = b"\0\0"
_HEADERS_FLAG = 0x2000


def with_long(block: bytes, name: str, value: int) -> bytes:
    """The header block with the header `name` = value (signed 64 bit); one of that name is replaced. No bytes stand for
    a block without properties."""
    block = block or NO_PROPERTIES
    found = scan(block)
    key = name.encode()
    entry = bytes((len(key),)) + key + b"l" + value.to_bytes(8, "big", signed=True)
    if found.headers_at >= 0:
        at, end = found.headers_at, found.headers_end
        if key in block[at:end]:  # perhaps only in a value; who looks closer need not be fast
            properties = decode_properties(block)
            properties["headers"][name] = Int64L(value)
            return encode_properties(properties)
        size = (end - at - 4 + len(entry)).to_bytes(4, "big")
        return block[:at] + size + block[at + 4 : end] + entry + block[end:]
    flags = int.from_bytes(block[:2], "big")
    at = 2
    for bit in (0x8000, 0x4000):
        if flags & bit:
            at += 1 + block[at]
    table = len(entry).to_bytes(4, "big") + entry
    return (flags | _HEADERS_FLAG).to_bytes(2, "big") + block[2:at] + table + block[at:]


@cython.ccall
def annotated(message: Message, name: str, value: cython.longlong) -> Message:
    """The message as one delivery shows it, with one header more: the message itself is shared by its queues."""
    header: bytes = with_long(message.header, name, value)
    return new_message(message.vhost, message.exchange, message.routing_key, header, message.body, message.body_size)
