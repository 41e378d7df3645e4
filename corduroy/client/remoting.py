"""What producers, consumers and tools share: calls to brokers and name servers, routes, heartbeats.

A Remoting is one client in RocketMQ's sense: one client id, one connection to each broker, whatever groups it is in.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypedDict, Unpack

from corduroy.client.codes import Request, Response
from corduroy.client.connection import Connection
from corduroy.client.connections import Connections
from corduroy.client.errors import (
    ClientError,
    Closed,
    ConnectionFailed,
    NoRoute,
    RequestTimeout,
    TopicNotExist,
    refusal,
)
from corduroy.client.frames import Frame, texts
from corduroy.client.ids import local_address
from corduroy.client.lenient_json import dumps
from corduroy.client.messages import MessageQueue
from corduroy.client.routes import MASTER_ID, Route, parse_route
from corduroy.client.signing import Credentials

log = logging.getLogger("corduroy.client")

NAME_SERVERS = "127.0.0.1:9876"
REQUEST_SECONDS = 3.0  # RocketMQ's mqClientApiTimeout
ROUTE_SECONDS = HEARTBEAT_SECONDS = 30.0  # pollNameServerInterval, heartbeatBrokerInterval
HEARTBEAT_TIMEOUT_SECONDS = 10.0  # a broker that does not answer one in time is connected to anew
DEFAULT_TOPIC = "TBW102"  # new topics are made after it
_instances = itertools.count(1)

Answerer = Callable[[str, Frame], Awaitable[Frame | None]]


def new_client_id() -> str:
    """An id of this process's own: `address@process#number`."""
    return f"{socket.inet_ntoa(local_address())}@{os.getpid()}#{next(_instances)}-{os.urandom(3).hex()}"


class ClientOptions(TypedDict, total=False):
    """What every kind of client takes.

    credentials   sign every request
    tls           an ssl.SSLContext for connections to brokers and name servers
    client_id     what brokers call this client; else made up
    """

    credentials: Credentials | None
    tls: ssl.SSLContext | None
    client_id: str | None


class Remoting:
    """start() it within a running loop, stop() it at the end.

    name_servers  `host:port;host:port`: one is asked, the next if it does not answer; which comes first is drawn
    """

    def __init__(self, name_servers: str = NAME_SERVERS, **options: Unpack[ClientOptions]):
        self.name_servers = [each.strip() for each in name_servers.split(";") if each.strip()]
        if not self.name_servers:
            raise ConnectionFailed("no name server is named")
        self.client_id = options.get("client_id") or new_client_id()
        self.answerers: dict[int, Answerer] = {}  # by request code: what brokers may ask of us
        self.heartbeat_body: Callable[[], dict[str, Any]] | None = None  # None: in no group
        self.routes: dict[str, Route] = {}  # of topics in use
        self._credentials = options.get("credentials")
        self._connections = Connections(self._answer, self._made, options.get("tls"))
        self._current = random.randrange(len(self.name_servers))
        self._asking: dict[str, asyncio.Task[Route]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._greeted: set[str] = set()
        self._known: set[str] = set()  # those that have answered
        self.running = False

    async def start(self) -> None:
        """Begin to keep routes and groups fresh."""
        self.running = True
        self.spawn(self._every(ROUTE_SECONDS, self._refresh_routes))
        self.spawn(self._every(HEARTBEAT_SECONDS, self.heartbeat))

    async def stop(self) -> None:
        """End every task and connection."""
        self.running = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        self._connections.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine until it ends, or this client does; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of client %s failed", self.client_id, exc_info=error)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[Any]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except ClientError as error:
                log.warning("%s", error)

    async def _answer(self, address: str, frame: Frame) -> Frame | None:
        answerer = self.answerers.get(frame.code)
        return await answerer(address, frame) if answerer is not None else None

    # ---- calls

    async def call(
        self, address: str, code: int, fields: Mapping[str, Any] | None = None, body: bytes = b"", **more: Any
    ) -> Frame:
        """The answer of the broker or name server at `address`. Raises BrokerError unless its code is SUCCESS or one of
        `accept`, RequestTimeout after `timeout` seconds (3), ConnectionFailed."""
        answer = await self.exchange(address, self.signed(code, fields, body), more.get("timeout", REQUEST_SECONDS))
        if answer.code != Response.SUCCESS and answer.code not in more.get("accept", ()):
            raise refusal(answer.code, answer.remark, address)
        return answer

    async def exchange(self, address: str, frame: Frame, timeout: float) -> Frame:
        """The answer to a frame, whatever its code."""
        self._check_running()
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        connection = await self._connections.get(address, timeout)
        return await connection.request(frame, max(end - loop.time(), 0.001))

    async def one_way(self, address: str, frame: Frame, timeout: float = REQUEST_SECONDS) -> None:
        """Send a frame that nobody answers."""
        self._check_running()
        connection = await self._connections.get(address, timeout)
        await connection.one_way(frame, timeout)

    def signed(self, code: int, fields: Mapping[str, Any] | None = None, body: bytes = b"") -> Frame:
        """A request, signed if there are credentials."""
        named = texts(fields or {})
        if self._credentials is not None:
            named = self._credentials.sign(named, body)
        return Frame(code, named, body)

    def _check_running(self) -> None:
        if not self.running:
            raise Closed("the client is not started, or was stopped")

    def failing(self, address: str) -> bool:
        """Whether the last attempt to connect there was in vain."""
        return self._connections.failing(address)

    async def ask_name_server(
        self, code: int, fields: Mapping[str, Any] | None = None, body: bytes = b"", **more: Any
    ) -> Frame:
        """The answer of a name server: of the next one if one does not answer. Raises as call() does."""
        last: ClientError = NoRoute("no name server")
        for _ in self.name_servers:
            address = self.name_servers[self._current]
            try:
                return await self.call(address, code, fields, body, **more)
            except (ConnectionFailed, RequestTimeout) as error:
                last = error
                self._current = (self._current + 1) % len(self.name_servers)
        raise last

    # ---- routes

    async def route(self, topic: str, *, fresh: bool = False) -> Route:
        """The route of a topic, from memory unless `fresh`; it is refreshed from then on. Raises TopicNotExist, and
        what a call may."""
        if not fresh and (known := self.routes.get(topic)) is not None:
            return known
        asking = self._asking.get(topic)
        if asking is None:
            asking = asyncio.get_running_loop().create_task(self._ask_route(topic))
            self._asking[topic] = asking
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(asking)

    async def _ask_route(self, topic: str) -> Route:
        try:
            answer = await self.ask_name_server(Request.GET_ROUTEINFO_BY_TOPIC, {"topic": topic})
            route = parse_route(topic, answer.body)
            self.routes[topic] = route
            for address in self.masters() - self._greeted:
                self.spawn(self._greet(address))
            return route
        finally:
            del self._asking[topic]

    async def route_if_there(self, topic: str) -> Route | None:
        """The route of a topic that may not be there yet."""
        try:
            return await self.route(topic)
        except TopicNotExist:
            return None

    async def route_to_send(self, topic: str, new_queues: int) -> Route:
        """Where to send messages of a topic, also of one that a broker would make on its first message."""
        try:
            return await self.route(topic)
        except TopicNotExist:
            try:
                model = await self.route(DEFAULT_TOPIC)
            except TopicNotExist:
                raise NoRoute(f"topic {topic} is not there, and no broker makes topics on use") from None
            self.routes[topic] = made = model.for_new_topic(topic, new_queues)  # until it is refreshed
            return made

    async def _refresh_routes(self) -> None:
        for topic in list(self.routes):
            try:
                await self.route(topic, fresh=True)
            except TopicNotExist:
                self.routes.pop(topic, None)  # deleted: who needs it asks anew

    async def address_of(self, queue: MessageQueue) -> str:
        """The address of the master of a queue's broker. Raises NoRoute."""
        try:
            return (await self.route(queue.topic)).master(queue.broker_name)
        except (NoRoute, TopicNotExist):
            return self.broker_address(queue.broker_name)

    def broker_address(self, broker_name: str) -> str:
        """The address of a broker's master, from any route. Raises NoRoute."""
        for route in self.routes.values():
            if address := route.addresses.get(broker_name, {}).get(MASTER_ID):
                return address
        raise NoRoute(f"no address of broker {broker_name} is known")

    def masters(self) -> set[str]:
        """The addresses of all masters in routes in use."""
        tables = (table for route in self.routes.values() for table in route.addresses.values())
        return {table[MASTER_ID] for table in tables if MASTER_ID in table}

    # ---- groups

    async def heartbeat(self) -> None:
        """Tell every broker in use which groups this client is in."""
        if self.heartbeat_body is not None:
            await asyncio.gather(*(self._greet(address) for address in self.masters()))

    async def introduce(self) -> None:
        """Have every broker in use know who this client is."""
        if not self.masters() <= self._known:
            await self.heartbeat()

    async def _greet(self, address: str) -> None:
        if self.heartbeat_body is None:
            return
        self._greeted.add(address)
        frame = self.signed(Request.HEART_BEAT, {}, dumps(self.heartbeat_body()))
        connection: Connection | None = None
        try:
            connection = await self._connections.get(address)
            answer = await connection.request(frame, HEARTBEAT_TIMEOUT_SECONDS)
            if answer.code != Response.SUCCESS:
                raise refusal(answer.code, answer.remark, address)
            self._known.add(address)
        except ClientError as error:
            log.warning("heartbeat: %s", error)
            if connection is not None and isinstance(error, RequestTimeout):
                connection.close()  # half open, or worse: the next request connects anew

    def _made(self, connection: Connection) -> None:
        """A broker forgets who is in a group when their connection ends: after a reconnection it is told at once."""
        if connection.address in self._greeted and self.running:
            self.spawn(self._greet(connection.address))

    async def leave(self, fields: Mapping[str, Any]) -> None:
        """Tell every broker that this client leaves a group: fields producerGroup or consumerGroup."""
        await self._all(
            self.masters() & self._greeted, Request.UNREGISTER_CLIENT, {"clientID": self.client_id, **fields}
        )

    async def _all(self, addresses: Iterable[str], code: int, fields: Mapping[str, Any]) -> None:
        calls = [self.call(address, code, fields) for address in addresses]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(error, ClientError):
                log.info("%s", error)
