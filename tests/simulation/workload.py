"""What the clients do: actions drawn from the seed, each carried out on the broker and told to the model."""

from __future__ import annotations

from random import Random
from typing import Any

from core.flow import MEMORY
from tests.simulation.clients import CoreClient
from tests.simulation.model import Model, ModelQueue, Violation
from tests.simulation.wire import WirePublisher

QUEUES = {  # name -> (durable, x-message-ttl or -1)
    "q0": (True, -1),
    "q1": (True, -1),
    "q2": (True, 40),
    "q3": (True, -1),
    "t0": (False, -1),
    "t1": (False, 40),
}
EXCHANGES = {"x0": ("direct", True), "x1": ("fanout", True), "x2": ("topic", True), "x3": ("fanout", False)}
WIRE_QUEUES = ("w0", "w1")
KEYS = (b"a", b"b", b"a.b", b"c.a.b", b"#", b"*.b", b"a.#")
CLIENTS = 4
UNITS_MAX = 5000  # a queue that holds so many gets no more
WIDE_QUEUES = 260
BULK_UNITS = 4000  # so that chunks of the index leave memory


class Workload:
    """The clients of one life of the broker."""

    def __init__(self, life: Any, model: Model, random: Random, names: Any):
        self.life = life
        self.model = model
        self.random = random
        self._names = names  # an endless supply of message bodies' beginnings
        self.clients = [CoreClient(life, model, random.choice((3, 20, 1000))) for _ in range(CLIENTS)]
        self.publishers: list[WirePublisher] = []
        self.weights = {action: random.choice((0, 1, 1, 3)) * weight for action, weight in ACTIONS.items()}
        self.weights[Workload.publish] = ACTIONS[Workload.publish]
        self.publishing = True
        for name in WIRE_QUEUES:
            if name not in model.now.queues:
                self._declare(name, True, -1)
        chance = random.random()
        if chance < 0.03:
            self._bulk()
        elif chance < 0.045:
            self._fan_out()

    def act(self) -> None:
        """One action of some client."""
        actions = list(self.weights)
        action = self.random.choices(actions, list(self.weights.values()))[0]
        action(self, self.random.choice(self.clients))

    # -- publishing

    def publish(self, client: CoreClient) -> None:
        """Some messages in one turn, as a protocol does it: not while an alarm is on."""
        random = self.random
        count = random.choice((1, 1, 1, 5, 40))
        if random.random() < 0.02:
            count = 600  # more than a chunk of the index
        for _ in range(count):
            address = self._address()
            if self.life.flow.blocked or not self.publishing or self._crowded(address):
                return
            size = random.choice((0, 20, 20, 20, 900, 3000))
            if count < 40 and random.random() < 0.02:
                size = self.life.world.sizes.segment_bytes // 2 - 500
            ttl_ms = random.choice((0, 5, 200)) if random.random() < 0.05 else -1
            client.publish(address, next(self._names) + bytes(size), random.random() < 0.8, ttl_ms)

    def _bulk(self) -> None:
        """A backlog, bigger than what of its index stays in memory."""
        name = self.random.choice(WIRE_QUEUES)
        for _ in range(BULK_UNITS):
            if not self.life.flow.blocked and not self._crowded((b"", name.encode())):
                self.clients[0].publish((b"", name.encode()), next(self._names), True, -1)
            if self.random.random() < 0.01:
                self.life.run(0.01)

    def _fan_out(self) -> None:
        """More queues behind one exchange than a store record names: the rest follows in a link."""
        if "wide" not in self.model.now.exchanges:
            self._declare_exchange("wide", "fanout", True)
        for number in range(WIDE_QUEUES):
            name = f"f{number}"
            if name not in self.model.now.queues:
                self._declare(name, True, -1)
                self._bind("wide", name, b"")
        for _ in range(3):
            self.clients[0].publish((b"wide", b""), next(self._names), True, -1)
            self.life.run(0.001)

    def _address(self) -> tuple[bytes, bytes]:
        exchanges = sorted(self.model.now.exchanges.keys() & EXCHANGES.keys())
        if exchanges and self.random.random() < 0.4:
            return self.random.choice(exchanges).encode(), self.random.choice(KEYS)
        return b"", self.random.choice([*sorted(self.model.now.queues), "nowhere"]).encode()

    def _crowded(self, address: tuple[bytes, bytes]) -> bool:
        queues = self.model.now.queues
        names = self.model.now.route(address[0].decode(), address[1])
        return any(len(queues[name].units) >= UNITS_MAX for name in names)

    def wire(self, client: CoreClient) -> None:
        """A publisher over AMQP sends, comes, closes or is lost."""
        random = self.random
        living = [each for each in self.publishers if each.phase == "open"]
        if len(living) < 2:
            name = next(self._names).decode().rstrip("-")
            self.publishers.append(WirePublisher(self.life, random, name, random.choice(WIRE_QUEUES)))
            return
        publisher = random.choice(living)
        chance = random.random()
        if chance < 0.03:
            publisher.lose()
        elif chance < 0.13:
            publisher.say_goodbye(random.random() < 0.5)
        else:
            for _ in range(random.choice((1, 3, 20))):
                publisher.publish(random.choice((0, 100, 2000, 7000)))

    def alarm(self, client: CoreClient) -> None:
        """Memory runs short, or no longer."""
        self.life.flow.set_alarm(MEMORY, not self.life.flow.alarms[MEMORY])

    # -- consuming

    def consume(self, client: CoreClient) -> None:
        """A subscription begins or ends."""
        if client.consumers and self.random.random() < 0.4:
            client.cancel(self.random.choice(client.consumers))
        elif self.model.now.queues:
            no_ack = self.random.random() < 0.2
            client.consume(self._queue(), no_ack, 0 if no_ack else self.random.choice((0, 1, 5, 100)))

    def get(self, client: CoreClient) -> None:
        """basic.get."""
        if len(client.getters) < 3:
            client.get(self._queue(), self.random.random() < 0.3)

    def ack(self, client: CoreClient) -> None:
        """Settle some of what the client holds."""
        for _ in range(self.random.choice((1, 1, 5, 30))):
            if client.held:
                tag = self.random.choice(list(client.held)) if self.random.random() < 0.5 else min(client.held)
                client.settle(tag, self.random.random() < 0.3, self.random.random() < 0.15)

    def qos(self, client: CoreClient) -> None:
        """A limit that all of the channel share; as basic.qos with global does it."""
        client.gate.limit = self.random.choice((0, 2, 50))
        client.gate.open()

    def close(self, client: CoreClient) -> None:
        """The channel closes; another one takes its place."""
        client.close()

    # -- topology

    def declare(self, client: CoreClient) -> None:
        """A queue or an exchange."""
        if self.random.random() < 0.6:
            name = self.random.choice(list(QUEUES))
            if name not in self.model.now.queues:
                self._declare(name, *QUEUES[name])
        else:
            name = self.random.choice(list(EXCHANGES))
            if name not in self.model.now.exchanges:
                self._declare_exchange(name, *EXCHANGES[name])

    def _declare_exchange(self, name: str, kind: str, durable: bool) -> None:
        start = self._appended()
        self.life.broker.topology.declare_exchange(self.life.vhost, name, kind, durable=durable)
        self._stated(start, durable, "declare_exchange", name, kind, durable)

    def _declare(self, name: str, durable: bool, ttl_ms: int) -> None:
        start = self._appended()
        arguments = {"x-message-ttl": ttl_ms} if ttl_ms >= 0 else {}
        queue = self.life.broker.topology.declare_queue(self.life.vhost, name, durable=durable, arguments=arguments)
        self._stated(start, durable, "declare_queue", ModelQueue(name, queue.id, durable))

    def bind(self, client: CoreClient) -> None:
        """A binding comes or goes."""
        now = self.model.now
        queues = [name for name in now.queues if name in QUEUES]
        if not queues or not now.exchanges:
            return
        source, name = self.random.choice(list(now.exchanges)), self.random.choice(queues)
        key = self.random.choice(KEYS)
        if (source, name, key) in now.bindings and self.random.random() < 0.5:
            start = self._appended()
            self.life.broker.topology.unbind(self.life.vhost, source, ("queue", name), key.decode(), {}, owner=None)
            self._stated(start, self._binds_durably(source, name), "unbind", source, name, key)
        else:
            self._bind(source, name, key)

    def _bind(self, source: str, name: str, key: bytes) -> None:
        there = (source, name, key) in self.model.now.bindings
        durable, start = self._binds_durably(source, name), self._appended()
        self.life.broker.topology.bind(self.life.vhost, source, ("queue", name), key.decode(), {}, owner=None)
        self._stated(start, durable and not there, "bind", source, name, key, durable)

    def _binds_durably(self, source: str, name: str) -> bool:
        now = self.model.now
        return now.exchanges[source][1] and now.queues[name].durable

    def purge(self, client: CoreClient) -> None:
        """Drop what is ready in a queue."""
        known = self._queue()
        if len(known.units) < 50 and self.random.random() < 0.7:
            return
        count = self.life.broker.topology.purge(self.life.vhost, known.name, None)
        self._check_count(known, count)
        self.model.settled(known, known.ready())

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
            count = self.life.broker.topology.delete_queue(self.life.vhost, known.name, None)
            self._check_count(known, count)
            self._stated(start, known.durable, "delete_queue", known.name)

    def checkpoint(self, client: CoreClient) -> None:
        """A checkpoint out of its time."""
        self.life.broker.checkpointer.checkpoint()

    def _check_count(self, known: ModelQueue, count: int) -> None:
        self.life.observe()
        ready = known.ready()
        due = [offset for offset in ready if 0 < known.units[offset].expires_ms <= self.life.clock.ms]
        if not len(ready) - len(due) <= count <= len(ready):
            raise Violation(f"{known.name}: {count} messages were ready, {len(ready)} expected ({len(due)} due)")

    def _queue(self) -> ModelQueue:
        self.life.observe()
        return self.model.now.queues[self.random.choice(list(self.model.now.queues))]

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


ACTIONS = {
    Workload.publish: 30,
    Workload.ack: 25,
    Workload.consume: 5,
    Workload.get: 5,
    Workload.wire: 10,
    Workload.qos: 1,
    Workload.close: 1,
    Workload.alarm: 1,
    Workload.declare: 6,
    Workload.bind: 3,
    Workload.purge: 1,
    Workload.delete: 1,
    Workload.checkpoint: 1,
}
