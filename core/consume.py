"""What a channel holds unacknowledged: delivery tag -> (consumer, queue offset), in a ring indexed by the tag.

Tags count from 1 without gaps, so a tag's slot is arithmetic; single acks leave holes that the tail passes over.
"""

from __future__ import annotations

from array import array

import cython

if cython.compiled:
    from cython.cimports.core.queue.delivery import Consumer
else:
    from core.queue.delivery import Consumer

SLOTS_MIN = 64


@cython.final
@cython.cclass
class Unacked:
    """Tags [base, head) may be unsettled; `count` of them are. A no_ack delivery takes a tag and no slot: skip()."""

    def __init__(self):
        self.base = self.head = 1
        self.count = 0
        self._consumers = [None] * SLOTS_MIN
        self._offsets = array("q", bytes(8 * SLOTS_MIN))
        self._mask = SLOTS_MIN - 1

    @cython.ccall
    @cython.exceptval(-1)
    def add(self, consumer: Consumer, offset: cython.longlong) -> cython.longlong:
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
            self._grow()
        slot: cython.Py_ssize_t = tag & self._mask
        self._consumers[slot] = consumer
        self._offsets[slot] = offset
        return tag

    @cython.cfunc
    def _grow(self):
        """Double the ring; every entry keeps the slot that its tag says."""
        mask: cython.Py_ssize_t = self._mask * 2 + 1
        consumers: list = [None] * (mask + 1)
        offsets: cython.longlong[::1] = array("q", bytes(8 * (mask + 1)))
        tag: cython.longlong = self.base
        while tag < self.head - 1:
            consumers[tag & mask] = self._consumers[tag & self._mask]
            offsets[tag & mask] = self._offsets[tag & self._mask]
            tag += 1
        self._consumers = consumers
        self._offsets = offsets
        self._mask = mask

    @cython.cfunc
    @cython.exceptval(-1)
    def known(self, tag: cython.longlong, multiple: cython.bint) -> cython.bint:
        """Whether an ack of `tag` names a delivery that is unsettled, or (multiple) any tag that was given out."""
        if multiple:
            return tag == 0 or (self.base <= tag < self.head and self.count > 0)
        return self.base <= tag < self.head and self._consumers[tag & self._mask] is not None

    @cython.ccall
    @cython.exceptval(-1)
    def acknowledge(self, tag: cython.longlong, multiple: cython.bint) -> cython.int:
        """Settle `tag`, or with `multiple` all up to it (0 = all there are). Returns how many, or -2: no such tag."""
        return self._settle_all(tag, multiple, False)

    @cython.ccall
    @cython.exceptval(-1)
    def give_back(self, tag: cython.longlong, multiple: cython.bint) -> cython.int:
        """As acknowledge(), but the messages are ready again at their places."""
        return self._settle_all(tag, multiple, True)

    @cython.cfunc
    @cython.exceptval(-1)
    def _settle_all(self, tag: cython.longlong, multiple: cython.bint, requeue: cython.bint) -> cython.int:
        if not self.known(tag, multiple):
            return -2
        settled: cython.int = 0
        if not multiple:
            self._settle(tag & self._mask, requeue)
            settled = 1
            if tag == self.base:
                self._advance()
            return settled
        last: cython.longlong = tag if tag else self.head - 1
        while self.base <= last:
            settled += self._settle(self.base & self._mask, requeue)
            self.base += 1
        self._advance()
        return settled

    @cython.cfunc
    @cython.exceptval(-1)
    def _settle(self, slot: cython.Py_ssize_t, requeue: cython.bint) -> cython.bint:
        """Settle one slot; False when it was a hole."""
        consumer: Consumer = self._consumers[slot]
        if consumer is None:
            return False
        self._consumers[slot] = None
        self.count -= 1
        if requeue:
            consumer.queue.give_back(self._offsets[slot])
        else:
            consumer.queue.acknowledge(self._offsets[slot])
        consumer.release()
        return True

    @cython.cfunc
    def _advance(self):
        """Pass over the holes at the old end of the ring."""
        if self.count == 0:
            self.base = self.head
            if self._mask >= 4096:
                self._consumers = [None] * SLOTS_MIN
                self._offsets = array("q", bytes(8 * SLOTS_MIN))
                self._mask = SLOTS_MIN - 1
            return
        while self._consumers[self.base & self._mask] is None:
            self.base += 1

    def return_all(self) -> int:
        """Requeue everything unsettled: the channel closes, or basic.recover."""
        return self.give_back(0, True) if self.count else 0
