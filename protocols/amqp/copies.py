"""CC and BCC (RabbitMQ's sender-selected distribution): more routing keys in a message's headers.

Both fields are arrays; their strings are keys, other elements are passed over. BCC is taken out of the header block,
byte by byte, so that every other field stays as it came, and stays with the message unseen (core.message): when the
broker routes the message again, as a dead letter or after a delay, its keys count again, as in RabbitMQ.
"""

from __future__ import annotations

from typing import Any

from core.errors import PreconditionFailed
from protocols.amqp import tables
from protocols.amqp.properties import Scan, fields_of

CC, BCC = b"CC", b"BCC"


def copied_keys(header: bytes, scan: Scan) -> tuple[bytes, ...]:
    """The keys that CC and BCC name, in this order. Raises PreconditionFailed when one is no array."""
    found: dict[bytes, list[bytes]] = {CC: [], BCC: []}
    for name, at, end in fields_of(header, scan):
        if name in found:
            found[name] = _strings(name, header[at + 1 + len(name) : end])
    return (*found[CC], *found[BCC])


def _strings(name: bytes, value: bytes) -> list[bytes]:
    sized = b"\x01v" + value
    ((_, decoded),) = tables.decode(len(sized).to_bytes(4, "big") + sized, 0, len(sized) + 4)[0].items()
    kind = tables.type_name(decoded)
    if kind != "array":
        raise PreconditionFailed(f'invalid message: {{unacceptable_type_in_header,"{name.decode()}",{kind}}}')
    return keys_of(decoded)


def keys_of(values: list[Any]) -> list[bytes]:
    """The keys in one of the arrays."""
    strings = [each for each in values if isinstance(each, (str, bytes))]
    return [each.encode() if isinstance(each, str) else bytes(each) for each in strings]


def unseen_keys(unseen: bytes) -> list[bytes]:
    """The keys of BCC, of what a message keeps unseen."""
    return keys_of(tables.decode(unseen, 0, len(unseen))[0].get("BCC", [])) if unseen else []


def without_bcc(header: bytes, scan: Scan) -> tuple[bytes, bytes]:
    """The header block without the field BCC, and what is to be kept of that unseen: it alone in a table, or b""."""
    places = [(at, end) for name, at, end in fields_of(header, scan) if name == BCC]
    at = scan.headers_at - scan.origin
    size = int.from_bytes(header[at : at + 4], "big") - sum(end - start for start, end in places)
    out = bytearray(header)
    for start, end in reversed(places):
        del out[start:end]
    out[at : at + 4] = size.to_bytes(4, "big")
    fields = b"".join(header[start:end] for start, end in places)
    return bytes(out), len(fields).to_bytes(4, "big") + fields if fields else b""
