"""The past of a durable queue: everything that entered it, from an offset or a time on, for one consumer.

    units that nobody keeps any more ──► a scan of the log, where each record says its queues and offsets
    `upto`, and what follows         ──► the queue's index, which keeps its units while it is read
    at the end                       ──► what comes, from memory

A message is there as long as its record is: until its segment goes, and while the queue holds it. Copies that retention
made of it never count twice: a queue's offsets only grow along the log, but for copies, which lie behind.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import cython

from core.errors import LogCorrupt
from core.log.decode import decode_message
from core.log.scans import Scan
from core.log.sieve import PLACE_FIELDS, Sieve
from core.state.checkpoint import near_chunks
from core.state.log_past import Ports

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.index import Index
    from cython.cimports.core.state.log_past import LogPast
else:
    from core.message import Message
    from core.queue.index import Index
    from core.state.log_past import LogPast

logger = logging.getLogger(__name__)

FIRST, LAST, NEXT, OFFSET, TIME = "first", "last", "next", "offset", "time"  # as core.stream.Stream.place() has them
AHEAD_UNITS = cython.declare(cython.int, 256)
AHEAD_BYTES = cython.declare(cython.longlong, 1 << 20)
CHUNK_UNITS = cython.declare(cython.longlong, 512)
SKIPPED_AT_ONCE = cython.declare(cython.int, 512)
OFFSET_MAX = (1 << 63) - 1


@cython.final
@cython.cclass
class QueuePast(LogPast):
    """next: the queue offset that is looked for; scanning: in the log, not in the index."""

    def __init__(self, replays: Any, queue: Any, ports: Ports):
        LogPast.__init__(self, replays, f"queue '{queue.name}' in vhost '{queue.vhost.decode()}'", ports)
        self.queue = queue
        self._index = queue.index
        self._tail = ports.tail
        self.next = 0
        self._since_ms = 0
        self._upto = self._end = self._young = 0
        self.scanning = self._from_back = False
        self._segment = 0
        self._ahead = {}

    @property
    def settings(self) -> Any:
        """The queue's."""
        return self.queue.settings

    def place(self, kind: str, value: int) -> None:
        """Begin at FIRST, LAST, NEXT, OFFSET (value = offset, perhaps one to come) or TIME (value = ms since the
        epoch: the first message not older)."""
        self._since_ms = value if kind == TIME else 0
        self.scan = Scan(self, Sieve(self.queue.id, since_ms=self._since_ms), self._ports.first())
        self._end = self._index.end
        if kind == NEXT:
            self.next = self._end
        elif kind == LAST:
            self.next = max(self._end - 1, 0)
        elif kind == OFFSET:
            self.next = max(value, 0)
        self._from_back = kind == LAST
        if self.next >= self.queue.cursor.floor and kind != TIME:
            self.scan.at = self._ports.log.appended if self.next >= self._end else self.scan.at
            self.hold()
        else:
            self._begin_scan(self.queue.cursor.floor)
        if kind == TIME:
            self._seek(value)
        elif self.scanning and self._from_back:
            self._scan_segment(self._ports.log.committed - 1)

    def hold(self) -> None:
        """Have the index keep what is still to be read from it, by this replay and others of the queue."""
        lowest = OFFSET_MAX
        for item in self.replays.open:
            if isinstance(item, QueuePast):
                replay: QueuePast = item
                if replay.queue is self.queue and not replay.closed:
                    lowest = min(lowest, replay._upto if replay.scanning else replay.next)
        self._index.held_from = lowest
        self._index.trim(self.queue.cursor.floor)

    def close(self) -> None:
        """See Replay.close."""
        LogPast.close(self)
        self._ahead = {}
        if not self.queue.deleted:
            self.hold()

    @cython.ccall
    @cython.exceptval(-1)
    def has_more(self) -> cython.bint:
        """See Replay.has_more."""
        return self.next < self._index.end

    @cython.ccall
    def message(self) -> Message:
        """See Replay.message."""
        while not (self.reading or self.idle or self.more or self.closed):
            message: Message = self._scanned() if self.scanning else self._indexed()
            if message is not None:
                return message
        return None

    # -- in the log

    def _begin_scan(self, upto: int) -> None:
        """Look for what lies below `upto` in the log, from scan.at on: all of it was appended by now."""
        self.scanning = True
        self._upto, self._end = upto, self._index.end
        self._limit = self._ports.log.appended
        self.hold()

    def _end_scan(self, unit: int) -> None:
        """The index knows what follows. Of a time `unit` is the first that is young enough, but for copies: before it
        may be some whose first record has gone."""
        self.scanning = False
        self._found = None
        self.next = max(self.next, self._upto)
        self._young = unit if self._since_ms else 0
        self.hold()

    def _scan_segment(self, offset: int) -> None:
        """The last message is looked for from the back: scan the segment of that log offset."""
        segment_bytes = self._ports.log.segment_bytes
        self.scan.at = max(offset - offset % segment_bytes, self._ports.first())
        self._segment = self.scan.at

    def _segment_before(self) -> bool:
        """It is not in the segment that was scanned: scan the one before; False: there is none."""
        if self._segment <= self._ports.first():
            return False
        self._limit = self._segment
        self._scan_segment(self._segment - 1)
        return True

    @cython.cfunc
    def _scanned(self) -> Message:
        """The next message that the scan finds, or None: then something has changed."""
        if self._found is not None:
            found: cython.longlong[::1] = self._found.found
            while self._at < len(self._found.found):
                unit: cython.longlong = found[self._at + 2]
                if unit >= self._upto:
                    self.scan.at = min(self.scan.at, found[self._at])
                    self._end_scan(unit)
                    return None
                if unit >= self.next:
                    self._from_back = False
                    return self._decode(found[self._at], found[self._at + 1], unit)
                self._at += 3
        self._found = None
        if self.scan.at < self._limit:
            self._ask()
        elif not self._from_back or not self._segment_before():
            self._end_scan(self._end)
        return None

    def _decode(self, log_offset: int, size: int, unit: int) -> Any:
        """The message that was found, or None while a reader thread brings one that lies before the block (a link's),
        or when its record is damaged."""
        message = self._ahead.pop(unit, None)
        at = log_offset - self._found.start
        if message is None and at < 0:
            self._fetch([(log_offset, size)], [unit])
            return None
        self._at += PLACE_FIELDS
        self.next = unit + 1
        self.offset = unit
        if message is None:
            try:
                message = decode_message(self._found.block, at, size, log_offset)
            except LogCorrupt as error:
                self._unreadable(unit, error)
        return message

    # -- in the index

    @cython.cfunc
    @cython.exceptval(-9)
    def _unit(self) -> cython.int:
        """Go to the next unit whose record is there, which the index then tells: 1; 0 = there is none, or it takes
        longer (`more`), or it has to be scanned for; -1 = its chunk has to be loaded."""
        index: Index = self._index
        first: cython.longlong = self._ports.first()
        skipped: cython.int = 0
        while self.next < index.end:
            if index.copied_to <= self.next < self._young:
                self.next = self._young
                continue
            if self.next < index.begin:
                self._begin_scan(index.begin)
                return 0
            found: cython.int = index.find(self.next)
            if found == 1 and index.log_offset >= first or found < 0:
                return found
            self.next += 1
            skipped += 1
            if skipped == SKIPPED_AT_ONCE:
                self.more = True
                return 0
        self.idle = True
        return 0

    @cython.cfunc
    def _indexed(self) -> Message:
        """The next message that the index knows, or None: then something has changed."""
        index: Index = self._index
        found: cython.int = self._unit()
        unit: cython.longlong = self.next
        if found == 0:
            return None
        if found < 0:
            self.reading = True
            number = unit // CHUNK_UNITS
            self._ports.read_chunk(self.queue.id, number, done=partial(self._got_chunk, number))
            return None
        message: Message = self._tail.get(index.log_offset)
        if message is None and self._ahead:
            message = self._ahead.pop(unit, None)
        if message is None:
            self._read_ahead()
            return None
        if unit >= index.copied_to:
            self.scan.at = index.log_offset + index.size
        self.offset = unit
        self.next = unit + 1
        if self.next % CHUNK_UNITS == 0:
            self._leave_chunk()
        return None if unit < self._young and message.store_ms < self._since_ms else message

    @cython.cfunc
    def _leave_chunk(self):
        """What was loaded for this replay leaves memory behind it."""
        index: Index = self._index
        number: cython.longlong = self.next // CHUNK_UNITS - 1
        loaded: cython.bint = index.loaded(number * CHUNK_UNITS)
        if loaded and number in index.stored and number not in index.unstored:
            if number not in near_chunks(self.queue):
                index.unload(number)
        self.hold()

    def _got_chunk(self, number: int, result: Any) -> None:
        if self.closed:
            return
        if isinstance(result, bytes):
            self._index.load(number, result)
        elif self._index.find(self.next) < 0:
            error = result or LookupError(f"chunk {number} of the index is missing in the store")
            logger.error("replay ended: an index cannot be read", extra={"reader": self.title, "error": str(error)})
            self.end()
            return
        self.arrived()

    def _read_ahead(self) -> None:
        """Have messages from `next` on read from the disk, as soon as the limit of bytes in a second allows it."""
        self.reading = True
        delay = self._ports.scans.delay_ms()
        if delay:
            self._ports.at(self._ports.clock.ms + delay, self._try_again)
            return
        index, first = self._index, self._ports.first()
        units, offsets = [], []
        size: cython.longlong = 0
        offset: cython.longlong = self.next
        while offset < index.end and len(units) < AHEAD_UNITS and size < AHEAD_BYTES:
            found: cython.int = index.find(offset)
            if found < 0 or found and units and self._tail.get(index.log_offset) is not None:
                break
            if found and index.log_offset >= first:
                units.append((index.log_offset, index.size))
                offsets.append(offset)
                size += index.size
            offset += 1
        if units:
            self._ports.scans.spend(size)
            self._fetch(units, offsets)
        else:
            self._try_again()

    def _try_again(self) -> None:
        if not self.closed:
            self.arrived()

    def _fetch(self, units: list, offsets: list) -> None:
        self.reading = True
        self._ports.fetch(units, partial(self._fetched, units, offsets))

    def _fetched(self, units: list, offsets: list, result: Any) -> None:
        if self.closed:
            return
        if not isinstance(result, Exception):
            self._ahead = dict(zip(offsets, result, strict=True))
        elif len(units) > 1:  # it may be another that cannot be read
            self._fetch(units[:1], offsets[:1])
            return
        elif units[0][0] >= self._ports.first():  # else it went meanwhile
            self._unreadable(offsets[0], result)
            self.next = max(self.next, offsets[0] + 1)
        self.arrived()

    def _unreadable(self, unit: int, error: Exception) -> None:
        """A message that cannot be read is left out."""
        self._ports.scans.unreadable += 1
        extra = {"reader": self.title, "offset": unit, "error": str(error)}
        logger.error("replay leaves out a message: it cannot be read", extra=extra)
