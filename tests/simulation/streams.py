"""Streams: what they keep, what they drop for its size, and who reads them from a place of its own."""

from __future__ import annotations

from typing import Any

from core.queue.consumer import Consumer, Gate
from tests.simulation.clients import body_of
from tests.simulation.model import Model, ModelQueue, Violation

PREFETCH = 20


def observe_streams(life: Any, model: Model) -> None:
    """Tell the model what streams dropped at their front: no more than they had to."""
    copied = life.broker.reappender.copied_records
    for known in model.now.queues.values():
        queue = life.vhost.queues.get(known.name)
        if not known.stream_bytes or queue is None:
            continue
        for offset in known.units.keys() if copied > life.copied else known.units.keys() - known.sizes.keys():
            if queue.index.find(offset) == 1:
                known.sizes[offset] = queue.index.size
        dropped = [offset for offset in known.units if offset < queue.cursor.floor]
        if dropped:
            kept = sum(known.sizes[offset] for offset in known.units if offset >= queue.cursor.floor)
            last = known.sizes.get(dropped[-1])
            if last is not None and kept + last <= known.stream_bytes:
                raise Violation(f"{known.name}: dropped offset {dropped[-1]}, though {kept + last} bytes are allowed")
            model.settled(known, dropped)
    life.copied = copied


def check_stream(queue: Any, known: ModelQueue) -> None:
    """Between two turns it keeps what it must, and no more than it may."""
    if queue.ready != len(known.units):
        raise Violation(f"{known.name}: keeps {queue.ready} messages, {len(known.units)} expected")
    kept = sum(known.sizes[offset] for offset in known.units)
    if kept > known.stream_bytes and len(known.units) > 1:
        raise Violation(f"{known.name}: keeps {kept} bytes, its limit is {known.stream_bytes}")


class SimReader(Consumer):
    """A consumer of a stream from its place on. next = the offset that it must get next; left = it went, or its stream
    did."""

    def __init__(self, life: Any, known: ModelQueue, at: str, value: int):
        queue = life.vhost.queues[known.name]
        Consumer.__init__(self, queue, Gate())
        self.prefetch = PREFETCH
        self.life = life
        self.known = known
        self.left = False
        self._held: list[int] = []
        floor, end = queue.cursor.floor, known.end
        self.next = {"first": floor, "last": max(end - 1, floor), "next": end, "offset": max(value, floor)}[at]
        queue.place(self, at, value)
        known.consumers += 1
        queue.add_consumer(self)
        life.broker.topology.consumer_added(life.vhost, queue)

    def deliver(self, message: Any, offset: int, redelivered: bool) -> None:
        """See Consumer."""
        self.life.observe()
        if offset != max(self.next, self.queue.cursor.floor):
            raise Violation(f"{self.known.name}: a reader got offset {offset}, {self.next} was next")
        unit = self.known.units.get(offset)
        if unit is None or unit.body != body_of(message):
            raise Violation(f"{self.known.name}: offset {offset} was read as {body_of(message)[:24]!r}")
        if redelivered:
            raise Violation(f"{self.known.name}: offset {offset} of a stream is marked as redelivered")
        self.next = offset + 1
        self._held.append(offset)

    def give_credit(self) -> None:
        """Acknowledge what it got."""
        held, self._held = self._held, []
        for offset in held:
            self.queue.acknowledge(offset)
            self.release()

    def leave(self) -> None:
        """It reads no more."""
        self.left = True
        self.known.consumers -= 1
        self.queue.remove_consumer(self)
        self.life.broker.topology.consumer_gone(self.life.vhost, self.queue)

    def gone(self) -> None:
        """See Consumer: the stream was deleted."""
        self.left = True


def check_readers(readers: list[SimReader]) -> None:
    """At the end of all: who has credit has read all there is."""
    for reader in readers:
        if not reader.left and len(reader._held) < PREFETCH and reader.next < reader.known.end:
            raise Violation(f"{reader.known.name}: a reader waits at {reader.next}, the end is {reader.known.end}")
