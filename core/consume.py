"""What a channel holds unacknowledged: delivery tag -> (consumer, queue offset, time), in a ring indexed by the tag.

Tags count from 1 without gaps, so a tag's slot is arithmetic; single acks leave holes that the old end passes over. A
few that stay unsettled while thousands come after them are set aside, so that the ring grows with what is unsettled,
not with how long the oldest has been.
"""

from __future__ import annotations

from array import array

import cython

if cython.compiled:
    from cython.cimports.core.clock import Clock
    from cython.cimports.core.queue.consumer import Consumer, Source
else:
    from core.clock import Clock
    from core.queue.consumer import Consumer, Source

SLOTS_MIN = 16
DONE = cython.declare(cython.int, 0)  # what becomes of a delivery
BACK = cython.declare(cython.int, 1)
REJECTED = cython.declare(cython.int, 2)
RETURNED = cython.declare(cython.int, 3)  # as BACK, but nobody asked for it


@cython.final
@cython.cclass
class Unacked:
    """Tags [base, head) may be unsettled, and those set aside, which are older; `count` are in all."""

    def __init__(self, clock: Clock):
        self.base = self.head = 1
        self.count = 0
        self._clock = clock
        self._back = {}  # as a set in order: whom something was given back to
        self._aside = {}  # tag -> (consumer, offset, ms of its delivery), ascending
        self._make_ring(SLOTS_MIN)

    @cython.cfunc
    def _make_ring(self, slots: cython.Py_ssize_t):
        """An empty ring."""
        self._consumers = [None] * slots
        self._offsets = array("q", bytes(8 * slots))
        self._times = array("q", bytes(8 * slots))
        self._mask = slots - 1

    @cython.ccall
    @cython.exceptval(-1)
    def add(self, consumer: Consumer | None, offset: cython.longlong) -> cython.longlong:
        """Give the next tag to a delivery; `consumer` None = one that needs no ack. Returns the tag."""
        tag: cython.longlong = self.head
        self.head = tag + 1
        if consumer is None:
            if self.count == 0:
                self.base = self.head
                return tag
        else:
            self.count += 1
        if tag - self.base > self._mask:
            self._make_room(tag)
        slot: cython.Py_ssize_t = tag & self._mask
        self._consumers[slot] = consumer
        self._offsets[slot] = offset
        self._times[slot] = self._clock.ms
        return tag

    @cython.cfunc
    def _make_room(self, tag: cython.longlong):
        """The ring is full up to `tag`: a few stragglers are set aside; if it is no few, the ring grows."""
        stragglers: cython.Py_ssize_t = self.count - len(self._aside)
        if stragglers * 4 > self._mask:
            self._grow()
            return
        while self.base < tag:
            slot: cython.Py_ssize_t = self.base & self._mask
            consumer: Consumer = self._consumers[slot]
            if consumer is not None:
                self._aside[self.base] = (consumer, self._offsets[slot], self._times[slot])
                self._consumers[slot] = None
            self.base += 1

    @cython.cfunc
    def _grow(self):
        """Double the ring; every entry keeps the slot that its tag says."""
        consumers: list = self._consumers
        offsets: cython.longlong[::1] = self._offsets
        times: cython.longlong[::1] = self._times
        mask: cython.Py_ssize_t = self._mask
        self._make_ring(2 * (mask + 1))
        tag: cython.longlong = self.base
        while tag < self.head - 1:
            self._consumers[tag & self._mask] = consumers[tag & mask]
            self._offsets[tag & self._mask] = offsets[tag & mask]
            self._times[tag & self._mask] = times[tag & mask]
            tag += 1

    @cython.cfunc
    @cython.exceptval(-1)
    def _known(self, tag: cython.longlong, multiple: cython.bint) -> cython.bint:
        """Whether `tag` names an unsettled delivery, also for `multiple` (as RabbitMQ has it); 0 = all there are."""
        if tag == 0:
            return multiple
        if self.base <= tag < self.head:
            return self._consumers[tag & self._mask] is not None
        return tag in self._aside

    @cython.ccall
    @cython.exceptval(-1)
    def acknowledge(self, tag: cython.longlong, multiple: cython.bint) -> cython.int:
        """Settle `tag`, or with `multiple` all up to it (0 = all there are). Returns how many, or -2: no such tag."""
        return self._settle_all(tag, multiple, DONE)

    @cython.ccall
    @cython.exceptval(-1)
    def give_back(self, tag: cython.longlong, multiple: cython.bint) -> cython.int:
        """As acknowledge(), but the messages are ready again at their places."""
        return self._settle_all(tag, multiple, BACK)

    @cython.ccall
    @cython.exceptval(-1)
    def reject(self, tag: cython.longlong, multiple: cython.bint) -> cython.int:
        """As acknowledge(), but nobody wants the messages: they are dropped, or become dead letters."""
        return self._settle_all(tag, multiple, REJECTED)

    def take(self, tag: int, multiple: bool) -> list | None:
        """Take out `tag`, or with `multiple` all up to it, for a transaction that settles them later or puts them back.
        Returns [(tag, consumer, offset, ms)] in the order of the tags, or None: no such tag."""
        if not self._known(tag, multiple):
            return None
        last: cython.longlong = tag if tag else self.head - 1
        taken = []
        for older in [older for older in self._aside if (older <= last if multiple else older == last)]:
            taken.append((older, *self._aside.pop(older)))
        number: cython.longlong = self.base if multiple or tag < self.base else tag
        while number <= last:
            slot: cython.Py_ssize_t = number & self._mask
            if self._consumers[slot] is not None:
                taken.append((number, self._consumers[slot], self._offsets[slot], self._times[slot]))
                self._consumers[slot] = None
            number += 1
        self.count -= len(taken)
        self._advance()
        return taken

    def put_back(self, taken: list) -> None:
        """Undo take()."""
        for tag, consumer, offset, ms in taken:
            if tag < self.base:
                self._aside[tag] = consumer, offset, ms
            else:
                slot: cython.Py_ssize_t = tag & self._mask
                self._consumers[slot] = consumer
                self._offsets[slot] = offset
                self._times[slot] = ms
        self.count += len(taken)
        self._aside = dict(sorted(self._aside.items()))

    def settle_taken(self, taken: list, fate: int) -> None:
        """Settle what take() gave: 0 = acknowledged, 1 = back to its place, 2 = rejected."""
        self.count += len(taken)
        for _, consumer, offset, _ in taken:
            self._finish(consumer, offset, fate)
        self._all_back()

    @cython.cfunc
    @cython.exceptval(-1)
    def _settle_all(self, tag: cython.longlong, multiple: cython.bint, fate: cython.int) -> cython.int:
        if not self._known(tag, multiple):
            return -2
        if not multiple:
            if tag < self.base:
                self._settle_aside(tag, fate)
            else:
                self._settle(tag & self._mask, fate)
            if tag == self.base or self.count == 0:
                self._advance()
            self._all_back()
            return 1
        settled: cython.int = 0
        last: cython.longlong = tag if tag else self.head - 1
        if self._aside:
            for older in [older for older in self._aside if older <= last]:
                self._settle_aside(older, fate)
                settled += 1
        while self.base <= last:
            settled += self._settle(self.base & self._mask, fate)
            self.base += 1
        self._advance()
        self._all_back()
        return settled

    @cython.cfunc
    @cython.exceptval(-1)
    def _settle(self, slot: cython.Py_ssize_t, fate: cython.int) -> cython.bint:
        """Settle one slot; False when it was a hole."""
        consumer: Consumer = self._consumers[slot]
        if consumer is None:
            return False
        self._consumers[slot] = None
        self._finish(consumer, self._offsets[slot], fate)
        return True

    def _settle_aside(self, tag: int, fate: int) -> None:
        consumer, offset, _ = self._aside.pop(tag)
        self._finish(consumer, offset, fate)

    @cython.cfunc
    def _finish(self, consumer: Consumer, offset: cython.longlong, fate: cython.int):
        """One delivery is settled: its queue and its consumer learn it."""
        self.count -= 1
        if fate == DONE:
            consumer.queue.acknowledge(offset)
        elif fate == BACK:
            consumer.queue.requeue(offset)
            self._back[consumer.queue] = None
        elif fate == RETURNED:
            consumer.queue.give_back(offset)
            self._back[consumer.queue] = None
        else:
            consumer.queue.reject(offset)
        consumer.release()

    @cython.cfunc
    def _all_back(self):
        """What the settlement gave back is all back."""
        if self._back:
            back, self._back = self._back, {}
            for item in back:
                source: Source = item
                source.all_back()

    @cython.cfunc
    def _advance(self):
        """Pass over the holes at the old end of the ring."""
        if self.count == 0:
            self.base = self.head
            if self._mask >= 4096:
                self._make_ring(SLOTS_MIN)
            return
        while self.base < self.head and self._consumers[self.base & self._mask] is None:
            self.base += 1

    def oldest(self) -> tuple | None:
        """The oldest that is unsettled: (consumer, ms of its delivery), or None."""
        if self.count == 0:
            return None
        if self._aside:
            consumer, _, ms = next(iter(self._aside.values()))
            return consumer, ms
        self._advance()  # deliveries that need no ack leave holes
        slot: cython.Py_ssize_t = self.base & self._mask
        return self._consumers[slot], self._times[slot]

    def return_all(self) -> int:
        """Requeue everything unsettled: the channel closes, or basic.recover. Returns how many."""
        return self._settle_all(0, True, RETURNED) if self.count else 0
