"""The past as the log has it: what a queue's and an exchange's past share, a scan of the log and what it finds.

A block is asked for when all that was found in the one before is delivered, so a slow reader holds one at most.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import cython

if cython.compiled:
    from cython.cimports.core.queue.replays import Replay
else:
    from core.queue.replays import Replay

logger = logging.getLogger(__name__)

COMMIT_MS = 20  # within that what is appended is on its way to the disk (core/handover.py)


class Ports(NamedTuple):
    """What the past is read with.

    log, tail               CommitLog, Tail
    scans                   core.log.scans.Scans
    fetch(units, done)      Reader.fetch
    read_chunk(queue id, number, done=)   done(a stored chunk of an index, None or Exception)
    at(ms, callback)        a timer, ms of the clock's epoch
    first()                 where the log begins
    clock                   the broker's
    """

    log: Any
    tail: Any
    scans: Any
    fetch: Callable[..., None]
    read_chunk: Callable[..., None]
    at: Callable[[int, Callable[[], None]], Any]
    first: Callable[[], int]
    clock: Any


@cython.cclass
class LogPast(Replay):
    """scan: the way through the log, up to _limit; _found: the block that was looked through, of which _at is next."""

    def __init__(self, replays: Any, title: str, ports: Ports):
        Replay.__init__(self, replays, title)
        self._ports = ports
        self.scan = None
        self._found = None
        self._at = 0
        self._limit = 0

    def close(self) -> None:
        """See Replay.close."""
        Replay.close(self)
        self._ports.scans.cancel(self.scan)
        self._found = None

    def _ask(self) -> None:
        """sifted() gets what the next block has."""
        self.reading = True
        self._ports.scans.ask(self.scan)

    def _seek(self, ms: int) -> None:
        """Have the scan begin where everything is found that was stored at `ms` or later."""
        self.reading = True
        self._ports.scans.seek(ms, self._sought)

    def _sought(self, result: Any) -> None:
        if not self.closed:
            if not isinstance(result, Exception):  # else the segment it looked at has gone, or the scan will say why
                self.scan.at = result
            self.arrived()

    def sifted(self, found: Any) -> None:
        """See core.log.scans.Reader."""
        if found is not None:
            self._found, self._at = found, 0
        elif self.scan.at < self._limit:  # what is left is not committed yet
            self._ports.at(self._ports.clock.ms + COMMIT_MS, self._again)
            return
        self.arrived()

    def _again(self) -> None:
        if not self.closed:
            self._ask()

    def failed(self, error: Exception) -> None:
        """See core.log.scans.Reader."""
        logger.error("replay ended: the log cannot be read", extra={"reader": self.title, "error": str(error)})
        self.end()
