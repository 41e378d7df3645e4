"""The consumers of a queue, and whose turn it is: equals take turns, message by message.

One without credit or with a full output leaves the ring when its turn comes, until whatever stopped it wakes it.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.queue.consumer import Consumer
else:
    from core.queue.consumer import Consumer


@cython.final
@cython.cclass
class Ring:
    """consumers: all of the queue, in the order they came; available: those in the ring, who may have credit."""

    def __init__(self):
        self.consumers = []
        self.available = []
        self._at = 0

    @cython.cfunc
    def pick(self) -> Consumer:
        """The next consumer that can take a message, or None; those that cannot leave the ring."""
        while self.available:
            if self._at >= len(self.available):
                self._at = 0
            consumer: Consumer = self.available[self._at]
            if consumer.can_take():
                self._at += 1
                return consumer
            consumer.available = False
            del self.available[self._at]
        return None

    def add(self, consumer: Consumer) -> None:
        """One more, who is not in the ring before wake()."""
        self.consumers.append(consumer)

    def remove(self, consumer: Consumer) -> None:
        """It gets no more; nobody keeps it to be woken."""
        consumer.cancelled = True
        self.consumers.remove(consumer)
        if consumer.available:
            self.available.remove(consumer)
            consumer.available = False
        elif consumer.stalled and consumer in consumer.gate.closed_out:
            consumer.gate.closed_out.remove(consumer)

    @cython.cfunc
    @cython.exceptval(-1)
    def wake(self, consumer: Consumer) -> cython.bint:
        """Back into the ring; False when it is there, or gone."""
        if consumer.available or consumer.cancelled:
            return False
        consumer.available = True
        consumer.stalled = False
        self.available.append(consumer)
        return True
