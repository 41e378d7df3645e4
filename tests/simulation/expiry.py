"""When messages must be gone: at their time, but for what has to be read first, and that only once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.simulation.model import Model
from tests.simulation.queues import LATE_MS, ModelQueue, Violation

EXPIRING_MAX = 1000  # with fewer on their way to where dead letters go nothing holds expiry up


class Reads:
    """What queues have brought into memory to know of a message when it expires, or its size: see ColdReads.bring.

    What is overdue may wait for that, be it another message's: one that was the head when it was asked for. But it is
    under way then; and a head that is there when it should be gone goes at once, as does one whose size was wanted:
    none is asked for again. Nor is a dead letter that was there.
    """

    def __init__(self, life: Any, model: Model):
        self._life, self._model = life, model
        self._bring = life.broker.cold.bring
        self._under_way: Counter[Any] = Counter()  # queue -> how many, without letters
        self._came: set[tuple[Any, int, bool]] = set()  # after their time, or as letters

    def watch(self) -> None:
        """See all of them from now on."""
        self._life.broker.cold.bring = self._brought

    def _brought(self, queue: Any, offset: int, done: Callable[[], None]) -> None:
        asks = getattr(done, "func", done)
        read = queue, offset, asks.__self__ is self._life.broker.dead_letters
        if read in self._came:
            raise Violation(f"{queue.name}: offset {offset} is read again, it had come after its time: {asks}")
        self._under_way[queue] += not read[2]
        self._bring(queue, offset, lambda: self._is_there(read, done))

    def _is_there(self, read: tuple[Any, int, bool], done: Callable[[], None]) -> None:
        queue, offset, is_letter = read
        self._under_way[queue] -= not is_letter
        known = self._model.now.queues.get(queue.name)
        is_due = known is not None and offset in overdue(known, self._life.clock.ms)
        if is_letter or (is_due and (offset == queue.head() or getattr(done, "__self__", None) is queue)):
            self._came.add(read)
        done()

    def under_way(self, queue: Any) -> bool:
        """Whether anything is being read so that the queue's messages may expire."""
        return self._under_way[queue] > 0


def overdue(known: ModelQueue, clock_ms: int, late_ms: int = 0) -> set[int]:
    """Offsets that should be gone for longer than that: what a consumer holds does not expire before it comes back."""
    units = ((offset, known.units[offset]) for offset in known.ready())
    since = ((offset, max(unit.expires_ms, unit.back_ms)) for offset, unit in units if unit.expires_ms)
    return {offset for offset, ms in since if ms < clock_ms - late_ms}


def check_expired(queue: Any, known: ModelQueue, reads: Reads, clock_ms: int) -> None:
    """What is overdue is not ready, wherever it lies, but for what is being read or waits for dead letters to leave.
    What is read to be delivered (reading) is looked at as soon as it is there, too."""
    ready, late = known.ready(), overdue(known, clock_ms, LATE_MS)
    if queue.ready <= len(ready) - len(late) or queue.burying >= EXPIRING_MAX:
        return
    if queue.reading or reads.under_way(queue):
        return
    raise Violation(f"{known.name}: {queue.ready} are ready of {len(ready)}, but {len(late)} have expired")
