"""Topics by request: made, changed, deleted, shown. Source: RocketMQ's AdminBrokerProcessor.

What was made or deleted is answered when the log has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from core.state.records import TopicConfig
from protocols.remoting import attributes, headers, names, system_topics, topic_bodies
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.fastjson import decode
from protocols.remoting.gathering import Gathering, Step, store_ms
from protocols.remoting.rules import Rules
from protocols.remoting.topic_bodies import DataVersion

FILTER_TYPES = ("SINGLE_TAG", "MULTI_TAG")
QUEUES_MAX = 65_536
SPLIT = 2000  # topics in one answer to who takes them in parts: RocketMQ's splitMetadataSize


class CreateTopic(headers.Header):
    """UPDATE_AND_CREATE_TOPIC."""

    topic: str
    default_topic: str
    read_queue_nums: int
    write_queue_nums: int
    perm: int
    topic_filter_type: str
    topic_sys_flag: int = 0
    order: bool = False
    attributes: str = ""


class TopicName(headers.Header):
    """DELETE_TOPIC_IN_BROKER, GET_TOPIC_CONFIG, GET_TOPIC_STATS_INFO."""

    topic: str


class AllTopics(headers.Header):
    """GET_ALL_TOPIC_CONFIG: who gives any of these takes them in parts."""

    topic_seq: int | None = None
    data_version: str | None = None
    max_topic_num: int | None = None


class TopicVerbs:
    """`forget(topic)` is told of a topic that is deleted: groups drop their offsets in it. retries(topic) = the topics
    in which what groups popped of it comes again: they go with it. rules: see Rules."""

    def __init__(self, broker: Any, rules: Rules):
        self._topics = broker.topics
        self._log = broker.log
        self.rules = rules
        self.forget: Callable[[bytes], None] = lambda topic: None
        self.retries: Callable[[bytes], list[bytes]] = lambda topic: []

    def create(self, connection: Any, frame: Any) -> None:
        """UPDATE_AND_CREATE_TOPIC."""
        asked = headers.read(CreateTopic, frame)
        body = topic_bodies.TopicBody(
            order=asked.order,
            perm=asked.perm,
            read_queue_nums=asked.read_queue_nums,
            topic_filter_type=asked.topic_filter_type,
            topic_name=asked.topic,
            topic_sys_flag=asked.topic_sys_flag,
            write_queue_nums=asked.write_queue_nums,
        )
        try:
            body.attributes = attributes.parse(asked.attributes)
        except attributes.AttributeRefused as error:
            raise Refused(Response.SYSTEM_ERROR, str(error)) from None
        self._put(self._checked(body))
        self._answer_at_commit(connection, frame)

    def create_list(self, connection: Any, frame: Any) -> None:
        """UPDATE_AND_CREATE_TOPIC_LIST: all of them or, when one is refused, none."""
        asked = decode(frame.body(), topic_bodies.TopicListBody).topic_config_list
        for config in [self._checked(body) for body in asked]:
            self._put(config)
        self._answer_at_commit(connection, frame)

    def _checked(self, body: topic_bodies.TopicBody) -> TopicConfig:
        """The topic that it will be. Raises Refused."""
        name = body.topic_name.encode()
        self._check_name(name)
        if body.attributes.get("+message.type") == "MIXED":
            raise Refused(Response.INVALID_PARAMETER, "MIXED message type is not supported.")
        for count in (body.read_queue_nums, body.write_queue_nums):
            if not 0 <= count <= QUEUES_MAX:
                raise Refused(Response.INVALID_PARAMETER, f"a topic has 0 to {QUEUES_MAX} queues, not {count}")
        if body.topic_filter_type not in FILTER_TYPES:
            remark = f"topicFilterType = [{body.topic_filter_type}] value invalid"
            raise Refused(Response.SYSTEM_ERROR, remark)
        there = self._topics.find(name)
        try:
            after = attributes.altered(there.config.attributes if there else None, body.attributes)
        except attributes.AttributeRefused as error:
            raise Refused(Response.SYSTEM_ERROR, str(error)) from None
        return TopicConfig(
            name=name,
            read_queues=body.read_queue_nums,
            write_queues=body.write_queue_nums,
            perm=body.perm,
            filter_type=body.topic_filter_type,
            sys_flag=body.topic_sys_flag,
            order=body.order,
            attributes=after,
        )

    def _check_name(self, name: bytes) -> None:
        refusal = names.topic_refusal(name)
        if not refusal and (names.is_system_topic(name) or name in system_topics.all_names(self.rules)):
            refusal = f"The topic[{name.decode()}] is conflict with system topic."
        if refusal:
            raise Refused(Response.INVALID_PARAMETER, refusal)

    def _put(self, config: TopicConfig) -> None:
        there = self._topics.find(config.name)
        if there is None or there.config != config:
            self._topics.put(config)

    def _answer_at_commit(self, connection: Any, frame: Any) -> None:
        opaque = frame.opaque
        self._log.when_committed(lambda: connection.respond(opaque, Response.SUCCESS))

    def delete(self, connection: Any, frame: Any) -> None:
        """DELETE_TOPIC_IN_BROKER; one that is not there is no error."""
        name = headers.read(TopicName, frame).topic.encode()
        if not name.strip():
            raise Refused(Response.INVALID_PARAMETER, "The specified topic is blank.")
        if self._topics.find(name) is not None:
            self._check_name(name)
            for each in (*self.retries(name), name):
                self._topics.delete(each)
                self.forget(each)
        self._answer_at_commit(connection, frame)

    def show(self, connection: Any, frame: Any) -> None:
        """GET_TOPIC_CONFIG."""
        name = headers.read(TopicName, frame).topic
        topic = self._topics.find(name.encode())
        if topic is None:
            raise Refused(Response.TOPIC_NOT_EXIST, f"No topic in this broker. topic: {name}")
        connection.respond(frame.opaque, 0, body=msgspec.json.encode(topic_bodies.topic_body(topic.config)))

    def show_all(self, connection: Any, frame: Any) -> None:
        """GET_ALL_TOPIC_CONFIG."""
        asked = headers.read(AllTopics, frame)
        topics = self._topics.all()
        total = len(topics)
        if (asked.topic_seq, asked.data_version, asked.max_topic_num) != (None, None, None):
            first = asked.topic_seq or 0
            if not asked.data_version or decode(asked.data_version.encode(), DataVersion) != self._version():
                first = 0  # the table is not the one that the earlier parts came from
            most = SPLIT if asked.max_topic_num is None else min(SPLIT, asked.max_topic_num)
            topics = topics[first : first + most]
        body = topic_bodies.all_topics([topic.config for topic in topics], self._version())
        connection.respond(frame.opaque, 0, fields=((b"totalTopicNum", total),), body=body)

    def _version(self) -> DataVersion:
        version = self._topics.version
        return DataVersion(counter=version.counter, state_version=0, timestamp=version.ms)

    def show_system(self, connection: Any, frame: Any) -> None:
        """GET_SYSTEM_TOPIC_LIST_FROM_BROKER."""
        body = topic_bodies.topic_list(sorted(system_topics.all_names(self.rules)))
        connection.respond(frame.opaque, 0, body=body)

    def show_stats(self, connection: Any, frame: Any) -> None:
        """GET_TOPIC_STATS_INFO: each queue's bounds, and when its last message was stored."""
        name = headers.read(TopicName, frame).topic.encode()
        topic = self._topics.find(name)
        if topic is None:
            raise Refused(Response.TOPIC_NOT_EXIST, f"topic[{name.decode()}] not exist")
        rows: list[bytes] = []
        put_tps = connection.remoting.statistics.put_tps(topic)

        def steps() -> Iterator[Step]:
            for queue_id in range(max(topic.config.read_queues, topic.config.write_queues)):
                queue = topic.queues[queue_id]
                key = topic_bodies.queue_key(self.rules.broker, name, queue_id)
                add = partial(_add_bounds, rows, key, queue.min_offset, queue.max_offset)
                yield store_ms(queue, queue.max_offset - 1, add)

        ended = partial(_answer_stats, connection, frame.opaque, rows, put_tps)
        Gathering(connection.broker, steps(), ended).start()


def _add_bounds(rows: list[bytes], key: bytes, least: int, most: int, last_ms: int) -> None:
    rows.append(topic_bodies.bounds(key, least, most, last_ms))


def _answer_stats(connection: Any, opaque: int, rows: list[bytes], put_tps: float) -> None:
    connection.respond(opaque, 0, body=topic_bodies.topic_stats(rows, put_tps))


def _verb(method: Callable[[TopicVerbs, Any, Any], None]) -> Callable[[Any, Any], None]:
    return lambda connection, frame: method(connection.remoting.topics, connection, frame)


VERBS = {
    Request.UPDATE_AND_CREATE_TOPIC: _verb(TopicVerbs.create),
    Request.UPDATE_AND_CREATE_TOPIC_LIST: _verb(TopicVerbs.create_list),
    Request.DELETE_TOPIC_IN_BROKER: _verb(TopicVerbs.delete),
    Request.GET_TOPIC_CONFIG: _verb(TopicVerbs.show),
    Request.GET_ALL_TOPIC_CONFIG: _verb(TopicVerbs.show_all),
    Request.GET_SYSTEM_TOPIC_LIST_FROM_BROKER: _verb(TopicVerbs.show_system),
    Request.GET_TOPIC_STATS_INFO: _verb(TopicVerbs.show_stats),
}
