"""A quorum queue: durable, and it counts how often each message came back, so that a limit can end its journey.

What comes back: requeued by a client, or held by a channel or connection that ends (as RabbitMQ's rabbit_fifo.erl).
What was out when the broker was killed is not counted, because no record says that it was. The counts go into the
batch's *done* record: one that was committed survives.
"""

from __future__ import annotations

import logging
from typing import Any

import cython
import msgspec

from core.queue.counts import Counts
from core.state.settings import DROP_HEAD

if cython.compiled:
    from cython.cimports.core.state.replay import LoggedQueue
else:
    from core.state.replay import LoggedQueue

logger = logging.getLogger(__name__)

DELIVERY_LIMIT = "delivery_limit"  # RabbitMQ's name of the reason for a dead letter


@cython.cclass
class QuorumQueue(LoggedQueue):
    """delivery_limit: how often a message may come back, -1 = without a limit; once more and it is dropped."""

    def __init__(self, identity: tuple, durable: bool, turn: Any, tail: Any):
        LoggedQueue.__init__(self, identity, durable, turn, tail)
        self.counts = Counts()
        self.delivery_limit = -1

    def configure(self, settings) -> None:
        """See Queue.configure. reject-publish-dlx is not for quorum queues, as in RabbitMQ: they drop the head."""
        if settings.buries_refused:
            logger.warning(
                "a quorum queue does not serve overflow 'reject-publish-dlx': its head is dropped",
                extra={"queue": self.name, "vhost": self.vhost.decode()},
            )
            settings = msgspec.structs.replace(settings, overflow=DROP_HEAD)
        self.delivery_limit = settings.delivery_limit
        LoggedQueue.configure(self, settings)

    @cython.ccall
    def give_back(self, offset: cython.longlong):
        """See Queue.give_back. What came back too often goes as a dead letter does."""
        if not self.deleted:
            if 0 <= self.delivery_limit <= self.counts.of(offset):
                self.unacked -= 1
                self.drop(offset, DELIVERY_LIMIT)
                return
            self.counts.add(offset)
            self._progressed()
        LoggedQueue.give_back(self, offset)

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

    def discard(self) -> None:
        """See Queue.discard."""
        self.counts = Counts()
        LoggedQueue.discard(self)
