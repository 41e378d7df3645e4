"""Pops: messages of a topic that are handed to one member of a group, and hidden from the others for a while.

A pop looks into one queue, or into all of them beginning at any, and into the group's retry topic: first in one pop of
five, else when there is room left. What it finds nothing for waits (pop_waiting.py). Checks, their order, codes and
remarks are those of RocketMQ's PopMessageProcessor and PeekMessageProcessor.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from core.errors import BrokerError
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.pop_checks import ALL_QUEUES, PopChecks, Wanted
from protocols.remoting.pop_receipts import (
    IN_ORDER,
    REVIVE_QUEUE,
    normal_topic,
    offset_of,
    offsets_text,
    property_text,
    retry_topic,
    times_text,
)
from protocols.remoting.pop_waiting import FULL, PARKED, PopWaiting, due_at, place
from protocols.remoting.send_header import is_true, number, number_or
from protocols.remoting.stored import renamed

MESSAGES_MAX, BYTES_MAX = 32, 256 << 10
OVERDUE_MS = 500  # so much later than it asked for nobody waits for the answer any more
INVISIBLE_MS_MAX = 1 << 40
RETRY_FIRST_OF = 5  # RocketMQ's popFromRetryProbability is 20 %
MAX_MODE = 1  # of initMode: a group that was never there begins at the end
CODES = {PARKED: 0, FULL: Response.POLLING_FULL}


class Pop:
    """One pop, or peek, on its way: it looks into one queue after the other, waits, and is answered once.

    queues     of those that are still to be looked into
    looked     it passed by messages that are not wanted, or a queue had to be read from the disk: there may be more
    left       where there is more than it took: see place()
    """

    def __init__(self, pops: PopVerbs, connection: Any, frame: Any, *, peek: bool = False):
        self.pops, self.connection, self.opaque, self.peek = pops, connection, frame.opaque, peek
        self.group: bytes = frame.text(b"consumerGroup")
        self.topic_name: bytes = frame.text(b"topic")
        self.queue_id: int = max(ALL_QUEUES, number(frame, b"queueId"))
        self.count: int = number(frame, b"maxMsgNums")
        self.order = not peek and is_true(frame, b"order")
        self.attempt: bytes | None = None if peek else frame.get(b"attemptId")
        self.from_max = not peek and number_or(frame, b"initMode", 0) == MAX_MODE
        self.invisible_ms = 0 if peek else max(0, min(frame.number(b"invisibleTime"), INVISIBLE_MS_MAX))
        poll_ms = 0 if peek else frame.number(b"pollTime")
        self.due_ms = due_at(frame.number_or(b"bornTime", 0), poll_ms, pops.clock.ms)
        self.waits = poll_ms > 0
        self.wanted = Wanted()
        self.left: set[int | None] = set()
        self._begin()

    def _begin(self) -> None:
        self.queues: list[Any] = []
        self.records: list[bytes] = []
        self.starts: list[bytes] = []
        self.offsets: list[bytes] = []
        self.times: list[bytes] = []
        self.size = self.rest = 0
        self.left.clear()
        self.looked = False
        self.error: Exception | None = None

    def go(self) -> None:
        """Look into all queues that it may look into. Called when it came, and when there is more."""
        if self.connection.finished:
            self.pops.wake(self)
            return
        self._begin()
        self.pop_ms = self.pops.clock.ms
        self.queues = self.pops.targets(self)
        self._next()

    def _next(self) -> None:
        while self.queues:
            queue = self.queues.pop()
            try:
                cursor = self.pops.cursor(self, queue)
            except BrokerError as error:
                self.error = error
                continue
            if self._may_read(cursor):
                cursor.reading = not self.peek  # who hands nothing out is in nobody's way
                count, size = min(self.count - len(self.records), self.pops.room(cursor)), BYTES_MAX - self.size
                found = queue.read(cursor.next, count, size, self.wanted.codes, partial(self._came, cursor))
                if found is None:
                    return
                self._take(cursor, found)
        self._answer()

    def _may_read(self, cursor: Any) -> bool:
        """Whether there may be something for it. What it does not look at is the rest."""
        left = cursor.queue.max_offset - cursor.next
        if len(self.records) < self.count and self.size < BYTES_MAX and (self.peek or not cursor.reading):
            if self.peek:
                if left > 0:
                    return True
            elif self.order:
                if not self.pops.begin_in_order(cursor, self.attempt):
                    return False  # its backlog is nobody's before an ack comes, which wakes who waits
                left = cursor.queue.max_offset - cursor.next
            else:
                self.pops.begin(cursor)
            if left > 0 and self.pops.room(cursor):
                return True
        self._leave(cursor, left)
        return False

    def _leave(self, cursor: Any, count: int) -> None:
        if count > 0:
            self.rest += count
            self.left.add(place(cursor.queue, self.topic_name))

    def _came(self, cursor: Any, found: Any) -> None:
        """It was read from the disk."""
        self.looked = True
        self._take(cursor, found)
        if not self.peek:
            self.left.add(place(cursor.queue, self.topic_name))  # others passed by while it was read
            if self.connection.finished:
                self.left.update(place(queue, self.topic_name) for queue in self.queues)
            self.pops.wake(self)
        if not self.connection.finished:
            self._next()

    def _take(self, cursor: Any, found: Any) -> None:
        """What a read found: messages, none that are wanted, or an error of the disk."""
        if not self.peek:
            cursor.reading = False
        if isinstance(found, Exception):
            self.error = found
            return
        if self.connection.finished or cursor.queue.deleted or not (self.peek or self.pops.counts(cursor)):
            return
        records, upto, _ = found
        records = [each for each in records if not cursor.is_done(offset_of(each)) and self.wanted.matches(each)]
        if self.peek:  # others were handed some while it was read
            records = [each for each in records if cursor.popped_at(offset_of(each)) is None]
        offsets = [offset_of(each) for each in records]
        start = cursor.next
        if self.peek:
            self._leave(cursor, cursor.queue.max_offset - upto)
        else:
            self.pops.hand_out(self, cursor, offsets, upto)
            self.looked = self.looked or (not records and cursor.next < cursor.queue.max_offset)
            self._leave(cursor, cursor.queue.max_offset - cursor.next)
        if records:
            self._add(cursor, start, offsets, records)

    def _add(self, cursor: Any, start: int, offsets: list[int], records: list[bytes]) -> None:
        """Messages of one queue are part of the answer."""
        topic, queue_id = cursor.queue.topic, cursor.queue.queue_id
        if not self.peek:
            self.pops.given(self.group, cursor, records)
        self.starts.append(offsets_text(topic, queue_id, [start]))
        self.offsets.append(offsets_text(topic, queue_id, offsets))
        if self.order:
            self.times.append(times_text(topic, queue_id, offsets, cursor.times(offsets)))
        if topic != self.topic_name and not self.peek:
            pop, broker = (self.pop_ms, self.invisible_ms, REVIVE_QUEUE), self.pops.broker_name
            texts = [property_text(start, pop, (topic, broker, queue_id, offset)) for offset in offsets]
            records = [renamed(*each, self.topic_name) for each in zip(records, texts, strict=True)]
        self.records += records
        self.size += sum(map(len, records))

    def _answer(self) -> None:
        """Messages; else it waits if it may."""
        if self.records:
            self._respond(Response.SUCCESS, "FOUND")
            if self.rest and not self.peek:
                self.pops.wake(self)
        elif self.error is not None:
            remark = f"the message cannot be read: {self.error}"
            self.connection.respond(self.opaque, Response.SYSTEM_ERROR, remark)
        elif self.peek:
            self._respond(Response.PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE")
        elif not self.waits:
            self.time_is_up()
        elif self.looked and self.due_ms > self.pops.clock.ms:
            self.pops.soon(self.go)
        else:
            outcome = self.pops.waiting.park(self)
            if outcome != PARKED:
                self._respond(CODES.get(outcome, Response.POLLING_TIMEOUT), "NO_MESSAGE_IN_QUEUE")

    def time_is_up(self) -> None:
        """There is nothing, and it waits no longer."""
        self._respond(Response.POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE")

    def overdue(self, remark: str) -> None:
        """It came too late."""
        self.pop_ms = self.pops.clock.ms
        self._respond(Response.POLLING_TIMEOUT, remark)

    def _respond(self, code: int, remark: str) -> None:
        fields = [
            (b"popTime", self.pop_ms),
            (b"invisibleTime", self.invisible_ms),
            (b"reviveQid", IN_ORDER if self.order else REVIVE_QUEUE),
            (b"restNum", self.rest),
        ]
        if not self.peek:
            fields += [(b"startOffsetInfo", b";".join(self.starts)), (b"msgOffsetInfo", b";".join(self.offsets))]
        if self.order:
            fields.append((b"orderCountInfo", b";".join(self.times)))
        self.connection.respond(self.opaque, code, remark, fields, self.records)


class PopVerbs:
    """Takes pops and peeks of all native connections."""

    def __init__(self, broker: Any, checks: PopChecks, pulls: Any, young: Any):
        """pulls counts what is given; young(queue): whether all that it ever had is there, the first in memory."""
        self._topics = broker.topics
        self._groups = broker.groups
        self._pops = broker.pops
        self._schedule = broker.schedule
        self._checks = checks
        self._young = young
        self._turns = 0
        self.clock = broker.clock
        self.broker_name = checks.rules.broker.encode()
        self._pulls = pulls
        self.waiting = PopWaiting(broker, checks.rules.parked_max, self.queues)
        broker.topics.changed.append(self.waiting.topic_changed)
        broker.topics.changed.append(self._topic_changed)
        self.room = self._pops.room
        self.counts = self._pops.counts
        self.begin, self.begin_in_order = self._pops.begin, self._pops.begin_in_order

    def take(self, connection: Any, frame: Any) -> None:
        """POP_MESSAGE."""
        pop = Pop(self, connection, frame)
        if self.clock.ms > pop.due_ms + OVERDUE_MS:
            pop.overdue(f"the broker[{self._checks.rules.address}] pop message is timeout too much")
            return
        self._checks.readable("pop message")
        if pop.count > MESSAGES_MAX:
            remark = f"the broker[{self._checks.rules.address}] pop message's num is greater than {MESSAGES_MAX}"
            raise Refused(Response.INVALID_PARAMETER, remark)
        self._checks.topic(pop.topic_name, pop.queue_id, connection)
        self._checks.group(pop.group)
        pop.wanted = self._checks.wanted(frame)
        pop.go()

    def peek(self, connection: Any, frame: Any) -> None:
        """PEEK_MESSAGE: what a pop would bring, and nobody is handed anything."""
        pop = Pop(self, connection, frame, peek=True)
        pop.count = min(pop.count, MESSAGES_MAX)
        self._checks.all(connection, frame)
        pop.go()

    def cursor(self, pop: Any, queue: Any) -> Any:
        """Where the pop's group is in the queue; a new group begins at its first message, or about its last."""
        if pop.peek:
            return self._pops.look(pop.group, queue)

        def first() -> int:
            if not pop.from_max or queue.topic != pop.topic_name or self._young(queue):
                return int(queue.min_offset)
            return max(int(queue.max_offset) - 1, 0)

        return self._pops.open(pop.group, queue, first)

    def targets(self, pop: Pop) -> list[Any]:
        """The queues that the pop looks into, the first one last."""
        topic = self._topics.find(pop.topic_name)
        if topic is None:
            return []
        self._turns += 1
        mine = _rotated(topic, self._turns) if pop.queue_id < 0 else [topic.queues[pop.queue_id]]
        if pop.order:
            return mine
        retries = [each for found in self.retries(pop.topic_name, pop.group) for each in _rotated(found, self._turns)]
        return mine + retries if self._turns % RETRY_FIRST_OF == 0 else retries + mine

    def retries(self, topic: bytes, group: bytes) -> list[Any]:
        """The group's retry topics for that topic which there are: the one that is used, and the one that was."""
        found = (self._topics.find(retry_topic(group, topic, v2)) for v2 in (False, True))
        return [each for each in found if each is not None]

    def retries_of(self, topic: bytes) -> list[bytes]:
        """The names of all groups' retry topics for that topic."""
        groups = self._groups.groups_of(topic)
        return [each.config.name for group in groups for each in self.retries(topic, group.encode())]

    def queues(self, topic: bytes, group: bytes) -> list[Any]:
        """All that a pop of all queues looks into."""
        main = self._topics.find(topic)
        topics = self.retries(topic, group) + ([main] if main is not None else [])
        return [each.queues[number] for each in topics for number in range(each.config.read_queues)]

    def hand_out(self, pop: Pop, cursor: Any, offsets: list[int], upto: int) -> None:
        """The pop gets these."""
        self._pops.hand_out(cursor, offsets, upto, pop.pop_ms, pop.invisible_ms)

    def given(self, group: bytes, cursor: Any, records: list[bytes]) -> None:
        """Count them."""
        self._pulls.messages += len(records)
        self._pulls.found += 1
        topic = self._topics.find(cursor.queue.topic)
        topic.reader(group).give(records, 0, cursor.queue.queue_id, cursor.next)

    def wake(self, pop: Any) -> None:
        """There is more than it took."""
        self.waiting.wake_soon(pop.topic_name, pop.group, pop.left)

    def freed(self, cursor: Any) -> None:
        """A queue that gave nothing may give something now."""
        topic = normal_topic(cursor.queue.topic, cursor.group)
        self.waiting.wake_soon(topic, cursor.group, {place(cursor.queue, topic)})

    def soon(self, callback: Any) -> None:
        """In the next turn of the loop."""
        self._schedule.at(self.clock.ms, callback)

    def _topic_changed(self, name: bytes) -> None:
        if self._topics.find(name) is None:
            self._pops.topic_gone(name)


def _rotated(topic: Any, turn: int) -> list[Any]:
    count = topic.config.read_queues
    return [topic.queues[(turn + number) % count] for number in range(count)]


def _verb(method: Any) -> Any:
    return lambda connection, frame: method(connection.remoting.pops, connection, frame)


VERBS = {Request.POP_MESSAGE: _verb(PopVerbs.take), Request.PEEK_MESSAGE: _verb(PopVerbs.peek)}
