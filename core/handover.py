"""The end of a turn: what was settled becomes *done* records, and the batch goes to the engine.

If nobody waits for it, within LAZY_MS: acks then share the batch of what comes, instead of a sync each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cython

from core.log.record import DONE

if cython.compiled:
    from cython.cimports.core.clock import Clock
    from cython.cimports.core.log.commit_log import CommitLog
    from cython.cimports.core.turn import Turn
else:
    from core.clock import Clock
    from core.log.commit_log import CommitLog
    from core.turn import Turn

PENDING_BYTES_MAX = cython.declare(cython.longlong, 64 << 20)  # appended and not committed
LAZY_MS = 20  # what nobody waits for is on its way to the disk by then


@cython.cclass
class HandOver:
    """at(epoch ms, callback) is a timer; behind(bool) tells that the disk falls behind, and that it no longer does;
    follow() is told that the log has grown, and returns the log offset from which on it wants to know again; `closing`
    is the broker's to set.

    submit() is called once a turn, between serving and writing output; now() hands over whether or not anybody waits.
    """

    def __init__(
        self,
        turn: Turn,
        log: CommitLog,
        clock: Clock,
        checkpointer: Any,
        *,
        at: Callable[[int, Callable[[], None]], Any],
        checkpoint_seconds: int,
        behind: Callable[[bool], None],
        follow: Callable[[], int],
    ):
        self._turn = turn
        self._log = log
        self._clock = clock
        self._at = at
        self._checkpointer = checkpointer
        self._checkpoint_ms = checkpoint_seconds * 1000
        self._consider_at = 0
        self._behind = self._lazy = self._checkpoint_due = self.closing = False
        self._tell_behind = behind
        self._follow = follow
        self._now = self.now

    @cython.ccall
    def submit(self):
        """See above; also asks whether a checkpoint is due."""
        log: CommitLog = self._log
        if self._behind or log.appended - log.committed > PENDING_BYTES_MAX:
            self.check_pending()
        if log.awaited():
            self.now()
        elif not self._lazy and (self._turn.settled or log.appended > log.committed):
            self._lazy = True
            self._at(self._clock.ms + LAZY_MS, self._now)
        if log.appended >= self._consider_at:
            self._consider_at = min(self._checkpointer.consider(), self._follow())
        if not self._checkpoint_due and not self.closing and log.appended > self._checkpointer.stamp:
            self._checkpoint_due = True
            self._at(self._clock.ms + self._checkpoint_ms, self._checkpoint)

    @cython.ccall
    def now(self):
        """Hand over what there is."""
        self._lazy = False
        for body in self.gather():
            self._log.append(DONE, body)
        self._log.submit()

    @cython.ccall
    def gather(self) -> list:
        """Take what was settled up to now: the bodies of the *done* records that the caller has to append."""
        settled: list = self._turn.settled
        if not settled:
            return []
        self._turn.settled = []
        return self._checkpointer.gather(settled)

    @cython.ccall
    def check_pending(self):
        """A disk that is slower than the publishers blocks them, before what it was not given yet fills the memory."""
        pending: cython.longlong = self._log.appended - self._log.committed
        self._behind = pending > (PENDING_BYTES_MAX // 2 if self._behind else PENDING_BYTES_MAX)
        self._tell_behind(self._behind)

    def _checkpoint(self) -> None:
        self._checkpoint_due = False
        if self._checkpointer.dirty and not self._checkpointer.running:
            self._checkpointer.checkpoint()
