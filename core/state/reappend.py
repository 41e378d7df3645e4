"""Retention by re-append: what is live in the front segments is appended anew, so that one slow queue pins nothing.

    consider() after a checkpoint ──► look at samples of the front segments ──► a prefix is worth it (log/retention.py)
    ──► copy() what is live in it, in slices ──► cleared(): the next checkpoint frees it

A copy is a store record like any other: it states every (queue, offset) that is live, so replay, which takes records in
any order, needs to know nothing of it. A crash in between leaves messages twice in the log and once in their queues.
Nothing is copied while a checkpoint freezes: what it has copied of an index must not change behind its back.

Work is rationed: a slice of at most about a millisecond, then a pause of PAUSE_MS; none while batches queue up for the
disk; and not more is read to look around than the log grows, or than what is settled makes good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from core.log.decode import whole
from core.log.retention import FREES_OF_COPIED, Estimates
from core.queue.index import CHUNK_UNITS
from core.state.checkpoint import near_chunks
from core.state.live import ALL, BLOCK, CHUNK, DAMAGED, LATER, MESSAGE, LiveScan

logger = logging.getLogger(__name__)

PAUSE_MS = 4  # between slices
WAIT_MS = 50  # for a checkpoint, or for a disk that is full or behind
PENDING_BYTES_MAX = 4 << 20  # appended and not committed: then copies wait
RESERVE_BYTES = 32 << 20  # of the disk, which copies leave alone; at most two segments
SAMPLES = 32  # of a segment: to know about how much of it is live
PASS_BYTES, PASS_SEGMENTS = 256 << 20, 64  # that one pass is to free: the more, the fewer checkpoints
KEPT_WHY = {
    "wanted": "too much in them is still wanted",
    "room": "the disk has no room for copies of what is live in them",
    "unreadable": "a record in them cannot be read",
}
OVERRUN = 1.25  # copying ends when so many times more is live than a prefix may hold


class Portions(NamedTuple):
    """How much at once. slice_cost: small records looked at between two pauses; live.py says what a copy costs;
    sample_bytes: of a sample; block_bytes: read to be copied, or one bigger record."""

    slice_cost: int = 1500
    sample_bytes: int = 256 << 10
    block_bytes: int = 1 << 20


class Ports(NamedTuple):
    """What re-appending works with.

    log, queues, reader      CommitLog; id -> durable queue; Reader
    read_chunk(queue id, number, done=)   done(a stored chunk of an index, None or Exception)
    busy()                   whether a checkpoint is being made
    later(ms, callback)      a timer, ms from now
    free_bytes(done)         done(bytes free on the disk, or Exception)
    make_room(bytes)         what is kept for replay goes; False: nothing does
    cleared(upto)            nothing that is live lies before `upto` any more
    """

    log: Any
    queues: dict[int, Any]
    reader: Any
    read_chunk: Callable[..., None]
    busy: Callable[[], bool]
    later: Callable[[int, Callable[[], None]], Any]
    free_bytes: Callable[[Callable[[Any], None]], None]
    make_room: Callable[[int], bool]
    cleared: Callable[[int], None]


class Reappender:
    """consider() after each checkpoint; portions may be replaced before the first.

    copied_bytes, copied_records, looked_bytes   since start
    declined   why of KEPT_WHY -> how often what is live was not copied
    """

    def __init__(self, ports: Ports):
        self._ports = ports
        self.portions = Portions()
        self._segment_bytes: int = ports.log.segment_bytes
        self._estimates = Estimates(self._segment_bytes)
        self._credit = self._segment_bytes  # bytes that may be read to look around
        self._grown_to: int = ports.log.appended
        self._settled = 0
        self._first = self._limit = 0
        self._scan: Any = None
        self._loaded: list[tuple[Any, int]] = []  # chunks that were loaded to be looked at
        self._said_kept = -1
        self.working = self.closed = False
        self.copied_bytes = self.copied_records = self.looked_bytes = 0
        self.declined = dict.fromkeys(KEPT_WHY, 0)

    def consider(self, first: int, limit: int, settled: int) -> None:
        """The log begins at `first`, and the last checkpoint reflects it up to `limit`; settled = how many messages
        were, in all queues since start."""
        log = self._ports.log
        grown, done = log.appended - self._grown_to, settled - self._settled
        self._grown_to, self._settled = log.appended, settled
        each = log.appended // max(1, log.records) if log.records else 0
        self._credit = min(self._credit + grown + FREES_OF_COPIED * done * each, limit - first + self._segment_bytes)
        self._limit = min(limit, log.committed)
        if first > self._first:
            self._first = first
            self._estimates.forget_before(first)
        if not self.working and not self.closed:
            self._decide()

    def _decide(self) -> None:
        """Copy, look at one more segment, or let it be until the next checkpoint."""
        self.working = False
        if self.closed:
            return
        upto, unknown = self._estimates.worth(self._first, self._limit)
        base = unknown if unknown >= 0 or upto else self._estimates.stalest(self._settled)
        may_look = self._credit >= min(self._segment_bytes, SAMPLES * self.portions.sample_bytes)
        enough = min(PASS_BYTES, PASS_SEGMENTS * self._segment_bytes)
        if base >= 0 and may_look and upto - self._first < enough:
            self.working = True
            self._look(base)
        elif upto:
            self.working = True
            self._ports.free_bytes(partial(self._has_room, upto))
        elif unknown < 0:
            self._say_kept()

    def _new_scan(self, at: int, upto: int) -> Any:
        return LiveScan(self._ports.queues, self._ports.log, at, upto, self.portions.block_bytes)

    # -- looking

    def _look(self, base: int) -> None:
        """Read samples of a segment, one after the other."""
        scan, size = self._new_scan(base, base), self.portions.sample_bytes
        step = max(size, self._segment_bytes // SAMPLES // size * size)
        self._sample(scan, base, list(range(base, base + self._segment_bytes, step)), 0)

    def _sample(self, scan: Any, base: int, places: list[int], seen: int) -> None:
        if self.closed or base < self._first:  # it went meanwhile
            self._decide()
        elif places:
            size = min(self.portions.sample_bytes, base + self._segment_bytes - places[0])
            self._credit -= size
            self._read(places[0], size, partial(self._sampled, scan, base, places, seen + size))
        else:
            self._estimates.put(base, scan.live_bytes * self._segment_bytes // seen, self._settled)
            self._decide()

    def _sampled(self, scan: Any, base: int, places: list[int], seen: int, block: bytes) -> None:
        place = places.pop(0)
        after = partial(self._sample, scan, base, places, seen)
        if scan.sample(block, place, place + len(block)):
            self._ports.later(PAUSE_MS, after)
        else:
            self._read(scan.at, scan.wanted, partial(self._sampled_one, scan, scan.at, after))

    def _sampled_one(self, scan: Any, at: int, after: Callable[[], None], record: bytes) -> None:
        """The last record of a sample, which its block had cut."""
        if scan.sample(record, at, at + 1) or scan.wanted <= len(record):
            self._ports.later(PAUSE_MS, after)
        else:
            self._read(at, scan.wanted, partial(self._sampled_one, scan, at, after))

    def _read(self, at: int, size: int, done: Callable[[bytes], None]) -> None:
        """done(bytes), unless that cannot be read: its segment is gone, or stays."""
        self.looked_bytes += size
        self._ports.log.engine.read(at, size, partial(self._got, at, done))

    def _got(self, at: int, done: Callable[[bytes], None], result: bytes | Exception) -> None:
        if isinstance(result, Exception):
            self._give_up(at, str(result))
        else:
            done(result)

    # -- copying

    def _has_room(self, upto: int, free: int | Exception) -> None:
        """The disk has so much free: copies never take what acks and closes need (architecture rule 8.9)."""
        wanted = self._estimates.live_bytes(self._first, upto) + min(RESERVE_BYTES, 2 * self._segment_bytes)
        self.working = False
        if not isinstance(free, Exception) and free < wanted and self._ports.make_room(wanted - free):
            self.working = True
            self._ports.later(WAIT_MS, self._decide)
        elif isinstance(free, Exception) or free < wanted:
            self._say_kept("room")
        elif not self.closed:
            self.working = True
            self._scan = self._new_scan(self._first, upto)
            self._begun_at = self._first
            self._next_slice(b"", self._first)

    def _next_slice(self, block: bytes, start: int) -> None:
        self._scan.budget = self.portions.slice_cost
        self._slice(block, start)

    def _slice(self, block: bytes, start: int) -> None:
        """Look at some records of a block read at `start`, and copy what is live."""
        scan, ports, log = self._scan, self._ports, self._ports.log
        if self.closed:
            return
        if ports.busy() or log.engine.full or log.pending_bytes > PENDING_BYTES_MAX:
            ports.later(WAIT_MS, partial(self._slice, block, start))
            return
        if scan.at < self._first:  # it went meanwhile
            scan.at, block = self._first, b""
        result = scan.run(block, start)
        before = scan.copied_bytes, scan.copied_records
        scan.copy()
        self.copied_bytes += scan.copied_bytes - before[0]
        self.copied_records += scan.copied_records - before[1]
        if result != CHUNK:
            self._let_go()
        if scan.copied_bytes * FREES_OF_COPIED > (scan.upto - self._begun_at) * OVERRUN:
            self._overrun()
        elif result == LATER:
            ports.later(PAUSE_MS, partial(self._next_slice, block, start))
        elif result == ALL:
            self._through()
        elif result == DAMAGED:
            self._give_up(scan.at, f"no valid record is at log offset {scan.at}")
        else:
            self._bring(result, block, start)

    def _bring(self, missing: int, block: bytes, start: int) -> None:
        """Have in memory what the scan misses, and go on."""
        scan, ports = self._scan, self._ports
        again = partial(self._slice, block, start)
        if missing == BLOCK:
            at = scan.at
            size = min(scan.wanted, self._segment_bytes - at % self._segment_bytes)
            ports.log.engine.read(at, size, partial(self._got, at, lambda data: self._slice(data, at)))
        elif missing == CHUNK:
            queue, number = scan.missing_queue, scan.missing_chunk
            ports.read_chunk(queue.id, number, done=partial(self._got_chunk, queue, number, again))
        else:
            assert missing == MESSAGE
            place = scan.message_at, scan.message_size
            ports.reader.fetch([place], partial(self._fetched, place[0], again))

    def _got_chunk(self, queue: Any, number: int, again: Callable[[], None], result: Any) -> None:
        index = queue.index
        if isinstance(result, bytes):
            index.load(number, result)
            self._loaded.append((queue, number))
        elif not queue.deleted and (number + 1) * CHUNK_UNITS > index.begin and not index.loaded(number * CHUNK_UNITS):
            self._give_up(self._scan.at, f"chunk {number} of the index of queue {queue.id}: {result}")
            return
        again()

    def _fetched(self, at: int, again: Callable[[], None], result: Any) -> None:
        if isinstance(result, Exception):
            self._give_up(at, str(result))
        else:
            found = result[0]
            self._scan.kept = whole(found, at) if isinstance(found, bytes) else found
            again()

    def _let_go(self) -> None:
        """What was loaded to be looked at leaves memory again, unless it changed or is near what is read next."""
        for queue, number in self._loaded:
            index = queue.index
            loaded = not queue.deleted and index.loaded(number * CHUNK_UNITS)
            if loaded and number in index.stored and number not in index.unstored and number not in near_chunks(queue):
                index.unload(number)
        self._loaded = []

    # -- how it ends

    def _through(self) -> None:
        """Everything live that lay in the prefix lies behind it now, too."""
        scan, self._scan = self._scan, None
        self.working = False
        if scan.copied_records:
            extra = {
                "segments": (scan.upto - self._begun_at) // self._segment_bytes,
                "copied_bytes": scan.copied_bytes,
                "copied_records": scan.copied_records,
            }
            logger.info("log segments may go: what was live in them was appended anew", extra=extra)
        self._said_kept = -1
        self._ports.cleared(scan.upto)

    def _overrun(self) -> None:
        """More is live than the samples told: the whole prefix counts as live until something is settled."""
        scan, self._scan = self._scan, None
        for base in range(self._first, scan.upto, self._segment_bytes):
            self._estimates.put(base, self._segment_bytes, self._settled)
        self._decide()

    def _give_up(self, at: int, error: str) -> None:
        """A segment that cannot be read stays, and with it what lies behind, until all queues are past it."""
        self._scan = None
        base = at - at % self._segment_bytes
        if base >= self._first and not self.closed:
            self._estimates.cannot_read(base)
            self.declined["unreadable"] += 1
            logger.error("log segment is kept: it cannot be read", extra={"segment": base, "error": error})
        self.working = False

    def _say_kept(self, why: str = "wanted") -> None:
        """Once for as long as it stays so."""
        segments = (self._limit - self._first) // self._segment_bytes
        if segments and self._said_kept != self._first:
            self._said_kept = self._first
            self.declined[why] += 1
            extra = {"segments": segments, "needed_from": self._first, "why": KEPT_WHY[why]}
            logger.info("log segments are kept", extra=extra)
