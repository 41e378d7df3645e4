"""Where the log begins later, because segments went, the queues of native topics do, too: min_offset moves.

All queues are looked at after each removal, some in a turn of the loop. A queue's units lie in the order of the log, so
the first that is still there is found by bisection; chunks of the index that are stored are read on the way, by a
reader thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from core.queue.index import ABSENT, CHUNK_BYTES, CHUNK_UNITS, FOUND, UNIT_BYTES
from core.queue.topic_queue import TopicLog, TopicQueue

logger = logging.getLogger(__name__)

QUEUES_AT_ONCE = 500  # in one turn of the loop: less than a millisecond
OFFSET_MAX = (1 << 63) - 1


class Trimmer:
    """look() when segments went, or a topic did. passes = how often all queues were looked at."""

    def __init__(self, topics: dict[bytes, Any], shared: TopicLog, soon: Callable[[Callable[[], None]], Any]):
        self._topics = topics
        self._shared = shared
        self._soon = soon
        self._again = self.running = False
        self._lowest = OFFSET_MAX
        self._began_at = (0, 0)
        self.passes = 0

    def look(self) -> None:
        """Go through all queues; if that is being done, once more."""
        if self.running:
            self._again = True
            return
        self.running, self._lowest = True, OFFSET_MAX
        self._began_at = self._shared.log.appended, self._shared.appended
        queues = [queue for topic in self._topics.values() for queue in topic.queues.made.values()]
        self._go_on(iter(queues))

    def _go_on(self, queues: Iterator[TopicQueue]) -> None:
        for count, queue in enumerate(queues, 1):
            if queue.deleted or queue.index.begin >= queue.index.end:
                continue
            search = _Search(queue, self._shared, partial(self._found, queue, queues))
            if not search.run():
                return  # it goes on when what it misses was read
            self._note(queue, search)
            if count % QUEUES_AT_ONCE == 0:
                self._soon(partial(self._go_on, queues))
                return
        self.passes += 1
        self.running = False
        appended, messages = self._began_at
        came_since = self._shared.appended > messages
        self._shared.lowest = min(self._lowest, appended) if came_since else self._lowest
        if self._again:
            self._again = False
            self.look()

    def _found(self, queue: TopicQueue, queues: Iterator[TopicQueue], search: _Search) -> None:
        self._note(queue, search)
        self._go_on(queues)

    def _note(self, queue: TopicQueue, search: _Search) -> None:
        """The queue begins where the search ended."""
        if queue.deleted:
            return
        if search.low > queue.index.begin:
            queue.begin_at(search.low)
        if search.lowest >= 0:
            self._lowest = min(self._lowest, search.lowest)


class _Search:
    """Bisects for a queue's first unit whose record is still there: `low` when it is done; lowest = the log offset of
    that unit, -1 = there is none, or nobody knows."""

    def __init__(self, queue: TopicQueue, shared: TopicLog, done: Callable[[Any], None]):
        self._queue = queue
        self._shared = shared
        self._done = done
        self._first = shared.first()
        self._read: dict[int, bytes | None] = {}
        index = queue.index
        self.low, self._high = index.begin, index.end
        self._middle = self._probe = index.begin  # mostly nothing is to be done
        self.lowest = -1

    def run(self) -> bool:
        """Go on; False: a chunk has to be read first, and done(this) follows."""
        while self.low < self._high:
            found = self._log_offset(self._probe)
            if found is None:
                number = self._probe // CHUNK_UNITS
                self._shared.read_chunk(self._queue.id, number, done=partial(self._got, number))
                return False
            if found < 0 and self._next() < self._high:  # lost: the next one tells
                self._probe = self._next()
                continue
            if 0 <= found < self._first:
                self.low = self._probe + 1
            else:
                self._high = self._middle
                self.lowest = found if found >= 0 else self.lowest
            self._middle = self._probe = (self.low + self._high) // 2
        return True

    def _next(self) -> int:
        """The unit behind one that is absent, or behind its chunk, when that is nowhere."""
        number = self._probe // CHUNK_UNITS
        index = self._queue.index
        if not index.loaded(self._probe) and number not in index.stored:
            return (number + 1) * CHUNK_UNITS
        return self._probe + 1

    def _log_offset(self, offset: int) -> int | None:
        """Where the record of a unit lies; -1: it is nowhere; None: its chunk has to be read."""
        index = self._queue.index
        found = index.find(offset)
        if found == FOUND:
            at: int = index.log_offset
            return at
        number = offset // CHUNK_UNITS
        if found == ABSENT:
            return -1
        if number not in self._read:
            return None
        units = self._read[number]
        at = offset % CHUNK_UNITS * UNIT_BYTES
        if units is None or not any(units[at + 8 : at + 12]):
            return -1
        return int.from_bytes(units[at + 2 : at + 8], "big")

    def _got(self, number: int, result: Any) -> None:
        if isinstance(result, Exception) or (result is not None and len(result) != CHUNK_BYTES):
            extra = {"topic": self._queue.topic.decode("utf-8", "replace"), "queue": self._queue.queue_id}
            logger.error("the index of a topic's queue cannot be read", extra={**extra, "error": str(result)})
            self.low = self._high = self._queue.index.begin  # it keeps what it has
            self._done(self)
            return
        self._read[number] = result
        if self.run():
            self._done(self)
