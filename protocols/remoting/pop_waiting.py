"""Pops, and questions whether there is something to pop, that wait until there is: by topic and group.

One of a group's is woken for what comes; it wakes the next if it leaves some. Source: RocketMQ's PopLongPollingService.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from protocols.remoting.pop_checks import ALL_QUEUES

BUCKET_MS = 100  # what is due within it is answered together
POLLING_MAX = 1024  # of one topic, group and queue: RocketMQ's popPollingSize
POLL_MS_MAX = 300_000  # nobody waits for longer, whatever it asks for
SWEEP_MS = 1000  # so often at most those whose clients went are looked for among all
PARKED, FULL, TOO_LATE = range(3)
Key = tuple[bytes, bytes]  # topic, group


def place(queue: Any, topic: bytes) -> int | None:
    """Who looks there: pops of the topic's queue of that number; None = of any, it is in the retry topic."""
    return queue.queue_id if queue.topic == topic else None


def due_at(born_ms: int, poll_ms: int, now_ms: int) -> int:
    """Until when one that was born then waits; 0 = it does not say."""
    return min((born_ms or now_ms) + poll_ms, now_ms + POLL_MS_MAX)


class Waiter(Protocol):
    """queue_id = -1: of all queues. go() looks again, and may park anew; time_is_up() answers whatever there is."""

    connection: Any
    topic_name: bytes
    group: bytes
    queue_id: int
    due_ms: int

    def go(self) -> None:
        """There may be something."""

    def time_is_up(self) -> None:
        """There is nothing, and it waits no longer."""


class PopWaiting:
    """`waiting` wait, at most `most`. queues(topic, group) = those that a pop of all would look into."""

    def __init__(self, broker: Any, most: int, queues: Any):
        self._topics = broker.topics
        self._schedule = broker.schedule
        self._clock = broker.clock
        self._most = most
        self._queues = queues
        self._lines: dict[Key, _Line] = {}
        self._buckets: dict[int, dict[Any, None]] = {}
        self._to_wake: dict[Key, set[int | None]] = {}
        self._all_marked = False
        self._swept_ms = 0
        self.waiting = 0

    def park(self, waiter: Waiter) -> int:
        """PARKED, or why it does not wait."""
        if waiter.due_ms <= self._clock.ms:
            return TOO_LATE
        key = waiter.topic_name, waiter.group
        if self._is_full(*key, waiter.queue_id):
            self._sweep()
            if self._is_full(*key, waiter.queue_id):
                return FULL
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(self, key)
        line.add(waiter)
        number = waiter.due_ms // BUCKET_MS + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
            self._schedule.at(number * BUCKET_MS, partial(self._expire, number))
        bucket[waiter] = None
        self.waiting += 1
        line.watch(self._queues(*key))
        return PARKED

    def _is_full(self, topic: bytes, group: bytes, queue_id: int) -> bool:
        return self.waiting >= self._most or self.count(topic, group, queue_id) >= POLLING_MAX

    def _sweep(self) -> None:
        """Those whose clients went wait no longer."""
        if self._clock.ms < self._swept_ms + SWEEP_MS:
            return
        self._swept_ms = self._clock.ms
        for line in list(self._lines.values()):
            for waiter in [each for each in line.waiters if each.connection.finished]:
                self._leave(line, waiter)
            if not line.waiters:
                self._end(line)

    def count(self, topic: bytes, group: bytes, queue_id: int) -> int:
        """How many wait there."""
        line = self._lines.get((topic, group))
        return line.counts.get(queue_id, 0) if line else 0

    def wake_soon(self, topic: bytes, group: bytes, places: set[int | None]) -> None:
        """Of each of these queues one that waits looks again, in the next turn of the loop. See place()."""
        if places and (topic, group) in self._lines:
            if not self._to_wake:
                self._schedule.at(self._clock.ms, self._wake_marked)
            self._to_wake.setdefault((topic, group), set()).update(places)

    def wake_all_soon(self) -> None:
        """The same for every topic, group and queue for which anybody waits."""
        if not self._all_marked:
            for (topic, group), line in self._lines.items():
                self.wake_soon(topic, group, {None, *line.counts})
            self._all_marked = bool(self._to_wake)

    def _wake_marked(self) -> None:
        marked, self._to_wake = self._to_wake, {}
        self._all_marked = False
        for key, places in marked.items():
            self._wake(key, places)

    def arrived(self, line: _Line, queue: Any) -> None:
        """The queue has more."""
        line.watched.pop(queue, None)
        self._wake(line.key, {place(queue, line.key[0])})

    def _wake(self, key: Key, places: set[int | None]) -> None:
        """Wake those that line.chosen() says. The others go on watching."""
        line = self._lines.get(key)
        if line is None:
            return
        chosen = line.chosen(places)
        for waiter in chosen:
            self._leave(line, waiter)
        for waiter in chosen:
            if not waiter.connection.finished:
                waiter.go()
        if self._lines.get(key) is line:
            if line.waiters:
                line.watch(self._queues(*key))
            else:
                self._end(line)

    def _leave(self, line: _Line, waiter: Any) -> None:
        line.remove(waiter)
        self._buckets[waiter.due_ms // BUCKET_MS + 1].pop(waiter)
        self.waiting -= 1

    def _expire(self, number: int) -> None:
        for waiter in self._buckets.pop(number):
            line = self._lines[waiter.topic_name, waiter.group]
            line.remove(waiter)
            self.waiting -= 1
            waiter.time_is_up()
            if not line.waiters:
                self._end(line)

    def topic_changed(self, name: bytes) -> None:
        """It was made, changed or deleted. Those that wait in it are answered, ask again, and are told; a retry topic
        that comes into being is watched."""
        there = self._topics.find(name) is not None
        for line in list(self._lines.values()):
            if line.key[0] == name:
                for waiter in list(line.waiters):
                    self._leave(line, waiter)
                    waiter.time_is_up()
                self._end(line)
            elif there and name.endswith(line.key[0]):
                line.watch(self._queues(*line.key))

    def _end(self, line: _Line) -> None:
        line.end()
        if self._lines.get(line.key) is line:
            del self._lines[line.key]


class _Line:
    """Those of one topic and group, in their order; watched = the queues that tell when they have more."""

    def __init__(self, waiting: PopWaiting, key: Key):
        self.key = key
        self.waiters: dict[Any, None] = {}
        self.counts: dict[int, int] = {}  # queue id -> waiters
        self.watched: dict[Any, Any] = {}
        self._waiting = waiting

    def add(self, waiter: Waiter) -> None:
        self.waiters[waiter] = None
        self.counts[waiter.queue_id] = self.counts.get(waiter.queue_id, 0) + 1

    def remove(self, waiter: Waiter) -> None:
        del self.waiters[waiter]
        self.counts[waiter.queue_id] -= 1

    def chosen(self, places: set[int | None]) -> list[Any]:
        """For each of the places the first that looks there. One that looks into all queues is the last: what it leaves
        it wakes others for. And those before them whose clients went."""
        left, found = set(places), []
        for waiter in self.waiters:
            if waiter.connection.finished:
                found.append(waiter)
            elif waiter.queue_id == ALL_QUEUES or None in left or waiter.queue_id in left:
                found.append(waiter)
                left -= {None, waiter.queue_id}
                if waiter.queue_id == ALL_QUEUES or not left:
                    break
        return found

    def watch(self, queues: list[Any]) -> None:
        """Be told of all of these."""
        for queue in queues:
            if queue not in self.watched:
                callback = self.watched[queue] = partial(self._waiting.arrived, self, queue)
                queue.when_more(callback)

    def end(self) -> None:
        """Nobody waits here."""
        for queue, callback in self.watched.items():
            queue.forget(callback)
        self.watched = {}
