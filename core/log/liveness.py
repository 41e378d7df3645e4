"""How many units still point into each segment of the log: a segment with none may go (architecture rule 8.6).

A unit is one message in one queue: the log adds a message's units when it stores it, the queue drops each when it is
settled, expired or purged, recovery adds what it finds alive.
"""

from __future__ import annotations

from array import array

import cython


@cython.final
@cython.cclass
class Liveness:
    """Counts by segment. Offsets are the log's; any offset inside a segment names it."""

    def __init__(self, segment_bytes: cython.longlong):
        assert segment_bytes > 0
        self.segment_bytes = segment_bytes
        self._first = 0
        self._memo = 0
        self._memo_start = self._memo_end = 0
        self._counts = array("q", bytes(8 * 16))

    @cython.ccall
    @cython.exceptval(-1)
    def add(self, offset: cython.longlong, n: cython.longlong) -> cython.int:
        """n more units point at the record at `offset`."""
        if not self._memo_start <= offset < self._memo_end:
            self._find(offset)
        self._counts[self._memo] += n
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def drop(self, offset: cython.longlong) -> cython.int:
        """One unit that pointed at the record at `offset` is settled."""
        if not self._memo_start <= offset < self._memo_end:
            self._find(offset)
        self._counts[self._memo] -= 1
        assert self._counts[self._memo] >= 0, f"more units settled than stored in the segment of offset {offset}"
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def live(self, offset: cython.longlong) -> cython.longlong:
        """How many units point into the segment of `offset`."""
        at: cython.longlong = offset // self.segment_bytes - self._first
        if at < 0 or at >= len(self._counts):
            return 0
        return self._counts[at]

    @cython.ccall
    @cython.exceptval(-1)
    def is_dead(self, offset: cython.longlong) -> cython.bint:
        """Nothing points into the segment of `offset`."""
        return self.live(offset) == 0

    def forget(self, upto: int) -> None:
        """The segments before the one of offset `upto` are gone."""
        gone = upto // self.segment_bytes - self._first
        if gone > 0:
            kept = array("q", self._counts[gone:]) if gone < len(self._counts) else array("q")
            kept.extend(array("q", bytes(8 * 16)))
            self._counts = kept
            self._first += gone
            self._memo_end = self._memo_start = 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _find(self, offset: cython.longlong) -> cython.int:
        """Point the memo at the segment of `offset`; make room for it."""
        number: cython.longlong = offset // self.segment_bytes
        at: cython.longlong = number - self._first
        assert at >= 0, f"offset {offset} lies in a segment that is gone"
        if at >= len(self._counts):
            grown = array("q", self._counts)
            grown.extend(array("q", bytes(8 * (at - len(self._counts) + 16))))
            self._counts = grown
        self._memo = at
        self._memo_start = number * self.segment_bytes
        self._memo_end = self._memo_start + self.segment_bytes
        return 0
