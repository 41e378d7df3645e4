"""Queues in which messages wait for their time: durable, hidden, and without consumers.

The tags code of a unit is when its message is due (ms since the epoch), and in the bits above DUE_BITS a mark. Such a
queue has a fact like any other, of a type of its own and a reserved name; clients never see it. Each virtual host has
one for its delayed messages; native timed messages and half messages have one each, of no virtual host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.queue.counts import Counts
from core.queue.due import DueHeap
from core.queue.index import CHUNK_UNITS, FOUND
from core.state.replay import LoggedQueue

DELAYED, TIMERS, HALVES = "delayed", "timers", "halves"  # queue types
DELAYED_NAME = "amq.delayed"
OF_NO_VHOST = (TIMERS, HALVES)
DUE_BITS = 42
DUE_MS = (1 << DUE_BITS) - 1
DEAD_MIN = 1024  # cancelled ones that may stay in the heap


class DelayedQueue(LoggedQueue):
    """Publishing to it is holding a message back until message.expire_at. due: when which offset is; waits(queue)
    hears of every message that is the next one now."""

    index: Any  # never None: it is durable

    def __init__(self, identity: tuple[int, bytes, str], durable: bool, turn: Any, tail: Any):
        LoggedQueue.__init__(self, identity, durable, turn, tail)
        self.due = DueHeap()
        self.waits: Callable[[DelayedQueue], None] = lambda queue: None
        self._cancelled = 0

    def push(self, message: Any, code: int) -> None:
        """See Queue.push."""
        first, due_ms = self.due.first(), code & DUE_MS
        self.due.push(due_ms, self.index.end)
        LoggedQueue.push(self, message, code)
        if first < 0 or due_ms < first:
            self.waits(self)

    def fill(self, read_chunk: Callable[[int, int], bytes | None]) -> None:
        """After recovery: find what waits, chunk by chunk; read_chunk(queue id, number) blocks."""
        index = self.index
        if not self.ready:
            return
        for number in range(self.cursor.floor // CHUNK_UNITS, (index.end - 1) // CHUNK_UNITS + 1):
            loaded = index.loaded(number * CHUNK_UNITS)
            units = index.chunk_bytes(number) if loaded else read_chunk(self.id, number)
            if units is not None:
                self.due.fill(units, number * CHUNK_UNITS, self.cursor)

    def take_due(self, now_ms: int, count: int) -> list[int]:
        """Take up to so many offsets out of `due` whose time has come, in the order of their times."""
        offsets: list[int] = []
        while len(offsets) < count and 0 <= self.due.first() <= now_ms:
            offset = self.due.pop()
            if self.cursor.is_done(offset):
                self._cancelled -= 1
            else:
                offsets.append(offset)
        return offsets

    def cancel(self, offset: int) -> bool:
        """Drop a message that waits; False if it does not."""
        if not self.index.begin <= offset < self.index.end or self.cursor.is_done(offset):
            return False
        self.ready -= 1
        self.settle(offset)
        self._cancelled += 1
        if self._cancelled > DEAD_MIN and self._cancelled * 2 > len(self.due):
            self.due.sift(self.cursor)
            self._cancelled = 0
        return True

    def unit(self, offset: int) -> tuple[int, int] | None:
        """Log offset and size of what lies there, or None when its chunk is not in memory."""
        index = self.index
        return (index.log_offset, index.size) if index.find(offset) == FOUND else None

    def discard(self) -> None:
        """See Queue.discard."""
        LoggedQueue.discard(self)
        self.due = DueHeap()


class HalfQueue(DelayedQueue):
    """Half messages: each is due when its sender is to be asked what became of it, and then again. How often it was
    asked about, and when it is next, is stated as a quorum queue states its counts (core/state/done.py)."""

    counts: Any  # never None

    def __init__(self, identity: tuple[int, bytes, str], durable: bool, turn: Any, tail: Any):
        DelayedQueue.__init__(self, identity, durable, turn, tail)
        self.counts = Counts()
        self._turn = turn

    def take_due(self, now_ms: int, count: int) -> list[int]:
        """See DelayedQueue.take_due. After a start the heap knows of each only when it was due at first."""
        offsets = []
        for offset in DelayedQueue.take_due(self, now_ms, count):
            due_ms = self.counts.until(offset)
            if due_ms > now_ms:
                self.due.push(due_ms, offset)
            else:
                offsets.append(offset)
        return offsets

    def again(self, offset: int, due_ms: int) -> None:
        """The sender of what take_due() gave is being asked; it is due again then."""
        self.counts.add(offset)
        self.counts.wait(offset, due_ms)
        self.due.push(due_ms, offset)
        if not self.settled:
            self.settled = True
            self._turn.settled.append(self)
        self._turn.schedule()

    def settle(self, offset: int) -> None:
        """See Stock.settle."""
        self.counts.forget(offset)
        DelayedQueue.settle(self, offset)

    def relocate(self, offset: int, copy: Any) -> None:
        """See LoggedQueue.relocate. What is counted is stated anew behind the copy."""
        self.counts.restate(offset)
        DelayedQueue.relocate(self, offset, copy)

    def adopt(self, slot: Any) -> None:
        """See LoggedQueue.adopt."""
        if slot.counts is not None:
            self.counts = slot.counts
        DelayedQueue.adopt(self, slot)
        self.counts.prune(self.cursor)
