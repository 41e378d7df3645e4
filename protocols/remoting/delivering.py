"""What waits in the schedule topic goes to the topic that it was sent to when its delay is over.

Each delay level is a queue of it, in which all wait equally long, so that the first is due first. How far each has come
is an offset of a group of the broker's own: after a crash the last few may be delivered once more. Source: RocketMQ's
ScheduleMessageService.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from core.native import LEVELS_SECONDS, SCHEDULE_TOPIC, Native, java_hash
from protocols.remoting import names, properties
from protocols.remoting.making import Making
from protocols.remoting.stored import stored_message

GROUP = b"CID_RMQ_SYS_SCHEDULE"
AT_ONCE, AT_ONCE_BYTES = 32, 256 << 10
BLOCKED_MS = 200  # until it is looked again whether publishers are still held back
BROKEN_MS = 10_000  # after a read that failed


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

    def _read(self, level: int, found: Any) -> None:
        broker = self._broker
        again = partial(self._look, level)
        if isinstance(found, Exception):
            broker.report("delayed messages cannot be read", level=level + 1, because=str(found))
            broker.schedule.at(broker.clock.ms + BROKEN_MS, again)
            return
        records, next_offset, _ = found
        due_ms = 0
        for record in records:
            message = stored_message(record)
            due_ms = message.store_ms + 1000 * LEVELS_SECONDS[level]
            if due_ms > broker.clock.ms:
                next_offset = message.queue_offset
                break
            self._deliver(message)
        broker.groups.commit(GROUP, SCHEDULE_TOPIC, level, next_offset)
        broker.schedule.at(due_ms, again)

    def _deliver(self, was: Native) -> None:
        """Store it where it was sent to. Its properties stay, also those that tell of the delay, as RocketMQ has it."""
        said = properties.as_dict(was.properties)
        name = said.get(b"REAL_TOPIC", b"")
        if name.startswith((names.RETRY_PREFIX, names.DLQ_PREFIX)):
            topic = self._making.ensure(name, 1)
        else:
            topic = self._broker.topics.find(name)
        if topic is None:
            self.dropped += 1
            return
        queue_id = int(said.get(b"REAL_QID", b"0"))
        message = Native(name, queue_id if queue_id < len(topic.queues) else 0, was.body, was.properties)
        message.flag, message.sys_flag, message.born_ms = was.flag, was.sys_flag, was.born_ms
        message.born_host, message.store_host = was.born_host, was.store_host
        message.reconsume_times = was.reconsume_times
        message.tags_code = java_hash(said.get(b"TAGS", b""))
        self._broker.topics.append(topic, message)
        self.delivered += 1
