"""One queue as the model has it: its messages, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LATE_MS = 5  # a timer of the loop may be so late
Counted = tuple[int, int]  # how often a message came back, and until when it waits (epoch ms, 0 = it does not)


class Violation(AssertionError):
    """The broker did what it must not do."""


class Unit:
    """One message in one queue. expires_ms 0 = never; level = its priority here; delivered = some consumer was given
    it, in whatever life of the broker; fresh = it was stored in this one; count = how often it came back, back_ms =
    when it last did; address = of a delayed one, (exchange, key): expires_ms is when it is due."""

    __slots__ = ("address", "back_ms", "body", "count", "delivered", "expires_ms", "fresh", "level")

    def __init__(self, body: bytes, expires_ms: int, level: int):
        self.body = body
        self.expires_ms = expires_ms
        self.level = level
        self.count, self.address = 0, (b"", b"")
        self.delivered, self.fresh = False, True
        self.back_ms = 0


@dataclass
class ModelQueue:
    """units = what is not settled, by queue offset, ascending; unacked = those of them that a consumer holds.

    auto_delete, owner (the client that it is exclusive to, or None), expires_ms (x-expires, 0 = never), top (its
    x-max-priority, 0 = none)   as declared
    used_ms = when it was last used, as x-expires counts; consumers = how many it has
    dead_letter = (exchange, key) of what it gives up, or None; dying = what it gave up and nobody moved yet
    retry = of a quorum queue, (x-delayed-retry-type, -min, -max): how long what came back waits; None: not at all
    waiting = what does, offset -> until when, epoch ms
    limit = of a quorum queue, how often a message may come back, -1 = for ever; None: nobody counts
    limits = its x-max-length and x-max-length-bytes, 0 = none; refuses = what is too much, instead of dropping the head
    stream_bytes = how much a stream keeps, 0 = it is none; sizes = of its messages in the log, by offset
    """

    name: str
    id: int
    durable: bool
    auto_delete: bool = False
    owner: Any = None
    expires_ms: int = 0
    top: int = 0
    dead_letter: tuple[str, bytes] | None = None
    limit: int | None = None
    retry: tuple[str, int, int] | None = None
    stream_bytes: int = 0
    limits: tuple[int, int] = (0, 0)
    refuses: bool = False
    sizes: dict[int, int] = field(default_factory=dict)
    used_ms: int = 0
    consumers: int = 0
    end: int = 0
    units: dict[int, Unit] = field(default_factory=dict)
    unacked: set[int] = field(default_factory=set)
    dying: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)  # settled by a turn of whose done records some may be missing
    doubted: dict[int, Counted] = field(default_factory=dict)  # by such a turn
    waiting: dict[int, int] = field(default_factory=dict)

    def ready(self) -> list[int]:
        """The offsets that a consumer may be given, in that order."""
        elsewhere = self.unacked | self.dying | self.waiting.keys()
        ready = [offset for offset in self.units if offset not in elsewhere]
        return sorted(ready, key=lambda offset: -self.units[offset].level) if self.top else ready

    def unused_since(self, clock_ms: int) -> int:
        """For how many ms it should be gone, by x-expires; negative: it should be there."""
        if not self.expires_ms or self.consumers:
            return -1
        return clock_ms - self.used_ms - self.expires_ms

    def waits_until(self, offset: int, asked: bool, clock_ms: int) -> int:
        """A message comes back, for the unit's count-th time: until when it waits, 0 = not. asked: a client wants that,
        else who held it has gone."""
        if self.retry is None:
            return 0
        kind, least_ms, most_ms = self.retry
        waits = kind == "all" or kind == ("failed" if asked else "returned")
        return clock_ms + min(least_ms * self.units[offset].count, most_ms) if waits else 0

    def settle(self, offsets: Any) -> None:
        """These are done."""
        for offset in offsets:
            self.units.pop(offset, None)
            self.unacked.discard(offset)
            self.dying.discard(offset)
            self.waiting.pop(offset, None)
