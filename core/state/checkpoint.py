"""Checkpoints: what changed, with the log offset it reflects, in one LMDB transaction.

    freeze in slices on the loop ──► wait until the log is committed past it ──► one transaction in the
    checkpointer's thread ──► mark stored, unload what is far from both ends ──► free what the log needs no more

The stamp is the log's end when the freeze began, so what later slices saw beyond it is replayed over: every record is
absolute. A failed checkpoint costs only time at the next start; the log alone always suffices.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

from core.queue.index import CHUNK_UNITS
from core.queue.topic_queue import TopicLog, TopicQueue
from core.state.done import DoneWriter, gather
from core.state.freeze import freeze_tail, freeze_topic_queue
from core.state.model import FactKey, Model
from core.state.records import encode
from core.state.retain import Retainer
from core.state.snapshot import (
    Stamp,
    Tables,
    chunk_key,
    chunk_row,
    fact_digest,
    fact_row,
    queue_key,
    stamp_row,
)

logger = logging.getLogger(__name__)

UNSTORED_CHUNKS_MAX = 256  # full chunks in memory that no checkpoint holds: 2.5 MiB, and as much while it is written
LOOK_BYTES, LOOK_QUEUE_BYTES = 4 << 20, 4096  # how often, in bytes of log, they are counted: at least, and per queue


class Worker(Protocol):
    """Of core.disk.threads.Worker, what is used here."""

    def submit(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run job() in the thread, then done(result or Exception) on the loop."""


class Ports(NamedTuple):
    """What a checkpointer works with. soon(callback) runs it in the next turn of the loop; hand_over() appends what was
    settled up to now; sync_log(offset) makes the log durable up to there and runs in the thread; topics: which queues
    of native topics have changed."""

    tables: Tables
    worker: Worker
    soon: Callable[[Callable[[], None]], Any]
    hand_over: Callable[[], None]
    sync_log: Callable[[int], None]
    topics: TopicLog


class Slices(NamedTuple):
    """What one turn of the loop freezes."""

    queues: int = 256
    chunks: int = 64
    facts: int = 256


class Frozen:
    """What one checkpoint writes, and how to take it back if that fails."""

    def __init__(self, stamp: Stamp, facts: set[FactKey], queues: dict[int, Any], gone: set[int]):
        self.stamp = stamp
        self.facts, self.queues, self.gone = facts, queues, gone
        self.puts: dict[str, list[tuple[bytes, bytes]]] = {"meta": [], "facts": [], "queues": [], "chunks": []}
        self.deletes: dict[str, list[bytes]] = {"facts": [], "queues": [], "chunks": []}
        self.full: list[tuple[Any, int]] = []  # (queue, chunk number) to be marked stored
        self.chunked: list[tuple[Any, list[int]]] = []  # (queue with chunks in the store, those forgotten)
        self.tails: dict[int, int] = {}  # that will be others than before

    def write(self, tables: Tables, sync_log: Callable[[int], None], committed: int) -> None:
        """In the checkpointer's thread."""
        sync_log(committed)
        self.puts["meta"] = [stamp_row(self.stamp)]
        self.deletes["queues"] += map(queue_key, self.gone)
        tables.commit(self.puts, self.deletes, {"chunks": list(map(queue_key, self.gone))})


class Checkpointer:
    """gather() when what was settled is handed over; checkpoint() when due.

    stamp   log offset of the last checkpoint; checkpoints, failures = how many; bytes_max = log bytes between two
    slices  may be replaced while none is made
    touched queue id -> Queue, changed since the last freeze
    """

    def __init__(self, model: Model, log: Any, ports: Ports, retainer: Retainer, bytes_max: int):
        self._model = model
        self._log = log
        self._ports = ports
        self._retainer = retainer
        self.bytes_max = bytes_max
        self.slices = Slices()
        self.stamp = log.appended
        self.touched: dict[int, Any] = {}
        self.gone: set[int] = set()
        self.checkpoints = self.failures = 0
        self.running = False
        self._tails: dict[int, int] = {}  # queue id -> number of the partial chunk that the store holds
        self._writer = DoneWriter(min(64 << 10, log.segment_bytes // 4))
        self._look_at = log.appended + LOOK_BYTES
        self._not_before = 0  # after a failure: log offset from which consider() may try again
        self._finished: list[Callable[[], None]] = []
        self._again = self._clean = self._restating = False

    def restored(self, queue: Any, tail: int) -> None:
        """Recovery made this queue; `tail` = number of the partial chunk that the store holds of it, or -1."""
        if tail >= 0:
            self._tails[queue.id] = tail
        if not isinstance(queue, TopicQueue):
            self._retainer.look(queue)

    def gather(self, settled: list[Any]) -> list[bytes]:
        """The queues that changed since the last time. Returns the bodies of their *done* records."""
        return gather(settled, self.touched, self._writer)

    def deleted(self, queue_id: int) -> None:
        """A durable queue is gone: its rows go with the next checkpoint."""
        self.touched.pop(queue_id, None)
        self._ports.topics.touched.pop(queue_id, None)
        self._tails.pop(queue_id, None)
        self.gone.add(queue_id)
        self._retainer.forget(queue_id)

    @property
    def dirty(self) -> bool:
        """Whether a checkpoint would change anything."""
        touched = self.touched or self._ports.topics.touched
        return bool(touched or self.gone or self._model.facts.changed or self._log.appended > self.stamp)

    def consider(self) -> int:
        """Begin a checkpoint if log bytes or unstored chunks ask for it; return the log offset from which on it is
        worth to ask again."""
        appended: int = self._log.appended
        if self.running or appended < self._not_before:
            return max(appended, self._not_before)
        if appended - self.stamp >= self.bytes_max:
            self.checkpoint()
        elif appended >= self._look_at:
            touched = [*self.touched.values(), *self._ports.topics.touched.values()]
            self._look_at = appended + max(LOOK_BYTES, LOOK_QUEUE_BYTES * len(touched))
            if sum(len(queue.index.unstored) for queue in touched) >= UNSTORED_CHUNKS_MAX:
                self.checkpoint()
        return min(self.stamp + self.bytes_max, self._look_at)

    def close(self, finished: Callable[[], None]) -> None:
        """Make the last one, which says that the broker stopped cleanly; nothing may be appended any more."""
        self._clean = True
        for queue in self._model.queues.values():  # what was delivered since touches no queue otherwise
            if queue.cursor.floor < queue.index.end:
                self.touched[queue.id] = queue
        self.checkpoint(finished)

    def checkpoint(self, finished: Callable[[], None] | None = None) -> None:
        """Make one now; if one is under way, another follows it. finished() runs after it, whatever its outcome."""
        if finished is not None:
            self._finished.append(finished)
        if self.running:
            self._again = True
            return
        self.running = True
        self._again = False
        self._ports.hand_over()  # what changed in this turn lies below the stamp: its queues must be among the touched
        facts = self._model.facts
        stamp = Stamp(
            self._log.appended,
            self._log.counters(),
            self._clean,
            facts.next_id,
            self._retainer.needed_from,
            self._log.batch_offset,
        )
        touched = self.touched | self._ports.topics.take_touched()
        frozen = Frozen(stamp, facts.changed, touched, self.gone)
        facts.changed, self.touched, self.gone = set(), {}, set()
        self._writer.epoch += 1
        waiting, self._finished = self._finished, []
        self._step(frozen, self._freeze(frozen), waiting)

    def _step(self, frozen: Frozen, slices: Iterator[None], waiting: list[Callable[[], None]]) -> None:
        """Freeze one slice; after the last, wait for the log."""
        try:
            next(slices)
        except StopIteration:
            self._ports.hand_over()  # a cursor that was copied must not be ahead of the log
            self._log.when_committed(partial(self._write, frozen, waiting))
            self._ports.soon(self._log.submit)
            return
        self._ports.soon(partial(self._step, frozen, slices, waiting))

    def _freeze(self, frozen: Frozen) -> Iterator[None]:
        """Copy what changed; yields between slices."""
        facts = self._model.facts
        for count, key in enumerate(frozen.facts, 1):
            fact, offset = facts.get(key), facts.stated.get(key)
            if fact is None or offset is None:
                frozen.deletes["facts"].append(fact_digest(key))
            else:
                frozen.puts["facts"].append(fact_row(key, offset, encode(fact)))
            if count % self.slices.facts == 0:
                yield
        for count, queue in enumerate(frozen.queues.values(), 1):
            stored: Iterable[int] = ()
            if queue.index.unstored or queue.index.stored:
                stored = yield from self._freeze_chunks(frozen, queue)
            if not queue.deleted:
                self._freeze_queue(frozen, queue, stored)
            if count % self.slices.queues == 0:
                yield

    def _freeze_queue(self, frozen: Frozen, queue: Any, stored: Iterable[int]) -> None:
        """What is kept of one queue, beside its full chunks."""
        held = self._tails.get(queue.id, -1)
        native = isinstance(queue, TopicQueue)
        freeze = freeze_topic_queue if native else freeze_tail
        tail = freeze(queue, held, stored, frozen.puts, frozen.deletes)
        if tail != held:
            frozen.tails[queue.id] = tail
        if not native:
            self._retainer.look(queue)

    def _freeze_chunks(self, frozen: Frozen, queue: Any) -> Generator[None, None, set[int]]:
        """One queue's full chunks, in slices; returns the numbers of those that the store will hold. What is done with
        the queue before the next yield sees it as it was when this ended."""
        index = queue.index
        numbers = sorted(index.unstored)
        for count, number in enumerate(numbers, 1):
            if index.loaded(number * CHUNK_UNITS):
                frozen.puts["chunks"].append(chunk_row(queue.id, number, index.used_bytes(number)))
                frozen.full.append((queue, number))
            if count % self.slices.chunks == 0:
                yield
                if queue.deleted:
                    return set()
        stored = index.stored.union(number for number in numbers if (number + 1) * CHUNK_UNITS > index.begin)
        forgotten = index.forget_stored()
        frozen.chunked.append((queue, forgotten))
        frozen.deletes["chunks"] += [chunk_key(queue.id, number) for number in forgotten]
        stored.difference_update(forgotten)
        for number in sorted(index.unstored.difference(numbers)):  # became full while we copied
            frozen.puts["chunks"].append(chunk_row(queue.id, number, index.used_bytes(number)))
            frozen.full.append((queue, number))
            stored.add(number)
        return stored

    def _write(self, frozen: Frozen, waiting: list[Callable[[], None]]) -> None:
        """The log is committed past all that was frozen."""
        job = partial(frozen.write, self._ports.tables, self._ports.sync_log, self._log.committed)
        self._ports.worker.submit(job, partial(self._written, frozen, waiting))

    def _written(self, frozen: Frozen, waiting: list[Callable[[], None]], result: Any) -> None:
        """Back on the loop."""
        self.running = False
        if isinstance(result, Exception):
            self._take_back(frozen, result)
        else:
            self.checkpoints += 1
            self.stamp = frozen.stamp.offset
            for queue_id, tail in frozen.tails.items():
                if tail >= 0 and queue_id not in self.gone:
                    self._tails[queue_id] = tail
                else:
                    self._tails.pop(queue_id, None)
            self._mark_stored(frozen)
            slices = None if self._clean else self._retainer.free(self.stamp)
            if slices is not None and not self._restating:
                self._restating = True
                self._restate(slices, 0)
        for callback in waiting:
            callback()
        if self._again or self._finished:
            self.checkpoint()

    def _restate(self, slices: Iterator[None], done: int) -> None:
        """Facts are stated anew, some in a turn of the loop; another checkpoint lets go of where they were."""
        if self._clean:
            return
        for _ in slices:
            self._ports.soon(partial(self._restate, slices, done + 1))
            return
        self._restating = False
        if done:
            self.checkpoint()

    def _mark_stored(self, frozen: Frozen) -> None:
        for queue, number in frozen.full:
            if queue.deleted:
                continue
            queue.index.unstored.discard(number)
            queue.index.stored.add(number)
            if (number + 1) * CHUNK_UNITS <= queue.index.begin:
                self.touched[queue.id] = queue  # settled meanwhile: the next checkpoint deletes the row
        for queue, _ in frozen.chunked:
            if not queue.deleted:
                unload_far(queue)

    def _take_back(self, frozen: Frozen, error: Exception) -> None:
        """Nothing was written: all of it is still to be done."""
        self.failures += 1
        self._not_before = self._log.appended + LOOK_BYTES
        logger.warning("checkpoint failed; the next one tries again", extra={"error": str(error)})
        self._model.facts.changed |= frozen.facts
        self.gone |= frozen.gone
        for queue, numbers in frozen.chunked:
            queue.index.stored.update(numbers)
        for queue_id, queue in frozen.queues.items():
            if not queue.deleted:
                self.touched[queue_id] = queue


def near_chunks(queue: Any) -> set[int]:
    """Numbers of the chunks that stay in memory: the floor's, those that are read next, and the youngest two."""
    index = queue.index
    if isinstance(queue, TopicQueue):  # each reader has a place of its own: most keep up
        return {index.end // CHUNK_UNITS - 1, index.end // CHUNK_UNITS}
    reading = queue.next // CHUNK_UNITS
    last = index.end // CHUNK_UNITS
    return {queue.cursor.floor // CHUNK_UNITS, reading, reading + 1, last - 1, last}


def unload_far(queue: Any) -> None:
    """Let stored chunks that are far from both ends leave memory."""
    index = queue.index
    near = near_chunks(queue)
    for number in index.loaded_chunks():
        if number not in near and number in index.stored and number not in index.unstored:
            index.unload(number)


def spill_full_chunks(tables: Tables, slots: Iterable[Any]) -> None:
    """During replay: full chunks go to the store, so that a backlog of any size fits into memory. Blocks."""
    rows = []
    full = []
    for slot in slots:
        for number in sorted(slot.index.unstored):
            rows.append(chunk_row(slot.id, number, slot.index.used_bytes(number)))
            full.append((slot.index, number))
    tables.commit({"chunks": rows}, {}, {})
    for index, number in full:
        index.unstored.discard(number)
        index.stored.add(number)
        index.unload(number)
