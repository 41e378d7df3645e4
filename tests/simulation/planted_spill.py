"""Bugs in what pages out (architecture rule 8.2: transient queues, spill/), found like those of planted.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.queue import pieces
from core.queue.chunk import Chunk
from core.queue.held import Held
from core.queue.spill import Spill


def freed_too_early() -> None:
    """The space of a block goes with the last but one piece that refers to it."""
    honest = Spill._leave

    def leave(self: Any, block: Any) -> None:
        if block.users == 2 and block.number in self._blocks:
            block.users = 1
            honest(self, block)
            block.users = 1 << 30

    Spill._leave = leave


def codes_stay_behind() -> None:
    """What comes back has forgotten when it expires."""
    Chunk.codes_of = lambda self, start, stop: None


def one_of_two_is_told() -> None:
    """Who asks for a piece that is being read already is not told when it is there."""
    honest = Spill._read

    def read(self: Any, held: Any, chunk: Any, piece: Any) -> Any:
        there = (chunk, piece) in self._fetches
        waiting = honest(self, held, chunk, piece)
        return [] if there else waiting

    Spill._read = read


def record_of_the_first() -> None:
    """A message that another queue has had written is looked for at that block's beginning."""
    pieces.RECORD_MASK = 0


def one_more_leaves() -> None:
    """A message that was not yet written leaves memory with those that were."""
    honest = Held.evict

    def evict(self: Any, chunk: Any, hot: int, until: int) -> int:
        chunk.covered += chunk.pieces is not None and not self.is_full(chunk)
        freed: int = honest(self, chunk, hot, until)
        chunk.covered -= chunk.pieces is not None and not self.is_full(chunk)
        return freed

    Held.evict = evict


SPILL: dict[str, Callable[[], None]] = {
    "spill-early": freed_too_early,
    "spill-codes": codes_stay_behind,
    "spill-told": one_of_two_is_told,
    "spill-shared": record_of_the_first,
    "spill-unwritten": one_more_leaves,
}
