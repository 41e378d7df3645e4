"""Which segments may go: from the front, those that nothing needs; and which are worth it that something is copied.

What is needed is the caller's to say (state/retain.py, state/reappend.py): one offset. The segment being written never
goes. Removing is the engine's work, off the loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from core.log.commit_log import CommitLog
from core.log.engine import LogEngine

logger = logging.getLogger(__name__)

OFFSET_MAX = (1 << 63) - 1
FREES_OF_COPIED = 2  # a prefix of the log goes when it frees so many times what has to be copied (architecture 8.6)


class Retention:
    """free() is called after a checkpoint. `first` = where the log begins; `freed` = segments freed since start.
    reading() = the lowest log offset that somebody is about to read."""

    def __init__(
        self, log: CommitLog, first: int, failed: Callable[[Exception], None], reading: Callable[[], int]
    ):
        self._log = log
        self._reading = reading
        self._safe = 0
        self._engine: LogEngine = log.engine
        self._failed = failed
        self._trimming = False
        self.first = first
        self.freed = 0

    def free(self, safe_offset: int) -> list[int]:
        """Free every front segment that may go; return where they begin. One removal is under way at a time, and what
        has to wait for that goes after it.

        safe_offset: no fact, unit or cursor change before it is still needed from the log.
        """
        self._safe = max(self._safe, safe_offset)
        if self._trimming:
            return []
        log = self._log
        segment_bytes = log.segment_bytes
        limit = min(self._safe, self._reading(), log.committed - log.committed % segment_bytes)
        going = list(range(self.first, limit - segment_bytes + 1, segment_bytes))
        if going:
            upto = going[-1] + segment_bytes
            self._trimming = True
            self._engine.trim(upto, self._trimmed)
            self.first = upto
        return going

    def _trimmed(self, result: list[int] | Exception) -> None:
        self._trimming = False
        if isinstance(result, Exception):
            self._failed(result)
        else:
            self.freed += len(result)
            logger.info("log segments freed", extra={"segments": len(result), "log_begins_at": self.first})
            self.free(self._safe)


class Estimate(NamedTuple):
    """What of a segment was live when it was looked at: an upper bound, since nothing comes to life again, but for
    what looking at samples is worth. settled = how many messages had been settled by then, in all queues."""

    live_bytes: int
    settled: int


class Estimates:
    """What is known of the segments' live bytes, by the log offset at which each begins."""

    def __init__(self, segment_bytes: int):
        self._segment_bytes = segment_bytes
        self._known: dict[int, Estimate] = {}

    def put(self, base: int, live_bytes: int, settled: int) -> None:
        """A segment was looked at."""
        self._known[base] = Estimate(min(live_bytes, self._segment_bytes), settled)

    def cannot_read(self, base: int) -> None:
        """A segment must stay, and so what lies behind it."""
        self._known[base] = Estimate(OFFSET_MAX, OFFSET_MAX)

    def forget_before(self, first: int) -> None:
        """The log begins there now."""
        self._known = {base: known for base, known in self._known.items() if base >= first}

    def live_bytes(self, first: int, upto: int) -> int:
        """Of segments that are all known."""
        return sum(self._known[base].live_bytes for base in range(first, upto, self._segment_bytes))

    def worth(self, first: int, limit: int) -> tuple[int, int]:
        """(upto, unknown): it is worth copying what is live in [first, upto), 0 = in nothing; `unknown` is the segment,
        -1 = none, that has to be looked at before more can be said. Segments end before `limit`.

        The prefix consists of pieces each of which, as short as may be, frees enough: so nothing is copied that only
        what lies before it pays for."""
        start, worth, live = first, 0, 0
        for base in range(first, limit - self._segment_bytes + 1, self._segment_bytes):
            known = self._known.get(base)
            if known is None:
                return worth, base
            live += known.live_bytes
            upto = base + self._segment_bytes
            if upto - start >= FREES_OF_COPIED * live:
                start, worth, live = upto, upto, 0
        return worth, -1

    def stalest(self, settled: int) -> int:
        """The segment since whose look most was settled, the first of equals; -1: nothing was since any."""
        stale = [base for base, known in self._known.items() if known.settled < settled and known.live_bytes]
        return min(stale, key=lambda base: (self._known[base].settled, base), default=-1)
