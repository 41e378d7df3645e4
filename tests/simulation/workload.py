"""What the clients do: actions drawn from the seed, each carried out on the broker and told to the model."""

from __future__ import annotations

from random import Random
from typing import Any

from core.flow import MEMORY
from core.state.records import QUEUE
from tests.simulation.clients import BACK, DONE, REJECTED, CoreClient
from tests.simulation.model import Model
from tests.simulation.records import SimTransaction
from tests.simulation.streams import SimReader
from tests.simulation.topology import (
    BY_BYTES,
    COUNTING,
    EXCHANGES,
    GRAVES,
    KEYS,
    LIMITED,
    QUEUES,
    Kind,
    TopologyActions,
)
from tests.simulation.wire import WirePublisher

WIRE_QUEUES = ("w0", "w1")
CLIENTS = 4
SIZES, LARGE = (0, 20, 20, 20, 900, 3000), (20, 900, 900, 3000)  # of bodies, about
UNITS_MAX = 5000  # a queue that holds so many gets no more
WIDE_QUEUES = 260
BULK_UNITS = 4000  # so that chunks of the index leave memory


class Workload(TopologyActions):
    """The clients of one life of the broker."""

    def __init__(self, life: Any, model: Model, random: Random, names: Any):
        TopologyActions.__init__(self, life, model, random)
        self._names = names  # an endless supply of message bodies' beginnings
        self.clients = [CoreClient(life, model, random.choice((3, 20, 1000))) for _ in range(CLIENTS)]
        self.publishers: list[WirePublisher] = []
        self.readers: list[SimReader] = []
        self.weights = {action: random.choice((0, 1, 1, 3)) * weight for action, weight in ACTIONS.items()}
        self.weights[Workload.publish] = ACTIONS[Workload.publish]
        self.publishing = True
        for name in WIRE_QUEUES:
            if name not in model.now.queues:
                self._declare(name, Kind(), self.clients[0])
        if random.random() < 0.5:
            self._lay_out()
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
        mortals = random.choice((0, 0, 0.05, 0.6))
        for _ in range(count):
            address = self._address()
            if self.life.flow.blocked or not self.publishing or self._crowded(address):
                return
            size = random.choice(LARGE if address[1].decode() in BY_BYTES else SIZES)
            if count < 40 and random.random() < 0.02 and address[1].decode() not in LIMITED:  # one alone fits these
                size = self.life.world.sizes.segment_bytes // 2 - 500
            ttl_ms = random.choice((0, 5, 200, 4000, random.randint(1, 300))) if random.random() < mortals else -1
            priority = random.choice((0, 0, 1, 2, 3, 9))
            client.publish(address, next(self._names) + bytes(size), random.random() < 0.8, ttl_ms, priority)

    def delay(self, client: CoreClient) -> None:
        """Some messages that are to wait."""
        for _ in range(self.random.choice((1, 3, 30))):
            address = self._address(LIMITED)
            if self.life.flow.blocked or not self.publishing or self._crowded(address):
                return
            body = next(self._names) + bytes(self.random.choice((0, 20, 900)))
            client.delay(address, body, self.random.random() < 0.8, self.random.choice((1, 5, 50, 500)))

    def _lay_out(self) -> None:
        """Fan-outs to durable and to transient queues, and queues with dead letters for them."""
        for exchange, names in {"x1": ("q0", "q1", "q5", "p0", "t0", "t2"), "dx": GRAVES}.items():
            if exchange not in self.model.now.exchanges:
                self._declare_exchange(exchange, *EXCHANGES[exchange])
            for name in names:
                if name not in self.model.now.queues:
                    self._declare(name, QUEUES[name], self.clients[0])
                if (exchange, QUEUE, name, b"a") not in self.model.now.bindings:
                    self._bind(exchange, (QUEUE, name), b"a")
        for name in (*LIMITED, *COUNTING):
            if name not in self.model.now.queues:
                self._declare(name, QUEUES[name], self.clients[0])

    def _bulk(self) -> None:
        """A backlog, bigger than what of its index stays in memory."""
        name = self.random.choice(WIRE_QUEUES)
        for _ in range(BULK_UNITS):
            if not self.life.flow.blocked and not self._crowded((b"", name.encode())):
                self.clients[0].publish((b"", name.encode()), next(self._names), True)
            if self.random.random() < 0.01:
                self.life.run(0.01)

    def _fan_out(self) -> None:
        """More queues behind one exchange than a store record names: the rest follows in a link."""
        if "wide" not in self.model.now.exchanges:
            self._declare_exchange("wide", "fanout", True)
        for number in range(WIDE_QUEUES):
            name = f"f{number}"
            if name not in self.model.now.queues:
                self._declare(name, Kind(), self.clients[0])
                self._bind("wide", (QUEUE, name), b"")
        for _ in range(3):
            self.clients[0].publish((b"wide", b""), next(self._names), True)
            self.life.run(0.001)

    def _address(self, without: tuple[str, ...] = ()) -> tuple[bytes, bytes]:
        exchanges = sorted(self.model.now.exchanges.keys() & EXCHANGES.keys())
        if exchanges and self.random.random() < 0.4:
            return self.random.choice(exchanges).encode(), self.random.choice(KEYS)
        return b"", self.random.choice([*sorted(self.model.now.queues.keys() - without), "nowhere"]).encode()

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
        elif (known := self._queue(client)) is not None:
            no_ack = self.random.random() < 0.2
            client.consume(known, no_ack, 0 if no_ack else self.random.choice((0, 1, 5, 100)))

    def read(self, client: CoreClient) -> None:
        """A reader of a stream comes, gives credit or goes."""
        streams = [known for known in self.model.now.queues.values() if known.stream_bytes]
        self.readers = [reader for reader in self.readers if not reader.left]
        if streams and len(self.readers) < 4 and self.random.random() < 0.4:
            known = self.random.choice(streams)
            at = self.random.choice(("first", "last", "next", "offset"))
            self.readers.append(SimReader(self.life, known, at, self.random.randint(0, known.end + 3)))
        elif self.readers:
            reader = self.random.choice(self.readers)
            if self.random.random() < 0.1:
                reader.leave()
            else:
                reader.give_credit()

    def get(self, client: CoreClient) -> None:
        """basic.get."""
        if len(client.getters) < 3 and (known := self._queue(client)) is not None:
            client.get(known, self.random.random() < 0.3)

    def ack(self, client: CoreClient) -> None:
        """Settle some of what the client holds."""
        for _ in range(self.random.choice((1, 1, 5, 30))):
            if client.held:
                tag = self.random.choice(list(client.held)) if self.random.random() < 0.5 else min(client.held)
                client.settle(tag, self.random.random() < 0.3, self._fate())

    def _fate(self) -> int:
        return self.random.choices((DONE, BACK, REJECTED), (70, 15, 15))[0]

    def transact(self, client: CoreClient) -> None:
        """A transaction: some messages published, and some of what the client holds settled."""
        transaction = SimTransaction(client)
        for _ in range(self.random.choice((0, 1, 5, 20))):
            address = self._address(LIMITED)
            if self.life.flow.blocked or not self.publishing or self._crowded(address):
                break
            body = next(self._names) + bytes(self.random.choice((0, 20, 900)))
            transaction.publish(address, body, self.random.random() < 0.8)
        for _ in range(self.random.choice((0, 1, 5))):
            left = sorted(client.held.keys() - transaction.taken)
            if left:
                transaction.settle(self.random.choice(left), self.random.random() < 0.3, self._fate())
        if self.random.random() < 0.2:
            transaction.roll_back()
        else:
            transaction.commit()

    def qos(self, client: CoreClient) -> None:
        """A limit that all of the channel share; as basic.qos with global does it."""
        client.gate.limit = self.random.choice((0, 2, 50))
        client.gate.open()

    def close(self, client: CoreClient) -> None:
        """The channel closes; another one takes its place."""
        client.close()

    def leave(self, client: CoreClient) -> None:
        """The connection closes; another one takes its place."""
        client.disconnect()

    def checkpoint(self, client: CoreClient) -> None:
        """A checkpoint out of its time."""
        self.life.broker.checkpointer.checkpoint()


ACTIONS = {
    Workload.publish: 30,
    Workload.ack: 25,
    Workload.consume: 5,
    Workload.get: 5,
    Workload.wire: 10,
    Workload.qos: 1,
    Workload.close: 1,
    Workload.leave: 1,
    Workload.alarm: 1,
    Workload.transact: 6,
    Workload.delay: 3,
    Workload.read: 5,
    Workload.declare: 6,
    Workload.bind: 3,
    Workload.purge: 1,
    Workload.delete: 1,
    Workload.checkpoint: 3,
}
