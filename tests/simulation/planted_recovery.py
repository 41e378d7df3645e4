"""Bugs in checkpoints and recovery, beside the first ones in planted.py, where they are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.queue.cursor import Cursor
from core.state import replay
from core.state.checkpoint import Checkpointer


def first_run_only() -> None:
    """Recovery: of the ranges that a done record names the first is settled."""
    honest = replay.read_done
    replay.read_done = lambda body: [(queue_id, runs[:1], counts) for queue_id, runs, counts in honest(body)]


def failure_is_success() -> None:
    """Checkpoints: one that failed is not taken back."""
    Checkpointer._take_back = lambda self, frozen, error: setattr(self, "stamp", frozen.stamp.offset)


def meanwhile_forgotten() -> None:
    """Checkpoints: what changes while one is made is not in the next."""
    honest = Checkpointer._mark_stored

    def mark_stored(self: Any, frozen: Any) -> None:
        self.touched.clear()
        honest(self, frozen)

    Checkpointer._mark_stored = mark_stored


def floor_only() -> None:
    """Checkpoints: what is settled above the floor is not in them."""
    Cursor.ranges = lambda self: []


RECOVERY: dict[str, Callable[[], None]] = {
    "recovery-runs": first_run_only,
    "checkpoint-failed": failure_is_success,
    "checkpoint-meanwhile": meanwhile_forgotten,
    "checkpoint-floor": floor_only,
}
