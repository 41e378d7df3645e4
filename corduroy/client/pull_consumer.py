"""Reading queues where and when the program wants: it chooses queues and offsets, and commits what it has done."""

from __future__ import annotations

from typing import Self, Unpack

from corduroy.client.messages import MessageQueue
from corduroy.client.pulling import COUNT, Pull, PullResult, check_expression, pull
from corduroy.client.queue_calls import QueueCalls
from corduroy.client.remoting import NAME_SERVERS, ClientOptions, Remoting
from corduroy.client.subscriptions import ALL, SQL92, TAG, Subscription


class PullConsumer:
    """`async with PullConsumer("group") as consumer: result = await consumer.pull(queue, offset)`.

    The group's committed offsets are at the brokers. Nothing is balanced: whoever shares a group's queues agrees by
    itself.
    """

    def __init__(self, group: str, name_servers: str = NAME_SERVERS, **options: Unpack[ClientOptions]):
        self.group = group
        self.remoting = Remoting(name_servers, **options)
        self._checked: set[tuple[str, str]] = set()  # SQL92 expressions that the topic's brokers took
        self._calls = QueueCalls(self.remoting)

    async def start(self) -> Self:
        """Begin; connections are made when they are needed."""
        await self.remoting.start()
        return self

    async def stop(self) -> None:
        """End the connections; pulls on their way raise ConnectionFailed or Closed."""
        await self.remoting.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def queues(self, topic: str) -> list[MessageQueue]:
        """The queues to read from. Raises TopicNotExist."""
        return list((await self.remoting.route(topic)).read_queues)

    async def pull(
        self,
        queue: MessageQueue,
        offset: int,
        *,
        expression: str = ALL,
        kind: str = TAG,
        count: int = COUNT,
        wait: float = 0.0,
    ) -> PullResult:
        """Messages from `offset` on: `count` at most, and as many as the broker gives (32, 256 KiB).

        expression, kind  which messages, as in a Subscription
        wait              seconds to wait for a first message
        Raises BrokerError, NoRoute, RequestTimeout, ConnectionFailed.
        """
        subscription = Subscription(queue.topic, expression, kind)
        if kind == SQL92 and (queue.topic, expression) not in self._checked:
            await check_expression(self.remoting, self.group, subscription)
            self._checked.add((queue.topic, expression))
        return await pull(self.remoting, Pull(self.group, queue, offset, subscription, count, wait))

    async def min_offset(self, queue: MessageQueue) -> int:
        """Of the oldest message that is still there."""
        return await self._calls.min_offset(queue)

    async def max_offset(self, queue: MessageQueue) -> int:
        """Of the next message to come."""
        return await self._calls.max_offset(queue)

    async def offset_at(self, queue: MessageQueue, ms: int) -> int:
        """Of the first message stored at that time or later, ms since 1970."""
        return await self._calls.offset_at(queue, ms)

    async def committed(self, queue: MessageQueue) -> int | None:
        """Where the group goes on. None: it never committed; a young queue's is 0 even then, says RocketMQ."""
        return await self._calls.committed(self.group, queue)

    async def commit(self, queue: MessageQueue, offset: int) -> None:
        """The group has done with everything before `offset`."""
        await self._calls.commit(self.group, queue, offset)
