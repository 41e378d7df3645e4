"""Native messages that wait: timed ones until they are due, half messages until their sender says what becomes of them.

Such a message lies in the log as RocketMQ has it, in one of its system topics, and a hidden queue of ours holds it,
too: a link behind it says so. What is settled there waits no more. What it becomes and that it is settled are one
transaction of the log, so that a crash can neither lose nor double it. What a segment holds that still waits is
appended anew before that goes, as for every queue (core/state/reappend.py).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from core.message import Message
from core.native import Native
from core.state.delayed import DUE_BITS
from core.state.records import QueueFact
from core.state.waking import Waking

Stored = Sequence[tuple[Any, Native]]  # (topic, message): what becomes of a message that waited
RECORD_BYTES = 1024  # of a record, beside the message's body and properties, about
SOUGHT_AT_ONCE = 2048  # units that are looked at for one message


class Ports(NamedTuple):
    """What Waits works with.

    model, log, topics   of the broker
    gather()             HandOver.gather
    change(record)       states a fact
    waking(release)      gives a Waking
    """

    model: Any
    log: Any
    topics: Any
    gather: Callable[[], list[bytes]]
    change: Callable[[Any], None]
    waking: Callable[[Callable[[Any, int, Any], None]], Waking]


class Waits:
    """Those of one kind: TIMERS or HALVES (core/state/delayed.py). start() it when they are served."""

    def __init__(self, kind: str, ports: Ports):
        self._kind = kind
        self._ports = ports
        self._waking = ports.waking(self._is_due)
        self._due: Callable[[int, bytes], None] | None = None
        self._out = -1  # the offset that is being served

    def start(self, due: Callable[[int, bytes], None]) -> None:
        """From now on due(offset, record) is called for what is due. It has to settle() it or put it off: again()."""
        self._due = due
        queue = self._ports.model.waiting.get(self._kind)
        if queue is not None:
            self._watch(queue)

    def close(self) -> None:
        """Nothing is stored or settled any more, and nobody is told of what was being read."""
        self._waking.close()

    def _watch(self, queue: Any) -> None:
        queue.waits = self._waking.arm
        self._waking.arm(queue)

    @property
    def count(self) -> int:
        """How many wait."""
        queue = self._ports.model.waiting.get(self._kind)
        return 0 if queue is None else int(queue.ready)

    @property
    def unread(self) -> int:
        """How many could not be read or served when they were due."""
        return self._waking.unread

    def hold(self, topic: Any, message: Native, due_ms: int, mark: int = 0) -> int:
        """Store the message in its topic, to wait until due_ms; `mark`, of 21 bits, helps find() it. Returns what it is
        called here. Raises LimitReached."""
        queue = self._ports.model.waiting.get(self._kind) or self._made()
        offset: int = queue.index.end
        body: Any = message.body
        code = due_ms | mark << DUE_BITS
        self._ports.topics.append(topic, message, array("q", (queue.id, offset, code)))
        entered = Message((b"", b"", b""), b"", b"", len(body), True)
        entered.offset, entered.record_size = message.offset, message.record_size
        queue.push(entered, code)
        return offset

    def _made(self) -> Any:
        model = self._ports.model
        self._ports.change(QueueFact(id=model.facts.next_id, vhost="", name=self._kind, queue_type=self._kind))
        queue = model.waiting[self._kind]
        if self._due is not None:
            self._watch(queue)
        return queue

    def is_waiting(self, offset: int) -> bool:
        """Whether what was called that still waits."""
        queue = self._ports.model.waiting.get(self._kind)
        return queue is not None and queue.index.begin <= offset < queue.index.end and not queue.cursor.is_done(offset)

    def times(self, offset: int) -> int:
        """How often it was put off."""
        times: int = self._ports.model.waiting[self._kind].counts.of(offset)
        return times

    def read(self, offset: int, done: Callable[[Any], None]) -> None:
        """done(its record, or None when it does not wait, or no more by then, or an Exception)."""
        if self.is_waiting(offset):
            queue = self._ports.model.waiting[self._kind]
            self._waking.read(queue, [offset], lambda _, found: done(_one(found) if self.is_waiting(offset) else None))
        else:
            done(None)

    def find(self, due_ms: int, mark: int, matches: Callable[[bytes], bool], done: Callable[[Any], None]) -> None:
        """done(what a message is called that is due exactly then, has that mark, and whose record matches; or None; or
        an Exception)."""
        queue = self._ports.model.waiting.get(self._kind)
        offsets = [] if queue is None else queue.due.at(due_ms)
        self._seek(queue, offsets, (mark, matches, done))

    def _seek(self, queue: Any, offsets: list[int], sought: tuple[int, Callable[[bytes], bool], Any]) -> None:
        mark, matches, done = sought
        if not offsets:
            done(None)
            return

        def found(some: list[int], messages: Any) -> None:
            if isinstance(messages, Exception):
                done(messages)
                return
            for offset, message in zip(some, messages or (), strict=True):
                if matches(record_of(message)) and self.is_waiting(offset):
                    done(offset)
                    return
            self._seek(queue, offsets[SOUGHT_AT_ONCE:], sought)

        self._waking.read(queue, offsets[:SOUGHT_AT_ONCE], found, mark)

    def settle(self, offset: int, becomes: Stored = ()) -> None:
        """It waits no more, and these messages are stored: all of that, or after a crash nothing. Who answers for it
        waits for the commit. Raises LimitReached: then nothing has changed."""
        ports, queue = self._ports, self._ports.model.waiting[self._kind]
        assert self.is_waiting(offset)
        ports.log.join(sum(_size(message) for _, message in becomes))
        try:
            for topic, message in becomes:
                ports.topics.append(topic, message)
            if offset == self._out:
                queue.ready -= 1
                queue.settle(offset)
            else:
                queue.cancel(offset)
        finally:
            ports.log.end_joined(ports.gather())

    def again(self, offset: int, due_ms: int) -> None:
        """Put off what due() was called for. That is in the log with the next batch; nobody waits for it."""
        self._ports.model.waiting[self._kind].again(offset, due_ms)

    def _is_due(self, queue: Any, offset: int, message: Any) -> None:
        if self._due is not None and self.is_waiting(offset):
            self._out = offset
            try:
                self._due(offset, record_of(message))
            finally:
                self._out = -1


def _size(message: Native) -> int:
    body: Any = message.body
    return len(body) + len(message.properties) + RECORD_BYTES


def record_of(message: Any) -> bytes:
    """The native record that was read: as it lies in the log, or as a copy of it has it."""
    record: bytes = message if isinstance(message, bytes) else message.body
    return record


def _one(found: Any) -> Any:
    if isinstance(found, Exception):
        return found
    return record_of(found[0]) if found else None
