"""Sending messages: to a queue of its choice or yours, elsewhere when a broker does not take it, and in batches."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Self, Unpack

from corduroy.client.codes import Request
from corduroy.client.errors import (
    BrokerError,
    ClientError,
    ConnectionFailed,
    NoRoute,
    RequestTimeout,
    TopicNotExist,
    refusal,
)
from corduroy.client.messages import Message, MessageQueue, ReceivedMessage, SendResult
from corduroy.client.remoting import DEFAULT_TOPIC, NAME_SERVERS, ClientOptions, Remoting
from corduroy.client.requesting import Requests, reply_properties
from corduroy.client.routes import Route
from corduroy.client.sending import RETRIED, STORED, Packer, Parcel, by_hash

SEND_SECONDS = 3.0  # RocketMQ's sendMsgTimeout: for all attempts together
RETRIES = 2  # retryTimesWhenSendFailed
COMPRESS_ABOVE_BYTES = 4096  # compressMsgBodyOverHowmuch
NEW_TOPIC_QUEUES = 4  # defaultTopicQueueNums

Select = Callable[[list[MessageQueue]], MessageQueue]


class ProducerOptions(ClientOptions, total=False):
    """What a producer takes besides.

    timeout         seconds for a send, all its attempts together
    retries         attempts after the first, elsewhere if there is another broker
    compression     zlib, lz4, zstd, or "" for none
    compress_above  bytes from which a body is compressed
    new_topic_queues  queues of a topic that is made by its first message, at most
    """

    timeout: float
    retries: int
    compression: str
    compress_above: int
    new_topic_queues: int


class Producer:
    """`async with Producer("group") as producer: await producer.send(Message("topic", b"body"))`.

    A send that was retried, or that raised RequestTimeout or ConnectionFailed, may have stored its message all the
    same: whoever must not see one twice looks at its message_id, which all attempts share.
    """

    def __init__(
        self, group: str = "DEFAULT_PRODUCER", name_servers: str = NAME_SERVERS, **options: Unpack[ProducerOptions]
    ):
        self.group = group
        self.remoting = Remoting(
            name_servers,
            credentials=options.get("credentials"),
            tls=options.get("tls"),
            client_id=options.get("client_id"),
        )
        self.remoting.heartbeat_body = self._heartbeat
        self._timeout = options.get("timeout", SEND_SECONDS)
        self._retries = options.get("retries", RETRIES)
        self._new_queues = options.get("new_topic_queues", NEW_TOPIC_QUEUES)
        self._packer = Packer(options.get("compression", "zlib"), options.get("compress_above", COMPRESS_ABOVE_BYTES))
        self._requests = Requests(self.remoting)
        self._turn = random.randrange(1 << 16)

    async def start(self) -> Self:
        """Begin; connections are made when they are needed."""
        await self.remoting.start()
        return self

    async def stop(self) -> None:
        """Leave the group and end the connections. Sends on their way raise Closed or ConnectionFailed."""
        if self.remoting.running:
            await self.remoting.leave({"producerGroup": self.group})
            await self.remoting.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _heartbeat(self) -> dict[str, Any]:
        return {
            "clientID": self.remoting.client_id,
            "consumerDataSet": [],
            "heartbeatFingerprint": 0,
            "producerDataSet": [{"groupName": self.group}],
            "withoutSub": False,
        }

    async def queues(self, topic: str) -> list[MessageQueue]:
        """Where messages of the topic may go. Raises NoRoute, TopicNotExist."""
        return _some((await self.remoting.route_to_send(topic, self._new_queues)).write_queues, topic)

    async def send(
        self,
        message: Message,
        *,
        queue: MessageQueue | None = None,
        select: Select | None = None,
        timeout: float | None = None,
    ) -> SendResult:
        """Send it and wait until it is stored.

        Goes to `queue`, or to the one that select(queues) returns, or to the one of its sharding key: then only there,
        in one attempt. Else to queues in turn, and elsewhere if a broker does not take it.
        Raises InvalidMessage, NoRoute, BrokerError, RequestTimeout, ConnectionFailed: of the last attempt.
        """
        return await self._send(self._packer.pack(message), self._choice(message, queue, select), timeout)

    async def send_batch(self, messages: Sequence[Message], *, queue: MessageQueue | None = None) -> SendResult:
        """Store messages of one topic together in one queue: all or none, 4 MiB at most. Raises as send() does."""
        return await self._send(self._packer.pack_batch(messages), _fixed(queue), None)

    async def request(
        self,
        message: Message,
        *,
        queue: MessageQueue | None = None,
        select: Select | None = None,
        timeout: float = SEND_SECONDS,
    ) -> ReceivedMessage:
        """Send it and wait for what its consumer replies, by reply() or Java's MessageUtil.createReplyMessage.

        Raises RequestTimeout if there is none `timeout` seconds after the call, and as send() does.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        asked = self._requests.begin(timeout)
        try:
            await self.remoting.route_to_send(message.topic, self._new_queues)
            await self.remoting.introduce()
            parcel = self._packer.pack(message, asked)
            await self._send(parcel, self._choice(message, queue, select), end - loop.time())
            return await self._requests.reply(asked, end - loop.time())
        finally:
            self._requests.end(asked)

    async def reply(self, /, request: ReceivedMessage, body: bytes, **more: Any) -> SendResult:
        """Answer a request that was received: its broker gives the answer to who asked. `more`: tags, keys and
        properties of the answer. Raises InvalidMessage if it asks for none; BrokerError if who asked is gone."""
        topic, properties = reply_properties(request)
        parcel = self._packer.pack(Message(topic, body, **more), properties)

        def there(queues: list[MessageQueue]) -> MessageQueue:
            return next((each for each in queues if each.broker_name == request.broker_name), queues[0])

        return await self._send(parcel, there, None)

    async def send_one_way(
        self, message: Message, *, queue: MessageQueue | None = None, select: Select | None = None
    ) -> None:
        """Send it; nobody says whether it arrived. Raises what happens before it is on its way."""
        parcel = self._packer.pack(message)
        choose = self._choice(message, queue, select)
        route = await self.remoting.route_to_send(message.topic, self._new_queues)
        there = choose(_some(route.write_queues, message.topic)) if choose else self._next(route, set())
        code, fields = parcel.request(self.group, there, DEFAULT_TOPIC, self._new_queues)
        frame = self.remoting.signed(code, fields, parcel.body)
        await self.remoting.one_way(route.master(there.broker_name), frame, self._timeout)

    async def recall(self, topic: str, recall_handle: str) -> str:
        """Take back a timer message; returns its id. Raises BrokerError (604: delivered already, or no handle)."""
        route = await self.remoting.route(topic)
        last: ClientError = NoRoute(f"topic {topic} has no broker")
        for broker in route.addresses:
            fields = {"producerGroup": self.group, "topic": topic, "recallHandle": recall_handle, "bname": broker}
            try:
                answer = await self.remoting.call(route.master(broker), Request.RECALL_MESSAGE, fields)
            except BrokerError as error:  # the handle names one broker: the others refuse it
                last = error
            else:
                return answer.fields.get("msgId", "")
        raise last

    @staticmethod
    def _choice(message: Message, queue: MessageQueue | None, select: Select | None) -> Select | None:
        if queue is not None or select is not None:
            return select or _fixed(queue)
        key = message.sharding_key
        return (lambda queues: by_hash(key, queues)) if key else None

    async def _send(self, parcel: Parcel, choose: Select | None, timeout: float | None) -> SendResult:
        loop = asyncio.get_running_loop()
        end = loop.time() + (self._timeout if timeout is None else timeout)
        tried: set[str] = set()
        attempts = 1 if choose else 1 + self._retries
        while True:
            attempts -= 1
            route = await self.remoting.route_to_send(parcel.topic, self._new_queues)
            queue = choose(_some(route.write_queues, parcel.topic)) if choose else self._next(route, tried)
            tried.add(queue.broker_name)
            try:
                return await self._attempt(parcel, route.master(queue.broker_name), queue, end - loop.time())
            except (ConnectionFailed, RequestTimeout, BrokerError) as error:
                if isinstance(error, BrokerError) and error.code not in RETRIED:
                    raise
                if attempts <= 0 or loop.time() >= end:
                    raise
                if isinstance(error, TopicNotExist):
                    self.remoting.routes.pop(parcel.topic, None)

    async def _attempt(self, parcel: Parcel, address: str, queue: MessageQueue, timeout: float) -> SendResult:
        code, fields = parcel.request(self.group, queue, DEFAULT_TOPIC, self._new_queues)
        frame = self.remoting.signed(code, fields, parcel.body)
        answer = await self.remoting.exchange(address, frame, max(timeout, 0.001))
        if answer.code not in STORED:
            raise refusal(answer.code, answer.remark, address)
        return parcel.result(answer, queue)

    def _next(self, route: Route, tried: set[str]) -> MessageQueue:
        """The next queue in turn, of a broker that was not tried and can be reached if there is one."""
        queues = _some(route.write_queues, route.topic)
        self._turn += 1
        if len(route.addresses) > 1:

            def drawback(queue: MessageQueue) -> tuple[bool, bool]:
                return queue.broker_name in tried, self.remoting.failing(route.master(queue.broker_name))

            least = min(map(drawback, queues))
            queues = [queue for queue in queues if drawback(queue) == least]
        return queues[self._turn % len(queues)]


def _fixed(queue: MessageQueue | None) -> Select | None:
    return None if queue is None else lambda queues: queue


def _some(queues: list[MessageQueue], topic: str) -> list[MessageQueue]:
    if not queues:
        raise NoRoute(f"topic {topic} has no queue that may be written to")
    return queues
