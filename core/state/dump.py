"""From a log to a dump: everything durable, as lines (dump_lines.py).

The log alone says it all, so state/ is not read. It is read twice: once for what is declared and what is done, once for
the messages, which leave in the order of the log, each one once. Only what a start needs too is in memory: facts, and
each queue's cursor. A message whose record was copied to another place of the log leaves where it is met first.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from core.log.record import LINK, NATIVE, STATE, STORE
from core.log.recovery import ReadFiles, Walk
from core.log.scrub import Scrubbed, scrub
from core.log.view import View
from core.message import Message
from core.native import TRANSACTION, Native
from core.state.apply import Applier
from core.state.dump_lines import (
    BindingLine,
    DoneAheadLine,
    End,
    ExchangeLine,
    GroupLine,
    IdsLine,
    Key,
    KeysLine,
    Line,
    MessageLine,
    OffsetsLine,
    Place,
    QueueLine,
    RequestModeLine,
    TopicLine,
    VhostLine,
    encode,
    group_fields,
    key_fields,
    topic_fields,
)
from core.state.kept_keys import page_keys
from core.state.model import Model
from core.state.native_lines import line_of
from core.state.records import (
    BindingFact,
    DoneAhead,
    ExchangeFact,
    GroupFact,
    KeyPage,
    OffsetsFact,
    QueueFact,
    RequestMode,
    TopicDeleted,
    TopicFact,
    VhostFact,
    decode,
)
from core.state.replay import SHOWN, Replay

Write = Callable[[bytes], Any]


class Dump:
    """read() the log, then write_facts(), write_messages() and end(). `facts`, `messages`: how many were written."""

    def __init__(self, write: Write):
        self._write = write
        self._crc = self._lines = 0
        self.facts = self.messages = 0
        self._applier = Applier(Model(), _never, _never, _never, _never)
        new_id = self._applier.model.facts.new_local_id
        self._replay = Replay(self._applier.state, _nothing, _forget_full_chunks, new_id)
        self._applier.begin_replay(self._replay)
        self._slots: dict[int, Any] = self._replay.slots
        self._counts: dict[int, dict[int, tuple[int, int]]] = {}
        self._topics_gone: dict[bytes, int] = {}  # name -> where in the log it was deleted last
        self._pending: Message | Native | None = None
        self._places: list[Place] = []

    def read(self, files: ReadFiles) -> Scrubbed:
        """The first time. When it found damages, nothing may follow. Raises StoreRefused."""
        found = scrub(files, self._first)
        if not found.damages:
            self._applier.drop_baseless()
            for queue_id, slot in self._slots.items():
                if slot.counts is not None:
                    rows = slot.counts.rows()
                    self._counts[queue_id] = {offset: (returns, until) for offset, returns, until in rows}
        return found

    def _first(self, view: View) -> None:
        self._replay.record(view)
        if view.kind == STATE:
            change = decode(view.body(), view.offset)
            if isinstance(change, TopicDeleted):
                self._topics_gone[change.name] = view.offset

    def write_facts(self) -> None:
        """What is declared."""
        for line in self._fact_lines():
            self._put(line)
            self.facts += 1

    def write_messages(self, files: ReadFiles, tail: int) -> None:
        """The second time, up to `tail`."""
        Walk(files, self._record, upto=tail).run(files.first)
        self._put_message()

    def end(self) -> None:
        """The last line."""
        self._write(encode(End(lines=self._lines, crc=self._crc)) + b"\n")

    def _put(self, line: Line) -> None:
        text = encode(line) + b"\n"
        self._crc = zlib.crc32(text, self._crc)
        self._lines += 1
        self._write(text)

    def _fact_lines(self) -> Iterator[Line]:
        facts = self._applier.model.facts
        yield from (VhostLine(name=fact.name) for fact in facts.of(VhostFact))
        for fact in facts.of(ExchangeFact):
            yield ExchangeLine(
                vhost=fact.vhost,
                name=fact.name,
                kind=fact.kind,
                auto_delete=fact.auto_delete,
                internal=fact.internal,
                arguments=fact.arguments,
            )
        yield from map(self._queue_line, facts.of(QueueFact))
        for fact in facts.of(BindingFact):
            yield BindingLine(
                vhost=fact.vhost,
                source=fact.source,
                kind=fact.kind,
                destination=fact.destination,
                **key_fields(fact.key),
                arguments=fact.arguments,
            )
        for fact in facts.of(KeyPage):
            keys = [Key(place, number, expires, key) for place, number, key, expires in page_keys(fact)]
            yield KeysLine(vhost=fact.vhost, exchange=fact.exchange, keys=keys)
        for fact in facts.of(TopicFact):
            name = fact.config.name
            yield TopicLine(name=name.decode(), **topic_fields(fact.config), next=self._ends(name))
        for fact in facts.of(GroupFact):
            yield GroupLine(**group_fields(fact))
        for fact in facts.of(OffsetsFact):
            yield OffsetsLine(group=fact.group, topic=fact.topic, offsets=sorted(fact.offsets.items()))
        for fact in facts.of(RequestMode):
            yield RequestModeLine(group=fact.group, topic=fact.topic, mode=fact.mode, share=fact.share)
        for fact in facts.of(DoneAhead):
            yield DoneAheadLine(group=fact.group, topic=fact.topic, queue=fact.queue_id, ranges=fact.ranges)
        yield IdsLine(next=facts.next_id)

    def _ends(self, topic: bytes) -> list[int]:
        """The next offsets of its queues."""
        ends = {number: slot.index.end for number, slot in self._replay.topic_slots(topic).items()}
        return [ends.get(number, 0) for number in range(max(ends, default=-1) + 1)]

    def _queue_line(self, fact: QueueFact) -> QueueLine:
        slot = self._slots.get(fact.id)
        first = fact.first_offset if slot is None else slot.cursor.floor
        return QueueLine(
            id=fact.id,
            vhost=fact.vhost,
            name=fact.name,
            first=first,
            next=first if slot is None else max(first, slot.index.end),
            queue_type=fact.queue_type,
            exclusive=fact.exclusive,
            auto_delete=fact.auto_delete,
            arguments=fact.arguments,
        )

    def _record(self, view: View) -> None:
        """A message's record, and then its links."""
        if view.kind == STORE:
            self._put_message()
            places = view.places()
            self._take(places)
            if self._places or len(places):  # links may follow
                self._pending = view.message()
        elif view.kind == LINK:
            offset, _, places = view.link()
            if self._pending is not None and self._pending.offset == offset:  # else it was copied, or is lost
                self._take(places)
        else:
            self._put_message()
            if view.kind == NATIVE:
                self._native(view)

    def _native(self, view: View) -> None:
        """A message in a topic's queue, unless what it lies in has gone."""
        topic = view.topic()
        slot = self._replay.topic_slots(topic).get(view.queue_id)
        gone = view.sys_flag & TRANSACTION not in SHOWN or view.offset < self._topics_gone.get(topic, -1)
        if slot is not None and not gone:
            self._pending = view.native()  # links may follow

    def _take(self, places: Any) -> None:
        """Keep those of the flat triples (queue id, queue offset, tags code) that are not done, nor written already."""
        numbers = iter(places)
        for queue_id, offset, code in zip(numbers, numbers, numbers, strict=True):
            slot = self._slots.get(queue_id)
            if slot is not None and slot.cursor.settle_stated(offset):
                returns, until = self._counts.get(queue_id, {}).get(offset, (0, 0))
                self._places.append(Place(queue_id, offset, code, returns, until))

    def _put_message(self) -> None:
        """Its record and its links were read: write it, if it is a topic's, or anybody waits for it."""
        message, self._pending = self._pending, None
        places, self._places = self._places, []
        if isinstance(message, Native):
            self.messages += 1
            self._put(line_of(message, places))
            return
        if message is None or not places:
            return
        self.messages += 1
        body: Any = message.body  # of one that was read: bytes
        self._put(
            MessageLine(
                vhost=message.vhost.decode(),
                exchange=message.exchange.decode(),
                **key_fields(message.routing_key),
                places=places,
                store_ms=message.store_ms,
                persistent=message.persistent,
                expire_at=message.expire_at,
                header=message.header,
                body=body,
            )
        )


def _forget_full_chunks(slots: Iterable[Any]) -> None:
    """Instead of moving full chunks of units to a store: nobody will ask where a message lies."""
    for slot in slots:
        for number in list(slot.index.unstored):
            slot.index.unstored.discard(number)
            slot.index.stored.add(number)
            slot.index.unload(number)


def _nothing(queue_id: int, number: int) -> None:
    """No chunk was stored."""


def _never(*arguments: Any) -> Any:
    raise AssertionError("nothing living is built here")
