"""What may be asked about one queue: its bounds, an offset by time, what a group committed."""

from __future__ import annotations

from typing import Any

from corduroy.client.codes import Request, Response
from corduroy.client.messages import MessageQueue
from corduroy.client.remoting import Remoting


class QueueCalls:
    """Offsets count messages of the queue, from 0. All raise BrokerError, NoRoute, RequestTimeout, ConnectionFailed."""

    def __init__(self, remoting: Remoting):
        self._remoting = remoting

    async def _ask(self, code: int, queue: MessageQueue, accept: tuple[int, ...] = (), **fields: Any) -> int | None:
        address = await self._remoting.address_of(queue)
        asked = {"topic": queue.topic, "queueId": queue.queue_id, "bname": queue.broker_name, **fields}
        answer = await self._remoting.call(address, code, asked, accept=accept)
        value = answer.fields.get("offset", answer.fields.get("timestamp"))
        return None if value is None or answer.code != Response.SUCCESS else int(value)

    async def min_offset(self, queue: MessageQueue) -> int:
        """Of the oldest message that is still there."""
        return await self._ask(Request.GET_MIN_OFFSET, queue) or 0

    async def max_offset(self, queue: MessageQueue) -> int:
        """Of the next message to come."""
        return await self._ask(Request.GET_MAX_OFFSET, queue) or 0

    async def offset_at(self, queue: MessageQueue, ms: int) -> int:
        """Of the first message stored at that time or later, ms since 1970."""
        return await self._ask(Request.SEARCH_OFFSET_BY_TIMESTAMP, queue, timestamp=ms) or 0

    async def earliest_ms(self, queue: MessageQueue) -> int:
        """When its oldest message was stored, ms since 1970; -1 if it has none."""
        found = await self._ask(Request.GET_EARLIEST_MSG_STORETIME, queue)
        return -1 if found is None else found

    async def committed(self, group: str, queue: MessageQueue) -> int | None:
        """What the group committed last. None: nothing; a young queue's is 0 even then, says RocketMQ."""
        not_found = (Response.QUERY_NOT_FOUND,)
        return await self._ask(Request.QUERY_CONSUMER_OFFSET, queue, not_found, consumerGroup=group)

    async def commit(self, group: str, queue: MessageQueue, offset: int) -> None:
        """The group has done with everything before `offset`."""
        await self._ask(Request.UPDATE_CONSUMER_OFFSET, queue, consumerGroup=group, commitOffset=offset)
