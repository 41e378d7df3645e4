"""Verbs about how far a group has come: ask, and say. Source: RocketMQ's ConsumerManageProcessor."""

from __future__ import annotations

from typing import Any

from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.fields import as_text

NOT_FOUND = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"
RESET = "Offset has been previously reset"  # its pull tells the client
NOT_ZERO = "Not found, do not set to zero, maybe this group boot first"


def _query(connection: Any, frame: Any) -> None:
    """A group that never said starts where the queue does while that is young; else its client decides, by what it was
    told to consume from."""
    group, topic, queue_id = frame.text(b"consumerGroup"), frame.text(b"topic"), frame.number(b"queueId")
    offset = connection.broker.groups.offset(group, topic, queue_id)
    if offset < 0:
        if frame.get(b"setZeroIfNotFound") == b"false":
            raise Refused(Response.QUERY_NOT_FOUND, NOT_ZERO)
        if not _is_young(connection.broker, topic, queue_id):
            raise Refused(Response.QUERY_NOT_FOUND, NOT_FOUND)
        offset = 0
    connection.respond(frame.opaque, Response.SUCCESS, None, [(b"offset", offset)])


def _is_young(broker: Any, name: bytes, queue_id: int) -> bool:
    """Whether all that the queue ever had is there, and its first message in memory still."""
    topic = broker.topics.find(name)
    if topic is None or not _has(topic, queue_id):
        return False
    return is_young(topic.queues[queue_id])


def is_young(queue: Any) -> bool:
    """Whether all that it ever had is there, its first message in memory."""
    if queue.min_offset > 0:
        return False
    return bool(queue.max_offset == 0 or queue.read(0, 1, 1, None, _forget) is not None)


def _forget(read: Any) -> None:
    """It came from the disk: too late to count."""


def _has(topic: Any, queue_id: int) -> bool:
    return 0 <= queue_id < max(topic.config.read_queues, topic.config.write_queues)


def _update(connection: Any, frame: Any) -> None:
    group, topic, queue_id = frame.text(b"consumerGroup"), frame.text(b"topic"), frame.number(b"queueId")
    offset = frame.number(b"commitOffset")
    broker = connection.broker
    if broker.groups.config(group) is None:
        raise Refused(Response.SUBSCRIPTION_GROUP_NOT_EXIST, f"Group {as_text(group)} not exist!")
    found = broker.topics.find(topic)
    if found is None:
        raise Refused(Response.TOPIC_NOT_EXIST, f"Topic {as_text(topic)} not exist!")
    if not _has(found, queue_id):
        raise Refused(Response.INVALID_PARAMETER, f"Topic {as_text(topic)} has no queue {queue_id}")
    if (group, topic, queue_id) in broker.groups.resets:
        connection.respond(frame.opaque, Response.SUCCESS, RESET)
        return
    broker.groups.commit(group, topic, queue_id, offset)
    connection.respond(frame.opaque, Response.SUCCESS)


VERBS = {
    Request.QUERY_CONSUMER_OFFSET: _query,
    Request.UPDATE_CONSUMER_OFFSET: _update,
}
