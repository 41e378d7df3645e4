"""Which queues a member of a group reads, when it leaves that to the broker, and whether it pulls or pops them.

Every member gets its share by the same sorted lists; members that pop share each queue, or with some neighbours. The
broker knows the strategies AVG and AVG_BY_CIRCLE; of another nothing is assigned, and the member keeps what it has.
Source: RocketMQ's QueryAssignmentProcessor, AllocateMessageQueueAveragely, AllocateMessageQueueAveragelyByCircle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from protocols.remoting import names
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.fastjson import decode
from protocols.remoting.groups import Int, answer_when_committed
from protocols.remoting.making import used_group
from protocols.remoting.rules import READ

PULL, POP = "PULL", "POP"
BROADCASTING = "BROADCASTING"
ALL_QUEUES = -1
Queue = tuple[str, int]  # broker, queue id
Strategy = Callable[[int, int, list[Queue]], list[Queue]]


class Asked(msgspec.Struct, rename="camel"):
    """The body of QUERY_ASSIGNMENT."""

    topic: str
    consumer_group: str
    client_id: str = ""
    strategy_name: str = ""
    message_model: str | None = None


class Mode(msgspec.Struct, rename="camel"):
    """The body of SET_MESSAGE_REQUEST_MODE."""

    topic: str
    consumer_group: str
    mode: Literal["PULL", "POP"] = "PULL"
    pop_share_queue_num: Int = 0


def averagely(index: int, members: int, queues: list[Queue]) -> list[Queue]:
    """Neighbouring queues, as many as others have, the first ones one more."""
    size, more = divmod(len(queues), members)
    if not size:
        return queues[index : index + 1]
    first = index * size + min(index, more)
    return queues[first : first + size + (index < more)]


def by_circle(index: int, members: int, queues: list[Queue]) -> list[Queue]:
    """One after the other in turns."""
    return queues[index::members]


STRATEGIES: Mapping[str, Strategy] = {"AVG": averagely, "AVG_BY_CIRCLE": by_circle}


def popped(index: int, members: int, queues: list[Queue], share: int, strategy: Strategy) -> list[Queue]:
    """The queues that a member pops: its own and those of `share` members behind it; all if that says nothing, or
    nearly all."""
    if share <= 0 or share >= members - 1:
        return [(broker, ALL_QUEUES) for broker, _ in queues]
    if members > len(queues):
        return [queues[index % len(queues)]]
    return [each for more in range(share + 1) for each in strategy((index + more) % members, members, queues)]


class Assignments:
    """routed(topic) = broker -> how many queues of it may be read there, of other brokers too."""

    def __init__(self, broker: Any, broker_name: str, clients: Any):
        self._topics = broker.topics
        self._groups = broker.groups
        self._broker_name = broker_name
        self._clients = clients
        self.routed: Callable[[str], Mapping[str, int]] = lambda topic: {}

    def query(self, connection: Any, frame: Any) -> None:
        """QUERY_ASSIGNMENT."""
        asked = decode(frame.body(), Asked)
        mode = self._groups.request_mode(asked.consumer_group, asked.topic)
        said = PULL if mode is None else mode.mode
        found = self._share(asked, said, 0 if mode is None else mode.share)
        body: dict[str, Any] = {}
        if found is not None:
            body["messageQueueAssignments"] = [
                {"messageQueue": {"brokerName": name, "queueId": number, "topic": asked.topic}, "mode": said}
                for name, number in dict.fromkeys(found)
            ]
        connection.respond(frame.opaque, Response.SUCCESS, None, (), msgspec.json.encode(body))

    def _share(self, asked: Asked, mode: str, share: int) -> list[Queue] | None:
        """None: it is not known, and the member goes on with what it has."""
        queues = self._queues(asked.topic)
        if not queues or asked.message_model == BROADCASTING:
            return queues or None
        group = self._clients.consumers(asked.consumer_group.encode())
        strategy = STRATEGIES.get(asked.strategy_name)
        if group is None or strategy is None:
            return None
        members = sorted(group.client_ids())
        if mode == POP and (share <= 0 or share >= len(members) - 1):
            return popped(0, len(members), queues, share, strategy)  # also of one whose heartbeat is still to come
        if asked.client_id not in members:
            return []
        index = members.index(asked.client_id)
        if mode == POP:
            return popped(index, len(members), queues, share, strategy)
        return strategy(index, len(members), queues)

    def _queues(self, topic: str) -> list[Queue]:
        """Of all brokers that have the topic."""
        counts = dict(self.routed(topic))
        own = self._topics.find(topic.encode())
        if own is not None and own.config.perm & READ:
            counts[self._broker_name] = own.config.read_queues
        return [(name, number) for name in sorted(counts) for number in range(counts[name])]

    def set_mode(self, connection: Any, frame: Any) -> None:
        """SET_MESSAGE_REQUEST_MODE."""
        asked = decode(frame.body(), Mode)
        if asked.topic.encode().startswith(names.RETRY_PREFIX):
            raise Refused(Response.NO_PERMISSION, "retry topic is not allowed to set mode")
        if self._topics.find(asked.topic.encode()) is None:
            raise Refused(Response.TOPIC_NOT_EXIST, f"topic[{asked.topic}] not exist")
        group = asked.consumer_group.encode()
        if used_group(self._groups, group) is None:
            raise Refused(Response.SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group does not exist")
        self._groups.set_request_mode(asked.consumer_group, asked.topic, asked.mode, asked.pop_share_queue_num)
        answer_when_committed(connection, frame.opaque)


def query(connection: Any, frame: Any) -> None:
    """QUERY_ASSIGNMENT."""
    connection.remoting.assignments.query(connection, frame)


def set_mode(connection: Any, frame: Any) -> None:
    """SET_MESSAGE_REQUEST_MODE."""
    connection.remoting.assignments.set_mode(connection, frame)


VERBS = {Request.QUERY_ASSIGNMENT: query, Request.SET_MESSAGE_REQUEST_MODE: set_mode}
