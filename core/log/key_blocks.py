"""Finding messages by a key: per 64 MiB of log one sorted block of (hash of a key, log offset), for the rest a table.

    first ──► blocks, in files ──► table, in memory, of what was read ──► start ──► table of what is appended ──► end

What is appended is noted while it is (key_table.py). Only what was there at the start and no block covers is read, by
reader threads: the last piece, whose table went with the process, and blocks that are missing. What could not be
written is looked through by each query. Retention takes blocks with their segments.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from core.log.key_search import ALWAYS, PIECE_BYTES, Candidate, Known, Search, Span
from core.log.key_sieve import Keys, KeySieve, sort_entries
from core.log.key_table import KeyTable
from core.log.keys import key_hash
from core.log.view import BLANK, CUT_SHORT

logger = logging.getLogger(__name__)

BLOCK_BYTES = 64 << 20
PAIRS_MAX = 1 << 20  # in memory, 16 MiB: a block ends with them, however little of the log they are of
PAUSE_MS = 10  # between two pieces: the disk is others', too
OFFSET_MAX = (1 << 63) - 1

Tables = list[Any]  # arrays of flat pairs


class Ports(NamedTuple):
    """What key blocks work with: CommitLog; where the log begins; bytes of one segment, which blocks; a worker, which
    runs a job in a reader thread; a timer, ms from now; and a core.disk.key_files.KeyFiles, or None: then there are no
    blocks."""

    log: Any
    first: Callable[[], int]
    read: Callable[[int, int], bytes]
    submit: Callable[[Callable[[], Any], Callable[[Any], None]], None]
    later: Callable[[int, Callable[[], None]], Any]
    files: Any


class KeyBlocks:
    """follow() as the log grows, find() at any time. make_reader() makes a KeyReader; blocks: those in files, by where
    they begin; noted: a KeyTable of what is appended, or None without files."""

    def __init__(self, ports: Ports, make_reader: Callable[[], Any]):
        self._ports = ports
        self._make_reader = make_reader
        self._sieve = KeySieve(make_reader())
        self._wanted = PIECE_BYTES
        self._table: Tables = []  # of what was read from _table_from up to _covered
        self._writing: dict[int, tuple[int, Tables]] = {}  # begin -> (end, pairs) of what is on its way to a file
        self._busy = self.closed = False
        self.blocks: list[Any] = [] if ports.files is None else self._open()
        self._covered = self._table_from = ports.first()
        self._start = self._noted_from = ports.log.appended
        self.read_bytes = self.failed = 0
        self.noted: Any = None
        if ports.files is not None:
            self.noted = ports.log.keys = KeyTable(make_reader())

    def _open(self) -> list[Any]:
        """The blocks there are. What lies behind the log's end was lost with it (ASYNC_FLUSH), and is written anew."""
        committed = self._ports.log.committed
        try:
            blocks = self._ports.files.open()
            self._ports.files.remove([block for block in blocks if block.end > committed])
        except OSError as error:
            logger.warning("key blocks cannot be read, queries do without", extra={"error": str(error)})
            return []
        return [block for block in blocks if block.end <= committed]

    def follow(self) -> int:
        """Keep what was noted in a block when there is enough of it, and read what was there before; returns the log
        offset from which on it is worth to ask again."""
        log, first = self._ports.log, self._ports.first()
        if self.noted is None or self.closed:
            return OFFSET_MAX
        if self._covered < first:
            self._restart(first)
        if self.blocks and self.blocks[0].end <= first:
            gone = [block for block in self.blocks if block.end <= first]
            self.blocks = [block for block in self.blocks if block.end > first]
            self._ports.submit(partial(self._ports.files.remove, gone), self._removed)
        begin = self._table_from if self._joined() else self._noted_from
        if log.appended - begin >= BLOCK_BYTES or self.noted.count >= PAIRS_MAX:
            self._end_noted()
        if not self._busy:
            self._next_piece()
        return int(log.appended + PIECE_BYTES)

    def _restart(self, at: int) -> None:
        """Go on reading there, where a record begins."""
        self._covered = self._table_from = at
        self._table = []

    def _removed(self, result: Any) -> None:
        if isinstance(result, Exception):
            logger.warning("key blocks cannot be deleted", extra={"error": str(result)})

    # -- what is appended

    def _joined(self) -> bool:
        """Whether what was read ends where what is noted begins."""
        return self._covered >= self._start == self._noted_from

    def _end_noted(self) -> None:
        """A block of what was noted, and of what was read before it."""
        begin, end, pairs = self._noted_from, int(self._ports.log.appended), self.noted.take()
        if self._joined():
            begin, pairs = min(begin, self._table_from), [*self._table, *pairs]
            self._restart(end)
        self._noted_from = end
        self._write(begin, end, pairs)

    # -- what was there at the start

    def _next_piece(self) -> None:
        """Skip what blocks cover, and read what follows it."""
        log = self._ports.log
        self._busy = False
        known = [*((block.begin, block.end) for block in self.blocks), *self._begins_and_ends()]
        at = self._covered
        for begin, end in sorted(known):
            if begin <= at < end and not self._table:
                self._restart(end)
                at = end
        segment_end = at - at % log.segment_bytes + log.segment_bytes
        size = min(self._wanted, segment_end - at, self._start - at)
        if self._wanted == PIECE_BYTES:
            size = min(size, self._edge() - at)
        if size > 0 and not self.closed:
            self._busy = True
            self.read_bytes += size
            self._ports.submit(partial(_look, self._ports.read, self._sieve, at, size), self._looked)

    def _begins_and_ends(self) -> list[tuple[int, int]]:
        return [(begin, end) for begin, (end, _) in self._writing.items()]

    def _edge(self) -> int:
        """Where the block of what is read ends at the latest: the next one there is begins, or its piece of the log
        ends."""
        edge = self._table_from - self._table_from % BLOCK_BYTES + BLOCK_BYTES
        begins = [*(block.begin for block in self.blocks), *self._writing]
        return min([edge, *(begin for begin in begins if begin > self._table_from)])

    def _looked(self, result: Keys | Exception) -> None:
        if self.closed:
            return
        if isinstance(result, Keys) and result.start == self._covered:
            self._take(result)
        elif isinstance(result, Exception) and self._covered >= self._ports.first():
            self._leave_out(str(result))
        else:
            self._busy = False  # its segment has gone: follow() sees to it
            return
        enough = sum(map(len, self._table)) >= 2 * PAIRS_MAX
        if (self._covered >= self._edge() or enough) and self._covered > self._table_from:
            begin, end, pairs = self._table_from, self._covered, self._table
            self._restart(end)
            self._write(begin, end, pairs)
        self._ports.later(PAUSE_MS, self._next_piece)

    def _take(self, found: Keys) -> None:
        """Keep what was found, and go behind what was looked through."""
        segment_bytes = self._ports.log.segment_bytes
        segment_end = found.start - found.start % segment_bytes + segment_bytes
        self._wanted = PIECE_BYTES
        if len(found.entries):
            self._table.append(found.entries)
        self._covered = found.end
        if found.why == BLANK and found.size == segment_end - found.end:
            self._covered = segment_end
        elif found.why == CUT_SHORT and found.size <= segment_end - found.end:
            if found.end == found.start:
                self._wanted = max(found.size, 1)
        else:
            self._leave_out("no valid record is there")

    def _leave_out(self, error: str) -> None:
        """The rest of a segment cannot be looked through."""
        segment_bytes = self._ports.log.segment_bytes
        self._wanted = PIECE_BYTES
        self.failed += 1
        logger.error("keys of a segment's rest are not known", extra={"log_offset": self._covered, "error": error})
        self._covered += segment_bytes - self._covered % segment_bytes

    # -- blocks

    def _write(self, begin: int, end: int, pairs: Tables) -> None:
        """A piece of the log is known: sort its pairs, and write them to a file."""
        self._writing[begin] = end, pairs
        self._ports.submit(partial(_write, self._ports.files, begin, end, pairs), partial(self._written, begin))

    def _written(self, begin: int, result: Any) -> None:
        """What could not be written is looked through by every query."""
        del self._writing[begin]
        if isinstance(result, Exception):
            self.failed += 1
            logger.warning("a key block cannot be written", extra={"log_offset": begin, "error": str(result)})
        else:
            self.blocks.insert(bisect_left([block.begin for block in self.blocks], begin), result)

    # -- queries

    def find(self, key: bytes, done: Callable[[list[Candidate] | Exception], None], span: Span = ALWAYS) -> None:
        """done(the records of that time that may have that key, the newest first, at most CANDIDATES_MAX)."""
        log, first = self._ports.log, self._ports.first()
        tables = [*self._table, *(table for _, pairs in self._writing.values() for table in pairs)]
        known = [(block.begin, block.end) for block in self.blocks]
        known += [(self._table_from, self._covered), *self._begins_and_ends()]
        if self.noted is not None:
            tables += self.noted.pieces()
            known.append((self._noted_from, log.appended))
        unknown, at = [], first
        for begin, end in sorted(known):
            if begin > at:
                unknown.append((at, begin))
            at = max(at, end)
        if at < log.committed:
            unknown.append((at, log.committed))
        search = Search(
            self._ports.read, self._ports.files, KeySieve(self._make_reader()), key_hash(key), log.segment_bytes
        )
        where = Known(tables, list(self.blocks), unknown, first, log.committed)
        self._ports.submit(partial(search.run, where, span), done)


def _look(read: Callable[[int, int], bytes], sieve: Any, at: int, size: int) -> Any:
    return sieve.sift(read(at, size), at)


def _write(files: Any, begin: int, end: int, pairs: Tables) -> Any:
    entries = array("Q")
    for table in pairs:
        entries += table
    return files.write(begin, end, sort_entries(entries))
