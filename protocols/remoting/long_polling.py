"""Pulls that wait: by their queue, which tells when it has more, and by when they are answered whatever there is.

Source: RocketMQ's PullRequestHoldService. There what waits is looked at every 5 seconds; here it is answered within
BUCKET_MS of its time.
"""

from __future__ import annotations

from functools import partial
from typing import Any

BUCKET_MS = 100  # what is due within it is answered together
SUSPEND_MS_MAX = 120_000  # as long as a connection may be idle
UNWANTED_MS = 5000  # a client learns so soon that what came had none of its tags


class LongPolling:
    """`waiting` pulls wait, at most `most`: park() tells whether there was room."""

    def __init__(self, schedule: Any, clock: Any, most: int):
        self._schedule = schedule
        self._clock = clock
        self._most = most
        self._queues: dict[Any, _Waiting] = {}
        self._buckets: dict[int, dict[Any, None]] = {}  # time / BUCKET_MS -> the pulls that are due by then
        self.waiting = 0

    def park(self, pull: Any, suspend_ms: int) -> bool:
        """Call pull.go() when its queue has more than there is, or pull.time_is_up() after `suspend_ms`. A pull that
        was parked before keeps its time."""
        now = self._clock.ms
        if not pull.due_ms:
            if self.waiting >= self._most:
                return False
            pull.due_ms = now + min(suspend_ms, SUSPEND_MS_MAX)
        if pull.due_ms <= now:
            pull.time_is_up()
            return True
        waiting = self._queues.get(pull.queue)
        if waiting is None:
            waiting = self._queues[pull.queue] = _Waiting(self, pull.topic.config.name, pull.queue)
        waiting.pulls[pull] = None
        pull.bucket = pull.due_ms // BUCKET_MS + 1
        bucket = self._buckets.get(pull.bucket)
        if bucket is None:
            bucket = self._buckets[pull.bucket] = {}
            self._schedule.at(pull.bucket * BUCKET_MS, partial(self._expire, pull.bucket))
        bucket[pull] = None
        self.waiting += 1
        return True

    def park_behind(self, pull: Any) -> None:
        """What came is not for this pull: it waits on, but not for long."""
        pull.due_ms = min(pull.due_ms, self._clock.ms + UNWANTED_MS)
        self.park(pull, 0)

    def wake(self, waiting: _Waiting) -> None:
        """The queue has more."""
        del self._queues[waiting.queue]
        for pull in waiting.pulls:
            self._leave_bucket(pull)
        for pull in waiting.pulls:
            pull.go()

    def take(self, queue: Any, traffic: Any) -> list[Any]:
        """The pulls of one group that wait for more in that queue: they wait no more. The caller answers them."""
        waiting = self._queues.get(queue)
        found = [pull for pull in waiting.pulls if pull.traffic is traffic] if waiting else []
        for pull in found:
            self._leave_bucket(pull)
            self._leave_queue(pull)
        return found

    def _leave_queue(self, pull: Any) -> None:
        waiting = self._queues[pull.queue]
        del waiting.pulls[pull]
        if not waiting.pulls:
            waiting.queue.forget(waiting.callback)
            del self._queues[waiting.queue]

    def _leave_bucket(self, pull: Any) -> None:
        self.waiting -= 1
        self._buckets[pull.bucket].pop(pull)

    def _expire(self, number: int) -> None:
        for pull in self._buckets.pop(number):
            self.waiting -= 1
            self._leave_queue(pull)
            pull.time_is_up()

    def topic_changed(self, name: bytes) -> None:
        """The topic was changed or deleted: those who wait in it are answered, ask again, and are told."""
        for waiting in [each for each in self._queues.values() if each.topic_name == name]:
            waiting.queue.forget(waiting.callback)
            del self._queues[waiting.queue]
            for pull in waiting.pulls:
                self._leave_bucket(pull)
                pull.time_is_up()


class _Waiting:
    """The pulls that wait for more in one queue, in their order."""

    __slots__ = ("queue", "topic_name", "pulls", "callback")

    def __init__(self, polling: LongPolling, topic_name: bytes, queue: Any):
        self.queue = queue
        self.topic_name = topic_name
        self.pulls: dict[Any, None] = {}
        self.callback = partial(polling.wake, self)
        queue.when_more(self.callback)
