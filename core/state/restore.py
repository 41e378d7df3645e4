"""Start-up: the last checkpoint, then the log from its stamp on.

What the store holds is a cache: if it cannot be read it is dropped, and everything comes from the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from core.queue.index import CHUNK_UNITS
from core.state.apply import Applier
from core.state.checkpoint import spill_full_chunks
from core.state.model import Facts
from core.state.replay import Replay
from core.state.snapshot import (
    QueueMeta,
    Stamp,
    StoreDamaged,
    Tables,
    read_chunk,
    read_facts,
    read_queues,
    read_stamp,
    stamp_row,
)

logger = logging.getLogger(__name__)

Scan = Callable[[Stamp, Callable[[Any], None]], Any]


class Restored(NamedTuple):
    """stamp = what the checkpoint said (offset 0: there was none); log = what the scan returned; tails = queue id ->
    number of the partial chunk that the store holds; gone = ids of deleted queues; records = how many were replayed."""

    stamp: Stamp
    log: Any
    tails: dict[int, int]
    gone: set[int]
    records: int


def restore(tables: Tables, applier: Applier, scan: Scan) -> Restored:
    """Fill the applier's facts and slots; the caller then calls applier.finish_replay(). Blocks.

    scan(stamp, on_record) walks the log from there on. Whatever happens from here on is no clean stop until the last
    checkpoint says so. Raises StoreRefused, LogCorrupt.
    """
    try:
        return load(tables, applier, scan)
    except (StoreDamaged, msgspec.MsgspecError) as error:
        logger.warning("state is damaged, rebuilding it from the log", extra={"error": str(error)})
        tables.drop()
        tables.open()
        return load(tables, applier, scan)


def load(tables: Tables, applier: Applier, scan: Scan) -> Restored:
    """restore(), but raises StoreDamaged or MsgspecError for a store that cannot be read."""
    stamp = read_stamp(tables)
    if stamp is None:  # chunks may be left of a replay that did not end
        tables.drop()
        tables.open()
        stamp = Stamp()
    facts = applier.model.facts = Facts()
    spill = partial(spill_full_chunks, tables)
    replay = Replay(applier.state, partial(read_chunk, tables), spill, facts.new_local_id)
    applier.begin_replay(replay)
    metas = read_queues(tables)
    facts.next_local_id = max([facts.next_local_id, *(queue_id + 1 for queue_id, _ in metas)])
    for queue_id, meta in metas:
        if meta.topic:  # before a fact gives it an id
            replay.topic_slot(meta.topic, meta.number, queue_id)
    for offset, body in read_facts(tables):
        applier.state(body, offset)
    facts.next_id = max(facts.next_id, stamp.next_id)
    facts.changed.clear()
    for queue_id, meta in metas:
        _restore_slot(tables, replay.slot(queue_id), meta)
    if stamp.clean:
        tables.commit({"meta": [stamp_row(msgspec.structs.replace(stamp, clean=False))]}, {}, {})
    found = scan(stamp, replay.record)
    if stamp.clean and replay.records == 0:
        for queue_id, meta in metas:
            if not meta.topic:
                replay.slot(queue_id).watermark = meta.watermark
    tails = {queue_id: meta.tail for queue_id, meta in metas if meta.tail >= 0}
    return Restored(stamp, found, tails, replay.gone(), replay.records)


def _restore_slot(tables: Tables, slot: Any, meta: QueueMeta) -> None:
    """Index and cursor as they were, with the chunks at both ends in memory."""
    stored = {number for first, after in meta.stored for number in range(first, after)}
    slot.index.restore(meta.begin, meta.end, stored)
    slot.cursor.restore(meta.floor, meta.above)
    slot.latest, slot.index.copied_to = meta.latest, meta.copied_to
    for first, after in meta.overtaking:
        slot.chunks.update(range(first, after))
    if meta.counts:
        slot.put_counts(meta.counts)
    if meta.floor >= meta.end:
        return
    for number in {meta.floor // CHUNK_UNITS, meta.tail} - {-1}:
        if number in stored or number == meta.tail:
            units = read_chunk(tables, slot.id, number)
            if units is None:
                raise StoreDamaged(f"chunk {number} of queue {slot.id} is missing")
            slot.index.load(number, units)
