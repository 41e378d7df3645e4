"""The command `mqnamesrv`: RocketMQ's name server, with its options, its configuration file and its first lines.

The only module of the name server with sockets: every connection is accepted, read and written within bounds.
Exit codes are the original's: 0 after a stop, -h or -p; 1 for a command line that is not understood; 255 when it cannot
start, with one line on stderr.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import time
from typing import Any, cast

from namesrv import properties
from namesrv.command_line import UsageError, parse, usage
from namesrv.config import Config, ConfigError
from namesrv.connection import NamesrvConnection
from namesrv.requests import NameServer
from namesrv.start import OPTIONS, SERIALIZE_TYPES, StartError, configured, files_of, kv_content, serialize_type
from protocols.remoting.fastjson import BodyError
from protocols.remoting.frame import Frame
from protocols.remoting.frame_writer import FrameWriter

EX_OK, EX_USAGE, EX_FAILED = 0, 1, 255
CONNECTIONS_MAX = 65_535
DESCRIPTORS_RESERVED = 64
OUTPUT_BYTES_MAX = 1 << 20  # unsent, above which a connection's requests wait
HELD_BYTES_MAX = 256 << 20  # of requests that are not complete, in all
HELD_BYTES_FREE = 1 << 16  # of one connection, which are not counted
IDLE_TICK_SECONDS = 1.0
FIRST_SCAN_SECONDS = 5.0  # the first look at brokers that were not heard of; then scanNotActiveBrokerInterval

log = logging.getLogger("namesrv")


def main() -> None:
    """The command."""
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Do what the command line says and return the exit code."""
    try:
        given, _ = parse(words, OPTIONS)
    except UsageError as error:
        print(error, file=sys.stderr)
        print(usage("mqnamesrv", OPTIONS))
        return EX_USAGE
    if "h" in given:
        print(usage("mqnamesrv", OPTIONS))
        return EX_OK
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config = configured(given.get("c"))
        if "p" in given:
            print(properties.lines(config.values), end="")
            return EX_OK
        kind = serialize_type(os.environ)
        _runner()(serve(config, kind))
    except (StartError, ConfigError) as error:
        print(f"mqnamesrv: {error}", file=sys.stderr)
        return EX_FAILED
    return EX_OK


def report(event: str, **fields: object) -> None:
    """Tell the operator."""
    log.info("%s%s", event, "".join(f" {name}={value}" for name, value in fields.items()))


def assembled(config: Config) -> NameServer:
    """The name server on this machine's files and clock. Raises StartError."""
    server = NameServer(config, files_of(config), time.monotonic, report)
    try:
        server.load_kv(kv_content(config))
    except BodyError as error:
        raise StartError(f"{config['kvConfigPath']} {error}") from None
    return server


async def serve(config: Config, kind: int) -> None:
    """Listen, say so, and serve until SIGTERM or SIGINT. Raises StartError."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = Server(assembled(config), kind)
    host, port = config["bindAddress"], config["listenPort"]
    try:
        port = await server.listen(host, port)
    except OSError as error:
        raise StartError(f"Failed to bind to {host}:{port}: {error.strerror or error}") from None
    config.values["listenPort"] = port
    tip = f"The Name Server boot success. serializeType={SERIALIZE_TYPES[kind]}, address {host}:{port}"
    log.info(tip)
    print(tip, flush=True)
    await stopped.wait()
    await server.close()


def _runner():
    """uvloop's run, or asyncio's where there is no uvloop for the platform."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


class Server:
    """All connections, and what is done from time to time. `held` is what lies in their buffers."""

    def __init__(self, names: NameServer, kind: int):
        self.names = names
        self.kind = kind
        self.frame = Frame()
        self.writer = FrameWriter()
        self.connections: set[Connection] = set()
        self.held = 0
        self._limit = connection_limit()
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._server: asyncio.AbstractServer | None = None

    async def listen(self, host: str, port: int) -> int:
        """Accept connections; return the port. Raises OSError."""
        backlog = self.names.config["serverSocketBacklog"]
        self._accept(await self._loop.create_server(lambda: Connection(self), host, port, backlog=backlog))
        return cast(int, cast(asyncio.Server, self._server).sockets[0].getsockname()[1])

    async def listen_on(self, listening: socket.socket) -> None:
        """Accept connections on a socket that listens, which is ours from now on."""
        self._accept(await self._loop.create_server(lambda: Connection(self), sock=listening))

    def _accept(self, server: asyncio.AbstractServer) -> None:
        self._server = server
        self._later("scan", FIRST_SCAN_SECONDS, self._scan)
        self._later("idle", IDLE_TICK_SECONDS, self._look_for_idle)

    def full(self) -> bool:
        """Whether one connection more is too many."""
        return len(self.connections) >= self._limit

    def _later(self, name: str, seconds: float, job: Any) -> None:
        self._timers[name] = self._loop.call_later(seconds, job)

    def _scan(self) -> None:
        """Brokers that were not heard of for too long are gone, and their connections with them."""
        for channel in self.names.expire():
            for connection in [each for each in self.connections if each.peer is channel]:
                connection.abort()
        self._later("scan", self.names.config["scanNotActiveBrokerInterval"] / 1000, self._scan)

    def _look_for_idle(self) -> None:
        oldest = self._loop.time() - self.names.config["serverChannelMaxIdleTimeSeconds"]
        for connection in [each for each in self.connections if each.used_at < oldest]:
            connection.abort()
        self._later("idle", IDLE_TICK_SECONDS, self._look_for_idle)

    async def close(self) -> None:
        """Stop accepting, and close every connection when what is written to it has left."""
        for timer in self._timers.values():
            timer.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
        deadline = self._loop.time() + 2
        while self.connections and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.abort()


def connection_limit() -> int:
    """Raise the soft limit of open files as far as the hard one lets; return how many connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + DESCRIPTORS_RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, soft - DESCRIPTORS_RESERVED)


class Connection(asyncio.Protocol):
    """One socket: what is read goes to the peer until it is a whole request; answers wait while the socket is full."""

    def __init__(self, server: Server):
        self._server = server
        self.peer = NamesrvConnection(server.names, server.frame, server.writer, server.kind)
        self.used_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._read = bytearray()
        self._counted = 0  # of _read, in the server's `held`
        self._congested = self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = cast(asyncio.Transport, transport)
        self.used_at = self._loop.time()
        if self._server.full():
            self._transport.abort()
            return
        self._server.connections.add(self)
        accepted, local = transport.get_extra_info("socket"), transport.get_extra_info("sockname")
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peer.local_host = local[0].removeprefix("::ffff:")
        self._transport.set_write_buffer_limits(high=OUTPUT_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        """Bytes were read."""
        if self._transport is None or self._transport.is_closing():
            return
        self.used_at = self._loop.time()
        self._read += data
        if not (self._congested or self._waiting):
            self._take()
        self._count()

    def _take(self) -> None:
        """Answer what is there; what cannot be answered now stops reading."""
        assert self._transport is not None
        try:
            taken = self.peer.receive(self._read, len(self._read))
        except Exception as error:
            self._loop.call_exception_handler({"message": "unexpected error on a connection", "exception": error})
            self.abort()
            return
        del self._read[: taken.size]
        if taken.answers:
            self.used_at = self._loop.time()
            self._transport.writelines(taken.answers)  # may call pause_writing()
        if taken.broken:
            self._refuse(taken.broken)
        elif taken.more and not self._congested:
            self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        """Others first: the rest in the next iteration of the loop."""
        assert self._transport is not None
        self._waiting = True
        self._transport.pause_reading()
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._waiting = False
        if self._transport is None or self._transport.is_closing() or self._congested:
            return
        self._take()
        self._count()
        if not (self._waiting or self._congested or self._transport is None or self._transport.is_closing()):
            self._transport.resume_reading()

    def _count(self) -> None:
        """Keep the server's sum; whoever has it exceed its bound with an unfinished request is closed."""
        counted = max(0, len(self._read) - HELD_BYTES_FREE)
        self._server.held += counted - self._counted
        self._counted = counted
        if counted and self._server.held > HELD_BYTES_MAX:
            self._refuse(f"unfinished requests of all connections exceed {HELD_BYTES_MAX} bytes")

    def _refuse(self, why: str) -> None:
        assert self._transport is not None
        address = self._transport.get_extra_info("peername") or ("unknown", 0)
        self._server.names.report("connection closed", peer=f"{address[0]}:{address[1]}", because=why)
        self.close()

    def pause_writing(self) -> None:
        """The other end does not read its answers: no more requests of its are taken."""
        self._congested = True
        if self._transport is not None and not self._waiting:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The socket was drained."""
        self._congested = False
        if not self._waiting and self._transport is not None and not self._transport.is_closing():
            self._wait_for_turn()

    def close(self) -> None:
        """Nothing more is taken; what is written leaves."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut it off."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self._read.clear()
        self._server.held -= self._counted
        self._counted = 0
        self._transport = None
        if self in self._server.connections:
            self._server.connections.discard(self)
            self.peer.lost()


if __name__ == "__main__":
    main()
