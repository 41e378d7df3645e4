"""Delayed retry: what came back to a quorum queue and waits, until its time has come and no longer."""

from __future__ import annotations

from typing import Any

from tests.simulation.model import Model
from tests.simulation.queues import LATE_MS, ModelQueue, Violation


def waited(life: Any, model: Model) -> None:
    """Find what is ready again since the last look, and tell the model: not before its time."""
    for known in model.now.queues.values():
        queue = life.vhost.queues.get(known.name)
        if known.retry is not None and queue is not None:
            _waited(queue, known, life.clock.ms)


def _waited(queue: Any, known: ModelQueue, clock_ms: int) -> None:
    waits = dict(queue.counts.waiting())
    for offset, due_ms in list(known.waiting.items()):
        if offset not in waits:
            if due_ms > clock_ms:
                raise Violation(f"{known.name}: offset {offset} waits no more, {due_ms - clock_ms} ms too early")
            del known.waiting[offset]
            known.units[offset].back_ms = clock_ms
    if waits != known.waiting:
        raise Violation(f"{known.name}: {waits} wait, {known.waiting} expected")


def check_waiting(queue: Any, known: ModelQueue, clock_ms: int) -> None:
    """Between two turns nothing waits whose time has come; what waits is counted."""
    late = [offset for offset, due_ms in known.waiting.items() if due_ms < clock_ms - LATE_MS]
    if late:
        raise Violation(f"{known.name}: offsets {late} wait, though their time has come")
    if queue.delayed != len(known.waiting):
        raise Violation(f"{known.name}: {queue.delayed} are said to wait, {len(known.waiting)} do")


def check_counts(queue: Any, known: ModelQueue, model: Model, clock_ms: int) -> None:
    """After a start: each message came back as often as the log says, and waits as long."""
    rows = {offset: (count, due_ms) for offset, count, due_ms in queue.counts.rows()}
    for offset, unit in known.units.items():
        count, due_ms = rows.get(offset, (0, 0))
        expected = unit.count, known.waiting.get(offset, 0)
        for wanted in (expected, known.doubted.get(offset, expected)):
            if count == wanted[0] and (due_ms == wanted[1] or (not due_ms and wanted[1] <= clock_ms)):
                break
        else:
            raise Violation(f"{known.name}: offset {offset} has {(count, due_ms)}, expected {expected}")
        model.was_counted(known, offset, (count, due_ms))
    known.doubted.clear()
