"""Native topics in the simulation: messages are sent, read, and lost with their segments; topics come and go. What
waits for its time, or for its sender's word, is waiting.py's.

Only some seeds have them, and their draws are of a stream of their own: the other seeds mean what they meant. Every
change is remembered with the log offset behind its record, so that after a crash what the log still holds is what there
must be.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, NamedTuple

from core.native import Native, java_hash
from core.queue.topic_queue import Read
from core.state.records import TopicConfig
from tests.simulation.model import Model, Violation
from tests.simulation.waiting import Waiting

SHARE = 0.4  # of the seeds
NAMES = (b"n0", b"n1")
TAGS = (b"", b"a", b"b")
QUEUES = 3
SIZES = (0, 20, 20, 300, 3000)


class Step(NamedTuple):
    """What was done: topic, "put", "delete" or "send", the log offset behind its record; of a message: its queue, its
    record's offset and body, and its tag."""

    name: bytes
    what: str
    end: int
    queue_id: int = 0
    offset: int = 0
    body: bytes = b""
    tag: bytes = b""


class Natives:
    """act() between the others' actions, check() between two turns, restarted() with each life, settle() at the end."""

    def __init__(self, seed: int, model: Model):
        self.random = Random(f"native {seed}")
        self.active = self.random.random() < SHARE
        self.model = model
        self.life: Any = None
        self.steps: list[Step] = []
        self.topics: dict[bytes, list[list[Step]]] = {}  # what is there now: name -> messages of each queue
        self.extents: dict[tuple[bytes, int], tuple[int, int]] = {}  # (name, queue id) -> min, max offset
        self.number = self.reads = 0
        self.waiting = Waiting(seed, self)

    # -- restarts

    def restarted(self, life: Any, tail: int) -> None:
        """A broker came back from a log that ends there: what lies behind it is lost, all else is there."""
        self.life = life
        self.steps = [step for step in self.steps if step.end <= tail]
        self.topics = {}
        for step in self.steps:
            self._apply(step)
        self.extents = {}
        found = {topic.config.name for topic in life.broker.topics.all()}
        if found != self.topics.keys():
            raise Violation(f"topics {found} came back, {set(self.topics)} were declared")
        for name, queues in self.topics.items():
            for queue_id, messages in enumerate(queues):
                queue = self._queue(name, queue_id)
                if (queue.max_offset, queue.end) != (len(messages), len(messages)):
                    raise Violation(f"{name!r} {queue_id}: ends at {queue.end}, {len(messages)} are in the log")
        self.waiting.restarted(tail)
        self.check()

    def _apply(self, step: Step) -> None:
        if step.what == "put":
            self.topics.setdefault(step.name, [[] for _ in range(QUEUES)])
        elif step.what == "delete":
            del self.topics[step.name]
            self.extents = {key: extent for key, extent in self.extents.items() if key[0] != step.name}
        else:
            self.topics[step.name][step.queue_id].append(step)

    def _queue(self, name: bytes, queue_id: int) -> Any:
        topic = self.life.broker.topics.find(name)
        if topic is None:
            raise Violation(f"topic {name!r} is not there")
        return topic.queues[queue_id]

    # -- actions

    def act(self, publishing: bool = True) -> None:
        """One action, in seeds that have topics."""
        if not self.active:
            return
        chance = self.random.random()
        name = self.random.choice(NAMES)
        if chance < 0.02 or name not in self.topics:
            self._declare(name)
        elif chance < 0.5:
            if publishing and not self.life.flow.blocked:
                self._send(name)
        elif chance < 0.6:
            queue_id = self.random.randrange(QUEUES)
            queue = self._queue(name, queue_id)
            at = self.random.randint(queue.min_offset, queue.max_offset)
            tags = None if self.random.random() < 0.6 else {self.random.choice(TAGS)}
            self._read(name, queue_id, at, self.random.choice((1, 32, 1000)), tags, lambda read: None)
        if publishing:
            self.waiting.act()
        self.observe()

    def _declare(self, name: bytes) -> None:
        topics, log = self.life.broker.topics, self.life.broker.log
        if name in self.topics and self.random.random() < 0.7:
            topics.delete(name)
            self._did(Step(name, "delete", log.appended))
        else:
            self.put(name)

    def put(self, name: bytes) -> None:
        """There is a topic of that name."""
        self.life.broker.topics.put(TopicConfig(name=name, read_queues=QUEUES, write_queues=QUEUES))
        self._did(Step(name, "put", self.life.broker.log.appended))

    def did(self, name: bytes, message: Native, end: int) -> None:
        """A message was stored; it is there when the log is up to `end`."""
        body: Any = message.body
        self._did(Step(name, "send", end, message.queue_id, message.offset, body))

    def _did(self, step: Step) -> None:
        self.steps.append(step)
        self._apply(step)

    def _send(self, name: bytes) -> None:
        topics = self.life.broker.topics
        for _ in range(600 if self.random.random() < 0.02 else self.random.choice((1, 1, 3, 40))):
            queue_id, tag = self.random.randrange(QUEUES), self.random.choice(TAGS)
            self.number += 1
            body = b"%d-" % self.number + bytes(self.random.choice(SIZES))
            message = Native(name, queue_id, body, b"TAGS\x01" + tag + b"\x02" if tag else b"")
            message.tags_code = java_hash(tag)
            offset = topics.append(topics.find(name), message)
            wanted = len(self.topics[name][queue_id])
            if offset != wanted:
                raise Violation(f"{name!r} {queue_id}: got offset {offset}, {wanted} was next")
            end = message.offset + message.record_size
            self._did(Step(name, "send", end, queue_id, message.offset, body, tag))

    # -- reads

    def _read(
        self, name: bytes, queue_id: int, at: int, count: int, tags: set[bytes] | None, then: Callable[[Read], None]
    ) -> None:
        queue, messages = self._queue(name, queue_id), self.topics[name][queue_id]
        codes = None if tags is None else {java_hash(tag) for tag in tags}
        checked = partial(self._check_read, queue, messages, at, tags, then)
        found = queue.read(at, count, 1 << 20, codes, checked)
        if found is not None:
            checked(found)

    def _check_read(
        self,
        queue: Any,
        messages: list[Step],
        at: int,
        tags: set[bytes] | None,
        then: Callable[[Read], None],
        found: Any,
    ) -> None:
        if queue.deleted or self.life.broker.handover.closing:  # a stop closes the files under whoever reads
            return
        if isinstance(found, Exception):
            raise Violation(f"{queue.topic!r} {queue.queue_id}: a read from {at} on: {found}")
        if found.next_offset > queue.max_offset and found.records:
            raise Violation(f"{queue.topic!r} {queue.queue_id}: read up to {found.next_offset} of {queue.max_offset}")
        first = self.life.broker.retention.first
        wanted = [
            step.body
            for step in messages[found.first : found.next_offset]
            if step.offset >= first and (tags is None or step.tag in tags)
        ]
        got = [_body(record) for record in found.records]
        if got[len(got) - len(wanted) :] != wanted:  # what went while it was read may be there, too
            raise Violation(f"{queue.topic!r} {queue.queue_id}: read {len(got)} from {found.first}, not {len(wanted)}")
        self.reads += 1
        then(found)

    # -- checks

    def observe(self) -> None:
        """What readers are shown is promised."""
        for name, queues in self.topics.items():
            for queue_id, messages in enumerate(queues):
                shown = self._queue(name, queue_id).max_offset
                if shown:
                    self.model.promise(messages[shown - 1].end)

    def check(self) -> None:
        """Offsets only grow, and nothing is missing that the log has."""
        self.waiting.check()
        first = self.life.broker.retention.first
        for name, queues in self.topics.items():
            for queue_id, messages in enumerate(queues):
                queue = self._queue(name, queue_id)
                low, high = queue.min_offset, queue.max_offset
                title = f"{name!r} {queue_id}: from {low} to {high}, end {queue.end}"
                if queue.end != len(messages) or not low <= high <= queue.end:
                    raise Violation(f"{title}, {len(messages)} were sent")
                before = self.extents.get((name, queue_id), (0, 0))
                if low < before[0] or high < before[1]:
                    raise Violation(f"{title}: it was from {before[0]} to {before[1]}")
                self.extents[name, queue_id] = low, high
                if low and messages[low - 1].offset >= first:
                    raise Violation(f"{title}: {low - 1} is gone, its record at {messages[low - 1].offset} is not")
                if high and messages[high - 1].end > self.life.broker.log.committed:
                    raise Violation(f"{title}: shown before it was committed")

    def settle(self) -> None:
        """Everything is committed, and queues begin where the log does: read all of it."""
        self.waiting.settle()
        first = self.life.broker.retention.first
        for name, queues in self.topics.items():
            for queue_id, messages in enumerate(queues):
                queue = self._queue(name, queue_id)
                gone = sum(1 for step in messages if step.offset < first)
                if (queue.min_offset, queue.max_offset) != (gone, len(messages)):
                    raise Violation(f"{name!r} {queue_id}: {queue.min_offset} to {queue.max_offset}, {gone} have gone")
                self._go_on(name, queue_id, queue.min_offset)

    def _go_on(self, name: bytes, queue_id: int, at: int) -> None:
        if at < self._queue(name, queue_id).max_offset:
            self._read(name, queue_id, at, 100, None, lambda read: self._go_on(name, queue_id, read.next_offset))


def _body(record: bytes) -> bytes:
    return record[88 : 88 + int.from_bytes(record[84:88], "big")]

