"""What the broker should hold, in plain Python: a list of what was appended to the log, and the queues that follow.

Every durable change is noted with the log offset behind its record. After a crash the log ends somewhere: the model's
changes up to there, no more and no less, are what the broker must come back with. What was promised to a client
(a confirm, a reply) is noted as an offset too: the log may not end before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from core.state.records import EXCHANGE, QUEUE
from tests.simulation.matching import matches
from tests.simulation.queues import Counted, ModelQueue, Unit, Violation

__all__ = ["HIDDEN", "Model", "ModelQueue", "State", "Violation"]

HIDDEN = "amq.delayed"  # the broker's own queue of what waits for its time


@dataclass
class State:
    """Exchanges: name -> (kind, durable); bindings: (source, QUEUE or EXCHANGE, its name, key) -> durable; hidden: the
    queue of delayed messages, or None."""

    queues: dict[str, ModelQueue] = field(default_factory=dict)
    exchanges: dict[str, tuple[str, bool]] = field(default_factory=dict)
    bindings: dict[tuple[str, str, str, bytes], bool] = field(default_factory=dict)
    hidden: ModelQueue | None = None

    def find(self, name: str, queue_id: int = 0) -> ModelQueue | None:
        """The queue of that name, the hidden one too; of that id, if one is given."""
        queue = self.hidden if name == HIDDEN else self.queues.get(name)
        return queue if queue is not None and queue_id in (0, queue.id) else None

    def drop_queue(self, name: str) -> None:
        """The queue goes, with its bindings."""
        self.queues.pop(name, None)
        self.bindings = {key: durable for key, durable in self.bindings.items() if key[1:3] != (QUEUE, name)}

    def drop_exchange(self, name: str) -> None:
        """The exchange goes, with its bindings, from it and to it."""
        self.exchanges.pop(name, None)
        ends = {key: (key[0], key[2] if key[1] == EXCHANGE else "") for key in self.bindings}
        self.bindings = {key: durable for key, durable in self.bindings.items() if name not in ends[key]}

    def route(self, exchange: str, key: bytes) -> set[str]:
        """Names of the queues that a message goes to."""
        if not exchange:
            name = key.decode()
            return {name} if name in self.queues else set()
        found, reached = set(), [exchange]
        for source in reached:  # grows as we go
            kind = self.exchanges[source][0]
            for origin, to, name, bound in self.bindings:
                if origin == source and matches(kind, bound, key):
                    if to == QUEUE:
                        found.add(name)
                    elif name not in reached:
                        reached.append(name)
        return found

    def keep_durable(self) -> None:
        """A restart: what is transient is gone, nobody holds anything."""
        self.queues = {name: queue for name, queue in self.queues.items() if queue.durable}
        self.exchanges = {name: what for name, what in self.exchanges.items() if what[1]}
        self.bindings = {key: True for key, durable in self.bindings.items() if durable}
        for queue in self.queues.values():
            queue.unacked, queue.dying = set(), set()


class Change(NamedTuple):
    """Something that the log holds: it is true after a crash if the log ends at `end` or behind it. Of several records
    (`start` is before `end`'s record) a part may be there."""

    start: int
    end: int
    what: str
    args: tuple[Any, ...]


class Model:
    """now = the state that the running broker should have; promised = the log offset that no crash may cut below."""

    def __init__(self) -> None:
        self.now = State()
        self._changes: list[Change] = []  # since the beginning of time
        self._settled: dict[int, tuple[ModelQueue, list[int]]] = {}  # by queue id: what was settled since the last turn
        self._counted: dict[int, tuple[ModelQueue, dict[int, Counted]]] = {}  # likewise
        self._gathered: tuple[int, list[Any], list[Any]] = (0, [], [])
        self._tail = 0  # the log's end when this life of the broker began
        self.promised = 0
        self.confirmed = 0

    # -- what clients and the simulator tell

    def changed(self, start: int, end: int, what: str, *args: Any) -> None:
        """One of CHANGES, made in the log between those offsets (equal: it is transient)."""
        getattr(self, f"_{what}")(self.now, *args)
        if end > start:
            self._changes.append(Change(start, end, what, args))

    def stored(self, name: str, body: bytes, record: tuple[int, int], expires_ms: int, priority: int) -> int:
        """The message entered a queue; record = (log offset, size), offset -1 = none. Returns its queue offset."""
        queue = self.now.queues[name]
        offset, level = queue.end, min(priority, queue.top)
        start, size = record
        if queue.durable:
            self.changed(start, start + size, "store", name, offset, body, expires_ms, level)
        else:
            self._store(self.now, name, offset, body, expires_ms, level)
        return offset

    def settled(self, queue: ModelQueue, offsets: list[int]) -> None:
        """Acked, purged or taken without ack: durable with the done record of this turn."""
        queue.settle(offsets)
        if queue.durable and self.lives(queue):
            self._settled.setdefault(queue.id, (queue, []))[1].extend(offsets)

    def given_up(self, queue: ModelQueue, offset: int) -> None:
        """Rejected or expired: settled, or on its way to the dead letter exchange."""
        if queue.dead_letter is None or not self.lives(queue):
            self.settled(queue, [offset])
        else:
            queue.unacked.discard(offset)
            queue.dying.add(offset)

    def returned(self, queue: ModelQueue, offset: int, asked: bool, clock_ms: int) -> None:
        """It came back, since a client asked or has gone: ready again, or, in a quorum queue, waiting, or given up when
        that saw it too often."""
        queue.unacked.discard(offset)
        if offset in queue.units:
            queue.units[offset].back_ms = clock_ms
        if queue.limit is None or not self.lives(queue):
            return
        unit = queue.units[offset]
        if 0 <= queue.limit <= unit.count:
            self.given_up(queue, offset)
        else:
            unit.count += 1
            due_ms = queue.waits_until(offset, asked, clock_ms)
            if due_ms:
                queue.waiting[offset] = due_ms
            self._counted.setdefault(queue.id, (queue, {}))[1][offset] = unit.count, due_ms

    def moved(self, record: tuple[int, int], source: ModelQueue, offset: int, entered: list[tuple[str, int]]) -> None:
        """A dead letter left `source` and entered queues: (name, expires_ms). record = the log before and after it."""
        body = source.units[offset].body
        stores = [(name, self.now.queues[name].end, body, expires_ms, 0) for name, expires_ms in entered]
        durable = [store for store in stores if self.now.queues[store[0]].durable]
        for store in stores:
            if store not in durable:
                self._store(self.now, *store)
        if durable and source.durable:
            self.changed(*record, "move", source.id, source.name, offset, durable)
            return
        for store in durable:
            self.changed(*record, "store", *store)
        self.settled(source, [offset])

    def joined(self, mark: int, end: int) -> None:
        """The changes since there were `mark` of them are one transaction, which ends at that log offset."""
        self.written(end)
        self._changes[mark:] = [change._replace(start=end, end=end) for change in self._changes[mark:]]

    @property
    def changes(self) -> int:
        """How many there were in the log."""
        return len(self._changes)

    def lives(self, queue: ModelQueue) -> bool:
        """Whether the queue was not deleted."""
        return self.now.find(queue.name) is queue

    def gathered(self, start: int) -> None:
        """What was settled so far becomes done records, the first of them at this log offset."""
        settled, self._settled = self._settled, {}
        counted, self._counted = self._counted, {}
        lists = [[(queue, what) for queue, what in each.values() if self.lives(queue)] for each in (settled, counted)]
        self._gathered = start, *lists

    def written(self, end: int) -> None:
        """The done records lie before this log offset."""
        start, settled, counted = self._gathered
        for queue, offsets in settled:
            self._changes.append(Change(start, end, "settle", (queue.id, queue.name, offsets)))
        for queue, counts in counted:
            self._changes.append(Change(start, end, "count", (queue.id, queue.name, counts)))
        self._gathered = end, [], []

    def delivered(self, queue: ModelQueue, offset: int, clock_ms: int) -> Unit:
        """A consumer of the queue was given this offset: it must be the first that is ready and has not expired."""
        name = queue.name
        unit = queue.units.get(offset)
        if unit is None:
            raise Violation(f"{name}: offset {offset} was delivered, but it is settled or was never stored")
        if offset in queue.unacked:
            raise Violation(f"{name}: offset {offset} was delivered while a consumer holds it")
        if offset in queue.dying:
            raise Violation(f"{name}: offset {offset} was delivered, it was rejected or expired before")
        if 0 < unit.expires_ms < clock_ms:
            raise Violation(f"{name}: offset {offset} was delivered {clock_ms - unit.expires_ms} ms after it expired")
        for before in queue.ready():
            if before == offset:
                break
            self.expired(queue, before, clock_ms)
        return unit

    def expired(self, queue: ModelQueue, offset: int, clock_ms: int) -> None:
        """The running broker has this unit no more: it must have been due."""
        self.check_due(queue, offset, clock_ms)
        self.given_up(queue, offset)

    def check_due(self, queue: ModelQueue, offset: int, clock_ms: int) -> None:
        """Only a unit that is due may be missing."""
        unit = queue.units[offset]
        if not unit.expires_ms or unit.expires_ms > clock_ms:
            raise Violation(f"{queue.name}: offset {offset} ({unit.body[:24]!r}) is missing: never settled nor expired")

    def deleting(self, name: str, clock_ms: int) -> None:
        """The broker is about to delete a queue by itself: its owner must be leaving, or its time over."""
        queue = self.now.queues.get(name)
        if queue is None:
            raise Violation(f"{name}: is to be deleted, and is not there")
        if queue.owner is not None and queue.owner.leaving:
            return
        if queue.unused_since(clock_ms) < 0:
            raise Violation(f"{name}: is to be deleted, used {clock_ms - queue.used_ms} ms ago ({queue.expires_ms})")

    def promise(self, offset: int) -> None:
        """A client was told that what the log holds up to here is safe."""
        self.promised = max(self.promised, offset)

    # -- the end of a life

    def restarted(self, tail: int, clock_ms: int) -> None:
        """The broker came back with a log that ends at `tail`: go back to what is true at that offset."""
        if tail < self.promised:
            raise Violation(f"the log ends at {tail}, but a client was told that it is safe up to {self.promised}")
        state = State()
        for change in sorted(self._changes, key=lambda each: each.end):
            if change.end <= tail:
                getattr(self, f"_{change.what}")(state, *change.args)
            elif change.what == "settle" and change.start < tail:
                queue_id, name, offsets = change.args
                if (found := state.find(name, queue_id)) is not None:
                    found.doubtful.update(offsets)
            elif change.what == "count" and change.start < tail:
                queue_id, name, counts = change.args
                if name in state.queues and state.queues[name].id == queue_id:
                    state.queues[name].doubted.update(counts)
        state.keep_durable()
        for name, queue in state.queues.items():
            queue.used_ms = clock_ms  # as in RabbitMQ, x-expires counts anew
            before = self.now.queues.get(name)
            units = before.units if before is not None and before.id == queue.id else {}
            for offset, unit in queue.units.items():
                unit.delivered = offset in units and units[offset].delivered
                unit.fresh = False
        self.now, self._tail = state, tail
        self._changes = [change for change in self._changes if change.end <= tail]
        self._settled, self._counted = {}, {}

    def was_settled(self, queue: ModelQueue, offsets: list[int]) -> None:
        """The broker came back without these, and it may: they are settled in the log that it came back with."""
        queue.settle(offsets)
        self._changes.append(Change(self._tail, self._tail, "settle", (queue.id, queue.name, offsets)))

    def was_counted(self, queue: ModelQueue, offset: int, counted: Counted) -> None:
        """The broker came back with this, and it may."""
        change = Change(self._tail, self._tail, "count", (queue.id, queue.name, {offset: counted}))
        self._count(self.now, *change.args)
        self._changes.append(change)

    # -- CHANGES

    @staticmethod
    def _store(state: State, name: str, offset: int, body: bytes, expires_ms: int, level: int) -> None:
        queue = state.queues.get(name)
        if queue is not None:
            queue.units[offset] = Unit(body, expires_ms, level)
            queue.end = offset + 1

    @staticmethod
    def _hide(state: State, queue_id: int) -> None:
        state.hidden = ModelQueue(HIDDEN, queue_id, True)

    @staticmethod
    def _delay(state: State, offset: int, body: bytes, due_ms: int, address: tuple[bytes, bytes]) -> None:
        assert state.hidden is not None
        unit = state.hidden.units[offset] = Unit(body, due_ms, 0)
        unit.address = address
        state.hidden.end = offset + 1

    @staticmethod
    def _move(state: State, queue_id: int, source: str, offset: int, stores: list[tuple[Any, ...]]) -> None:
        Model._settle(state, queue_id, source, [offset])
        for store in stores:
            Model._store(state, *store)

    @staticmethod
    def _settle(state: State, queue_id: int, name: str, offsets: list[int]) -> None:
        if (queue := state.find(name, queue_id)) is not None:
            queue.settle(offsets)

    @staticmethod
    def _count(state: State, queue_id: int, name: str, counts: dict[int, Counted]) -> None:
        if name in state.queues and state.queues[name].id == queue_id:
            queue = state.queues[name]
            for offset in counts.keys() & queue.units.keys():
                queue.units[offset].count, due_ms = counts[offset]
                queue.waiting.pop(offset, None)
                if due_ms:
                    queue.waiting[offset] = due_ms

    @staticmethod
    def _declare_queue(state: State, queue: ModelQueue) -> None:
        empty = {name: set() for name in ("unacked", "dying", "doubtful")}
        empty |= {name: {} for name in ("units", "doubted", "sizes", "waiting")}
        state.queues[queue.name] = replace(queue, **empty)  # type: ignore[arg-type]

    @staticmethod
    def _delete_queue(state: State, name: str) -> None:
        state.drop_queue(name)

    @staticmethod
    def _declare_exchange(state: State, name: str, kind: str, durable: bool) -> None:
        state.exchanges[name] = kind, durable

    @staticmethod
    def _delete_exchange(state: State, name: str) -> None:
        state.drop_exchange(name)

    @staticmethod
    def _bind(state: State, source: str, destination: tuple[str, str], key: bytes, durable: bool) -> None:
        state.bindings[source, *destination, key] = durable

    @staticmethod
    def _unbind(state: State, source: str, destination: tuple[str, str], key: bytes) -> None:
        state.bindings.pop((source, *destination, key), None)
