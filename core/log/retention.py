"""Which segments may go: from the front, those that end before anything that is still needed.

What is needed is the caller's to say (state/retain.py): one offset, since units, facts and checkpoints lie in the order
of the log. The segment being written never goes. Removing is the engine's work, off the loop.
"""

from __future__ import annotations

from collections.abc import Callable

from core.log.commit_log import CommitLog
from core.log.engine import LogEngine


class Retention:
    """free() is called after a checkpoint. `first` = where the log begins; `freed` = segments freed since start."""

    def __init__(self, log: CommitLog, first: int, failed: Callable[[Exception], None]):
        self._log = log
        self._engine: LogEngine = log.engine
        self._failed = failed
        self._trimming = False
        self.first = first
        self.freed = 0

    def free(self, safe_offset: int) -> list[int]:
        """Free every front segment that may go; return where they begin. One removal is under way at a time.

        safe_offset: no fact, unit or cursor change before it is still needed from the log.
        """
        if self._trimming:
            return []
        log = self._log
        segment_bytes = log.segment_bytes
        limit = min(safe_offset, log.committed - log.committed % segment_bytes)
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
