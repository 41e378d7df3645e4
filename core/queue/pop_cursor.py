"""How far a group has come in a topic's queue by popping: what it was handed out and until when that is hidden.

    all is done | floor: done, or hidden | next: not handed out, or done in an earlier life of the broker

What was handed out is hidden from the group until its time is over. Then it is moved to where it is tried again (an
unordered pop), or handed out again at its place (an ordered one, in which nothing behind it is handed out before).
Nothing here is durable: its owner (core/pop.py) states what is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.queue import ranges
from core.queue.due import DueHeap

STALE_MIN = 1024  # times in the heap that count no more: beyond it, and beyond twice what is in flight, they go


class PopCursor:
    """group, queue     whose it is: the group's name, the TopicQueue
    next       where the next unordered pop reads on
    said       the floor that was stated last
    reading    a pop reads here, and hands out what it finds: others pass by meanwhile
    ordered    the last pop was: what is in flight is handed out again at its place
    """

    def __init__(self, group: bytes, queue: Any, floor: int, done: list[int], life_ms: int):
        """done: ranges beyond `floor`; life_ms: when this life of the broker began. What was handed out before may
        still be acked."""
        self.group, self.queue = group, queue
        self.next = self.said = floor
        self.reading = self.ordered = False
        self.timer: Any = None  # its owner's
        self._ahead = list(done)
        self._life_ms = life_ms
        self._visible: dict[int, int] = {}  # offset -> when it is no longer hidden, ms; by offset
        self._popped: dict[int, int] = {}  # offset -> when it was handed out
        self._due = DueHeap()
        self._fresh: list[int] = []  # done and not stated
        self._attempt: bytes | None = None
        self._last_pop_ms = 0
        self._counts: dict[int, int] = {}  # of an ordered pop: offset -> how often it was handed out before
        self._skip(floor)

    def __len__(self) -> int:
        """How many are in flight."""
        return len(self._visible)

    @property
    def floor(self) -> int:
        """The lowest offset that is not done."""
        return next(iter(self._visible), self.next)

    def is_done(self, offset: int) -> bool:
        """Whether nobody needs it any more."""
        if offset < self.next:
            return offset not in self._visible
        return ranges.end_at(self._ahead, offset) > offset

    def popped_at(self, offset: int) -> int | None:
        """When it was handed out, if it is in flight."""
        return self._popped.get(offset)

    def is_last_pop(self, pop_ms: int) -> bool:
        """Whether that is when something was handed out last."""
        return pop_ms == self._last_pop_ms

    # -- handing out

    def begin(self) -> None:
        """An unordered pop after ordered ones: what those handed out is moved when its time is over."""
        self.ordered = False
        self._attempt, self._counts = None, {}
        self._rebuild()

    def may_begin_in_order(self, attempt: bytes | None, now_ms: int) -> bool:
        """Whether an ordered pop is handed anything: all of the last one is done or no longer hidden, or this one is
        the same attempt, whose answer was lost."""
        if attempt is not None and attempt == self._attempt:
            return True
        return all(ms <= now_ms for ms in self._visible.values())

    def begin_in_order(self, attempt: bytes | None) -> None:
        """An ordered pop that may begin: it reads on at the lowest offset that is not done."""
        self.ordered = True
        if attempt is None or attempt != self._attempt:
            for offset in self._visible:
                self._counts[offset] = self._counts.get(offset, 0) + 1
        self._attempt = attempt
        self._rewind()

    def _rewind(self) -> None:
        """What is in flight was never handed out."""
        floor = self.floor
        for first, end in ranges.pairs(ranges.between(self._visible, floor, self.next)):
            ranges.add(self._ahead, first, end)
        self._visible, self._popped = {}, {}
        self._skip(floor)

    def hand_out(self, offsets: list[int], upto: int, pop_ms: int, visible_ms: int) -> None:
        """These, ascending, of all from `next` up to `upto`; what lies between them nobody wants."""
        for first, end in ranges.pairs(ranges.between(offsets, self.next, upto)):
            ranges.add(self._fresh, first, end)
        self._last_pop_ms = pop_ms
        for offset in offsets:
            self._visible[offset] = visible_ms
            self._popped[offset] = pop_ms
            self._due.push(visible_ms, offset)
        self._skip(max(upto, self.next))

    def times(self, offsets: Iterable[int]) -> list[tuple[int, int]]:
        """(offset, how often it was handed out before) of those that were, in ordered pops."""
        return [(offset, self._counts[offset]) for offset in offsets if offset in self._counts]

    def _skip(self, offset: int) -> None:
        """`next` is there, or behind what is done from there on."""
        self.next = ranges.end_at(self._ahead, offset)
        ranges.cut(self._ahead, self.next)

    # -- what becomes of it

    def settle(self, offset: int, pop_ms: int, most: int) -> bool:
        """Done, says who was handed it at `pop_ms`; whether that is news. What was handed out since to somebody else,
        or moved, stays. most: ranges beyond `next` that may be held of an earlier life's acks."""
        known = self._popped.get(offset)
        if known is None:
            if pop_ms >= self._life_ms or self.is_done(offset) or len(self._ahead) >= 2 * most:
                return False
            ranges.add(self._ahead, offset, offset + 1)
            self._skip(self.next)
        elif known != pop_ms:
            return False
        else:
            self._forget(offset)
        ranges.add(self._fresh, offset, offset + 1)
        return True

    def settle_moved(self, offset: int) -> None:
        """It was stored anew elsewhere."""
        self._forget(offset)
        ranges.add(self._fresh, offset, offset + 1)

    def _forget(self, offset: int) -> None:
        del self._visible[offset], self._popped[offset]
        self._counts.pop(offset, None)

    def hide(self, offset: int, pop_ms: int, again_ms: int, visible_ms: int) -> bool:
        """It stays hidden until `visible_ms`, if it was handed out at `pop_ms`; from now on that is `again_ms`. Whether
        it was."""
        if self._popped.get(offset) != pop_ms:
            return False
        self._visible[offset], self._popped[offset] = visible_ms, again_ms
        self._due.push(visible_ms, offset)
        if len(self._due) > 2 * len(self._visible) + STALE_MIN:
            self._rebuild()
        return True

    def due(self, now_ms: int, most: int) -> list[int]:
        """Those whose time is over, at most so many: each is told once. Of an ordered pop none is to be moved."""
        found: list[int] = []
        while len(found) < most and 0 <= self._due.first() <= now_ms:
            offset = self._due.pop()
            if self.is_due(offset, now_ms) and offset not in found:
                found.append(offset)
        return [] if self.ordered else found

    def is_due(self, offset: int, now_ms: int) -> bool:
        """Whether it is in flight, and its time is over."""
        return self._visible.get(offset, now_ms + 1) <= now_ms

    def tell_again(self, offset: int, ms: int) -> None:
        """It could not be moved: due() tells of it again at `ms`."""
        if offset in self._visible:
            self._due.push(ms, offset)

    @property
    def first_due(self) -> int:
        """The earliest time at which something may be due, or -1."""
        if len(self._due) > 2 * len(self._visible) + STALE_MIN:
            self._rebuild()
        ms: int = self._due.first()
        return ms

    def _rebuild(self) -> None:
        self._due = DueHeap()
        for offset, ms in self._visible.items():
            self._due.push(ms, offset)

    def reach(self, offset: int) -> None:
        """What lies below has gone with its segment."""
        if offset > self.next:
            self._skip(offset)
        for gone in [each for each in self._visible if each < offset]:
            self._forget(gone)

    # -- what is stated

    @property
    def changed(self) -> bool:
        """Whether there is something to state."""
        return bool(self._fresh) or self.said != self.floor

    def take_fresh(self) -> tuple[int, list[int]]:
        """The floor, and the ranges above it that became done since the last time."""
        fresh, self._fresh = self._fresh, []
        self.said = self.floor
        ranges.cut(fresh, self.said)
        return self.said, fresh
