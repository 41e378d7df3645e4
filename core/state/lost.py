"""What a log lost with damaged records, and saying anew what only state/ still knows of it.

A checkpoint reflects the log up to its stamp: of what was damaged before that, it knows facts, what is done, and where
messages lay. All of that is appended again: facts with their deletions, each queue's cursor and counts, that the
messages which lay there are done, messages whose links lay there, and those of which only a copy lay there. Every
record is absolute, so appending all of it twice changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from core.log.blocking import BlockingLog
from core.log.decode import decode_message
from core.log.mend import Stretch
from core.log.record import DONE, STATE
from core.message import Message
from core.state.compare import Loaded, slot_of, topic_ends, units
from core.state.done import DoneWriter
from core.state.model import Facts
from core.state.records import (
    BindingFact,
    BindingRemoved,
    Change,
    DoneAhead,
    ExchangeFact,
    ExchangesDeleted,
    GroupDeleted,
    GroupFact,
    GroupsFact,
    IdsFact,
    KeyPage,
    OffsetsDeleted,
    OffsetsFact,
    QueueFact,
    QueuesDeleted,
    RequestMode,
    TopicDeleted,
    TopicFact,
    TopicsVersion,
    VhostFact,
    VhostRemoved,
    encode,
)

PLACES_AT_ONCE = 4096
FACT_KINDS = (
    *(VhostFact, ExchangeFact, QueueFact, BindingFact, KeyPage),
    *(TopicFact, TopicsVersion, GroupFact, GroupsFact, OffsetsFact, DoneAhead, RequestMode),
)
Range = tuple[int, int]


class Lost(NamedTuple):
    """Messages of one queue that are lost: ranges [start, end) of their offsets."""

    queue: QueueFact
    ranges: list[Range]


def lost_messages(state: Loaded, stretches: list[Stretch], rebuilt: Loaded | None = None) -> Iterator[Lost]:
    """Of each queue that lost some: those whose unit points into a stretch, and those that are neither there nor done,
    where a stretch lies between their neighbours. rebuilt: what the log alone gives, when `state` is what state/ keeps;
    it may know a sound record of a message whose copy is damaged."""
    for fact in state.applier.model.facts.of(QueueFact):
        found = list(_lost_of(state, fact.id, stretches, rebuilt is not None))
        if found and rebuilt is not None and slot_of(rebuilt, fact.id) is not None:
            elsewhere = {unit.offset for unit in units(rebuilt, fact.id)}
            found = [offset for offset in found if offset not in elsewhere]
        if found:
            yield Lost(fact, list(_joined((offset, offset + 1) for offset in found)))


def _lost_of(state: Loaded, queue_id: int, stretches: list[Stretch], kept: bool) -> Iterator[int]:
    """Where copies lie the log's order is not the queue's: there, what is neither there nor done is lost if state/ says
    so; the log alone may have forgotten that it is done."""
    slot = slot_of(state, queue_id)
    starts = [each.start for each in stretches]
    ordered_from = slot.index.copied_to
    offset = max(slot.cursor.floor, slot.index.begin)
    before = -1  # log offset of the last message that is there, and no copy
    for unit in units(state, queue_id):
        inside = is_inside(stretches, starts, unit.log_offset)
        if unit.offset < ordered_from:
            between = kept
        else:
            between = inside or bisect_right(starts, unit.log_offset) > bisect_right(starts, before)
        if between:
            yield from (at for at in range(offset, unit.offset) if not slot.cursor.is_done(at))
        if inside:
            yield unit.offset
        elif unit.offset >= ordered_from:
            before = unit.log_offset
        offset = unit.offset + 1


def is_inside(stretches: list[Stretch], starts: list[int], offset: int) -> bool:
    """Whether a record at that log offset is damaged. starts: of the stretches."""
    number = bisect_right(starts, offset)
    return number > 0 and offset < stretches[number - 1].stop


def _joined(ranges: Iterator[Range]) -> Iterator[Range]:
    """Ascending ranges, those that touch as one."""
    start = end = -1
    for each in ranges:
        if each[0] != end:
            if end > start:
                yield start, end
            start = each[0]
        end = each[1]
    if end > start:
        yield start, end


class Restated(NamedTuple):
    """The state that knows most, the one that the log alone gives, what is lost, and the stretches in which it lay;
    read(log offset, size)."""

    kept: Loaded
    rebuilt: Loaded
    lost: list[Lost]
    stretches: list[Stretch]
    read: Callable[[int, int], bytes]


def restate(log: BlockingLog, what: Restated, ms: int) -> None:
    """Append what the log has to say for `kept` to be what it gives. ms: the time of the records. Raises OSError."""
    kept, rebuilt = (each.applier.model.facts for each in (what.kept, what.rebuilt))
    for deletion in _deletions(kept, rebuilt):
        log.append(STATE, encode(deletion), ms)
    for kind in FACT_KINDS:
        for fact in kept.of(kind):
            if kind is QueueFact:
                fact.first_offset = slot_of(what.kept, fact.id).cursor.floor
            elif kind is TopicFact:
                fact.ends = topic_ends(what.kept, fact.config.name)
            log.append(STATE, encode(fact), ms)
    log.append(STATE, encode(IdsFact(next_id=max(kept.next_id, rebuilt.next_id))), ms)
    for (offset, size), places in _unsaid(what).items():
        message = decode_message(what.read(offset, size), 0, size, offset)
        log.store(message, places, message.store_ms)
    writer = DoneWriter(min(64 << 10, log.segment_bytes // 4))
    _keep_ends(log, what, writer, ms)
    for fact in kept.of(QueueFact):
        slot = slot_of(what.kept, fact.id)
        writer.add(fact.id, slot.cursor.ranges())
        if slot.counts is not None:
            writer.add_counts(fact.id, sorted(slot.counts.rows()))
    for each in what.lost:
        writer.add(each.queue.id, each.ranges)
    for body in writer.take():
        log.append(DONE, body, ms)


def _deletions(kept: Facts, rebuilt: Facts) -> Iterator[Change]:
    """For what the log says and `kept` knows to be gone."""
    for key, fact in rebuilt.all.items():
        if kept.get(key) is None:
            deletion = _deletion(fact)
            if deletion is not None:
                yield deletion


def _deletion(fact: Any) -> Change | None:
    if isinstance(fact, VhostFact):
        return VhostRemoved(name=fact.name)
    if isinstance(fact, ExchangeFact):
        return ExchangesDeleted(vhost=fact.vhost, names=[fact.name])
    if isinstance(fact, KeyPage):  # it went with its exchange, which may have come again
        return ExchangesDeleted(vhost=fact.vhost, names=[fact.exchange])
    if isinstance(fact, QueueFact):
        return QueuesDeleted(vhost=fact.vhost, queues=[(fact.id, fact.name)])
    if isinstance(fact, BindingFact):
        return BindingRemoved(
            vhost=fact.vhost,
            source=fact.source,
            kind=fact.kind,
            destination=fact.destination,
            key=fact.key,
            arguments=fact.arguments,
        )
    if isinstance(fact, GroupFact):
        return GroupDeleted(name=fact.name)
    if isinstance(fact, (OffsetsFact, DoneAhead)):  # what is left of them is stated behind it
        return OffsetsDeleted(offsets=[(fact.group, fact.topic)])
    if isinstance(fact, TopicFact):
        return TopicDeleted(name=fact.config.name)
    return None


def _unsaid(what: Restated) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
    """Messages that the log alone does not have where `kept` has them, their links or their copies being damaged: a
    sound record of each (log offset, size), and its places."""
    found: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    lost = {each.queue.id: each.ranges for each in what.lost}
    starts = [each.start for each in what.stretches]
    for fact in what.kept.applier.model.facts.of(QueueFact):
        known = slot_of(what.rebuilt, fact.id) is not None
        theirs = units(what.rebuilt, fact.id) if known else iter(())
        other = next(theirs, None)
        for unit in units(what.kept, fact.id):
            while other is not None and other.offset < unit.offset:
                other = next(theirs, None)
            sound = unit
            if other is not None and other.offset == unit.offset:
                if other.log_offset == unit.log_offset:
                    continue
                if is_inside(what.stretches, starts, unit.log_offset):
                    sound = other
            elif any(start <= unit.offset < end for start, end in lost.get(fact.id, ())):
                continue
            found.setdefault((sound.log_offset, sound.size), []).append((fact.id, unit.offset, unit.code))
    return found


def _keep_ends(log: BlockingLog, what: Restated, writer: DoneWriter, ms: int) -> None:
    """Where the last messages of a queue are not in the log any more, one record of no message says how far it got."""
    last = []
    lost = {each.queue.id: each.ranges[-1][1] for each in what.lost}
    for fact in what.kept.applier.model.facts.of(QueueFact):
        slot = slot_of(what.kept, fact.id)
        end, logs = slot.index.end, slot_of(what.rebuilt, fact.id)
        is_gone = slot.cursor.is_done(end - 1) or lost.get(fact.id) == end
        if slot.cursor.floor < end and is_gone and (logs is None or logs.index.end < end):
            last.append((fact.id, end - 1, 0))
            writer.add(fact.id, [(end - 1, end)])
    for at in range(0, len(last), PLACES_AT_ONCE):
        log.store(Message((b"", b"", b""), b"", b"", 0, True), last[at : at + PLACES_AT_ONCE], ms)
