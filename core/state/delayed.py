"""The queue that a virtual host's delayed messages wait in: durable, hidden, and without consumers.

The tags code of a unit is when its message is due (ms since the epoch). The queue has a fact like any other, of a type
of its own and a reserved name; clients never see it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.queue.due import DueHeap
from core.queue.index import CHUNK_UNITS, FOUND
from core.state.replay import LoggedQueue

DELAYED = "delayed"  # its queue type
DELAYED_NAME = "amq.delayed"
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
        first = self.due.first()
        self.due.push(code, self.index.end)
        LoggedQueue.push(self, message, code)
        if first < 0 or code < first:
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
