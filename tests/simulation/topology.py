"""What clients do to the topology: queues of every kind, exchanges, bindings to queues and to exchanges."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from core.errors import ResourceLocked
from core.state.records import EXCHANGE, QUEUE
from tests.simulation.clients import CoreClient
from tests.simulation.model import Model, ModelQueue, Violation


class Kind(NamedTuple):
    """How a queue is declared. ttl_ms: x-message-ttl, -1 = none; expires_ms: x-expires, 0 = never; dead_letter: the
    exchange for what it gives up, and the key; top: x-max-priority; limit: of a quorum queue, its x-delivery-limit, or
    -1 = none; retry: x-delayed-retry-type, -min and -max; stream_bytes: x-max-length-bytes of a stream, 0 = it is none;
    limits: x-max-length and x-max-length-bytes, 0 = none, and whether a full queue refuses."""

    durable: bool = True
    ttl_ms: int = -1
    auto_delete: bool = False
    exclusive: bool = False
    expires_ms: int = 0
    dead_letter: tuple[str, bytes] | None = None
    top: int = 0
    limit: int | None = None
    retry: tuple[str, int, int] | None = None
    stream_bytes: int = 0
    limits: tuple[int, int] = (0, 0)
    refuses: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """As queue.declare has them."""
        found: dict[str, Any] = {"x-message-ttl": self.ttl_ms} if self.ttl_ms >= 0 else {}
        if self.expires_ms:
            found["x-expires"] = self.expires_ms
        if self.stream_bytes:
            found |= {"x-queue-type": "stream", "x-max-length-bytes": self.stream_bytes}
        if self.limit is not None:
            found |= {"x-queue-type": "quorum", "x-delivery-limit": self.limit}
        if self.retry is not None:
            for argument, value in zip(("type", "min", "max"), self.retry, strict=True):
                found[f"x-delayed-retry-{argument}"] = value
        if self.top:
            found["x-max-priority"] = self.top
        for argument, limit in zip(("x-max-length", "x-max-length-bytes"), self.limits, strict=True):
            if limit:
                found |= {argument: limit, "x-overflow": "reject-publish" if self.refuses else "drop-head"}
        if self.dead_letter is not None:
            found["x-dead-letter-exchange"], key = self.dead_letter
            found["x-dead-letter-routing-key"] = key.decode()
        return found


QUEUES = {
    "q0": Kind(),
    "q1": Kind(),
    "q2": Kind(ttl_ms=40),
    "q3": Kind(),
    "t0": Kind(durable=False),
    "t1": Kind(durable=False, ttl_ms=40),
    "a0": Kind(auto_delete=True),
    "a1": Kind(durable=False, auto_delete=True),
    "e0": Kind(durable=False, exclusive=True),
    "e1": Kind(durable=False, exclusive=True, auto_delete=True),
    "u0": Kind(expires_ms=30),
    "u1": Kind(durable=False, expires_ms=300),
    "q4": Kind(ttl_ms=40, dead_letter=("", b"d0")),
    "q5": Kind(dead_letter=("dx", b"a")),
    "t2": Kind(durable=False, ttl_ms=40, dead_letter=("dx", b"a")),
    "t3": Kind(durable=False, dead_letter=("", b"d1")),
    "p0": Kind(top=3),
    "p1": Kind(durable=False, top=3, ttl_ms=40),
    "k0": Kind(limit=-1),
    "k1": Kind(limit=1),
    "k2": Kind(limit=2, dead_letter=("", b"d0")),
    "k3": Kind(limit=-1, ttl_ms=200, retry=("all", 3, 10)),
    "k4": Kind(limit=4, retry=("failed", 5, 1000)),
    "s0": Kind(stream_bytes=1 << 30),
    "s1": Kind(stream_bytes=9000),
    "l0": Kind(limits=(5, 0)),
    "l1": Kind(durable=False, limits=(3, 0)),
    "l2": Kind(limits=(4, 0), refuses=True),
    "l3": Kind(limits=(0, 4000)),
    "l4": Kind(durable=False, limits=(6, 3500), refuses=True),
    "d0": Kind(),
    "d1": Kind(durable=False, ttl_ms=40),
}
LIMITED = ("l0", "l1", "l2", "l3", "l4")  # nothing is bound to these
BY_BYTES = ("l3", "l4")
COUNTING = ("k1", "k2", "k3", "k4")
GRAVES = ("d0", "d1")  # of what "dx" gets; they give up nothing, so nothing goes round
EXCHANGES = {
    "x0": ("direct", True),
    "x1": ("fanout", True),
    "x2": ("topic", True),
    "x3": ("fanout", False),
    "dx": ("fanout", True),
}
KEYS = (b"a", b"b", b"a.b", b"c.a.b", b"#", b"*.b", b"a.#")


class TopologyActions:
    """Each action is carried out on the broker and told to the model."""

    def __init__(self, life: Any, model: Model, random: Random):
        self.life = life
        self.model = model
        self.random = random

    def declare(self, client: CoreClient) -> None:
        """A queue or an exchange; a queue that is there is declared again."""
        if self.random.random() < 0.6:
            name = self.random.choice(list(QUEUES))
            known = self.model.now.queues.get(name)
            if known is None:
                self._declare(name, QUEUES[name], client)
            elif self._may_use(known, client):
                self._declare_again(known, client)
        else:
            name = self.random.choice(list(EXCHANGES))
            if name not in self.model.now.exchanges:
                self._declare_exchange(name, *EXCHANGES[name])

    def _declare_exchange(self, name: str, kind: str, durable: bool) -> None:
        start = self._appended()
        self.life.broker.topology.declare_exchange(self.life.vhost, name, kind, durable=durable)
        self._stated(start, durable, "declare_exchange", name, kind, durable)

    def _declare(self, name: str, kind: Kind, client: CoreClient) -> None:
        start = self._appended()
        queue = self._ask_for(name, kind, client)
        known = ModelQueue(name, queue.id, kind.durable, kind.auto_delete, client if kind.exclusive else None)
        known.expires_ms, known.used_ms = kind.expires_ms, self.life.clock.ms
        known.dead_letter, known.top, known.limit, known.retry = kind.dead_letter, kind.top, kind.limit, kind.retry
        known.stream_bytes, known.limits, known.refuses = kind.stream_bytes, kind.limits, kind.refuses
        self._stated(start, kind.durable, "declare_queue", known)

    def _declare_again(self, known: ModelQueue, client: CoreClient) -> None:
        start = self._appended()
        if self._ask_for(known.name, QUEUES[known.name], client).id != known.id:
            raise Violation(f"{known.name}: declared again, it is another queue")
        known.used_ms = self.life.clock.ms
        if self.life.broker.log.appended != start:
            raise Violation(f"{known.name}: declared again, the log has grown")

    def _ask_for(self, name: str, kind: Kind, client: CoreClient) -> Any:
        return self.life.broker.topology.declare_queue(
            self.life.vhost, name, durable=kind.durable, exclusive=kind.exclusive, auto_delete=kind.auto_delete,
            arguments=kind.arguments, owner=client,
        )  # fmt: skip

    def bind(self, client: CoreClient) -> None:
        """A binding comes or goes."""
        now = self.model.now
        ends = [(QUEUE, name) for name in now.queues if name in QUEUES and name not in LIMITED]
        if now.exchanges and (not ends or self.random.random() < 0.3):
            ends = [(EXCHANGE, name) for name in now.exchanges if name in EXCHANGES]
        if not ends or not now.exchanges:
            return
        source, destination = self.random.choice(list(now.exchanges)), self.random.choice(ends)
        if source == "dx" and destination[1] not in GRAVES:
            return
        key = self.random.choice(KEYS)
        if (source, *destination, key) in now.bindings and self.random.random() < 0.5:
            durable, start = self._binds_durably(source, destination), self._appended()
            self.life.broker.topology.unbind(
                self.life.vhost, source, destination, key.decode(), {}, owner=self._owner_of(destination)
            )
            self._stated(start, durable, "unbind", source, destination, key)
        else:
            self._bind(source, destination, key)

    def _bind(self, source: str, destination: tuple[str, str], key: bytes) -> None:
        there = (source, *destination, key) in self.model.now.bindings
        durable, start = self._binds_durably(source, destination), self._appended()
        self.life.broker.topology.bind(
            self.life.vhost, source, destination, key.decode(), {}, owner=self._owner_of(destination)
        )
        self._stated(start, durable and not there, "bind", source, destination, key, durable)

    def _owner_of(self, destination: tuple[str, str]) -> Any:
        kind, name = destination
        return self.model.now.queues[name].owner if kind == QUEUE else None

    def _binds_durably(self, source: str, destination: tuple[str, str]) -> bool:
        now, (kind, name) = self.model.now, destination
        return now.exchanges[source][1] and (now.queues[name].durable if kind == QUEUE else now.exchanges[name][1])

    def purge(self, client: CoreClient) -> None:
        """Drop what is ready in a queue."""
        known = self._queue(client)
        if known is None or (len(known.units) < 50 and self.random.random() < 0.7):
            return
        count = self.life.broker.topology.purge(self.life.vhost, known.name, client)
        self._check_count(known, count)
        queue = self.life.vhost.queues[known.name]
        for offset in known.ready():
            if queue.cursor.is_done(offset):
                self.model.settled(known, [offset])
            else:  # expired, and on its way out already
                self.model.expired(known, offset, self.life.clock.ms)

    def delete(self, client: CoreClient) -> None:
        """Delete a queue, seldom an exchange."""
        now = self.model.now
        names = [name for name in now.queues if name in QUEUES]
        start = self._appended()
        if now.exchanges and self.random.random() < 0.3:
            name = self.random.choice(list(now.exchanges))
            self.life.broker.topology.delete_exchange(self.life.vhost, name)
            self._stated(start, now.exchanges[name][1], "delete_exchange", name)
        elif names:
            known = now.queues[self.random.choice(names)]
            if self._may_use(known, client):
                count = self.life.broker.topology.delete_queue(self.life.vhost, known.name, client)
                self._check_count(known, count)
                self._stated(start, known.durable, "delete_queue", known.name)

    def _check_count(self, known: ModelQueue, count: int) -> None:
        """So many were purged or deleted; what was there before has been observed."""
        ready = known.ready()
        due = [offset for offset in ready if 0 < known.units[offset].expires_ms <= self.life.clock.ms]
        if not len(ready) - len(due) <= count <= len(ready):
            raise Violation(f"{known.name}: {count} messages were ready, {len(ready)} expected ({len(due)} due)")

    def _queue(self, client: CoreClient) -> ModelQueue | None:
        """A queue that the client may use."""
        self.life.observe()
        queues = [known for known in self.model.now.queues.values() if not known.stream_bytes]
        known = self.random.choice(queues) if queues else None
        return known if known is not None and self._may_use(known, client) else None

    def _may_use(self, known: ModelQueue, client: CoreClient) -> bool:
        """Whether it may; if not, see that the broker says so, too."""
        if known.owner in (None, client):
            return True
        try:
            self.life.broker.topology.queue(self.life.vhost, known.name, client)
        except ResourceLocked:
            return False
        raise Violation(f"{known.name}: given to a client, though it is exclusive to another one")

    def _appended(self) -> int:
        self.life.observe()
        return int(self.life.broker.log.appended)

    def _stated(self, start: int, durable: bool, what: str, *args: Any) -> None:
        """Tell the model of a change, and note when its reply may leave."""
        log = self.life.broker.log
        end = log.appended
        if (end > start) != durable:
            raise Violation(f"{what} {args}: durable {durable}, but {end - start} bytes of log")
        self.model.changed(start, end, what, *args)
        if durable:
            log.when_committed(lambda: self.model.promise(end))
