"""Reading the whole log to find what is damaged in it. Changes nothing, and may run beside the broker that writes.

Recovery looks at what lies behind the last checkpoint and stops at the first damage; this looks at everything, names
every damaged place and goes on behind it. What is no damage: a torn batch at the log's end, which was never confirmed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from core.errors import LogCorrupt
from core.log.record import NATIVE, OTHER
from core.log.recovery import BLOCK_BYTES, OFFSET_END, ReadFiles, Walk, valid_records
from core.log.view import View

LOOKS = 3  # at a place that has no valid record: a batch may be on its way to the disk while we read


class Damage(NamedTuple):
    """Log offsets [offset, upto), and what is wrong there."""

    offset: int
    upto: int
    text: str


class Scrubbed(NamedTuple):
    """first, tail = the log offsets between which the records lie; torn_bytes = what lies behind them of a batch that
    was not written wholly."""

    first: int
    tail: int
    records: int
    torn_bytes: int
    damages: list[Damage]


def scrub(files: ReadFiles, on_record: Callable[[View], None]) -> Scrubbed:
    """Read all of the log. on_record(view) gets the records in front of the first damage; a ValueError or LogCorrupt
    that it raises is a damage, too."""
    checker = _Checker(on_record)
    at = first = files.first
    records = looks = 0
    while True:
        walk = Walk(files, checker.record)
        tail = walk.run(at)
        records += walk.records
        bad = walk.stopped_at
        found, later, dirty_to = behind(files, bad, tail)
        if later < 0:
            return Scrubbed(first, tail, records, max(0, dirty_to - tail), checker.damages)
        looks = looks + 1 if bad == at else 1
        if looks < LOOKS:
            at = bad
            continue
        checker.damaged(Damage(bad, found, f"no valid record, but batches written later follow (at {later}, for one)"))
        at, looks = found, 0


def behind(files: ReadFiles, bad: int, tail: int) -> tuple[int, int, int]:
    """Behind a place without a valid record: where the next valid one lies, where the first of a later batch does (-1:
    nowhere; then all of it was torn), and the offset behind the last byte that is not zero, from `bad` on.

    tail: where the log ends if no later batch follows; it differs from `bad` by a transaction that is not whole.
    """
    view = View()
    dirty_to, found = bad, -1
    at = bad
    while (at := files.next_data(at)) < files.end:
        segment_end = at - at % files.segment_bytes + files.segment_bytes
        block = files.read(at, min(BLOCK_BYTES, segment_end - at))
        if any(block):
            dirty_to = at + len(block.rstrip(b"\0"))
            for own in valid_records(files, view, block, at):
                if own > bad:
                    found = own if found < 0 else found
                    if view.batch_offset > tail:
                        return found, own, dirty_to
        at = segment_end if at + len(block) == segment_end else at + len(block) - OFFSET_END
    return found, -1, dirty_to


def numbered(view: View) -> Any:
    """What its queue offset counts: records of its kind, native ones of their topic's queue."""
    return view.kind if view.kind != NATIVE else (view.topic(), view.queue_id)


class _Checker:
    """What one record cannot show: that none is missing between it and the last of its kind, or of its topic's queue:
    a topic that was made anew begins at 0."""

    def __init__(self, on_record: Callable[[View], None]):
        self._on_record = on_record
        self._due: dict[Any, int] = {}  # see numbered() -> the next queue offset
        self.damages: list[Damage] = []

    def damaged(self, damage: Damage) -> None:
        """Records are missing: numbers start anew behind them."""
        self.damages.append(damage)
        self._due.clear()

    def record(self, view: View) -> None:
        """One more valid record."""
        if view.kind == OTHER:  # what a repair put where records were lost
            self._due.clear()
        key = numbered(view)
        due = self._due.get(key, view.queue_offset)
        self._due[key] = view.queue_offset + 1
        place = view.offset, view.offset + view.size
        if view.queue_offset != due and (view.queue_offset or view.kind != NATIVE):
            self.damages.append(Damage(*place, f"its queue offset is {view.queue_offset}, due was {due}"))
        if self.damages:
            return
        try:
            self._on_record(view)
        except (LogCorrupt, ValueError) as error:
            self.damages.append(Damage(*place, f"cannot be read: {error}"))
