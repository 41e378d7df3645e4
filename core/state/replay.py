"""Replay: the log's records from the checkpoint's stamp on, put back into indexes and cursors.

A fact may be stated anew long after the units that belong to it (retention), so units and settled ranges go into a slot
per queue id whether its fact is known or not; a queue takes its slot over when replay ends, and slots without a fact
are dropped. Every record is absolute, so replaying what a checkpoint already holds changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cython

from core.errors import LogCorrupt
from core.native import COMMIT, TRANSACTION, tags_code
from core.queue.counts import Counts
from core.queue.cursor import Cursor
from core.queue.index import Index
from core.state.done import read_done
from core.state.model import topic_key

if cython.compiled:
    from cython.cimports.core.log.record import DONE, LINK, NATIVE, STATE, STORE
    from cython.cimports.core.log.view import View
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.delivery import Queue
else:
    from core.log.record import DONE, LINK, NATIVE, STATE, STORE
    from core.log.view import View
    from core.message import Message
    from core.queue.delivery import Queue

SPILL_UNITS = cython.declare(cython.longlong, 512 * 1000)  # new units in memory before full chunks go to the store
TRIM_UNITS = cython.declare(cython.longlong, 512)
SHOWN = (0, COMMIT)  # in the queue; a message that is prepared or rolled back is in the log only
EXPIRES = cython.declare(cython.longlong, (1 << 54) - 1)  # of a tags code; above it is its level (core/queue/levels.py)


@cython.cclass
class LoggedQueue(Queue):
    """A durable queue. It tells the turn when it changed, so that a checkpoint looks at changed queues only."""

    @cython.ccall
    def push(self, message: Message, code: cython.longlong):
        """See Queue.push."""
        if not self.settled:
            self.settled = True
            self.turn.settled.append(self)
        Queue.push(self, message, code)

    @cython.ccall
    def relocate(self, offset: cython.longlong, copy: Message):
        """The message at `offset`, not done and its unit in memory, has a copy in the log: it points there."""
        index: Index = self.index
        assert index.find(offset) == 1
        before: cython.Py_ssize_t = index.body_size
        index.put(offset, copy.offset, copy.record_size, copy.body_size, index.code)
        index.copied_to = max(index.copied_to, offset + 1)
        if self.limits is not None:
            index.find(offset)
            self.limits.resize(offset, before, index.body_size)
        self._progressed()

    def adopt(self, slot: Slot) -> None:
        """Take over what replay found for this queue."""
        assert slot.id == self.id
        self.index = slot.index
        self.cursor = slot.cursor
        self._settle_absent()
        self.restored()
        if slot.watermark >= 0:
            self.redelivered_below = min(slot.watermark, self.index.end)

    def _settle_absent(self) -> None:
        """Units that are nowhere are done: their segment went before the fact was stated for the last time."""
        index: Index = self.index
        cursor: Cursor = self.cursor
        offset: cython.longlong = max(cursor.floor, index.begin)
        if offset > cursor.floor:
            cursor.settle_range(cursor.floor, offset)
        while offset < index.end:
            if not index.loaded(offset):
                after: cython.longlong = min((offset // 512 + 1) * 512, index.end)
                if offset // 512 not in index.stored:
                    cursor.settle_range(offset, after)
                offset = after
                continue
            if index.find(offset) == 0:
                cursor.settle(offset)
            offset += 1
        cursor.take_runs()


@cython.final
@cython.cclass
class Slot:
    """What is known of one queue id. watermark: what lies below was delivered before a clean stop, -1 = unknown.
    counts: how often messages came back, or None. latest, chunks: of messages that expire before one in front of them,
    see Stock.restore_overtaking. unordered: a unit came behind some that are in front of it, as a copy's may. topic,
    number: of a topic's queue, else b"" and -1."""

    def __init__(self, queue_id: int, topic: bytes = b"", number: int = -1):
        self.id = queue_id
        self.topic = topic
        self.number = number
        self.index = Index()
        self.cursor = Cursor()
        self.counts = None
        self.latest = 0
        self.chunks = set()
        self.watermark = -1
        self.unordered = False

    def fact_key(self) -> tuple[Any, ...]:
        """Of the fact without which nothing of it is wanted."""
        return topic_key(self.topic) if self.topic else ("queue", self.id)

    def is_empty(self) -> bool:
        """Whether nothing is known to be there."""
        return not self.index.loaded_chunks() and not self.index.stored

    @cython.cfunc
    def expires(self, code: cython.longlong, offset: cython.longlong):
        """The unit at `offset` has that tags code."""
        code &= EXPIRES
        if code == 0:
            self.latest = EXPIRES
        elif code >= self.latest:
            self.latest = code
        else:
            self.chunks.add(offset // 512)

    def put_in_order(self, read_chunk: Callable[[int, int], bytes | None]) -> None:
        """Of one that is unordered: find `latest` and `chunks` anew, and settle what is nowhere; read_chunk(queue id,
        number) blocks."""
        self.latest, self.chunks = 0, set()
        index, cursor = self.index, self.cursor
        for number in range(max(cursor.floor, index.begin) // 512, (index.end + 511) // 512):
            first = number * 512
            was_loaded = index.loaded(first)
            units = read_chunk(self.id, number) if not was_loaded and number in index.stored else None
            if units is not None:
                index.load(number, units)
            for offset in range(max(first, cursor.floor), min(first + 512, index.end)):
                if not cursor.is_done(offset):
                    if index.find(offset) == 1:
                        self.expires(index.code, offset)
                    else:
                        cursor.settle(offset)
            if units is not None and number not in index.unstored:
                index.unload(number)
        cursor.take_runs()

    def put_counts(self, counts: list) -> None:
        """[(offset, how often it came back, until when it waits)]."""
        if self.counts is None:
            self.counts = Counts()
        kept: Counts = self.counts
        for offset, count, due_ms in counts:
            if not self.cursor.is_done(offset):
                kept.put(offset, count, due_ms)
        kept.sift(self.cursor)

    def begin_at(self, first: int) -> None:
        """A fact says that everything below `first` is done."""
        self.cursor.settle_range(self.cursor.floor, first)
        self.cursor.take_runs()
        self.index.trim(self.cursor.floor)


@cython.final
@cython.cclass
class Replay:
    """record() for each record of the log, in order.

    slots    queue id -> Slot; records and units count what was replayed
    state(body, offset) applies a state record; load(queue id, chunk number) reads a stored chunk; spill(slots) may move
    full chunks to the store, so that a backlog of any size fits; new_id() gives the id of a topic's queue
    """

    def __init__(
        self,
        state: Callable[[bytes, int], None],
        load: Callable[[int, int], bytes | None],
        spill: Callable[[Any], None],
        new_id: Callable[[], int],
    ):
        self.slots = {}
        self._topics = {}  # name -> {number of a queue -> Slot}
        self._topic_memo = None
        self._new_id = new_id
        self._gone = set()
        self._state = state
        self._load = load
        self._spill = spill
        self.records = self.units = self._units_kept = 0
        self._memo = None
        self._stored_at = -1  # of the last message, which its links follow
        self._stored_body = 0
        self._began_at = -1  # the first record

    @cython.ccall
    def slot(self, queue_id: cython.longlong) -> Slot:
        """The slot of that id, made when it is not there; None when the queue is known to be deleted."""
        slot: Slot = self._memo
        if slot is not None and slot.id == queue_id:
            return slot
        slot = self.slots.get(queue_id)
        if slot is None:
            if queue_id in self._gone:
                return None
            slot = Slot(queue_id)
            self.slots[queue_id] = slot
        self._memo = slot
        return slot

    def drop(self, queue_id: int) -> None:
        """The queue was deleted: nothing of it is wanted, now or from an earlier statement."""
        slot = self.slots.pop(queue_id, None)
        if slot is not None and slot.topic:
            self._topics.get(slot.topic, {}).pop(slot.number, None)
        self._gone.add(queue_id)
        self._memo = self._topic_memo = None

    def gone(self) -> set[int]:
        """Ids of the queues that were deleted, or had no fact."""
        return set(self._gone)

    # -- of native topics: the log knows their queues by topic and number

    def topic_slot(self, topic: bytes, number: int, queue_id: int = 0) -> Any:
        """The slot of a topic's queue, made when it is not there; queue_id: its id, 0 = it gets one."""
        slots = self._topics.setdefault(topic, {})
        slot = slots.get(number)
        if slot is None:
            slot = slots[number] = Slot(queue_id or self._new_id(), topic, number)
            self.slots[slot.id] = slot
        return slot

    def topic_slots(self, topic: bytes) -> dict[int, Any]:
        """Number -> slot."""
        return dict(self._topics.get(topic, {}))

    def topic_ends(self, topic: bytes, ends: list[int]) -> None:
        """A fact says that offsets below these were given: of a queue of which nothing is there, all have gone."""
        for number, end in enumerate(ends):
            if end:
                slot = self.topic_slot(topic, number)
                if slot.is_empty():
                    slot.index.trim(end)
                else:
                    slot.index.reach(end)

    def drop_topic(self, topic: bytes) -> None:
        """It was deleted: what follows in the log is of another one of that name."""
        for slot in list(self._topics.pop(topic, {}).values()):
            self.drop(slot.id)

    @cython.cfunc
    def _native(self, view: View):
        """A message entered its topic's queue. Links of it may follow."""
        self._stored_at, self._stored_body = view.offset, view.body_size
        slot: Slot = self._topic_memo
        if slot is None or slot.number != view.queue_id or not view.is_of(slot.topic):
            slot = self.topic_slot(view.topic(), view.queue_id)
            self._topic_memo = slot
        index: Index = slot.index
        unit: cython.longlong = view.queue_offset
        if unit < index.end:
            if unit >= index.begin and not index.loaded(unit):
                self._reload(slot, unit // 512)
        elif unit > index.end and slot.is_empty():
            index.trim(unit)  # the first that is there
        index.put(unit, view.offset, view.size, view.body_size, tags_code(slot.topic, view.properties(), view.store_ms))
        self.units += 1
        self._units_kept += 1
        if self._units_kept >= SPILL_UNITS:
            self._units_kept = 0
            self._spill(self.slots.values())

    @cython.ccall
    def record(self, view: View):
        """Apply one record."""
        self.records += 1
        if self._began_at < 0:
            self._began_at = view.offset
        if view.kind == STORE:
            places = view.places()
            self._stored_at, self._stored_body = view.offset, view.content_size()
            self.place(view.offset, view.size, self._stored_body, places)
            moved: tuple = view.moved_from()
            if moved is not None:
                self._settle(moved[0], moved[1])
        elif view.kind == NATIVE:
            if view.sys_flag & TRANSACTION in SHOWN:
                self._native(view)
        elif view.kind == DONE:
            self.done(view.body())
        elif view.kind == STATE:
            self._state(view.body(), view.offset)
        elif view.kind == LINK:
            linked: tuple = view.link()
            if linked[0] == self._stored_at:
                self.place(linked[0], linked[1], self._stored_body, linked[2])
            elif linked[0] >= self._began_at and self._stored_at >= 0:  # its segment has not gone, nor is it lost
                raise LogCorrupt(f"link at {view.offset}: its message is not the one before it")
        else:  # a repair put it where records were lost: a link behind it is of a message that is not there
            self._stored_at = -1

    @cython.cfunc
    def _settle(self, queue_id: cython.longlong, offset: cython.longlong):
        """A message was moved from there: the same record says where it is now."""
        slot: Slot = self.slot(queue_id)
        if slot is not None:
            slot.cursor.settle_stated(offset)
            if slot.cursor.floor - slot.index.begin >= TRIM_UNITS:
                slot.index.trim(slot.cursor.floor)

    @cython.ccall
    def place(
        self,
        offset: cython.longlong,
        size: cython.Py_ssize_t,
        body_size: cython.Py_ssize_t,
        places: cython.longlong[::1],
    ):
        """The message at that log offset entered these queues: flat triples (queue id, queue offset, tags code)."""
        at: cython.Py_ssize_t = 0
        count: cython.Py_ssize_t = len(places)
        while at < count:
            slot: Slot = self.slot(places[at])
            if slot is not None:
                unit: cython.longlong = places[at + 1]
                index: Index = slot.index
                if unit < index.end and unit >= index.begin:
                    self._behind(slot, unit, offset)
                index.put(unit, offset, size, body_size, places[at + 2])
                slot.expires(places[at + 2], unit)
                self.units += 1
                self._units_kept += 1
            at += 3
        if self._units_kept >= SPILL_UNITS:
            self._units_kept = 0
            self._spill(self.slots.values())

    @cython.cfunc
    def _behind(self, slot: Slot, unit: cython.longlong, offset: cython.longlong):
        """The unit of a record at `offset` is not the youngest: a checkpoint holds it, or it is a copy's."""
        index: Index = slot.index
        if not index.loaded(unit):
            self._reload(slot, unit // 512)
        found: cython.int = index.find(unit)
        if found == 1 and index.log_offset == offset or slot.cursor.is_done(unit):
            return
        index.copied_to = max(index.copied_to, unit + 1)
        if found != 1:
            slot.unordered = True

    def _reload(self, slot: Slot, number: int) -> None:
        """A unit goes into a chunk that the store holds: bring that back first, or its other units were lost."""
        if number in slot.index.stored:
            units = self._load(slot.id, number)
            if units is not None:
                slot.index.load(number, units)

    @cython.ccall
    def done(self, body: bytes):
        """These ranges are settled."""
        for item in read_done(body):
            slot: Slot = self.slot(item[0])
            if slot is None:
                continue
            cursor: Cursor = slot.cursor
            for run in item[1]:
                cursor.settle_range(run[0], run[1])
            cursor.take_runs()
            if item[2]:
                slot.put_counts(item[2])
            if cursor.floor - slot.index.begin >= TRIM_UNITS:
                slot.index.trim(cursor.floor)
