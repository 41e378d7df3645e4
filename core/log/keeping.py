"""How long segments are kept that nothing needs any more: for replay, while the disk has room for them, and those with
native messages, which nobody ever settles, as RocketMQ keeps them.

They go from the front, by whichever rule asks first:

    size    there is more of them than `log.keep_bytes`, or than DISK_SHARE of the disk; not of native messages
    hours   older than `log.keep_hours`; only in the hours of `log.delete_when`, if that names some
    disk    the disk is used up to `log.disk_force_percent`, or has less free than twice `limits.disk_free_bytes`
    full    the disk takes no more, or copies of what is live need room (retention.py, make_room)

The steps are RocketMQ's (diskMaxUsedSpaceRatio 75, diskSpaceCleanForciblyRatio 85, diskSpaceWarningLevelRatio 90):
CLEAN = what is too old goes at any hour, FORCE = whatever its age, oldest first. The third, that nothing is taken in
any more, is `limits.disk_free_bytes`, in bytes (docs/decisions/0004-what-is-kept-of-the-log.md).
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from core.clock import Clock
from core.log.recovery import MAGIC, MAGIC_AT, OFFSET_AT, OFFSET_END

logger = logging.getLogger(__name__)

RULES = ("size", "hours", "disk", "full")
ROOMY, CLEAN, FORCE = 0, 1, 2  # steps of a disk that fills
DISK_SHARE = 0.05  # of the disk is kept at most
ALARMS_AHEAD = 2  # times limits.disk_free_bytes: with less free than that, what is kept goes
RELEASE_PERCENT = 1.0  # so far below its mark a step ends, so that it does not flap
HOUR_MS = 3_600_000
CLEAN_MS = 200_000  # as RocketMQ's: 20 rounds, one every 10 s
SYS_FLAG_AT, STORE_MS_AT, STORE_MS_END = 36, 56, 76  # in a record, behind a host of IPv6 12 bytes further back
BORN_V6 = 0x10  # of sys flag


class Keep(NamedTuple):
    """What is configured. bytes, ms = 0: nothing is kept; hours: of the day in which what is too old goes, none = any.
    alarm_bytes: with less than that free, publishers are blocked."""

    bytes: int = 0
    ms: int = 0
    hours: frozenset[int] = frozenset()
    clean_percent: int = 75
    force_percent: int = 85
    alarm_bytes: int = 0


def keep_of(config: Any) -> Keep:
    """What a core.config.Config says."""
    log = config.log
    hours = frozenset(map(int, filter(None, log.delete_when.split(";"))))
    return Keep(
        log.keep_bytes,
        log.keep_hours * HOUR_MS,
        hours,
        log.disk_clean_percent,
        log.disk_force_percent,
        config.limits.disk_free_bytes,
    )


class Keeper:
    """look() when the disk was looked at: how much may be kept. step = how full the disk is; free, total: its bytes, 0
    while nobody has looked."""

    def __init__(self, keep: Keep, clock: Clock, segment_bytes: int):
        self.keep = keep
        self._clock = clock
        self._segment_bytes = segment_bytes
        self.free = self.total = self._any_hour_until = 0
        self.step = ROOMY

    def clean(self) -> None:
        """For a while the hour does not count: how old a segment is may have to be read first."""
        self._any_hour_until = self._clock.ms + CLEAN_MS

    def look(self, free: int, total: int) -> None:
        """The disk of the log has `total` bytes, of which so many are free."""
        first = not self.total
        self.free, self.total = free, max(total, 1)
        if first:
            self._say_what_is_kept()
        was, self.step = self.step, self._step_now()
        if self.step != was:
            extra = {"used_percent": round(self._used_percent(), 1), "free_bytes": free}
            logger.log(logging.INFO if self.step < was else logging.WARNING, STEPS[self.step], extra=extra)

    @property
    def used_ratio(self) -> float:
        """Of the disk, 0..1; 0 while nobody has looked."""
        return self._used_percent() / 100 if self.total else 0.0

    def _used_percent(self) -> float:
        return 100 * (self.total - self.free) / self.total

    def _step_now(self) -> int:
        used, keep = self._used_percent(), self.keep
        marks = ((FORCE, keep.force_percent), (CLEAN, keep.clean_percent))
        for step, percent in marks:
            if used >= (percent - RELEASE_PERCENT if self.step >= step else percent):
                return step
            if step == FORCE and self.free < ALARMS_AHEAD * keep.alarm_bytes:
                return FORCE
        return ROOMY

    @property
    def bytes_max(self) -> int:
        """So much is kept at most."""
        if not self.keep.ms:
            return 0
        return min(self.keep.bytes, int(self.total * DISK_SHARE)) if self.total else self.keep.bytes

    @property
    def asks_age(self) -> bool:
        """Whether it matters how old a segment is."""
        return self.bytes_max > 0

    def too_old(self, ended_ms: int) -> bool:
        """Whether a segment whose last record was stored then is to go now. 0 = nobody knows when."""
        if not ended_ms or self._clock.ms - ended_ms <= self.keep.ms:
            return False
        if self.step >= CLEAN or self._clock.ms < self._any_hour_until or not self.keep.hours:
            return True
        return self._clock.hour() in self.keep.hours

    def wanted(self, going: int) -> int:
        """How many bytes have to go because of the disk, beside those that were going when it was looked at."""
        if self.step < FORCE:
            return 0
        keep = self.keep
        free = max(self.total * (100 - keep.force_percent) // 100, ALARMS_AHEAD * keep.alarm_bytes)
        return max(0, free - self.free - going)

    def _say_what_is_kept(self) -> None:
        """Once, at start."""
        most = self.bytes_max
        extra: dict[str, Any] = {"hours": self.keep.ms // HOUR_MS, "bytes": most}
        extra["segments"] = most // self._segment_bytes
        if most < self.keep.bytes:
            extra["why"] = "5 % of the disk is less than log.keep_bytes" if self.keep.ms else "log.keep_hours is 0"
        logger.info("log segments that nothing needs are kept for replay, at most", extra=extra)


STEPS = {
    ROOMY: "the disk has room again: log segments are kept for replay as configured",
    CLEAN: "the disk fills: log segments older than log.keep_hours go at any hour",
    FORCE: "the disk is nearly full: log segments kept for replay go, the oldest first",
}


def stored_ms(head: bytes, offset: int) -> int:
    """When the record was stored that begins so at that log offset; 0 = there is none, or it does not say."""
    if head[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC:
        return 0
    if int.from_bytes(head[OFFSET_AT:OFFSET_END], "big") != offset:
        return 0
    at = STORE_MS_AT + (12 if int.from_bytes(head[SYS_FLAG_AT : SYS_FLAG_AT + 4], "big") & BORN_V6 else 0)
    return max(0, int.from_bytes(head[at : at + 8], "big", signed=True))
