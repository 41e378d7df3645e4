"""Which messages of a queue are read from the log at once, when it needs one that is not in memory."""

from __future__ import annotations

from typing import Any

import cython

if cython.compiled:
    from cython.cimports.core.queue.cursor import Cursor
    from cython.cimports.core.queue.index import Index
else:
    from core.queue.cursor import Cursor
    from core.queue.index import Index

    AHEAD_UNITS = 1024
    AHEAD_BYTES = 1 << 20


@cython.ccall
def units_ahead(upcoming: Any, index: Index, cursor: Cursor, tail: Any, offsets: list) -> list:
    """Units (log offset, size) in the order of delivery, up to what the tail holds, a chunk of the index that is not in
    memory, or the bound. upcoming: the queue offsets in that order; those of the units go to `offsets`."""
    units: list = []
    held: cython.longlong = 0
    each: cython.longlong
    for each in upcoming:
        if len(units) == AHEAD_UNITS or held >= AHEAD_BYTES:
            break
        found: cython.int = index.find(each)
        if found < 0:
            break
        if found == 1 and not cursor.is_done(each):
            if units and tail.get(index.log_offset) is not None:
                break
            units.append((index.log_offset, index.size))
            offsets.append(each)
            held += index.size
    return units
