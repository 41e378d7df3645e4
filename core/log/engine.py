"""Where batches go, and when one is committed: the only place that knows.

LocalEngine: the local disk. Committed = written and synced (SYNC_FLUSH), or written (ASYNC_FLUSH, synced every half
second). It also makes space ahead of the log's end, so that no batch meets a full disk: a batch waits until there is
space, and is never answered with that error.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

RETRY_SECONDS = 1.0  # how often a full disk is tried again
FLUSH_SECONDS = 0.5  # ASYNC_FLUSH: what a power failure may cost
FULL = (errno.ENOSPC, errno.EDQUOT)

Parts = Sequence[tuple[int, Sequence[Any]]]


class LogEngine(Protocol):
    """What the commit log asks of the disk, of a simulated one, or of a replicated group."""

    def tail(self) -> int:
        """The offset behind everything handed over so far."""

    def space(self) -> int:
        """The offset up to which a batch need not wait for space."""

    def publish(self, parts: Parts, expected_tail: int, done: Callable[[OSError | None], None]) -> None:
        """Commit the bytes of `parts` at their offsets, the first of which is `expected_tail`.
        Calls done later, never from inside publish; one batch at a time."""

    def read(self, offset: int, size: int, done: Callable[[bytes | Exception], None]) -> None:
        """Read committed bytes of one segment."""

    def trim(self, upto: int, done: Callable[[list[int] | Exception], None]) -> None:
        """Free the segments that end at or before `upto`; done gets where they began."""

    def close(self, done: Callable[[], None]) -> None:
        """Finish what is under way and let go of the files."""


class Files(Protocol):
    """Of core.disk.files.SegmentFiles, what the engine calls, in worker threads."""

    filled_to: int
    ahead_bytes: int

    def start(self, tail: int) -> None:
        """Space is to be made from here."""

    def write_and_sync(self, parts: Parts, sync: bool) -> None:
        """Blocks until it is done."""

    def sync(self, offset: int) -> None:
        """Blocks until it is done."""

    def read(self, offset: int, size: int) -> bytes:
        """Blocks until it is done."""

    def fill(self) -> int:
        """Make one chunk of space."""

    def remove_front(self, upto: int) -> list[int]:
        """Free segments."""

    def close(self) -> None:
        """Close the files."""


class Worker(Protocol):
    """Of core.disk.threads.Worker, what the engine calls."""

    def submit(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run the job in a thread, then done(result or Exception) on the loop."""


class LocalEngine:
    """The local disk. later(seconds, callback) is loop.call_later; blocked(bool) tells of a full disk and its end."""

    def __init__(self, files: Files, writer: Worker, readers: Worker, later: Callable[..., Any], *, sync: bool = True):
        self._files = files
        self._writer = writer
        self._readers = readers
        self._later = later
        self._sync = sync
        self.blocked: Callable[[bool], None] = lambda full: None
        self.full = False  # no space could be made: the last try failed
        self._tail = self._written_to = 0  # they differ while a batch waits for space
        self._parked: tuple[Parts, int, Callable[[OSError | None], None]] | None = None
        self._writing = self._filling = self._flush_due = self._retry_due = self._closing = False
        self._closed: Callable[[], None] = lambda: None
        self._fatal: OSError | None = None

    def start(self, tail: int) -> None:
        """Recovery found the log's end: begin to make space."""
        self._tail = self._written_to = tail
        self._files.start(tail)
        self._fill()

    def tail(self) -> int:
        """The offset behind everything handed over so far."""
        return self._tail

    def space(self) -> int:
        """The offset up to which zeros lie on the disk."""
        return self._files.filled_to

    def publish(self, parts: Parts, expected_tail: int, done: Callable[[OSError | None], None]) -> None:
        """See LogEngine. A batch beyond the space made waits here until there is more."""
        assert expected_tail == self._tail, f"batch at {expected_tail}, log ends at {self._tail}"
        assert self._parked is None and not self._writing
        offset, buffers = parts[-1]
        end = offset + sum(map(len, buffers))
        self._tail = end
        if end > self._files.filled_to or self._fatal:
            self._parked = parts, end, done
            self._fill()
        else:
            self._write(parts, end, done)

    def read(self, offset: int, size: int, done: Callable[[bytes | Exception], None]) -> None:
        """See LogEngine."""
        self._readers.submit(partial(self._files.read, offset, size), done)

    def trim(self, upto: int, done: Callable[[list[int] | Exception], None]) -> None:
        """See LogEngine."""

        def trimmed(result: list[int] | Exception) -> None:
            done(result)
            self._retry()  # there is space again

        self._readers.submit(partial(self._files.remove_front, upto), trimmed)

    def close(self, done: Callable[[], None]) -> None:
        """See LogEngine. Nothing may be handed over afterwards."""
        self._closing = True
        self._closed = done
        if not self._filling:
            self._shut()

    def _shut(self) -> None:
        def last() -> None:
            if self._written_to and not self._sync:
                self._files.sync(self._written_to - 1)
            self._files.close()

        self._writer.submit(last, lambda result: self._closed())

    def _write(self, parts: Parts, end: int, done: Callable[[OSError | None], None]) -> None:
        self._writing = True
        self._writer.submit(
            partial(self._files.write_and_sync, parts, self._sync), partial(self._written, parts, end, done)
        )

    def _written(self, parts: Parts, end: int, done: Callable[[OSError | None], None], result: Any) -> None:
        self._writing = False
        if isinstance(result, OSError) and result.errno in FULL:  # a file system that copies on write
            self._parked = parts, end, done
            self._is_full(True)
            return
        if isinstance(result, Exception):
            error = result if isinstance(result, OSError) else OSError(errno.EIO, repr(result))
            self._fatal = error
            done(error)
            return
        self._written_to = end
        if not self._sync and not self._flush_due:
            self._flush_due = True
            self._later(FLUSH_SECONDS, self._flush)
        done(None)
        self._fill()

    def _flush(self) -> None:
        """ASYNC_FLUSH: sync what was written since the last time."""

        def flushed(result: Any) -> None:
            if isinstance(result, OSError):
                self._fatal = result

        self._flush_due = False
        if not self._closing:
            self._writer.submit(partial(self._files.sync, self._written_to - 1), flushed)

    def _fill(self) -> None:
        """Make space when a chunk of what should lie ahead is missing; give a waiting batch what there is."""
        if self._parked:
            parts, end, done = self._parked
            if self._fatal or end <= self._files.filled_to:
                self._parked = None
                if self._fatal:
                    self._later(0, partial(done, self._fatal))
                else:
                    self._write(parts, end, done)
        wanted = max(self._tail + self._files.ahead_bytes, self._parked[1] if self._parked else 0)
        if self._files.filled_to >= wanted:
            if not (self._parked or self._writing):
                self._is_full(False)
        elif not (self._filling or self._retry_due or self._closing or self._fatal):
            self._filling = True
            self._readers.submit(self._files.fill, self._filled)

    def _filled(self, result: Any) -> None:
        self._filling = False
        if self._closing:
            self._shut()
            return
        if isinstance(result, OSError) and result.errno in FULL:
            self._is_full(True)
            return
        if isinstance(result, Exception):
            self._fatal = result if isinstance(result, OSError) else OSError(errno.EIO, repr(result))
        elif self.full:
            self._is_full(False)
        self._fill()

    def _is_full(self, full: bool) -> None:
        if full != self.full:
            self.full = full
            self.blocked(full)
        if full and not self._retry_due:
            self._retry_due = True
            self._later(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retry_due = False
        self._fill()
