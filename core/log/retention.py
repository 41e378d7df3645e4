"""Which segments go: from the front, those that nothing needs, once they are no longer kept for replay; and which are
worth it that something is copied.

    first            needed_from                 committed
    | kept for replay | somebody needs it ........ |

What is needed is the caller's to say (state/retain.py, state/reappend.py): one offset. What is kept, keeping.py says:
of segments with native messages for a time, as RocketMQ keeps them, whatever their size.
The segment being written never goes. Removing is the engine's work, off the loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from core.log.commit_log import CommitLog
from core.log.engine import LogEngine
from core.log.keeping import RULES, STORE_MS_END, Keeper, stored_ms

logger = logging.getLogger(__name__)

OFFSET_MAX = (1 << 63) - 1
FREES_OF_COPIED = 2  # a prefix of the log goes when it frees so many times what has to be copied (architecture 8.6)


class Retention:
    """free() after a checkpoint; look() when the disk was looked at; make_room() when it takes no more.

    first        where the log begins
    needed_from  the first segment that somebody needs; it is remembered by checkpoints, and only grows
    freed        rule of keeping.py -> segments freed since start
    reading()    the lowest log offset that somebody is about to read
    native_from(), trimmed()   where the first native message lies; hears that segments went: the broker's to set
    """

    def __init__(
        self,
        log: CommitLog,
        first: int,
        failed: Callable[[Exception], None],
        reading: Callable[[], int],
        keeper: Keeper,
        *,
        needed_from: int = 0,
    ):
        self._log = log
        self._reading = reading
        self._engine: LogEngine = log.engine
        self._engine.make_room = self.make_room
        self._failed = failed
        self.keeper = keeper
        self.native_from: Callable[[], int] = lambda: OFFSET_MAX
        self.trimmed: Callable[[], None] = lambda: None
        self.first = first
        self.needed_from = max(first, needed_from - needed_from % log.segment_bytes)
        self.freed = dict.fromkeys(RULES, 0)
        self._going: dict[str, int] = {}  # rule -> segments that are being removed
        self._wanted = {"disk": 0, "full": 0}  # bytes that have to go, by what look() saw and make_room() was told
        self._ended_ms = 0  # when the last record of the front segment was stored, at the latest; 0 = not known
        self._asking = False

    @property
    def going_bytes(self) -> int:
        """What is being removed."""
        return sum(self._going.values()) * self._log.segment_bytes

    def free(self, safe_offset: int) -> list[int]:
        """Note what is needed, and free what may go; return where those segments begin. One removal is under way at a
        time, and what has to wait for that goes after it.

        safe_offset: no fact, unit or cursor change before it is still needed from the log.
        """
        needed = min(safe_offset, self._log.committed)
        self.needed_from = max(self.needed_from, needed - needed % self._log.segment_bytes)
        if self._engine.full:
            self._wanted["full"] = 1
        return self._go()

    def look(self, free: int, total: int) -> int:
        """The disk has `total` bytes, of which so many are free. Returns how many more will be: they are going."""
        self.keeper.look(free, total)
        self._wanted["disk"] = self.keeper.wanted(self.going_bytes)
        self._go()
        return self.going_bytes

    def clean(self) -> None:
        """An operator wants what is too old to go now, whatever the hour."""
        self.keeper.clean()
        self._go()

    def make_room(self, size: int = 1) -> bool:
        """So many bytes are wanted at once: what is kept for replay goes. False: nothing is going."""
        if not self._going:
            self._wanted["full"] = size
            self._go()
        return bool(self._going)

    def _go(self) -> list[int]:
        """Remove what some rule asks for."""
        if self._going:
            return []
        first, segment_bytes = self.first, self._log.segment_bytes
        limit = min(self.needed_from, self._reading())
        upto = first
        for rule, asked in self._asked():
            count = (min(asked, limit) - upto) // segment_bytes
            if count > 0:
                self._going[rule] = count
                upto += count * segment_bytes
        self._wanted = dict.fromkeys(self._wanted, 0)
        if upto > first:
            self.first, self._ended_ms = upto, 0
            self._engine.trim(upto, self._trimmed)
        elif first < self.needed_from and not (self._ended_ms or self._asking) and self._asks_age:
            self._ask_age(first + segment_bytes)
        return list(range(first, upto, segment_bytes))

    def _asked(self) -> Iterator[tuple[str, int]]:
        """(rule, log offset up to which it wants the log gone)."""
        segment_bytes, keeper = self._log.segment_bytes, self.keeper
        kept_from = self.needed_from - keeper.bytes_max
        native_from = self.native_from()
        yield "size", min(kept_from + -kept_from % segment_bytes, native_from - native_from % segment_bytes)
        if keeper.too_old(self._ended_ms):
            yield "hours", self.first + segment_bytes
        for rule, wanted in self._wanted.items():
            yield rule, self.first + wanted + -wanted % segment_bytes

    @property
    def _asks_age(self) -> bool:
        """Whether it matters how old a segment is."""
        return self.keeper.asks_age or self.native_from() < self.needed_from

    def _trimmed(self, result: list[int] | Exception) -> None:
        going, self._going = self._going, {}
        if isinstance(result, Exception):
            self._failed(result)
            return
        for rule, count in going.items():
            self.freed[rule] += count
        extra = {"segments": len(result), "log_begins_at": self.first, "rule": ", ".join(going)}
        logger.info("log segments freed", extra=extra)
        self.trimmed()
        self._go()

    def _ask_age(self, at: int) -> None:
        """Have the time of the record at `at`, where a segment begins: no record before it is younger."""
        self._asking = True
        self._engine.read(at, STORE_MS_END, partial(self._got_age, self.first, at))

    def _got_age(self, first: int, at: int, result: bytes | Exception) -> None:
        self._asking = False
        if first != self.first:  # it went meanwhile
            return
        found = 0 if isinstance(result, Exception) else stored_ms(result, at)
        if found:
            self._ended_ms = found
            if self.keeper.too_old(found):
                self._go()
        elif at < self.needed_from:  # a repair may have put something there that has no time
            self._ask_age(at + self._log.segment_bytes)


class Estimate(NamedTuple):
    """What of a segment was live when it was looked at: an upper bound, since nothing comes to life again, but for
    what looking at samples is worth. settled = how many messages had been settled by then, in all queues."""

    live_bytes: int
    settled: int


class Estimates:
    """What is known of the segments' live bytes, by the log offset at which each begins."""

    def __init__(self, segment_bytes: int):
        self._segment_bytes = segment_bytes
        self._known: dict[int, Estimate] = {}

    def put(self, base: int, live_bytes: int, settled: int) -> None:
        """A segment was looked at."""
        self._known[base] = Estimate(min(live_bytes, self._segment_bytes), settled)

    def cannot_read(self, base: int) -> None:
        """A segment must stay, and so what lies behind it."""
        self._known[base] = Estimate(OFFSET_MAX, OFFSET_MAX)

    def forget_before(self, first: int) -> None:
        """The log begins there now."""
        self._known = {base: known for base, known in self._known.items() if base >= first}

    def live_bytes(self, first: int, upto: int) -> int:
        """Of segments that are all known."""
        return sum(self._known[base].live_bytes for base in range(first, upto, self._segment_bytes))

    def worth(self, first: int, limit: int) -> tuple[int, int]:
        """(upto, unknown): it is worth copying what is live in [first, upto), 0 = in nothing; `unknown` is the segment,
        -1 = none, that has to be looked at before more can be said. Segments end before `limit`.

        The prefix consists of pieces each of which, as short as may be, frees enough: so nothing is copied that only
        what lies before it pays for."""
        start, worth, live = first, 0, 0
        for base in range(first, limit - self._segment_bytes + 1, self._segment_bytes):
            known = self._known.get(base)
            if known is None:
                return worth, base
            live += known.live_bytes
            upto = base + self._segment_bytes
            if upto - start >= FREES_OF_COPIED * live:
                start, worth, live = upto, upto, 0
        return worth, -1

    def stalest(self, settled: int) -> int:
        """The segment since whose look most was settled, the first of equals; -1: nothing was since any."""
        stale = [base for base, known in self._known.items() if known.settled < settled and known.live_bytes]
        return min(stale, key=lambda base: (self._known[base].settled, base), default=-1)
