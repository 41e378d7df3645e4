"""Which messages of a topic a consumer wants: all, those with certain tags, or those an SQL92 expression chooses."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from corduroy.client.errors import ClientError

ALL = "*"
TAG, SQL92 = "TAG", "SQL92"


def java_hash(text: str) -> int:
    """Java's String.hashCode, i32: brokers compare tags by it."""
    units = text.encode("utf-16-be")
    made = 0
    for at in range(0, len(units), 2):
        made = (31 * made + int.from_bytes(units[at : at + 2], "big")) & 0xFFFFFFFF
    return made - (1 << 32) if made >> 31 else made


@dataclass(frozen=True, slots=True)
class Subscription:
    """`*`, `TagA || TagB`, or with kind SQL92 an expression over properties: `price > 10 AND TAGS = 'TagA'`."""

    topic: str
    expression: str = ALL
    kind: str = TAG
    version: int = field(default_factory=lambda: int(time.time() * 1000))  # brokers keep the newest of a group

    def __post_init__(self) -> None:
        if self.kind not in (TAG, SQL92):
            raise ClientError(f"expressions are of kind {TAG} or {SQL92}, not {self.kind!r}")
        if self.kind == TAG and self.expression != ALL and not self.tags:
            raise ClientError(f"{self.expression!r} names no tag")

    @property
    def tags(self) -> list[str]:
        """The tags it names; none means all messages."""
        if self.kind == SQL92 or self.expression == ALL:
            return []
        return [tag for each in self.expression.split("||") if (tag := each.strip())]

    def wants(self, tag: str) -> bool:
        """Whether a message with that tag is meant: brokers let pass what merely has the same hash."""
        tags = self.tags
        return not tags or tag in tags

    def data(self) -> dict[str, Any]:
        """As heartbeats have it (SubscriptionData)."""
        return {
            "classFilterMode": False,
            "codeSet": [java_hash(tag) for tag in self.tags],
            "expressionType": self.kind,
            "subString": self.expression,
            "subVersion": self.version,
            "tagsSet": self.tags,
            "topic": self.topic,
        }
