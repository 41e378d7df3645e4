"""Bugs in what architecture rule 8.6 says, retention by re-append, found like those of planted.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.log.retention import Retention
from core.state.live import LiveScan
from core.state.reappend import Reappender
from core.state.replay import LoggedQueue
from core.state.retain import Retainer


def never_copied() -> None:
    """One old message that is wanted keeps all that came after it."""
    Reappender.consider = lambda self, first, limit, settled: None


def last_place_forgotten() -> None:
    """The copy of a message that is live in several queues is not for the last of them."""
    honest = LiveScan._entry

    def entry(self: Any, message: Any) -> Any:
        if self._count > 3:
            self._count -= 3
        return honest(self, message)

    LiveScan._entry = entry


def freed_before_the_checkpoint() -> None:
    """The segments go as soon as the copies are appended, before a checkpoint reflects them."""
    honest = Retainer.cleared

    def cleared(self: Any, upto: int) -> None:
        honest(self, upto)
        self._segments.free(upto)

    Retainer.cleared = cleared


def order_taken_for_granted() -> None:
    """A queue's first unit is taken for its oldest in the log, though it may point at a copy."""
    honest = Retainer.look

    def look(self: Any, queue: Any) -> None:
        queue.index.copied_to = 0
        honest(self, queue)

    Retainer.look = look


def needed_forgotten() -> None:
    """One segment more than may go is taken for one that nothing needs."""
    honest = Retention.free

    def free(self: Any, safe_offset: int) -> Any:
        return honest(self, safe_offset + self._log.segment_bytes)

    Retention.free = free


def kept_for_ever() -> None:
    """What nothing needs any more goes by its age, and when the disk is full, but never because there is much of it."""
    honest = Retention._asked

    def asked(self: Any) -> Any:
        return (each for each in honest(self) if each[0] != "size")

    Retention._asked = asked


def chunk_not_noted() -> None:
    """The chunk of a unit that points at a copy now is not stored anew, so a restart finds the old place."""
    honest = LoggedQueue.relocate

    def relocate(self: Any, offset: int, copy: Any) -> None:
        progressed, LoggedQueue._progressed = LoggedQueue._progressed, lambda self: None
        unstored = set(self.index.unstored)
        honest(self, offset, copy)
        self.index.unstored &= unstored
        LoggedQueue._progressed = progressed

    LoggedQueue.relocate = relocate


def facts_are_left() -> None:
    """Segments go though what was declared is stated in them, and nowhere else."""
    honest = Retainer.free

    def free(self: Any, stamp: int) -> bool:
        facts = self._model.facts
        stated, facts.stated = facts.stated, {}
        again = honest(self, stamp)
        facts.stated = stated
        return again

    Retainer.free = free


RETENTION: dict[str, Callable[[], None]] = {
    "8.6-never": never_copied,
    "8.6-place": last_place_forgotten,
    "8.6-early": freed_before_the_checkpoint,
    "8.6-order": order_taken_for_granted,
    "8.6-needed": needed_forgotten,
    "8.6-kept": kept_for_ever,
    "8.6-noted": chunk_not_noted,
    "8.6-facts": facts_are_left,
}
