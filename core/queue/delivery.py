"""A queue and the consumers that share it: what is ready, who may take it, and what comes back.

Ready = the units from `next` to the end, and a heap of the offsets that came back: a requeue is to the original place,
and a delivery takes the smaller of the two (architecture rule 8.4). Equal consumers take turns, message by message; one
without credit or with a full output leaves the ring until it is woken.
"""

from __future__ import annotations

from heapq import heappop, heappush

import cython

from core.queue.cursor import Cursor
from core.queue.index import Index

if cython.compiled:
    from cython.cimports.core.log.tail import Tail
    from cython.cimports.core.message import Message
    from cython.cimports.core.turn import Servable, Turn
else:
    from core.log.tail import Tail
    from core.message import Message
    from core.turn import Servable, Turn

DELIVERED, SKIPPED, WAITING = 1, 2, 0
RING_TRIM = 1024  # consumed slots of a transient queue's ring that are given back at once


@cython.cclass
class Gate:
    """A limit that several consumers share (AMQP's global prefetch): limit 0 = none."""

    def __init__(self):
        self.limit = self.unacked = 0
        self.closed_out = []  # consumers that left their queue's ring because of this gate


@cython.cclass
class Consumer:
    """Whoever takes messages from a queue. A protocol's subclass says whether it can and what a delivery looks like.

    prefetch 0 = no limit; a no_ack consumer has no limit but its connection's output.
    """

    def __init__(self, queue: Queue, gate: Gate):
        self.queue = queue
        self.gate = gate
        self.no_ack = self.exclusive = self.available = self.cancelled = False
        self.prefetch = self.unacked = 0

    @cython.ccall
    @cython.exceptval(-1)
    def can_take(self) -> cython.bint:
        """Whether one more message may go to it now."""
        if self.no_ack:
            return True
        if self.prefetch and self.unacked >= self.prefetch:
            return False
        if self.gate.limit and self.gate.unacked >= self.gate.limit:
            self.gate.closed_out.append(self)
            return False
        return True

    @cython.ccall
    def deliver(self, message: Message, offset: cython.longlong, redelivered: cython.bint):
        """Take one message. A consumer that acks must remember `offset`; the queue counts it as unacknowledged."""
        raise NotImplementedError

    def nothing(self) -> None:
        """A one-shot consumer (basic.get) is told that the queue has nothing ready."""
        raise NotImplementedError

    def gone(self) -> None:
        """Its queue was deleted under it."""

    @cython.ccall
    def release(self):
        """One of its messages was settled or went back: its credit, and its gate's, grow by one."""
        self.unacked -= 1
        gate: Gate = self.gate
        gate.unacked -= 1
        if gate.closed_out:
            waiting: list = gate.closed_out
            gate.closed_out = []
            for item in waiting:
                consumer: Consumer = item
                if not consumer.cancelled:
                    consumer.queue.wake(consumer)
        if not self.available and not self.cancelled:
            self.queue.wake(self)


@cython.cclass
class Queue(Servable):
    """One queue. A durable one is an Index of units into the log; a transient one holds the messages themselves.

    `wake_at(queue, ms)` asks for expire() at a time; `cold(queue, offset)` asks for a message that is not in memory:
    it fills `ahead`, clears `reading` and activates the queue.
    """

    def __init__(self, identity: tuple, durable: bool, turn: Turn, tail: Tail):
        Servable.__init__(self)
        self.id, self.vhost, self.name = identity
        self.durable = durable
        self.turn = turn
        self.tail = tail
        self.index = Index() if durable else None
        self.cursor = Cursor()
        self._ring = []
        self._ring_base = 0
        self.next = self.redelivered_below = 0
        self._returned = []
        self.ready = self.unacked = 0
        self.consumers = []
        self._available = []
        self._parked = []
        self._at = 0
        self.ttl_ms = -1
        self.cold = self.wake_at = self.owner = None
        self.ahead = {}
        self.reading = self.settled = self.deleted = False
        self.published = self.delivered = self.acked = self.redelivered = self.expired = 0
        self.dropped_bytes = self.bytes_held = 0
        self.code = 0

    @cython.ccall
    @cython.exceptval(-1)
    def end(self) -> cython.longlong:
        """The offset that the next message gets."""
        if self.durable:
            return self.index.end
        return self._ring_base + len(self._ring)

    @cython.ccall
    def push(self, message: Message, code: cython.longlong):
        """Append a message; a durable queue's message is in the log already. `code` = when it expires here, or 0."""
        if self.durable:
            self.index.put(self.index.end, message.offset, message.record_size, code)
        else:
            self._ring.append(message)
            self.bytes_held += message.body_size + 256
        self.published += 1
        self.ready += 1
        if code and self.ready == 1 and self.wake_at is not None:
            self.wake_at(self, code)
        if not self.active and (self._available or self._parked):
            self.turn.activate(self)

    @cython.ccall
    @cython.exceptval(-1)
    def serve(self, budget: cython.int) -> cython.int:
        """Deliver up to `budget` messages to whoever can take them, and return how many were looked at."""
        made: cython.int = 0
        while made < budget and self._parked:
            waiting: Consumer = self._parked[0]
            result: cython.int = self.offer(waiting)
            made += 1
            if result == 0 and self.reading:
                return made
            if result != 2:
                self._parked.pop(0)
                if result == 0:
                    waiting.nothing()
        while made < budget and self.ready > 0 and not self.reading:
            consumer: Consumer = self._pick()
            if consumer is None:
                break
            if self.offer(consumer) == 0:
                break
            made += 1
        return made

    @cython.cfunc
    def _pick(self) -> Consumer:
        """The next consumer of the ring that can take a message; those that cannot leave the ring."""
        while self._available:
            if self._at >= len(self._available):
                self._at = 0
            consumer: Consumer = self._available[self._at]
            if consumer.can_take():
                self._at += 1
                return consumer
            consumer.available = False
            del self._available[self._at]
        return None

    @cython.cfunc
    def _held(self, offset: cython.longlong) -> Message:
        """The message at `offset` of a transient queue's ring, or None when it is settled."""
        at: cython.longlong = offset - self._ring_base
        if 0 <= at < len(self._ring):
            return self._ring[at]
        return None

    @cython.cfunc
    @cython.exceptval(-2)
    def _first(self) -> cython.longlong:
        """The smallest ready offset, or -1. Leaves in `code` when its message expires."""
        end: cython.longlong = self.end()
        while self.next < end:
            if self.cursor.is_done(self.next):
                self.next += 1
                continue
            if self.durable and self.index.find(self.next) == 0:
                self.cursor.settle(self.next)  # absent: retention dropped it with its segment
                self.ready -= 1
                self.next += 1
                continue
            break
        offset: cython.longlong = self.next if self.next < end else -1
        if self._returned and (offset < 0 or self._returned[0] < offset):
            offset = self._returned[0]
        return offset

    @cython.cfunc
    def _ready_message(self, offset: cython.longlong) -> Message:
        """The message itself, or None after asking for it when it is neither in the tail nor read ahead."""
        self.code = 0
        if not self.durable:
            message: Message = self._held(offset)
            if self.ttl_ms >= 0:
                self.code = message.store_ms + self.ttl_ms
            if message.expire_at and (self.code == 0 or message.expire_at < self.code):
                self.code = message.expire_at
            return message
        if self.index.find(offset) == 1:
            self.code = self.index.code
            message = self.tail.get(self.index.log_offset)
            if message is not None:
                return message
            if self.ahead:
                message = self.ahead.pop(offset, None)
                if message is not None:
                    return message
        if not self.reading:
            self.reading = True
            self.cold(self, offset)
        return None

    @cython.ccall
    @cython.exceptval(-1)
    def offer(self, consumer: Consumer) -> cython.int:
        """Give the first ready message to `consumer`: DELIVERED, SKIPPED (it had expired) or WAITING (none, or cold)."""
        offset: cython.longlong = self._first()
        if offset < 0:
            return 0
        message: Message = self._ready_message(offset)
        if self.code and self.code < self.turn.clock.ms:  # a TTL of 0 still reaches who takes it in this turn
            self._taken(offset)
            self.expired += 1
            self.settle(offset)
            return 2
        if message is None:
            return 0
        redelivered: cython.bint = offset < self.redelivered_below
        if self._returned and self._returned[0] == offset:
            redelivered = True
        self._taken(offset)
        self.delivered += 1
        if redelivered:
            self.redelivered += 1
        if consumer.no_ack:
            consumer.deliver(message, offset, redelivered)
            self.settle(offset)
        else:
            self.unacked += 1
            consumer.unacked += 1
            consumer.gate.unacked += 1
            consumer.deliver(message, offset, redelivered)
        return 1

    @cython.cfunc
    def _taken(self, offset: cython.longlong):
        """`offset` is ready no more."""
        self.ready -= 1
        if offset == self.next:
            self.next += 1
        else:
            heappop(self._returned)

    @cython.ccall
    def settle(self, offset: cython.longlong):
        """`offset` is done for good. Idempotent. A durable queue's progress goes into the batch's *done* record."""
        if not self.cursor.settle(offset):
            return
        if self.durable:
            if self.cursor.floor - self.index.begin >= 512:
                self.index.trim(self.cursor.floor)
            if not self.settled:
                self.settled = True
                self.turn.settled.append(self)
                self.turn.schedule()
            return
        at: cython.longlong = offset - self._ring_base
        message: Message = self._ring[at]
        self.bytes_held -= message.body_size + 256
        self._ring[at] = None
        if self.cursor.floor - self._ring_base >= 1024:
            self._forget()

    @cython.cfunc
    def _forget(self):
        """Give back the slots of a transient queue that lie below the floor."""
        count: cython.longlong = self.cursor.floor - self._ring_base
        if count * 2 >= len(self._ring):
            del self._ring[:count]
            self._ring_base += count

    @cython.ccall
    def acknowledge(self, offset: cython.longlong):
        """A consumer is done with a message that it held unacknowledged."""
        self.unacked -= 1
        self.acked += 1
        self.settle(offset)

    @cython.ccall
    def give_back(self, offset: cython.longlong):
        """A message that was held unacknowledged is ready again, at its own place, to be marked redelivered."""
        self.unacked -= 1
        if self.deleted:
            return
        heappush(self._returned, offset)
        self.ready += 1
        if not self.active and (self._available or self._parked):
            self.turn.activate(self)

    def add_consumer(self, consumer: Consumer) -> None:
        """Let `consumer` take its turn from now on."""
        self.consumers.append(consumer)
        self.wake(consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """It gets no more; what it holds unacknowledged stays its own."""
        consumer.cancelled = True
        self.consumers.remove(consumer)
        if consumer.available:
            self._available.remove(consumer)
            consumer.available = False

    @cython.ccall
    def wake(self, consumer: Consumer):
        """It may be able to take messages again: back into the ring, and the queue is served if it has any."""
        if consumer.available or consumer.cancelled:
            return
        consumer.available = True
        self._available.append(consumer)
        if self.ready > 0 and not self.active and not self.reading:
            self.turn.activate(self)

    def park(self, consumer: Consumer) -> None:
        """Offer the first ready message to a one-shot consumer (basic.get) as soon as it is in memory."""
        self._parked.append(consumer)
        self.turn.activate(self)

    def read_finished(self, messages: dict) -> None:
        """What was asked for by cold() is here: offset -> message."""
        self.ahead = messages
        self.reading = False
        self.turn.activate(self)

    def purge(self) -> int:
        """Settle everything that is ready and return how many messages that were."""
        count = self.ready
        end = self.end()
        for offset in self._returned:
            self.settle(offset)
        self._returned = []
        while self.next < end:
            self.settle(self.next)
            self.next += 1
        self.ready = 0
        self.ahead = {}
        return count

    def expire(self) -> int:
        """Drop what expired at the head, ask to be woken for the next, and return how many went."""
        count = 0
        now = self.turn.clock.ms
        while self.ready > 0:
            offset = self._first()
            if offset < 0:
                break
            code = self.expiry_of(offset)
            if code == 0 or code < 0:
                break
            if code > now:
                self.wake_at(self, code)
                break
            self._taken(offset)
            self.settle(offset)
            self.expired += 1
            count += 1
        return count

    def expiry_of(self, offset: int) -> int:
        """When the message at a ready offset expires (epoch ms), 0 = never, -1 = its unit is not in memory."""
        if self.durable:
            return self.index.code if self.index.find(offset) == 1 else -1
        message = self._held(offset)
        due = message.store_ms + self.ttl_ms if self.ttl_ms >= 0 else 0
        return min(filter(None, (due, message.expire_at)), default=0)

    def restored(self) -> None:
        """After recovery: everything that is not done is ready again, and may have been delivered before."""
        self.index.trim(self.cursor.floor)
        self.next = self.cursor.floor
        self.redelivered_below = self.index.end
        self.ready = self.index.end - self.cursor.floor - self.cursor.done_above
