"""What a pop and its like may ask for: the broker, the topic, its queue and the group, checked in RocketMQ's order."""

from __future__ import annotations

from typing import Any

from core.routing import selector
from protocols.remoting import expressions
from protocols.remoting.codes import Response
from protocols.remoting.errors import FAQ, Refused
from protocols.remoting.fields import as_text
from protocols.remoting.rules import READ
from protocols.remoting.send_header import number
from protocols.remoting.stored import record_properties

SQL92 = "SQL92"
ALL_QUEUES = -1
UNREADABLE = "parse the consumer's subscription failed"


class Wanted:
    """What a group wants of a topic. codes: the hashes of tags, None = all; matches() looks at properties."""

    def __init__(self, codes: frozenset[int] | None = None, chooses: selector.Selector | None = None):
        self.codes = codes
        self._chooses = chooses

    def matches(self, record: bytes) -> bool:
        """Whether a message whose tag is wanted is."""
        return self._chooses is None or self._chooses.matches(record_properties(record).get)


class PopChecks:
    """Each check raises Refused."""

    def __init__(self, broker: Any, making: Any):
        self._topics = broker.topics
        self._making = making
        self.rules = making.rules

    def readable(self, what: str = "peeking message") -> None:
        """The broker may be read."""
        if not self.rules.permission & READ:
            raise Refused(Response.NO_PERMISSION, f"the broker[{self.rules.address}] {what} is forbidden")

    def topic(self, name: bytes, queue_id: int, connection: Any) -> Any:
        """The topic is there, may be read, and has that queue; -1 = all."""
        topic = self.known(name)
        if not topic.config.perm & READ:
            raise Refused(Response.NO_PERMISSION, f"the topic[{as_text(name)}] peeking message is forbidden")
        self.queue(topic, queue_id, connection, Response.INVALID_PARAMETER)
        return topic

    def known(self, name: bytes) -> Any:
        """The topic is there."""
        topic = self._topics.find(name)
        if topic is None:
            raise Refused(Response.TOPIC_NOT_EXIST, f"topic[{as_text(name)}] not exist, apply first please! {FAQ}")
        return topic

    def queue(self, topic: Any, queue_id: int, connection: Any, code: int) -> None:
        """It has that queue; below 0 = all."""
        if queue_id >= topic.config.read_queues:
            host, port, _ = connection.peer_address
            named = f"topic:[{as_text(topic.config.name)}] topicConfig.readQueueNums:[{topic.config.read_queues}]"
            raise Refused(code, f"queueId[{queue_id}] is illegal, {named} consumer:[/{host}:{port}]")

    def group(self, name: bytes) -> Any:
        """The group is there, or may be made, and may consume."""
        config = self._making.group(name)
        if config is None:
            remark = f"subscription group [{as_text(name)}] does not exist, {FAQ}"
            raise Refused(Response.SUBSCRIPTION_GROUP_NOT_EXIST, remark)
        if not config.consume_enable:
            raise Refused(Response.NO_PERMISSION, f"subscription group no permission, {as_text(name)}")
        return config

    def all(self, connection: Any, frame: Any) -> tuple[bytes, bytes, int]:
        """All of them. Returns topic, group and queue id, -1 = all."""
        topic, group, queue_id = frame.text(b"topic"), frame.text(b"consumerGroup"), number(frame, b"queueId")
        self.readable()
        self.topic(topic, queue_id, connection)
        self.group(group)
        return topic, group, max(ALL_QUEUES, queue_id)

    def wanted(self, frame: Any) -> Wanted:
        """What the pop's exp and expType choose."""
        text, kind = frame.get(b"exp"), frame.get(b"expType")
        try:
            found = expressions.parse(as_text(text) if text else None, as_text(kind) if text and kind else None)
            if found.kind == expressions.TAG:
                return Wanted(found.codes)
            if found.kind == SQL92 and self.rules.property_filter:
                return Wanted(None, selector.parse(found.text))
        except (expressions.ExpressionError, selector.SelectorError):
            pass
        raise Refused(Response.SUBSCRIPTION_PARSE_FAILED, UNREADABLE)
