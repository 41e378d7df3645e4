"""How often the messages of a queue came back: offset -> count, of those that did and are not settled, and when those
that wait may be tried again.

A dict entry costs about 100 bytes, so the memory is bounded by what consumers held and gave back. Counts are absolute:
the last one stated in the log is the count.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.queue.cursor import Cursor
else:
    from core.queue.cursor import Cursor

SIFT_MIN = cython.declare(cython.Py_ssize_t, 1024)


@cython.final
@cython.cclass
class Counts:
    """add() when a message came back, forget() when it is settled; take() gives what a *done* record has to state."""

    def __init__(self):
        self._counts = {}
        self._due = {}  # offset -> epoch ms, of those that wait
        self._changed = set()
        self._sift_at = SIFT_MIN

    def __len__(self) -> int:
        return len(self._counts)

    @cython.ccall
    @cython.exceptval(-1)
    def of(self, offset: cython.longlong) -> cython.longlong:
        """How often the message at `offset` came back."""
        if not self._counts:
            return 0
        return self._counts.get(offset, 0)

    @cython.ccall
    def add(self, offset: cython.longlong):
        """It came back once more."""
        self._counts[offset] = self.of(offset) + 1
        self._changed.add(offset)

    @cython.ccall
    def restate(self, offset: cython.longlong):
        """What a *done* record said of it is to leave the log."""
        if self._counts and offset in self._counts:
            self._changed.add(offset)

    @cython.ccall
    def wait(self, offset: cython.longlong, ms: cython.longlong):
        """It came back, and waits until then."""
        self._due[offset] = ms

    @cython.ccall
    def waited(self, offset: cython.longlong):
        """It waits no more."""
        self._due.pop(offset, None)

    def until(self, offset: cython.longlong) -> int:
        """Until when it waits, epoch ms; 0 = it does not."""
        due_ms: int = self._due.get(offset, 0)
        return due_ms

    def waiting(self) -> list:
        """[(offset, epoch ms)] of those that wait."""
        return list(self._due.items())

    @cython.ccall
    def put(self, offset: cython.longlong, count: cython.longlong, due_ms: cython.longlong):
        """A record or a checkpoint says so; due_ms 0 = it does not wait."""
        self._counts[offset] = count
        if due_ms:
            self._due[offset] = due_ms
        else:
            self._due.pop(offset, None)

    @cython.ccall
    def forget(self, offset: cython.longlong):
        """It is settled."""
        if self._counts and self._counts.pop(offset, None) is not None:
            self._changed.discard(offset)
            if self._due:
                self._due.pop(offset, None)

    @cython.ccall
    def take(self) -> list:
        """[(offset, count, due ms)] of those that changed since the last call, ascending."""
        changed: set = self._changed
        if not changed:
            return []
        self._changed = set()
        return [(offset, self._counts[offset], self._due.get(offset, 0)) for offset in sorted(changed)]

    def rows(self) -> list:
        """[(offset, count, due ms)] of all: what a checkpoint keeps."""
        return [(offset, count, self._due.get(offset, 0)) for offset, count in self._counts.items()]

    def prune(self, cursor: Cursor) -> None:
        """Forget what was settled in another way than one by one."""
        self._counts = {offset: count for offset, count in self._counts.items() if not cursor.is_done(offset)}
        self._due = {offset: ms for offset, ms in self._due.items() if not cursor.is_done(offset)}
        self._changed &= self._counts.keys()

    @cython.ccall
    def sift(self, cursor: Cursor):
        """prune(), at a constant cost for each put(): a replay puts what later records settle."""
        if len(self._counts) >= self._sift_at:
            self.prune(cursor)
            self._sift_at = max(SIFT_MIN, 2 * len(self._counts))
