"""Reading native messages that are no longer in memory: chunks of the index come back from the store, records from the
log's segments, as they lie there.

One fetch reads ahead, up to 1,024 records or 1 MiB, in the order of the queue: who drains a backlog in pulls of 32 is
answered from memory mostly. What is read ahead is kept for AHEAD_QUEUES queues at most, chunks CHUNKS_MAX at most.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cython

from core.log.keeping import STORE_MS_END, stored_ms
from core.queue.index import CHUNK_UNITS, FOUND, NOT_LOADED

if cython.compiled:
    from cython.cimports.core.log.tail import Tail
    from cython.cimports.core.queue.index import Index
else:
    from core.log.tail import Tail
    from core.queue.index import Index

NOT_THERE = cython.declare(cython.int, NOT_LOADED)
AHEAD_UNITS = cython.declare(cython.Py_ssize_t, 1024)
AHEAD_BYTES = cython.declare(cython.longlong, 1 << 20)
AHEAD_QUEUES = 16
CHUNKS_MAX = 256  # 2.5 MiB

Done = Callable[[Any], None]


@cython.final
@cython.cclass
class ColdRead:
    """One TopicQueue.read() that has to wait; asked = its offset, count, bytes_max and codes."""

    def __init__(self, queue: Any, shared: Any, asked: tuple[int, int, int, Any], done: Done):
        self._queue = queue
        self._shared = shared
        self._index = queue.index
        self._tail = shared.log.tail
        self._asked = asked
        self._done = done
        self._units, self._offsets = [], []

    @cython.ccall
    def go_on(self):
        """Fetch what is wanted first, and what follows it."""
        offset: cython.longlong = self._first_wanted()
        if self._index.find(offset) == NOT_THERE:
            load_chunk(self._queue, self._shared, offset, self._loaded)
            return
        self._list_units(offset)
        self._shared.fetch(self._units, self._fetched)

    def _loaded(self, error: Exception | None) -> None:
        if error is not None:
            self._done(error)
        else:
            self._answer({})

    @cython.cfunc
    def _answer(self, fetched: dict):
        """By what is in memory now, or after another fetch."""
        offset, count, bytes_max, codes = self._asked
        queue = self._queue
        if queue.deleted:
            self._done(LookupError("the topic was deleted"))
            return
        offset = max(offset, self._index.begin)
        self._asked = offset, count, bytes_max, codes
        found = queue.read_in(offset, count, bytes_max, codes, fetched)
        if fetched:
            keep_ahead(queue, self._shared, fetched)
        if found is None:
            self.go_on()
        else:
            self._done(found)

    @cython.cfunc
    @cython.exceptval(-1)
    def _first_wanted(self) -> cython.longlong:
        """The first offset for which something has to be read."""
        index: Index = self._index
        offset: cython.longlong = self._asked[0]
        codes: object = self._asked[3]
        first: cython.longlong = self._shared.first()
        end: cython.longlong = self._queue.max_offset
        while offset < end:
            found: cython.int = index.find(offset)
            if found == NOT_THERE:
                break
            if found == 1 and (codes is None or index.code in codes) and index.log_offset >= first:
                break
            offset += 1
        return offset

    @cython.cfunc
    def _list_units(self, offset: cython.longlong):
        """Units (log offset, size) from there on, and their queue offsets, up to what the tail holds."""
        index: Index = self._index
        tail: Tail = self._tail
        codes: object = self._asked[3]
        end: cython.longlong = self._queue.max_offset
        size: cython.longlong = 0
        units: list = []
        offsets: list = []
        while offset < end and len(units) < AHEAD_UNITS and size < AHEAD_BYTES:
            found: cython.int = index.find(offset)
            if found == NOT_THERE:
                break
            if found == 1 and (codes is None or index.code in codes):
                if units and tail.get(index.log_offset) is not None:
                    break
                units.append((index.log_offset, index.size))
                offsets.append(offset)
                size += index.size
            offset += 1
        self._units, self._offsets = units, offsets

    def _fetched(self, result: Any) -> None:
        units = self._units
        if not isinstance(result, Exception):
            self._answer(dict(zip(self._offsets, result, strict=True)))
        elif len(units) > 1:  # it may be another that cannot be read
            self._units, self._offsets = units[:1], self._offsets[:1]
            self._shared.fetch(self._units, self._fetched)
        elif units and units[0][0] < self._shared.first():  # it went meanwhile
            self._answer({})
        else:
            self._done(result)


class TimeSearch:
    """Bisects for TopicQueue.offset_at(); asked = its ms and upper."""

    def __init__(self, queue: Any, shared: Any, asked: tuple[int, bool], done: Done):
        self._queue = queue
        self._shared = shared
        self._ms, self._upper = asked
        self._done = done
        self._begin = self._low = queue.index.begin
        self._high = queue.max_offset
        self._middle = self._probe = 0

    def go_on(self) -> None:
        """Look at the next probe, or answer."""
        if self._low >= self._high:
            found = self._low
            if self._upper:
                found = found - 1 if found > self._begin else 0
            self._done(found)
            return
        self._middle = self._probe = (self._low + self._high) // 2
        self._look()

    def _look(self) -> None:
        store_ms_at(self._queue, self._shared, self._probe, self._told)

    def _told(self, result: Any) -> None:
        if isinstance(result, LookupError) and not self._queue.deleted:  # lost, or gone: the next one tells
            self._probe += 1
            if self._probe < self._high:
                self._look()
                return
            self._high = self._middle
        elif isinstance(result, Exception):
            self._done(result)
            return
        elif result > self._ms or (result == self._ms and not self._upper):
            self._high = self._middle
        else:
            self._low = self._probe + 1
        self.go_on()


def store_ms_at(queue: Any, shared: Any, offset: int, done: Done) -> None:
    """See TopicQueue.store_ms."""
    if not queue.index.begin <= offset < queue.max_offset or queue.deleted:
        done(LookupError(f"no message at offset {offset}"))
        return
    found = queue.index.find(offset)
    if found == NOT_LOADED:

        def loaded(error: Exception | None) -> None:
            if error is None:
                store_ms_at(queue, shared, offset, done)
            else:
                done(error)

        load_chunk(queue, shared, offset, loaded)
        return
    at = queue.index.log_offset
    if found != FOUND or at < shared.first():
        done(LookupError(f"no message at offset {offset}"))
        return
    record = shared.log.tail.get(at)
    if record is not None:
        done(stored_ms(record[:STORE_MS_END], at))
    else:
        shared.read(at, min(STORE_MS_END, queue.index.size), partial(_got_head, at, done))


def _got_head(at: int, done: Done, result: Any) -> None:
    if isinstance(result, Exception):
        done(result)
        return
    ms = stored_ms(bytes(result), at)
    done(ms if ms else LookupError(f"no record at log offset {at}"))


def list_units(queue: Any, shared: Any, asked: tuple[int, int], done: Done) -> None:
    """See TopicQueue.units; asked = offset, count. Chunks that are not in memory are read one after the other."""
    offset, count = asked
    index, units = queue.index, []
    if queue.deleted:
        done(LookupError("the topic was deleted"))
        return
    for at in range(offset, min(offset + count, queue.max_offset)):
        found = index.find(at)
        if found == NOT_LOADED:

            def loaded(error: Exception | None) -> None:
                if error is None:
                    list_units(queue, shared, asked, done)
                else:
                    done(error)

            load_chunk(queue, shared, at, loaded)
            return
        if found == FOUND:
            units.append((index.log_offset, index.size, index.code))
    done(units)


def load_chunk(queue: Any, shared: Any, offset: int, done: Callable[[Exception | None], None]) -> None:
    """Bring the chunk of that offset into memory, for a while; done(what went wrong, or None)."""
    number = offset // CHUNK_UNITS
    shared.read_chunk(queue.id, number, done=partial(_got_chunk, queue, shared, number, done))


def _got_chunk(queue: Any, shared: Any, number: int, done: Callable[[Exception | None], None], result: Any) -> None:
    index = queue.index
    if isinstance(result, bytes) and not queue.deleted:
        index.load(number, result)
        shared.loaded.append((queue, number))
        while len(shared.loaded) > CHUNKS_MAX:
            _unload(*shared.loaded.popleft())
        result = None
    elif queue.deleted or index.find(number * CHUNK_UNITS) != NOT_LOADED:
        result = None
    elif result is None:
        result = LookupError(f"chunk {number} of the index of {queue.topic!r} {queue.queue_id} is missing in the store")
    done(result)


def _unload(queue: Any, number: int) -> None:
    index = queue.index
    if not queue.deleted and index.loaded(number * CHUNK_UNITS) and number in index.stored:
        if number not in index.unstored:
            index.unload(number)


def keep_ahead(queue: Any, shared: Any, fetched: dict[int, bytes]) -> None:
    """What nobody has asked for yet stays, until others need the room."""
    if queue in shared.ahead:
        shared.ahead.remove(queue)
    queue.ahead = fetched
    shared.ahead.append(queue)
    while len(shared.ahead) > AHEAD_QUEUES:
        shared.ahead.popleft().ahead = None
