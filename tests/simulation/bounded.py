"""Queues at their length limit: what is dropped is the head and no more than too much, what is refused was too much."""

from __future__ import annotations

from typing import Any

from core.publish import ACCEPTED, AT_COMMIT, REFUSED
from tests.simulation.model import Model, ModelQueue, Violation


def trimmed(life: Any, model: Model) -> None:
    """Find what limits dropped since the last look, and tell the model: before anything else happens to the queue."""
    for known in model.now.queues.values():
        if known.length and known.name in life.vhost.queues:
            _trimmed(life, model, known)


def _trimmed(life: Any, model: Model, known: ModelQueue) -> None:
    left, dropped = [], []
    cursor = life.vhost.queues[known.name].cursor
    for offset in known.ready():
        if not cursor.is_done(offset):
            left.append(offset)
        elif not 0 < known.units[offset].expires_ms <= life.clock.ms:
            dropped.append(offset)
    if not dropped:
        return
    if known.refuses or len(left) != known.length:
        raise Violation(f"{known.name}: {len(dropped)} dropped, and {len(left)} are left of at most {known.length}")
    if dropped[-1] > left[0]:
        raise Violation(f"{known.name}: offset {dropped[-1]} was dropped before {left[0]}, which is in front of it")
    model.settled(known, dropped)


def check_answer(life: Any, known: ModelQueue, result: int, records: int, confirmed_at_commit: bool) -> None:
    """A message was published to this queue alone, with that answer and so many records of the log."""
    queue = life.vhost.queues[known.name]
    left = sum(1 for offset in known.ready() if not queue.cursor.is_done(offset))
    taken = queue.end() - known.end
    if result == REFUSED:
        if not known.refuses or left < known.length or taken or records:
            raise Violation(f"{known.name}: refused with {left} ready of {known.length}, {taken=}, {records=}")
    elif known.refuses and left + taken > known.length:
        raise Violation(f"{known.name}: one more was taken in, {left} of {known.length} were ready")
    elif result != (AT_COMMIT if confirmed_at_commit else ACCEPTED) or not taken:
        raise Violation(f"{known.name}: answer {result}, {taken} messages taken in")
