"""A stream: messages stay until they are too old or too many, and every consumer reads them from a place of its own.

An ack gives credit and settles nothing; nothing goes back. The unit's code is the time at which the message entered, so
that a place in time is found, and what is too old dropped, without reading messages. What is dropped at the front is
settled in the cursor, as in any queue.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import cython

from core.state.stream_arguments import span_ms

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.consumer import Consumer
    from cython.cimports.core.state.replay import LoggedQueue
else:
    from core.message import Message
    from core.queue.consumer import Consumer
    from core.state.replay import LoggedQueue

AT_ONCE = cython.declare(cython.int, 32)  # deliveries to one consumer before it is the next one's turn
DROPPED_AT_ONCE = cython.declare(cython.int, 2000)  # in one call of keep(): the rest goes in the next
CHUNK_UNITS = cython.declare(cython.longlong, 512)
FIRST, LAST, NEXT, OFFSET, TIME = "first", "last", "next", "offset", "time"


@cython.final
@cython.cclass
class Place:
    """Where one consumer is: `next` is the offset it gets next. To the cold reads it looks like a queue."""

    def __init__(self, stream: Stream, consumer: Consumer):
        self.stream = stream
        self.consumer = consumer
        self.next = 0
        self.reading = self.waiting = False
        self.ahead = {}

    @property
    def id(self) -> int:
        """The stream's."""
        return self.stream.id

    @property
    def name(self) -> str:
        """The stream's."""
        return self.stream.name

    @property
    def vhost(self) -> bytes:
        """The stream's."""
        return self.stream.vhost

    @property
    def index(self) -> Any:
        """The stream's."""
        return self.stream.index

    @property
    def cursor(self) -> Any:
        """The stream's: what lies below its floor is gone."""
        return self.stream.cursor

    @property
    def deleted(self) -> bool:
        """Whether there is nothing to read for any more."""
        return self.stream.deleted or self.consumer.cancelled

    @property
    def stopped(self) -> bool:
        """Whether a message of the stream cannot be read."""
        return self.stream.stopped

    def upcoming(self, offset: int) -> range:
        """See Stock.upcoming."""
        return range(offset, self.stream.index.end)

    def read_finished(self, messages: dict) -> None:
        """What was asked for is here: offset -> message."""
        self.ahead = messages
        self.reading = False
        if not self.deleted:
            self.stream.activate_place(self)

    def stop(self) -> None:
        """What comes next here cannot be read."""
        self.stream.stop()


@cython.cclass
class Stream(LoggedQueue):
    """max_bytes, max_age_ms: what is kept, -1 = no limit. `ready` and `bytes_kept`: all that is kept."""

    def __init__(self, identity: tuple, durable: bool, turn: Any, tail: Any):
        LoggedQueue.__init__(self, identity, durable, turn, tail)
        self.max_bytes = self.max_age_ms = -1
        self.bytes_kept = 0
        self._places = {}
        self._line, self._idle = [], []
        self._trimming = False
        self._uncounted = []  # numbers of chunks
        self.codes_all = True

    def configure(self, settings) -> None:
        """See Queue.configure."""
        self.settings = settings
        self.max_bytes = settings.max_length_bytes
        self.max_age_ms = span_ms(settings.max_age) if settings.max_age else -1
        if self.ready > 0:
            self.keep()

    @cython.ccall
    @cython.exceptval(-1)
    def code_of(self, message: Message) -> cython.longlong:
        """The message's time, whatever its expiration says."""
        return message.store_ms

    @cython.ccall
    def push(self, message: Message, code: cython.longlong):
        """See Queue.push."""
        if not self.settled:
            self.settled = True
            self.turn.settled.append(self)
        self.index.put(self.index.end, message.offset, message.record_size, message.body_size, code)
        self.bytes_kept += message.record_size
        self.published += 1
        self.ready += 1
        if self._idle:
            for place in self._idle:
                self._line.append(place)
            self._idle = []
        if self._line and not self.active:
            self.turn.activate(self)
        if self.max_bytes >= 0 and self.bytes_kept > self.max_bytes or self.max_age_ms >= 0 and self.ready == 1:
            self.keep()

    @cython.ccall
    def relocate(self, offset: cython.longlong, copy: Message):
        """See LoggedQueue.relocate."""
        if self.index.find(offset) == 1 and offset // 512 not in self._uncounted:
            self.bytes_kept += copy.record_size - self.index.size
        LoggedQueue.relocate(self, offset, copy)

    @cython.ccall
    @cython.exceptval(-1)
    def serve(self, budget: cython.int) -> cython.int:
        """Deliver up to `budget` messages, some to each consumer in turn, and return how many."""
        made: cython.int = 0
        while made < budget and self._line:
            place: Place = self._line[0]
            count: cython.int = 0
            result: cython.int = 1
            while count < AT_ONCE and made < budget:
                if not place.consumer.can_take():
                    result = 2
                    break
                result = self._deliver(place)
                if result != 1:
                    break
                count += 1
                made += 1
            if self._line and self._line[0] is place:  # a delivery may have ended its consumer
                del self._line[0]
                if result == 1:
                    self._line.append(place)
                else:
                    self._leave(place, result == 0 and not place.reading)
        return made

    @cython.cfunc
    @cython.exceptval(-1)
    def _deliver(self, place: Place) -> cython.int:
        """The next message to one consumer: 1 = delivered, 0 = there is none, or it has to be read first."""
        if place.next < self.cursor.floor:
            place.next = self.cursor.floor  # what it had not read yet was dropped
        while self.cursor.done_above and place.next < self.index.end and self.cursor.is_done(place.next):
            place.next += 1  # lost with damaged records of the log
        message: Message = self._message(place)
        if message is None:
            return 0
        offset: cython.longlong = place.next
        place.next = offset + 1
        self.delivered += 1
        self.unacked += 1
        consumer: Consumer = place.consumer
        consumer.unacked += 1
        consumer.gate.unacked += 1
        consumer.deliver(message, offset, False)
        return 1

    @cython.cfunc
    def _message(self, place: Place) -> Message:
        """What the place points at, or None after asking for it, or at the end."""
        offset: cython.longlong = place.next
        if place.reading or offset >= self.index.end:
            return None
        if place.ahead:
            message: Message = place.ahead.pop(offset, None)
            if message is not None:
                return message
        if self.index.find(offset) == 1:
            message = self.tail.get(self.index.log_offset)
            if message is not None:
                return message
        place.reading = True
        self.cold(place, offset)
        return None

    @cython.cfunc
    def _leave(self, place: Place, idle: cython.bint):
        """It left the ring: `idle` = until there is more, else until it is woken, or what it needs was read."""
        if idle:
            self._idle.append(place)
        elif not place.reading:
            place.consumer.available = False

    @cython.ccall
    def activate_place(self, place: Place):
        """Its message was read: it takes its turn again."""
        if place not in self._line and place not in self._idle:
            self._line.append(place)
        if not self.active:
            self.turn.activate(self)

    @cython.ccall
    def wake(self, consumer: Consumer):
        """See Queue.wake."""
        if consumer.available or consumer.cancelled:
            return
        consumer.available = True
        consumer.stalled = False
        place: Place = self._places[consumer]
        if not place.reading:
            self.activate_place(place)

    def place(self, consumer: Consumer, kind: str, value: int) -> None:
        """Where a consumer that is about to be added begins: FIRST, LAST, NEXT, OFFSET (value = offset, perhaps one to
        come) or TIME (value = ms since the epoch: the first message not older)."""
        place = Place(self, consumer)
        self._places[consumer] = place
        if kind == NEXT:
            place.next = self.index.end
        elif kind == LAST:
            place.next = max(self.index.end - 1, self.cursor.floor)
        elif kind == OFFSET:
            place.next = max(value, self.cursor.floor)
        else:
            place.next = self.cursor.floor
        if kind == TIME:
            place.reading = True
            self._seek(place, value, self.cursor.floor, self.index.end)

    def _seek(self, place: Place, ms: int, low: int, high: int) -> None:
        """Bisect for the first offset whose time is not below `ms`; chunks that are stored are loaded on the way."""
        while low < high:
            middle = probe = (low + high) // 2
            while (found := self.index.find(probe)) == 0 and probe + 1 < high:
                probe += 1  # it is lost: the next one tells the time
            if found < 0:
                if self.stopped:  # it does not come
                    return
                self.cold.load(self, probe // CHUNK_UNITS, partial(self._seek, place, ms, low, high))
                return
            if found and self.index.code >= ms:
                high = middle
            else:
                low = probe + 1
        place.next = low
        place.read_finished({})

    def add_consumer(self, consumer: Consumer) -> None:
        """See Queue.add_consumer; place() was called before."""
        self.consumers.append(consumer)
        self.wake(consumer)

    def remove_consumer(self, consumer: Consumer) -> None:
        """See Queue.remove_consumer."""
        consumer.cancelled = True
        self.consumers.remove(consumer)
        place = self._places.pop(consumer)
        for places in (self._line, self._idle):
            if place in places:
                places.remove(place)
        consumer.available = False
        if consumer.stalled and consumer in consumer.gate.closed_out:
            consumer.gate.closed_out.remove(consumer)

    @cython.ccall
    def acknowledge(self, offset: cython.longlong):
        """Credit, nothing else."""
        self.unacked -= 1
        self.acked += 1

    @cython.ccall
    def give_back(self, offset: cython.longlong):
        """The message stays where it is: nothing comes back."""
        self.unacked -= 1

    @cython.ccall
    def keep(self):
        """Drop at the front what is too old or too much, but never the last message for its size; ask to be woken when
        the next is too old."""
        now: cython.longlong = self.turn.clock.ms
        count: cython.int = 0
        dropped: cython.int = 0
        while self.ready > 0:
            found: cython.int = self.index.find(self.cursor.floor)
            if found < 0:
                if not self._trimming:
                    self._trimming = True
                    self.cold.load(self, self.cursor.floor // CHUNK_UNITS, self._loaded)
                break
            if found > 0:
                old: cython.bint = self.max_age_ms >= 0 and self.index.code + self.max_age_ms <= now
                much: cython.bint = self.max_bytes >= 0 and self.bytes_kept > self.max_bytes and self.ready > 1
                if not old and not much:
                    if self.max_age_ms >= 0:
                        self.wake_at(self, self.index.code + self.max_age_ms)
                    break
                if count == DROPPED_AT_ONCE:
                    self.wake_at(self, now + 1)
                    break
                self.bytes_kept -= self.index.size
                dropped += 1
            count += 1
            self.cursor.settle(self.cursor.floor)
            self.ready -= 1
        self.next = self.cursor.floor
        if count:
            self._progressed()
        self.expired += dropped

    def _loaded(self) -> None:
        if not self.stopped:  # else it does not come
            self._trimming = False
            self.keep()

    def expire(self) -> int:
        """See Queue.expire."""
        self.keep()
        return 0

    def restored(self) -> None:
        """After recovery: what is not dropped is kept; what was delivered to whom nobody knows."""
        LoggedQueue.restored(self)
        self.redelivered_below = 0
        if self.max_bytes >= 0:
            index = self.index
            stored = sorted(number for number in index.stored if not index.loaded(number * CHUNK_UNITS))
            for number in index.loaded_chunks():
                self._count_chunk(number)
            self._count(stored)

    def _count(self, numbers: list) -> None:
        """Add up what stored chunks hold, one after the other; until then less is dropped than could be."""
        self._uncounted = numbers
        if numbers:
            self.cold.load(self, numbers[0], partial(self._counted, numbers))
        else:
            self.keep()

    def _counted(self, numbers: list) -> None:
        if self.deleted or self.stopped:  # it does not come
            return
        number = numbers[0]
        if self.index.loaded(number * CHUNK_UNITS):
            self._count_chunk(number)
            if number not in self.index.unstored:
                self.index.unload(number)
        self._count(numbers[1:])

    def _count_chunk(self, number: int) -> None:
        for offset in range(
            max(number * CHUNK_UNITS, self.cursor.floor), min((number + 1) * CHUNK_UNITS, self.index.end)
        ):
            if self.index.find(offset) == 1 and not self.cursor.is_done(offset):
                self.bytes_kept += self.index.size

    def discard(self) -> None:
        """See Queue.discard."""
        self._line, self._idle = [], []
        LoggedQueue.discard(self)
