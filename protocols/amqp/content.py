"""What the core asks of a stored message's header block when it routes the message by itself."""

from __future__ import annotations

from typing import Any

from protocols.amqp.properties import decode_properties

NO_PROPERTIES = b"\x00\x00"


class Content:
    """A header block (property flags and list; none at all stands for no properties), decoded when first asked."""

    def __init__(self, header: bytes):
        self._header = header or NO_PROPERTIES
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
