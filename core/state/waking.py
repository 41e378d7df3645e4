"""Hidden queues wake up when something in them is due: it is read, from memory or the disk, and released.

    arm() ──► one timer for the earliest ──► a portion of what is due is read ──► release(queue, offset, message)

No more is read while the disk is behind with what was released before. What cannot be read or released is counted and
stays until the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from core.queue.index import CHUNK_UNITS
from core.state.delayed import DUE_BITS, DelayedQueue

logger = logging.getLogger(__name__)

Offsets = list[int]  # of a queue
FIRED_AT_ONCE = 128  # taken out of what is due
READ_BYTES = 1 << 20  # of them in one iteration of the loop, or one that is bigger
BYTES_MAX = (1 << 63) - 1
PENDING_BYTES_MAX = 64 << 20  # appended and not committed, as publishers may have it: then what is due waits
BEHIND_MS = 50  # until it is looked again whether the disk is still behind


class Ports(NamedTuple):
    """What waking works with.

    clock, schedule, cold   of the broker
    fetch(units, done)      reads messages: Reader.fetch
    soon(callback)          in the next iteration of the loop
    log                     pending_bytes
    """

    clock: Any
    schedule: Any
    cold: Any
    fetch: Callable[[Any, Callable[[Any], None]], None]
    soon: Callable[[Callable[[], None]], Any]
    log: Any


class Waking:
    """release(queue, offset, message) is called for what is due; of a native message with its record as bytes. It may
    have been settled meanwhile. unread: messages that could not be read."""

    def __init__(self, ports: Ports, release: Callable[[Any, int, Any], None]):
        self._ports = ports
        self._release = release
        self._entries: dict[DelayedQueue, Any] = {}  # queue -> its entry in the schedule
        self.firing: set[DelayedQueue] = set()
        self._closed = False
        self.unread = 0

    def forget(self, queue: DelayedQueue) -> None:
        """The queue was deleted."""
        entry = self._entries.pop(queue, None)
        if entry is not None:
            self._ports.schedule.cancel(entry)

    def close(self) -> None:
        """Nothing is released any more, and no read ends."""
        self._closed = True

    def arm(self, queue: DelayedQueue) -> None:
        """Ask to be woken for the earliest; while some are on their way they ask themselves."""
        if queue in self.firing:
            return
        schedule, ms = self._ports.schedule, queue.due.first()
        entry = self._entries.pop(queue, None)
        if entry is not None:
            schedule.cancel(entry)
        if ms >= 0:
            self._entries[queue] = schedule.at(ms, partial(self._wake, queue))

    def read(
        self,
        queue: DelayedQueue,
        offsets: Offsets,
        done: Callable[[Offsets, Any], None],
        mark: int = -1,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        """done(offsets, their messages or an Exception) of those that are not settled by now and have that mark, -1 =
        any: the first ones, as many as bytes_max holds, but at least one. None in place of messages: the queue is gone,
        or its index cannot be read. First the chunks of the index come into memory, then the messages."""
        if self._closed:
            return
        if queue.deleted or queue.stopped:  # a chunk does not come
            done([], None)
            return
        offsets = [offset for offset in offsets if not queue.cursor.is_done(offset)]
        wanted: Offsets = []
        units, size = [], 0
        for offset in offsets:
            unit = queue.unit(offset)
            if unit is None:
                again = partial(self.read, queue, offsets, done, mark, bytes_max)
                self._ports.cold.load(queue, offset // CHUNK_UNITS, again)
                return
            if mark < 0 or queue.index.code >> DUE_BITS == mark:
                size += unit[1]
                if wanted and size > bytes_max:
                    break
                wanted.append(offset)
                units.append(unit)
        self._ports.fetch(units, partial(self._unless_closed, partial(done, wanted)))

    def _unless_closed(self, done: Callable[[Any], None], result: Any) -> None:
        if not self._closed:
            done(result)

    def _wake(self, queue: DelayedQueue) -> None:
        self._entries.pop(queue, None)
        self._fire(queue)

    def _fire(self, queue: DelayedQueue) -> None:
        """Take what is due, a bounded number, and read it."""
        self.firing.discard(queue)
        if queue.deleted or queue.stopped or self._closed:
            return
        offsets = queue.take_due(self._ports.clock.tick(), FIRED_AT_ONCE)
        if not offsets:
            self.arm(queue)
            return
        self.firing.add(queue)
        self._take(queue, offsets, READ_BYTES)

    def _take(self, queue: DelayedQueue, offsets: Offsets, bytes_max: int) -> None:
        """Read and release them, as much at once as bytes_max says, once the disk is not behind."""
        ports = self._ports
        if ports.log.pending_bytes > PENDING_BYTES_MAX:
            ports.schedule.at(ports.clock.ms + BEHIND_MS, partial(self._take, queue, offsets, bytes_max))
        else:
            self.read(queue, offsets, partial(self._got, queue, offsets, bytes_max), bytes_max=bytes_max)

    def _got(self, queue: DelayedQueue, asked: Offsets, bytes_max: int, offsets: Offsets, result: Any) -> None:
        """Release them, in their order, and go on with the rest of what was asked for; when one of several cannot be
        read, one by one."""
        if result is None:
            self.firing.discard(queue)
            return
        if not isinstance(result, Exception):
            for offset, message in zip(offsets, result, strict=True):
                self._let_go(queue, offset, message)
        elif len(offsets) > 1:
            self._take(queue, asked, 0)
            return
        else:
            self.unread += 1
            logger.error("delayed message cannot be read", extra={"vhost": _where(queue), "error": str(result)})
        rest = asked[asked.index(offsets[-1]) + 1 :] if offsets else []
        if rest:
            self._take(queue, rest, bytes_max)
        else:
            self._ports.soon(partial(self._fire, queue))

    def _let_go(self, queue: DelayedQueue, offset: int, message: Any) -> None:
        """An exception of one keeps no other waiting."""
        try:
            self._release(queue, offset, message)
        except Exception:
            self.unread += 1
            logger.exception("delayed message cannot be released", extra={"vhost": _where(queue), "offset": offset})


def _where(queue: DelayedQueue) -> str:
    return queue.vhost.decode() or queue.name
