"""What of the log is still needed, and stating facts anew so that a front segment can go (architecture rule 8.6).

Needed is everything from the least of: the last checkpoint's stamp, each durable queue's unit at its floor, the last
statement of every fact. Facts alone pin no segment: when no unit lies in the segments before them, they are stated anew
at the tail, and the segments go after the next checkpoint. What units pin, reappend.py looks into. Those of native
topics pin nothing: their messages go with their segments, which are kept for a time (log/keeping.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import cython

from core.state.model import IDS_KEY, Model
from core.state.records import IdsFact, QueueFact, TopicFact, encode

if cython.compiled:
    from cython.cimports.core.queue.cursor import Cursor
    from cython.cimports.core.queue.delivery import Queue
    from cython.cimports.core.queue.index import Index
else:
    from core.queue.cursor import Cursor
    from core.queue.delivery import Queue
    from core.queue.index import Index

FACT_BYTES = 512  # about what stating one fact costs in the log
SLICE_FACTS = 128  # stated anew in one turn of the loop: about a millisecond


class Segments(Protocol):
    """Of core.log.retention.Retention, what is used here."""

    needed_from: int

    def free(self, safe_offset: int) -> list[int]:
        """Nothing before it is needed; what is not kept for replay goes."""


@cython.final
@cython.cclass
class Retainer:
    """look() at every queue that changed, then free() after a checkpoint. `restated` = facts stated anew.

    consider     Reappender.consider, when there is one
    settled      how many messages were, as far as look() saw them
    """

    def __init__(self, model: Model, log: Any, segments: Segments, state_kind: int):
        self._model = model
        self._log = log
        self._segments = segments
        self._state_kind = state_kind
        self._floors: dict[int, int] = {}  # queue id -> log offset below which it needs nothing
        self._done: dict[int, int] = {}  # queue id -> how many of its messages were done at the last look
        self._cleared = (0, 0)
        self.consider: Callable[[int, int, int], None] = lambda first, limit, settled: None
        self.restated = self.settled = 0

    @cython.ccall
    def look(self, queue: Queue):
        """Note what the queue needs of the log."""
        index: Index = queue.index
        cursor: Cursor = queue.cursor
        done: cython.longlong = cursor.floor + cursor.done_above
        known = self._done.get(queue.id)
        if known is None:
            self._done[queue.id] = done
        elif done != known:
            self.settled += done - known
            self._done[queue.id] = done
        if cursor.floor >= index.end:
            self._floors.pop(queue.id, None)
        elif cursor.floor < index.copied_to:  # its units lie in no order: only who looks into a segment can tell
            self._floors[queue.id] = 0
        elif index.find(cursor.floor) == 1:
            self._floors[queue.id] = index.log_offset
        else:  # its chunk is not in memory: what we knew is a lower bound, since units lie in the order of the log
            self._floors.setdefault(queue.id, 0)

    def forget(self, queue_id: int) -> None:
        """The queue was deleted."""
        self._floors.pop(queue_id, None)
        if self._done.pop(queue_id, None) is not None:
            self.settled += 1

    def cleared(self, upto: int) -> None:
        """What lived before `upto` was copied: a checkpoint that reflects the copies, appended by now, frees it."""
        self._cleared = upto, self._log.appended

    @property
    def needed_from(self) -> int:
        """The log offset of the first segment that somebody needs."""
        return self._segments.needed_from

    def needed_units(self) -> int:
        """Log offset of the oldest unit that is not done; the log's end when there is none."""
        return min(self._floors.values(), default=self._log.appended)

    def free(self, stamp: int) -> Iterator[None] | None:
        """After a checkpoint: say what is needed. Facts may be worth to be stated anew: then slices that do it, after
        which another checkpoint frees more."""
        facts = self._model.facts
        upto, after = self._cleared
        units = min(stamp, max(self.needed_units(), upto if stamp >= after else 0))
        oldest_fact = next(iter(facts.stated.values()), units)
        safe = min(units, oldest_fact)
        self._segments.free(safe)
        wanted = units - units % self._log.segment_bytes
        self.consider(max(self._segments.needed_from, wanted), stamp, self.settled)
        return self._restate(wanted) if oldest_fact < wanted else None

    def _restate(self, upto: int) -> Iterator[None]:
        """State the facts before `upto` anew, if that frees at least twice what it costs."""
        stated = self._model.facts.stated
        keys = []
        for key, offset in stated.items():
            if offset >= upto:
                break
            keys.append(key)
        if upto - self._segments.needed_from < 2 * FACT_BYTES * len(keys):
            return
        for count, key in enumerate(keys, 1):
            if stated.get(key, upto) < upto:  # still there, and not stated anew by a change
                self._state_anew(key)
            if count % SLICE_FACTS == 0:
                yield
        yield

    def _state_anew(self, key: Any) -> None:
        facts = self._model.facts
        fact = facts.get(key)
        if isinstance(fact, QueueFact):
            queue = self._model.queues[fact.id]
            fact.first_offset, fact.next_offset = queue.cursor.floor, queue.index.end
        elif isinstance(fact, TopicFact):
            fact.ends = self._model.topics[fact.config.name].queues.ends()
        elif key == IDS_KEY:
            fact = IdsFact(next_id=facts.next_id)
        facts.put(fact, self._log.append(self._state_kind, encode(fact)))
        self.restated += 1
