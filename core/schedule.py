"""What is due when: one heap, one timer of the loop, exact to the millisecond (architecture rule 8.11).

Times are epoch milliseconds of the broker's clock. Things whose time changes all the time (a queue that is used again)
do not move their entry: when it comes up they look, and ask again.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

from core.clock import Clock

SLEEP_MS_MAX = 3_600_000  # the clock is drawn towards the wall's: look again at least once an hour
DUE_AT_ONCE = 256  # callbacks in one turn of the loop
DEAD_MIN = 1024  # cancelled entries that are left in the heap


class Timer(Protocol):
    """What call_at returns."""

    def cancel(self) -> None:
        """It will not fire."""


class Entry:
    """One thing due. `callback` is None once it was cancelled or called."""

    __slots__ = ("ms", "serial", "callback")

    def __init__(self, ms: int, serial: int, callback: Callable[[], None]):
        self.ms, self.serial = ms, serial
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: Entry) -> bool:
        return (self.ms, self.serial) < (other.ms, other.serial)


class Schedule:
    """call_at(ms, callback) sets a timer of the loop for an epoch millisecond and returns it."""

    def __init__(self, call_at: Callable[[int, Callable[[], None]], Timer], clock: Clock):
        self._call_at = call_at
        self._clock = clock
        self._heap: list[Entry] = []
        self._serial = 0
        self._dead = 0
        self._timer: Timer | None = None
        self._timer_ms = 0
        self._wakes: dict[Any, Entry] = {}  # queue -> its one pending wake
        self._closed = False
        self.expire: Callable[[Any], None] = lambda queue: queue.expire()  # what a wake does

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def at(self, ms: int, callback: Callable[[], None]) -> Entry:
        """Call back at `ms`, or in the next turn of the loop if that has passed."""
        self._serial += 1
        entry = Entry(ms, self._serial, callback)
        heappush(self._heap, entry)
        self._arm()
        return entry

    def cancel(self, entry: Entry) -> None:
        """Forget an entry; one that was called or cancelled before is no error."""
        if entry.callback is not None:
            entry.callback = None
            self._dead += 1
            if self._dead > DEAD_MIN and self._dead * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if entry.callback is not None]
                heapify(self._heap)
                self._dead = 0

    def wake_at(self, queue: Any, ms: int) -> None:
        """Have queue.expire() called at `ms`; of several times asked for one queue the earliest counts."""
        pending = self._wakes.get(queue)
        if pending is not None:
            if pending.ms <= ms:
                return
            self.cancel(pending)
        self._wakes[queue] = self.at(ms, lambda: self._wake(queue))

    def _wake(self, queue: Any) -> None:
        del self._wakes[queue]
        if not queue.deleted:
            self.expire(queue)

    def forget(self, queue: Any) -> None:
        """The queue is gone."""
        pending = self._wakes.pop(queue, None)
        if pending is not None:
            self.cancel(pending)

    def _arm(self) -> None:
        """Set the timer for the earliest entry."""
        heap = self._heap
        while heap and heap[0].callback is None:
            heappop(heap)
            self._dead -= 1
        if not heap or self._closed:
            return
        ms = min(heap[0].ms, self._clock.ms + SLEEP_MS_MAX)
        if self._timer is not None:
            if self._timer_ms <= ms:
                return
            self._timer.cancel()
        self._timer_ms = ms
        self._timer = self._call_at(ms, self._fire)

    def _fire(self) -> None:
        """Call what is due, a bounded number at a time."""
        self._timer = None
        now = self._clock.tick()
        for _ in range(DUE_AT_ONCE):
            if not self._heap or self._heap[0].ms > now:
                break
            entry = heappop(self._heap)
            callback, entry.callback = entry.callback, None
            if callback is None:
                self._dead -= 1
            else:
                callback()
        self._arm()

    def close(self) -> None:
        """Nothing is called any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
