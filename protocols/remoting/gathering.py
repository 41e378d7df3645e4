"""An answer for which much has to be looked up, some of it on the disk: a few reads at once, a slice in a turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

READS = 64  # under way for one request
STEPS_AT_ONCE = 1000  # in one turn of the loop

Done = Callable[[], None]
Step = Callable[[Done], None]


class Gathering:
    """Takes all steps, each of which calls the `done` that it is given when it is through, at once or later; then
    ended(), which comes from inside start() when nothing has to be waited for."""

    def __init__(self, broker: Any, steps: Iterator[Step], ended: Callable[[], None]):
        self._broker = broker
        self._steps = steps
        self._ended = ended
        self._under_way = 0
        self._more = True
        self._busy = False  # taking steps, or resting until the next turn

    def start(self) -> None:
        """Begin, or go on."""
        self._busy = True
        for _ in range(STEPS_AT_ONCE):
            if self._under_way >= READS:
                break
            step = next(self._steps, None)
            if step is None:
                self._more = False
                break
            self._under_way += 1
            step(self._done)
        else:
            self._broker.schedule.at(self._broker.clock.ms, self.start)
            return
        self._busy = False
        if not self._more and not self._under_way:
            self._ended()

    def _done(self) -> None:
        self._under_way -= 1
        if self._busy:
            return
        if self._more:
            self.start()
        elif not self._under_way:
            self._ended()


def store_ms(queue: Any, offset: int, take: Callable[[int], None]) -> Step:
    """A step that calls take(when the message at that offset was stored, 0 = it is not there any more)."""

    def step(done: Done) -> None:
        def found(ms: Any) -> None:
            take(0 if isinstance(ms, Exception) else ms)
            done()

        queue.store_ms(offset, found)

    return step
