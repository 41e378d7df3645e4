"""A quorum queue: durable, and it counts how often each message came back, so that a limit can end its journey.

What comes back: requeued by a client, or held by a channel or connection that ends (as RabbitMQ's rabbit_fifo.erl).
What was out when the broker was killed is not counted, because no record says that it was. The counts go into the
batch's *done* record: one that was committed survives.

Delayed retry (as in RabbitMQ 4.3): what comes back may wait before it is ready again, min(least * count, most) ms. It
keeps its place, is neither ready nor unacknowledged meanwhile, and the record of its count says until when it waits.
"""

from __future__ import annotations

import logging
from typing import Any

import cython
import msgspec

from core.queue.counts import Counts
from core.queue.due import DueHeap
from core.state.arguments import MS_MAX
from core.state.settings import DROP_HEAD, RETRY_ALL, RETRY_FAILED, RETRY_RETURNED

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.due import DueHeap
    from cython.cimports.core.state.replay import LoggedQueue
else:
    from core.message import Message
    from core.state.replay import LoggedQueue

logger = logging.getLogger(__name__)

RETRIED_AT_ONCE = cython.declare(cython.int, 2000)  # in one call of expire(): the rest goes in the next
DELIVERY_LIMIT = "delivery_limit"  # RabbitMQ's name of the reason for a dead letter


@cython.cclass
class QuorumQueue(LoggedQueue):
    """delivery_limit: how often a message may come back, -1 = without a limit; once more and it is dropped.
    retry_min_ms, retry_max_ms: how long what comes back waits, per return and at most; -1 = not at all, no limit."""

    def __init__(self, identity: tuple, durable: bool, turn: Any, tail: Any):
        LoggedQueue.__init__(self, identity, durable, turn, tail)
        self.counts = Counts()
        self.delivery_limit = self.retry_min_ms = self.retry_max_ms = -1
        self._failed_waits = self._returned_waits = False
        self._due = DueHeap()

    def configure(self, settings) -> None:
        """See Queue.configure. reject-publish-dlx is not for quorum queues, as in RabbitMQ: they drop the head."""
        if settings.buries_refused:
            logger.warning(
                "a quorum queue does not serve overflow 'reject-publish-dlx': its head is dropped",
                extra={"queue": self.name, "vhost": self.vhost.decode()},
            )
            settings = msgspec.structs.replace(settings, overflow=DROP_HEAD)
        self.delivery_limit = settings.delivery_limit
        self.retry_min_ms, self.retry_max_ms = settings.retry_min_ms, settings.retry_max_ms
        self._failed_waits = settings.retry_type in (RETRY_ALL, RETRY_FAILED)
        self._returned_waits = settings.retry_type in (RETRY_ALL, RETRY_RETURNED)
        LoggedQueue.configure(self, settings)

    @cython.ccall
    def give_back(self, offset: cython.longlong):
        """See Queue.give_back. What came back too often goes as a dead letter does."""
        self._come_back(offset, self._returned_waits)

    @cython.ccall
    def requeue(self, offset: cython.longlong):
        """See Queue.requeue."""
        self._come_back(offset, self._failed_waits)

    @cython.cfunc
    def _come_back(self, offset: cython.longlong, waits: cython.bint):
        if not self.deleted:
            if 0 <= self.delivery_limit <= self.counts.of(offset):
                self.unacked -= 1
                self.drop(offset, DELIVERY_LIMIT)
                return
            self.counts.add(offset)
            self._progressed()
            if waits and self.retry_min_ms > 0:
                self.unacked -= 1
                self._wait(offset, self.turn.clock.ms + self._delay_ms(offset))
                return
        LoggedQueue.give_back(self, offset)

    def _delay_ms(self, offset: int) -> int:
        """How long it waits, now that it was counted."""
        most = MS_MAX if self.retry_max_ms < 0 else self.retry_max_ms
        return min(self.retry_min_ms * self.counts.of(offset), most)

    @cython.cfunc
    def _wait(self, offset: cython.longlong, ms: cython.longlong):
        """It is ready again at `ms`."""
        self.counts.wait(offset, ms)
        self._due.push(ms, offset)
        self.delayed += 1
        if self._due.first() == ms:
            self.wake_at(self, ms)

    def expire(self) -> int:
        """See Expiring.expire; what has waited is ready again before."""
        now = self.turn.clock.ms
        for _ in range(RETRIED_AT_ONCE):
            if not 0 <= self._due.first() <= now:
                break
            offset = self._due.pop()
            self.counts.waited(offset)
            self.delayed -= 1
            self._again(offset)
        self.all_back()
        if self._due.first() >= 0:
            self.wake_at(self, max(self._due.first(), now + 1))
        return LoggedQueue.expire(self)  # type: ignore[no-any-return]

    @cython.ccall
    def relocate(self, offset: cython.longlong, copy: Message):
        """See LoggedQueue.relocate. What is counted is stated anew behind the copy."""
        self.counts.restate(offset)
        LoggedQueue.relocate(self, offset, copy)

    @cython.ccall
    def settle(self, offset: cython.longlong):
        """See Stock.settle."""
        self.counts.forget(offset)
        LoggedQueue.settle(self, offset)

    @cython.ccall
    def settle_moved(self, offset: cython.longlong, stated: cython.bint):
        """See Stock.settle_moved."""
        self.counts.forget(offset)
        LoggedQueue.settle_moved(self, offset, stated)

    def purge(self) -> int:
        """See Queue.purge."""
        count: int = LoggedQueue.purge(self)
        self.counts.prune(self.cursor)
        return count

    def adopt(self, slot: Any) -> None:
        """See LoggedQueue.adopt."""
        if slot.counts is not None:
            self.counts = slot.counts
        LoggedQueue.adopt(self, slot)
        self.counts.prune(self.cursor)
        for offset, ms in self.counts.waiting():
            if self.aside is None:
                self.aside = set()
            self.aside.add(offset)
            self.ready -= 1
            self._wait(offset, ms)

    def discard(self) -> None:
        """See Queue.discard."""
        self.counts = Counts()
        self._due = DueHeap()
        LoggedQueue.discard(self)
