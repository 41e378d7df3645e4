"""An event loop with its own time, and worker threads that are only events of it.

What is ready runs in order, as on asyncio's loop; when nothing is, time jumps to the next timer. A worker takes jobs in
the order of submit(); when a job runs, and how long after that the loop hears of it, is drawn from the seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

EPOCH_SECONDS = 1_700_000_000.0


class Timer:
    """What call_later() returns."""

    def __init__(self, when: float):
        self._when = when
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call it."""
        self.cancelled = True

    def when(self) -> float:
        """The time at which it is due."""
        return self._when


class SimLoop:
    """The part of asyncio's loop that the broker is given."""

    def __init__(self, random: Random, now: float = 0.0):
        self.random = random
        self.now = now
        self.iterations = 0
        self.iteration_seconds = random.choice((0.0, 0.00005, 0.0005))
        self._ready: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, Timer, Callable[..., Any], tuple[Any, ...]]] = []
        self._count = 0

    def time(self) -> float:
        """Seconds of a monotonic clock."""
        return self.now

    def wall(self) -> float:
        """Seconds since the epoch."""
        return EPOCH_SECONDS + self.now

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """See asyncio."""
        self._ready.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """See asyncio."""
        return self.call_at(self.now + max(delay, 0.0), callback, *args)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """See asyncio."""
        timer = Timer(when)
        self._count += 1
        heappush(self._timers, (when, self._count, timer, callback, args))
        return timer

    def run_once(self) -> bool:
        """One iteration; False when there is nothing to wait for."""
        self.iterations += 1
        self.now += self.iteration_seconds
        self._drop_cancelled()
        if not self._ready:
            if not self._timers:
                return False
            self.now = max(self.now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self.now:
            _, _, timer, callback, args = heappop(self._timers)
            if not timer.cancelled:
                self._ready.append((callback, args))
        for _ in range(len(self._ready)):
            callback, args = self._ready.popleft()
            callback(*args)
        return True

    def _drop_cancelled(self) -> None:
        while self._timers and self._timers[0][2].cancelled:
            heappop(self._timers)

    def step_until(self, when: float) -> bool:
        """One iteration, if anything happens until that time; else it is that time now, and False is returned."""
        self._drop_cancelled()
        if self.iteration_seconds and self.now >= when:  # somebody else may act between two iterations
            return False
        if self._ready or (self._timers and self._timers[0][0] <= when):
            return self.run_once()
        self.now = max(self.now, when)
        return False


class SimWorker:
    """`count` threads that share one queue of jobs; with one, jobs run in the order of submit()."""

    def __init__(self, loop: SimLoop, seconds: float, count: int = 1):
        self._loop = loop
        self._seconds = seconds  # what a job takes, about
        self._idle = count
        self._jobs: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()

    def submit(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """See core.disk.threads.Worker."""
        self._jobs.append((job, done))
        self._next()

    def stop(self) -> None:
        """See core.disk.threads.Worker."""

    def _next(self) -> None:
        if self._idle and self._jobs:
            self._idle -= 1
            job, done = self._jobs.popleft()
            self._loop.call_later(self._delay(), self._run, job, done)

    def _delay(self) -> float:
        random = self._loop.random
        return self._seconds * random.choice((0.0, 0.2, 1.0, 1.0, 5.0)) * random.random()

    def _run(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        try:
            result = job()
        except Exception as error:
            result = error
        self._loop.call_later(self._delay(), self._finished, done, result)

    def _finished(self, done: Callable[[Any], None], result: Any) -> None:
        self._idle += 1
        self._next()
        done(result)
