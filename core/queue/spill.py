"""Above their memory bound transient queues page out to spill/, and what they need next comes back ahead of it.

    Room above its limit ──► look(): chunks to write, newest first, none about to be delivered ──► written, evicted
    Held.get() turns to a chunk ──► ahead(): what follows is read     a message that is away ──► fetch(), then done()

A chunk is written in pieces, one block each, many at once, by a thread; messages leave memory when they are written.
They stay there until the chunk is settled, so that what came back may go again without being written. A message that
another queue has had written is referred to, not written again, where that costs less memory than its index entries.

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
from core.log.encoder import Encoder
from core.queue.chunk import BLOCK_BYTES, Piece, Room
from core.queue.pieces import Block, blocks_of, encode_block, parts_of, read_piece

logger = logging.getLogger(__name__)

CHUNK = 512
AHEAD_PIECES = 4  # that are read before a consumer gets there
CHUNKS_LOOKED_AT = 64  # of one queue
QUEUES_AT_ONCE = 64  # looked at in one look()
ENCODED_BYTES = 2 << 20  # that wait for the thread: as much is written at once
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
    """A piece on its way; its block with so many messages and `data`, or None: it only refers to others."""

    job: Job
    piece: Piece
    block: Block | None
    data: bytes
    messages: int


class Spill:
    """Keeper of the broker's Room. allowed(): whether the disk may be written to.

    bounds    may be replaced before the first message
    bytes     of blocks that are on the disk; room.away = the messages that are there only
    written, written_bytes, reads, lost   messages and bytes written, pieces read, messages not readable, since start
    """

    def __init__(self, ports: Ports, limit: int):
        self._ports = ports
        self.bounds = Bounds()
        self.room: Any = Room(limit)
        self.room.keeper = self
        self.allowed: Callable[[], bool] = lambda: True
        self._helds: dict[Any, None] = {}  # those to look at, whose turn it is first
        self._jobs: deque[Job] = deque()
        self._coming = 0  # bytes of the jobs, those under way too
        self._encoded: list[Writing] = []  # in an order in which none refers to a later one
        self._encoded_bytes = 0
        self._writing = False
        self._pressed = self._looked = 0
        self._retry_ms = self._told_ms = 0
        self._failing = False
        self._encoder = Encoder()
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
        """Encode what is to be written, here: a thread would wait for Python's lock; then hand it to the thread, when
        that is free."""
        if not self._may_write():
            self._give_back()
            return
        while self._jobs and self._encoded_bytes < ENCODED_BYTES:
            job = self._jobs.popleft()
            if job.held.chunk_at(job.chunk.number * CHUNK) is job.chunk and job.chunk.unwritten():
                self._encode(job)
            else:
                self._finish(job)
        if self._encoded and not self._writing:
            writings, self._encoded, self._encoded_bytes = self._encoded, [], 0
            self._writing = True
            blocks = [each.data for each in writings if each.block is not None]
            self._ports.writer.submit(partial(self._ports.files.write, blocks), partial(self._written, writings))

    def _may_write(self) -> bool:
        return self._ports.clock.ms >= self._retry_ms and self.allowed()

    def _give_back(self, writings: Iterable[Writing] = ()) -> None:
        """These stay in memory, what is encoded, which may refer to them, and what would be."""
        for writing in (*writings, *self._encoded):
            self.release([writing.piece])
            self._finish(writing.job)
        self._encoded, self._encoded_bytes = [], 0
        while self._jobs:
            self._finish(self._jobs.popleft())

    def _finish(self, job: Job) -> None:
        """It is done with, or given up."""
        job.chunk.writing = False
        self._coming -= job.size

    def _encode(self, job: Job) -> None:
        """The next piece of a chunk: what others have had written, or will, is referred to."""
        start = job.chunk.covered
        stop, taken = job.chunk.next_piece()
        codes = job.chunk.codes_of(start, stop)
        parts, fresh = parts_of(start, taken, self._blocks)
        block, data, coded = None, b"", None
        if fresh or codes is not None:
            if not self._blocks and self._ports.clock.ms >= self._told_ms:
                self._told_ms = self._ports.clock.ms + TOLD_MS
                text = "transient queues hold more than limits.transient_bytes: what comes last goes to spill/"
                logger.info(text, extra={"bytes": self.room.bytes})
            data = encode_block(self._encoder, fresh, codes, self._next_block)
            block = self._blocks[self._next_block] = Block(self._next_block, len(data))
            self._next_block += 1
            self._encoded_bytes += block.size
            for at, message in enumerate(fresh):
                message.spilled = block.number << BLOCK_BITS | at
            parts = [block if each is None and at % 4 == 1 else each for at, each in enumerate(parts)]
            coded = (block, len(fresh)) if codes is not None else None
        piece = Piece(start, stop, tuple(parts), coded)
        for each in blocks_of(piece):
            each.users += 1
        self._encoded.append(Writing(job, piece, block, data, len(fresh)))

    def _written(self, writings: list[Writing], result: Any) -> None:
        """Pieces are on the disk, or could not be written."""
        self._writing = False
        if isinstance(result, Exception):
            self._give_up(writings, result)
            return
        self._failing = False
        places = iter(result)
        for writing in writings:
            if writing.block is not None:
                writing.block.place = next(places)
                self.bytes += writing.block.size
                self.written += writing.messages
                self.written_bytes += writing.block.size
        for writing in writings:
            self._has(writing.job, writing.piece)
        self._write_next()
        if not self._jobs:
            self.look()

    def _has(self, job: Job, piece: Piece) -> None:
        """The chunk has one piece more on the disk."""
        held, chunk = job.held, job.chunk
        if held.chunk_at(piece.start) is not chunk or chunk.covered != piece.start:  # settled meanwhile
            self.release([piece])
            self._finish(job)
            return
        chunk.written(piece)
        hot, least_bytes = self.bounds.hot[self._pressed], self.bounds.least_bytes[self._pressed]
        held.evict(chunk, held.at, held.hot_until(*hot))
        if not chunk.unwritten() or (not held.is_full(chunk) and chunk.unwritten() < least_bytes):
            self._finish(job)
        else:
            self._jobs.appendleft(job)

    def _give_up(self, writings: list[Writing], error: Exception) -> None:
        """What could not be written stays in memory. Tell it once, and let it be for a while."""
        self._give_back(writings)
        self._retry_ms = self._ports.clock.ms + RETRY_MS
        if not self._failing:
            self._failing = True
            text = "spill/ cannot be written: transient messages stay in memory"
            logger.error(text, extra={"error": str(error), "bytes": self.room.bytes})

    def _leave(self, block: Block) -> None:
        block.users -= 1
        if block.users:
            return
        del self._blocks[block.number]
        if block.place is not None:
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
