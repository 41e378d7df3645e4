"""Popping: the cursors of all groups that pop, and the records that say what they have done.

Deliveries are in memory only: after a restart what was not acked is there again. What is done is stated once a turn,
and who waits for it (when_safe) hears of it when it is committed; what nobody waits for, as messages that a group's
filter passed by, is gathered for GATHER_MS.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from core.errors import LimitReached
from core.queue.pop_cursor import PopCursor
from core.state.records import QueueDone
from core.turn import Servable

GATHER_MS = 20
CURSORS_MAX = 200_000
SWEEP_MIN = 1024  # cursors; those that hold nothing are let go of when there are twice as many as after the last time
IN_FLIGHT_MAX = 1_000_000  # of all queues together: about 250 bytes each
DUE_AT_ONCE = 32
FAILED_MS = 10_000  # until what could not be told as due is told again
RANGES_BYTES = 64  # of the log's segment there are at least so many for each message in flight: a fact is one record

Key = tuple[bytes, bytes, int]  # group, topic, queue id


class Ports(NamedTuple):
    """groups = core.groups.Groups; at(ms, callback), cancel(entry) = timers; in_flight_max = of one queue and group."""

    groups: Any
    clock: Any
    at: Callable[[int, Callable[[], None]], Any]
    cancel: Callable[[Any], None]
    activate: Callable[[Servable], None]
    when_committed: Callable[[Callable[[], None]], None]
    in_flight_max: int


class Pops(Servable):
    """open() a cursor, hand_out(), settle(), hide(). in_flight = messages, of all.

    Since start, of those whose time was over: retried, dead = became dead letters, gone = went with their segment.

    expired(cursor, offsets)   is told whose time is over: it moves them (move())
    freed(cursor)              is told that a pop may find something now that found nothing before
    all_freed()                is told that one of any group may: no more could be in flight, of all queues together
    """

    def __init__(self, ports: Ports):
        super().__init__()
        self._ports = ports
        self._groups = ports.groups
        self._clock = ports.clock
        self._cursors: dict[Key, PopCursor] = {}
        self._changed: dict[PopCursor, None] = {}
        self._answers: list[Callable[[], None]] = []
        self._gathering = False
        self._sweep_at = SWEEP_MIN
        self._life_ms = ports.clock.ms
        self.in_flight = self.retried = self.dead = self.gone = 0
        self.expired: Callable[[PopCursor, list[int]], None] = lambda cursor, offsets: None
        self.freed: Callable[[PopCursor], None] = lambda cursor: None
        self.all_freed: Callable[[], None] = lambda: None

    # -- cursors

    def find(self, group: bytes, queue: Any) -> PopCursor | None:
        """The group's cursor in the queue, as far as it ever came anywhere there."""
        key = group, queue.topic, queue.queue_id
        cursor = self._cursors.get(key)
        said = self._groups.offset(*key)
        if cursor is not None:
            if cursor.queue is queue and cursor.said <= said and key not in self._groups.resets:
                if cursor.said < said:
                    self._go_on(cursor, said)
                return cursor
            self._drop(key, cursor)  # somebody said that the group goes back, or the topic was made anew
        return self._open(key, queue, said) if said >= 0 else None

    def look(self, group: bytes, queue: Any) -> PopCursor:
        """The same, for who is handed nothing: that of a group that was never there is at the first message, and is not
        kept."""
        cursor = self.find(group, queue)
        return PopCursor(group, queue, queue.min_offset, [], self._life_ms) if cursor is None else cursor

    def open(self, group: bytes, queue: Any, first: Callable[[], int]) -> PopCursor:
        """The same, for who is to be handed something; a group that was never there begins at first(). Raises
        LimitReached."""
        key = group, queue.topic, queue.queue_id
        if key in self._groups.resets:
            self.find(group, queue)
            self._groups.take_reset(*key)
        cursor = self.find(group, queue)
        if cursor is None:
            offset = first()
            self._groups.settle([QueueDone(group.decode(), queue.topic.decode(), queue.queue_id, offset, [])])
            cursor = self._open((group, queue.topic, queue.queue_id), queue, offset)
        if cursor.floor < queue.min_offset:
            self._count(cursor, lambda: cursor.reach(queue.min_offset))
            self._state_later(cursor)
        elif cursor.next > queue.max_offset and not len(cursor):
            cursor.next = queue.max_offset  # an offset that cannot be: there never was a message
            self._state_later(cursor)
        return cursor

    def _go_on(self, cursor: PopCursor, offset: int) -> None:
        """A member that pulls committed that offset. What is popped beyond it stays as it is: receipts of it count."""
        cursor.said = offset
        self._count(cursor, lambda: cursor.reach(offset))
        self._state_later(cursor)

    def _open(self, key: Key, queue: Any, offset: int) -> PopCursor:
        if len(self._cursors) >= self._sweep_at:
            for idle in [each for each, cursor in self._cursors.items() if _idle(cursor)]:
                self._drop(idle, self._cursors[idle])
            self._sweep_at = max(SWEEP_MIN, 2 * len(self._cursors))
            if len(self._cursors) >= CURSORS_MAX:
                raise LimitReached(f"messages of {CURSORS_MAX} queues are popped and not acked already")
        cursor = PopCursor(key[0], queue, offset, self._groups.done_ahead(*key), self._life_ms)
        self._cursors[key] = cursor
        return cursor

    def _drop(self, key: Key, cursor: PopCursor) -> None:
        del self._cursors[key]
        was_full = self.in_flight >= IN_FLIGHT_MAX
        self.in_flight -= len(cursor)
        if was_full and self.in_flight < IN_FLIGHT_MAX:
            self.all_freed()
        self._changed.pop(cursor, None)
        if cursor.timer is not None:
            self._ports.cancel(cursor.timer[1])
            cursor.timer = None

    def reset(self, group: bytes, queue: Any) -> None:
        """An operator said where the group goes on: its pops that wait find something, perhaps."""
        cursor = self.find(group, queue)
        if cursor is not None:
            self.freed(cursor)

    def topic_gone(self, name: bytes) -> None:
        """Nobody is anywhere in it any more."""
        for key in [key for key in self._cursors if key[1] == name]:
            self._drop(key, self._cursors[key])

    def counts(self, cursor: PopCursor) -> bool:
        """Whether it still says where its group is."""
        return not cursor.queue.deleted and self.find(cursor.group, cursor.queue) is cursor

    # -- handing out

    def room(self, cursor: PopCursor) -> int:
        """How many more messages of it may be in flight."""
        most = min(self._ports.in_flight_max - len(cursor), IN_FLIGHT_MAX - self.in_flight)
        return max(0, most)

    def begin(self, cursor: PopCursor) -> None:
        """An unordered pop, which reads at cursor.next."""
        if cursor.ordered:
            cursor.begin()
            self._arm(cursor)

    def begin_in_order(self, cursor: PopCursor, attempt: bytes | None) -> bool:
        """Whether an ordered pop may go on, which reads at cursor.next then."""
        if not cursor.may_begin_in_order(attempt, self._clock.ms):
            return False
        self._count(cursor, lambda: cursor.begin_in_order(attempt))
        return True

    def hand_out(self, cursor: PopCursor, offsets: list[int], upto: int, pop_ms: int, invisible_ms: int) -> None:
        """See PopCursor.hand_out(). They are hidden for so long from now on."""
        visible_ms = self._clock.ms + invisible_ms
        self._count(cursor, lambda: cursor.hand_out(offsets, upto, pop_ms, visible_ms))
        self._arm(cursor)
        self._state_later(cursor)

    # -- what becomes of it

    def settle(self, cursor: PopCursor, offset: int, pop_ms: int) -> bool:
        """An ack. Who answers it waits, see when_safe(). Whether it says something new."""
        before = len(cursor)
        if not cursor.settle(offset, pop_ms, self._ports.in_flight_max):
            return False
        self._counted(cursor, before)
        self._changed[cursor] = None
        self._ports.activate(self)
        if cursor.ordered:
            self.freed(cursor)
        return True

    def hide(self, cursor: PopCursor, offset: int, pop_ms: int, invisible_ms: int) -> int | None:
        """It stays hidden for so long from now on. Returns when that is, for a new receipt; None: it was not in flight,
        or is somebody else's. In an ordered pop the receipt stays."""
        now: int = self._clock.ms
        again = pop_ms if cursor.ordered else now
        if not cursor.hide(offset, pop_ms, again, now + invisible_ms):
            return None
        self._arm(cursor)
        return now

    def move(self, cursor: PopCursor, offset: int) -> None:
        """It is stored anew elsewhere, by the caller and in the same joined records of the log: state that it is done
        here."""
        self._count(cursor, lambda: cursor.settle_moved(offset))
        self._state([cursor])

    def when_safe(self, answer: Callable[[], None]) -> None:
        """answer() when all that was settled up to now is committed."""
        self._answers.append(answer)
        self._ports.activate(self)

    def _count(self, cursor: PopCursor, change: Callable[[], None]) -> None:
        before = len(cursor)
        change()
        self._counted(cursor, before)

    def _counted(self, cursor: PopCursor, before: int) -> None:
        """So many of it were in flight before. Where there was no room and is some now, who waits for it hears that."""
        was_full = self.in_flight >= IN_FLIGHT_MAX
        self.in_flight += len(cursor) - before
        if was_full and self.in_flight < IN_FLIGHT_MAX:
            self.all_freed()
        elif len(cursor) < self._ports.in_flight_max <= before:
            self.freed(cursor)

    # -- time

    def _arm(self, cursor: PopCursor) -> None:
        """Be called when the first of it is due."""
        ms = cursor.first_due
        if cursor.timer is not None:
            if cursor.timer[0] <= ms or ms < 0:
                return
            self._ports.cancel(cursor.timer[1])
        cursor.timer = None if ms < 0 else (ms, self._ports.at(ms, lambda: self._due(cursor)))

    def _due(self, cursor: PopCursor) -> None:
        cursor.timer = None
        if not self.counts(cursor):
            return
        offsets = cursor.due(self._clock.ms, DUE_AT_ONCE)
        try:
            if offsets:
                self.expired(cursor, offsets)
            else:
                self.freed(cursor)
        except Exception:
            for offset in offsets:
                cursor.tell_again(offset, self._clock.ms + FAILED_MS)
            raise
        finally:
            self._arm(cursor)

    def later(self, cursor: PopCursor, offset: int, ms: int) -> None:
        """It could not be moved: expired() hears of it again in so many ms."""
        cursor.tell_again(offset, self._clock.ms + ms)
        self._arm(cursor)

    # -- records

    def _state_later(self, cursor: PopCursor) -> None:
        if cursor.changed:
            self._changed[cursor] = None
            if not self._gathering:
                self._gathering = True
                self._ports.at(self._clock.ms + GATHER_MS, self.flush)

    def _state(self, cursors: list[PopCursor]) -> None:
        rows = []
        for cursor in cursors:
            if cursor.changed:
                names = cursor.group.decode(), cursor.queue.topic.decode()
                rows.append(QueueDone(*names, cursor.queue.queue_id, *cursor.take_fresh()))
        self._groups.settle(rows)

    def flush(self) -> None:
        """State all that is done, and wait for it with whom waits."""
        self._gathering = False
        changed, self._changed = self._changed, {}
        self._state([cursor for cursor in changed if self.counts(cursor)])
        answers, self._answers = self._answers, []
        if answers:
            self._ports.when_committed(partial(_call_all, answers))

    def serve(self, budget: int) -> int:
        """Once in a turn with acks: see core/turn.py."""
        self.flush()
        return 0


def _idle(cursor: PopCursor) -> bool:
    return not len(cursor) and not cursor.changed and not cursor.reading


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


def make_pops(broker: Any) -> Pops:
    """The broker's."""
    most = min(broker.config.rocketmq.pop_inflight_message_threshold, broker.log.segment_bytes // RANGES_BYTES)
    schedule = broker.schedule
    return Pops(
        Ports(
            broker.groups,
            broker.clock,
            schedule.at,
            schedule.cancel,
            broker.turn.activate,
            broker.log.when_committed,
            most,
        )
    )
