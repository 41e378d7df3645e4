"""TLS listeners: accept, shake hands within a time limit, and only then have a connection like any other.

Sockets are accepted here and not by the loop's own server: who is too many is turned away before any cryptography, a
handshake that fails is told with its peer and reason, and each uses the certificate that is current when it begins.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from core.clock import Clock
from core.config import Config, TlsConfig
from core.disk.threads import Worker
from core.metrics import Metrics
from gateway import certificates
from gateway.accepted import Accepted
from gateway.certificates import Identity
from gateway.listeners import TlsError

ACCEPTS = 64  # per turn of the loop: the others on it have a turn too
SHUTDOWN_SECONDS = 5.0  # for the peer's close_notify
RETRY_SECONDS = 1.0
WARN_SECONDS = 14 * 86400  # before a certificate ends

log = logging.getLogger("gateway")
_accepted: ContextVar[socket.socket] = ContextVar("accepted")


class AlertingObject(ssl.SSLObject):
    """Sends the alert of a failed handshake, which the event loops drop: the client learns why it was refused."""

    alerts: ssl.MemoryBIO
    socket: socket.socket | None

    def do_handshake(self) -> None:
        """One step of the handshake. Raises ssl.SSLWantReadError where it waits for the peer."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError):
            raise
        except ssl.SSLError:
            alert = self.alerts.read()
            if alert and self.socket is not None:
                try:
                    self.socket.send(alert)
                except OSError:
                    pass  # it is gone already
            raise
        self.socket = None


class AlertingContext(ssl.SSLContext):
    """A context whose connections know the socket that the current task accepted."""

    sslobject_class = AlertingObject

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **options: Any) -> AlertingObject:
        """As SSLContext's."""
        wrapped: Any = super().wrap_bio(incoming, outgoing, *args, **options)
        wrapped.alerts, wrapped.socket = outgoing, _accepted.get(None)
        return wrapped


def load(config: Config) -> Identity:
    """Read the files of `tls.*`. Raises TlsError."""
    return certificates.load(config.tls, AlertingContext(ssl.PROTOCOL_TLS_SERVER))


class AcceptedTls(Accepted):
    """A connection behind TLS. Before the handshake is done the loop's TLS layer alone knows of it."""

    config: TlsConfig
    enter: Callable[[Any], None]

    def connection_made(self, transport: Any) -> None:
        """The handshake is done."""
        peer: Any = self.peer
        peer.tls = certificates.peer(transport.get_extra_info("ssl_object"), self.config)
        self.enter(self)
        super().connection_made(transport)


class TlsListeners:
    """All TLS listeners of the process, with one identity. Raises TlsError if its files cannot be used.

    full()             whether one connection more is too many, those that are still shaking hands among them
    enter(connection)  is called when the handshake is done, and after it
    lost(connection)   when the connection is gone
    """

    def __init__(
        self, config: Config, full: Callable[[], bool], enter: Callable[[Any], None], lost: Callable[[Any], None]
    ):
        self._config, self._full, self._enter, self._lost = config, full, enter, lost
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.handshakes = 0  # under way
        self._identity = load(config)
        self._metrics = Metrics()

    def start(self, clock: Clock, metrics: Metrics) -> None:
        """The broker is there: its clock, and where to count from now on."""
        self._clock, self._metrics = clock, metrics
        self._use(self._identity)

    def _use(self, identity: Identity) -> None:
        """Show this certificate from now on; connections that are there keep theirs."""
        self._identity = identity
        file = self._config.tls.cert
        self._metrics.tls_certificate_expires[file] = identity.expires
        left = identity.expires - time.time()
        if left < WARN_SECONDS:
            text = "the TLS certificate has expired" if left <= 0 else "the TLS certificate expires soon"
            log.warning(text, extra={"file": file, "days": round(left / 86400, 1)})

    def reload(self, worker: Worker) -> None:
        """Read the files again; if they cannot be used, nothing changes."""

        def loaded(result: Any) -> None:
            if isinstance(result, TlsError):
                log.error("certificates were not reloaded", extra={"error": str(result)})
            elif isinstance(result, Exception):
                raise result
            else:
                self._use(result)
                log.info("certificates reloaded", extra={"file": self._config.tls.cert})

        worker.submit(lambda: load(self._config), loaded)

    def _connection(self, peer: Any) -> Any:
        """The connection of a peer whose handshake is to begin; its time counts for the login's."""
        connection = AcceptedTls(peer, self._clock, self._lost)
        connection.config, connection.enter = self._config.tls, self._entered
        return connection

    def _entered(self, connection: AcceptedTls) -> None:
        self.handshakes -= 1
        self._enter(connection)

    def listen(self, listening: socket.socket, new_peer: Callable[[], Any]) -> None:
        """Accept on a non-blocking socket, which is ours from now on; new_peer() makes the protocol's end of each."""
        self._listening.append(listening)
        self._resume(listening, new_peer)

    def _resume(self, listening: socket.socket, new_peer: Callable[[], Any]) -> None:
        if listening.fileno() >= 0:
            self._loop.add_reader(listening, self._accept, listening, new_peer)

    def _accept(self, listening: socket.socket, new_peer: Callable[[], Any]) -> None:
        """Take up to ACCEPTS waiting connections."""
        for _ in range(ACCEPTS):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of file descriptors, or of memory: those who wait in line stay there
                log.error("cannot accept connections", extra={"error": error.strerror})
                self._loop.remove_reader(listening)
                self._loop.call_later(RETRY_SECONDS, self._resume, listening, new_peer)
                return
            if self._full():
                accepted.close()
                continue
            accepted.setblocking(False)
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the handshake's messages are small
            self.handshakes += 1
            task = self._loop.create_task(self._shake_hands(accepted, address, new_peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, accepted: socket.socket, address: Any, new_peer: Callable[[], Any]) -> None:
        """The handshake; the protocol's connection_made() is called by its end, or never."""
        _accepted.set(accepted)
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._connection(new_peer()),
                accepted,
                ssl=self._identity.context,
                ssl_handshake_timeout=self._config.limits.handshake_seconds,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError as error:
            self.handshakes -= 1
            self._metrics.tls_handshakes_failed += 1
            peer = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "localhost"
            log.info("TLS handshake failed", extra={"peer": peer, "reason": certificates.reason(error)})

    def close(self) -> None:
        """Accept no more, and give up the handshakes under way."""
        for listening in self._listening:
            self._loop.remove_reader(listening)
            listening.close()
        for task in list(self._tasks):
            task.cancel()
