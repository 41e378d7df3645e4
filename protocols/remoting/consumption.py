"""Who consumes what, and how far they are: by count and by time. Source: RocketMQ's AdminBrokerProcessor
(getConsumeStats, fetchAllConsumeStatsInBroker, queryConsumeTimeSpan, queryTopicConsumeByWho, queryTopicsByConsumer).

How far a group is is what it committed. When its last message was stored may have to be read from the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from protocols.remoting import headers, topic_bodies
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.gathering import Gathering, Step, store_ms
from protocols.remoting.rules import Rules
from protocols.remoting.statistics import Statistics


class ConsumeStats(headers.Header):
    """GET_CONSUME_STATS. topic_list: names, separated by semicolons."""

    consumer_group: str
    topic: str = ""
    topic_list: str = ""


class ConsumeStatsInBroker(headers.Header):
    """GET_BROKER_CONSUME_STATS."""

    is_order: bool


class TopicName(headers.Header):
    """QUERY_TOPIC_CONSUME_BY_WHO."""

    topic: str


class GroupName(headers.Header):
    """QUERY_TOPICS_BY_CONSUMER."""

    group: str


class GroupInTopic(headers.Header):
    """QUERY_CONSUME_TIME_SPAN, QUERY_SUBSCRIPTION_BY_CONSUMER."""

    group: str
    topic: str


class Progress:
    """How far one group is in some topics, as ConsumeStats has it: rows of JSON, and sums over them."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.tps = 0.0
        self.behind = self.in_flight = 0

    def add(self, key: bytes, offsets: tuple[int, int, int], last_ms: int) -> None:
        """A queue: the offset of its next message, the group's, and the one behind what the group was given."""
        most, mine, given = offsets
        self.behind += most - mine
        self.in_flight += given - mine
        row = b'%b:{"brokerOffset":%d,"consumerOffset":%d,"lastTimestamp":%d,"pullOffset":%d}'
        self.rows.append(row % (key, most, mine, last_ms, given))

    def body(self) -> bytes:
        """All of it."""
        return b'{"consumeTps":%b,"offsetTable":{%b}}' % (msgspec.json.encode(self.tps), b",".join(self.rows))


class Consumption:
    """The verbs. `clients` = the members of all groups."""

    def __init__(self, broker: Any, rules: Rules, clients: Any, statistics: Statistics):
        self._broker = broker
        self._topics = broker.topics
        self._groups = broker.groups
        self._rules = rules
        self._clients = clients
        self._statistics = statistics

    def _wants(self, group: bytes, topic: bytes) -> bool:
        """Whether the group's members, if it has some, subscribe to that topic."""
        members = self._clients.consumers(group)
        return members is None or not members.subscriptions or topic in members.subscriptions

    def _steps(self, group: bytes, name: bytes, progress: Progress, count: str) -> Iterator[Step]:
        """One step for each of the topic's queues, as many as its `count` says."""
        topic = self._topics.find(name)
        if topic is None:
            return
        progress.tps += self._statistics.get_tps(topic, group)
        reader = topic.readers.get(group)
        for queue_id in range(getattr(topic.config, count)):
            queue = topic.queues[queue_id]
            mine = max(0, self._groups.offset(group, name, queue_id))
            given = max(mine, reader.pulled.get(queue_id, 0) if reader else 0)
            key = topic_bodies.queue_key(self._rules.broker, name, queue_id)
            add = partial(progress.add, key, (queue.max_offset, mine, given))
            if mine:
                yield store_ms(queue, mine - 1, add)
            else:
                add(0)
                yield lambda done: done()

    def stats(self, connection: Any, frame: Any) -> None:
        """GET_CONSUME_STATS."""
        asked = headers.read(ConsumeStats, frame)
        group = asked.consumer_group.encode()
        topics = [name.encode() for name in asked.topic_list.split(";") if name]
        if not topics:
            named = [asked.topic] if asked.topic.strip() else self._groups.offsets_of(group)
            topics = [name.encode() for name in named if self._wants(group, name.encode())]
        progress, opaque = Progress(), frame.opaque
        steps = (step for name in topics for step in self._steps(group, name, progress, "read_queues"))
        Gathering(self._broker, steps, lambda: connection.respond(opaque, 0, body=progress.body())).start()

    def stats_of_all(self, connection: Any, frame: Any) -> None:
        """GET_BROKER_CONSUME_STATS: of every group that is configured."""
        only_ordered = headers.read(ConsumeStatsInBroker, frame).is_order
        found: list[tuple[str, list[Progress]]] = []

        def steps() -> Iterator[Step]:
            for group in [fact.name for fact in self._groups.all()]:
                table: list[Progress] = []
                found.append((group, table))
                for name in self._groups.offsets_of(group.encode()):
                    topic = self._topics.find(name.encode())
                    if topic is None or (only_ordered and not topic.config.order):
                        continue
                    if self._wants(group.encode(), name.encode()):
                        table.append(Progress())
                        yield from self._steps(group.encode(), name.encode(), table[-1], "write_queues")
                yield lambda done: done()  # a group without any costs a step, too

        answer = partial(self._answer_all, connection, frame.opaque, found)
        Gathering(self._broker, steps(), answer).start()

    def _answer_all(self, connection: Any, opaque: int, found: list[tuple[str, list[Progress]]]) -> None:
        every = [progress for _, table in found for progress in table]
        groups = b",".join(
            b"{%b:[%b]}" % (msgspec.json.encode(group), b",".join(each.body() for each in table))
            for group, table in found
        )
        body = b'{"brokerAddr":%b,"consumeStatsList":[%b],"totalDiff":%d,"totalInflightDiff":%d}' % (
            msgspec.json.encode(self._rules.place),
            groups,
            sum(each.behind for each in every),
            sum(each.in_flight for each in every),
        )
        connection.respond(opaque, 0, body=body)

    def time_spans(self, connection: Any, frame: Any) -> None:
        """QUERY_CONSUME_TIME_SPAN: of each queue when its first and last message were stored, when the one that the
        group consumed last, and for how long the next has been waiting."""
        asked = headers.read(GroupInTopic, frame)
        name, group = asked.topic.encode(), asked.group.encode()
        topic = self._topics.find(name)
        if topic is None:
            raise Refused(Response.TOPIC_NOT_EXIST, f"topic[{asked.topic}] not exist")
        rows: list[dict[str, Any]] = []

        def steps() -> Iterator[Step]:
            for queue_id in range(topic.config.write_queues):
                queue, mine = topic.queues[queue_id], self._groups.offset(group, name, queue_id)
                place = {"brokerName": self._rules.broker, "queueId": queue_id, "topic": asked.topic}
                row = {"messageQueue": place, "minTimeStamp": -1, "maxTimeStamp": -1, "consumeTimeStamp": -1}
                rows.append(row | {"delayTime": 0})
                yield from self._span(queue, mine, rows[-1])

        def answer() -> None:
            body = msgspec.json.encode({"consumeTimeSpanSet": rows})
            connection.respond(opaque, 0, body=body)

        opaque = frame.opaque
        Gathering(self._broker, steps(), answer).start()

    def _span(self, queue: Any, mine: int, row: dict[str, Any]) -> Iterator[Step]:
        def put(name: str, ms: int) -> None:
            row[name] = ms or -1

        def first(ms: int) -> None:
            put("minTimeStamp", ms)
            if mine <= 0:
                put("consumeTimeStamp", ms)

        def next_one(ms: int) -> None:
            row["delayTime"] = self._broker.clock.ms - ms if ms else 0

        yield store_ms(queue, queue.min_offset, first)
        yield store_ms(queue, queue.max_offset - 1, partial(put, "maxTimeStamp"))
        if mine > 0:
            yield store_ms(queue, mine - 1, partial(put, "consumeTimeStamp"))
        if mine < queue.max_offset:
            yield store_ms(queue, max(mine, queue.min_offset), next_one)

    def groups_of(self, connection: Any, frame: Any) -> None:
        """QUERY_TOPIC_CONSUME_BY_WHO: who subscribes to it, or has come somewhere in it."""
        name = headers.read(TopicName, frame).topic.encode()
        found = dict.fromkeys(self._groups.groups_of(name))
        members = self._clients.consuming.items()
        found.update((group.decode(), None) for group, each in members if name in each.subscriptions)
        connection.respond(frame.opaque, 0, body=msgspec.json.encode({"groupList": list(found)}))

    def topics_of(self, connection: Any, frame: Any) -> None:
        """QUERY_TOPICS_BY_CONSUMER: where it has come somewhere."""
        group = headers.read(GroupName, frame).group.encode()
        body = {"brokerAddr": self._rules.place, "topicList": list(self._groups.offsets_of(group))}
        connection.respond(frame.opaque, 0, body=msgspec.json.encode(body))

    def subscription(self, connection: Any, frame: Any) -> None:
        """QUERY_SUBSCRIPTION_BY_CONSUMER: what its members want of that topic."""
        asked = headers.read(GroupInTopic, frame)
        members = self._clients.consumers(asked.group.encode())
        wanted = members.subscription(asked.topic.encode()) if members else None
        body: dict[str, Any] = {"group": asked.group, "topic": asked.topic}
        if wanted is not None:
            body["subscriptionData"] = wanted
        connection.respond(frame.opaque, 0, body=msgspec.json.encode(body))


def _verb(name: str) -> Any:
    return lambda connection, frame: getattr(connection.remoting.consumption, name)(connection, frame)


VERBS = {
    Request.GET_CONSUME_STATS: _verb("stats"),
    Request.GET_BROKER_CONSUME_STATS: _verb("stats_of_all"),
    Request.QUERY_CONSUME_TIME_SPAN: _verb("time_spans"),
    Request.QUERY_TOPIC_CONSUME_BY_WHO: _verb("groups_of"),
    Request.QUERY_TOPICS_BY_CONSUMER: _verb("topics_of"),
    Request.QUERY_SUBSCRIPTION_BY_CONSUMER: _verb("subscription"),
}
