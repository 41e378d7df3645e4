"""What stands in one record, or in one transaction of records: dead letters, and what clients commit together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from core.dead_letters import DeadLetters
from core.queue.expiry import EXPIRED
from core.transaction import Transaction
from tests.simulation.bounded import trimmed
from tests.simulation.clients import CoreClient, body_of
from tests.simulation.model import Model, ModelQueue, Violation

BYTES_MAX = 1 << 40


class WatchedLetters(DeadLetters):
    """Dead letters that `watch`, if it is set, moves: it sees what was before and after. A class of its own, because a
    method of a compiled object cannot be replaced."""

    watch: Any = None

    def _move(self, lane: Any, offset: int, reason: str, message: Any) -> None:
        if self.watch is None:
            super()._move(lane, offset, reason, message)
        else:
            self.watch(lane, offset, reason, message)


def watch_letters(life: Any, model: Model) -> None:
    """Tell the model of each dead letter that the broker moves, and see that it goes where it must, by one record."""
    letters = life.broker.dead_letters
    move = partial(DeadLetters._move, letters)

    def watched(lane: Any, offset: int, reason: str, message: Any) -> None:
        life.observe()
        known = model.now.queues[lane.queue.name]
        if offset not in known.dying:
            if reason != EXPIRED or offset not in known.ready():
                raise Violation(f"{known.name}: offset {offset} leaves as {reason}, it is neither that nor ready")
            model.expired(known, offset, life.clock.ms)
        exchange, key = known.dead_letter
        _moves(life, model, (known, offset), (exchange, key), lambda: move(lane, offset, reason, message))

    letters.watch = watched


def watch_delays(life: Any, model: Model) -> None:
    """Likewise of each delayed message whose time has come: not before, and once."""
    delays = life.broker.delays
    release = delays._release

    def watched(queue: Any, offset: int, message: Any) -> None:
        life.observe()
        hidden = model.now.hidden
        unit = hidden.units.get(offset)
        if unit is None:
            raise Violation(f"delayed message {offset} fires, and does not wait")
        if unit.expires_ms > life.clock.ms:
            raise Violation(f"delayed message {offset} fires {unit.expires_ms - life.clock.ms} ms too early")
        if body_of(message) != unit.body:
            raise Violation(f"delayed message {offset} is another one")
        exchange, key = unit.address
        _moves(life, model, (hidden, offset), (exchange.decode(), key), lambda: release(queue, offset, message))

    delays._release = watched


def _moves(
    life: Any, model: Model, source: tuple[ModelQueue, int], address: tuple[str, bytes], move: Callable[[], None]
) -> None:
    """Have the broker move the message at (queue, offset) to (exchange, key), and see that it does."""
    known, offset = source
    exchange, key = address
    log = life.broker.log
    there = not exchange or exchange in model.now.exchanges
    expected = model.now.route(exchange, key) if there else set()
    ends = {each.name: each.end() for each in life.vhost.queues.values()}
    start, records = log.appended, log.records
    move()
    entered = {each.name for each in life.vhost.queues.values() if each.end() > ends[each.name]}
    if entered != expected:
        raise Violation(f"{known.name}: offset {offset} went to {sorted(entered)}, not to {sorted(expected)}")
    durable = any(life.vhost.queues[name].durable for name in entered)
    if log.records - records != durable:
        raise Violation(f"{known.name}: offset {offset} was moved by {log.records - records} records")
    ttls = {name: life.vhost.queues[name].ttl_ms for name in entered}
    units = [(name, life.clock.ms + ttls[name] if ttls[name] >= 0 else 0) for name in sorted(entered)]
    model.moved((start, log.appended), known, offset, units)


class SimTransaction:
    """One transaction of a client, from its beginning to commit() or roll_back(). taken = tags that it will settle."""

    def __init__(self, client: CoreClient):
        self._client = client
        broker = client.life.broker
        self._transaction: Any = Transaction(broker, client.unacked, client.life.vhost, BYTES_MAX)
        self._gather = self._transaction._gather
        self._transaction._gather = self._gathering
        self._published: list[tuple[Any, Any, bytes]] = []
        self._settled: list[tuple[list[int], int]] = []
        self.taken: set[int] = set()

    def publish(self, address: tuple[bytes, bytes], body: bytes, persistent: bool) -> None:
        """Hold a message."""
        message, route = self._client.addressed(address, body, persistent)
        self._transaction.publish(message, route, False)
        self._published.append((message, route, body))

    def settle(self, tag: int, multiple: bool, fate: int) -> None:
        """Hold a settlement: fate is as in core.consume."""
        tags = [each for each in self._client.up_to(tag, multiple) if each not in self.taken]
        taken = self._client.unacked.take(tag, multiple) or []
        if sorted(each[0] for each in taken) != sorted(tags):
            raise Violation(f"{len(taken)} deliveries taken for a transaction, {len(tags)} expected")
        self._transaction.settle(taken, fate)
        self._settled.append((tags, fate))
        self.taken.update(tags)

    def roll_back(self) -> None:
        """Nothing of it was."""
        self._transaction.roll_back()

    def commit(self) -> None:
        """All of it is, or after a crash nothing."""
        client = self._client
        client.life.observe()
        log, model, mark = client.life.broker.log, client.model, client.model.changes
        start = log.appended
        self._transaction.commit(None)
        end = log.appended
        model.joined(mark, end)
        if end > start:
            log.when_committed(lambda: model.promise(end))

    def _gathering(self) -> list[bytes]:
        """The messages are stored, and the done records are next."""
        for message, route, body in self._published:
            self._client.entered(message, route, body)
        for tags, fate in self._settled:
            self._client.forget(tags, fate, True)
        trimmed(self._client.life, self._client.model)
        bodies: list[bytes] = self._gather()
        return bodies
