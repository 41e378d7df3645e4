"""The broker's one log. Offsets are bytes since its birth: committed <= appended.

Records appended while a batch is on its way to disk leave together in the next, so batches grow with load, without a
timer. A record is written straight into the pages of the batch that fills; a large body goes along by reference. Pages
are used again when their batch is committed. `engine` and `soon` are injected: the local disk (or the simulator's, or a
replicated group) and loop.call_soon.

    filling ──submit()──► closed batches ──one at a time──► engine ──► committed: waiters, then callbacks

A record that does not fit the rest of its segment, with 8 bytes to spare, goes to the next one; the rest begins with
its length and the blank magic, as in RocketMQ.
"""

from __future__ import annotations

from array import array
from collections import deque

import cython

from core.log.record import link_body

if cython.compiled:
    from cython.cimports.core.clock import Clock
    from cython.cimports.core.log.record import HEAD_BYTES, PLACES_MAX, Encoder
    from cython.cimports.core.log.tail import Tail
    from cython.cimports.core.log.waiter import Waiter
    from cython.cimports.core.message import Message
    from cython.cimports.core.turn import Turn
    from cython.cimports.core.wire import wr32
else:
    from core.clock import Clock
    from core.log.record import HEAD_BYTES, PLACES_MAX, Encoder
    from core.log.tail import Tail
    from core.log.waiter import Waiter
    from core.message import Message
    from core.turn import Turn
    from core.wire import wr32

BATCH_BYTES_MAX, TAIL_BYTES = 8 << 20, 16 << 20
KINDS = 5
PAGE_BYTES = cython.declare(cython.Py_ssize_t, 256 << 10)
RECORD_IN_PAGE_MAX = cython.declare(cython.Py_ssize_t, 64 << 10)  # head, inline body, properties: always less
PAGES_IDLE = cython.declare(cython.Py_ssize_t, 8)  # kept while nothing is on its way
BLANK_MAGIC = cython.declare(cython.uint, 0xCBD43194)
BLANK_BYTES = cython.declare(cython.Py_ssize_t, 8)
LINK_PLACES = 4096  # in one link record
LINK_PLACE_BYTES = cython.declare(cython.Py_ssize_t, 28)
SPACE_RESERVED = 8 << 20  # of the space made ahead, at most an eighth of a segment: for acks, releases and closes
LAZY_BYTES = cython.declare(cython.longlong, 1 << 20)  # so much goes to the disk though nobody waits for it


@cython.final
@cython.cclass
class Batch:
    """What goes to the engine in one piece: parts = [(log offset, [buffers])], each contiguous within one segment."""


@cython.cclass
class CommitLog:
    """Append, batch, commit.

    appended, committed   offsets, as batch_offset: where the last batch began. batch_no = the number of the one filling
    tail                  the newest messages, as append_store() brings them
    turn                  runs when a batch is through: what it released leaves at once, and what waits is submitted;
                          None = nothing runs, and it is submitted at once
    """

    def __init__(
        self,
        engine,
        clock: Clock,
        soon,
        failed,
        *,
        segment_bytes: int,
        batch_bytes_max: int = BATCH_BYTES_MAX,
        tail_bytes: int = TAIL_BYTES,
        counters: tuple = (0,) * KINDS,
    ):
        """failed(OSError) is called once when a batch could not be written: nothing is committed after it.
        `counters`, from recovery, is the next queue offset of each kind of record."""
        self.engine = engine
        self._clock = clock
        self._soon = soon
        self._failed = failed
        self.segment_bytes = segment_bytes
        self.batch_bytes_max = batch_bytes_max
        self.tail = Tail(tail_bytes)
        self._next = array("q", counters)
        self._encoder = Encoder()
        self.appended = self.committed = engine.tail()
        self.tail.released(self.committed)
        self._segment_end = (self.appended // segment_bytes + 1) * segment_bytes
        self.batch_no = self.batches = self.records = 0
        self._pool, self._pages, self._parts, self._buffers, self._waiters = [], [], [], [], []
        self._closed, self._marked, self._callbacks = deque(), deque(), deque()
        self._page = self._view = self._in_flight = self.turn = None
        self._page_at = self._run_at = self._batch_bytes = self._joined_at = 0
        self._pages_wanted = PAGES_IDLE
        self._done_callback, self._release_callback = self._done, self._release
        self.together = self._follows = False
        self._part_at = self.batch_offset = -1

    @cython.ccall
    @cython.exceptval(-1)
    def append_store(
        self, message: Message, places: cython.longlong[::1], count: cython.Py_ssize_t, moved: cython.bint = False
    ) -> cython.longlong:
        """Store a message that enters `count` queues: places = flat triples (queue id, queue offset, tags code), above
        256 in links of the same batch. moved: the pair behind them, queue id and queue offset, is what the record
        settles. Sets message.offset, .record_size and .store_ms, and returns the offset."""
        size: cython.Py_ssize_t = self._encoder.plan_store(message, places, count)
        if moved:
            size = self._encoder.plan_from(message, places[3 * count], places[3 * count + 1])
        if count > PLACES_MAX:
            self._make_way(size + (count - PLACES_MAX) * LINK_PLACE_BYTES)
        offset: cython.longlong = self._append(1)
        message.offset = offset
        message.record_size = size
        message.store_ms = self._clock.ms
        self.tail.add(message)
        if count > PLACES_MAX:
            joined: cython.bint = self.together
            self.together = True  # its links stay in its batch
            for start in range(PLACES_MAX, count, LINK_PLACES):
                self.append(4, link_body(offset, size, places, start, min(count, start + LINK_PLACES)))
            self.together = joined
        return offset

    @cython.ccall
    @cython.exceptval(-1)
    def append_copy(self, message: Message, places: cython.longlong[::1]) -> cython.longlong:
        """append_store() of what an earlier record stored at message.store_ms: a copy, which keeps that time."""
        stored_ms: cython.longlong = message.store_ms
        self._encoder.copied_ms = stored_ms
        try:
            return self.append_store(message, places, len(places) // 3)
        finally:
            self._encoder.copied_ms = 0
            message.store_ms = stored_ms

    @cython.ccall
    @cython.exceptval(-1)
    def append(self, kind: cython.int, body: bytes) -> cython.longlong:
        """Append a STATE, DONE or LINK record and return its offset."""
        assert 2 <= kind <= 4
        self._encoder.plan(kind, body)
        return self._append(kind)

    @cython.ccall
    def join(self, size: cython.Py_ssize_t):
        """What is appended from here to end_joined(), in this turn and about `size` bytes, goes into one batch, and
        recovery finds all of it or nothing: a transaction."""
        assert not self.together
        self._make_way(size)
        self.together = self._encoder.joined = True
        self._joined_at = self.appended

    @cython.ccall
    def end_joined(self, bodies: list):
        """End it with the *done* records of what it settled: an empty one if there are none, the last is its mark."""
        if not bodies and self.appended > self._joined_at:
            bodies = [b""]
        for number, body in enumerate(bodies, 1):
            self._encoder.joined = number < len(bodies)
            self.append(3, body)
        self.together = self._encoder.joined = False

    @cython.ccall
    def wait(self, waiter: Waiter):
        """Have waiter.mark() called when the batch now filling closes, and waiter.committed() when it is committed."""
        if waiter.batch_no != self.batch_no:
            waiter.batch_no = self.batch_no
            self._waiters.append(waiter)

    @cython.ccall
    def when_committed(self, callback):
        """callback() once everything appended so far is committed; never from inside this call."""
        if self.committed >= self.appended:
            self._soon(callback)
        else:
            self._callbacks.append((self.appended, callback))

    @cython.ccall
    def submit(self):
        """End of a turn: hand the filling batch to the engine, unless one is on its way (then it follows that one)."""
        if self._in_flight is None:
            if not self._closed and (self._batch_bytes or self._waiters):
                self._close()
            self._send()
        elif self._batch_bytes >= self.batch_bytes_max:
            self._close()
        self._follows = self._batch_bytes > 0 and self._in_flight is not None

    @cython.ccall
    @cython.exceptval(-1)
    def awaited(self) -> cython.bint:
        """Whether somebody waits for what is not committed yet. Acks, and messages that ask for no persistence, may
        wait for a batch that somebody does."""
        return len(self._waiters) > 0 or len(self._callbacks) > 0 or self._batch_bytes >= LAZY_BYTES

    def close(self, done: object) -> None:
        """done() once everything appended is committed and the engine has let go of its files; or failed()."""
        self.submit()
        self.when_committed(lambda: self.engine.close(lambda error: self._failed(error) if error else done()))

    def counters(self) -> tuple:
        """The next queue offset of each kind of record: belongs to a checkpoint that covers all appended so far."""
        return tuple(self._next)

    @property
    def pending_bytes(self) -> int:
        """Appended and not committed: what flow control bounds."""
        return self.appended - self.committed

    @property
    def space_left(self) -> int:
        """Bytes of space made ahead that publishers may still use; the rest is reserved for acks and closes.

        Short for a moment when publishers outrun the filling: a limit only while the engine is `full`."""
        return self.engine.space() - min(SPACE_RESERVED, self.segment_bytes >> 3) - self.appended

    @property
    def memory_bytes(self) -> int:
        """Of pages, in use and kept."""
        batches = [batch for batch in (*self._closed, self._in_flight) if batch is not None]
        pages = sum(len(cython.cast(Batch, batch).pages) for batch in batches)
        return (len(self._pool) + len(self._pages) + pages) * PAGE_BYTES

    @cython.cfunc
    @cython.exceptval(-1)
    def _append(self, kind: cython.int) -> cython.longlong:
        """Write the record that the encoder has planned."""
        encoder: Encoder = self._encoder
        size: cython.Py_ssize_t = encoder.size
        assert size <= self.segment_bytes - BLANK_BYTES, f"a record of {size} bytes exceeds a segment"
        self._make_way(size)
        if self.appended + size + BLANK_BYTES > self._segment_end:
            self._roll()
        self._begin()
        offset: cython.longlong = self.appended
        encoder.offset = offset
        encoder.queue_offset = self._next[kind]
        encoder.batch_offset = self.batch_offset
        encoder.store_ms = self._clock.ms
        if encoder.inline():
            self._page_at = encoder.write(self._page, self._page_at)
        else:
            pieces: list = []
            head_at: cython.Py_ssize_t = self._page_at
            end: cython.Py_ssize_t = encoder.write_around(self._page, head_at, pieces)
            self._page_at = head_at + HEAD_BYTES
            self._end_run()
            self._buffers.extend(pieces)
            self._page_at = end
        self._next[kind] += 1
        self._batch_bytes += size
        self.appended = offset + size
        self.records += 1
        return offset

    @cython.cfunc
    def _make_way(self, size: cython.Py_ssize_t):
        """A batch holds 8 MiB, or one bigger record or transaction: close what fills when `size` more would exceed."""
        if self._batch_bytes and not self.together and self._batch_bytes + size > self.batch_bytes_max:
            self._cut()

    @cython.cfunc
    def _begin(self):
        """Bytes are about to be written at `appended`, into a page with room for them."""
        if self._page is None or PAGE_BYTES - self._page_at < RECORD_IN_PAGE_MAX:
            self._take_page()
        if not self._batch_bytes:
            self.batch_offset = self.appended
        if self._part_at < 0:
            self._part_at = self.appended

    @cython.cfunc
    def _roll(self):
        """Fill the rest of the segment with a blank and go on in the next."""
        self._begin()
        page: cython.p_uchar = self._page
        wr32(page, self._page_at, self._segment_end - self.appended)
        wr32(page, self._page_at + 4, BLANK_MAGIC)
        self._page_at += BLANK_BYTES
        self._batch_bytes += BLANK_BYTES
        self._end_part()
        self.appended = self._segment_end
        self._segment_end += self.segment_bytes

    @cython.cfunc
    def _take_page(self):
        """Write on in another page: one used before, or a new one."""
        self._end_run()
        self._page = self._pool.pop() if self._pool else bytearray(PAGE_BYTES)
        self._view = memoryview(self._page)
        self._pages.append(self._page)
        self._page_at = self._run_at = 0

    @cython.cfunc
    def _end_run(self):
        """What was written since the last run goes to the engine as one buffer."""
        if self._page_at > self._run_at:
            self._buffers.append(self._view[self._run_at : self._page_at])
            self._run_at = self._page_at

    @cython.cfunc
    def _end_part(self):
        """What follows does not lie behind it in the same segment, or not in the same batch."""
        self._end_run()
        if self._buffers:
            self._parts.append((self._part_at, self._buffers))
            self._buffers = []
        self._part_at = -1

    @cython.cfunc
    def _cut(self):
        """End the filling batch's bytes. Its waiters stay: they are marked at the end of a turn only."""
        self._end_part()
        batch: Batch = Batch()
        batch.parts = self._parts
        batch.pages = self._pages
        batch.start = self.batch_offset
        batch.end = self.appended
        self._closed.append(batch)
        self._parts, self._pages = [], []
        self._page = self._view = None
        self._page_at = self._run_at = 0
        self._batch_bytes = 0

    @cython.cfunc
    def _close(self):
        """Close the filling batch: what was appended up to here is what its waiters wait for."""
        waiters: list = self._waiters
        if self._batch_bytes:
            self._cut()
        self.batch_no += 1
        if waiters:
            self._waiters = []
            marked = []
            for item in waiters:
                waiter: Waiter = item
                marked.append((waiter, waiter.mark()))
            self._marked.append((self.appended, marked))
            if self.committed >= self.appended:
                self._soon(self._release_callback)

    @cython.cfunc
    def _send(self):
        """Hand the oldest closed batch to the engine."""
        if self._closed:
            batch: Batch = self._closed.popleft()
            self._in_flight = batch
            self.engine.publish(batch.parts, batch.start, self._done_callback)

    def _done(self, error: OSError | None) -> None:
        """The engine is through with the batch in flight. It never says so from inside publish()."""
        if error is not None:
            self._failed(error)  # nobody knows what is on disk: it stays in flight for ever, and recovery will look
            return
        turn: Turn = self.turn
        ours: cython.bint = turn is not None and turn.begin()
        try:
            batch: Batch = self._in_flight
            self._in_flight = None
            self.batches += 1
            self.committed = batch.end
            self.tail.released(batch.end)
            batch.parts = []
            self._recycle(batch.pages)
            self._release()
            if self._closed or turn is None:
                if self._follows or self._closed or self.awaited():
                    self.submit()
            elif self._follows or self.awaited():
                turn.schedule()
        finally:
            if ours:
                turn.run()

    @cython.cfunc
    def _recycle(self, pages: list):
        """Keep about as many pages as the last batches used; after a burst the rest goes back to the system."""
        kept: cython.Py_ssize_t = self._pages_wanted - (self._pages_wanted + 7) // 8
        self._pages_wanted = max(len(pages), kept, PAGES_IDLE)
        self._pool.extend(pages)
        idle: cython.bint = not self._batch_bytes and not self._closed
        room: cython.Py_ssize_t = PAGES_IDLE if idle else self._pages_wanted
        if len(self._pool) > room:
            del self._pool[room:]

    def _release(self) -> None:
        """Tell everyone whose records are committed, in the order of the log."""
        while self._marked and self._marked[0][0] <= self.committed:
            for item in self._marked.popleft()[1]:
                waiter: Waiter = item[0]
                waiter.committed(item[1])
        while self._callbacks and self._callbacks[0][0] <= self.committed:
            self._callbacks.popleft()[1]()
