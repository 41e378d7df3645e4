"""Bugs to be found: each plants one into the uncompiled core of this process, where the simulator must find it.

Compiled classes cannot be changed, so `python -m tests.simulation --plant NAME` wants CORDUROY_PURE=1.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from errno import EIO
from typing import Any

from core.disk.files import SegmentFiles
from core.disk.page_image import PageImage
from core.log import recovery
from core.log.view import BLANK
from core.queue.cursor import Cursor
from core.state.checkpoint import Checkpointer
from protocols.amqp.channel import CLOSE, METHOD, Channel
from protocols.amqp.connection import AmqpConnection
from tests.simulation.planted_recovery import RECOVERY
from tests.simulation.planted_retention import RETENTION
from tests.simulation.planted_rules import RULES
from tests.simulation.planted_spill import SPILL


def confirm_before_sync() -> None:
    """The log: a batch is committed when it is written, not when it is on the disk."""
    honest = SegmentFiles.write_and_sync

    def write_only(self: Any, parts: Any, sync: bool) -> None:
        honest(self, parts, False)

    SegmentFiles.write_and_sync = write_only


def floor_jumps() -> None:
    """The cursor: an ack just above the floor takes the floor along, over a message that nobody acked."""
    honest = Cursor.settle

    def jump(self: Any, offset: int) -> bool:
        if offset == self.floor + 1:
            self.floor = offset
        return honest(self, offset)

    Cursor.settle = jump


def checkpoint_before_log() -> None:
    """The checkpoint: written while the log records that it reflects may still be lost."""

    def step(self: Any, frozen: Any, slices: Any, waiting: Any) -> None:
        for _ in slices:
            pass
        self._write(frozen, waiting)

    Checkpointer._step = step


def stamp_ahead() -> None:
    """The checkpoint: stamped with the log's end when it was written, not when its queues were copied."""
    honest = Checkpointer._write

    def write(self: Any, frozen: Any, waiting: Any) -> None:
        frozen.stamp.offset = self._log.committed
        honest(self, frozen, waiting)

    Checkpointer._write = write


def sync_believed() -> None:
    """Log: a sync that failed is taken for one that did not."""
    finished = PageImage.finished

    def sync(self: Any, segment: Any) -> None:
        with suppress(OSError):
            self._ops.sync(segment.fd)

    SegmentFiles._sync = sync
    PageImage.finished = lambda self, error: finished(self, 0 if error == EIO else error)


def stop_at_filler() -> None:
    """Recovery: the filler at a segment's end is taken for the log's end, and what follows for a torn tail."""
    honest = recovery.Walk._records

    def records(self: Any, block: bytes, offset: int) -> int:
        at = honest(self, block, offset)
        if self._found == BLANK:
            self._found = -1
        return at

    recovery.Walk._records = records
    recovery._refuse_later_batches = lambda *args: None


def last_record_skipped() -> None:
    """Recovery: the last good record goes with the torn tail."""
    honest = recovery.Walk.run

    def run(self: Any, offset: int) -> int:
        places = []
        on_record = self._on_record

        def seen(view: Any) -> None:
            places.append(view.offset)
            on_record(view)

        self._on_record = seen
        tail = honest(self, offset)
        return places[-1] if places else tail

    recovery.Walk.run = run


def dropped_at_close() -> None:
    """Flow control: a channel's close drops the publishes that an alarm held back."""
    honest = Channel._must_hold

    def must_hold(self: Any, kind: int, b: Any, at: int, end: int) -> bool:
        if kind == METHOD and int.from_bytes(b[at : at + 4], "big") == CLOSE and self._held:
            self._forget_held()
        return honest(self, kind, b, at, end)

    Channel._must_hold = must_hold


def never_resumed() -> None:
    """Flow control: the alarm ends, and what was held stays held."""
    honest = AmqpConnection.flow_changed

    def flow_changed(self: Any) -> None:
        if self.flow.blocked:
            honest(self)

    AmqpConnection.flow_changed = flow_changed


BUGS: dict[str, Callable[[], None]] = {
    "log": confirm_before_sync,
    "log-sync": sync_believed,
    "cursor": floor_jumps,
    "checkpoint": checkpoint_before_log,
    "checkpoint-stamp": stamp_ahead,
    "recovery": stop_at_filler,
    "recovery-last": last_record_skipped,
    "flow": dropped_at_close,
    "flow-resume": never_resumed,
    **RULES,
    **RETENTION,
    **SPILL,
    **RECOVERY,
}
