"""The broker's only source of time (architecture rule 8.11).

ms = wall time at start + monotonic time, drawn towards the wall clock by at most 10 % of the time that passed, and it
never goes back. Durations use monotonic().
"""

from __future__ import annotations

import time

import cython

SLEW_SHARE_MAX = 0.1
SKEW_REPORTED_MS = 5000.0
DAY_SECONDS = 86400


@cython.cclass
class Clock:
    """`ms` is the time of this turn of the loop, `seconds` the monotonic time it was read at; tick() refreshes both.

    The two sources are injected for tests.
    """

    def __init__(self, wall=time.time, monotonic=time.monotonic):
        self._wall = wall
        self._monotonic = monotonic
        self._started = self.seconds = monotonic()
        self._slewed_at = self._started
        self._wall_start = wall()
        self.skew_ms = 0.0
        self.ms = int(self._wall_start * 1000)

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def tick(self) -> cython.longlong:
        """Read the clocks once and return the new `ms` (epoch milliseconds, never less than before)."""
        now: cython.double = self._monotonic()
        self.seconds = now
        since: cython.double = now - self._slewed_at
        if since >= 1.0:
            self._slew(now, since)
        value: cython.longlong = int((self._wall_start + (now - self._started)) * 1000)
        if value > self.ms:
            self.ms = value
        return self.ms

    def set(self, ms: int) -> None:
        """For a tool that writes an old log anew: the time of the record to come. tick() must not be called."""
        self.ms = ms

    @cython.cfunc
    def _slew(self, now: cython.double, since: cython.double):
        """Draw our time towards the wall clock; `skew_ms` is what is left (a metric; above 5 s worth a log line)."""
        skew: cython.double = self._wall() - (self._wall_start + (now - self._started))
        step: cython.double = since * SLEW_SHARE_MAX
        self._wall_start += max(-step, min(step, skew))
        self._slewed_at = now
        self.skew_ms = skew * 1000

    def hour(self) -> int:
        """The hour of the day, of the local time."""
        return time.localtime(self.ms / 1000).tm_hour

    def day(self) -> int:
        """Days since the epoch, by local time."""
        moment = time.localtime(self.ms / 1000)
        return int(self.ms // 1000 + moment.tm_gmtoff) // DAY_SECONDS

    def monotonic(self) -> float:
        """Seconds of a clock that no administrator can set; for durations and deadlines."""
        return self._monotonic()
