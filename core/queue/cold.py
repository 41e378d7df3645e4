"""Messages that are no longer in memory: index chunks come back from the store, messages from the log's segments.

One call reads ahead up to 1,024 messages or 1 MiB in the order of the queue, up to what the tail still holds. The queue
does not deliver until it is answered, so there is at most one read per queue under way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from core.queue.ahead import units_ahead
from core.queue.index import CHUNK_UNITS, FOUND, NOT_LOADED

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """Of core.log.reader.Reader, what is used here."""

    def fetch(self, units: Any, done: Callable[[Any], None]) -> None:
        """done(messages in the order of the units (log offset, size)), or done(exception)."""


class Worker(Protocol):
    """Of core.disk.threads.Worker, what is used here."""

    def submit(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run job() in a thread, then done(result or Exception) on the loop."""


class ColdReads:
    """Called by a queue that needs a message which is not in memory: queue.cold(queue, offset).

    read_chunk(queue id, number) blocks and runs in the worker; spill.fetch(held, offset, done) reads a transient
    queue's messages. Counters: reads, chunks.
    """

    def __init__(
        self,
        reader: Reader,
        worker: Worker,
        read_chunk: Callable[[int, int], bytes | None],
        tail: Any,
        spill: Any = None,
    ):
        self._reader = reader
        self._worker = worker
        self._read_chunk = read_chunk
        self._tail = tail
        self._spill = spill
        self.reads = self.chunks = 0
        self._stopped: list[Any] = []
        self._awaited: set[Any] = set()  # queues whose head is on its way, so that it expires

    @property
    def failed(self) -> int:
        """Queues that stand still because what they need next cannot be read."""
        self._stopped = [queue for queue in self._stopped if queue.stopped and not queue.deleted]
        return len(self._stopped)

    def expire(self, queue: Any) -> None:
        """queue.expire(), which stops at a chunk that is not in memory: go on when it is."""
        if queue.deleted:
            return
        queue.expire()
        if not queue.ready or queue.stopped:
            return
        head = queue.head()
        if head >= 0 and queue not in self._awaited and self._is_cold(queue, head):
            self._awaited.add(queue)
            self.bring(queue, head, partial(self._go_on, queue))

    def _go_on(self, queue: Any) -> None:
        self._awaited.remove(queue)
        self.expire(queue)

    def _is_cold(self, queue: Any, offset: int) -> bool:
        """Whether bring() is needed to know when the message at a ready offset expires."""
        if queue.index is not None:
            return bool(queue.index.find(offset) == NOT_LOADED)
        return not queue.held.holds(offset) and not queue.held.is_lost(offset)

    def bring(self, queue: Any, offset: int, done: Callable[[], None]) -> None:
        """Bring what tells when a message expires, and its size, into memory, then done(): the index's chunk, or a
        transient queue's message. See load(); what it is may be settled by then, or lost."""
        if queue.index is not None:
            self.load(queue, offset // CHUNK_UNITS, done)
        else:
            self._spill.fetch(queue.held, offset, done)

    def __call__(self, queue: Any, offset: int) -> None:
        """Read what lies at `offset` of the queue, and what follows it."""
        if queue.deleted:
            return
        if queue.index is None:  # a transient queue
            self._spill.fetch(queue.held, offset, partial(queue.read_finished, {}))
            return
        if queue.index.find(offset) == NOT_LOADED:
            self.bring(queue, offset, partial(self._loaded, queue, offset))
            return
        offsets: list[int] = []
        units = units_ahead(queue.upcoming(offset), queue.index, queue.cursor, self._tail, offsets)
        if not units:  # settled meanwhile
            queue.read_finished({})
            return
        self._fetch(queue, units, offsets)

    def _fetch(self, queue: Any, units: list[tuple[int, int]], offsets: list[int]) -> None:
        self.reads += 1
        self._reader.fetch(units, partial(self._fetched, queue, units, offsets))

    def load(self, queue: Any, number: int, done: Callable[[], None]) -> None:
        """Bring a stored chunk of the queue back into memory, then done(). It is not there if the queue is deleted by
        then, or stopped: because it cannot be read."""
        self.chunks += 1
        job = partial(self._read_chunk, queue.id, number)
        self._worker.submit(job, partial(self._got_chunk, queue, number, done))

    def _got_chunk(self, queue: Any, number: int, done: Callable[[], None], result: Any) -> None:
        if queue.deleted:
            result = None
        elif result is None and (number + 1) * CHUNK_UNITS > queue.index.begin:
            result = LookupError(f"chunk {number} of the index is missing in the store")
        if isinstance(result, Exception):
            self._stop(queue, result)
        elif result is not None:
            queue.index.load(number, result)
        done()

    def _loaded(self, queue: Any, offset: int) -> None:
        if not queue.deleted and queue.index.find(offset) == FOUND:
            self(queue, offset)
        elif not queue.stopped:  # settled and trimmed while it was read
            queue.read_finished({})

    def _fetched(self, queue: Any, units: list[tuple[int, int]], offsets: list[int], result: Any) -> None:
        if queue.deleted:
            queue.read_finished({})
        elif not isinstance(result, Exception):
            queue.read_finished(dict(zip(offsets, result, strict=True)))
        elif len(units) > 1:  # it may be another that cannot be read
            self._fetch(queue, units[:1], offsets[:1])
        else:
            self._stop(queue, result)

    def _stop(self, queue: Any, error: Exception) -> None:
        """What the queue needs next cannot be read: say so, in the log and to whoever waits for it."""
        if queue.stopped:
            return
        self._stopped.append(queue)
        queue.stop()
        logger.error(
            "queue stopped: a message cannot be read",
            extra={"queue": queue.name, "vhost": queue.vhost.decode(), "error": str(error)},
        )
