"""What waits in the schedule topic goes to the topic that it was sent to when its delay is over.

Each delay level is a queue of it, in which all wait equally long, so that the first is due first. How far each has come
is an offset of a group of the broker's own, and in one transaction of the log with what was delivered: a crash neither
loses nor doubles it. Source: RocketMQ's ScheduleMessageService.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from core.native import LEVELS_SECONDS, SCHEDULE_TOPIC, Native
from protocols.remoting import properties
from protocols.remoting.holding import becoming
from protocols.remoting.making import Making
from protocols.remoting.stored import stored_message

logger = logging.getLogger(__name__)

GROUP = b"CID_RMQ_SYS_SCHEDULE"
AT_ONCE, AT_ONCE_BYTES = 32, 256 << 10
BLOCKED_MS = 200  # until it is looked again whether publishers are still held back
MOVED_BYTES = 256  # what a record has more elsewhere, about
BROKEN_MS = 10_000  # after a read or a delivery that failed: RocketMQ's DELAY_FOR_A_PERIOD


class Delivering:
    """start() it once. `delivered` messages since then, `dropped` whose topic is not there any more."""

    def __init__(self, broker: Any, making: Making):
        self._broker = broker
        self._making = making
        self.delivered = self.dropped = 0

    def start(self) -> None:
        """Go on where the last life came to."""
        for level in range(len(LEVELS_SECONDS)):
            self._look(level)

    def _look(self, level: int) -> None:
        """Deliver what is due of a level, and come again when the next is."""
        self._careful(level, self._begin)

    def _read(self, level: int, found: Any) -> None:
        self._careful(level, partial(self._go_on, found))

    def _careful(self, level: int, step: Callable[[int], None]) -> None:
        """What goes wrong with a level does not end it: it is tried again later."""
        broker = self._broker
        try:
            step(level)
        except Exception:
            logger.exception("delayed messages cannot be delivered", extra={"level": level + 1})
            broker.schedule.at(broker.clock.ms + BROKEN_MS, partial(self._look, level))

    def _begin(self, level: int) -> None:
        broker = self._broker
        queue: Any = self._making.ensure(SCHEDULE_TOPIC, len(LEVELS_SECONDS)).queues[level]
        again = partial(self._look, level)
        offset = max(broker.groups.offset(GROUP, SCHEDULE_TOPIC, level), queue.min_offset)
        if offset >= queue.max_offset:
            queue.when_more(again)
        elif broker.flow.blocked:
            broker.schedule.at(broker.clock.ms + BLOCKED_MS, again)
        else:
            done = partial(self._read, level)
            found = queue.read(offset, AT_ONCE, AT_ONCE_BYTES, None, done)
            if found is not None:
                done(found)

    def _go_on(self, found: Any, level: int) -> None:
        broker = self._broker
        again = partial(self._look, level)
        if isinstance(found, Exception):
            broker.report("delayed messages cannot be read", level=level + 1, because=str(found))
            broker.schedule.at(broker.clock.ms + BROKEN_MS, again)
            return
        records, next_offset, _ = found
        due_ms, due = 0, []
        for record in records:
            message = stored_message(record)
            due_ms = message.store_ms + 1000 * LEVELS_SECONDS[level]
            if due_ms > broker.clock.ms:
                next_offset = message.queue_offset
                break
            due.append(message)
        if due:
            self._deliver(level, due, next_offset)
        else:
            broker.groups.commit(GROUP, SCHEDULE_TOPIC, level, next_offset)
        broker.schedule.at(due_ms, again)

    def _deliver(self, level: int, due: list[Native], next_offset: int) -> None:
        """Store them where they were sent to, and how far the level has come: all of that, or after a crash nothing.
        When one cannot be stored, those before it. Their properties stay, also those that tell of the delay, as
        RocketMQ has it."""
        broker = self._broker
        broker.log.join(sum(each.record_size + MOVED_BYTES for each in due))
        try:
            self._store(level, due, next_offset)
        finally:
            broker.log.end_joined(broker.handover.gather())

    def _store(self, level: int, due: list[Native], next_offset: int) -> None:
        broker, reached = self._broker, due[0].queue_offset
        try:
            for was in due:
                found = becoming(was, properties.as_dict(was.properties), self._making)
                if found is None:
                    self.dropped += 1
                else:
                    broker.topics.append(*found)
                    self.delivered += 1
                reached = was.queue_offset + 1
            reached = next_offset
        finally:
            broker.groups.commit(GROUP, SCHEDULE_TOPIC, level, reached, at_once=True)
