"""The broker's one log. Offsets are bytes since its birth: committed <= appended.

Records appended while a batch is on its way to disk leave together in the next, so batches grow with load, without a
timer. `engine` and `soon` are injected: the local disk (or the simulator's, or a replicated group) and loop.call_soon.

    filling ──submit()──► closed batches ──one at a time──► engine ──► committed: waiters, then callbacks

Native records say nothing of their batch. So every batch begins and ends with a record of our own, and none of its
native records lies further than MARK_BYTES behind one: what is left of a batch tells which it was (recovery.py). A
transaction begins and ends with one, too. Where there is none to be written, an empty *done* record is the mark.

A record that does not fit the rest of its segment, with 8 bytes to spare, goes to the next one; the rest begins with
its length and the blank magic, as in RocketMQ.
"""

from __future__ import annotations

from array import array
from collections import deque

import cython

from core.log.encoder import link_body

if cython.compiled:
    from cython.cimports.core.clock import Clock
    from cython.cimports.core.log.encoder import Encoder
    from cython.cimports.core.log.filling import Batch, Filling
    from cython.cimports.core.log.native_encoder import NativeEncoder
    from cython.cimports.core.log.record import DONE, PLACES_MAX, RecordWriter
    from cython.cimports.core.log.tail import Tail
    from cython.cimports.core.log.waiter import Waiter
    from cython.cimports.core.message import Message
    from cython.cimports.core.native import Native
    from cython.cimports.core.turn import Turn
else:
    from core.clock import Clock
    from core.log.encoder import Encoder
    from core.log.filling import Batch, Filling
    from core.log.native_encoder import NativeEncoder
    from core.log.record import DONE, PLACES_MAX, RecordWriter
    from core.log.tail import Tail
    from core.log.waiter import Waiter
    from core.message import Message
    from core.native import Native
    from core.turn import Turn

BATCH_BYTES_MAX, TAIL_BYTES = 8 << 20, 16 << 20
KINDS = 5
PAGE_BYTES = cython.declare(cython.Py_ssize_t, 256 << 10)
BLANK_BYTES = cython.declare(cython.Py_ssize_t, 8)
MARK_BYTES = cython.declare(cython.longlong, 32 << 10)
LINK_PLACES = 4096  # in one link record
LINK_PLACE_BYTES = cython.declare(cython.Py_ssize_t, 28)
LINK_BYTES = cython.declare(cython.Py_ssize_t, 512)  # one with a few places, about
SPACE_RESERVED = 8 << 20  # of the space made ahead, at most an eighth of a segment: for acks, releases and closes
LAZY_BYTES = cython.declare(cython.longlong, 1 << 20)  # so much goes to the disk though nobody waits for it


@cython.cclass
class CommitLog:
    """Append, batch, commit.

    appended, committed   offsets, as batch_offset: where the last batch began. batch_no = the number of the one filling
    records               appended since start, marks aside
    tail                  the newest messages, as append_store() and append_native() bring them
    keys                  a KeyTable, which notes each message's; None = nothing does
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
        self._encoder, self._native, self._filling = Encoder(), NativeEncoder(), Filling()
        self._marker = Encoder()  # a mark may come between the plan of another record and its place
        self.appended = self.committed = engine.tail()
        self.tail.released(self.committed)
        self._segment_end = (self.appended // segment_bytes + 1) * segment_bytes
        self.batch_no = self.batches = self.records = 0
        self._waiters = []
        self._closed, self._marked, self._callbacks = deque(), deque(), deque()
        self._in_flight = self.turn = self.keys = None
        self._joined_at = self._own_end = 0
        self._done_callback, self._release_callback = self._done, self._release
        self.together = self._follows = False
        self.batch_offset = -1

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
        if self.keys is not None:
            self.keys.note_stored(message)
        if count > PLACES_MAX:
            joined: cython.bint = self.together
            self.together = True  # its links stay in its batch
            for start in range(PLACES_MAX, count, LINK_PLACES):
                self.append(4, link_body(offset, size, places, start, min(count, start + LINK_PLACES)))
            self.together = joined
        return offset

    @cython.ccall
    @cython.exceptval(-1)
    def append_native(self, message: Native) -> cython.longlong:
        """Store a native message, whose queue_offset is its place in its topic's queue. Sets its offset, record_size
        and store_ms, and returns the offset. Raises LimitReached."""
        encoder: NativeEncoder = self._native
        size: cython.Py_ssize_t = encoder.plan(message)
        self._make_way(size + BLANK_BYTES)
        begins: cython.bint = self._filling.size == 0 or self.together and self.appended == self._joined_at
        if begins or self.appended - self._own_end >= MARK_BYTES:
            self._mark()
        encoder.queue_offset = message.queue_offset
        record: bytes = self._put(encoder, True)
        self.records += 1
        encoder.forget()
        message.offset = encoder.offset
        message.record_size = size
        message.store_ms = encoder.store_ms
        self.tail.add_record(record, encoder.offset)
        if self.keys is not None:
            self.keys.note_native(message)
        return encoder.offset

    @cython.ccall
    @cython.exceptval(-1)
    def append_native_into(self, message: Native, places: cython.longlong[::1]) -> cython.longlong:
        """append_native() of a message that a few queues of our own hold, too: places as of append_store(), in a link
        of the same batch."""
        self._make_way(self._native.plan(message) + BLANK_BYTES + LINK_BYTES)
        joined: cython.bint = self.together
        self.together = True  # the link stays in its batch
        try:
            offset: cython.longlong = self.append_native(message)
            self.append(4, link_body(offset, message.record_size, places, 0, len(places) // 3))
        finally:
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
            if not self._closed and (self._filling.size or self._waiters):
                self._close()
            self._send()
        elif self._filling.size >= self.batch_bytes_max:
            self._close()
        self._follows = self._filling.size > 0 and self._in_flight is not None

    @cython.ccall
    @cython.exceptval(-1)
    def awaited(self) -> cython.bint:
        """Whether somebody waits for what is not committed yet. Acks, and messages that ask for no persistence, may
        wait for a batch that somebody does."""
        return len(self._waiters) > 0 or len(self._callbacks) > 0 or self._filling.size >= LAZY_BYTES

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
        used: int = sum(len(cython.cast(Batch, batch).pages) for batch in batches) * PAGE_BYTES
        return self._filling.memory_bytes + used

    @cython.cfunc
    @cython.exceptval(-1)
    def _append(self, kind: cython.int) -> cython.longlong:
        """Write the record that the encoder has planned."""
        encoder: Encoder = self._encoder
        self._make_way(encoder.size)
        encoder.queue_offset = self._next[kind]
        self._put(encoder, False)
        self._next[kind] += 1
        self.records += 1
        self._own_end = self.appended
        return encoder.offset

    @cython.cfunc
    def _mark(self):
        """A record of our own that says nothing but where its batch began."""
        marker: Encoder = self._marker
        marker.plan(DONE, b"")
        marker.joined = self._encoder.joined
        marker.queue_offset = self._next[3]
        self._put(marker, False)
        self._next[3] += 1
        self._own_end = self.appended

    @cython.cfunc
    def _put(self, record: RecordWriter, keep: cython.bint) -> bytes:
        """Write a record that was planned to the log's end; keep: return its bytes."""
        size: cython.Py_ssize_t = record.size
        assert size <= self.segment_bytes - BLANK_BYTES, f"a record of {size} bytes exceeds a segment"
        if not self._filling.size:
            self.batch_offset = self.appended
        if self.appended + size + BLANK_BYTES > self._segment_end:
            self._filling.blank(self.appended, self._segment_end - self.appended)
            self.appended = self._segment_end
            self._segment_end += self.segment_bytes
        record.offset = self.appended
        record.batch_offset = self.batch_offset
        record.store_ms = self._clock.ms
        kept: bytes = self._filling.write(record, self.appended, keep)
        self.appended += size
        return kept

    @cython.cfunc
    def _make_way(self, size: cython.Py_ssize_t):
        """A batch holds 8 MiB, or one bigger record or transaction: close what fills when `size` more would exceed."""
        if self._filling.size and not self.together and self._filling.size + size > self.batch_bytes_max:
            self._cut()

    @cython.cfunc
    def _cut(self):
        """End the filling batch's bytes. Its waiters stay: they are marked at the end of a turn only."""
        if self._own_end != self.appended:
            self._mark()
        batch: Batch = self._filling.cut()
        batch.start = self.batch_offset
        batch.end = self.appended
        self._closed.append(batch)

    @cython.cfunc
    def _close(self):
        """Close the filling batch: what was appended up to here is what its waiters wait for."""
        waiters: list = self._waiters
        if self._filling.size:
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
            self._filling.recycle(batch.pages, not self._closed)
            self._release()
            if self._closed or turn is None:
                if self._follows or self._closed or self.awaited():
                    self.submit()
            elif self._follows or self.awaited():
                turn.schedule()
        finally:
            if ours:
                turn.run()

    def _release(self) -> None:
        """Tell everyone whose records are committed, in the order of the log."""
        while self._marked and self._marked[0][0] <= self.committed:
            for item in self._marked.popleft()[1]:
                waiter: Waiter = item[0]
                waiter.committed(item[1])
        while self._callbacks and self._callbacks[0][0] <= self.committed:
            self._callbacks.popleft()[1]()
