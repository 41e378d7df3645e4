"""When a queue goes by itself: with its owner, after its last consumer, or unused for too long.

Unused = no consumers, and neither got from nor declared again. Using a queue only notes the time; its one entry in the
schedule looks when it comes up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from core.clock import Clock

DELETED_AT_ONCE = 256  # of a connection's exclusive queues, in one turn of the loop

Delete = Callable[[Any, list[Any]], None]


class Expiry:
    """A queue that expires: how long, when it was last used, and the entry that will look."""

    __slots__ = ("vhost", "after_ms", "used_ms", "entry")

    def __init__(self, vhost: Any, after_ms: int, used_ms: int):
        self.vhost, self.after_ms, self.used_ms = vhost, after_ms, used_ms
        self.entry: Any = None


class Lifetimes:
    """delete(vhost, queues) deletes; soon(callback) runs a callback in the next turn of the loop."""

    def __init__(self, clock: Clock, schedule: Any, soon: Callable[[Callable[[], None]], Any], delete: Delete):
        self._clock = clock
        self._schedule = schedule
        self._soon = soon
        self._delete = delete
        self._owned: dict[Any, dict[Any, Any]] = {}  # owner -> {queue: virtual host}
        self._leaving: dict[Any, list[Callable[[], None]]] = {}  # owner whose queues are being deleted -> who waits
        self._expiries: dict[Any, Expiry] = {}

    def own(self, vhost: Any, queue: Any, owner: Any) -> None:
        """`queue` is exclusive to `owner` and goes with it."""
        queue.owner = owner
        self._owned.setdefault(owner, {})[queue] = vhost

    def is_leaving(self, owner: Any) -> bool:
        """Whether that owner is gone and its queues are about to be."""
        return owner in self._leaving

    def owner_gone(self, owner: Any, done: Callable[[], None] | None = None) -> None:
        """Delete what the owner had, the first 256 now, the rest in turns to come; done() when nothing is left."""
        waiting = self._leaving.setdefault(owner, [])
        if done is not None:
            waiting.append(done)
        self._delete_some(owner)

    def _delete_some(self, owner: Any) -> None:
        owned = self._owned.get(owner, {})
        slices: dict[Any, list[Any]] = {}
        for queue, vhost in list(owned.items())[:DELETED_AT_ONCE]:
            slices.setdefault(vhost, []).append(queue)
        for vhost, queues in slices.items():
            self._delete(vhost, queues)
        if self._owned.get(owner):
            self._soon(partial(self._delete_some, owner))
            return
        for done in self._leaving.pop(owner, ()):
            done()

    def expire_after(self, vhost: Any, queue: Any, after_ms: int) -> None:
        """`queue` goes when it was not used for that long, from now on; -1 = never."""
        expiry = self._expiries.pop(queue, None)
        if expiry is not None and expiry.entry is not None:
            self._schedule.cancel(expiry.entry)
        if after_ms >= 0:
            expiry = self._expiries[queue] = Expiry(vhost, after_ms, self._clock.tick())
            self._watch(queue, expiry)

    def used(self, queue: Any) -> None:
        """Somebody got from the queue, declared it again, began or ceased to consume from it."""
        expiry = self._expiries.get(queue)
        if expiry is not None:
            expiry.used_ms = self._clock.tick()
            if expiry.entry is None and not queue.consumers:
                self._watch(queue, expiry)

    def _watch(self, queue: Any, expiry: Expiry) -> None:
        expiry.entry = self._schedule.at(expiry.used_ms + expiry.after_ms, partial(self._look, queue, expiry))

    def _look(self, queue: Any, expiry: Expiry) -> None:
        expiry.entry = None
        if queue.deleted or queue.consumers:
            return  # the last consumer's end asks again
        if self._clock.ms >= expiry.used_ms + expiry.after_ms:
            self._delete(expiry.vhost, [queue])
        else:
            self._watch(queue, expiry)

    def forget(self, queue: Any) -> None:
        """The queue was deleted."""
        self.expire_after(None, queue, -1)
        owned = self._owned.get(queue.owner)
        if owned is not None:
            owned.pop(queue, None)
            if not owned:
                del self._owned[queue.owner]
