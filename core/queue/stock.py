"""What a queue holds: which of its messages are ready, and which are done.

Ready = the units from `next` to the end, and a heap of the offsets that came back: a requeue is to the original place,
and a delivery takes the smaller of the two (architecture rule 8.4). With priorities levels.py knows what is ready. When
they expire is expiry.py's to say, who may take them delivery.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop

import cython

from core.queue.cursor import Cursor
from core.queue.index import Index
from core.routing.once import Keys

if cython.compiled:
    from cython.cimports.core.log.tail import Tail
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.consumer import Source
    from cython.cimports.core.queue.held import Held
    from cython.cimports.core.turn import Turn
else:
    from core.log.tail import Tail
    from core.message import Message
    from core.queue.consumer import Source
    from core.queue.held import Held
    from core.turn import Turn

    BURYING_MAX = 2000  # expired ones on their way to the dead letter exchange

EXPIRES = cython.declare(cython.longlong, (1 << 54) - 1)  # of a tags code; what is above is the level (levels.py)
REJECTED = "rejected"  # RabbitMQ's name of the reason for a dead letter


@cython.cclass
class Stock(Source):
    """A queue's messages: of a durable one an index of units into the log, of a transient one the messages themselves.
    lost: those that spill/ did not give back.

    `wake_at(queue, ms)` asks for expire() at a time; `cold(queue, offset)` asks for a message that is not in memory:
    it fills `ahead`, clears `reading` and activates the queue. dead_letter = (exchange, routing key or None) or
    None, `letters` takes what goes there, `burying` = how many are on their way. counts: of a quorum queue. keys: of a
    queue that holds each deduplication key once, key_of(header block) gives a message's. overtaking: what expires
    before something in front of it (expiry.py), or None. delayed: how many came back and wait to be tried again.
    gathered: the checkpointer's epoch (core/state/done.py) in which it knows that this queue changed. codes_all: its
    code_of() has something to say of every message.
    aside: offsets that were taken from behind `next`, and are on their way out or wait; or None.
    """

    def __init__(self, identity: tuple, durable: bool, turn: Turn, tail: Tail):
        Source.__init__(self)
        self.id, self.vhost, self.name = identity
        self.durable = durable
        self.turn = turn
        self.tail = tail
        self.index = Index() if durable else None
        self.held = None if durable else Held()
        self.cursor = Cursor()
        self.levels = None  # of a queue with priorities: before anything is in it
        self.counts = self.keys = self.key_of = self.overtaking = None
        self.limits = None  # of a queue with length limits
        self.aside = None
        self.next = self.redelivered_below = 0
        self._returned = []
        self.ready = self.unacked = self.delayed = 0
        self.ttl_ms = -1
        self.cold = self.wake_at = self.letters = self.dead_letter = self.settings = None
        self.burying = self.gathered = 0
        self.codes_all = False
        self.ahead = {}
        self.reading = self.settled = self.deleted = self._expiring = self._held_up = False
        self.acked = self.expired = self.lost = 0
        self.code = 0

    def configure(self, settings) -> None:
        """Take on what arguments and policies ask for (core/state/settings.py), at first and when that changes."""
        self.settings, self.ttl_ms, self.dead_letter = settings, settings.ttl_ms, settings.dead_letter
        if settings.deduplication != (self.keys is not None):
            self.keys = Keys(self.key_of) if settings.deduplication else None

    @cython.ccall
    @cython.exceptval(-1)
    def end(self) -> cython.longlong:
        """The offset that the next message gets."""
        if self.durable:
            return self.index.end
        return self.held.end

    @cython.ccall
    @cython.exceptval(-1)
    def code_of(self, message: Message) -> cython.longlong:
        """The tags code of a message that is to enter: when it expires here (0 = never), above that its level."""
        code: cython.longlong = message.expire_at
        if self.ttl_ms >= 0 and (code == 0 or message.store_ms + self.ttl_ms < code):
            code = message.store_ms + self.ttl_ms
        if self.levels is not None:
            code |= self.levels.level_of(message) << 54
        return code

    @cython.ccall
    @cython.exceptval(-2)
    def head(self) -> cython.longlong:
        """The offset that is delivered next, or -1."""
        return self._first()

    def upcoming(self, offset: int) -> Iterable[int]:
        """Offsets in the order of delivery, from the head `offset` on; some may be done."""
        return range(offset, self.index.end) if self.levels is None else self.levels.offsets()

    @cython.cfunc
    @cython.exceptval(-2)
    def _first_of_levels(self) -> cython.longlong:
        """_first() of a queue with priorities."""
        while True:
            offset: cython.longlong = self.levels.first()
            if offset < 0:
                return -1
            if self.cursor.is_done(offset):
                self.levels.take(offset)
                self.levels.settle(offset)
            elif self.durable and self.index.find(offset) == 0:
                self._taken(offset)
                self.levels.settle(offset)
                self.cursor.settle(offset)
            else:
                return offset

    @cython.cfunc
    @cython.exceptval(-2)
    def _first(self) -> cython.longlong:
        """The ready offset that comes next, the smallest (of the highest level), or -1."""
        if self.levels is not None:
            return self._first_of_levels()
        end: cython.longlong = self.end()
        while self.next < end:
            if self.cursor.is_done(self.next):
                self.next += 1
                continue
            if self.aside and self.next in self.aside:
                self.next += 1
                continue
            if self.durable and self.index.find(self.next) == 0:
                self.cursor.settle(self.next)  # absent: retention dropped it with its segment
                self.ready -= 1
                self.next += 1
                continue
            break
        offset: cython.longlong = self.next if self.next < end else -1
        if self.overtaking is not None:
            while self._returned and self._returned[0] not in self.overtaking.back:
                heappop(self._returned)  # it expired there
        if self._returned and (offset < 0 or self._returned[0] < offset):
            offset = self._returned[0]
        return offset

    @cython.cfunc
    def _ready_message(self, offset: cython.longlong) -> Message:
        """The message itself, or None when it is not in memory: see _missing()."""
        if not self.durable:
            held: Message = self.held.get(offset)
            self.code = self.held.code
            return held
        self.code = 0
        if self.index.find(offset) == 1:
            self.code = self.index.code & EXPIRES
            message: Message = self.tail.get(self.index.log_offset)
            if message is not None:
                return message
            if self.ahead:
                return self.ahead.pop(offset, None)
        return None

    @cython.cfunc
    @cython.exceptval(-1)
    def _missing(self, offset: cython.longlong) -> cython.int:
        """The head is not in memory. It is asked for, and 0 returned; or it is lost and goes: 2."""
        if not self.durable and self.held.is_lost(offset):
            self._taken(offset)
            self.lost += 1
            self.settle(offset)
            if self.limits is not None and self.limits.max_bytes >= 0:
                self.limits.count_from(self.cursor.floor, self.end())  # nobody knows what it had
            return 2
        if not self.reading:
            self.reading = True
            self.cold(self, offset)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _body_size(self, offset: cython.longlong) -> cython.Py_ssize_t:
        """Bytes of the body of a message that is not done, 0 when its unit is absent; its chunk is in memory."""
        if self.durable:
            return self.index.body_size if self.index.find(offset) == 1 else 0
        message: Message = self.held.get(offset)
        return 0 if message is None else message.body_size  # one that is lost

    @cython.cfunc
    @cython.exceptval(-1)
    def _sized(self, offset: cython.longlong) -> cython.bint:
        """Whether _body_size() can tell what is not the head; if it must, its chunk of the index is asked for, and
        this goes on when it is there."""
        return True

    @cython.cfunc
    def _taken(self, offset: cython.longlong):
        """`offset` is ready no more. Only what expires is not the first of all."""
        self.ready -= 1
        if self.limits is not None and self.limits.max_bytes >= 0:
            self.limits.take(offset, self._body_size(offset))
        if self.levels is not None:
            self.levels.take(offset)
            if offset >= self.next:
                self.next = offset + 1  # what lies below may have been delivered
        elif offset == self.next:
            self.next += 1
        elif self._returned and self._returned[0] == offset:
            heappop(self._returned)
        elif offset > self.next:
            if self.aside is None:
                self.aside = set()
            self.aside.add(offset)
        if self.overtaking is not None:
            self.overtaking.back.discard(offset)

    @cython.ccall
    def settle(self, offset: cython.longlong):
        """`offset` is done for good. Idempotent. A durable queue's progress goes into the batch's *done* record."""
        if self.deleted:
            return
        if self.durable:
            if self.cursor.settle(offset):
                self._forget(offset)
                self._progressed()
        elif self.cursor.settle_stated(offset):  # no record has to say it
            self._forget(offset)
            self.held.settle(offset)

    @cython.cfunc
    def _forget(self, offset: cython.longlong):
        """It is done: whatever else knows it lets go of it."""
        if self.levels is not None:
            self.levels.settle(offset)
        if self.keys is not None:
            self.keys.forget(offset)
        if self.overtaking is not None:
            self.overtaking.settled(offset)
        if self.limits is not None:
            self.limits.settle(offset)
        if self.aside:
            self.aside.discard(offset)

    @cython.ccall
    def settle_moved(self, offset: cython.longlong, stated: cython.bint):
        """The message at `offset` lives on elsewhere. `stated`: its new record says so, and no *done* record has to."""
        if not stated:
            self.settle(offset)
        elif not self.deleted and self.cursor.settle_stated(offset):
            self._forget(offset)
            self._progressed()

    @cython.ccall
    def drop(self, offset: cython.longlong, reason: str):
        """`offset`, neither ready nor unacknowledged any more, goes: to the dead letter exchange, if there is one."""
        if self.dead_letter is None or self.deleted:
            self.settle(offset)
        else:
            if self.keys is not None:
                self.keys.forget(offset)  # what is on its way out stands in nobody's way
            self.burying += 1
            self.letters.bury(self, offset, reason)

    @cython.ccall
    def buried(self):
        """A letter has left. Those that expired meanwhile may follow."""
        self.burying -= 1
        if self._held_up and self.burying <= BURYING_MAX // 2:
            self._held_up = False
            self.turn.activate(self)

    @cython.ccall
    def message_at(self, offset: cython.longlong) -> Message:
        """The message at an offset that is not done, or None when it is not in memory."""
        if not self.durable:
            return self.held.get(offset)
        message: Message = None
        if self.index.find(offset) == 1:
            message = self.tail.get(self.index.log_offset)
        if message is None and self.ahead:
            message = self.ahead.pop(offset, None)
        return message

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
    def reject(self, offset: cython.longlong):
        """A consumer wants nothing of a message that it held unacknowledged."""
        self.unacked -= 1
        self.acked += 1
        self.drop(offset, REJECTED)

    def restored(self) -> None:
        """After recovery: everything that is not done is ready again, and may have been delivered before."""
        self._expiring = self.wake_at is not None  # some may expire
        self.index.trim(self.cursor.floor)
        self.next = self.cursor.floor
        self.redelivered_below = self.index.end
        self.ready = self.index.end - self.cursor.floor - self.cursor.done_above
