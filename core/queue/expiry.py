"""When a queue's messages expire: each at the time that it was given when it entered, wherever it lies.

As long as each expires no earlier than those in front of it, looking at the head is enough; those that do are in a heap
besides (overtaking.py). Times are epoch ms, of a durable queue's messages in its index, of a transient one's beside
them. What a consumer holds does not expire before it comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cython

from core.queue.index import CHUNK_UNITS
from core.queue.overtaking import Overtaking

if cython.compiled:
    from cython.cimports.core.log.tail import Tail
    from cython.cimports.core.queue.stock import BURYING_MAX, Stock
    from cython.cimports.core.turn import Turn
else:
    from core.log.tail import Tail
    from core.queue.stock import BURYING_MAX, Stock
    from core.turn import Turn

EXPIRES = cython.declare(cython.longlong, (1 << 54) - 1)  # of a tags code; what is above is the level (levels.py)
EXPIRED_AT_ONCE = 2000  # in one call of expire(): the rest goes in the next
EXPIRED = "expired"  # RabbitMQ's name of the reason for a dead letter


@cython.cclass
class Expiring(Stock):
    """latest: when the last of all that is there expires, as far as it is known: who is to expire before overtakes."""

    def __init__(self, identity: tuple, durable: bool, turn: Turn, tail: Tail):
        Stock.__init__(self, identity, durable, turn, tail)
        self.latest = 0

    @cython.cfunc
    def _will_expire(self, ms: cython.longlong):
        """The message that just entered expires at `ms`."""
        self._expiring = True
        if self.ready == 1 and self.unacked == 0 and self.delayed == 0:
            self.latest = 0
        if self.levels is not None or ms < self.latest:
            self._overtake(ms, self.end() - 1)
            return
        self.latest = ms
        if self.ready == 1:
            self.wake_at(self, ms)

    @cython.cfunc
    def _overtake(self, ms: cython.longlong, offset: cython.longlong):
        """It expires before one in front of it; in a queue with priorities nobody knows who will be in front."""
        if self.overtaking is None:
            self.overtaking = Overtaking(self._returned)
        self.overtaking.add(ms, offset, self.durable)
        first: cython.longlong = self.overtaking.first()
        if first == ms or first <= self.turn.clock.ms:  # in front of it may be one that came back late and is gone
            self.wake_at(self, first)
        self.overtaking.sift(self.cursor, self.ready + self.unacked + self.burying + self.delayed)

    def restore_overtaking(self, slot: Any, read_chunk: Callable[[int, int], bytes | None]) -> None:
        """After recovery: what expires before something in front of it, as `slot` knows; read_chunk(queue id, number)
        blocks."""
        first = self.cursor.floor // CHUNK_UNITS
        numbers = {number for number in slot.chunks if number >= first}
        if self.levels is not None:
            numbers = set(range(first, self.index.end // CHUNK_UNITS + 1))
        self.latest = slot.latest
        if numbers and self.ready + self.delayed:
            self.overtaking = Overtaking(())
            self.overtaking.restore(self, numbers, read_chunk)

    @cython.ccall
    @cython.exceptval(-2)
    def expiry_of(self, offset: cython.longlong) -> cython.longlong:
        """When the message at a ready offset expires (epoch ms), 0 = never, -1 = that is not in memory."""
        if not self.durable:
            return -1 if self.held.get(offset) is None else self.held.code
        if self.index.find(offset) != 1:
            return -1
        return self.index.code & EXPIRES

    @cython.cfunc
    def _watch(self):
        """Have expire() called when the next message expires; heads change, and not each one expires."""
        if self.ready > 0:
            code: cython.longlong = self.expiry_of(self._first())
            if code > 0:
                self.wake_at(self, code)
            elif code < 0 and not self.reading:
                self.wake_at(self, self.turn.clock.ms)  # its chunk is in the store, it is in spill/, or lost
            if self.overtaking is not None and self.overtaking.first() >= 0:
                self.wake_at(self, self.overtaking.first())
        elif self.unacked == 0 and self.burying == 0 and self.delayed == 0:
            self._expiring = False
            self.overtaking = None
            self._returned = []

    def expire(self) -> int:
        """Drop what expired, ask to be woken for the next, and return how many went."""
        now = self.turn.clock.ms
        count = 0 if self.overtaking is None else self._expire_overtaking(now)
        while self.ready > 0:
            offset = self._first()
            if offset < 0:
                break
            code = self.expiry_of(offset)
            if code < 0 and not self.durable and self.held.is_lost(offset):
                self._missing(offset)
                continue
            if code <= 0:
                break
            if self.burying >= BURYING_MAX:
                self._held_up = True
                break
            if code > now or count == EXPIRED_AT_ONCE:
                self.wake_at(self, max(code, now + 1))
                break
            self._go(offset)
            count += 1
        return count

    def _expire_overtaking(self, now: int) -> int:
        """Drop what expired anywhere, and return how many went."""
        count = 0
        for _ in range(EXPIRED_AT_ONCE):
            if not 0 <= self.overtaking.first() <= now:
                break
            if self.burying >= BURYING_MAX:
                self._held_up = True
                return count
            due = self.overtaking.first()
            offset = self.overtaking.pop()
            if self._is_ready(offset):
                if not self._sized(offset):
                    self.overtaking.add(due, offset, self.durable)
                    return count
                self._go(offset)
                count += 1
            elif not self.cursor.is_done(offset):
                self.overtaking.late.add(offset)
        if self.overtaking.first() >= 0:
            self.wake_at(self, max(self.overtaking.first(), now + 1))
        return count

    @cython.cfunc
    @cython.exceptval(-1)
    def _is_ready(self, offset: cython.longlong) -> cython.bint:
        """Whether the message at `offset`, one of those that overtake, is ready."""
        if self.cursor.is_done(offset):
            return False
        if self.levels is not None:
            return self.levels.holds(offset)
        if offset >= self.next:
            return not self.aside or offset not in self.aside
        return offset in self.overtaking.back

    @cython.cfunc
    def _go(self, offset: cython.longlong):
        """The ready message at `offset` has expired."""
        self._taken(offset)
        self.expired += 1
        self.drop(offset, EXPIRED)
