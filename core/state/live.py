"""What of a piece of the log is live: the records to whose messages units of queues still point, and copies of them.

A message is live in a queue when its offset there is not done and the unit at that offset points at this record: one
that was copied before points at the copy. Everything here runs on the loop, in slices, on blocks that a reader thread
brought; it waits for nothing, but says what it misses.
"""

from __future__ import annotations

from array import array

import cython

from core.log.recovery import MAGIC, MAGIC_AT, OFFSET_AT, OFFSET_END

if cython.compiled:
    from cython.cimports.core.log.commit_log import CommitLog
    from cython.cimports.core.log.decode import whole
    from cython.cimports.core.log.record import HEAD_BYTES, LINK, NATIVE, STORE
    from cython.cimports.core.log.view import View
    from cython.cimports.core.message import Message, new_message
    from cython.cimports.core.state.replay import LoggedQueue
    from cython.cimports.core.wire import rd64, rd_varint, varint_size
else:
    from core.log.commit_log import CommitLog
    from core.log.decode import whole
    from core.log.record import HEAD_BYTES, LINK, NATIVE, STORE
    from core.log.view import View
    from core.message import Message, new_message
    from core.state.replay import LoggedQueue
    from core.wire import rd64, rd_varint, varint_size

ALL, LATER, BLOCK, CHUNK, MESSAGE, DAMAGED = 0, 1, 2, 3, 4, 5  # how a slice ended
COPY_COST = cython.declare(cython.Py_ssize_t, 8)  # in small records that are only looked at
LOOK_BYTES_OF_COST = cython.declare(cython.Py_ssize_t, 8192)  # so much of a record costs one more
COPY_BYTES_OF_COST = cython.declare(cython.Py_ssize_t, 1024)


@cython.final
@cython.cclass
class Entry:
    """A message to be copied, and where it is live: array of flat triples (queue id, queue offset, tags code)."""


@cython.final
@cython.cclass
class LiveScan:
    """sample() adds up what is live in a block; run() goes from record to record and finds it, copy() copies it.

    at, upto    log offsets of the record that is next, and of the end
    budget      what run() may cost; the caller gives it, and what is left stays
    live_bytes  of records with anything live, as sample() found it; copied_bytes, copied_records: what copy() appended
    wanted      after BLOCK: bytes that are needed from `at` on
    missing_queue, missing_chunk      after CHUNK: of which queue the index chunk has to be loaded
    message_at, message_size   after MESSAGE: the record that a link belongs to; its message goes into `kept`
    """

    def __init__(self, queues: dict, log: CommitLog, at: int, upto: int, block_bytes: int):
        self._queues = queues
        self._log = log
        self._view = View()
        self._memo = None
        self._array = array("q", bytes(8 * 3 * 16))
        self._places = self._array
        self._count = 0
        self._found = []
        self.kept = self.missing_queue = None
        self._native_at = -1
        self.at, self.upto = at, upto
        self._block_bytes = self.wanted = block_bytes
        self.budget = 0
        self.missing_chunk = self.message_at = self.message_size = 0
        self.live_bytes = self.copied_bytes = self.copied_records = 0

    @cython.ccall
    @cython.exceptval(-1)
    def run(self, block: bytes, start: cython.longlong) -> cython.int:
        """Look at records of a block that was read at `start`, until ALL was seen, the budget is used up (LATER), or
        something is missing: BLOCK, CHUNK or MESSAGE. DAMAGED: there is no valid record at `at`.

        Links of the last message before `upto` belong to it, wherever they lie.
        """
        view: View = self._view
        size: cython.Py_ssize_t
        result: cython.int
        self._memo = None
        while True:
            if self.at - start >= len(block):
                self.wanted = self._block_bytes
                return BLOCK if self.at < self._log.committed else ALL
            size = view.parse(block, self.at - start, self.at)
            if size <= 0:
                result = self._cut(start, size)
                if result != LATER:
                    return result
                continue
            if view.kind != LINK:
                if self.at >= self.upto:
                    return ALL
                if self.budget <= 0:
                    return LATER
            self.budget -= 1 + size // LOOK_BYTES_OF_COST
            self._count = 0
            if view.kind == STORE:
                result = self._take()
            elif view.kind == LINK:
                result = self._link(block, start)
            else:
                result = 0
                if view.kind == NATIVE:
                    self._native_at = self.at
            if result > 1:
                return result
            if result:
                self.budget -= COPY_COST + size // COPY_BYTES_OF_COST
            self.at += size

    @cython.cfunc
    @cython.exceptval(-1)
    def _cut(self, start: cython.longlong, found: cython.Py_ssize_t) -> cython.int:
        """No whole record lies at `at` in a block read at `start`. LATER: one lies at the new `at`."""
        segment_bytes: cython.longlong = self._log.segment_bytes
        segment_end: cython.longlong = (self.at // segment_bytes + 1) * segment_bytes
        if self.at >= self._log.committed:
            return ALL
        if found == 0 and self._view.size == segment_end - self.at:
            self.at = segment_end
            return LATER
        if found != -2:
            return DAMAGED if self.at < self.upto else ALL
        if self.at > start:
            self.wanted = self._block_bytes
        elif self._view.size > segment_end - self.at or self._view.size <= self.wanted:
            return DAMAGED
        else:
            self.wanted = self._view.size
        return BLOCK

    @cython.cfunc
    @cython.exceptval(-1)
    def _take(self) -> cython.int:
        """The view holds a stored message: 1 = it is live and was noted."""
        result: cython.int = self._look(self._view.coded_places(), 0, self.at)
        if result == 1:
            self._found.append(self._entry(self._view.message()))
        return result

    @cython.cfunc
    @cython.exceptval(-1)
    def _link(self, block: bytes, start: cython.longlong) -> cython.int:
        """The view holds a link: what is live of it goes with the message that it belongs to. block, start: see run();
        a native message mostly lies in it."""
        body: bytes = self._view.body()
        offset: cython.longlong = rd_varint(body, 0, len(body))
        at: cython.Py_ssize_t = varint_size(offset)
        size: cython.longlong = rd_varint(body, at, len(body))
        result: cython.int = self._look(body, at + varint_size(size), offset)
        if result != 1:
            return result
        last: Entry = self._found[len(self._found) - 1] if self._found else None
        if last is not None and last.message.offset == offset:
            last.places.extend(self._array[: self._count])
            return 1
        kept: Message = self.kept
        if offset == self._native_at and offset >= start and offset + size <= start + len(block):
            self.budget -= size // COPY_BYTES_OF_COST
            self._found.append(self._entry(whole(block[offset - start : offset - start + size], offset)))
            return 1
        if kept is None or kept.offset != offset:
            self.message_at, self.message_size = offset, size
            return MESSAGE
        again: Message = new_message(
            kept.vhost, kept.exchange, kept.routing_key, kept.header, kept.body, kept.body_size
        )
        again.offset, again.store_ms, again.expire_at = offset, kept.store_ms, kept.expire_at
        again.persistent, again.unseen = kept.persistent, kept.unseen
        self._found.append(self._entry(again))
        return 1

    def _entry(self, message: Message) -> Entry:
        entry: Entry = Entry.__new__(Entry)
        entry.message = message
        entry.places = self._array[: self._count]
        return entry

    @cython.cfunc
    @cython.exceptval(-1)
    def _look(self, places: bytes, at: cython.Py_ssize_t, offset: cython.longlong) -> cython.int:
        """Note those of the coded places (record.py) whose units point at the record at `offset`: 1 = there are some,
        0 = none, CHUNK = the index has to be loaded first."""
        end: cython.Py_ssize_t = len(places)
        value: cython.ulonglong
        unit: cython.longlong
        code: cython.longlong
        while at < end:
            value = rd_varint(places, at, end)
            at += varint_size(value)
            unit = rd_varint(places, at, end)
            at += varint_size(unit)
            code = 0
            if value & 1:
                code = rd64(places, at)
                at += 8
            self._queue(value >> 1)
            queue: LoggedQueue = self._memo
            if queue is None or queue.cursor.is_done(unit):
                continue
            found: cython.int = queue.index.find(unit)
            if found < 0:
                self.missing_queue, self.missing_chunk = queue, unit // 512
                return CHUNK
            if found and queue.index.log_offset == offset:
                self._note(queue.id, unit, code)
        return 1 if self._count else 0

    @cython.cfunc
    def _queue(self, queue_id: cython.longlong):
        """Have it in _memo; None: there is no such queue any more."""
        if self._memo is None or self._memo.id != queue_id:
            self._memo = self._queues.get(queue_id)

    @cython.cfunc
    def _note(self, queue_id: cython.longlong, unit: cython.longlong, code: cython.longlong):
        at: cython.Py_ssize_t = self._count
        if at + 3 > len(self._places):
            self._array = self._array * 2
            self._places = self._array
        self._places[at] = queue_id
        self._places[at + 1] = unit
        self._places[at + 2] = code
        self._count = at + 3

    @cython.ccall
    def copy(self):
        """Append what run() found anew, and have the queues' units point there. Right after run(): so nothing of it is
        done meanwhile."""
        for item in self._found:
            entry: Entry = item
            places: cython.longlong[::1] = entry.places
            message: Message = entry.message
            self._log.append_copy(message, places)
            at: cython.Py_ssize_t
            for at in range(0, len(places), 3):
                queue: LoggedQueue = self._queues[places[at]]
                queue.relocate(places[at + 1], message)
            self.copied_bytes += message.record_size
            self.copied_records += 1
        self._found = []

    @cython.ccall
    @cython.exceptval(-1)
    def sample(self, block: bytes, start: cython.longlong, upto: cython.longlong) -> cython.bint:
        """Add up the live records that begin before `upto` in a block read at `start`, wherever the first one does.
        What cannot be told, because an index chunk is not in memory, counts as live. False: the block cuts the last
        one, which begins at `at`; `wanted` bytes are needed."""
        view: View = self._view
        offset: cython.longlong = _first_record(block, start)
        size: cython.Py_ssize_t
        self._memo = None
        while 0 <= offset < upto:
            size = view.parse(block, offset - start, offset)
            if size == -2:
                self.at = offset
                self.wanted = view.size if offset - start + HEAD_BYTES <= len(block) else self._block_bytes
                return False
            if size <= 0:
                break
            if view.kind == STORE:
                self._count = 0
                if self._look(view.coded_places(), 0, offset):
                    self.live_bytes += size
            elif view.kind == NATIVE:
                self._native_at = offset
            elif view.kind == LINK:
                self._sample_link()
            offset += size
        return True

    @cython.cfunc
    def _sample_link(self):
        """The view holds a link: it tells whether a native message is live; of others their own records do."""
        body: bytes = self._view.body()
        offset: cython.longlong = rd_varint(body, 0, len(body))
        if offset != self._native_at:
            return
        at: cython.Py_ssize_t = varint_size(offset)
        size: cython.longlong = rd_varint(body, at, len(body))
        self._count = 0
        if self._look(body, at + varint_size(size), offset):
            self.live_bytes += size


def _first_record(block: bytes, start: int) -> int:
    """The log offset of the first record that seems to begin in a block read at `start`, -1 = there is none."""
    found = block.find(MAGIC, MAGIC_AT)
    while found >= 0:
        at = found - MAGIC_AT
        if int.from_bytes(block[at + OFFSET_AT : at + OFFSET_END], "big") == start + at:
            return start + at
        found = block.find(MAGIC, found + 1)
    return -1
