"""What must hold: in a running broker after any turn, and in one that has just come back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.log.decode import decode_message
from core.queue.index import ABSENT, CHUNK_BYTES, FOUND, NOT_LOADED
from core.state.records import BindingFact, ExchangeFact, QueueFact
from core.state.snapshot import read_chunk
from tests.simulation.clients import body_of
from tests.simulation.expiry import check_expired
from tests.simulation.model import Model, ModelQueue, Violation
from tests.simulation.queues import LATE_MS
from tests.simulation.retries import check_counts, check_waiting
from tests.simulation.streams import check_stream

Contents = dict[int, bytes | None]  # queue offset -> body of what is not settled; None = it was not looked at
SEGMENTS_KEPT = 6  # beside what is live: the youngest, and those that are too much work for what they would free
FACT_BYTES_KEPT = 1024  # facts that are older than everything else are stated anew when that frees twice as much
LOOKED_AT = 300  # of a long queue the first so many bodies are read, and each 16th


def check_running(life: Any, model: Model) -> None:
    """Counts, offsets and bounds of a broker between two turns."""
    life.observe()
    queues = life.vhost.queues
    if sorted(queues) != sorted(model.now.queues):
        raise Violation(f"queues {sorted(queues)} are there, {sorted(model.now.queues)} were declared")
    for name, queue in queues.items():
        known = model.now.queues[name]
        if not known.stream_bytes and not _timer_is_due(life):
            check_expired(queue, known, life.reads, life.clock.ms)
            check_waiting(queue, known, life.clock.ms)
        _check_queue(queue, known, model, life.clock.ms)
    waiting = 0 if model.now.hidden is None else len(model.now.hidden.units)
    if life.broker.delays.count() != waiting:
        raise Violation(f"{life.broker.delays.count()} delayed messages wait, {waiting} expected")
    if life.broker.delays.unread:
        raise Violation("a delayed message could not be read or released")
    if life.broker.cold.failed:
        raise Violation("a queue stopped: what it needs cannot be read")
    log = life.broker.log
    if not log.committed <= log.appended:
        raise Violation(f"committed up to {log.committed}, appended up to {log.appended}")
    tail = log.tail
    if tail.bytes_held > tail.bytes_max + log.pending_bytes:
        raise Violation(f"the tail holds {tail.bytes_held} bytes, its limit is {tail.bytes_max}")
    if life.flow.blocked != any(life.flow.alarms.values()):
        raise Violation("publishers are blocked without an alarm, or not with one")


def _check_queue(queue: Any, known: ModelQueue, model: Model, clock_ms: int) -> None:
    name = known.name
    if known.unused_since(clock_ms) > LATE_MS:
        raise Violation(f"{name}: unused for {clock_ms - known.used_ms} ms, its x-expires is {known.expires_ms}")
    if len(queue.consumers) != known.consumers:
        raise Violation(f"{name}: {len(queue.consumers)} consumers, there are {known.consumers}")
    if queue.end() != known.end:
        raise Violation(f"{name}: ends at offset {queue.end()}, {known.end} were stored")
    if known.stream_bytes:
        check_stream(queue, known)
        return
    if queue.unacked != len(known.unacked):
        raise Violation(f"{name}: {queue.unacked} are unacked, consumers hold {len(known.unacked)}")
    ready = known.ready()
    due = sum(1 for offset in ready if 0 < known.units[offset].expires_ms <= clock_ms)
    if not len(ready) - due <= queue.ready <= len(ready):
        raise Violation(f"{name}: {queue.ready} are ready, {len(ready)} expected ({due} of them due)")
    floor = queue.cursor.floor
    for offset in known.units:
        if offset >= floor and not queue.cursor.is_done(offset):
            break
        if offset in known.unacked:
            raise Violation(f"{name}: offset {offset} is done, but a consumer holds it")
        if known.dead_letter is not None:
            raise Violation(f"{name}: offset {offset} is done, and did not go where its dead letters go")
        model.expired(known, offset, clock_ms)
        return
    if queue.consumers and queue.ready and not queue.active and not queue.reading:
        if any(consumer.available for consumer in queue.consumers):
            raise Violation(f"{name}: {queue.ready} are ready, a consumer is available, and nobody serves the queue")


def _timer_is_due(life: Any) -> bool:
    """Whether what is due is dropped as soon as the loop goes on: it came back just now."""
    schedule = life.broker.schedule
    return schedule._timer is not None and schedule._timer_ms <= life.clock.ms


def check_front(life: Any) -> None:
    """Once nothing happens any more the log holds at most twice what is live in it, with some segments and facts: one
    slow queue pins nothing else; and beside that no more than may be kept for replay. Who settles and appends nothing
    since the start gets nothing looked at."""
    log, facts, retention = life.broker.log, life.broker.model.facts, life.broker.retention
    native_from = retention.native_from()
    unneeded = min(retention.needed_from, native_from - native_from % log.segment_bytes) - retention.first
    if unneeded > retention.keeper.bytes_max:
        raise Violation(f"{unneeded} bytes are kept that nothing needs")
    if life.broker.reappender._credit < log.segment_bytes:
        return
    live = dict(record for queue in life.broker.model.queues.values() for record in _records_of(life, queue))
    kept = log.appended - retention.needed_from
    if kept > 2 * sum(live.values()) + FACT_BYTES_KEPT * len(facts.stated) + SEGMENTS_KEPT * log.segment_bytes:
        raise Violation(f"the log holds {kept} bytes, of which {sum(live.values())} are live: its front does not move")


def _records_of(life: Any, queue: Any) -> Iterator[tuple[int, int]]:
    """(log offset, size) of what is not settled."""
    index = queue.index
    for offset in range(queue.cursor.floor, index.end):
        if not queue.cursor.is_done(offset):
            if index.find(offset) == NOT_LOADED:
                index.load(offset // 512, read_chunk(life.world.store, queue.id, offset // 512))
            if index.find(offset) == FOUND:
                yield index.log_offset, index.size


def contents(life: Any) -> dict[str, Contents]:
    """What every durable queue holds, read from the index and the segments themselves."""
    bodies: dict[int, bytes] = {}
    queues = life.vhost.queues.items()
    return {name: _contents_of(life, queue, bodies) for name, queue in queues if queue.durable}


def _contents_of(life: Any, queue: Any, bodies: dict[int, bytes]) -> Contents:
    index = queue.index
    held: Contents = {}
    for offset in range(queue.cursor.floor, index.end):
        if queue.cursor.is_done(offset):
            continue
        found = index.find(offset)
        if found == NOT_LOADED:
            units = read_chunk(life.world.store, queue.id, offset // 512)
            if units is None or len(units) != CHUNK_BYTES:
                raise Violation(f"{queue.name}: the chunk of offset {offset} is nowhere")
            index.load(offset // 512, units)
            found = index.find(offset)
        if found == ABSENT:
            raise Violation(f"{queue.name}: offset {offset} is not done, and its unit is nowhere")
        assert found == FOUND
        held[offset] = None
        if len(held) < LOOKED_AT or offset % 16 == 0:
            place = index.log_offset
            if place not in bodies:  # else another queue holds it, too
                try:
                    data = life.files.read(place, index.size)
                except FileNotFoundError as error:
                    raise Violation(f"{queue.name}: offset {offset} lies in a segment that is gone: {error}") from error
                bodies[place] = body_of(decode_message(data, 0, index.size, place))
            held[offset] = bodies[place]
    return held


def check_recovered(life: Any, model: Model) -> None:
    """The broker came back with what the model says, exactly; nobody holds anything."""
    held = contents(life)
    durable = {name: queue for name, queue in model.now.queues.items() if queue.durable}
    if sorted(held) != sorted(durable) or sorted(life.vhost.queues) != sorted(durable):
        raise Violation(f"queues {sorted(life.vhost.queues)} came back, {sorted(durable)} are in the log")
    for name, known in durable.items():
        _check_contents(life, model, known, held[name])
    _check_delayed(life, model)
    facts = life.broker.model.facts
    exchanges = {fact.name: (fact.kind, True) for fact in facts.of(ExchangeFact)}
    if exchanges != model.now.exchanges:
        raise Violation(f"exchanges {exchanges} came back, {model.now.exchanges} are in the log")
    bindings = {(fact.source, fact.kind, fact.destination, fact.key) for fact in facts.of(BindingFact)}
    if bindings != set(model.now.bindings):
        raise Violation(f"bindings {sorted(bindings)} came back, {sorted(model.now.bindings)} are in the log")


def _check_contents(life: Any, model: Model, known: ModelQueue, held: Contents) -> None:
    queue = life.vhost.queues[known.name]
    if queue.id != known.id:
        raise Violation(f"{known.name}: has the id {queue.id}, it had {known.id}")
    if queue.end() != known.end:
        raise Violation(f"{known.name}: ends at offset {queue.end()}, {known.end} are in the log")
    for offset, body in held.items():
        unit = known.units.get(offset)
        if unit is None:
            raise Violation(f"{known.name}: offset {offset} came back, its settlement is in the log")
        if body is not None and unit.body != body:
            raise Violation(f"{known.name}: offset {offset} is {body[:24]!r}, stored was {unit.body[:24]!r}")
    missing = [offset for offset in known.units if offset not in held]
    for offset in missing:
        if known.stream_bytes and offset < min(held, default=known.end):
            continue  # dropped again at the start: nobody had noted that
        if offset not in known.doubtful:
            model.check_due(known, offset, life.clock.ms)
    model.was_settled(known, missing)
    known.doubtful.clear()
    if known.limit is not None:
        check_counts(queue, known, model, life.clock.ms)
    if queue.ready + queue.burying + queue.delayed != len(held) or queue.unacked:
        raise Violation(f"{known.name}: {queue.ready} ready and {queue.unacked} unacked, {len(held)} came back")


def _check_delayed(life: Any, model: Model) -> None:
    """Exactly those wait that did, and whose firing is not in the log."""
    hidden, queue = model.now.hidden, life.vhost.delayed
    if (hidden is None) != (queue is None):
        raise Violation(f"the queue of delayed messages: {queue}, expected {hidden}")
    if hidden is None:
        return
    held = _contents_of(life, queue, {})
    missing = hidden.units.keys() - held.keys() - hidden.doubtful
    if missing or held.keys() - hidden.units.keys():
        raise Violation(f"delayed messages {sorted(held)} came back, {sorted(hidden.units)} are in the log")
    for offset, body in held.items():
        if body is not None and body != hidden.units[offset].body:
            raise Violation(f"delayed message {offset} is another one")
    model.was_settled(hidden, sorted(hidden.units.keys() - held.keys()))
    hidden.doubtful.clear()


def _codes(queue: Any) -> dict[int, int]:
    """The tags codes of what is not settled, all of which is in memory: when it expires, and its level."""
    found = {}
    for offset in range(queue.cursor.floor, queue.index.end):
        if not queue.cursor.is_done(offset) and queue.index.find(offset) == FOUND and queue.index.code:
            found[offset] = queue.index.code
    return found


def _counts(queue: Any, clock_ms: int) -> list[tuple[int, int, int]]:
    """How often what came back, and until when it waits; whether it was said to have waited is no matter."""
    return sorted((offset, count, due_ms if due_ms > clock_ms else 0) for offset, count, due_ms in queue.counts.rows())


def digest(life: Any) -> dict[str, Any]:
    """Everything durable that a broker came back with, to compare two ways of coming back."""
    facts = life.broker.model.facts
    queues = life.vhost.queues
    return {
        "queues": {
            fact.name: (fact.id, fact.arguments, queues[fact.name].end())
            for fact in facts.of(QueueFact)
            if fact.name in queues
        },
        "delayed": None if life.vhost.delayed is None else _contents_of(life, life.vhost.delayed, {}),
        "exchanges": {fact.name: (fact.kind, fact.arguments) for fact in facts.of(ExchangeFact)},
        "bindings": sorted((fact.source, fact.kind, fact.destination, fact.key) for fact in facts.of(BindingFact)),
        "contents": contents(life),
        "codes": {name: _codes(queue) for name, queue in queues.items()},
        "counts": {name: _counts(queue, life.clock.ms) for name, queue in queues.items() if queue.counts is not None},
        "topics": {topic.config.name: topic.queues.ends() for topic in life.broker.topics.all()},
        "next id": facts.next_id,
    }
