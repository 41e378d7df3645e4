"""A queue and the consumers that share it: what is ready, who may take it, and what comes back.

Ready = the units from `next` to the end, and a heap of the offsets that came back: a requeue is to the original place,
and a delivery takes the smaller of the two (architecture rule 8.4). Who may take it: ring.py.
"""

from __future__ import annotations

from heapq import heappop, heappush

import cython

from core.queue.cursor import Cursor
from core.queue.index import Index

if cython.compiled:
    from cython.cimports.core.log.tail import Tail
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.consumer import Consumer, Source
    from cython.cimports.core.queue.held import Held
    from cython.cimports.core.queue.ring import Ring
    from cython.cimports.core.turn import Turn
else:
    from core.log.tail import Tail
    from core.message import Message
    from core.queue.consumer import Consumer, Source
    from core.queue.held import Held
    from core.queue.ring import Ring
    from core.turn import Turn

DELIVERED, SKIPPED, WAITING = 1, 2, 0
EXPIRED_AT_ONCE = 2000  # in one call of expire(): the rest goes in the next


@cython.cclass
class Queue(Source):
    """One queue. A durable one is an index of units into the log; a transient one holds the messages themselves.

    `wake_at(queue, ms)` asks for expire() at a time; `cold(queue, offset)` asks for a message that is not in memory:
    it fills `ahead`, clears `reading` and activates the queue.
    """

    def __init__(self, identity: tuple, durable: bool, turn: Turn, tail: Tail):
        Source.__init__(self)
        self.id, self.vhost, self.name = identity
        self.durable, self.turn, self.tail = durable, turn, tail
        self.index = Index() if durable else None
        self.held = None if durable else Held()
        self.cursor = Cursor()
        self.next = self.redelivered_below = self.code = 0
        self._returned = []
        self.ready = self.unacked = 0
        self.ring = Ring()
        self.consumers = self.ring.consumers
        self._parked = []
        self.ttl_ms = -1
        self.cold = self.wake_at = self.owner = self.settings = None
        self.ahead = {}
        self.reading = self.stopped = self.settled = self.deleted = self._expiring = False
        self.published = self.delivered = self.acked = self.redelivered = self.expired = 0

    def configure(self, settings) -> None:
        """Take on what arguments and policies ask for (core/state/settings.py), at first and when that changes."""
        self.settings, self.ttl_ms = settings, settings.ttl_ms
        if self.ready > 0 and self.wake_at is not None:
            self._expiring = True  # a transient queue's messages go by the new time, those in the log by their own
            self._watch()

    @property
    def bytes_held(self) -> int:
        """Of messages that are in memory because this queue holds them."""
        return 0 if self.held is None else self.held.bytes

    @cython.ccall
    @cython.exceptval(-1)
    def end(self) -> cython.longlong:
        """The offset that the next message gets."""
        if self.durable:
            return self.index.end
        return self.held.end

    @cython.cfunc
    @cython.exceptval(-1)
    def code_of(self, message: Message) -> cython.longlong:
        """The tags code of the message's unit here: when it expires, 0 = never."""
        code: cython.longlong = message.expire_at
        if self.ttl_ms >= 0 and (code == 0 or message.store_ms + self.ttl_ms < code):
            code = message.store_ms + self.ttl_ms
        return code

    @cython.ccall
    def push(self, message: Message, code: cython.longlong):
        """Append a message; a durable queue's message is in the log already. `code` = when it expires here, or 0."""
        if self.durable:
            self.index.put(self.index.end, message.offset, message.record_size, code)
        else:
            self.held.add(message)
        self.published += 1
        self.ready += 1
        if not self.active and (self.ring.available or self._parked):
            self.turn.activate(self)
        if code and self.wake_at is not None:  # after activate(): with a TTL of 0 it is served before it expires
            self._expiring = True
            if self.ready == 1:
                self.wake_at(self, code)

    @cython.ccall
    @cython.exceptval(-1)
    def serve(self, budget: cython.int) -> cython.int:
        """Deliver up to `budget` messages to whoever can take them, and return how many were looked at."""
        made: cython.int = 0
        if self._parked:
            made = self._serve_parked(budget)
        while made < budget and self.ready > 0 and not self.reading:
            consumer: Consumer = self.ring.pick()
            if consumer is None:
                break
            if self.offer(consumer) == 0:
                break
            made += 1
        if self._expiring:
            self._watch()
        return made

    @cython.cfunc
    @cython.exceptval(-1)
    def _serve_parked(self, budget: cython.int) -> cython.int:
        """One-shot consumers come first. What answers one may park the next, close its channel or delete the queue."""
        made: cython.int = 0
        while made < budget and self._parked:
            waiting: Consumer = self._parked.pop(0)
            if waiting.cancelled:
                continue
            made += 1
            result: cython.int = 0 if self.deleted else self.offer(waiting)
            if result == 2:
                self._parked.insert(0, waiting)
            elif result == 0 and self.reading and self.ready > 0:
                self._parked.insert(0, waiting)
                break
            elif result == 0:
                waiting.nothing()
        return made

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
            message: Message = self.held.get(offset)
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
        """Give the first ready message to `consumer`: DELIVERED, SKIPPED (had expired) or WAITING (none, or cold)."""
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
        if self.deleted or not self.cursor.settle(offset):
            return
        if self.durable:
            self._progressed()
        else:
            self.held.settle(offset)

    @cython.cfunc
    def _progressed(self):
        """A durable queue's cursor has something for the batch's *done* record."""
        if self.cursor.floor - self.index.begin >= 512:
            self.index.trim(self.cursor.floor)
        if not self.settled:
            self.settled = True
            self.turn.settled.append(self)
            self.turn.schedule()

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
        assert not self.cursor.is_done(offset), f"offset {offset} of queue {self.name} came back and was settled"
        heappush(self._returned, offset)
        self.ready += 1
        if not self.active and (self.ring.available or self._parked or self._expiring):
            self.turn.activate(self)

    def add_consumer(self, consumer: Consumer) -> None:
        """Let `consumer` take its turn from now on."""
        self.ring.add(consumer)
        self.wake(consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """It gets no more; what it holds unacknowledged stays its own. If it was the single active one, another is."""
        if self.ring.remove(consumer) and not self.deleted and not self.stopped:
            heir = self.ring.promote()
            if heir is not None:
                self.wake(heir)

    @cython.ccall
    def wake(self, consumer: Consumer):
        """It may be able to take messages again: back into the ring, and the queue is served if it has any."""
        if self.ring.wake(consumer) and self.ready > 0 and not self.active and not self.reading:
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

    def stop(self) -> None:
        """What comes next cannot be read: who waits for it, or consumes, is told, and nothing is delivered until the
        queue is purged (or the broker starts anew). What is published is taken in as ever."""
        self.stopped = True
        for consumer in list(self.consumers):
            self.remove_consumer(consumer)
            consumer.gone()
        parked, self._parked = self._parked, []
        for waiting in parked:
            if not waiting.cancelled:
                waiting.gone()

    def purge(self) -> int:
        """Settle everything that is ready and return how many messages that were."""
        if self.stopped:
            self.stopped = self.reading = False
        count, end = self.ready, self.end()
        for offset in self._returned:
            self.settle(offset)
        self._returned = []
        if self.durable and self.cursor.floor == self.next < end:
            self.cursor.settle_range(self.next, end)
            self.next = end
            self._progressed()
        while self.next < end:
            self.settle(self.next)
            self.next += 1
        self.ready = 0
        self.ahead = {}
        return count

    def discard(self) -> None:
        """The queue was deleted: what it held is forgotten, and who waits for a message learns that there is none."""
        self.deleted = True
        self.ready = 0
        self._returned = []
        self.ahead = {}
        if self.durable:
            self.index.trim(self.index.end)
        else:
            self.held = Held()
        self.next = self.end()
        self.turn.activate(self)

    @cython.cfunc
    def _watch(self):
        """Have expire() called when the message at the head expires; heads change, and not each one expires."""
        if self.ready > 0:
            code: cython.longlong = self.expiry_of(self._first())
            if code > 0:
                self.wake_at(self, code)
        elif self.unacked == 0:
            self._expiring = False

    def expire(self) -> int:
        """Drop what expired at the head, ask to be woken for the next, and return how many went."""
        count = 0
        now = self.turn.clock.ms
        while self.ready > 0:
            offset = self._first()
            if offset < 0:
                break
            code = self.expiry_of(offset)
            if code <= 0:
                break
            if code > now or count == EXPIRED_AT_ONCE:
                self.wake_at(self, max(code, now + 1))
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
        message = self.held.get(offset)
        due = message.store_ms + self.ttl_ms if self.ttl_ms >= 0 else 0
        return min(filter(None, (due, message.expire_at)), default=0)

    def restored(self) -> None:
        """After recovery: everything that is not done is ready again, and may have been delivered before."""
        self._expiring = self.wake_at is not None  # some may
        self.index.trim(self.cursor.floor)
        self.next = self.cursor.floor
        self.redelivered_below = self.index.end
        self.ready = self.index.end - self.cursor.floor - self.cursor.done_above
