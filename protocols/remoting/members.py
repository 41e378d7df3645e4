"""Who is there: the producers and consumers of each group, over which connection, and what a group subscribes to.

A member is there from its first heartbeat until it says goodbye, its connection ends, or it was not heard of for
EXPIRY_SECONDS. Whoever joins or leaves a group of consumers makes the others share its queues anew: they are told,
once for all that happened within NOTIFY_MS. Nothing of this outlives the broker. Source: ConsumerManager and
ProducerManager.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from protocols.remoting.codes import Request
from protocols.remoting.expressions import Expression, parse

EXPIRY_SECONDS = 120.0  # RocketMQ's channelExpiredTimeout
NOTIFY_MS = 10
BROADCASTING = "BROADCASTING"
TAG = "TAG"
# Java's enums, in their order: the C++ client says which by number
CONSUME_TYPES = ("CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP")
MESSAGE_MODELS = (BROADCASTING, "CLUSTERING")
CONSUME_FROM = (
    "CONSUME_FROM_LAST_OFFSET",
    "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
    "CONSUME_FROM_MIN_OFFSET",
    "CONSUME_FROM_MAX_OFFSET",
    "CONSUME_FROM_FIRST_OFFSET",
    "CONSUME_FROM_TIMESTAMP",
)


class Subscription(msgspec.Struct, rename="camel", kw_only=True):
    """RocketMQ's SubscriptionData; its fields go back to tools as they came."""

    topic: str
    sub_string: str | None = None
    sub_version: int = 0
    expression_type: str | None = None
    class_filter_mode: bool = False
    code_set: list[int] | None = None
    tags_set: list[str] | None = None

    @property
    def version(self) -> int:
        """Which is newer: a client's clock, ms."""
        return self.sub_version

    @property
    def expression(self) -> Expression:
        """What it asks for. Raises ExpressionError."""
        return parse(self.sub_string, self.expression_type)


def _named(value: int | str | None, names: tuple[str, ...]) -> str:
    """The name of an enum's value that may be its place, "" where there is none of the kind."""
    if isinstance(value, int):
        return names[value] if 0 <= value < len(names) else ""
    return value or ""


class ConsumerData(msgspec.Struct, rename="camel", kw_only=True):
    """What a client says of a group that it consumes for."""

    group_name: str
    consume_type: int | str | None = None
    message_model: int | str | None = None
    consume_from_where: int | str | None = None
    subscription_data_set: list[Subscription] | None = None
    unit_mode: bool = False


class Member:
    """A client in a group. heard: when its last heartbeat came, monotonic seconds."""

    __slots__ = ("client_id", "language", "version", "heard")

    def __init__(self, client_id: str, language: str, version: int, heard: float):
        self.client_id, self.language, self.version, self.heard = client_id, language, version, heard


class ConsumerGroup:
    """Members by connection, subscriptions by topic. notifies: whether members are told of each other."""

    def __init__(self) -> None:
        self.members: dict[Any, Member] = {}
        self.subscriptions: dict[bytes, Subscription] = {}
        self.consume_type = self.message_model = self.consume_from_where = ""
        self.notifies = True

    @property
    def broadcasting(self) -> bool:
        """Whether every member gets every message."""
        return self.message_model == BROADCASTING

    def subscription(self, topic: bytes) -> Subscription | None:
        """What its members asked for of that topic."""
        return self.subscriptions.get(topic)

    def client_ids(self) -> list[str]:
        """Each once, however many connections it has."""
        return list(dict.fromkeys(member.client_id for member in self.members.values()))

    def take(self, data: ConsumerData) -> bool:
        """Its members want this now; whether a topic came or went. An older subscription changes nothing."""
        self.consume_type = _named(data.consume_type, CONSUME_TYPES)
        self.message_model = _named(data.message_model, MESSAGE_MODELS)
        self.consume_from_where = _named(data.consume_from_where, CONSUME_FROM)
        asked = {each.topic.encode(): each for each in data.subscription_data_set or ()}
        changed = asked.keys() != self.subscriptions.keys()
        for topic, each in asked.items():
            known = self.subscriptions.get(topic)
            if known is None or each.sub_version > known.sub_version:
                self.subscriptions[topic] = each
        for topic in self.subscriptions.keys() - asked.keys():
            del self.subscriptions[topic]
        return changed


class Ports(NamedTuple):
    """now() = monotonic seconds; at(epoch ms, callback) = a timer; ms() = the time that it goes by."""

    now: Callable[[], float]
    at: Callable[[int, Callable[[], None]], Any]
    ms: Callable[[], int]


class Clients:
    """The members of all groups of one broker. Group names and topics are bytes."""

    def __init__(self, ports: Ports):
        self._ports = ports
        self.consuming: dict[bytes, ConsumerGroup] = {}
        self.producing: dict[bytes, dict[Any, Member]] = {}
        self._groups: dict[Any, set[tuple[bool, bytes]]] = {}  # connection -> (whether it consumes, group)
        self._producers: dict[str, Any] = {}  # client id -> the connection over which it was heard of last
        self._untold: set[bytes] = set()
        self._turns: dict[bytes, int] = {}  # producer group -> who was asked last

    # -- joining

    def produce(self, group: bytes, connection: Any, client: Member) -> None:
        """A heartbeat of a producer."""
        self.producing.setdefault(group, {})[connection] = client
        self._groups.setdefault(connection, set()).add((False, group))
        self._producers[client.client_id] = connection

    def consume(
        self, group: bytes, connection: Any, client: Member, data: ConsumerData | None, *, notifies: bool = True
    ) -> bool:
        """A heartbeat of a consumer; data None: it subscribes to what it did before. Whether something changed."""
        found = self.consuming.get(group)
        if found is None:
            found = self.consuming[group] = ConsumerGroup()
        known = found.members.get(connection)
        found.members[connection] = client
        found.notifies = notifies
        self._groups.setdefault(connection, set()).add((True, group))
        joined = known is None or known.client_id != client.client_id
        changed = (data is not None and found.take(data)) or joined
        if changed:
            self._tell(group, found)
        return changed

    # -- leaving

    def leave(self, connection: Any, group: bytes, *, consumes: bool) -> None:
        """It is a member no more; one that was not is no error."""
        groups = self._groups.get(connection)
        if groups is None or (consumes, group) not in groups:
            return
        groups.remove((consumes, group))
        if not groups:
            del self._groups[connection]
        if consumes:
            found = self.consuming[group]
            del found.members[connection]
            if found.members:
                self._tell(group, found)
            else:
                del self.consuming[group]
        else:
            members = self.producing[group]
            client_id = members.pop(connection).client_id
            if self._producers.get(client_id) is connection and all(consumes for consumes, _ in groups):
                del self._producers[client_id]
            if not members:
                del self.producing[group]
                self._turns.pop(group, None)

    def lost(self, connection: Any) -> None:
        """The connection is gone, and leaves all of its groups."""
        for consumes, group in list(self._groups.get(connection, ())):
            self.leave(connection, group, consumes=consumes)

    def expire(self, connection: Any) -> bool:
        """Its memberships that were not heard of for too long end; whether it had some, and has none left."""
        groups = self._groups.get(connection)
        if groups is None:
            return False
        oldest = self._ports.now() - EXPIRY_SECONDS
        for consumes, group in list(groups):
            members = self.consuming[group].members if consumes else self.producing[group]
            if members[connection].heard < oldest:
                self.leave(connection, group, consumes=consumes)
        return connection not in self._groups

    def _tell(self, name: bytes, group: ConsumerGroup) -> None:
        """Members are to share their queues anew; who broadcasts shares none."""
        if group.notifies and not group.broadcasting and name not in self._untold:
            self._untold.add(name)
            self._ports.at(self._ports.ms() + NOTIFY_MS, partial(self._notify, name))

    def _notify(self, name: bytes) -> None:
        self._untold.discard(name)
        found = self.consuming.get(name)
        for connection in found.members if found else ():
            if not connection.congested:  # who does not read finds out by itself, every 20 s
                connection.one_way(Request.NOTIFY_CONSUMER_IDS_CHANGED, [(b"consumerGroup", name)])

    # -- finding

    def consumers(self, group: bytes) -> ConsumerGroup | None:
        """The consumers of that group; None if there are none."""
        return self.consuming.get(group)

    def producers(self, group: bytes) -> dict[Any, Member] | None:
        """Its producers by connection; None if there are none."""
        return self.producing.get(group)

    def consumer(self, group: bytes, client_id: str) -> Any:
        """The connection of that member, or None."""
        found = self.consuming.get(group)
        for connection, member in found.members.items() if found else ():
            if member.client_id == client_id:
                return connection
        return None

    def producer(self, group: bytes) -> Any:
        """The connection of one of the group's producers, each in its turn, or None."""
        members = [each for each in self.producing.get(group, ()) if not each.congested]
        if not members:
            return None
        self._turns[group] = self._turns.get(group, -1) + 1
        return members[self._turns[group] % len(members)]

    def producer_by_id(self, client_id: str) -> Any:
        """The connection over which that client produces, or None."""
        return self._producers.get(client_id)
