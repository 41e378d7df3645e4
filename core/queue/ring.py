"""The consumers of a queue, and whose turn it is: the highest priority first, equals in turns, message by message.

One without credit or with a full output leaves the ring when its turn comes, until whatever stopped it wakes it; while
those of a priority are out of it, the next lower one has its turns. In a ring with a single active consumer that one
alone takes part: the others wait until it is removed, in the order of their priority, then of their coming. A newcomer
of a higher priority does not take over (classic queues of RabbitMQ).
"""

from __future__ import annotations

from bisect import insort
from operator import attrgetter

import cython

if cython.compiled:
    from cython.cimports.core.queue.consumer import Consumer
else:
    from core.queue.consumer import Consumer


@cython.final
@cython.cclass
class Equals:
    """Consumers of one priority: `members` are the queue's, `available` are in the ring; `at` = whose turn."""

    def __init__(self, priority: cython.longlong):
        self.priority = priority
        self.members = self.at = 0
        self.available = []


BY_PRIORITY = attrgetter("priority")


@cython.final
@cython.cclass
class Ring:
    """consumers: all of the queue, in the order they came; available: the groups with someone in the ring, ascending.

    single  only one takes part, `active` (None: there is nobody)
    sole    the only one in the ring, or None: most queues have one consumer
    """

    def __init__(self):
        self.consumers = []
        self.available = []
        self.single = False
        self.active = self.sole = None
        self._groups = {}  # priority -> Equals
        self._memo = None

    @cython.cfunc
    def pick(self) -> Consumer:
        """The next consumer that can take a message, or None; those that cannot leave the ring."""
        consumer: Consumer = self.sole
        if consumer is not None and consumer.can_take():
            return consumer
        if consumer is not None:
            self._leave(self.available[0], consumer)
        equals: Equals
        while self.available:
            equals = self.available[-1]
            while equals.available:
                if equals.at >= len(equals.available):
                    equals.at = 0
                consumer = equals.available[equals.at]
                if consumer.can_take():
                    equals.at += 1
                    return consumer
                consumer.available = False
                del equals.available[equals.at]
            self.available.pop()
            self._see_sole()
        return None

    @cython.cfunc
    def _see_sole(self):
        """After a change of who is in the ring."""
        self.sole = None
        if len(self.available) == 1:
            equals: Equals = self.available[0]
            if len(equals.available) == 1:
                self.sole = equals.available[0]

    def add(self, consumer: Consumer) -> None:
        """One more, who is not in the ring before wake()."""
        self.consumers.append(consumer)
        equals: Equals = self._equals(consumer.priority)
        equals.members += 1
        if self.single and self.active is None:
            self.active = consumer

    def remove(self, consumer: Consumer) -> bool:
        """It gets no more; nobody keeps it to be woken. True = it was the active one: promote() another."""
        consumer.cancelled = True
        self.consumers.remove(consumer)
        equals: Equals = self._equals(consumer.priority)
        if consumer.available:
            self._leave(equals, consumer)
        elif consumer.stalled and consumer in consumer.gate.closed_out:
            consumer.gate.closed_out.remove(consumer)
        equals.members -= 1
        if equals.members == 0:
            del self._groups[equals.priority]
            self._memo = None
        if self.active is not consumer:
            return False
        self.active = None
        return True

    def promote(self) -> Consumer | None:
        """Make the best of those that wait the active one, and return it: wake() lets it take part."""
        staying = [each for each in self.consumers if not each.cancelled]
        self.active = max(staying, key=BY_PRIORITY, default=None)  # of equals the first, which came first
        return self.active

    def _leave(self, equals: Equals, consumer: Consumer) -> None:
        """Out of the ring; the turn stays with whom it was."""
        at = equals.available.index(consumer)
        del equals.available[at]
        if at < equals.at:
            equals.at -= 1
        if not equals.available:
            self.available.remove(equals)
        consumer.available = False
        self._see_sole()

    @cython.cfunc
    @cython.exceptval(-1)
    def wake(self, consumer: Consumer) -> cython.bint:
        """Into the ring; False when it is there, or may not be."""
        if consumer.available or consumer.cancelled or (self.single and consumer is not self.active):
            return False
        consumer.available = True
        consumer.stalled = False
        equals: Equals = self._equals(consumer.priority)
        if not self.available:
            self.available.append(equals)
        elif not equals.available:
            insort(self.available, equals, key=BY_PRIORITY)
        equals.available.append(consumer)
        self._see_sole()
        return True

    @cython.cfunc
    def _equals(self, priority: cython.longlong) -> Equals:
        """The group of that priority."""
        equals: Equals = self._memo
        if equals is None or equals.priority != priority:
            equals = self._groups.get(priority)
            if equals is None:
                equals = self._groups[priority] = Equals(priority)
            self._memo = equals
        return equals
