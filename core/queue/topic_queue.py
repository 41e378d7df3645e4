"""One queue of a native topic: an index into the log that many read, each from an offset of its own.

Messages are appended at once and shown when they are committed: a reader keeps offsets, so it is never given what a
crash may take. Offsets are dense, never go back and are never used twice. Nothing is ever settled here: where the log
begins later, because segments went, the queue does, too (trim.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import cython

from core.queue.topic_reads import ColdRead, TimeSearch, list_units, store_ms_at

if cython.compiled:
    from cython.cimports.core.log.tail import Tail
    from cython.cimports.core.log.waiter import Waiter
    from cython.cimports.core.native import Native
    from cython.cimports.core.queue.index import Index
    from cython.cimports.core.queue.traffic import Traffic
else:
    from core.log.tail import Tail
    from core.log.waiter import Waiter
    from core.native import Native
    from core.queue.index import Index
    from core.queue.traffic import Traffic


OFFSET_MAX = (1 << 63) - 1
SCANNED_MAX = cython.declare(cython.longlong, 800)  # units that one read looks at: RocketMQ's bound of a tag filter


class Read(NamedTuple):
    """Records as they lie in the log, each whole; where the reader goes on; and the offset that was looked at first."""

    records: list[bytes]
    next_offset: int
    first: int


def _not_set(*arguments: Any, **named: Any) -> Any:
    raise AssertionError("the broker has not started")


@cython.final
@cython.cclass
class TopicLog:
    """What all topic queues share; the broker's to set before the first message.

    log, turn                         CommitLog, Turn
    first()                           where the log begins
    fetch(units, done)                Reader.fetch
    read_chunk(queue id, number, done=)   done(a stored chunk of an index, None or Exception)
    read(log offset, size, done)      done(bytes of the log, or Exception)
    touched, epoch                    id -> queue that changed since the last checkpoint began; which one that was
    appended, appended_bytes          messages, and the size of their records, since start
    lowest                            no message that is there lies before it in the log
    ahead                             queues with records that were read ahead, the oldest first
    loaded                            (queue, number): chunks of indexes that are in memory to be read, the oldest first
    """

    def __init__(self):
        self.log: Any = None
        self.turn: Any = None
        self.first = self.fetch = self.read_chunk = self.read = _not_set
        self.touched = {}
        self.epoch = 1
        self.appended = self.appended_bytes = 0
        self.lowest = OFFSET_MAX
        self.ahead: Any = deque()
        self.loaded: Any = deque()

    def take_touched(self) -> dict[int, Any]:
        """A checkpoint begins: the queues that changed until now."""
        touched, self.touched = self.touched, {}
        self.epoch += 1
        return touched


@cython.cclass
class TopicQueue(Waiter):
    """min_offset, max_offset: what is there and committed lies from the one up to the other; `end` is the offset that
    the next message gets. id: of its rows in the store, nowhere else. deleted: its topic is gone, or made anew. ahead:
    queue offset -> record, of what was read from the disk and nobody has asked for yet; or None. traffic counts what is
    put into its topic."""

    def __init__(
        self,
        shared: TopicLog,
        topic: bytes,
        queue_id: int,
        local_id: int,
        index: Index | None = None,
        *,
        traffic: Traffic | None = None,
    ):
        Waiter.__init__(self)
        self.traffic = Traffic() if traffic is None else traffic
        self._shared = shared
        self.topic = topic
        self.queue_id = queue_id
        self.id = local_id
        self.index = Index() if index is None else index
        self.max_offset = self.index.end  # all that recovery found is committed
        self.deleted = False
        self._epoch = 0
        self._parked = None
        self.ahead = None

    @property
    def min_offset(self) -> int:
        """The lowest offset whose message is there."""
        begin: int = self.index.begin
        return begin

    @property
    def end(self) -> int:
        """The offset of the next message."""
        end: int = self.index.end
        return end

    @cython.ccall
    @cython.exceptval(-1)
    def append(self, message: Native, places: object = None) -> cython.longlong:
        """Store the message as the queue's next and return its offset. places: of queues of our own that hold it, too
        (CommitLog.append_native_into). Raises LimitReached."""
        shared: TopicLog = self._shared
        index: Index = self.index
        assert message.queue_id == self.queue_id and message.topic == self.topic and not self.deleted
        offset: cython.longlong = index.end
        message.queue_offset = offset
        if places is None:
            shared.log.append_native(message)
        else:
            shared.log.append_native_into(message, places)
        body: object = message.body
        size: cython.Py_ssize_t = len(body) if isinstance(body, bytes) else sum([len(piece) for piece in body])
        index.put(offset, message.offset, message.record_size, size, message.tags_code)
        shared.log.wait(self)
        shared.turn.schedule()
        shared.appended += 1
        shared.appended_bytes += message.record_size
        self.traffic.messages += 1
        self.traffic.bytes += message.record_size
        if message.offset < shared.lowest:
            shared.lowest = message.offset
        if self._epoch != shared.epoch:
            self.touch()
        return offset

    @cython.ccall
    def touch(self):
        """The next checkpoint has to look at it."""
        self._epoch = self._shared.epoch
        self._shared.touched[self.id] = self

    def begin_at(self, offset: int) -> None:
        """What lies below has gone. It was committed, though perhaps nobody was told yet: what a turn appended may be
        several batches, and waiters hear of the last."""
        self.index.trim(offset)
        self.touch()
        if offset > self.max_offset:
            self.committed(offset)

    @cython.ccall
    @cython.exceptval(-1)
    def mark(self) -> cython.longlong:
        """See Waiter."""
        return self.index.end

    @cython.ccall
    def committed(self, mark: cython.longlong):
        """See Waiter."""
        self.max_offset = mark
        if self._parked is not None:
            self.wake()

    def read(self, offset: int, count: int, bytes_max: int, codes: Any, done: Callable[[Any], None]) -> Read | None:
        """Records from `offset` on, at most `count` and bytes_max, but one whatever its size; only those whose tags
        code is in `codes`, None = all. At once, when memory has them; else None: done(Read or Exception) comes later.

        What is committed only; of what has gone with its segment nothing. There may be no record in it, because all
        that was looked at is of other tags, or there is no more: then next_offset tells."""
        if self.index.begin > offset:
            offset = self.index.begin
        found: Any = self.read_in(offset, count, bytes_max, codes, self.ahead)
        if found is None:
            ColdRead(self, self._shared, (offset, count, bytes_max, codes), done).go_on()
        return found

    @cython.ccall
    def read_in(
        self,
        offset: cython.longlong,
        count: cython.Py_ssize_t,
        bytes_max: cython.longlong,
        codes: object,
        fetched: dict,
    ) -> object:
        """read() of what is in the tail or in `fetched`, by queue offset; None: the first that is wanted is in neither,
        or its chunk of the index is not in memory. What was fetched and is given out is let go of."""
        index: Index = self.index
        tail: Tail = self._shared.log.tail
        first: cython.longlong = offset
        end: cython.longlong = min(self.max_offset, offset + SCANNED_MAX)
        size: cython.longlong = 0
        records: list = []
        record: object
        while offset < end and len(records) < count:
            found: cython.int = index.find(offset)
            if found < 0:
                if records:
                    break
                return None
            if found == 1 and (codes is None or index.code in codes):
                if records and size + index.size > bytes_max:
                    break
                record = tail.get(index.log_offset)
                if record is None and fetched:
                    record = fetched.pop(offset, None)
                if record is None:
                    if records:
                        break
                    if index.log_offset >= self._shared.first():
                        return None
                else:
                    records.append(record)
                    size += index.size
            offset += 1
        return Read(records, offset, first)

    def store_ms(self, offset: int, done: Callable[[Any], None]) -> None:
        """done(when the message at `offset` was stored, or Exception: LookupError when it is not there), perhaps from
        inside this call."""
        store_ms_at(self, self._shared, offset, done)

    def offset_at(self, ms: int, upper: bool, done: Callable[[Any], None]) -> None:
        """done(offset, or Exception), perhaps from inside this call: as RocketMQ's getOffsetInQueueByTime. The first
        that was stored at `ms` or later, max_offset if none was; upper: the last that was stored then or before, 0 if
        none was."""
        TimeSearch(self, self._shared, (ms, upper), done).go_on()

    def units(self, offset: int, count: int, done: Callable[[Any], None]) -> None:
        """done(up to `count` units (log offset, size, tags code) from `offset` on, of what is committed; or Exception),
        perhaps from inside this call."""
        list_units(self, self._shared, (max(offset, self.min_offset), count), done)

    def when_more(self, callback: Callable[[], None]) -> None:
        """Call it once, when something beyond max_offset was committed, or the topic is gone."""
        if self._parked is None:
            self._parked = []
        self._parked.append(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        """It is called no more, if it was to be."""
        if self._parked is not None and callback in self._parked:
            self._parked.remove(callback)
            if not self._parked:
                self._parked = None

    def wake(self) -> None:
        """Call all that wait."""
        parked, self._parked = self._parked, None
        for callback in parked or ():
            callback()


@cython.final
@cython.cclass
class Topic:
    """A topic: its config, and its queues[0], [1], ... , each made when it is first asked for.

    traffic = what was put into it; readers: group -> what was given to it. write_queues, read_queues, perm, sys_flag,
    multi_tags (filter type MULTI_TAG): its config's, for who looks often."""

    def __init__(self, config: Any, make: Callable[[bytes, int], Any], traffic: Traffic | None = None):
        self.traffic = Traffic() if traffic is None else traffic
        self.readers: dict[bytes, Traffic] = {}
        self.queues = TopicQueues(config, make)
        self._made = self.queues.made
        self.configure(config)

    def configure(self, config: Any) -> None:
        """It was updated."""
        self.config = self.queues.config = config
        self.write_queues, self.read_queues = config.write_queues, config.read_queues
        self.perm, self.sys_flag = config.perm, config.sys_flag
        self.multi_tags = config.filter_type == "MULTI_TAG"

    @cython.ccall
    def queue(self, number: cython.int):
        """queues[number]. Raises IndexError."""
        found: object = self._made.get(number)
        return self.queues[number] if found is None else found

    def reader(self, group: bytes) -> Traffic:
        """What was given to that group. The caller knows that there is such a group."""
        found = self.readers.get(group)
        if found is None:
            found = self.readers[group] = Traffic()
        return found


class TopicQueues:
    """As many as may be read or written, and those beyond that have ever been used, from when there were more."""

    def __init__(self, config: Any, make: Callable[[bytes, int], Any]):
        self.config = config
        self._make = make
        self.made: dict[int, Any] = {}  # TopicQueues

    def __len__(self) -> int:
        used = max(self.made) + 1 if self.made else 0
        return max(self.config.read_queues, self.config.write_queues, used)

    def __getitem__(self, number: int) -> Any:
        """Raises IndexError."""
        found = self.made.get(number)
        if found is None:
            if not 0 <= number < len(self):
                raise IndexError(f"topic {self.config.name.decode()} has no queue {number}")
            found = self.made[number] = self._make(self.config.name, number)
        return found

    def ends(self) -> list[int]:
        """The next offset of each, up to the last that has had a message."""
        used = [number for number, queue in self.made.items() if queue.end]
        return [self.made[number].end if number in self.made else 0 for number in range(max(used, default=-1) + 1)]
