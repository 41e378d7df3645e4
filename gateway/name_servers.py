"""A connection to one name server beside the embedded one, which is told of this broker: made anew when it is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import cast

from protocols.remoting.fields import FieldError, FrameError
from protocols.remoting.frame import Frame
from protocols.remoting.registration import Registrar

CONNECT_SECONDS = 3.0
RETRY_SECONDS = 1.0  # after a failure, doubled at each up to the period
UNSENT_BYTES_MAX = 32 << 20  # of a name server that does not read: it is left and tried anew

log = logging.getLogger("gateway")


class NameServerLink(asyncio.Protocol):
    """registrar(host) makes the requests, for a name server that sees us at that address."""

    def __init__(self, address: str, registrar: Callable[[str], Registrar], period_seconds: float):
        self._address = address
        self._make = registrar
        self._period = period_seconds
        self._retry = RETRY_SECONDS
        self._loop = asyncio.get_running_loop()
        self._registrar: Registrar | None = None
        self._transport: asyncio.Transport | None = None
        self._frame = Frame()
        self._read = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._told = self._stopped = False

    def start(self) -> None:
        """Connect, and go on trying."""
        self._task = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        host, _, port = self._address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._loop.create_connection(lambda: self, host.strip("[]"), int(port))
        except (OSError, TimeoutError) as error:
            self._failed(str(error) or "no answer")

    def _failed(self, why: str) -> None:
        """Say so once, until it works again; try again later."""
        if self._stopped:
            return
        if not self._told:
            self._told = True
            log.warning("name server cannot be reached", extra={"name_server": self._address, "error": why})
        self._timer = self._loop.call_later(self._retry, self.start)
        self._retry = min(2 * self._retry, self._period)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there: tell it all of this broker, as far as it does not know."""
        self._transport = cast(asyncio.Transport, transport)
        if self._stopped:
            self._transport.abort()
            return
        host = transport.get_extra_info("sockname")[0].removeprefix("::ffff:")
        self._registrar = self._make(f"[{host}]" if ":" in host else host)
        self._read.clear()
        self._ask()

    def _ask(self) -> None:
        """Every period."""
        assert self._registrar is not None
        self._send(self._registrar.ask())
        self._timer = self._loop.call_later(self._period, self._ask)

    def _send(self, data: bytes) -> None:
        assert self._transport is not None
        if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self._transport.abort()
        else:
            self._transport.write(data)

    def tell(self, names: Iterable[bytes]) -> None:
        """These topics changed. A name server that cannot be reached asks for all of them later."""
        if self._transport is not None and self._registrar is not None:
            self._send(self._registrar.some(names))

    def data_received(self, data: bytes) -> None:
        """Answers."""
        self._read += data
        try:
            while size := self._frame.take(self._read, 0, len(self._read)):
                self._take()
                del self._read[:size]
        except (FrameError, FieldError) as error:
            log.warning("name server is none", extra={"name_server": self._address, "error": str(error)})
            self._abort()

    def _take(self) -> None:
        assert self._registrar is not None
        if not self._frame.is_response:
            return
        request, error = self._registrar.take(self._frame)
        if error:
            log.warning("name server refuses this broker", extra={"name_server": self._address, "error": error})
        elif self._told or self._retry != RETRY_SECONDS:
            self._told, self._retry = False, RETRY_SECONDS
            log.info("name server can be reached", extra={"name_server": self._address})
        if request:
            self._send(request)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._failed(str(error) if error else "it closed the connection")

    def stop(self) -> None:
        """Say goodbye and close."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None and self._registrar is not None:
            self._transport.write(self._registrar.leave())
            self._transport.close()

