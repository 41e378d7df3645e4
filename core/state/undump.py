"""From a dump to a new log, which alone says everything: the first start builds state/ from it.

Facts come first, so that every queue begins at its own offset; a message keeps its offsets and its time. What is done
has no unit. So that the next message of a queue gets the offset it would have got, one record of no message enters, at
its last offset, each queue whose last message is done; a *done* record settles it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from core.errors import LimitReached
from core.log.blocking import BlockingLog
from core.log.record import DONE, STATE
from core.message import Message
from core.queue.cursor import Cursor
from core.routing.exchange import KINDS
from core.state.apply import PREDECLARED_NAMES
from core.state.delayed import DELAYED, OF_NO_VHOST
from core.state.done import DoneWriter
from core.state.dump_lines import (
    BindingLine,
    DoneAheadLine,
    DumpRefused,
    End,
    ExchangeLine,
    GroupLine,
    Head,
    IdsLine,
    KeysLine,
    MessageLine,
    NativeLine,
    OffsetsLine,
    Place,
    QueueLine,
    RequestModeLine,
    TopicLine,
    VhostLine,
    group_fields,
    key_of,
    read_head,
    read_line,
    topic_fields,
)
from core.state.kept_keys import KEY_BYTES, put_key
from core.state.model import Facts
from core.state.native_lines import LineError, message_of
from core.state.records import (
    EXCHANGE,
    QUEUE,
    BindingFact,
    DoneAhead,
    ExchangeFact,
    Fact,
    GroupFact,
    IdsFact,
    KeyPage,
    KeySeen,
    OffsetsFact,
    QueueFact,
    RequestMode,
    TopicConfig,
    TopicFact,
    VhostFact,
    encode,
)
from core.state.type_arguments import QUEUE_TYPES

OFFSET_MAX = (1 << 48) - 1  # of queue offsets, ids and times: far above any
PLACES_AT_ONCE = 4096
NAME_BYTES_MAX, QUEUES_MAX = 255, 1 << 16  # of a topic


class Undump:
    """take() each line in order, then end(). messages, queues: how many were restored. Raises DumpRefused."""

    def __init__(self, log: BlockingLog, segment_bytes: int):
        self._log = log
        self._facts = Facts()
        self._taken: dict[int, Cursor] = {}  # queue id -> what was given of it
        self._queues: dict[int, QueueLine] = {}
        self._topics: dict[str, TopicLine] = {}
        self._natives: dict[tuple[str, int], int] = {}  # (topic, queue) -> behind the last offset that was given
        self._done = DoneWriter(min(64 << 10, segment_bytes // 4))
        self._head: Head | None = None
        self._number = self._crc = self._store_ms = 0
        self._facts_written = self._ended = False
        self.messages = 0

    @property
    def queues(self) -> int:
        """How many are restored."""
        return len(self._queues)

    def take(self, text: bytes) -> None:
        """One line, with its end. Raises OSError, too."""
        self._number += 1
        if self._head is None:
            self._head = read_head(text)
            return
        if self._ended:
            raise self._refuse("follows the last")
        line = read_line(text, self._number)
        if isinstance(line, End):
            self._check_end(line)
            return
        self._crc = zlib.crc32(text, self._crc)
        if isinstance(line, MessageLine):
            self._write_facts()
            self._store(line)
        elif isinstance(line, NativeLine):
            self._write_facts()
            self._store_native(line)
        elif self._facts_written:
            raise self._refuse("is a declaration behind a message")
        else:
            DECLARE[type(line)](self, line)

    def end(self) -> None:
        """The file ends."""
        if not self._ended:
            raise DumpRefused("it is not whole: its last line is missing")
        self._write_facts()
        self._keep_ends()
        for topic in self._topics.values():
            if topic.next:
                self._append(STATE, encode(TopicFact(config=_config(topic), ends=topic.next)))
        for body in self._done.take():
            self._append(DONE, body)
        self._log.commit()

    def _refuse(self, text: str) -> DumpRefused:
        return DumpRefused(f"its line {self._number} {text}")

    def _check_end(self, line: End) -> None:
        if (line.lines, line.crc) != (self._number - 2, self._crc):
            raise DumpRefused("it was changed or is not whole: its lines are not those that its last line tells of")
        self._ended = True

    # -- what is declared

    def _declare(self, fact: Fact) -> None:
        self._facts.put(fact, 0)

    def _vhost(self, line: VhostLine) -> None:
        self._declare(VhostFact(name=line.name))

    def _in_vhost(self, name: str) -> None:
        if self._facts.get(("vhost", name)) is None:
            raise self._refuse(f"names a virtual host '{name}' that no line before it declares")

    def _exchange(self, line: ExchangeLine) -> None:
        self._in_vhost(line.vhost)
        if line.kind not in KINDS:
            raise self._refuse(f"has an exchange type that this version does not know: '{line.kind}'")
        self._declare(
            ExchangeFact(
                vhost=line.vhost,
                name=line.name,
                kind=line.kind,
                auto_delete=line.auto_delete,
                internal=line.internal,
                arguments=line.arguments,
            )
        )

    def _queue(self, line: QueueLine) -> None:
        if line.queue_type not in OF_NO_VHOST:
            self._in_vhost(line.vhost)
        if line.queue_type not in (*QUEUE_TYPES, DELAYED, *OF_NO_VHOST):
            raise self._refuse(f"has a queue type that this version does not know: '{line.queue_type}'")
        if not (0 < line.id <= OFFSET_MAX and 0 <= line.first <= line.next <= OFFSET_MAX):
            raise self._refuse("has an id or offset that cannot be")
        if line.id in self._queues or self._facts.find(line.vhost, QUEUE, line.name) is not None:
            raise self._refuse("declares a queue a second time")
        self._queues[line.id] = line
        self._taken[line.id] = Cursor(line.first)
        self._declare(
            QueueFact(
                id=line.id,
                vhost=line.vhost,
                name=line.name,
                exclusive=line.exclusive,
                auto_delete=line.auto_delete,
                queue_type=line.queue_type,
                arguments=line.arguments,
                first_offset=line.first,
            )
        )

    def _binding(self, line: BindingLine) -> None:
        self._in_vhost(line.vhost)
        for kind, name in (EXCHANGE, line.source), (line.kind, line.destination):
            if kind not in (EXCHANGE, QUEUE):
                raise self._refuse(f"binds to a thing that this version does not know: '{kind}'")
            predeclared = kind == EXCHANGE and name in PREDECLARED_NAMES
            if not predeclared and self._facts.find(line.vhost, kind, name) is None:
                raise self._refuse(f"binds the {kind} '{name}', which no line before it declares")
        self._declare(
            BindingFact(
                vhost=line.vhost,
                source=line.source,
                kind=line.kind,
                destination=line.destination,
                key=key_of(line),
                arguments=line.arguments,
            )
        )

    def _keys(self, line: KeysLine) -> None:
        self._in_vhost(line.vhost)
        if self._facts.find(line.vhost, EXCHANGE, line.exchange) is None:
            raise self._refuse(f"has keys of an exchange '{line.exchange}' that no line before it declares")
        for key in line.keys:
            numbers = key.place, key.number, key.expires
            if len(key.key) != KEY_BYTES or min(numbers) < 0 or max(numbers) > OFFSET_MAX:
                raise self._refuse("has a key that cannot be")
            record = KeySeen(
                vhost=line.vhost,
                exchange=line.exchange,
                place=key.place,
                number=key.number,
                key=key.key,
                expires=key.expires,
            )
            put_key(self._facts, record, 0)

    def _topic(self, line: TopicLine) -> None:
        queues = line.read_queues, line.write_queues
        if not 0 < len(line.name.encode()) <= NAME_BYTES_MAX or min(queues) < 0 or max(queues) > QUEUES_MAX:
            raise self._refuse("has a topic that cannot be")
        if len(line.next) > QUEUES_MAX or any(not 0 <= each <= OFFSET_MAX for each in line.next):
            raise self._refuse("has an offset that cannot be")
        if line.name in self._topics:
            raise self._refuse("declares a topic a second time")
        self._topics[line.name] = line
        self._declare(TopicFact(config=_config(line)))

    def _group(self, line: GroupLine) -> None:
        self._declare(GroupFact(**group_fields(line)))

    def _offsets(self, line: OffsetsLine) -> None:
        if any(not (0 <= queue <= OFFSET_MAX and 0 <= offset <= OFFSET_MAX) for queue, offset in line.offsets):
            raise self._refuse("has an offset that cannot be")
        self._declare(OffsetsFact(group=line.group, topic=line.topic, offsets=dict(line.offsets)))

    def _request_mode(self, line: RequestModeLine) -> None:
        if line.mode not in ("PULL", "POP"):
            raise self._refuse("has a request mode that cannot be")
        self._declare(RequestMode(group=line.group, topic=line.topic, mode=line.mode, share=line.share))

    def _done_ahead(self, line: DoneAheadLine) -> None:
        if not 0 <= line.queue < QUEUES_MAX or any(not 0 <= each <= OFFSET_MAX for each in line.ranges):
            raise self._refuse("has an offset that cannot be")
        self._declare(DoneAhead(group=line.group, topic=line.topic, queue_id=line.queue, ranges=line.ranges))

    def _ids(self, line: IdsLine) -> None:
        if not 0 < line.next <= OFFSET_MAX:
            raise self._refuse("has an id that cannot be")
        self._declare(IdsFact(next_id=line.next))

    def _write_facts(self) -> None:
        if self._facts_written:
            return
        self._facts_written = True
        kinds = (
            *(VhostFact, ExchangeFact, QueueFact, BindingFact, KeyPage),
            *(TopicFact, GroupFact, OffsetsFact, RequestMode, DoneAhead, IdsFact),
        )
        for kind in kinds:
            for fact in self._facts.of(kind):
                self._append(STATE, encode(fact))

    # -- messages

    def _store(self, line: MessageLine) -> None:
        self._check_message(line)
        message = Message(
            (line.vhost.encode(), line.exchange.encode(), key_of(line)),
            line.header,
            line.body,
            len(line.body),
            line.persistent,
        )
        message.expire_at = line.expire_at
        self._store_ms = line.store_ms
        try:
            self._log.store(message, ((each.queue, each.offset, each.code) for each in line.places), line.store_ms)
        except LimitReached as error:
            raise self._refuse(f"cannot be stored: {error}") from None
        for queue_id, counts in _counts(line.places):
            self._done.add_counts(queue_id, counts)
        self.messages += 1

    def _store_native(self, line: NativeLine) -> None:
        topic = self._topics.get(line.topic)
        if topic is None:
            raise self._refuse(f"is of a topic '{line.topic}', which no line before it declares")
        end = topic.next[line.queue] if 0 <= line.queue < len(topic.next) else 0
        first = self._natives.get((line.topic, line.queue), 0)
        if not first <= line.offset < end:
            raise self._refuse(
                f"is at offset {line.offset} of queue {line.queue} of the topic '{line.topic}', where one from {first} "
                f"up to {end} may follow"
            )
        if not 0 <= line.store_ms <= OFFSET_MAX:
            raise self._refuse("has a time that cannot be")
        self._check_places(line.places)
        self._natives[line.topic, line.queue] = line.offset + 1
        self._store_ms = line.store_ms
        try:
            places = ((each.queue, each.offset, each.code) for each in line.places)
            self._log.store_native(message_of(line), places, line.store_ms)
        except LineError as error:
            raise self._refuse(str(error)) from None
        except LimitReached as error:
            raise self._refuse(f"cannot be stored: {error}") from None
        for queue_id, counts in _counts(line.places):
            self._done.add_counts(queue_id, counts)
        self.messages += 1

    def _check_message(self, line: MessageLine) -> None:
        if not (0 <= line.store_ms <= OFFSET_MAX and 0 <= line.expire_at <= OFFSET_MAX):
            raise self._refuse("has a time that cannot be")
        self._check_places(line.places)

    def _check_places(self, places: list[Place]) -> None:
        for place in places:
            queue = self._queues.get(place.queue)
            if queue is None:
                raise self._refuse(f"is of a queue with the id {place.queue}, which no line before it declares")
            if not queue.first <= place.offset < queue.next:
                raise self._refuse(
                    f"is at offset {place.offset} of the queue '{queue.name}', whose messages lie from {queue.first} "
                    f"up to {queue.next}"
                )
            if not self._taken[place.queue].settle_stated(place.offset):
                raise self._refuse(f"is at offset {place.offset} of the queue '{queue.name}', as one before it")
            if (
                abs(place.code) > CODE_MAX
                or min(place.returns, place.until) < 0
                or max(place.returns, place.until) > OFFSET_MAX
            ):
                raise self._refuse("has a number that cannot be")

    def _keep_ends(self) -> None:
        """The queues' next offsets are what they were."""
        last = [
            (queue.id, queue.next - 1, 0)
            for queue in self._queues.values()
            if queue.next > queue.first and not self._taken[queue.id].is_done(queue.next - 1)
        ]
        for at in range(0, len(last), PLACES_AT_ONCE):
            some = last[at : at + PLACES_AT_ONCE]
            self._log.store(Message((b"", b"", b""), b"", b"", 0, True), some, self._store_ms)
            for queue_id, offset, _ in some:
                self._done.add(queue_id, [(offset, offset + 1)])

    def _append(self, kind: int, body: bytes) -> None:
        self._log.append(kind, body, self._store_ms)


def _config(line: TopicLine) -> TopicConfig:
    return TopicConfig(name=line.name.encode(), **topic_fields(line))


def _counts(places: list[Place]) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    for place in places:
        if place.returns:
            yield place.queue, [(place.offset, place.returns, place.until)]


CODE_MAX = (1 << 63) - 1
DECLARE: dict[type, Any] = {
    VhostLine: Undump._vhost,
    ExchangeLine: Undump._exchange,
    QueueLine: Undump._queue,
    BindingLine: Undump._binding,
    KeysLine: Undump._keys,
    TopicLine: Undump._topic,
    GroupLine: Undump._group,
    OffsetsLine: Undump._offsets,
    RequestModeLine: Undump._request_mode,
    DoneAheadLine: Undump._done_ahead,
    IdsLine: Undump._ids,
}
