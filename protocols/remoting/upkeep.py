"""What an operator has done at once that the broker does by itself: old segments go, and what they held. Source:
RocketMQ's AdminBrokerProcessor (cleanExpiredConsumeQueue, deleteExpiredCommitLog, cleanUnusedTopic, getBrokerHaStatus).
"""

from __future__ import annotations

from typing import Any

import msgspec

from protocols.remoting.codes import Request, Response

NO_SLAVE = {
    "activated": False,
    "lastReadTimestamp": 0,
    "lastWriteTimestamp": 0,
    "masterFlushOffset": 0,
    "maxOffset": 0,
    "transferredByteInSecond": 0,
}


def clean_queues(connection: Any, frame: Any) -> None:
    """CLEAN_EXPIRED_CONSUMEQUEUE: queues begin where the log does."""
    connection.broker.topics.trimmer.look()
    connection.respond(frame.opaque, Response.SUCCESS)


def delete_segments(connection: Any, frame: Any) -> None:
    """DELETE_EXPIRED_COMMITLOG: what is too old goes, whatever the hour."""
    connection.broker.retention.clean()
    connection.respond(frame.opaque, Response.SUCCESS)


def clean_topics(connection: Any, frame: Any) -> None:
    """CLEAN_UNUSED_TOPIC: nothing of a deleted topic is ever left."""
    connection.respond(frame.opaque, Response.SUCCESS)


def show_slaves(connection: Any, frame: Any) -> None:
    """GET_BROKER_HA_STATUS: a master without slaves."""
    body = {
        "haClientRuntimeInfo": NO_SLAVE,
        "haConnectionInfo": [],
        "inSyncSlaveNums": 0,
        "master": True,
        "masterCommitLogMaxOffset": connection.broker.log.committed,
    }
    connection.respond(frame.opaque, Response.SUCCESS, body=msgspec.json.encode(body))


VERBS = {
    Request.CLEAN_EXPIRED_CONSUMEQUEUE: clean_queues,
    Request.DELETE_EXPIRED_COMMITLOG: delete_segments,
    Request.CLEAN_UNUSED_TOPIC: clean_topics,
    Request.GET_BROKER_HA_STATUS: show_slaves,
}
