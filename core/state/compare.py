"""Whether two states are the same: the one that a checkpoint keeps, and the one that the log alone gives.

Both were loaded by restore.load(), up to the same log offset; nothing living was built. What counts is what a broker
would serve: facts, and for every durable queue which messages are not done, where they lie and how often they came
back. Where the two put their floors, or how much of what is done they remember, is not the same and need not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

from core.queue.index import CHUNK_UNITS, FOUND
from core.state.apply import Applier
from core.state.model import Facts
from core.state.records import QueueFact, TopicFact

ReadChunk = Callable[[int, int], bytes | None]


class Loaded(NamedTuple):
    """A state: its applier after load(), and read_chunk(queue id, number) of its store."""

    applier: Applier
    read_chunk: ReadChunk


class Unit(NamedTuple):
    """A message that is not done: where it is in the queue, where its record lies, its body's size, its tags code,
    returns = how often it came back."""

    offset: int
    log_offset: int
    size: int
    body_size: int
    code: int
    returns: int


def differences(kept: Loaded, rebuilt: Loaded) -> Iterator[str]:
    """One line for each: of every fact, and the first of every queue."""
    for each in kept, rebuilt:
        each.applier.drop_baseless()
    facts = kept.applier.model.facts
    yield from _facts(facts, rebuilt.applier.model.facts)
    for fact in facts.of(QueueFact):
        if rebuilt.applier.model.facts.get(("queue", fact.id)) is None:
            continue
        for ours, logs in zip_longest(units(kept, fact.id), units(rebuilt, fact.id)):
            if ours != logs:
                yield f"queue '{fact.name}' in vhost '{fact.vhost}': the state has {_of(ours)}, the log {_of(logs)}"
                break
    for topic in facts.of(TopicFact):
        yield from _topic(topic.config.name, kept, rebuilt)


def _topic(name: bytes, kept: Loaded, rebuilt: Loaded) -> Iterator[str]:
    """The first difference of each queue of a native topic, of what lies in the log still."""
    slots = [_replay_of(state).topic_slots(name) for state in (kept, rebuilt)]
    for number in sorted(slots[0].keys() | slots[1].keys()):
        ends = [slot[number].index.end if number in slot else 0 for slot in slots]
        first = slots[1][number].index.begin if number in slots[1] else 0
        ours, logs = (_from(first, state, slot.get(number)) for state, slot in zip((kept, rebuilt), slots, strict=True))
        title = f"queue {number} of topic '{name.decode('utf-8', 'replace')}'"
        if ends[0] != ends[1]:
            yield f"{title}: the state ends at {ends[0]}, the log at {ends[1]}"
        for one, other in zip_longest(ours, logs):
            if one != other:
                yield f"{title}: the state has {_of(one)}, the log {_of(other)}"
                break


def _from(first: int, state: Loaded, slot: Any) -> Iterator[Unit]:
    """Those units that lie at `first` or behind it."""
    return iter(()) if slot is None else (unit for unit in units(state, slot.id) if unit.offset >= first)


def count_units(state: Loaded) -> int:
    """How many messages are not done, of all durable queues together: one in three queues counts three times."""
    return sum(1 for fact in state.applier.model.facts.of(QueueFact) for _ in units(state, fact.id))


def slot_of(state: Loaded, queue_id: int) -> Any:
    """The queue's index, cursor and counts; None when that state knows no such queue."""
    return _replay_of(state).slot(queue_id)


def topic_ends(state: Loaded, name: bytes) -> list[int]:
    """The next offset of each queue of a native topic."""
    slots = _replay_of(state).topic_slots(name)
    return [slots[number].index.end if number in slots else 0 for number in range(max(slots, default=-1) + 1)]


def _replay_of(state: Loaded) -> Any:
    replay = state.applier.replay
    assert replay is not None
    return replay


def _facts(kept: Facts, rebuilt: Facts) -> Iterator[str]:
    for key in sorted(kept.all.keys() | rebuilt.all.keys(), key=repr):
        ours, logs = kept.get(key), rebuilt.get(key)
        if ours != logs:
            yield f"{' '.join(map(str, key))}: the state says {ours}, the log {logs}"


def units(state: Loaded, queue_id: int) -> Iterator[Unit]:
    """The queue's messages that are not done, in order. A chunk that the store holds is in memory only meanwhile."""
    slot = slot_of(state, queue_id)
    index, cursor = slot.index, slot.cursor
    offset = max(cursor.floor, index.begin)
    while offset < index.end:
        number = offset // CHUNK_UNITS
        after = min((number + 1) * CHUNK_UNITS, index.end)
        was_loaded = index.loaded(offset)
        if not was_loaded and number in index.stored:
            units = state.read_chunk(queue_id, number)
            if units is not None:
                index.load(number, units)
        while offset < after:
            if not cursor.is_done(offset) and index.find(offset) == FOUND:
                returns = 0 if slot.counts is None else slot.counts.of(offset)
                yield Unit(offset, index.log_offset, index.size, index.body_size, index.code, returns)
            offset += 1
        if not was_loaded and number in index.stored:
            index.unload(number)


def _of(unit: Unit | None) -> str:
    if unit is None:
        return "no more"
    sizes = f"{unit.size} bytes, body {unit.body_size}"
    place = f"message {unit.offset} at log offset {unit.log_offset} ({sizes}, tags code {unit.code}"
    return f"{place}, came back {unit.returns} times)" if unit.returns else f"{place})"
