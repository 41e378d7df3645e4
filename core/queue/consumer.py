"""Who takes messages from a queue, and the limits under which they do: consumers, and the gates that several share.

A consumer without credit or with a full output leaves its queue's ring until whatever stopped it wakes it again: then
it is `stalled`, and on one list only, its gate's or its connection's.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.turn import Servable
else:
    from core.message import Message
    from core.turn import Servable


@cython.cclass
class Source(Servable):
    """What a consumer's messages come from, and go back to: a queue."""

    @cython.ccall
    def wake(self, consumer: Consumer):
        """It may be able to take messages again."""
        raise NotImplementedError

    @cython.ccall
    def acknowledge(self, offset: cython.longlong):
        """A consumer is done with a message that it held unacknowledged."""
        raise NotImplementedError

    @cython.ccall
    def reject(self, offset: cython.longlong):
        """A consumer wants nothing of a message that it held unacknowledged."""
        raise NotImplementedError

    @cython.ccall
    def give_back(self, offset: cython.longlong):
        """A message that was held unacknowledged is ready again, at its own place, to be marked redelivered."""
        raise NotImplementedError

    @cython.ccall
    def requeue(self, offset: cython.longlong):
        """As give_back(), but a client asked for it: what it was to do with the message failed."""
        raise NotImplementedError

    @cython.ccall
    def all_back(self):
        """What is given back together is all back: only now may a queue find that it is too much."""


@cython.cclass
class Gate:
    """A limit that several consumers share (AMQP's global prefetch): limit 0 = none."""

    def __init__(self):
        self.limit = self.unacked = 0
        self.closed_out = []  # consumers that left their queue's ring because of this gate

    @cython.ccall
    def open(self):
        """Those that were closed out may try again."""
        waiting: list = self.closed_out
        self.closed_out = []
        for item in waiting:
            consumer: Consumer = item
            consumer.queue.wake(consumer)


@cython.cclass
class Consumer:
    """Whoever takes messages from a queue. A protocol's subclass says whether it can and what a delivery looks like.

    prefetch 0 = no limit; a no_ack consumer has no limit but its connection's output.
    priority: the higher gets all that it can take. timeout_ms: how long it may keep a message unacknowledged, 0 = for
    ever, -1 = as its queue says. available = it is in its queue's ring; stalled = it left, and its
    gate or its connection's output will wake it.
    """

    def __init__(self, queue: Source, gate: Gate):
        self.queue = queue
        self.gate = gate
        self.no_ack = self.exclusive = self.available = self.stalled = self.cancelled = False
        self.prefetch = self.unacked = 0
        self.priority = 0
        self.timeout_ms = -1

    @cython.ccall
    @cython.exceptval(-1)
    def can_take(self) -> cython.bint:
        """Whether one more message may go to it now."""
        if self.no_ack:
            return True
        if self.prefetch and self.unacked >= self.prefetch:
            return False
        if self.gate.limit and self.gate.unacked >= self.gate.limit:
            self.close_out()
            return False
        return True

    @cython.cfunc
    def close_out(self):
        """It waits until something held under its gate is settled."""
        self.stalled = True
        self.gate.closed_out.append(self)

    @cython.ccall
    def deliver(self, message: Message, offset: cython.longlong, redelivered: cython.bint):
        """Take one message. A consumer that acks must remember `offset`; the queue counts it as unacknowledged."""
        raise NotImplementedError

    def nothing(self) -> None:
        """A one-shot consumer (basic.get) is told that the queue has nothing ready."""
        raise NotImplementedError

    def gone(self) -> None:
        """Its queue was deleted under it, or has stopped (`queue.stopped`)."""

    @cython.ccall
    def release(self):
        """One of its messages was settled or went back: its credit, and its gate's, grow by one."""
        self.unacked -= 1
        gate: Gate = self.gate
        gate.unacked -= 1
        if gate.closed_out:
            gate.open()
        if not self.available and not self.stalled:
            self.queue.wake(self)
