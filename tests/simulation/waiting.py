"""Native messages that wait, in some of the seeds that have topics: timed ones and halves, over every kind of end.

What was held waits, and what was settled became what it was to become: once, whatever stops. Draws are of a stream of
their own, as natives.py's are.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from core.native import Native
from protocols.remoting.stored import stored_message
from tests.simulation.model import Violation

SHARE = 0.5  # of the seeds with topics
TOPICS = {"timers": b"wheel", "halves": b"half"}  # where they lie
TIMES_MAX = 4  # that a half is asked about
LATE_MS = 5000


class Wait(NamedTuple):
    """Of a message that was held: by what it is called, when it is due, its body, and the log offset behind its
    records. settled = likewise of those that settled it, 0 = it waits."""

    due_ms: int
    body: bytes
    end: int
    settled: int = 0


class Waiting:
    """Part of Natives: `did(name, message, end)` is told of messages that were stored, `put(name)` makes a topic."""

    def __init__(self, seed: int, natives: Any):
        self.random = Random(f"held {seed}")
        self.active = natives.active and self.random.random() < SHARE
        self._natives = natives
        self.waits: dict[str, list[Wait]] = {"timers": [], "halves": []}
        self.number = self.asked = self.ended = 0

    # -- restarts

    def restarted(self, tail: int) -> None:
        """A broker came back from a log that ends there."""
        if not self.active:
            return
        for kind, waits in self.waits.items():
            kept = [each._replace(settled=each.settled if each.settled <= tail else 0) for each in waits]
            self.waits[kind] = [each for each in kept if each.end <= tail]
        self._broker.timers.start(self._deliver)
        self._broker.halves.start(self._ask)

    @property
    def _broker(self) -> Any:
        return self._natives.life.broker

    # -- actions

    def act(self) -> None:
        """One action, while publishers are let in."""
        if not self.active or self.random.random() < 0.6 or self._natives.life.flow.blocked:
            return
        kind = self.random.choice(("timers", "halves"))
        for _ in range(self.random.choice((1, 1, 2, 30))):
            if kind == "halves" and self.random.random() < 0.5:
                self._end_one()
            else:
                self._hold(kind)

    def _hold(self, kind: str) -> None:
        broker, name = self._broker, TOPICS[kind]
        if broker.topics.find(name) is None:
            self._natives.put(name)
        self.number += 1
        body = b"w%d-" % self.number + bytes(self.random.choice((0, 20, 300, 3000)))
        due_ms = broker.clock.ms + self.random.choice((1, 50, 700, 4000))
        message = Native(name, 0, body, b"")
        offset = getattr(broker, kind).hold(broker.topics.find(name), message, due_ms, self.number & 1023)
        if offset != len(self.waits[kind]):
            raise Violation(f"{kind}: held as {offset}, {len(self.waits[kind])} was next")
        self._natives.did(name, message, message.offset + message.record_size)
        self.waits[kind].append(Wait(due_ms, body, broker.log.appended))

    def _end_one(self) -> None:
        """What the sender of a half says of it."""
        waiting = [offset for offset, each in enumerate(self.waits["halves"]) if not each.settled]
        if not waiting:
            return
        offset = self.random.choice(waiting)
        if self.random.random() < 0.5:
            self._settle("halves", offset, None)
            return

        def found(record: Any) -> None:
            if isinstance(record, Exception):
                raise Violation(f"half {offset} cannot be read: {record}")
            if record is not None:
                self._settle("halves", offset, record)

        self._broker.halves.read(offset, found)

    def _deliver(self, offset: int, record: bytes) -> None:
        wait = self.waits["timers"][offset]
        if wait.due_ms > self._broker.clock.ms:
            raise Violation(f"timed message {offset} is delivered {wait.due_ms - self._broker.clock.ms} ms too early")
        self._settle("timers", offset, record)

    def _ask(self, offset: int, record: bytes) -> None:
        halves = self._broker.halves
        self.asked += 1
        if halves.times(offset) >= TIMES_MAX:
            self._settle("halves", offset, None)
        else:
            halves.again(offset, self._broker.clock.ms + self.random.choice((20, 400)))

    def _settle(self, kind: str, offset: int, record: bytes | None) -> None:
        """It waits no more, and is stored where there is a topic for it."""
        wait, broker = self.waits[kind][offset], self._broker
        if wait.settled:
            raise Violation(f"{kind}: {offset} is settled twice")
        name = self.random.choice((b"n0", b"n1"))
        becomes = []
        if record is not None:
            was = stored_message(record)
            if was.body != wait.body:
                raise Violation(f"{kind}: {offset} is another message")
            if broker.topics.find(name) is not None:
                becomes = [(broker.topics.find(name), Native(name, 0, was.body, b""))]
        getattr(broker, kind).settle(offset, becomes)
        for _, message in becomes:
            self._natives.did(name, message, broker.log.appended)  # all of it is there, or nothing
        self.waits[kind][offset] = wait._replace(settled=broker.log.appended)
        self.ended += 1

    # -- checks

    def check(self) -> None:
        """What was held and not settled waits, and nothing else."""
        if not self.active:
            return
        for kind, waits in self.waits.items():
            queue = self._broker.model.waiting.get(kind)
            wanted = [offset for offset, each in enumerate(waits) if not each.settled]
            end = 0 if queue is None else queue.index.end
            found = [offset for offset in range(end) if not queue.cursor.is_done(offset)]
            if found != wanted or end != len(waits) or getattr(self._broker, kind).count != len(wanted):
                raise Violation(f"{kind}: {found} of {end} wait, not {wanted} of {len(waits)}")

    def settle(self) -> None:
        """Time has passed: nothing is overdue."""
        late = [each for each in self.waits["timers"] if not each.settled and each.due_ms < self._now - LATE_MS]
        if self.active and late:
            raise Violation(f"{len(late)} timed messages are overdue")

    @property
    def _now(self) -> int:
        now: int = self._natives.life.clock.ms
        return now
