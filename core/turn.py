"""One turn of the event loop: what its input caused is carried out once, in one order, after all of it was read.

    serve queues that have both messages and consumers -> hand the log its batch -> write every connection's output

Nothing else schedules work per message: producers of output only mark, and one call_soon per iteration does the rest.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.clock import Clock
else:
    from core.clock import Clock

TURN_DELIVERIES = cython.declare(cython.int, 2000)  # in all; what is left goes to the next turn (rule 8.10)
LINGER_SECONDS = 0.0003
QUEUE_DELIVERIES = cython.declare(cython.int, 1000)  # more than 64 KiB of input can hold, or backlogs only grow


@cython.cclass
class Servable:
    """Something with deliveries to make: a queue. `active` = it is on the turn's list."""

    def __init__(self):
        self.active = False

    @cython.ccall
    @cython.exceptval(-1)
    def serve(self, budget: cython.int) -> cython.int:
        """Make up to `budget` deliveries and return how many. A return of `budget` means that there may be more."""
        raise NotImplementedError

    # A subclass whose serve() returns less than its budget is woken by activate() when something changes.


@cython.cclass
class Flushable:
    """Something with output to write at the end of the turn: a connection. `dirty` = it is on the turn's list."""

    def __init__(self):
        self.dirty = False

    @cython.ccall
    def flush(self):
        """Write everything gathered in this turn."""
        raise NotImplementedError


@cython.cclass
class Turn:
    """soon(callback) runs a callback in the next iteration of the loop (loop.call_soon, or the simulator's).

    `submit()` is called once a turn between serving and flushing: it gathers what was settled and hands over the batch.
    watch() is called once a turn, after serving, while somebody wants to know of everything that comes in; else None.
    `linger` asks for a nap of LINGER_SECONDS after this turn, by nap(seconds): input is streaming in, in small pieces,
    and a turn per piece costs more than what it carries.
    """

    def __init__(self, clock: Clock, soon: object):
        self.clock = clock
        self._soon = soon
        self._run = self.run
        self._scheduled = False
        self._serving = []
        self._flushing = []
        self._resting = []
        self.settled = []
        self.submit = self.nap = self.watch = None
        self.linger = self._held = False
        self.turns = self.deliveries = 0

    @cython.ccall
    def schedule(self):
        """Have run() called in this iteration of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._run)

    @cython.ccall
    @cython.exceptval(-1)
    def begin(self) -> cython.bint:
        """What is marked from here on waits for a run() that the caller makes itself, in place of one in the next
        iteration of the loop. False: such a one is to come already, and will do."""
        if self._scheduled:
            return False
        self._scheduled = True
        return True

    @cython.ccall
    def afterwards(self, resting: object):
        """Call resting.turn_over() when the turn to come is over: a reader that has had its share (rule 8.10)."""
        self._resting.append(resting)
        self.schedule()

    @cython.ccall
    def activate(self, servable: Servable):
        """Serve it in the turn to come."""
        if not servable.active:
            servable.active = True
            self._serving.append(servable)
            if not self._scheduled:
                self._scheduled = True
                self._soon(self._run)

    @cython.ccall
    def mark(self, flushable: Flushable):
        """Flush it at the end of this turn."""
        if not flushable.dirty:
            flushable.dirty = True
            self._flushing.append(flushable)
            if not self._scheduled:
                self._scheduled = True
                self._soon(self._run)

    @cython.ccall
    def run(self):
        """The turn itself. Also called when a batch was committed, so that its confirms leave at once."""
        self._scheduled = False
        self.turns += 1
        try:
            self._serve()
            if self.watch is not None:
                self.watch()
            self.clock.tick()  # after serving: what came in with this turn's time is judged by that time
            self._held = self.linger and not self._held  # a batch waits for one nap, never for two
            if self.submit is not None and not self._held:
                self.submit()
            self._flush()
            if self._resting:
                resting, self._resting = self._resting, []
                for each in resting:
                    each.turn_over()
            if self.linger:
                self.linger = False
                if self.nap is not None:
                    self.nap(LINGER_SECONDS)
                if self._held:
                    self.schedule()
        finally:  # one that failed costs the others nothing: their turn comes
            if self._serving or self._flushing or self._resting:
                self.schedule()

    @cython.cfunc
    def _serve(self):
        """Round robin within the turn's budget; whoever used up its share goes to the end of the list."""
        budget: cython.int = TURN_DELIVERIES
        serving: list = self._serving
        if not serving:
            return
        self._serving = again = []
        at: cython.Py_ssize_t = 0
        count: cython.Py_ssize_t = len(serving)
        try:
            while at < count and budget > 0:
                servable: Servable = serving[at]
                at += 1
                share: cython.int = budget if budget < QUEUE_DELIVERIES else QUEUE_DELIVERIES
                servable.active = False
                made: cython.int = servable.serve(share)
                budget -= made
                self.deliveries += made
                if made >= share and not servable.active:
                    servable.active = True
                    again.append(servable)
        finally:
            if at < count:
                self._serving = serving[at:] + self._serving

    @cython.cfunc
    def _flush(self):
        """Write the output of all that were marked up to now."""
        flushing: list = self._flushing
        self._flushing = []
        at: cython.Py_ssize_t = 0
        count: cython.Py_ssize_t = len(flushing)
        try:
            while at < count:
                flushable: Flushable = flushing[at]
                at += 1
                flushable.dirty = False
                flushable.flush()
        finally:
            if at < count:
                self._flushing = flushing[at:] + self._flushing
