"""Queues at their length limit: what is dropped is the head and no more than too much, what is refused was too much."""

from __future__ import annotations

from typing import Any

from core.publish import ACCEPTED, AT_COMMIT, REFUSED
from tests.simulation.model import Model, ModelQueue, Violation


def too_much(known: ModelQueue, sizes: list[int]) -> bool:
    """Whether ready messages with bodies of these sizes (bytes) are more than the queue may have."""
    count, size = known.limits
    return 0 < count < len(sizes) or 0 < size < sum(sizes)


def trimmed(life: Any, model: Model) -> None:
    """Find what limits dropped since the last look, and tell the model: before anything else happens to the queue."""
    for known in model.now.queues.values():
        if any(known.limits) and known.name in life.vhost.queues:
            _trimmed(life, model, known)


def _sizes(known: ModelQueue, offsets: list[int]) -> list[int]:
    return [len(known.units[offset].body) for offset in offsets]


def _trimmed(life: Any, model: Model, known: ModelQueue) -> None:
    left, dropped = [], []
    expired: list[int] = []  # behind the last that was dropped: they may have been, too
    cursor = life.vhost.queues[known.name].cursor
    for offset in known.ready():
        if not cursor.is_done(offset):
            left.append(offset)
        elif 0 < known.units[offset].expires_ms <= life.clock.ms:
            expired.append(offset)
        else:
            dropped.append(offset)
            expired = []
    if not dropped:
        return
    before = _sizes(known, [dropped[-1], *expired, *left])
    if known.refuses or too_much(known, _sizes(known, left)) or not too_much(known, before):
        raise Violation(f"{known.name}: {len(dropped)} dropped, and {len(left)} are left of at most {known.limits}")
    if left and dropped[-1] > left[0]:
        raise Violation(f"{known.name}: offset {dropped[-1]} was dropped before {left[0]}, which is in front of it")
    model.settled(known, dropped)


def check_answer(life: Any, known: ModelQueue, body: bytes, told: tuple[int, int], confirmed_at_commit: bool) -> None:
    """A message with that body was published to this queue alone; told = (the answer, how many records of the log)."""
    result, records = told
    queue = life.vhost.queues[known.name]
    there = _sizes(known, [offset for offset in known.ready() if not queue.cursor.is_done(offset)])
    taken = queue.end() - known.end
    full = too_much(known, [*there, len(body)])
    if result == REFUSED:
        if not known.refuses or not full or taken or records:
            raise Violation(f"{known.name}: refused with {there} ready of {known.limits}, {taken=}, {records=}")
    elif known.refuses and full:
        raise Violation(f"{known.name}: one more was taken in, {there} of {known.limits} were ready")
    elif result != (AT_COMMIT if confirmed_at_commit else ACCEPTED) or not taken:
        raise Violation(f"{known.name}: answer {result}, {taken} messages taken in")
