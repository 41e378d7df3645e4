"""A queue within length limits: the head goes when there is too much, in slices, and bytes are added up when needed.

Which limits those are, and what counts, is limits.py's. The head is what would be delivered next, of the highest level
first, and goes to the dead letter exchange if there is one; a limit counts what is ready and nothing else.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.log.tail import Tail
    from cython.cimports.core.queue.expiry import Expiring
    from cython.cimports.core.queue.limits import Limits
    from cython.cimports.core.queue.stock import BURYING_MAX
    from cython.cimports.core.turn import Turn
else:
    from core.log.tail import Tail
    from core.queue.expiry import Expiring
    from core.queue.limits import Limits
    from core.queue.stock import BURYING_MAX
    from core.turn import Turn

MAXLEN = "maxlen"  # RabbitMQ's name of the reason for a dead letter
DROPPED_AT_ONCE = cython.declare(cython.Py_ssize_t, 1000)  # in one turn; the rest goes in the next
COUNTED_AT_ONCE = cython.declare(cython.longlong, 32 * 512)  # messages looked at in one turn


@cython.cclass
class Bounded(Expiring):
    """dropped, refused: messages that went, or were not taken in, because the queue was full."""

    def __init__(self, identity: tuple, durable: bool, turn: Turn, tail: Tail):
        Expiring.__init__(self, identity, durable, turn, tail)
        self.dropped = self.refused = 0
        self.buries_refused = self._loading = False
        self._fetched = -1

    def configure(self, settings) -> None:
        """See Stock.configure. What is above a new limit goes in the turns to come."""
        Expiring.configure(self, settings)
        self.buries_refused = settings.buries_refused
        if settings.max_length < 0 and settings.max_length_bytes < 0:
            self.limits = None
            return
        limits: Limits = Limits() if self.limits is None else self.limits
        counted = limits.max_bytes >= 0
        limits.max_length, limits.max_bytes = settings.max_length, settings.max_length_bytes
        limits.refusing = settings.refuses
        self.limits = limits
        if limits.max_bytes < 0:
            limits.forget()
        elif not counted:
            limits.count_from(self.cursor.floor, self.end())
        if self.ready > 0 or limits.counting_at < limits.counting_end:
            self.turn.activate(self)

    def restored(self) -> None:
        """See Stock.restored."""
        Expiring.restored(self)
        if self.limits is not None:
            if self.limits.max_bytes >= 0:
                self.limits.count_from(self.cursor.floor, self.end())
            self.turn.activate(self)

    @cython.cfunc
    def _keep_within(self):
        """Go on with what is left: adding up, and dropping. Each turn does a part."""
        limits: Limits = self.limits
        if self.deleted:
            return
        if limits.counting_at < limits.counting_end and not self._loading:
            self._count_slice()
        if not limits.refusing and limits.exceeded(self.ready, 0):
            self._drop_heads()

    @cython.cfunc
    def _drop_heads(self):
        """Drop at the head until the queue is within its limits, or as far as one turn goes."""
        limits: Limits = self.limits
        count: cython.Py_ssize_t = 0
        while self.ready > 0 and limits.exceeded(self.ready, 0):
            offset: cython.longlong = self._first()
            if offset < 0:
                break
            if self.burying >= BURYING_MAX:
                self._held_up = True
                break
            if count == DROPPED_AT_ONCE:
                self.turn.activate(self)
                break
            if limits.max_bytes >= 0 and not self._at_hand(offset):
                break
            self._taken(offset)
            self.dropped += 1
            self.drop(offset, MAXLEN)
            count += 1
        if count and self._expiring and not self.deleted:
            self.turn.activate(self)  # another head may be one that expires

    @cython.cfunc
    def _count_slice(self):
        """Add up a slice of what lies here, chunk by chunk."""
        limits: Limits = self.limits
        back = set(self._returned)
        stop: cython.longlong = limits.counting_at + COUNTED_AT_ONCE
        while limits.counting_at < min(limits.counting_end, stop):
            start: cython.longlong = max(limits.counting_at, self.cursor.floor)
            if start >= limits.counting_end:
                limits.counting_at = limits.counting_end
                break
            after: cython.longlong = (start // 512 + 1) * 512
            end: cython.longlong = min(after, self.end())
            offset: cython.longlong
            for offset in range(start, end):
                if not self.cursor.is_done(offset):
                    if not self._at_hand(offset):
                        limits.counting_at = offset
                        return
                    limits.count(offset, self._body_size(offset), self._counts(offset, back))
            limits.counting_at = after
            self._let_go()
        if limits.counting_at < limits.counting_end:
            self.turn.activate(self)

    @cython.cfunc
    @cython.exceptval(-1)
    def _counts(self, offset: cython.longlong, back: set) -> cython.bint:
        """Whether what is not done is ready, not unacknowledged or on its way out; `back` = what came back."""
        if self.levels is not None or self.overtaking is not None:
            return self._is_ready(offset)
        if offset >= self.next:
            return not self.aside or offset not in self.aside
        return offset in back

    @cython.cfunc
    @cython.exceptval(-1)
    def _sized(self, offset: cython.longlong) -> cython.bint:
        """See Stock."""
        return self.limits is None or not self.limits.counted(offset) or self._at_hand(offset)

    @cython.cfunc
    @cython.exceptval(-1)
    def _at_hand(self, offset: cython.longlong) -> cython.bint:
        """Whether the unit, or a transient queue's message, is in memory; else it is asked for, and what needs it goes
        on when it is. What is lost has no size."""
        if not self.durable:
            if self.held.holds(offset) or self.held.is_lost(offset):
                return True
        elif self.index.find(offset) >= 0:
            return True
        if not self._loading:
            self._loading = True
            if self.durable:
                self._fetched = offset // 512
            self.cold.bring(self, offset, self._chunk_loaded)
        return False

    def _chunk_loaded(self) -> None:
        """What was asked for is used here and now: until the queue's turn it may have left memory again, to be read
        again and again while the disk is slow and memory short."""
        if self.stopped:  # it did not come
            return
        self._loading = False
        if self.overtaking is not None:
            self.expire()
        if self.limits is not None:
            self._keep_within()
        self.turn.activate(self)

    @cython.cfunc
    def _let_go(self):
        """A chunk that was loaded to be counted leaves memory again."""
        if self._fetched >= 0:
            if self._fetched in self.index.stored and self._fetched not in self.index.unstored:
                self.index.unload(self._fetched)
            self._fetched = -1
