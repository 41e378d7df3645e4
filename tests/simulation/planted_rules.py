"""Bugs in what architecture rules 8.1-8.4 and 8.11 say, found like those of planted.py: (rule, what is wrong) each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.log.commit_log import CommitLog
from core.publish import ACCEPTED, AT_COMMIT, Publisher
from core.queue.bounded import Bounded
from core.queue.counts import Counts
from core.queue.delivery import Queue
from core.queue.index import Index
from core.queue.levels import Levels
from core.queue.limits import Limits
from core.quorum import QuorumQueue
from core.state.delayed import DelayedQueue
from core.state.replay import LoggedQueue, Replay, Slot
from core.stream import Stream
from core.transaction import Transaction
from core.waits import Waits


def unacked_count() -> None:
    """8.4: what consumers hold counts for a length limit."""
    honest = Bounded._drop_heads

    def drop_heads(self: Any) -> None:
        self.limits.max_length -= self.unacked
        honest(self)
        self.limits.max_length += self.unacked

    Bounded._drop_heads = drop_heads


def newest_goes() -> None:
    """8.4: of a full queue the newest message goes, not the head."""
    honest = Bounded._first
    dropping = Bounded._drop_heads

    def drop_heads(self: Any) -> None:
        Queue._first = lambda self: self.end() - 1 if self.end() > self.next else honest(self)
        dropping(self)
        Queue._first = honest

    Bounded._drop_heads = drop_heads


def one_too_many() -> None:
    """8.4: a full queue refuses only when there is more in it than it may hold."""
    honest = Queue.refuses

    def refuses(self: Any, message: Any) -> bool:
        self.limits.max_length += 1
        refused = bool(honest(self, message))
        self.limits.max_length -= 1
        return refused

    Queue.refuses = refuses


def move_from_nowhere() -> None:
    """8.1: a dead letter's record does not say what it settles."""
    honest = Publisher._store
    Publisher._store = lambda self, message, durable, source: honest(self, message, durable, None)


def move_half_replayed() -> None:
    """8.1: recovery places a dead letter, and forgets to settle where it came from."""
    Replay._settle = lambda self, queue_id, offset: None


def units_in_turn() -> None:
    """8.1: replay puts a unit behind the last one, not at the offset that its record says."""
    honest = Index.put

    def put(self: Any, offset: int, log_offset: int, size: int, body_size: int, code: int) -> None:
        honest(self, max(offset, self.end), log_offset, size, body_size, code)

    Index.put = put


def answered_by_message() -> None:
    """8.2: a persistent message waits for the disk although no durable queue took it; the other way round, too."""
    honest = Publisher.publish

    def publish(self: Any, message: Any, route: Any) -> int:
        result: int = honest(self, message, route)
        return result and (AT_COMMIT if message.persistent else ACCEPTED)

    Publisher.publish = publish


def transient_is_stored() -> None:
    """8.2: what only transient queues took is written to the log, too."""
    honest = Publisher.publish

    def publish(self: Any, message: Any, route: Any) -> int:
        if route.queues and not route.durable:
            self._store(message, (), None)
        return int(honest(self, message, route))

    Publisher.publish = publish


def record_per_queue() -> None:
    """8.3: each durable queue gets a record of its own."""
    honest = Publisher._store

    def store(self: Any, message: Any, durable: tuple[Any, ...], source: Any) -> None:
        for queue in durable:
            honest(self, message, (queue,), source)

    Publisher._store = store


def last_queue_forgotten() -> None:
    """8.3: the record does not name the last of several durable queues."""
    honest = Publisher._store

    def store(self: Any, message: Any, durable: tuple[Any, ...], source: Any) -> None:
        honest(self, message, durable[:-1] or durable, source)

    Publisher._store = store


def back_to_the_end() -> None:
    """8.4: what came back is delivered after what was never delivered."""
    honest = Queue._first

    def first(self: Any) -> int:
        returned, self._returned = self._returned, []
        offset: int = honest(self)
        self._returned = returned
        return offset if offset >= 0 or not returned else returned[0]

    Queue._first = first


def purge_takes_unacked() -> None:
    """8.4: a purge settles what consumers hold, too."""
    honest = Queue.purge

    def purge(self: Any) -> int:
        count: int = honest(self)
        for offset in range(self.cursor.floor, self.end()):
            self.settle(offset)
        return count

    Queue.purge = purge


def expiry_is_forgotten() -> None:
    """8.4: what expired while it waited behind others is delivered."""
    honest = Queue._ready_message

    def ready_message(self: Any, offset: int) -> Any:
        message = honest(self, offset)
        self.code = 0
        return message

    Queue._ready_message = ready_message


def expiry_at_the_head_only() -> None:
    """8.4: what expires before one in front of it stays until that has gone."""
    Queue._overtake = lambda self, ms, offset: None


def overtaking_forgotten() -> None:
    """8.4: after a restart what expires before one in front of it stays until that has gone."""
    Queue.restore_overtaking = lambda self, slot, read: None


def lowest_first() -> None:
    """8.4: of a queue with priorities the lowest level goes first."""
    honest = Levels.level_of
    Levels.level_of = lambda self, message: self.top - honest(self, message)


def levels_forgotten() -> None:
    """8.4: after a restart all of a queue with priorities is of one level."""
    Levels.restore = lambda self, queue, read: [self.put(at, 0) for at in range(queue.cursor.floor, queue.index.end)]


def counts_forgotten() -> None:
    """8.4: a restart forgets how often the messages of a quorum queue came back."""
    Slot.put_counts = lambda self, counts: None


def returned_weigh_nothing() -> None:
    """8.4: a limit of bytes does not count what came back."""

    def give_back(self: Limits, offset: int) -> None:
        if self.counted(offset):
            self._out.pop(offset)

    Limits.give_back = give_back


def limit_is_late() -> None:
    """8.4: a message comes back once more than its queue's delivery limit says."""
    honest = QuorumQueue.configure

    def configure(self: Any, settings: Any) -> None:
        honest(self, settings)
        self.delivery_limit += self.delivery_limit >= 0

    QuorumQueue.configure = configure


def retried_too_early() -> None:
    """8.4: what came back to a queue with delayed retry waits a ms less."""
    honest = QuorumQueue._delay_ms
    QuorumQueue._delay_ms = lambda self, offset: honest(self, offset) - 1


def retries_forgotten() -> None:
    """8.4: after a restart what waited to be tried again does so for ever."""
    Counts.waiting = lambda self: []


def delays_forgotten() -> None:
    """8.11: what waited for its time before a restart waits for ever."""
    DelayedQueue.fill = lambda self, read_chunk: None


def delays_are_short() -> None:
    """8.11: a delayed message fires before its time."""
    honest = DelayedQueue.take_due
    DelayedQueue.take_due = lambda self, now_ms, count: honest(self, now_ms + 10, count)


def settled_apart() -> None:
    """8.1: what becomes of a native message that waited, and that it is settled, are not one."""

    def settle(self: Any, offset: int, becomes: Any = ()) -> None:
        queue = self._ports.model.waiting[self._kind]
        for topic, message in becomes:
            self._ports.topics.append(topic, message)
        if offset == self._out:
            queue.ready -= 1
            queue.settle(offset)
        else:
            queue.cancel(offset)

    Waits.settle = settle


def stream_forgets_its_size() -> None:
    """8.4: after a restart a stream does not know how much it keeps."""
    Stream.restored = LoggedQueue.restored


def reader_skips() -> None:
    """8.4: a reader of a stream misses what comes while it waits at the end."""
    honest = Stream._leave

    def leave(self: Any, place: Any, idle: bool) -> None:
        place.next += idle
        honest(self, place, idle)

    Stream._leave = leave


def committed_singly() -> None:
    """A transaction's records may end up in several batches, or in a part of one."""
    CommitLog.join = lambda self, size: None

    def end_joined(self: Any, bodies: list[bytes]) -> None:
        for body in bodies:
            self.append(3, body)

    CommitLog.end_joined = end_joined


def settled_at_once() -> None:
    """A transaction's settlements are made when they are asked for, not when it is committed."""

    def settle(self: Any, taken: Any, fate: int) -> None:
        self._unacked.settle_taken(taken, fate)

    Transaction.settle = settle


RULES: dict[str, Callable[[], None]] = {
    "8.1-move": move_from_nowhere,
    "8.1-replay": move_half_replayed,
    "8.1-absolute": units_in_turn,
    "8.2-answer": answered_by_message,
    "8.2-transient": transient_is_stored,
    "8.3-records": record_per_queue,
    "8.3-last": last_queue_forgotten,
    "8.4-place": back_to_the_end,
    "8.4-purge": purge_takes_unacked,
    "8.4-expiry": expiry_is_forgotten,
    "8.4-anywhere": expiry_at_the_head_only,
    "8.4-overtaking": overtaking_forgotten,
    "8.4-levels": lowest_first,
    "8.4-limit-unacked": unacked_count,
    "8.4-limit-bytes": returned_weigh_nothing,
    "8.4-limit-head": newest_goes,
    "8.4-limit-refuse": one_too_many,
    "8.4-restored": levels_forgotten,
    "8.4-counts": counts_forgotten,
    "8.4-limit": limit_is_late,
    "8.4-stream": stream_forgets_its_size,
    "8.4-reader": reader_skips,
    "8.4-retry": retried_too_early,
    "8.4-waiting": retries_forgotten,
    "8.1-waits": settled_apart,
    "8.11-forgotten": delays_forgotten,
    "8.11-early": delays_are_short,
    "tx-batch": committed_singly,
    "tx-settle": settled_at_once,
}
