"""A topic's queues by request: their bounds, and what lies where in time. Source: RocketMQ's AdminBrokerProcessor.

A queue that is not there is empty, as in RocketMQ: 0, and -1 for the time of its first message.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from protocols.remoting import headers
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.fields import FieldError
from protocols.remoting.send_header import number

BOUNDARIES = {None: False, b"lower": False, b"upper": True}
NO_TIME = -1
UNITS_MAX = 1024


class Units(headers.Header):
    """QUERY_CONSUME_QUEUE."""

    topic: str
    queue_id: int
    index: int
    count: int
    consumer_group: str | None = None


class QueueVerbs:
    """`topics` = the broker's."""

    def __init__(self, topics: Any):
        self._topics = topics

    def _queue(self, frame: Any) -> Any:
        """The queue that a request names, or None."""
        topic = self._topics.find(frame.text(b"topic"))
        queue_id = number(frame, b"queueId")
        if topic is None or not 0 <= queue_id < max(topic.config.read_queues, topic.config.write_queues):
            return None
        return topic.queues[queue_id]

    def max_offset(self, connection: Any, frame: Any) -> None:
        """GET_MAX_OFFSET: what the next message will have, of those that are committed."""
        queue = self._queue(frame)
        _answer(connection, frame.opaque, b"offset", queue.max_offset if queue else 0)

    def min_offset(self, connection: Any, frame: Any) -> None:
        """GET_MIN_OFFSET: of the first message that is there."""
        queue = self._queue(frame)
        _answer(connection, frame.opaque, b"offset", queue.min_offset if queue else 0)

    def search(self, connection: Any, frame: Any) -> None:
        """SEARCH_OFFSET_BY_TIMESTAMP."""
        ms = frame.number(b"timestamp")
        boundary = frame.get(b"boundaryType")
        upper = BOUNDARIES.get(boundary.lower() if boundary else None)
        if upper is None:
            raise FieldError(f"the custom field <boundaryType> is neither LOWER nor UPPER: {boundary.decode()}")
        queue = self._queue(frame)
        if queue is None or queue.max_offset == queue.min_offset:
            _answer(connection, frame.opaque, b"offset", queue.min_offset if queue else 0)
            return
        queue.offset_at(ms, upper, _answerer(connection, frame.opaque, b"offset"))

    def earliest(self, connection: Any, frame: Any) -> None:
        """GET_EARLIEST_MSG_STORETIME."""
        queue = self._queue(frame)
        if queue is None or queue.max_offset == queue.min_offset:
            _answer(connection, frame.opaque, b"timestamp", NO_TIME)
            return
        queue.store_ms(queue.min_offset, _answerer(connection, frame.opaque, b"timestamp"))

    def units(self, connection: Any, frame: Any) -> None:
        """QUERY_CONSUME_QUEUE: units of the queue's index from one on, at most UNITS_MAX."""
        asked = headers.read(Units, frame)
        topic = self._topics.find(asked.topic.encode())
        if topic is None or not 0 <= asked.queue_id < len(topic.queues):
            raise Refused(Response.SYSTEM_ERROR, f"{asked.queue_id}@{asked.topic} is not exist!")
        queue = topic.queues[asked.queue_id]
        if not queue.min_offset <= asked.index < queue.max_offset:
            remark = f"Index {asked.index} of {asked.queue_id}@{asked.topic} is not exist!"
            connection.respond(frame.opaque, Response.SUCCESS, remark)
            return
        body: dict[str, Any] = {"maxQueueIndex": queue.max_offset, "minQueueIndex": queue.min_offset}
        if asked.consumer_group is not None:
            members = connection.clients.consumers(asked.consumer_group.encode())
            wanted = members.subscription(asked.topic.encode()) if members else None
            body["subscriptionData"] = wanted
            body["filterData"] = "null" if wanted else f"{asked.consumer_group}@{asked.topic} is not online!"
        count = min(asked.count, UNITS_MAX)
        queue.units(asked.index, count, partial(_answer_units, connection, frame.opaque, body))


def _answer_units(connection: Any, opaque: int, body: dict[str, Any], found: Any) -> None:
    if isinstance(found, Exception):
        connection.respond(opaque, Response.SYSTEM_ERROR, f"the queue cannot be read: {found}")
        return
    names = "physicOffset", "physicSize", "tagsCode"
    body["queueData"] = [dict(zip(names, unit, strict=True)) | {"eval": False} for unit in found]
    connection.respond(opaque, Response.SUCCESS, body=msgspec.json.encode(body))


def _answer(connection: Any, opaque: int, name: bytes, value: int) -> None:
    connection.respond(opaque, Response.SUCCESS, fields=((name, value),))


def _answerer(connection: Any, opaque: int, name: bytes) -> Callable[[Any], None]:
    """Who takes what was read, or what went wrong."""

    def answer(found: Any) -> None:
        if isinstance(found, Exception):
            connection.respond(opaque, Response.SYSTEM_ERROR, f"the queue cannot be read: {found}")
        else:
            _answer(connection, opaque, name, found)

    return answer


def _verb(method: Callable[[QueueVerbs, Any, Any], None]) -> Callable[[Any, Any], None]:
    return lambda connection, frame: method(connection.remoting.queues, connection, frame)


VERBS = {
    Request.GET_MAX_OFFSET: _verb(QueueVerbs.max_offset),
    Request.GET_MIN_OFFSET: _verb(QueueVerbs.min_offset),
    Request.SEARCH_OFFSET_BY_TIMESTAMP: _verb(QueueVerbs.search),
    Request.GET_EARLIEST_MSG_STORETIME: _verb(QueueVerbs.earliest),
    Request.QUERY_CONSUME_QUEUE: _verb(QueueVerbs.units),
}
