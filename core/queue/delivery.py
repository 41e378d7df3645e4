"""A queue and the consumers that share it: who may take what is ready, and what comes back.

What the queue holds is stock.py's, when that expires expiry.py's, how much there may be of it bounded.py's, whose turn
it is ring.py's.
"""

from __future__ import annotations

from heapq import heappush

import cython

if cython.compiled:
    from cython.cimports.core.log.tail import Tail
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.bounded import Bounded
    from cython.cimports.core.queue.consumer import Consumer
    from cython.cimports.core.queue.limits import Limits
    from cython.cimports.core.queue.ring import Ring
    from cython.cimports.core.queue.stock import BURYING_MAX
    from cython.cimports.core.turn import Turn
else:
    from core.log.tail import Tail
    from core.message import Message
    from core.queue.bounded import Bounded
    from core.queue.consumer import Consumer
    from core.queue.limits import Limits
    from core.queue.ring import Ring
    from core.queue.stock import BURYING_MAX
    from core.turn import Turn

DELIVERED, SKIPPED, WAITING = 1, 2, 0
EXPIRES = cython.declare(cython.longlong, (1 << 54) - 1)  # of a tags code; as a time: never (expiry.py)


@cython.cclass
class Queue(Bounded):
    """One queue. owner: the connection that it is exclusive to, or None; stopped: what comes next cannot be read."""

    def __init__(self, identity: tuple, durable: bool, turn: Turn, tail: Tail):
        Bounded.__init__(self, identity, durable, turn, tail)
        self.ring = Ring()
        self.consumers = self.ring.consumers
        self._parked = []
        self.owner = None
        self.stopped = False
        self.published = self.delivered = self.redelivered = 0

    @cython.ccall
    def push(self, message: Message, code: cython.longlong):
        """Append a message; a durable queue's message is in the log already. `code` = code_of() it."""
        if self.durable:
            self.index.put(self.index.end, message.offset, message.record_size, message.body_size, code)
        else:
            self.held.add(message, code & EXPIRES)
        self.published += 1
        self.ready += 1
        if self.keys is not None:
            self.keys.put(message, self.end() - 1)
        if self.levels is not None:
            self.levels.put(self.end() - 1, code >> 54)
            code &= EXPIRES
        if not self.active and (self.ring.sole is not None or self.ring.available or self._parked):
            self.turn.activate(self)
        if code == 0:
            self.latest = EXPIRES  # never
        elif self.wake_at is not None:  # after activate(): with a TTL of 0 it is served before it expires
            self._will_expire(code)
        if self.limits is not None:
            self._entered(message)

    @cython.cfunc
    def _entered(self, message: Message):
        """Of a queue with limits: one more is ready. A consumer that can take messages gets them, as when they come one
        by one; what is too much after that goes."""
        limits: Limits = self.limits
        limits.put(self.end() - 1, message.body_size)
        if not limits.refusing and limits.exceeded(self.ready, 0):
            self._hand_out(0, 0)
            self._drop_heads()

    @cython.ccall
    @cython.exceptval(-1)
    def refuses(self, message: Message) -> cython.bint:
        """Whether a queue with limits is full, and so does not take this message in."""
        limits: Limits = self.limits
        if not limits.refusing or not limits.exceeded(self.ready + 1, message.body_size):
            return False
        self._hand_out(1, message.body_size)
        if not limits.exceeded(self.ready + 1, message.body_size):
            return False
        self.refused += 1
        return True

    @cython.cfunc
    def _hand_out(self, count: cython.Py_ssize_t, size: cython.Py_ssize_t):
        """Deliver to whoever can take messages while what is ready, with so many and their bytes more, is too much."""
        limits: Limits = self.limits
        while self.ready > 0 and not self.reading and limits.exceeded(self.ready + count, size):
            consumer: Consumer = self.ring.pick()
            if consumer is None or self.offer(consumer) == 0:
                break

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
        if self.limits is not None:
            self._keep_within()
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
            elif result == 0 and self.ready > 0 and (self.reading or self._held_up):
                self._parked.insert(0, waiting)
                break
            elif result == 0:
                waiting.nothing()
        return made

    @cython.ccall
    @cython.exceptval(-1)
    def offer(self, consumer: Consumer) -> cython.int:
        """Give the first ready message to `consumer`: DELIVERED, SKIPPED (had expired, or is lost) or WAITING (none, or
        cold)."""
        offset: cython.longlong = self._first()
        if offset < 0:
            return 0
        message: Message = self._ready_message(offset)
        if self.code and self.code < self.turn.clock.ms:  # a TTL of 0 still reaches who takes it in this turn
            if self.burying >= BURYING_MAX:
                self._held_up = True
                return 0
            self._go(offset)
            return 2
        if message is None:
            return self._missing(offset)
        redelivered: cython.bint = offset < self.redelivered_below
        if self.levels is not None:
            redelivered = redelivered or self.levels.came_back(offset)
        elif self._returned and self._returned[0] == offset:
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

    @cython.ccall
    def give_back(self, offset: cython.longlong):
        """A message that was held unacknowledged is ready again, at its own place, to be marked redelivered."""
        self.unacked -= 1
        if self.deleted:
            return
        assert not self.cursor.is_done(offset), f"offset {offset} of queue {self.name} came back and was settled"
        self._again(offset)

    @cython.ccall
    def requeue(self, offset: cython.longlong):
        """As give_back(), but a client asked for it."""
        self.give_back(offset)

    @cython.ccall
    def all_back(self):
        """See Source. As in RabbitMQ's requeue, heads go before a consumer is offered any."""
        if self.limits is not None and not self.limits.refusing:
            self._drop_heads()

    @cython.cfunc
    def _again(self, offset: cython.longlong):
        """What was taken is ready again."""
        if self.levels is not None:
            self.levels.give_back(offset)
        elif offset < self.next:
            heappush(self._returned, offset)
        if self.aside:
            self.aside.discard(offset)
        if self.overtaking is not None:
            self.overtaking.came_back(offset)
        self.ready += 1
        if self.limits is not None:
            self.limits.give_back(offset)
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
            self.stopped = self.reading = self._loading = False
        count, end = self.ready, self.end()
        aside = self.aside or ()
        for offset in self._returned if self.levels is None else list(self.levels.offsets()):
            if self.levels is not None:
                self.levels.take(offset)
            elif self.overtaking is not None and offset not in self.overtaking.back:
                continue
            self.settle(offset)
        self._returned = []
        if self.levels is not None:
            self.next = end
        elif self.cursor.floor == self.next < end and not aside:
            self.cursor.settle_range(self.next, end)
            self.next = end
            if self.durable:
                self._progressed()
            else:
                self.cursor.take_runs()
                self.held.clear()
            if self.keys is not None:
                self.keys.sift(self.cursor)
        while self.next < end:
            if self.next not in aside:
                self.settle(self.next)
            self.next += 1
        self.ready = 0
        self.ahead = {}
        if self.overtaking is not None:
            self.overtaking.back.clear()
        if self.limits is not None:
            self.limits.purged()
        return count

    def discard(self) -> None:
        """The queue was deleted: what it held is forgotten, and who waits for a message learns that there is none."""
        self.deleted = True
        self.overtaking = self.aside = self.limits = None
        self.ready = self.delayed = 0
        self._returned = []
        if self.keys is not None:
            self.keys.clear()
        if self.levels is not None:
            self.levels.clear()
        self.ahead = {}
        if self.durable:
            self.index.trim(self.index.end)
        else:
            self.held.clear()
        self.next = self.end()
        self.turn.activate(self)
