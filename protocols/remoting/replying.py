"""Replies: whoever asked by a message is given the answer over its own connection, by the broker that took it.

A reply names the client that asked (REPLY_TO_CLIENT). It is pushed to that client, whose word the replier is given, and
stored in the topic of replies as well, for nobody but those who look. Source: RocketMQ's ReplyMessageProcessor.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from core.errors import LimitReached
from core.native import Native, java_hash
from protocols.remoting import properties
from protocols.remoting.codes import Request, Response
from protocols.remoting.making import Making
from protocols.remoting.message_ids import host_bytes, offset_id
from protocols.remoting.send_header import LETTERS, NAMES, SendHeader

PUSH_SECONDS = 10.0  # in which the client that asked has to take it
NO_HOST = bytes(8)
KEPT_FLAGS = 0x701  # of sysFlag: that the body is compressed, and how
NOBODY_NAMED = "reply message properties[REPLY_TO_CLIENT] is null"


class Asked(NamedTuple):
    """A reply that waits for the client that it was pushed to: whom to answer, and what where it is stored."""

    connection: Any
    opaque: int
    to: str
    stored: Native | None
    queue_id: int


class Replying:
    """Takes replies of all native connections of one broker. clients: protocols.remoting.members.Clients."""

    def __init__(self, broker: Any, making: Making, clients: Any):
        self._topics, self._flow = broker.topics, broker.flow
        self._log, self._clock = broker.log, broker.clock
        self._report = broker.report
        self._making, self._clients = making, clients
        self._header = SendHeader()
        self._rotation = 0

    def take(self, connection: Any, frame: Any, names: tuple[bytes, ...]) -> None:
        """SEND_REPLY_MESSAGE, SEND_REPLY_MESSAGE_V2."""
        header = self._header
        header.read(frame, names)
        topic = self._making.topic_for(header, connection)
        queue_id = header.queue_id if header.queue_id >= 0 else self._next_queue(topic)
        body, text = frame.body(), properties.closed(header.properties)
        to = (properties.get(text, b"REPLY_TO_CLIENT") or b"").decode("utf-8", "replace")
        fields = self._fields(frame, names, text, connection)
        stored = self._store(topic, queue_id, text, body, connection) if self._making.rules.store_replies else None
        asked = Asked(connection, frame.opaque, to, stored, queue_id)
        there = self._clients.producer_by_id(to) if to else None
        if there is None:
            remark = f"push reply message fail, channel of <{to}> not found." if to else NOBODY_NAMED
            self._answer(asked, Response.SYSTEM_ERROR, remark)
            return
        done = partial(self._pushed, asked)
        there.send_request(Request.PUSH_REPLY_MESSAGE_TO_CLIENT, done, PUSH_SECONDS, fields, body)

    def _next_queue(self, topic: Any) -> int:
        self._rotation += 1
        return self._rotation % max(topic.config.write_queues, 1)

    def _fields(self, frame: Any, names: tuple[bytes, ...], text: bytes, connection: Any) -> list[tuple[bytes, Any]]:
        """What the client that asked is told beside the body (ReplyMessageRequestHeader)."""
        header, now = self._header, self._clock.ms
        address = connection.peer_address
        return [
            (b"producerGroup", frame.text(names[0])),
            (b"topic", header.topic),
            (b"defaultTopic", header.default_topic),
            (b"defaultTopicQueueNums", header.default_queues),
            (b"queueId", header.queue_id),
            (b"sysFlag", header.sys_flag),
            (b"bornTimestamp", header.born_ms),
            (b"flag", header.flag),
            (b"properties", properties.put(text, b"PUSH_REPLY_TIME", b"%d" % now)),
            (b"reconsumeTimes", header.reconsume_times),
            (b"unitMode", b"true" if header.unit else b"false"),
            (b"bornHost", f"{address[0]}:{address[1]}".encode()),
            (b"storeHost", self._making.rules.place.encode()),
            (b"storeTimestamp", now),
        ]

    def _store(self, topic: Any, queue_id: int, text: bytes, body: bytes, connection: Any) -> Native | None:
        """The reply in its topic. It is delivered all the same where it cannot be stored."""
        header, rules = self._header, self._making.rules
        message = Native(header.topic, queue_id, body, text)
        message.flag, message.sys_flag = header.flag, header.sys_flag & KEPT_FLAGS
        message.born_ms, message.reconsume_times = header.born_ms, header.reconsume_times
        message.born_host, message.store_host = _host(connection), rules.store_host
        message.tags_code = java_hash(properties.get(text, b"TAGS") or b"")
        try:
            if self._flow.blocked:
                raise LimitReached("publishers are held back")
            if not 0 < len(body) <= rules.body_bytes_max:
                raise LimitReached(f"a body has 1 to {rules.body_bytes_max} bytes, not {len(body)}")
            self._topics.append(topic, message)
        except (LimitReached, IndexError) as error:
            self._report("a reply is not stored", topic=header.topic.decode(), because=str(error))
            return None
        return message

    def _pushed(self, asked: Asked, answer: Any) -> None:
        """The client that asked has it; None: it is gone, or did not say so in time."""
        if answer is not None and answer.code == Response.SUCCESS:
            self._answer(asked, Response.SUCCESS, None)
        else:
            self._answer(asked, Response.SYSTEM_ERROR, f"push reply message to {asked.to}fail.")

    def _answer(self, asked: Asked, code: int, remark: str | None) -> None:
        rules, stored = self._making.rules, asked.stored
        fields: list[tuple[bytes, Any]] = [
            (b"MSG_REGION", rules.region.encode()),
            (b"TRACE_ON", b"true" if rules.trace_on else b"false"),
        ]
        if stored is not None:
            place = offset_id(rules.store_host.hex().upper().encode(), stored.offset)
            fields += [(b"msgId", place), (b"queueId", stored.queue_id), (b"queueOffset", stored.queue_offset)]
        elif code == Response.SUCCESS:
            fields += [(b"msgId", b"0"), (b"queueId", asked.queue_id), (b"queueOffset", 0)]
        respond = partial(asked.connection.respond, asked.opaque, code, remark, fields)
        if stored is not None:
            self._log.when_committed(respond)
        else:
            respond()


def _host(connection: Any) -> bytes:
    """The replier's address, as records have it; none for who comes by a Unix socket."""
    try:
        return host_bytes(connection.peer_address[0], connection.peer_address[1])
    except ValueError:
        return NO_HOST


def reply(connection: Any, frame: Any) -> None:
    """SEND_REPLY_MESSAGE."""
    connection.remoting.replying.take(connection, frame, NAMES)


def reply_v2(connection: Any, frame: Any) -> None:
    """SEND_REPLY_MESSAGE_V2: letters in place of names."""
    connection.remoting.replying.take(connection, frame, LETTERS)


VERBS = {Request.SEND_REPLY_MESSAGE: reply, Request.SEND_REPLY_MESSAGE_V2: reply_v2}
