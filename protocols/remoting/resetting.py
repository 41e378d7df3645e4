"""A group is sent elsewhere by an operator, or goes on where another group is.

As in RocketMQ 5.5 the broker itself says where the group goes on, and the member that has the queue hears it with its
next pull (PULL_OFFSET_MOVED); one that is waiting hears it at once. With useServerSideResetOffset=false it is the
members who are told (RESET_CONSUMER_CLIENT_OFFSET), and who commit it then. Source: AdminBrokerProcessor.resetOffset
and cloneGroupOffset, Broker2Client.resetOffset.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from protocols.remoting import headers, topic_bodies
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.gathering import Done, Gathering, Step
from protocols.remoting.groups import answer_when_committed
from protocols.remoting.rules import Rules

ALL_QUEUES = -1
CPP = "CPP"  # its clients take a list in place of a map


class Reset(headers.Header):
    """INVOKE_BROKER_TO_RESET_OFFSET: to an offset of one queue, or of one or all queues to a time, -1 = the end."""

    group: str
    topic: str
    timestamp: int
    is_force: bool
    queue_id: int = ALL_QUEUES
    offset: int | None = None


class Clone(headers.Header):
    """CLONE_GROUP_OFFSET. offline: whatever the members of the source subscribe to."""

    src_group: str
    dest_group: str
    topic: str = ""
    offline: bool = False


class Resetting:
    """The verbs. `clients` = the members of all groups."""

    def __init__(self, broker: Any, rules: Rules, pulls: Any, clients: Any):
        self._broker = broker
        self._groups = broker.groups
        self._rules = rules
        self._pulls = pulls
        self._clients = clients

    def reset(self, connection: Any, frame: Any) -> None:
        """INVOKE_BROKER_TO_RESET_OFFSET."""
        asked = headers.read(Reset, frame)
        topic = self._broker.topics.find(asked.topic.encode())
        if topic is None:
            raise Refused(Response.TOPIC_NOT_EXIST, f"Topic {asked.topic} does not exist")
        if self._rules.server_side_reset:
            self._reset_here(connection, frame, asked, topic)
        else:
            self._tell_members(connection, frame, asked, topic)

    def _steps(self, topic: Any, numbers: range, ms: int, found: dict[int, Any]) -> Iterator[Step]:
        """The offset of each of these queues at that time: queue id -> offset, or Exception."""
        for number in numbers:
            queue = topic.queues[number]
            if ms < 0 or queue.max_offset == queue.min_offset:
                found[number] = queue.max_offset
                yield lambda done: done()
            else:
                yield partial(_at, queue, number, ms, found)

    # -- the broker resets

    def _reset_here(self, connection: Any, frame: Any, asked: Reset, topic: Any) -> None:
        group = asked.group.encode()
        if self._groups.config(group) is None:
            raise Refused(Response.SUBSCRIPTION_GROUP_NOT_EXIST, f"Group {asked.group} does not exist")
        found: dict[int, Any] = {}
        numbers = range(topic.config.read_queues)
        if asked.queue_id >= 0:
            if asked.queue_id >= len(topic.queues):
                raise Refused(Response.INVALID_PARAMETER, f"Topic {asked.topic} has no queue {asked.queue_id}")
            numbers = range(asked.queue_id, asked.queue_id + 1)
            if asked.offset is not None and asked.offset != -1:
                found[asked.queue_id] = _within(topic.queues[asked.queue_id], asked.offset)
                numbers = range(0)
        elif not numbers:
            raise Refused(Response.SYSTEM_ERROR, "No queues to reset.")
        ended = partial(self._put, connection, frame.opaque, group, topic, found)
        Gathering(self._broker, self._steps(topic, numbers, asked.timestamp, found), ended).start()

    def _put(self, connection: Any, opaque: int, group: bytes, topic: Any, found: dict[int, Any]) -> None:
        failed = next((each for each in found.values() if isinstance(each, Exception)), None)
        if failed is not None:
            connection.respond(opaque, Response.SYSTEM_ERROR, f"the queue cannot be read: {failed}")
            return
        name = topic.config.name
        for number, offset in found.items():
            self._groups.reset(group, name, number, offset)
            self._pulls.reset(group, topic, number)
            self._broker.pops.reset(group, topic.queues[number])
        self._groups.flush()
        body = self._body(name, found)
        self._broker.turn.schedule()
        self._broker.log.when_committed(lambda: connection.respond(opaque, Response.SUCCESS, body=body))

    def _body(self, name: bytes, offsets: dict[int, int]) -> bytes:
        """ResetOffsetBody."""
        keys = {number: topic_bodies.queue_key(self._rules.broker, name, number) for number in offsets}
        return b'{"offsetTable":{%b}}' % b",".join(b"%b:%d" % (keys[number], offsets[number]) for number in offsets)

    # -- its members do

    def _tell_members(self, connection: Any, frame: Any, asked: Reset, topic: Any) -> None:
        group, name = asked.group.encode(), topic.config.name
        count = topic.config.write_queues
        mine = {number: self._groups.offset(group, name, number) for number in range(count)}
        if any(offset < 0 for offset in mine.values()):
            raise Refused(Response.SYSTEM_ERROR, f"THe consumer group <{asked.group}> not exist")
        found: dict[int, Any] = {}
        respond = partial(connection.respond, frame.opaque)
        told = partial(self._tell, respond, asked, mine, found, is_cpp=frame.language == CPP)
        Gathering(self._broker, self._steps(topic, range(count), asked.timestamp, found), told).start()

    def _tell(self, respond: Any, asked: Reset, mine: dict[int, int], found: dict[int, Any], *, is_cpp: bool) -> None:
        """Each goes on where the time says; without force, only where that is back."""
        failed = next((each for each in found.values() if isinstance(each, Exception)), None)
        if failed is not None:
            respond(Response.SYSTEM_ERROR, f"the queue cannot be read: {failed}")
            return
        offsets = {number: at if asked.is_force else min(at, mine[number]) for number, at in found.items()}
        members = self._clients.consumers(asked.group.encode())
        if members is None:
            where = f"Group: {asked.group} Topic: {asked.topic} Timestamp: {asked.timestamp}"
            remark = f"Consumer not online, so can not reset offset, {where}"
            respond(Response.CONSUMER_NOT_ONLINE, remark)
            return
        body = self._body(asked.topic.encode(), offsets)
        fields = [(b"topic", asked.topic.encode()), (b"group", asked.group.encode()), (b"timestamp", asked.timestamp)]
        for member in list(members.members):
            told = self._list(asked.topic, offsets) if is_cpp else body
            member.one_way(Request.RESET_CONSUMER_CLIENT_OFFSET, fields, told)
        respond(Response.SUCCESS, body=body)

    def _list(self, topic: str, offsets: dict[int, int]) -> bytes:
        """ResetOffsetBodyForC."""
        place = {"topic": topic, "brokerName": self._rules.broker}
        rows = [place | {"queueId": number, "offset": offset} for number, offset in offsets.items()]
        return msgspec.json.encode({"offsetTable": rows})

    # -- and where another group is

    def clone(self, connection: Any, frame: Any) -> None:
        """CLONE_GROUP_OFFSET."""
        asked = headers.read(Clone, frame)
        source, target = asked.src_group.encode(), asked.dest_group.encode()
        if self._groups.config(target) is None:
            raise Refused(Response.SUBSCRIPTION_GROUP_NOT_EXIST, f"Group {asked.dest_group} does not exist")
        members = None if asked.offline else self._clients.consumers(source)
        for name in [asked.topic] if asked.topic.strip() else self._groups.offsets_of(source):
            if members is None or not members.subscriptions or name.encode() in members.subscriptions:
                self._groups.clone(source, target, name.encode())
        self._groups.flush()
        answer_when_committed(connection, frame.opaque)


def _at(queue: Any, number: int, ms: int, found: dict[int, Any], done: Done) -> None:
    def take(offset: Any) -> None:
        found[number] = offset
        done()

    queue.offset_at(ms, False, take)


def _within(queue: Any, offset: int) -> int:
    """Raises Refused."""
    least, most = queue.min_offset, queue.max_offset
    if not least <= offset <= most + 1:
        remark = f"Target offset {offset} not in consume queue range [{least}-{most}]"
        raise Refused(Response.SYSTEM_ERROR, remark)
    return offset


def reset(connection: Any, frame: Any) -> None:
    """INVOKE_BROKER_TO_RESET_OFFSET."""
    connection.remoting.resetting.reset(connection, frame)


def clone(connection: Any, frame: Any) -> None:
    """CLONE_GROUP_OFFSET."""
    connection.remoting.resetting.clone(connection, frame)


VERBS = {Request.INVOKE_BROKER_TO_RESET_OFFSET: reset, Request.CLONE_GROUP_OFFSET: clone}
