"""Who has answers that wait for a commit."""

from __future__ import annotations

import cython


@cython.cclass
class Waiter:
    """Something with answers that wait for a commit: a channel with confirms. It registers once per batch."""

    def __init__(self):
        self.batch_no = -1

    @cython.ccall
    @cython.exceptval(-1)
    def mark(self) -> cython.longlong:
        """The batch closes: return what its commit will release (the last confirm number, say)."""
        raise NotImplementedError

    @cython.ccall
    def committed(self, mark: cython.longlong):
        """The batch that closed with this mark is committed."""
        raise NotImplementedError
