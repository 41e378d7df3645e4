"""Consumer groups of the native protocol: what is configured of each, and how far each has come in each topic queue.

Both are facts in the log. An offset counts at once; those that changed within GATHER_MS are one record, as acks are,
and nobody waits for it: a crash may take the last of them, and their messages come once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from core.errors import LimitReached, PreconditionFailed
from core.state.model import GROUPS_KEY, Model, ahead_key
from core.state.records import (
    Change,
    GroupDeleted,
    GroupFact,
    GroupsFact,
    OffsetsDeleted,
    OffsetsDone,
    OffsetsMoved,
    QueueDone,
    RequestMode,
)

GATHER_MS = 20
RECORD_BYTES, OFFSET_BYTES = 16 << 10, 16  # of names and offsets in one record, at most and about
MODES_MAX = 100_000
CONFIG_BYTES_MAX = 16 << 10  # of what a group may bring along beside its settings
OFFSET_MAX = (1 << 63) - 1
NO_OFFSET = -1
RESETS_MAX = 1 << 17  # queues whose readers are to be told that they go on elsewhere
Offsets = dict[tuple[str, str], dict[int, int]]  # (group, topic) -> queue id -> offset


class Ports(NamedTuple):
    """change(record) appends a state record and applies it; at(epoch ms, callback) is a timer; limit = how many groups
    there may be."""

    model: Model
    change: Callable[[Change], None]
    at: Callable[[int, Callable[[], None]], Any]
    clock: Any
    limit: int


class Groups:
    """`auto_create`: a group that is used is made, as RocketMQ's autoCreateSubscriptionGroup. resets: see reset()."""

    def __init__(self, ports: Ports, *, auto_create: bool = True):
        self._ports = ports
        self._facts = ports.model.facts
        self._clock = ports.clock
        self._moved: Offsets = {}  # what is in no record yet
        self._waiting = False
        self.resets: dict[tuple[bytes, bytes, int], int] = {}
        self.auto_create = auto_create

    # -- what is configured

    @property
    def version(self) -> GroupsFact:
        """Of all groups' configuration: it grows with every change, and survives a restart."""
        return self._facts.get(GROUPS_KEY) or GroupsFact()

    def config(self, name: bytes) -> GroupFact | None:
        """The group's configuration, or None."""
        found: GroupFact | None = self._facts.get(("group", name.decode()))
        return found

    def use(self, name: bytes, *, system: bool = False) -> GroupFact | None:
        """The same, but a group that is not there is made if that may be: `system` = whatever auto_create says. None:
        it is not there. Raises LimitReached."""
        fact = self.config(name)
        if fact is None and (self.auto_create or system):
            fact = GroupFact(name=name.decode())
            self.put(fact)
        return fact

    def put(self, fact: GroupFact) -> None:
        """Make the group, or replace its configuration. Raises LimitReached, PreconditionFailed."""
        known = self._facts.get(("group", fact.name))
        if known is None and self._facts.counts[GroupFact] >= self._ports.limit:
            raise LimitReached(f"cannot make group '{fact.name}': limits.groups ({self._ports.limit}) is reached")
        if len(fact.more) + sum(len(name) + len(value) for name, value in fact.attributes.items()) > CONFIG_BYTES_MAX:
            raise PreconditionFailed(f"group '{fact.name}': its configuration exceeds {CONFIG_BYTES_MAX} bytes")
        if known != fact:
            self._ports.change(fact)
            self._count()

    def request_mode(self, group: str, topic: str) -> RequestMode | None:
        """How the group's members get that topic's messages, if somebody said so."""
        found: RequestMode | None = self._facts.get(("request_mode", group, topic))
        return found

    def set_request_mode(self, group: str, topic: str, mode: str, share: int) -> None:
        """Say so. Raises LimitReached."""
        if self.request_mode(group, topic) is None and self._facts.counts[RequestMode] >= MODES_MAX:
            raise LimitReached(f"how groups get a topic's messages is said of {MODES_MAX} pairs already")
        self._ports.change(RequestMode(group=group, topic=topic, mode=mode, share=share))

    def delete(self, name: bytes, *, clean_offsets: bool) -> bool:
        """Forget the group's configuration and, if asked for, how far it has come. Whether it was there."""
        group = name.decode()
        self._forget_resets(0, name)
        if clean_offsets:
            self._delete_offsets(self._offsets_with("group", group))
        if self._facts.get(("group", group)) is None:
            return False
        self._ports.change(GroupDeleted(name=group))
        self._count()
        return True

    def all(self) -> list[GroupFact]:
        """Every group, in the order they came."""
        return self._facts.of(GroupFact)

    def _count(self) -> None:
        self._ports.change(GroupsFact(counter=self.version.counter + 1, ms=self._clock.ms))

    # -- how far each has come

    def offset(self, group: bytes, topic: bytes, queue_id: int) -> int:
        """The offset that the group consumes next, or NO_OFFSET where it never said."""
        names = group.decode(), topic.decode()
        offset = self._moved.get(names, {}).get(queue_id)
        if offset is None:
            fact = self._facts.get(("offsets", *names))
            offset = None if fact is None else fact.offsets.get(queue_id)
        return NO_OFFSET if offset is None else offset

    def commit(self, group: bytes, topic: bytes, queue_id: int, offset: int, *, at_once: bool = False) -> None:
        """The group consumes that offset next, whatever it said before. The caller knows that there is such a queue.
        at_once: it is a record at the end of this call. Raises PreconditionFailed for an offset that cannot be."""
        if not 0 <= offset <= OFFSET_MAX:
            raise PreconditionFailed(f"{offset} is no offset: 0..{OFFSET_MAX}")
        known = self.offset(group, topic, queue_id)
        if known == offset:
            return
        if offset < known and self.done_ahead(group, topic, queue_id):
            self.settle([QueueDone(group.decode(), topic.decode(), queue_id, offset, [], True)])
            return
        names = group.decode(), topic.decode()
        if at_once:
            self._moved.get(names, {}).pop(queue_id, None)
            self._ports.change(OffsetsMoved(offsets=[(*names, {queue_id: offset})]))
            return
        self._moved.setdefault(names, {})[queue_id] = offset
        if not self._waiting:
            self._waiting = True
            self._ports.at(self._clock.ms + GATHER_MS, self.flush)

    def reset(self, group: bytes, topic: bytes, queue_id: int, offset: int) -> None:
        """As commit(), for an operator: the group's members have to be told, and what they commit before that does not
        count. In memory only: after a restart they ask anew. Raises LimitReached, PreconditionFailed."""
        if len(self.resets) >= RESETS_MAX and (group, topic, queue_id) not in self.resets:
            raise LimitReached(f"{RESETS_MAX} queues were reset and nobody has asked for them: reset fewer at once")
        self.commit(group, topic, queue_id, offset)
        if self.done_ahead(group, topic, queue_id):
            self.settle([QueueDone(group.decode(), topic.decode(), queue_id, offset, [], True)])
        self.resets[group, topic, queue_id] = offset

    def take_reset(self, group: bytes, topic: bytes, queue_id: int) -> int:
        """Where it is to go on, if the group has not been told yet; else NO_OFFSET. Now it is."""
        return self.resets.pop((group, topic, queue_id), NO_OFFSET)

    def _forget_resets(self, place: int, name: bytes) -> None:
        for key in [key for key in self.resets if key[place] == name]:
            del self.resets[key]

    def clone(self, source: bytes, target: bytes, topic: bytes) -> None:
        """`target` goes on in the topic where `source` does, and nowhere else."""
        offsets = self._all_offsets(source.decode(), topic.decode())
        if offsets:
            self._delete_offsets([(target.decode(), topic.decode())])
        for queue_id, offset in offsets.items():
            self.commit(target, topic, queue_id, offset)

    def done_ahead(self, group: bytes, topic: bytes, queue_id: int) -> list[int]:
        """What of the queue the group has done beyond its offset, as ranges: it pops. Not the caller's to change."""
        fact = self._facts.get(ahead_key(group.decode(), topic.decode(), queue_id))
        return [] if fact is None else fact.ranges

    def settle(self, rows: list[QueueDone]) -> None:
        """What groups that pop have done: records at once. Whoever waits for them asks the log."""
        for row in rows:
            self._moved.get((row.group, row.topic), {}).pop(row.queue_id, None)  # what was said before counts no more
        for some in _record_sized(rows):
            self._ports.change(OffsetsDone(rows=some))

    def offsets_of(self, group: bytes) -> dict[str, dict[int, int]]:
        """How far the group has come: topic -> queue id -> offset."""
        return {topic: self._all_offsets(name, topic) for name, topic in self._offsets_with("group", group.decode())}

    def groups_of(self, topic: bytes) -> list[str]:
        """The groups that have an offset in the topic."""
        return [group for group, _ in self._offsets_with("topic", topic.decode())]

    def topic_deleted(self, topic: bytes) -> None:
        """Nobody has come anywhere in it any more."""
        self._forget_resets(1, topic)
        self._delete_offsets(self._offsets_with("topic", topic.decode()))

    def flush(self) -> None:
        """What changed becomes records now: at a stop, and when it has been gathered for long enough."""
        self._waiting = False
        moved, self._moved = self._moved, {}
        for some in _portions(moved):
            self._ports.change(OffsetsMoved(offsets=some))

    def _all_offsets(self, group: str, topic: str) -> dict[int, int]:
        fact = self._facts.get(("offsets", group, topic))
        return (fact.offsets if fact else {}) | self._moved.get((group, topic), {})

    def _offsets_with(self, kind: str, name: str) -> list[tuple[str, str]]:
        """(group, topic) of all offsets of that group, or in that topic."""
        place = 0 if kind == "group" else 1
        found = dict.fromkeys((fact.group, fact.topic) for fact in self._facts.offsets(kind, name))
        found.update(dict.fromkeys(names for names in self._moved if names[place] == name))
        return list(found)

    def _delete_offsets(self, names: list[tuple[str, str]]) -> None:
        for each in names:
            self._moved.pop(each, None)
        known = {each: {0: 0} for each in names if self._facts.get(("offsets", *each)) is not None}
        for some in _portions(known):
            self._ports.change(OffsetsDeleted(offsets=[(group, topic) for group, topic, _ in some]))


def make_groups(changes: Any, schedule: Any, clock: Any, config: Any) -> Groups:
    """The broker's. changes: core/state/changes.py's."""
    change = partial(changes.change, durable=True)
    ports = Ports(changes.model, change, schedule.at, clock, config.limits.groups)
    return Groups(ports, auto_create=config.rocketmq.auto_create_subscription_group)


def _record_sized(rows: list[QueueDone]) -> Iterator[list[QueueDone]]:
    """All of it, in lists that each fit a record."""
    most = RECORD_BYTES // OFFSET_BYTES  # numbers in one row
    some: list[QueueDone] = []
    size = 0
    for row in rows:
        for at in range(0, max(1, len(row.ranges)), most):
            part = row._replace(ranges=row.ranges[at : at + most], anew=row.anew and not at)
            part_size = len(row.group) + len(row.topic) + OFFSET_BYTES * (2 + len(part.ranges))
            if some and size + part_size > RECORD_BYTES:
                yield some
                some, size = [], 0
            some.append(part)
            size += part_size
    if some:
        yield some


def _portions(table: Offsets) -> Iterator[list[tuple[str, str, dict[int, int]]]]:
    """All of it, in lists that each fit a record."""
    some: list[tuple[str, str, dict[int, int]]] = []
    size = 0
    for (group, topic), offsets in table.items():
        rows = list(offsets.items())
        for at in range(0, len(rows), RECORD_BYTES // OFFSET_BYTES // 2):
            part = dict(rows[at : at + RECORD_BYTES // OFFSET_BYTES // 2])
            part_size = len(group) + len(topic) + OFFSET_BYTES * len(part)
            if some and size + part_size > RECORD_BYTES:
                yield some
                some, size = [], 0
            some.append((group, topic, part))
            size += part_size
    if some:
        yield some
