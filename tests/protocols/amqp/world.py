"""A small broker without sockets or disk, and a client that is bytes in, methods out."""

from itertools import pairwise
from types import SimpleNamespace
from typing import NamedTuple

from core.access import Access
from core.config import Config, Limits
from core.connections import Connections
from core.errors import NotFound
from core.flow import MEMORY, Flow
from core.metrics import Metrics
from core.replies import Replies
from core.routing.exchange import Exchange
from core.routing.router import Router
from core.state.arguments import check_consumer_arguments
from core.state.model import VirtualHost
from protocols.amqp import methods, tables
from protocols.amqp.connection import AmqpConnection
from protocols.amqp.content import Content
from tests.core.queue.bench import Bench

HEADER = b"AMQP\x00\x00\x09\x01"
STATE = 2
CAPABILITIES = {"consumer_cancel_notify": True, "connection.blocked": True, "authentication_failure_close": True}


class Topology:
    """Queues are durable unless their name says otherwise; a durable declaration is a record. `done` notes the order:
    (what, name, messages published before it)."""

    def __init__(self, world):
        self.world = world
        self.done = []

    def _note(self, what, name):
        self.done.append((what, name, self.world.publisher.messages))

    def declare_queue(self, vhost, name, *, durable, owner, allowed, **properties):
        name = name or self.world.random_name("amq.gen-")
        allowed(name)
        if name not in vhost.queues:
            vhost.queues[name] = self.world.queue(durable, name=name)
            vhost.router.add_queue(vhost.queues[name], name)
            if durable:
                self.world.log.append(STATE, name.encode())
                self.world.turn.schedule()
        self._note("declare", name)
        return vhost.queues[name]

    def queue(self, vhost, name, owner):
        if name not in vhost.queues:
            raise NotFound(f"no queue '{name}' in vhost '{vhost.name}'")
        return vhost.queues[name]

    def delete_queue(self, vhost, name, owner, **conditions):
        queue = vhost.queues.pop(name)
        vhost.router.remove_queue(queue)
        count = queue.ready
        for consumer in list(queue.consumers):
            queue.remove_consumer(consumer)
            consumer.gone()
        queue.discard()
        return count

    def purge(self, vhost, name, owner):
        return self.queue(vhost, name, owner).purge()

    def check_exchange(self, vhost, name):
        if name not in vhost.router.exchanges:
            raise NotFound(f"no exchange '{name}' in vhost '{vhost.name}'")

    def check_consumer(self, vhost, queue, arguments):
        check_consumer_arguments(tables, arguments, f"queue '{queue.name}' in vhost '{vhost.name}'", "classic")

    def consumer_added(self, vhost, queue):
        self._note("consume", queue.name)

    def consumer_gone(self, vhost, queue):
        self._note("gone", queue.name)

    def queue_used(self, vhost, queue):
        pass

    def connection_gone(self, owner, done=None):
        self._note("connection gone", owner.name)
        if done is not None:
            done()


class Passwords:
    """Answers at once, or when answer() is called if `held`."""

    def __init__(self):
        self.held = False
        self.waiting = []

    def check(self, user, password, done):
        if self.held:
            self.waiting.append(done)
        else:
            done(password == user.encode())


class World(Bench):
    def __init__(self, limits=None, **log_options):
        super().__init__(**log_options)
        self.config = Config(limits=Limits(**(limits or {})))
        self.memory = 0
        self.flow = Flow(100, 0, lambda: (self.memory, 1))
        self.access = Access(self.clock.monotonic)
        self.passwords = Passwords()
        self.metrics = Metrics()
        self.connections = Connections()
        self.cluster_name = "test"
        self.reports = []
        self.topology = Topology(self)
        self.content = Content
        self.replies = Replies(self.turn, self.log.tail, lambda count: bytes(count))
        self.handover = SimpleNamespace(gather=list)  # what was settled is left for submit()
        self.vhost = VirtualHost("/", Router())
        for name, kind in (("amq.direct", "direct"), ("amq.headers", "headers")):
            self.vhost.router.add_exchange(Exchange(name, kind))
        self.names = 0

    def report(self, event, **fields):
        self.reports.append((event, fields))

    def random_name(self, prefix):
        self.names += 1
        return f"{prefix}{self.names}"

    def virtual_host(self, name):
        return self.vhost

    def alarm(self, on):
        self.flow.set_alarm(MEMORY, on)

    def finish(self):
        """Turns and commits until nothing is left."""
        self.run()
        while self.engine.done is not None:
            self.engine.finish()
            self.run()

    def add_queue(self, name, durable=False, **options):
        queue = self.queue(durable, name=name, **options)
        self.vhost.queues[name] = queue
        self.vhost.router.add_queue(queue, name)
        return queue


class Frame(NamedTuple):
    kind: int
    channel: int
    payload: bytes


def frames_of(data):
    """The frames in `data`, which must be whole."""
    at, found = 0, []
    while at < len(data):
        size = int.from_bytes(data[at + 3 : at + 7], "big")
        assert data[at + 7 + size] == 0xCE
        found.append(Frame(data[at], int.from_bytes(data[at + 1 : at + 3], "big"), bytes(data[at + 7 : at + 7 + size])))
        at += size + 8
    assert at == len(data)
    return found


def frame(kind, channel, payload):
    return bytes([kind]) + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"


def publish(channel, key, body, *, exchange="", properties=b"\x00\x00", mandatory=False, cuts=()):
    """The frames of one basic.publish, as a list; `cuts` are where the body is cut."""
    method = methods.BasicPublish(exchange=exchange, routing_key=key.encode(), mandatory=mandatory)
    header = (60 << 16).to_bytes(4, "big") + len(body).to_bytes(8, "big") + properties
    edges = [0, *sorted(cuts), len(body)]
    parts = [body[start:end] for start, end in pairwise(edges)] if body else []
    content = [frame(2, channel, header), *(frame(3, channel, part) for part in parts)]
    return [methods.method_frame(channel, method), *content]


PERSISTENT = b"\x10\x00\x02"  # delivery_mode 2


class Transport:
    """The socket: what was written, how it ended, what it has not taken."""

    def __init__(self):
        self.data = bytearray()
        self.writes = self.unsent = 0
        self.closed = self.aborted = False

    def write(self, data):
        assert not self.closed, "written after close()"
        self.data += data
        self.writes += 1

    def writelines(self, pieces):
        self.write(b"".join(bytes(piece) for piece in pieces))

    def get_write_buffer_size(self):
        return self.unsent

    def close(self):
        self.closed = True

    def abort(self):
        self.aborted = True


class Client:
    """One connection from its client's side. send() takes bytes or methods; received() gives what came since."""

    def __init__(self, world, capabilities=CAPABILITIES):
        self.world = world
        self.capabilities = capabilities
        self.connection = AmqpConnection(world, world.clock.monotonic())
        self.connection.peer_address = ("10.0.0.9", 777, True)
        self.transport = self.connection.transport = Transport()
        self.connection.reader = self
        self.paused = False
        self.rest = b""

    def pause(self):
        self.paused = True

    def resume(self):
        if self.paused:
            self.paused = False
            self.world.soon.append(lambda: None if self.paused else self.feed(b""))

    def feed(self, data):
        """What the gateway does with a read."""
        self.rest += data
        if self.paused or self.connection.finished:
            return
        buffer = bytearray(b"before") + self.rest
        used = self.connection.receive(buffer, 6, len(buffer))
        assert 6 <= used <= len(buffer)
        self.rest = bytes(buffer[used:])

    def send(self, *items, channel=1, run=True):
        data = b"".join(item if isinstance(item, bytes) else methods.method_frame(channel, item) for item in items)
        self.feed(data)
        if run:
            self.world.run()

    def frames(self):
        data, self.transport.data = bytes(self.transport.data), bytearray()
        return frames_of(data)

    def received(self):
        """[(channel, method, header's payload, or body)]; heartbeats as None."""
        return [
            (channel, methods.decode(payload, 0, len(payload)) if kind == 1 else payload if kind < 8 else None)
            for kind, channel, payload in self.frames()
        ]

    def replies(self):
        """Methods and contents that came, without their channels."""
        return [what for _, what in self.received()]

    def login(self, user="guest", password=b"guest", name="a client"):
        self.send(HEADER)
        properties = {"capabilities": self.capabilities, "connection_name": name}
        response = b"\0" + user.encode() + b"\0" + password
        self.send(methods.ConnectionStartOk(properties, "PLAIN", response, "en_US"), channel=0)
        return self

    def open(self, *channels, frame_max=131072, heartbeat=0):
        self.login()
        self.send(methods.ConnectionTuneOk(2047, frame_max, heartbeat), methods.ConnectionOpen("/"), channel=0)
        for channel in channels or (1,):
            self.send(methods.ChannelOpen(), channel=channel)
        assert type(self.replies()[-1]) is methods.ChannelOpenOk
        return self
