"""The plain data of the broker's state: facts, and what is built from them to live in.

`Facts` is what the records say. It knows no queue object and no router, so replay can fill it in any order. `Model` is
the living side: one VirtualHost per fact with its router and queues. Durable and transient things share the same
dictionaries; only durable ones have been stated in the log.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from core.queue import ranges
from core.state.records import (
    EXCHANGE,
    QUEUE,
    BindingFact,
    DoneAhead,
    ExchangeFact,
    Fact,
    GroupFact,
    GroupsFact,
    IdsFact,
    KeyPage,
    OffsetsFact,
    QueueDone,
    QueueFact,
    RequestMode,
    TopicFact,
    TopicsVersion,
    VhostFact,
)

FactKey = tuple[Any, ...]
ENDED = (BindingFact, KeyPage, OffsetsFact, DoneAhead)  # facts that are found by what they belong to
IDS_KEY: FactKey = ("ids",)
GROUPS_KEY: FactKey = ("groups",)
GROUP, TOPIC, AHEAD = "group", "topic", "done_ahead"
TOPICS_VERSION_KEY: FactKey = ("topics_version",)
LOCAL_IDS = 1 << 62  # from there on: of queues that the log knows by their topic, and the store by such an id


def fact_key(fact: Fact) -> FactKey:
    """What identifies a fact: a second one of the same key replaces the first."""
    if isinstance(fact, QueueFact):
        return "queue", fact.id
    if isinstance(fact, ExchangeFact):
        return "exchange", fact.vhost, fact.name
    if isinstance(fact, BindingFact):
        return "binding", fact.vhost, fact.source, fact.kind, fact.destination, fact.key, fact.arguments
    if isinstance(fact, VhostFact):
        return "vhost", fact.name
    if isinstance(fact, KeyPage):
        return "keys", fact.vhost, fact.exchange, fact.number
    if isinstance(fact, GroupFact):
        return "group", fact.name
    if isinstance(fact, OffsetsFact):
        return "offsets", fact.group, fact.topic
    if isinstance(fact, DoneAhead):
        return ahead_key(fact.group, fact.topic, fact.queue_id)
    if isinstance(fact, RequestMode):
        return "request_mode", fact.group, fact.topic
    if isinstance(fact, TopicFact):
        return topic_key(fact.config.name)
    if isinstance(fact, TopicsVersion):
        return TOPICS_VERSION_KEY
    return GROUPS_KEY if isinstance(fact, GroupsFact) else IDS_KEY


def ahead_key(group: str, topic: str, queue_id: int) -> FactKey:
    """The key of what a group has done beyond its offset."""
    return AHEAD, group, topic, queue_id


def topic_key(name: bytes) -> FactKey:
    """The key of a topic's fact."""
    return "topic", name


class Facts:
    """What is true now, by key.

    stated   key -> log offset of its last statement, oldest first; durable facts only
    changed  keys whose fact, or absence, no checkpoint holds yet
    next_id  the id of the next durable queue; transient ones count down from -1
    next_local_id   the id of the next topic queue: it is in no record
    """

    def __init__(self) -> None:
        self.all: dict[FactKey, Fact] = {}
        self.stated: dict[FactKey, int] = {}
        self.changed: set[FactKey] = set()
        self.counts: Counter[type] = Counter()  # facts by kind
        self.next_id = 1
        self.next_transient_id = -1
        self.next_local_id = LOCAL_IDS
        self._ends: dict[tuple[str, str, str], dict[FactKey, None]] = {}  # (vhost, kind, name) -> bindings
        self._members: dict[str, dict[FactKey, None]] = {}  # virtual host -> what it has, bindings aside
        self._names: dict[tuple[str, str, str], FactKey] = {}  # (vhost, kind, name) -> queue or exchange

    def get(self, key: FactKey) -> Any:
        """The fact of that key, or None."""
        return self.all.get(key)

    def put(self, fact: Fact, offset: int) -> None:
        """State a fact, or state it anew; offset -1 = in no record."""
        key = fact_key(fact)
        if isinstance(fact, IdsFact):
            self.next_id = max(self.next_id, fact.next_id)
        elif isinstance(fact, QueueFact):
            self.next_id = max(self.next_id, fact.id + 1)
            self.next_transient_id = min(self.next_transient_id, fact.id - 1)
        if isinstance(fact, ENDED):
            for end in _ends(fact):
                self._ends.setdefault(end, {})[key] = None
        elif isinstance(fact, (ExchangeFact, QueueFact)):
            self._members.setdefault(fact.vhost, {})[key] = None
            self._names[fact.vhost, _kind(fact), fact.name] = key
        if key not in self.all:
            self.counts[type(fact)] += 1
        self.all[key] = fact
        if offset >= 0:
            self.stated.pop(key, None)  # to the young end
            self.stated[key] = offset
            self.changed.add(key)

    def remove(self, key: FactKey) -> Any:
        """Forget a fact and, with a queue or exchange, the bindings from and to it. Returns it, or None."""
        fact = self.all.pop(key, None)
        if fact is None:
            if key[0] == "vhost":
                self._remove_all_of(key[1])
            return None
        self.counts[type(fact)] -= 1
        if self.stated.pop(key, None) is not None:
            self.changed.add(key)
        if isinstance(fact, ENDED):
            for end in _ends(fact):
                self._drop_end(end, key)
        elif isinstance(fact, VhostFact):
            self._remove_all_of(fact.name)
        elif isinstance(fact, (ExchangeFact, QueueFact)):
            self._members.get(fact.vhost, {}).pop(key, None)
            name = fact.vhost, _kind(fact), fact.name
            if self._names.get(name) == key:
                del self._names[name]
            self.remove_bindings(*name)
        return fact

    def remove_bindings(self, vhost: str, kind: str, name: str) -> None:
        """Forget every binding from or to that queue or exchange, and the keys it has seen: its own fact need not be
        known yet."""
        for key in list(self._ends.get((vhost, kind, name), ())):
            self.remove(key)

    def remove_offsets(self, group: str, topic: str) -> None:
        """The group has come nowhere in the topic."""
        self.remove(("offsets", group, topic))
        self.remove_bindings(AHEAD, group, topic)

    def _remove_all_of(self, vhost: str) -> None:
        """Everything in a virtual host, bindings and keys whose ends are not known yet included."""
        for member in list(self._members.pop(vhost, ())):
            self.remove(member)
        for key in [key for key in self.all if key[0] in ("binding", "keys") and key[1] == vhost]:
            self.remove(key)

    def new_local_id(self) -> int:
        """The id of a topic queue."""
        self.next_local_id += 1
        return self.next_local_id - 1

    def find(self, vhost: str, kind: str, name: str) -> Any:
        """The fact of the queue or exchange of that name, or None."""
        key = self._names.get((vhost, kind, name))
        return None if key is None else self.all[key]

    def members(self, vhost: str) -> list[Any]:
        """The exchanges and queues of a virtual host, in the order they came."""
        return [self.all[key] for key in self._members.get(vhost, ())]

    def of(self, kind: type) -> list[Any]:
        """All facts of one kind, in the order they came."""
        return [fact for fact in self.all.values() if type(fact) is kind]

    def bindings(self, vhost: str, kind: str, name: str) -> list[BindingFact]:
        """The bindings from or to a queue or exchange."""
        ends = [self.all[key] for key in self._ends.get((vhost, kind, name), ())]
        return [fact for fact in ends if isinstance(fact, BindingFact)]

    def pages(self, vhost: str, exchange: str) -> list[KeyPage]:
        """What is kept of the keys that an exchange has seen."""
        ends = [self.all[key] for key in self._ends.get((vhost, EXCHANGE, exchange), ())]
        return [fact for fact in ends if isinstance(fact, KeyPage)]

    def offsets(self, kind: str, name: str) -> list[Any]:
        """How far a group has come in each topic (kind GROUP), or each group in a topic (kind TOPIC)."""
        return [self.all[key] for key in self._ends.get(("", kind, name), ())]

    def move_offsets(self, group: str, topic: str, offsets: dict[int, int], offset: int) -> None:
        """Some of the group's offsets in the topic are these now. What the record at that log offset does not say was
        said before it, so it is no statement of the whole, unless it is the first."""
        key = "offsets", group, topic
        known: Any = self.all.get(key)
        if known is None:
            self.put(OffsetsFact(group=group, topic=topic, offsets=dict(offsets)), offset)
        else:
            known.offsets.update(offsets)
            self.changed.add(key)

    def queue_done(self, row: QueueDone, offset: int) -> None:
        """What the record at that log offset says of one queue; as with move_offsets(), of what is done beyond the
        floor it says what is new."""
        group, topic, queue_id, floor, more, anew = row
        self.move_offsets(group, topic, {queue_id: floor}, offset)
        key = ahead_key(group, topic, queue_id)
        known: Any = self.all.get(key)
        done = [] if known is None or anew else known.ranges
        for first, end in ranges.pairs(more):
            ranges.add(done, first, end)
        ranges.cut(done, floor)
        if not done:
            self.remove(key)
        elif known is None:
            self.put(DoneAhead(group=group, topic=topic, queue_id=queue_id, ranges=done), offset)
        else:
            known.ranges = done
            self.changed.add(key)

    def _drop_end(self, end: tuple[str, str, str], key: FactKey) -> None:
        bindings = self._ends[end]
        bindings.pop(key, None)
        if not bindings:
            del self._ends[end]


def _kind(fact: ExchangeFact | QueueFact) -> str:
    return QUEUE if isinstance(fact, QueueFact) else EXCHANGE


def _ends(fact: BindingFact | KeyPage | OffsetsFact | DoneAhead) -> set[tuple[str, str, str]]:
    if isinstance(fact, DoneAhead):
        return {(AHEAD, fact.group, fact.topic)}
    if isinstance(fact, OffsetsFact):
        return {("", GROUP, fact.group), ("", TOPIC, fact.topic)}
    if isinstance(fact, KeyPage):
        return {(fact.vhost, EXCHANGE, fact.exchange)}
    return {(fact.vhost, EXCHANGE, fact.source), (fact.vhost, fact.kind, fact.destination)}


class VirtualHost:
    """One virtual host: its router and its queues by name; delayed: the hidden queue of its delayed messages, or None.
    Who holds one after its removal sees `removed`."""

    def __init__(self, name: str, router: Any):
        self.name = name
        self.name_bytes = name.encode()
        self.router = router
        self.queues: dict[str, Any] = {}
        self.max_connections = self.max_queues = -1  # no limit
        self.delayed: Any = None
        self.removed = False


class Model:
    """facts, the virtual hosts that live by them, every durable queue by id, and every native topic by name. waiting:
    the hidden queues of native messages, by queue type (delayed.py)."""

    def __init__(self) -> None:
        self.facts = Facts()
        self.vhosts: dict[str, VirtualHost] = {}
        self.queues: dict[int, Any] = {}
        self.waiting: dict[str, Any] = {}
        self.topics: dict[bytes, Any] = {}  # core.queue.topic_queue.Topic by name

    def fact_of(self, queue: Any) -> QueueFact:
        """What was declared as this queue."""
        fact: QueueFact = self.facts.all["queue", queue.id]  # type: ignore[assignment]
        return fact
