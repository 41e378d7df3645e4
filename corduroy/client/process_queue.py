"""What a push consumer holds of one queue: messages read and not yet done, and the offset that may be committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from corduroy.client.messages import MessageQueue, ReceivedMessage

COUNT_MAX = 1000  # pullThresholdForQueue
BYTES_MAX = 100 << 20  # pullThresholdSizeForQueue
SPAN_MAX = (
    2000  # consumeConcurrentlyMaxSpan: offsets from the first to the last; one stuck message holds the commit back
)
LOCK_SECONDS = 30.0  # REBALANCE_LOCK_MAX_LIVE_TIME: half of what brokers grant


class ProcessQueue:
    """Invariant: `committable` never passes a message that is not done."""

    def __init__(self, queue: MessageQueue, offset: int, *, ordered: bool = False):
        self.queue = queue
        self.next_offset = offset  # where the next pull goes on
        self.committed: int | None = None  # what the broker was told
        self.dropped = False  # someone else's, or stopped
        self.ordered = ordered
        self.generation = 0  # of its offsets: one more with each reset
        self.locked_at = 0.0  # time.monotonic()
        self.arrived = asyncio.Event()
        self.has_room = asyncio.Event()
        self.has_room.set()
        self.bytes = 0
        self.pulled_ms = self.consumed_ms = int(time.time() * 1000)
        self._messages: dict[int, ReceivedMessage] = {}  # by offset, ascending

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, messages: Iterable[ReceivedMessage], next_offset: int) -> None:
        """Add what was pulled; the next pull goes on at next_offset."""
        for message in messages:
            self._messages[message.queue_offset] = message
            self.bytes += len(message.body)
        self.next_offset = next_offset
        self._weigh()

    def holds(self, message: ReceivedMessage) -> bool:
        """Whether it is still to be done: not if the queue was reset, or is someone else's."""
        return not self.dropped and self._messages.get(message.queue_offset) is message

    def first(self, count: int) -> list[ReceivedMessage]:
        """The oldest of them, `count` at most."""
        return [message for message, _ in zip(self._messages.values(), range(count))]

    def done(self, messages: Iterable[ReceivedMessage]) -> None:
        """These are done."""
        for message in messages:
            if self._messages.get(message.queue_offset) is message:
                del self._messages[message.queue_offset]
                self.bytes -= len(message.body)
        self.consumed_ms = int(time.time() * 1000)
        self._weigh()

    def reset(self, offset: int) -> None:
        """Forget what it holds and go on at `offset`; what is on its way is no longer wanted."""
        self._messages.clear()
        self.bytes = 0
        self.generation += 1
        self.next_offset = offset
        self._weigh()

    def drop(self) -> None:
        """It is no longer ours: who waits for something of it wakes up."""
        self.dropped = True
        self.arrived.set()
        self.has_room.set()

    @property
    def committable(self) -> int:
        """Everything before it is done."""
        return next(iter(self._messages), self.next_offset)

    @property
    def locked(self) -> bool:
        """Whether the broker granted it to this client, lately enough."""
        return time.monotonic() - self.locked_at < LOCK_SECONDS

    def _weigh(self) -> None:
        held = len(self._messages)
        span = self.next_offset - self.committable
        full = held >= COUNT_MAX or self.bytes >= BYTES_MAX or (span > SPAN_MAX and held > 0 and not self.ordered)
        if full and not self.dropped:
            self.has_room.clear()
        else:
            self.has_room.set()
        if held or self.dropped:
            self.arrived.set()
        else:
            self.arrived.clear()
