"""A log that a tool writes, without a loop: commit() returns when everything appended is on the disk.

Records are laid out by the broker's own commit log; only the engine differs, and the time of each record is the tool's
to say.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from core.clock import Clock
from core.errors import LimitReached
from core.log.commit_log import KINDS, CommitLog
from core.log.encoder import Encoder
from core.log.native_encoder import NativeEncoder
from core.message import Message
from core.native import Native

COMMIT_BYTES = 4 << 20  # so much is appended at most before it is written
TAIL_BYTES = 1  # nobody reads here
BESIDE_BYTES = 34 << 10  # a record has less of them beside body and header block
BLANK_BYTES = 8


class Files(Protocol):
    """Of core.disk.files.SegmentFiles, what is used here. All of it blocks."""

    segment_bytes: int

    @property
    def end(self) -> int:
        """Offset behind the last segment."""

    def extend(self) -> None:
        """Make the next segment."""

    def write_and_sync(self, parts: Sequence[tuple[int, Sequence[Any]]], sync: bool) -> None:
        """Bytes, each part within one segment."""


class _Engine:
    """Of core.log.engine.LogEngine, what a commit log calls while nobody reads or frees."""

    def __init__(self, files: Files, tail: int):
        self._files = files
        self._tail = tail
        self._done: Callable[[OSError | None], None] | None = None

    def tail(self) -> int:
        return self._tail

    def publish(self, parts: Sequence[tuple[int, Sequence[Any]]], expected_tail: int, done: Callable[..., Any]) -> None:
        offset, buffers = parts[-1]
        self._tail = offset + sum(map(len, buffers))
        while self._files.end < self._tail:
            self._files.extend()
        self._files.write_and_sync(parts, True)
        self._done = done

    def finish(self) -> bool:
        """Tell that the batch is through; False: there was none."""
        done, self._done = self._done, None
        if done is None:
            return False
        done(None)
        return True


class BlockingLog:
    """Appends from `tail` on. counters: the next queue offset of each kind, as recovery found them. What raises OSError
    has left an end that recovery would cut; nothing may be appended afterwards."""

    def __init__(self, files: Files, tail: int = 0, counters: tuple[int, ...] = (0,) * KINDS):
        self._engine = _Engine(files, tail)
        self._clock = Clock(lambda: 0.0, lambda: 0.0)
        self._log = CommitLog(
            self._engine,
            self._clock,
            _never,
            _never,
            segment_bytes=files.segment_bytes,
            batch_bytes_max=min(COMMIT_BYTES, files.segment_bytes),
            tail_bytes=TAIL_BYTES,
            counters=counters,
        )

    @property
    def segment_bytes(self) -> int:
        """The size of a segment."""
        size: int = self._log.segment_bytes
        return size

    @property
    def tail(self) -> int:
        """Where the next record goes, or the filler before it."""
        return self._log.appended

    def store(self, message: Message, places: Iterable[tuple[int, int, int]], store_ms: int) -> int:
        """Store a message that entered the broker at store_ms; places are (queue id, queue offset, tags code). Returns
        its offset. Raises LimitReached."""
        flat: Any = array("q", [number for place in places for number in place])
        self._check_size(message, flat)
        self._clock.set(store_ms)
        offset: int = self._log.append_store(message, flat, len(flat) // 3)
        self._commit_some()
        return offset

    def store_native(self, message: Native, places: Iterable[tuple[int, int, int]], store_ms: int) -> int:
        """Store a native message that has its place in its topic's queue already; places: as of store(). Returns its
        offset. Raises LimitReached."""
        size, room = NativeEncoder().plan(message), self._log.segment_bytes - BLANK_BYTES
        if size > room:
            raise LimitReached(f"a record of {size} bytes does not fit a segment (log.segment_bytes: {room + 8})")
        self._clock.set(store_ms)
        flat: Any = array("q", [number for place in places for number in place])
        offset: int = self._log.append_native_into(message, flat) if flat else self._log.append_native(message)
        self._commit_some()
        return offset

    def _check_size(self, message: Message, places: Any) -> None:
        room = self._log.segment_bytes - BLANK_BYTES
        if message.body_size + len(message.header) + BESIDE_BYTES > room:
            size = Encoder().plan_store(message, places, len(places) // 3)
            if size > room:
                raise LimitReached(f"a record of {size} bytes does not fit a segment (log.segment_bytes: {room + 8})")

    def append(self, kind: int, body: bytes, store_ms: int) -> int:
        """Append a STATE or DONE record and return its offset."""
        self._clock.set(store_ms)
        offset: int = self._log.append(kind, body)
        self._commit_some()
        return offset

    def commit(self) -> None:
        """Have all of it on the disk. Raises OSError."""
        self._log.submit()
        while self._engine.finish():
            pass
        assert self._log.committed == self._log.appended

    def _commit_some(self) -> None:
        if self._log.pending_bytes >= COMMIT_BYTES:
            self.commit()


def _never(*arguments: Any) -> Any:
    raise AssertionError("nobody waits for this log")
