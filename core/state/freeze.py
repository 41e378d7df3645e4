"""What a checkpoint keeps of one queue, copied at one instant: its meta, and the chunk that fills."""

from __future__ import annotations

from typing import Any

import cython

from core.state.snapshot import chunk_key, chunk_row, queue_row, runs_of

if cython.compiled:
    from cython.cimports.core.queue.cursor import Cursor
    from cython.cimports.core.queue.delivery import Queue
    from cython.cimports.core.queue.index import Index
    from cython.cimports.core.queue.topic_queue import TopicQueue
else:
    from core.queue.cursor import Cursor
    from core.queue.delivery import Queue
    from core.queue.index import Index
    from core.queue.topic_queue import TopicQueue


def freeze_topic_queue(queue: TopicQueue, held: int, stored: Any, puts: dict, deletes: dict) -> int:
    """freeze_tail() of a native topic's queue."""
    index: Index = queue.index
    tail = index.end // 512 if index.end % 512 and index.begin < index.end and index.loaded(index.end) else -1
    if tail >= 0:
        puts["chunks"].append(chunk_row(queue.id, tail, index.used_bytes(tail)))
    if held not in (-1, tail) and held not in stored:
        deletes["chunks"].append(chunk_key(queue.id, held))
    row = index.begin, index.end, index.begin, 0, tail, runs_of(stored), (), (), 0, (), 0, queue.topic, queue.queue_id
    puts["queues"].append(queue_row(queue.id, row))
    return tail


@cython.ccall
@cython.exceptval(-2)
def freeze_tail(queue: Queue, held: cython.longlong, stored: Any, puts: dict, deletes: dict) -> cython.longlong:
    """Copy to `puts`, and say in `deletes` what the store need not hold any more; return the number of the partial
    chunk that it will hold, -1 = none. held: the one it holds now; stored: the numbers of its full chunks."""
    index: Index = queue.index
    cursor: Cursor = queue.cursor
    tail: cython.longlong = index.end // 512
    if index.end % 512 and cursor.floor < index.end and index.loaded(index.end):
        puts["chunks"].append(chunk_row(queue.id, tail, index.used_bytes(tail)))
    else:
        tail = -1
    if held != -1 and held != tail and held not in stored:
        deletes["chunks"].append(chunk_key(queue.id, held))
    watermark: cython.longlong = max(queue.next, queue.redelivered_below)
    counts = () if queue.counts is None else queue.counts.rows()
    overtaking = () if queue.overtaking is None else runs_of(queue.overtaking.chunks_from(cursor.floor))
    puts["queues"].append(
        queue_row(
            queue.id,
            (
                *(index.begin, index.end, cursor.floor, watermark, tail, runs_of(stored) if stored else ()),
                *(cursor.ranges() if cursor.done_above else (), counts, queue.latest, overtaking, index.copied_to),
            ),
        )
    )
    return tail
