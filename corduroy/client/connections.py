"""Connections by address: made when first asked for, shared, and made anew when lost, ever less often."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable

from corduroy.client.connection import Connection, OnRequest, connect
from corduroy.client.errors import Closed, ConnectionFailed, RequestTimeout

log = logging.getLogger("corduroy.client")

BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.1, 10.0
CONNECT_SECONDS = 3.0  # RocketMQ's connectTimeoutMillis


class Address:
    """What is known of one address: its connection, or since when there is none."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.connecting: asyncio.Task[Connection] | None = None
        self.failures = 0
        self.not_before = 0.0  # time.monotonic() of the next attempt

    def failed(self) -> None:
        """One more attempt was in vain: wait longer before the next."""
        longest = min(BACKOFF_SECONDS_MIN * 2**self.failures, BACKOFF_SECONDS_MAX)
        self.failures = min(self.failures + 1, 20)
        self.not_before = time.monotonic() + longest * random.uniform(0.5, 1.0)  # clients must not come all at once


class Connections:
    """get() them. on_request answers what servers ask; on_made is called with each new connection."""

    def __init__(self, on_request: OnRequest, on_made: Callable[[Connection], None], tls: ssl.SSLContext | None = None):
        self._on_request = on_request
        self._on_made = on_made
        self._tls = tls
        self._addresses: dict[str, Address] = {}
        self._closed = False

    def failing(self, address: str) -> bool:
        """Whether the last attempt to connect there was in vain."""
        known = self._addresses.get(address)
        return known is not None and known.failures > 0

    async def get(self, address: str, timeout: float = CONNECT_SECONDS) -> Connection:
        """The connection to it; waits `timeout` seconds at most, for one on its way or until the next attempt is due.
        Raises ConnectionFailed, RequestTimeout."""
        if self._closed:
            raise Closed("the client was stopped")
        known = self._addresses.setdefault(address, Address())
        if known.connection is not None:
            return known.connection
        if known.connecting is None:
            known.connecting = asyncio.get_running_loop().create_task(self._connect(address, known))
            known.connecting.add_done_callback(
                lambda task: task.cancelled() or task.exception()
            )  # seen, if nobody waits
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(known.connecting)
        except TimeoutError:
            raise RequestTimeout(f"not connected to {address} within {timeout:g} s") from None
        except asyncio.CancelledError:
            if self._closed:
                raise Closed("the client was stopped") from None
            raise

    async def _connect(self, address: str, known: Address) -> Connection:
        try:
            if (wait := known.not_before - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            async with asyncio.timeout(CONNECT_SECONDS):
                made = await connect(address, self._on_request, self._forget, self._tls)
        except TimeoutError:
            known.failed()
            raise ConnectionFailed(f"cannot connect to {address}: no answer in {CONNECT_SECONDS:g} s") from None
        except ConnectionFailed:
            known.failed()
            raise
        finally:
            known.connecting = None
        known.connection = made
        known.failures = 0
        self._on_made(made)
        return made

    def _forget(self, connection: Connection) -> None:
        known = self._addresses.get(connection.address)
        if known is not None and known.connection is connection:
            known.connection = None
            known.not_before = time.monotonic() + BACKOFF_SECONDS_MIN * random.uniform(0.5, 1.0)
            if not self._closed:
                log.info("connection to %s is lost", connection.address)

    def close(self) -> None:
        """Close all of them, for good."""
        self._closed = True
        for known in list(self._addresses.values()):
            if known.connecting is not None:
                known.connecting.cancel()
            if known.connection is not None:
                known.connection.close()
