"""One connection to a broker or name server: requests and their answers, and what the other side asks of us."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from corduroy.client.codes import Response
from corduroy.client.errors import CodecError, ConnectionFailed, RequestTimeout
from corduroy.client.frames import ONE_WAY_BIT, OPAQUE_MAX, RESPONSE_BIT, Frame, FrameReader, encode

log = logging.getLogger("corduroy.client")

IN_FLIGHT_MAX = 65535  # requests of one connection that wait for answers (RocketMQ's clientAsyncSemaphoreValue)
OnRequest = Callable[[str, Frame], Awaitable[Frame | None]]


class Connection(asyncio.Protocol):
    """request() and one_way() once it is connected; on_request(address, frame) answers what the other side asks."""

    def __init__(self, address: str, on_request: OnRequest, on_lost: Callable[[Connection], None]):
        self.address = address
        self.lost = False
        self._on_request = on_request
        self._on_lost = on_lost
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._last_opaque = 0
        self._writable = asyncio.Event()
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._answering: set[asyncio.Task[None]] = set()

    async def request(self, frame: Frame, timeout: float) -> Frame:
        """Send it and return the answer, whatever its code. Raises RequestTimeout after `timeout` seconds,
        ConnectionFailed if the connection is lost before."""
        try:
            async with asyncio.timeout(timeout), self._room:
                await self._writable.wait()
                return await self._ask(frame)
        except TimeoutError:
            raise RequestTimeout(f"no answer from {self.address} to request {frame.code} in {timeout:.2g} s") from None

    async def _ask(self, frame: Frame) -> Frame:
        frame.opaque = opaque = self._next_opaque()
        answer = asyncio.get_running_loop().create_future()
        self._waiting[opaque] = answer
        try:
            self._write(frame)
            return await answer
        finally:
            del self._waiting[opaque]

    async def one_way(self, frame: Frame, timeout: float) -> None:
        """Send it; nobody answers. Waits only while the other side does not read."""
        try:
            async with asyncio.timeout(timeout):
                await self._writable.wait()
        except TimeoutError:
            raise RequestTimeout(f"{self.address} did not read for {timeout:g} s") from None
        frame.opaque = self._next_opaque()
        frame.flag |= ONE_WAY_BIT
        self._write(frame)

    def close(self) -> None:
        """Close it; who waits for an answer gets ConnectionFailed."""
        if self._transport is not None:
            self._transport.close()
        self._lose("closed by this client")

    def _next_opaque(self) -> int:
        self._last_opaque = (self._last_opaque + 1) & OPAQUE_MAX
        return self._last_opaque

    def _write(self, frame: Frame) -> None:
        if self.lost or self._transport is None:
            raise ConnectionFailed(f"connection to {self.address} is lost")
        self._transport.write(encode(frame))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio.Protocol."""
        self._lose(str(exc) if exc else "closed by the other side")

    def _lose(self, why: str) -> None:
        if self.lost:
            return
        self.lost = True
        self._writable.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionFailed(f"connection to {self.address} was lost: {why}"))
        for task in self._answering:
            task.cancel()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """asyncio.Protocol: the other side does not keep up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """asyncio.Protocol."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """asyncio.Protocol."""
        self._reader.feed(data)
        try:
            while (frame := self._reader.next_frame()) is not None:
                self._take(frame)
        except CodecError as error:
            log.warning("%s sends what is no frame (%s); closing", self.address, error)
            self.close()

    def _take(self, frame: Frame) -> None:
        if frame.is_response:
            answer = self._waiting.get(frame.opaque)
            if answer is not None and not answer.done():  # else: it came after its timeout
                answer.set_result(frame)
            return
        task = asyncio.get_running_loop().create_task(self._answer(frame))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, frame: Frame) -> None:
        try:
            answer = await self._on_request(self.address, frame)
        except Exception as error:
            log.exception("request %d of %s failed", frame.code, self.address)
            answer = Frame(Response.SYSTEM_ERROR, remark=f"{type(error).__name__}: {error}")
        if frame.is_one_way or self.lost:
            return
        if answer is None:
            answer = Frame(Response.REQUEST_CODE_NOT_SUPPORTED, remark=f" request type {frame.code} not supported")
        answer.opaque, answer.flag = frame.opaque, RESPONSE_BIT
        self._write(answer)


def host_and_port(address: str) -> tuple[str, int]:
    """`host:port` or `[::1]:port` in two. Raises ConnectionFailed."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConnectionFailed(f"{address!r} is no address: host:port")
    return host.strip("[]"), int(port)


async def connect(address: str, on_request: OnRequest, on_lost: Callable[[Connection], None], tls: Any) -> Connection:
    """A connection to `host:port`; `tls` is an ssl.SSLContext or None. Raises ConnectionFailed."""
    host, port = host_and_port(address)
    loop = asyncio.get_running_loop()
    try:
        _, made = await loop.create_connection(lambda: Connection(address, on_request, on_lost), host, port, ssl=tls)
    except OSError as error:
        raise ConnectionFailed(f"cannot connect to {address}: {error}") from None
    return made
