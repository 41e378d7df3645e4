"""Timed messages go to the topic that they were sent to when they are due; until then their sender may recall them.

Source: RocketMQ's TimerMessageStore.convert, RecallMessageProcessor.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from protocols.remoting import properties, recall
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.holding import becoming
from protocols.remoting.making import Making
from protocols.remoting.rules import WRITE
from protocols.remoting.stored import record_properties, stored_message

ROOM = 100  # for what is added to properties


class Timers:
    """start() it once. `delivered` messages since then, `dropped` whose topic is not there any more, `recalled`."""

    def __init__(self, broker: Any, making: Making):
        self._broker = broker
        self._timers = broker.timers
        self._making = making
        self.delivered = self.dropped = self.recalled = 0

    def start(self) -> None:
        """Deliver what is due, and from now on what will be."""
        self._timers.start(self._deliver)

    def _deliver(self, offset: int, record: bytes) -> None:
        was = stored_message(record)
        said = properties.as_dict(was.properties)
        found = becoming(was, said, self._making)
        if found is None:
            self.dropped += 1
            topic = said.get(b"REAL_TOPIC", b"").decode("utf-8", "replace")
            self._broker.report("timed message dropped: its topic is not there any more", topic=topic)
            self._timers.settle(offset)
            return
        message = found[1]
        text = properties.without(was.properties, b"REAL_TOPIC", b"REAL_QID")
        if len(text) + ROOM < properties.TEXT_BYTES_MAX:
            text += properties.entry(b"TIMER_ENQUEUE_MS", b"%d" % was.store_ms)
            text += properties.entry(b"TIMER_DEQUEUE_MS", b"%d" % self._broker.clock.ms)
        message.properties = text
        self._timers.settle(offset, [found])
        self.delivered += 1

    def recall(self, connection: Any, frame: Any) -> None:
        """RECALL_MESSAGE."""
        rules = self._making.rules
        topic, text = frame.text(b"topic"), frame.text(b"recallHandle")
        if not rules.recalls:
            raise Refused(Response.NO_PERMISSION, "recall failed, operation is forbidden")
        if not rules.permission & WRITE:
            raise Refused(Response.SERVICE_NOT_AVAILABLE, "recall failed, broker service not available")
        if self._making.find(topic) is None:
            remark = f"recall failed, the topic[{topic.decode()}] not exist"
            raise Refused(Response.TOPIC_NOT_EXIST, remark)
        handle = recall.decode(text)
        if handle is None:
            raise Refused(Response.ILLEGAL_OPERATION, "recall handle is invalid")
        if handle.topic != topic:
            raise Refused(Response.ILLEGAL_OPERATION, "recall failed, topic not match")
        if handle.broker != rules.broker.encode():
            raise Refused(Response.ILLEGAL_OPERATION, "recall failed, broker service not available")
        left = handle.due_ms - self._broker.clock.ms
        if not 0 < left < 1000 * rules.timer_max_delay_seconds:
            raise Refused(Response.ILLEGAL_OPERATION, "recall failed, timestamp invalid")
        wanted = handle.topic.decode("utf-8", "replace"), handle.unique_id.decode("utf-8", "replace")
        found = partial(self._found, connection, frame.opaque, handle.unique_id)
        self._timers.find(handle.due_ms, recall.mark_of(handle.unique_id), partial(_is, wanted), found)

    def _found(self, connection: Any, opaque: int, unique_id: bytes, offset: int | Exception | None) -> None:
        """What it is called, if it still waits."""
        if not isinstance(offset, int):
            remark = "recall failed, the message was delivered or recalled already"
            code = Response.ILLEGAL_OPERATION
            if offset is not None:
                code, remark = Response.SYSTEM_ERROR, f"recall failed, execute error: {offset}"
            connection.respond(opaque, code, remark)
            return
        self._timers.settle(offset)
        self.recalled += 1
        fields = [(b"MSG_REGION", self._making.rules.region.encode()), (b"msgId", unique_id)]
        self._broker.log.when_committed(partial(connection.respond, opaque, Response.SUCCESS, None, fields))


def _is(wanted: tuple[str, str], record: bytes) -> bool:
    """Whether that is the message of that topic and UNIQ_KEY."""
    said = record_properties(record)
    return (said.get("REAL_TOPIC"), said.get("UNIQ_KEY")) == wanted


def recall_message(connection: Any, frame: Any) -> None:
    """RECALL_MESSAGE."""
    connection.remoting.timers.recall(connection, frame)


VERBS = {Request.RECALL_MESSAGE: recall_message}
