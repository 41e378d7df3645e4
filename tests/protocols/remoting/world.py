"""The native port without sockets or disk: a client is bytes in, frames out."""

import json
import struct

from core.access import Access
from core.config import Config, Limits
from core.schedule import Schedule
from protocols.remoting.codes import VERSION
from protocols.remoting.connection import RemotingConnection
from protocols.remoting.remoting import Remoting
from tests.core.queue.bench import Bench
from tests.core.state.world import World as StateWorld
from tests.protocols.amqp.world import Transport

ONEWAY = 2


def request(code, fields=None, body=b"", *, version=VERSION, flag=0, opaque=7):
    """The bytes of a request."""
    header = {"code": code, "flag": flag, "language": "JAVA", "opaque": opaque, "version": version}
    if fields is not None:
        header["extFields"] = {name: str(value) for name, value in fields.items()}
    text = json.dumps(header).encode()
    return struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body


def frames(data):
    """(header, body) of each frame in the bytes; what is left over must be nothing."""
    found = []
    while data:
        size, header_size = struct.unpack_from(">II", data)
        assert header_size >> 24 == 0 and len(data) >= 4 + size
        found.append((json.loads(data[8 : 8 + header_size]), bytes(data[8 + header_size : 4 + size])))
        data = data[4 + size :]
    return found


class World(Bench):
    """What the connections need of a broker; `verbs` = the table, by default the real one."""

    def __init__(self, verbs=None, limits=None):
        super().__init__()
        self.config = Config(limits=Limits(**(limits or {})))
        self.access = Access(self.clock.monotonic)
        self.reports = []
        self.schedule = Schedule(lambda ms, callback: None, self.clock)
        self.remoting = Remoting(self, verbs)

    def report(self, event, **fields):
        self.reports.append((event, fields))

    def client(self, host="127.0.0.1", port=50000):
        return Client(self, host, port)


class BrokerWorld(StateWorld):
    """A whole broker on a simulated disk, and its native port."""

    def boot(self, clean=False):
        super().boot(clean)
        self.broker.access = Access(self.broker.clock.monotonic)
        self.broker.report = lambda event, **fields: None
        self.remoting = Remoting(self.broker)
        return self

    @property
    def clock(self):
        return self.broker.clock

    def client(self, host="127.0.0.1", port=50000):
        return Client(self, host, port)


class Reader:
    def __init__(self):
        self.paused = False

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False


class Client:
    """One connection from its other end."""

    def __init__(self, world, host, port):
        self.world = world
        self.connection = RemotingConnection(world.remoting, world.clock.monotonic())
        self.connection.transport = self.transport = Transport()
        self.connection.reader = self.reader = Reader()
        self.connection.peer_address = (host, port, host.startswith("127."))
        self.connection.local_address = ("127.0.0.1", 10911)
        self._rest = b""

    def send(self, data, **run):
        """Bytes, as the gateway gives them: what is not used comes again. `run`: for World.run()."""
        data = bytearray(self._rest + data)
        used = self.connection.receive(data, 0, len(data))
        self._rest = bytes(data[used:])
        self.world.run(**run)

    def received(self):
        """What came since the last time: (header, body) of each frame."""
        data, self.transport.data = bytes(self.transport.data), bytearray()
        return frames(data)

    def ask(self, code, fields=None, body=b"", **more):
        """The one answer to a request, as (header, body)."""
        self.send(request(code, fields, body, **more))
        (answer,) = self.received()
        return answer
