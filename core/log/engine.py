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

import cython

RETRY_SECONDS = 1.0  # how often a full disk is tried again
FLUSH_SECONDS = 0.5  # ASYNC_FLUSH: what a power failure may cost
FULL = (errno.ENOSPC, errno.EDQUOT)

Parts = Sequence[tuple[int, Sequence[Any]]]


class LogEngine(Protocol):
    """What the commit log asks of the disk, of a simulated one, or of a replicated group. full = it takes no more.
    make_room() is asked before it says so: True = something is being trimmed."""

    full: bool
    make_room: Callable[[], bool]

    def tail(self) -> int:
        """The offset behind everything handed over so far."""

    def space(self) -> int:
        """The offset up to which a batch need not wait for space."""

    def publish(self, parts: Parts, expected_tail: int, done: Callable[[OSError | None], None]) -> None:
        """Commit the bytes of `parts` at their offsets, the first of which is `expected_tail`.
        Calls done later, never from inside publish; one batch at a time."""

    def read(self, offset: int, size: int, done: Callable[[bytes | Exception], None]) -> None:
        """Read committed bytes of one segment."""

    def read_block(self, offset: int, size: int, done: Callable[[bytes | memoryview | Exception], None]) -> None:
        """read(), but what done gets may be used only until it returns: a memoryview is released then."""

    def trim(self, upto: int, done: Callable[[list[int] | Exception], None]) -> None:
        """Free the segments that end at or before `upto`; done gets where they began."""

    def close(self, done: Callable[[Exception | None], None]) -> None:
        """Finish what is under way and let go of the files. done(exception): nobody knows what is on the disk."""


class Files(Protocol):
    """Of core.disk.files.SegmentFiles, what the engine calls, in worker threads."""

    filled_to: int
    ahead_bytes: int
    failed: OSError | None

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


@cython.cclass
class LocalEngine:
    """The local disk. later(seconds, callback) is loop.call_later; blocked(bool) tells of a full disk and its end.

    One batch is here at a time: from publish() to its done(), perhaps parked in between until there is space.
    """

    def __init__(
        self,
        files: Files,
        writer: Worker,
        readers: Worker,
        later: Callable[..., Any],
        *,
        sync: bool = True,
        batches: Any = None,
        blocks: Any = None,
    ):
        """batches: a core.disk.batch_writer.BatchWriter, which takes most batches off the writer; or None. blocks: a
        core.disk.block_reader.BlockReader, which takes most of read_block() off the readers; or None."""
        self._files = files
        self._batches = batches
        self._blocks = blocks
        self._writer = writer
        self._readers = readers
        self._later = later
        self._sync = sync
        self.blocked = lambda full: None
        self.make_room = lambda: False
        self.full = False  # no space could be made: the last try failed
        self._tail = self._written_to = self._end = 0  # they differ while a batch is here
        self._parts = self._done = None
        self._parked = self._filling = self._flush_due = self._retry_due = self._closing = False
        self._closed = lambda error: None
        self._fatal = None
        self._written_callback = self._written
        self._by_writer_callback = self._by_writer

    def start(self, tail: int) -> None:
        """Recovery found the log's end: begin to make space."""
        self._tail = self._written_to = tail
        self._files.start(tail)
        if self._batches is not None:
            self._batches.start(tail)
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
        assert self._parts is None
        offset, buffers = parts[-1]
        end: cython.longlong = offset
        for buffer in buffers:
            end += len(buffer)
        self._tail = self._end = end
        self._parts = parts
        self._done = done
        if end > self._files.filled_to or self._fatal is not None:
            self._parked = True
            self._fill()
        else:
            self._write()

    def read(self, offset: int, size: int, done: Callable[[bytes | Exception], None]) -> None:
        """See LogEngine."""
        self._readers.submit(partial(self._files.read, offset, size), done)

    def read_block(self, offset: int, size: int, done: Callable[[bytes | memoryview | Exception], None]) -> None:
        """See LogEngine."""
        if self._blocks is None or not self._blocks.read(offset, size, done):
            self.read(offset, size, done)

    def trim(self, upto: int, done: Callable[[list[int] | Exception], None]) -> None:
        """See LogEngine."""

        def trimmed(result: list[int] | Exception) -> None:
            done(result)
            self._retry()  # there is space again

        self._readers.submit(partial(self._files.remove_front, upto), trimmed)

    def close(self, done: Callable[[Exception | None], None]) -> None:
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

        self._writer.submit(last, lambda result: self._closed(result))

    @cython.cfunc
    def _write(self):
        batches = self._batches
        if batches is None or not batches.write(
            self._parts, self._sync, self._written_callback, self._by_writer_callback
        ):
            self._by_writer()

    def _by_writer(self) -> None:
        self._writer.submit(partial(self._files.write_and_sync, self._parts, self._sync), self._written_callback)

    def _written(self, result: Any) -> None:
        if isinstance(result, OSError) and result.errno in FULL:  # a file system that copies on write
            self._parked = True
            self._no_space()
            return
        if result is None:
            result = self._files.failed  # of another sync, beside this one: the kernel tells only one of the two
        if isinstance(result, Exception):
            error = result if isinstance(result, OSError) else OSError(errno.EIO, repr(result))
            self._fatal = error
            self._through(error)
            return
        self._written_to = self._end
        if not self._sync and not self._flush_due:
            self._flush_due = True
            self._later(FLUSH_SECONDS, self._flush)
        self._through(None)
        self._fill()

    @cython.ccall
    def _through(self, error: object):
        done, self._done, self._parts = self._done, None, None
        done(error)

    def _flush(self) -> None:
        """ASYNC_FLUSH: sync what was written since the last time."""

        def flushed(result: Any) -> None:
            if isinstance(result, OSError):
                self._fatal = result

        self._flush_due = False
        if not self._closing:
            self._writer.submit(partial(self._files.sync, self._written_to - 1), flushed)

    @cython.cfunc
    def _fill(self):
        """Make space when a chunk of what should lie ahead is missing; give a waiting batch what there is."""
        filled_to: cython.longlong = self._files.filled_to
        if self._parked and (self._fatal is not None or self._end <= filled_to):
            self._parked = False
            if self._fatal is not None:
                self._later(0, partial(self._through, self._fatal))
            else:
                self._write()
        wanted: cython.longlong = self._tail + self._files.ahead_bytes
        if self._parked and self._end > wanted:
            wanted = self._end
        if filled_to >= wanted:
            if self.full and self._parts is None:
                self._is_full(False)
        elif not (self._filling or self._retry_due or self._closing or self._fatal is not None):
            self._filling = True
            self._readers.submit(self._files.fill, self._filled)

    def _filled(self, result: Any) -> None:
        self._filling = False
        if self._closing:
            self._shut()
            return
        if isinstance(result, OSError) and result.errno in FULL:
            self._no_space()
            return
        if isinstance(result, Exception):
            self._fatal = result if isinstance(result, OSError) else OSError(errno.EIO, repr(result))
        elif self.full:
            self._is_full(False)
        self._fill()

    def _no_space(self) -> None:
        """The disk took no more: it is full, unless it could be helped."""
        if not self.make_room():
            self._is_full(True)

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
