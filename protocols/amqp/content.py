"""What the core asks of a stored message's header block when it routes the message by itself."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from core.routing.history import NO_STORE
from protocols.amqp import tables
from protocols.amqp.copies import keys_of, unseen_keys
from protocols.amqp.properties import decode_properties, encode_properties, read_expiration
from protocols.amqp.tables import Timestamp

NO_PROPERTIES = b"\x00\x00"
DELAY = "x-delay"  # the header, in ms; negative in a message whose delay is over, as RabbitMQ's plugin leaves it
EXCHANGE = "exchange"  # unseen: where on its way the message waits
DELAY_MS_MAX = 1 << 53  # so that any time plus it is a time
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def delay_of(value: Any) -> int:
    """How long a message with this x-delay waits, in ms; 0 = not at all. As in RabbitMQ's delayed message plugin,
    numbers of any type and digits count, a timestamp does not; what is not above 0, no number or absurdly long is no
    delay (the plugin's bound is 2^32 - 1)."""
    delay = 0
    if isinstance(value, str):
        delay = int(value) if _INTEGER.fullmatch(value) else 0
    elif isinstance(value, float):
        delay = int(value) if math.isfinite(value) else 0
    elif isinstance(value, int) and not isinstance(value, (bool, Timestamp)):
        delay = int(value)
    return delay if 0 < delay <= DELAY_MS_MAX else 0


class Released(NamedTuple):
    """A message when its delay is over: see core.delays."""

    content: Content
    header: bytes
    unseen: bytes
    exchange: str | None
    keys: tuple[bytes, ...]
    ttl_ms: int


class Content:
    """A header block (property flags and list; none at all stands for no properties), decoded when first asked, and
    what its message keeps unseen."""

    def __init__(self, header: bytes, unseen: bytes = b""):
        self._header = header or NO_PROPERTIES
        self._unseen = unseen
        self._decoded: dict[str, Any] | None = None

    @property
    def properties(self) -> dict[str, Any]:
        """All that are present, by name."""
        if self._decoded is None:
            self._decoded = decode_properties(self._header)
        return self._decoded

    def headers(self) -> dict[str, Any]:
        """Its header fields."""
        return self.properties.get("headers", {})

    def property_of(self, name: str) -> Any:
        """One property, or None."""
        return self.properties.get(name)

    def may_be_remembered(self) -> bool:
        """Whether exchanges with a history may keep the message."""
        return self.headers().get(NO_STORE) is not True

    def copies(self) -> list[bytes]:
        """The keys that CC and BCC name."""
        return [*keys_of(self.headers().get("CC", [])), *unseen_keys(self._unseen)]

    def delay_ms(self) -> int:
        """How long the message is to wait, 0 = not at all."""
        return delay_of(self.headers().get(DELAY))

    def waiting_in(self, exchange: str) -> bytes:
        """What its message keeps unseen while it waits on its way, in another exchange than it was published to."""
        return tables.encode({**self._kept(), EXCHANGE: exchange})

    def _kept(self) -> dict[str, Any]:
        return tables.decode(self._unseen, 0, len(self._unseen))[0] if self._unseen else {}

    def released(self) -> Released:
        """The message when its delay is over. x-delay is negative from now on: consumers see that it was delayed, and
        no exchange delays it again. Its other keys (CC, BCC) count now."""
        properties = dict(self.properties)
        headers = dict(self.headers())
        delay = self.delay_ms()
        if delay:
            headers[DELAY] = -delay
        keys = self.copies()
        if "headers" in properties:
            properties["headers"] = headers
        header = encode_properties(properties)
        expiration = properties.get("expiration")
        ttl_ms = -1 if expiration is None else read_expiration(expiration.encode())
        kept = self._kept()
        exchange = kept.pop(EXCHANGE, None)
        unseen = tables.encode(kept) if kept else b""
        return Released(Content(header), header, unseen, exchange, tuple(keys), ttl_ms)
