"""What a consumer could not consume: stored anew in its group's retry topic after a while, or among its dead letters.

Source: RocketMQ's AbstractSendMessageProcessor.consumerSendMsgBack.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from core.native import Native, java_hash
from core.queries import id_of
from core.state.records import GroupFact
from protocols.remoting import names, properties
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import FAQ, Refused
from protocols.remoting.making import MAX_TIMES_SINCE, UNIT_SUB, Making
from protocols.remoting.message_ids import offset_id
from protocols.remoting.rules import WRITE
from protocols.remoting.send_header import number, number_or
from protocols.remoting.stored import stored_message

FIRST_LEVEL = 3  # of the delays between attempts: 10 seconds


class Asked(NamedTuple):
    """A CONSUMER_SEND_MSG_BACK. most = how often the message may come back; queue_id of the retry topic."""

    connection: Any
    opaque: int
    group: bytes
    offset: int
    level: int
    most: int
    queue_id: int


class SendingBack:
    """Stores messages anew that come back."""

    def __init__(self, broker: Any, making: Making):
        self._topics = broker.topics
        self._queries = broker.queries
        self._log = broker.log
        self._making = making
        self._rotation = 0

    def take(self, connection: Any, frame: Any) -> None:
        """CONSUMER_SEND_MSG_BACK."""
        offset = frame.number(b"offset")
        name = frame.text(b"group")
        level = number(frame, b"delayLevel")
        group = self._making.group(name)
        if group is None:
            remark = f"subscription group not exist, {name.decode('utf-8', 'replace')} {FAQ}"
            raise Refused(Response.SUBSCRIPTION_GROUP_NOT_EXIST, remark)
        rules = self._making.rules
        if not rules.permission & WRITE:
            raise Refused(Response.NO_PERMISSION, f"the broker[{rules.address}] sending message is forbidden")
        if group.retry_queue_nums <= 0:
            connection.respond(frame.opaque, Response.SUCCESS)
            return
        self._check_retry_topic(name, group, frame.is_true(b"unitMode"))
        most = group.retry_max_times
        if frame.version >= MAX_TIMES_SINCE:
            most = number_or(frame, b"maxReconsumeTimes", most)
        self._rotation += 1
        asked = Asked(connection, frame.opaque, name, offset, level, most, self._rotation % group.retry_queue_nums)
        self._queries.by_id(id_of(offset) if offset >= 0 else "", partial(self._found, asked))

    def _check_retry_topic(self, name: bytes, group: GroupFact, unit: bool) -> None:
        retry = names.retry_topic(name)
        topic = self._making.ensure(retry, group.retry_queue_nums, sys_flag=UNIT_SUB if unit else 0)
        if not topic.config.perm & WRITE:
            raise Refused(Response.NO_PERMISSION, f"the topic[{retry.decode()}] sending message is forbidden")

    def _found(self, asked: Asked, found: Any) -> None:
        """What lies at that offset of the log, or nothing, or an exception."""
        record = found[0].message if isinstance(found, list) and found else None
        if not isinstance(record, bytes):
            remark = f"look message by offset failed, {asked.offset}"
            asked.connection.respond(asked.opaque, Response.SYSTEM_ERROR, remark)
            return
        self._store(asked, stored_message(record))
        self._log.when_committed(lambda: asked.connection.respond(asked.opaque, Response.SUCCESS))

    def _store(self, asked: Asked, was: Native) -> None:
        """The message once more, with what tells where it came from."""
        said = properties.as_dict(was.properties)
        came_from = self._topics.find(said.get(b"RETRY_TOPIC", was.topic))
        if came_from is not None:
            came_from.reader(asked.group).sent_back += 1
        text = was.properties
        if b"RETRY_TOPIC" not in said:
            text = properties.put(text, b"RETRY_TOPIC", was.topic)
        if b"ORIGIN_MESSAGE_ID" not in said:
            first = offset_id(was.store_host.hex().upper().encode(), was.offset)
            text = properties.put(text, b"ORIGIN_MESSAGE_ID", first)
        text = properties.put(text, b"WAIT", b"false")
        message = Native(names.retry_topic(asked.group), asked.queue_id, was.body, text)
        message.flag, message.sys_flag, message.born_ms = was.flag, was.sys_flag, was.born_ms
        message.born_host, message.store_host = was.born_host, self._making.rules.store_host
        message.reconsume_times = was.reconsume_times + 1
        message.tags_code = java_hash(said.get(b"TAGS", b""))
        if was.reconsume_times >= asked.most or asked.level < 0:
            message.topic, message.queue_id = names.dead_letter_topic(asked.group), 0
            message.properties = properties.put(text, b"DELAY", b"0")
            topic = self._making.ensure(message.topic, 1)
        else:
            level = asked.level or FIRST_LEVEL + was.reconsume_times
            message.properties = properties.put(text, b"DELAY", b"%d" % level)
            topic = self._making.delayed(message, level)
        self._topics.append(topic, message)


def send_back(connection: Any, frame: Any) -> None:
    """CONSUMER_SEND_MSG_BACK."""
    connection.remoting.sending_back.take(connection, frame)


VERBS = {Request.CONSUMER_SEND_MSG_BACK: send_back}
