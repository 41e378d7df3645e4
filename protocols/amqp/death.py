"""Dead letters as RabbitMQ marks them: x-death and its kin in the header block.

x-death is an array of tables, the newest death first, one table per queue and reason: count, reason, queue, time
(timestamp in seconds), exchange, routing-keys (the key and those of CC), and original-expiration if the message had an
expiration, which is taken out. x-first-death-* says where it died first, x-last-death-* where last.
Source: rabbit_dead_letter.erl of RabbitMQ 3.10 (x-death, cycles) and mc.erl of 3.13 (x-last-death-*).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from core.message import Message
from protocols.amqp import tables
from protocols.amqp.properties import decode_properties, encode_properties

REJECTED = "rejected"
NO_PROPERTIES = b"\x00\x00"


class Dead(NamedTuple):
    """The message as it goes to the dead letter exchange, its header fields, and the keys it is routed by."""

    message: Message
    headers: dict[str, Any]
    keys: list[bytes]


def stamp(message: Message, queue: str, reason: str, seconds: int, *, exchange: str, key: bytes | None) -> Dead:
    """A message that died in `queue` at `seconds` since the epoch, on its way to `exchange`; `key` None = by its own
    keys. The message itself is not changed; body and persistence are shared."""
    properties = decode_properties(message.header or NO_PROPERTIES)
    headers: dict[str, Any] = dict(properties.get("headers", {}))
    copies = [_key_bytes(each) for each in _array(headers.get("CC"))]
    death = {
        "reason": reason,
        "queue": queue,
        "time": tables.Timestamp(seconds),
        "exchange": message.exchange.decode(),
        "routing-keys": [tables.text_or_bytes(each) for each in (message.routing_key, *copies)],
    }
    expiration = properties.pop("expiration", None)
    if expiration is not None:
        death["original-expiration"] = expiration
    _add_death(headers, death)
    if key is not None:
        headers.pop("CC", None)
    properties["headers"] = headers
    dead = Message(
        (message.vhost, exchange.encode(), message.routing_key if key is None else key),
        encode_properties(properties),
        message.body,
        message.body_size,
        message.persistent,
    )
    return Dead(dead, headers, [message.routing_key, *copies] if key is None else [key])


def _add_death(headers: dict[str, Any], death: dict[str, Any]) -> None:
    """Put the newest death in front, merged with an earlier one of the same queue and reason."""
    deaths = headers.get("x-death")
    if "x-death" not in headers:
        for name in ("reason", "queue", "exchange"):
            headers[f"x-first-death-{name}"] = death[name]
    for name in ("reason", "queue", "exchange"):
        headers[f"x-last-death-{name}"] = death[name]
    if not isinstance(deaths, list):  # a client made something else of it: RabbitMQ begins anew
        deaths = []
    same = [each for each in deaths if _place(each) == _place(death)]
    others = [each for each in deaths if _place(each) != _place(death)]
    if same and isinstance(same[0], dict):
        known = same[0].get("count", len(same))
        count = known + 1 if isinstance(known, int) else 1
        newest = {**same[0], "count": tables.Int64(count)}
    else:
        newest = {"count": tables.Int64(1), **death}
    headers["x-death"] = [newest, *others]


def _place(death: Any) -> Any:
    """What tells deaths apart."""
    return (death.get("queue"), death.get("reason")) if isinstance(death, dict) else None


def is_cycle(headers: dict[str, Any], queue: str) -> bool:
    """Whether a message with these header fields came back to `queue` without a client having rejected it since."""
    for death in _array(headers.get("x-death")):
        if not isinstance(death, dict) or death.get("reason") == REJECTED:
            return False  # what a client put there is as good as a rejection
        if death.get("queue") == queue:
            return True
    return False


def _array(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _key_bytes(key: Any) -> bytes:
    return key.encode() if isinstance(key, str) else bytes(key)
