"""The running gateway: assemble, recover, listen, serve until told to stop, and leave everything on disk.

Read top-down: run() is the life of the process.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core import uncompiled_because
from core.access import Access
from core.broker import Broker, Disk, Loop
from core.clock import Clock
from core.config import SERVED, TLS_LISTENERS, Config, Listeners
from core.disk.batch_writer import BatchWriter, available
from core.disk.block_reader import new_block_reader
from core.disk.files import DataDirectory, SegmentFiles
from core.disk.key_files import KeyFiles
from core.disk.spill_files import SpillFiles
from core.disk.store import Store
from core.disk.threads import Worker
from core.flow import DISK, LOG, MEMORY, Flow
from core.log.engine import LocalEngine
from core.metrics import Metrics
from gateway import definitions
from gateway.accepted import Accepted
from gateway.connection import OWN_BYTES_ALL, Connection, Room
from gateway.defining import define
from gateway.descriptors import connection_limit
from gateway.listeners import addresses, bound_address, open_socket, write_ready_file
from gateway.loop_lag import LoopLag
from gateway.memory import give_back_memory, memory_limit, memory_used
from gateway.native import NativePort
from gateway.passwords import THREADS, Passwords
from protocols.amqp import tables
from protocols.amqp.connection import AmqpConnection
from protocols.amqp.content import Content
from protocols.amqp.death import Deaths
from protocols.amqp.message_keys import MessageKeys, keys_of
from protocols.remoting.frame import FRAME_BYTES_MAX

EX_OK, EX_IOERR = 0, 74
NATIVE = ("remoting", "remoting_vip")
READERS = 2
WATERMARK_SECONDS = 1.0
QUIET_SECONDS = 5.0
TICK_SECONDS = 0.5
STOP_SECONDS = 5.0  # for the last checkpoint
CLOSE_SECONDS = 3.0  # what clients get to answer connection.close at a stop
YOUNG_OBJECTS = 10_000  # allocations between two passes of the garbage collector: messages are not among them

log = logging.getLogger("gateway")


class Service:
    """One broker process. When every listener accepts, `ready_file` is written, and what `ready_line` makes of the
    addresses is printed, by listener."""

    def __init__(self, config: Config, ready_file: str | None, ready_line: Callable[[dict[str, str]], str]):
        self.config = config
        self._ready_file = ready_file
        self._ready_line = ready_line
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.AbstractServer] = []
        self._runners: list[Any] = []
        self._stopping = self._ticking = False
        self._seen_messages = 0

    async def run(self) -> int:
        """Live, and return the exit code. Raises ListenError, TlsError, StoreRefused, StoreDamaged, LogCorrupt,
        DefinitionsError."""
        self._loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[int] = self._loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop)
        served = self._served()
        self._tls = self._load_tls() if served.keys() & set(TLS_LISTENERS) else None
        sockets = {name: open_socket(name, place) for name, place in served.items()}
        try:
            self._assemble()
            self._recover()
            await self._listen(sockets)
        finally:
            for listening in sockets.values():
                listening.close()
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        code = await self._stopped
        return await self._shut_down() if code == EX_OK else code

    def _served(self) -> dict[str, Any]:
        """The listeners that are on and that this version has. Without a certificate those with TLS are not on."""
        found = addresses(self.config.listeners)
        for name in TLS_LISTENERS if not self.config.tls.cert else ():
            place = found.pop(name, None)
            if place is not None and getattr(self.config.listeners, name) != getattr(Listeners(), name):
                log.warning("listener is off until tls.cert and tls.key are set", extra={"listener": name})
        for name in sorted(set(found) - set(SERVED)):
            log.warning("listener is not served by this version", extra={"listener": name})
        return {name: place for name, place in found.items() if name in SERVED}

    def _load_tls(self) -> Any:
        from gateway.tls import TlsListeners  # with its library 50 ms and 3 MB: only for who uses it

        return TlsListeners(self.config, self._full, self._enter, self._lost)

    def _assemble(self) -> None:
        """Build the broker on this machine's disk, loop and clock."""
        config, loop = self.config, self._loop
        if uncompiled_because:
            log.warning("the hot path runs uncompiled, which is slow", extra={"because": uncompiled_because})
        self._directory = DataDirectory(config.data_dir)
        path = Path(config.data_dir)
        files = SegmentFiles(
            path / "commitlog",
            config.log.segment_bytes,
            ahead_bytes=config.log.ahead_bytes,
            cached_bytes=config.log.cached_bytes,
        )
        self._workers = {name: Worker(name, loop, count) for name, count in WORKERS.items()}
        self._batches = BatchWriter(files, loop.add_reader) if available() else None
        sync = config.log.flush == "sync"  # else what was written last is in the page cache
        self._blocks = new_block_reader(files, loop.add_reader, past_cache=sync) if available() else None
        engine = LocalEngine(
            files,
            self._workers["writer"],
            self._workers["readers"],
            loop.call_later,
            sync=sync,
            batches=self._batches,
            blocks=self._blocks,
        )
        self._files = files
        self._spill_files = SpillFiles(path / "spill", min(config.log.segment_bytes, SPILL_FILE_BYTES))
        self.clock = Clock()
        disk = Disk(
            files,
            engine,
            Store(path / "state"),
            self._workers["checkpoints"],
            self._workers["readers"],
            self._spill_files,
            self._workers["spill"],
            keys=KeyFiles(path / "state" / "keys") if config.log.key_blocks else None,
            clean=not self._directory.unclean,
            unsynced_bytes=UNSYNCED_BYTES if self._directory.ended_async else 0,
        )
        self.broker = broker = self._new_broker(disk)
        broker.turn.nap = time.sleep
        self._bound_memory(broker)
        lag = LoopLag(loop, config.metrics.loop_probe_ms, lambda: broker.turn.turns)
        broker.metrics = Metrics(loop_lag=lag)
        broker.access = Access(
            time.monotonic,
            loopback_users=config.access.loopback_users,
            password_cache_seconds=config.access.password_cache_seconds,
        )
        broker.passwords = Passwords(broker.access, self._workers["passwords"])
        broker.cluster_name = f"corduroy@{socket.gethostname()}"
        broker.report = self._report
        self._native = NativePort(broker, config)
        engine.blocked = lambda full: broker.flow.set_alarm(LOG, full)

    def _new_broker(self, disk: Disk) -> Broker:
        return Broker(
            self.config,
            self.clock,
            disk,
            Loop(self._loop.call_soon, self._call_at, self._failed),
            codec=tables,
            content=Content,
            deaths=Deaths(),
            message_keys=(MessageKeys, keys_of),
            random_bytes=secrets.token_bytes,
        )

    def _bound_memory(self, broker: Broker) -> None:
        """Alarms, and what is done before there is one."""
        limits, spill = self.config.limits, broker.spill
        flow = broker.flow = Flow(memory_limit(limits.memory_bytes), limits.disk_free_bytes, self._usage)
        flow.relieve = spill.look
        self._room = Room(min(OWN_BYTES_ALL, max(FRAME_BYTES_MAX, flow.memory_limit // 8)))
        spill.room.limit = min(limits.transient_bytes or flow.memory_limit, flow.memory_limit // 4)
        spill.allowed = lambda: not (flow.alarms[DISK] or flow.alarms[LOG])

    def _recover(self) -> None:
        """Load the state, replay the log, apply the definitions."""
        began = time.monotonic()
        gc.disable()  # all that is built here stays: passes over it would double the time
        wanted = definitions.load(self.config.definitions.file) if self.config.definitions.file else None
        if wanted is not None:
            self.broker.policies.replace(wanted.policies, wanted.operator_policies)  # queues come up with them
        restored = self.broker.start()
        if restored.log.cut_bytes:
            log.warning("torn tail cut", extra={"offset": restored.log.tail, "bytes": restored.log.cut_bytes})
        self._directory.mark_running(sync=self.config.log.flush == "sync")
        if wanted is not None:
            self._define(wanted)
        self.broker.flow.check()
        log.info(
            "recovered",
            extra={
                "clean_stop": not self._directory.unclean,
                "records_replayed": restored.log.records,
                "log_bytes": restored.log.tail,
                "seconds": round(time.monotonic() - began, 3),
            },
        )

    def _define(self, wanted: definitions.Definitions) -> None:
        """Carry out the definitions, and name what of them has no effect here."""
        define(self.broker, wanted)
        for what in wanted.inert:
            log.warning("has no effect here", extra={"definition": what})

    def _reload(self) -> None:
        """SIGHUP: read definitions and certificates again; what cannot be used changes nothing."""
        if self.config.definitions.file:
            self._reload_definitions(self.config.definitions.file)
        if self._tls is not None:
            self._tls.reload(self._workers["passwords"])
        elif not self.config.definitions.file:
            log.info("nothing to reload: neither definitions.file nor tls.cert is in use")

    def _reload_definitions(self, path: str) -> None:
        def loaded(result: Any) -> None:
            try:
                if isinstance(result, Exception):
                    raise result
                self._define(result)
            except Exception as error:
                log.error("definitions were not applied", extra={"file": path, "error": str(error)})
            else:
                log.info("definitions applied", extra={"file": path})

        self._workers["passwords"].submit(lambda: definitions.load(path), loaded)

    async def _listen(self, sockets: dict[str, socket.socket]) -> None:
        """Accept on every listener, then say so."""
        self._connection_limit = connection_limit(self.config.limits.connections)
        if self._connection_limit < self.config.limits.connections:
            text = "the limit of open files (ulimit -n) leaves room for fewer than limits.connections"
            log.info(text, extra={"connections": self._connection_limit})
        bound = {name: bound_address(listening) for name, listening in sockets.items()}
        self._native.serve(bound)
        for name, new_peer in (("amqp", self._new_amqp), *((name, self._native.connection) for name in NATIVE)):
            if name in sockets:
                await self._serve(sockets.pop(name).dup(), new_peer)
        name_server = sockets.pop("namesrv").dup() if "namesrv" in sockets else None
        await self._native.start(bound, name_server)
        if self._tls is not None:
            self._tls.start(self.clock, self.broker.metrics)
            self._tls.listen(sockets.pop("amqps").dup(), self._new_amqp)
        if sockets:
            from gateway.http import server

            for name, application in server.applications(self.broker, self._native.remoting).items():
                if name in sockets:
                    self._runners.append(await server.serve(application, sockets.pop(name).dup()))
        self.broker.started = True
        self._watch()
        self.broker.metrics.loop_lag.start()
        gc.collect()
        gc.freeze()
        gc.enable()
        gc.set_threshold(YOUNG_OBJECTS, 10, 50)
        if self._ready_file:
            write_ready_file(self._ready_file, bound)
        log.info("listening", extra=bound)
        print(self._ready_line(bound), flush=True)

    async def _serve(self, listening: socket.socket, new_peer: Callable[[], Any]) -> None:
        """Accept there. A peer learns its address when the socket is there."""

        def accept() -> Any:
            connection = Accepted(new_peer(), self.clock, self._lost)
            connection.refused = self._full()
            self._enter(connection)
            return connection

        self._servers.append(await self._loop.create_server(accept, sock=listening))

    def _new_amqp(self) -> AmqpConnection:
        return AmqpConnection(self.broker, self._loop.time())

    def _full(self) -> bool:
        """Whether one connection more is too many."""
        coming = 0 if self._tls is None else self._tls.handshakes
        return len(self._connections) + coming >= self._connection_limit or self._stopping

    def _enter(self, connection: Any) -> None:
        connection.output_bytes = self.config.limits.output_bytes
        connection.room = self._room
        self._connections.add(connection)
        self.broker.metrics.connections_opened += 1
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_SECONDS, self._tick)

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.broker.metrics.connections_closed += 1

    def _tick(self) -> None:
        """Heartbeats and time limits of every connection; rests while there is none."""
        now = self._loop.time()
        for connection in list(self._connections):
            connection.peer.tick(now)
        self._ticking = bool(self._connections)
        if self._ticking:
            self._loop.call_later(TICK_SECONDS, self._tick)

    def _watch(self) -> None:
        """Compare memory and disk with their limits: once a second while messages come in, else now and then."""
        broker = self.broker
        if self._directory.removed() or self._files.removed():
            self._failed(OSError(errno.ENOENT, "its directory was removed while the broker runs", self.config.data_dir))
            return
        broker.flow.check()
        broker.handover.check_pending()
        quiet = broker.publisher.messages == self._seen_messages and not broker.flow.blocked
        self._seen_messages = broker.publisher.messages
        if not self._stopping:
            self._loop.call_later(QUIET_SECONDS if quiet else WATERMARK_SECONDS, self._watch)

    def _usage(self) -> tuple[int, int]:
        if self.broker.flow.alarms[MEMORY]:
            give_back_memory()
        free, total = self._directory.space()
        return memory_used(), free + self.broker.retention.look(free, total)

    def _call_at(self, ms: int, callback: Any) -> asyncio.TimerHandle:
        return self._loop.call_later(max(0, ms - self.clock.ms) / 1000, callback)

    def _report(self, event: str, **fields: object) -> None:
        log.warning(event, extra=fields)

    def _failed(self, error: Exception) -> None:
        """The log cannot be written: nobody knows what is on the disk. Stop; the next start looks."""
        log.critical("the log failed, stopping", extra={"error": str(error)})
        if not self._stopped.done():
            self._stopped.set_result(EX_IOERR)

    def _stop(self) -> None:
        """SIGTERM or SIGINT; a second one changes nothing."""
        if not self._stopped.done():
            self._stopped.set_result(EX_OK)

    async def _shut_down(self) -> int:
        """Stop accepting, say goodbye, write the last checkpoint, let go."""
        self._stopping = True
        for server in self._servers:
            server.close()
        if self._tls is not None:
            self._tls.close()
        await self._native.stop()
        for runner in self._runners:
            await runner.cleanup()
        for connection in list(self._connections):
            connection.peer.shut_down()
        deadline = self._loop.time() + CLOSE_SECONDS
        while self._connections and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()
        closed = asyncio.Event()
        self.broker.close(closed.set)
        try:
            await asyncio.wait_for(closed.wait(), STOP_SECONDS)
        except TimeoutError:  # a full disk takes no more: what was acknowledged is safe, the next start replays
            log.error("the log could not be closed in time", extra={"pending_bytes": self.broker.log.pending_bytes})
            return EX_IOERR
        if self._batches is not None:
            self._batches.stop()
        if self._blocks is not None:
            self._blocks.stop()
        for worker in self._workers.values():
            await self._loop.run_in_executor(None, worker.stop)
        self._files.close()
        self._spill_files.close()
        self._directory.mark_stopped()
        self._directory.release()
        log.info("stopped", extra={"pid": os.getpid()})
        return EX_OK


WORKERS = {"writer": 1, "readers": READERS, "checkpoints": 1, "spill": 1, "passwords": THREADS}
SPILL_FILE_BYTES = 256 << 20
UNSYNCED_BYTES = 1 << 30  # ASYNC_FLUSH: at most what half a second of writing leaves unsynced
