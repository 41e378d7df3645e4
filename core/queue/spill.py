"""Above their memory bound transient queues page out to spill/, and what they need next comes back ahead of it.

    Room above its limit ──► look(): chunks to write, newest first, none about to be delivered ──► written, evicted
    Held.get() turns to a chunk ──► ahead(): what follows is read     a message that is away ──► fetch(), then done()

A chunk is written in pieces, one block each, by a thread; its messages leave memory when they are on the disk. They
stay there until the chunk is settled, so that what came back may go again without being written. A message that another
queue has had written is referred to, not written again, where that costs less memory than its index entries would.

What cannot be written stays in memory, and is tried again; what cannot be read is lost, as a transient message may be.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Protocol

from core.log.block import BLOCK_BITS
from core.log.record import Encoder
from core.queue.chunk import BLOCK_BYTES, Piece, Room
from core.queue.pieces import Block, blocks_of, parts_of, read_piece, write_block

logger = logging.getLogger(__name__)

CHUNK = 512
AHEAD_PIECES = 4  # that are read before a consumer gets there
CHUNKS_LOOKED_AT = 64  # of one queue
QUEUES_AT_ONCE = 64  # looked at in one look()
LAG_BYTES, NAP_SECONDS = 2 << 20, 0.002  # with more on its way to the writer the loop lets it have Python's lock
RETRY_MS = 2000  # after a write that failed
TOLD_MS = 60_000  # between two lines that say that spilling began
CHUNKS_AT_ONCE = 64  # let go of in one iteration of the loop


class Worker(Protocol):
    """Of core.disk.threads.Worker, what is used here."""

    def submit(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run job() in a thread, then done(result or Exception) on the loop."""


class Bounds(NamedTuple):
    """What stays in memory above the limit, too; of each pair the second is for when no queue has anything to spare.

    hot           bytes and chunks from where a queue is read
    least_bytes   of a chunk that still fills: less is not written
    kept_ms       what came back is not sent away again at once
    """

    hot: tuple[tuple[int, int], tuple[int, int]] = ((8 * BLOCK_BYTES, 6), (16 << 10, 1))
    least_bytes: tuple[int, int] = (64 << 10, 4 << 10)
    kept_ms: int = 200


class Ports(NamedTuple):
    """files; writer: one thread, readers: several; soon(callback) = in the next iteration of the loop."""

    files: Any
    writer: Any
    readers: Any
    clock: Any
    soon: Callable[[Callable[[], Any]], Any]


class Job(NamedTuple):
    """A chunk that is to be written; size: of what of it is not yet, when that was decided."""

    held: Any
    chunk: Any
    size: int


class Writing(NamedTuple):
    """A piece on its way: offsets start to stop of the job's chunk, where they will be found (pieces.parts_of), what is
    written for that, and whether tags codes are."""

    job: Job
    start: int
    stop: int
    parts: list[Any]
    fresh: list[Any]
    coded: bool


class Spill:
    """Keeper of the broker's Room. allowed(): whether the disk may be written to; nap(seconds) = time.sleep.

    bounds    may be replaced before the first message
    bytes     of blocks that are on the disk; room.away = the messages that are there only
    written, written_bytes, reads, lost   messages and bytes written, pieces read, messages not readable, since start
    """

    def __init__(self, ports: Ports, limit: int):
        self._ports = ports
        self.bounds = Bounds()
        self.room: Any = Room(limit)
        self.room.keeper = self
        self.nap: Callable[[float], None] | None = None
        self.allowed: Callable[[], bool] = lambda: True
        self._helds: dict[Any, None] = {}  # those to look at, whose turn it is first
        self._jobs: deque[Job] = deque()
        self._coming = 0  # bytes of the jobs, the one under way too
        self._writing = False
        self._pressed = self._looked = 0
        self._retry_ms = self._told_ms = self._napped_ms = 0
        self._failing = False
        self._encoder = Encoder()  # of the writer's thread
        self._blocks: dict[int, Block] = {}
        self._next_block = 1
        self._fetches: dict[tuple[Any, Any], list[Callable[[], None]]] = {}
        self._unwanted: list[Any] = []
        self._graves: deque[dict[int, Any]] = deque()
        self.bytes = self.written = self.written_bytes = self.reads = self.lost = 0

    # -- Room's keeper

    def filled(self, held: Any) -> None:
        """`held` begins a chunk."""
        self._helds[held] = None
        if self.room.bytes > self.room.limit:
            self.look(held)
            if self._coming > LAG_BYTES and self.nap is not None and self._napped_ms != self._ports.clock.ms:
                self._napped_ms = self._ports.clock.ms  # once a turn
                self.nap(NAP_SECONDS)

    def ahead(self, held: Any) -> None:
        """`held` is read at held.at: have what follows in memory before it is asked for."""
        offset, wanted = held.at, AHEAD_PIECES
        for number in range(offset // CHUNK, offset // CHUNK + 1 + AHEAD_PIECES):
            chunk = held.chunk_at(number * CHUNK)
            while chunk is not None and wanted:
                at = chunk.next_away(max(offset, number * CHUNK))
                if at < 0:
                    break
                piece = chunk.piece_at(at)
                wanted -= 1
                if not piece.lost:
                    self._read(held, chunk, piece)
                offset = piece.stop

    def release(self, pieces: Iterable[Piece]) -> None:
        """These pieces are wanted no more."""
        for piece in pieces:
            for block in blocks_of(piece):
                self._leave(block)

    def cleared(self, held: Any, chunks: dict[int, Any]) -> None:
        """`held` has let go of all these."""
        self._helds.pop(held, None)
        self._graves.append(chunks)
        if len(self._graves) == 1:
            self._bury()

    def _bury(self) -> None:
        for _ in range(CHUNKS_AT_ONCE):
            chunks = self._graves[0]
            if chunks:
                _, chunk = chunks.popitem()
                self.release(chunk.pieces or ())
            else:
                self._graves.popleft()
                if not self._graves:
                    return
        self._ports.soon(self._bury)

    # -- making room

    def look(self, first: Any = None) -> None:
        """Above the limit: choose what leaves memory, of `first` if there is something, else of others in turns."""
        excess = self.room.bytes - self._coming - self.room.limit
        if excess <= 0:
            self._pressed = self._looked = 0
        if excess <= 0 or not self._may_write():
            return
        if first is not None:
            excess -= self._choose(first, excess)
        for _ in range(min(len(self._helds), QUEUES_AT_ONCE)):
            if excess <= 0:
                break
            held = next(iter(self._helds))
            del self._helds[held]
            self._helds[held] = None
            excess -= self._choose(held, excess)
            self._looked += 1
            if self._looked > len(self._helds):
                self._pressed, self._looked = 1, 0  # none has anything to spare
        self._write_next()

    def _choose(self, held: Any, excess: int) -> int:
        """Have up to about `excess` bytes of this queue leave memory; return how many do."""
        bounds = self.bounds
        size, chunks = bounds.hot[self._pressed]
        hot, until = held.at, held.hot_until(size, chunks)
        now = self._ports.clock.ms
        found = 0
        for chunk in list(islice(reversed(held.resident.values()), CHUNKS_LOOKED_AT)):
            stop = (chunk.number + 1) * CHUNK
            if 0 <= hot < stop <= until or chunk.came_ms + bounds.kept_ms > now:
                continue
            found += held.evict(chunk, hot, until)
            if not chunk.writing:
                size = chunk.unwritten()
                if size and (held.is_full(chunk) or size >= bounds.least_bytes[self._pressed]):
                    chunk.writing = True
                    self._jobs.append(Job(held, chunk, size))
                    self._coming += size
                    found += size
            if found >= excess:
                break
        return found

    # -- writing

    def _write_next(self) -> None:
        """Begin with the next piece, unless one is on its way."""
        while self._jobs and not self._writing:
            if not self._may_write():
                while self._jobs:
                    self._finish()
                return
            job = self._jobs[0]
            if job.held.chunk_at(job.chunk.number * CHUNK) is not job.chunk or not job.chunk.unwritten():
                self._finish()
            else:
                self._write(job)

    def _may_write(self) -> bool:
        return self._ports.clock.ms >= self._retry_ms and self.allowed()

    def _finish(self) -> None:
        """The first job is done with, or given up."""
        job = self._jobs.popleft()
        job.chunk.writing = False
        self._coming -= job.size

    def _write(self, job: Job) -> None:
        start = job.chunk.covered
        stop, taken = job.chunk.next_piece()
        codes = job.chunk.codes_of(start, stop)
        number = self._next_block
        parts, fresh = parts_of(start, taken, self._blocks)
        for block in parts[1::4]:
            if block is not None:
                block.users += 1  # held for the piece, which comes
        writing = Writing(job, start, stop, parts, fresh, codes is not None)
        done = partial(self._written, writing)
        if not fresh and codes is None:
            self._has(writing, None)
            return
        self._writing = True
        self._next_block += 1
        if not self._blocks and self._ports.clock.ms >= self._told_ms:
            self._told_ms = self._ports.clock.ms + TOLD_MS
            text = "transient queues hold more than limits.transient_bytes: what comes last goes to spill/"
            logger.info(text, extra={"bytes": self.room.bytes})
        self._ports.writer.submit(partial(write_block, self._ports.files, self._encoder, fresh, codes, number), done)

    def _written(self, writing: Writing, result: Any) -> None:
        """A piece is on the disk, or could not be written."""
        self._writing = False
        if isinstance(result, Exception):
            self._give_up(writing.parts, result)
            return
        self._failing = False
        self._has(writing, result)
        self._write_next()
        if not self._jobs:
            self.look()

    def _has(self, writing: Writing, result: Any) -> None:
        """The chunk has one piece more on the disk."""
        job, start = writing.job, writing.start
        piece = self._piece(writing, result)
        held, chunk = job.held, job.chunk
        if held.chunk_at(start) is not chunk or chunk.covered != start:  # settled meanwhile
            self.release([piece])
            self._finish()
        else:
            chunk.written(piece)
            hot, least_bytes = self.bounds.hot[self._pressed], self.bounds.least_bytes[self._pressed]
            held.evict(chunk, held.at, held.hot_until(*hot))
            if not chunk.unwritten() or (not held.is_full(chunk) and chunk.unwritten() < least_bytes):
                self._finish()

    def _piece(self, writing: Writing, result: Any) -> Piece:
        """What was written. result = (number, place, bytes) of its block, or None: it only refers to others."""
        parts, fresh = writing.parts, writing.fresh
        if result is None:
            return Piece(writing.start, writing.stop, tuple(parts), None)
        block = Block(*result)
        self._blocks[block.number] = block
        self.bytes += block.size
        self.written += len(fresh)
        self.written_bytes += block.size
        for at, message in enumerate(fresh):
            message.spilled = block.number << BLOCK_BITS | at
        block.users = parts[1::4].count(None) + writing.coded
        parts = [block if each is None and at % 4 == 1 else each for at, each in enumerate(parts)]
        return Piece(writing.start, writing.stop, tuple(parts), (block, len(fresh)) if writing.coded else None)

    def _give_up(self, parts: list[Any], error: Exception) -> None:
        """What could not be written stays in memory. Tell it once, and let it be for a while."""
        for block in parts[1::4]:
            if block is not None:
                self._leave(block)
        self._retry_ms = self._ports.clock.ms + RETRY_MS
        while self._jobs:
            self._finish()
        if not self._failing:
            self._failing = True
            text = "spill/ cannot be written: transient messages stay in memory"
            logger.error(text, extra={"error": str(error), "bytes": self.room.bytes})

    def _leave(self, block: Block) -> None:
        block.users -= 1
        if not block.users:
            del self._blocks[block.number]
            self.bytes -= block.size
            if not self._unwanted:
                self._ports.soon(self._free)
            self._unwanted.append(block.place)

    def _free(self) -> None:
        places, self._unwanted = self._unwanted, []
        self._ports.writer.submit(partial(self._ports.files.free, places), self._freed)

    def _freed(self, result: Any) -> None:
        if isinstance(result, Exception):
            logger.error("space in spill/ could not be freed", extra={"error": str(result)})

    # -- reading

    def fetch(self, held: Any, offset: int, done: Callable[[], None]) -> None:
        """done() when the message at `offset` is in memory, settled, or lost: never from inside this call."""
        chunk = held.chunk_at(offset)
        if chunk is None or not chunk.is_away(offset) or chunk.piece_at(offset).lost:
            self._ports.soon(done)
        else:
            self._read(held, chunk, chunk.piece_at(offset)).append(done)

    def _read(self, held: Any, chunk: Any, piece: Piece) -> list[Callable[[], None]]:
        """Have a piece read; return who is to be told."""
        waiting = self._fetches.get((chunk, piece))
        if waiting is None:
            waiting = self._fetches[chunk, piece] = []
            self.reads += 1
            for block in blocks_of(piece):
                block.users += 1
            job = partial(read_piece, self._ports.files, piece)
            self._ports.readers.submit(job, partial(self._got, held, chunk, piece))
        return waiting

    def _got(self, held: Any, chunk: Any, piece: Piece, result: Any) -> None:
        for block in blocks_of(piece):
            self._leave(block)
        waiting = self._fetches.pop((chunk, piece))
        if held.chunk_at(piece.start) is chunk:
            if not isinstance(result, Exception):
                messages, codes = result
                held.fill(chunk, piece, messages, codes, self._ports.clock.ms)
            elif not piece.lost:
                piece.lost = True
                logger.error(
                    "messages of a transient queue are lost: spill/ cannot be read",
                    extra={"messages": sum(piece.parts[3::4]), "error": str(result)},
                )
        for done in waiting:
            done()
