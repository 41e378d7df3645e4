"""Replays: consumers that read again what a queue or an exchange received, whatever became of it since.

Each has a place of its own and takes nothing from anybody: an ack gives credit, nothing goes back. All of them together
take one bounded slice of a turn, and pause between slices while the loop has anything else to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cython

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.consumer import Consumer, Source
    from cython.cimports.core.turn import Servable, Turn
else:
    from core.message import Message
    from core.queue.consumer import Consumer, Source
    from core.turn import Servable, Turn

SLICE_MESSAGES = cython.declare(cython.int, 64)  # delivered in one turn of the loop, by all replays
SLICE_BYTES = cython.declare(cython.longlong, 256 << 10)  # or of so many bytes, and the one that exceeds them
PAUSE_MS = 2  # between two slices, while others publish or are delivered to


@cython.cclass
class Replay(Source):
    """One consumer's way. A subclass finds the messages.

    title     what is read, for the log
    reading   what comes next has been asked for, or waits for its time; idle: it is at the end; more: message() gave
              up for this turn; lined: it is in the line of those that are served
    """

    def __init__(self, replays: Replays, title: str):
        Source.__init__(self)
        self.replays = replays
        self.consumer = None
        self.title = title
        self.reading = self.idle = self.more = self.closed = self.lined = False
        self.offset = self.unacked = 0

    @cython.ccall
    def message(self) -> Message:
        """The next message, its place in `offset`; None says why by reading, idle or more, or the replay is over."""
        raise NotImplementedError

    @cython.ccall
    @cython.exceptval(-1)
    def has_more(self) -> cython.bint:
        """Of an idle one: whether something came."""
        return False

    @property
    def settings(self) -> Any:
        """A queue's, or None."""
        return None

    @cython.cfunc
    @cython.exceptval(-1)
    def step(self) -> cython.int:
        """Deliver the next message: 1; 2 = look for it in the next turn; 0 = it waits for something."""
        consumer: Consumer = self.consumer
        if self.closed or self.reading or self.idle:
            return 0
        if not consumer.can_take():
            consumer.available = False
            return 0
        self.more = False
        message: Message = self.message()
        if message is None:
            return 2 if self.more else 0
        self.unacked += 1
        consumer.unacked += 1
        consumer.gate.unacked += 1
        self.replays.sliced(message.record_size)
        consumer.deliver(message, self.offset, False)
        return 1

    def begin(self, consumer: Consumer) -> None:
        """Deliver to it from now on."""
        self.consumer = consumer
        consumer.available = True
        self.replays.take_turn(self)

    @cython.ccall
    def wake(self, consumer: Consumer):
        """See Source."""
        if consumer.available or self.closed:
            return
        consumer.available = True
        consumer.stalled = False
        self.replays.take_turn(self)

    def arrived(self) -> None:
        """What it waited for is there."""
        self.reading = False
        self.replays.take_turn(self)

    @cython.ccall
    def acknowledge(self, offset: cython.longlong):
        """Credit, nothing else."""
        self.unacked -= 1

    @cython.ccall
    def reject(self, offset: cython.longlong):
        """See acknowledge()."""
        self.unacked -= 1

    @cython.ccall
    def give_back(self, offset: cython.longlong):
        """See acknowledge()."""
        self.unacked -= 1

    @cython.ccall
    def requeue(self, offset: cython.longlong):
        """See acknowledge()."""
        self.unacked -= 1

    def close(self) -> None:
        """Nothing is delivered any more."""
        if not self.closed:
            self.closed = True
            consumer: Consumer = self.consumer
            consumer.cancelled = True
            consumer.available = False
            if consumer.stalled and consumer in consumer.gate.closed_out:
                consumer.gate.closed_out.remove(consumer)
            self.replays.forget(self)

    def end(self) -> None:
        """What it reads is gone, or cannot be read: its consumer is told."""
        self.close()
        self.consumer.gone()


@cython.final
@cython.cclass
class Replays(Servable):
    """at(ms, callback) is a timer. open: the replays there are; delivered: messages since start."""

    def __init__(self, turn: Turn, log: Any, scans: Any, at: Callable[[int, Callable[[], None]], Any]):
        Servable.__init__(self)
        self.turn = turn
        self.log = log
        self.scans = scans
        self._at = at
        self._watch, self._resume = self.watch, self._resumed
        self.open = {}
        self._line, self._idle = [], []
        self._paused = False
        self._others = self._own = self._bytes = 0
        self.delivered = 0

    @property
    def behind(self) -> int:
        """How many have not come to the end."""
        return len(self.open) - len(self._idle)

    @cython.ccall
    def take_turn(self, replay: Replay):
        """It can go on, as far as it knows."""
        if not replay.lined and not replay.closed:
            replay.lined = True
            self._line.append(replay)
        if not self._paused:
            self.turn.activate(self)

    @cython.cfunc
    def sliced(self, size: cython.Py_ssize_t):
        """A message of a slice has so many bytes of record."""
        self._bytes += size

    @cython.ccall
    @cython.exceptval(-1)
    def serve(self, budget: cython.int) -> cython.int:
        """One slice: some to each in turn."""
        made: cython.int = 0
        most: cython.int = budget if budget < SLICE_MESSAGES else SLICE_MESSAGES
        line: list = self._line
        self._bytes = 0
        others: cython.longlong = self.turn.deliveries + self.log.records - self._own
        result: cython.int
        while line and made < most and self._bytes < SLICE_BYTES:
            replay: Replay = line.pop(0)
            replay.lined = False
            result = replay.step()
            if result == 1:
                made += 1
            if result and not replay.closed:
                replay.lined = True
                line.append(replay)
            elif replay.idle and not replay.closed and replay not in self._idle:
                self._idle.append(replay)
                self.turn.watch = self._watch
            if result == 2:
                break
        self.delivered += made
        self._own += made
        if line and others > self._others:
            self._paused = True
            self._at(self.turn.clock.ms + PAUSE_MS, self._resume)
        elif line:
            self.turn.activate(self)
        self._others = others
        return made

    def _resumed(self) -> None:
        self._paused = False
        if self._line:
            self.turn.activate(self)

    @cython.ccall
    def watch(self):
        """Once a turn while some are at the end: whether something came for them."""
        waiting: list = self._idle
        self._idle = []
        for item in waiting:
            replay: Replay = item
            if replay.has_more():
                replay.idle = False
                self.take_turn(replay)
            else:
                self._idle.append(replay)
        if not self._idle:
            self.turn.watch = None

    def forget(self, replay: Replay) -> None:
        """It is closed."""
        self.open.pop(replay, None)
        for replays in (self._line, self._idle):
            if replay in replays:
                replays.remove(replay)
