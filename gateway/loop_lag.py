"""How late the event loop is: a timer that looks at itself, and counts what it saw.

What holds the loop up for L ms makes a look late that falls due meanwhile: by L, or by up to `period_ms` less. While
nothing turns the loop the looks are rare.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

BOUNDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds
REST_SECONDS = 0.5
RESTING_AFTER = 20  # looks without a turn


class LoopLag:
    """`counts` of looks per bound, the last one above all; `seconds` late in all; `longest` since start.

    loop     asyncio's; turns() = how many there were with work in them
    """

    def __init__(self, loop: Any, period_ms: int, turns: Callable[[], int]):
        self._loop = loop
        self._period = period_ms / 1000
        self._turns = turns
        self._seen = self._idle = 0
        self._due = 0.0
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = self.longest = 0.0

    def start(self) -> None:
        """Look from now on, if a period is set."""
        if self._period:
            self._wait(self._period)

    def _wait(self, seconds: float) -> None:
        self._due = monotonic() + seconds
        self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        late = max(0.0, monotonic() - self._due)
        self.counts[bisect_left(BOUNDS, late)] += 1
        self.seconds += late
        self.longest = max(self.longest, late)
        turns = self._turns()
        self._idle = self._idle + 1 if turns == self._seen else 0
        self._seen = turns
        self._wait(self._period if self._idle < RESTING_AFTER else REST_SECONDS)

    def buckets(self) -> Iterator[tuple[str, int]]:
        """(upper bound in seconds, looks that were no later), as Prometheus wants them."""
        total = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            total += count
            yield bound, total
