"""Finding messages by a key: per 64 MiB of log one sorted block of (hash of a key, log offset), for the rest a table.

    first ──► blocks, in files ──► table, in memory, up to `covered` ──► what a query looks through itself ──► committed

Reader threads do all of it, from what the log holds already: publishing costs nothing. What no block covers, because it
could not be written or was deleted, is looked through, too. Retention takes blocks with their segments.
"""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from core.log.key_sieve import Keys, KeySieve, key_hash, search_entries, sort_entries
from core.log.view import BLANK, CUT_SHORT

logger = logging.getLogger(__name__)

BLOCK_BYTES = 64 << 20
PIECE_BYTES = 4 << 20  # looked through at once
PAUSE_MS = 10  # between two pieces: the disk is others', too
CANDIDATES_MAX = 1024  # records with the hash that is looked for, the newest of them
OFFSET_MAX = (1 << 63) - 1
HEAD_BYTES, BORN_MS_AT, STORE_MS_AT = 64, 40, 56  # of a record


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


class Candidate(NamedTuple):
    """A record that has the hash of a key: where it lies, its bytes, and whether it is a copy that retention made."""

    log_offset: int
    size: int
    copied: bool


class KeyBlocks:
    """follow() as the log grows, find() at any time. make_reader() makes a KeyReader; covered: up to where the keys are
    known; blocks: those in files, by where they begin."""

    def __init__(self, ports: Ports, make_reader: Callable[[], Any]):
        self._ports = ports
        self._make_reader = make_reader
        self._sieve = KeySieve(make_reader())
        self._wanted = PIECE_BYTES
        self._table: list[array[int]] = []
        self._writing: dict[int, tuple[int, array[int]]] = {}  # begin -> (end, entries) of what is on its way to a file
        self.busy = self.closed = False
        self.blocks: list[Any] = [] if ports.files is None else self._open()
        self.covered = self._table_from = ports.first()
        self.read_bytes = self.failed = 0

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
        """Look through what is committed by now; returns the log offset from which on it is worth to ask again."""
        log, first = self._ports.log, self._ports.first()
        if self._ports.files is None or self.closed:
            return OFFSET_MAX
        if self.covered < first:
            self._restart(first)
        if self.blocks and self.blocks[0].end <= first:
            gone = [block for block in self.blocks if block.end <= first]
            self.blocks = [block for block in self.blocks if block.end > first]
            self._ports.submit(partial(self._ports.files.remove, gone), self._removed)
        if not self.busy:
            self._next_piece()
        return int((log.appended if self.busy else self.covered) + PIECE_BYTES)  # not busy: when it is committed

    def _restart(self, at: int) -> None:
        """Go on there, where a record begins."""
        self.covered = self._table_from = at
        self._table = []

    def _removed(self, result: Any) -> None:
        if isinstance(result, Exception):
            logger.warning("key blocks cannot be deleted", extra={"error": str(result)})

    def _next_piece(self) -> None:
        """Skip what blocks cover; look through what follows it, if that is worth it."""
        log = self._ports.log
        self.busy = False
        at = self.covered
        for block in self.blocks:
            if block.begin <= at < block.end and not self._table:
                self._restart(block.end)
                at = block.end
        edge = self._edge()
        segment_end = at - at % log.segment_bytes + log.segment_bytes
        size = min(self._wanted, segment_end - at, log.committed - at)
        if self._wanted == PIECE_BYTES:
            size = min(size, edge - at)
            if size < min(PIECE_BYTES, edge - at, segment_end - at):
                return  # it waits until there is more
        if size > 0 and not self.closed:
            self.busy = True
            self.read_bytes += size
            self._ports.submit(partial(_look, self._ports.read, self._sieve, at, size), self._looked)

    def _edge(self) -> int:
        """Where the block that fills ends at the latest: the next one there is begins, or its piece of the log ends."""
        edge = self._table_from - self._table_from % BLOCK_BYTES + BLOCK_BYTES
        return min([edge, *(block.begin for block in self.blocks if block.begin > self._table_from)])

    def _looked(self, result: Keys | Exception) -> None:
        if self.closed:
            return
        if isinstance(result, Keys) and result.start == self.covered:
            self._take(result)
        elif isinstance(result, Exception) and self.covered >= self._ports.first():
            self._leave_out(str(result))
        else:
            self.busy = False  # its segment has gone: follow() sees to it
            return
        if self.covered >= self._edge():
            self._end_block()
        self._ports.later(PAUSE_MS, self._next_piece)

    def _take(self, found: Keys) -> None:
        """Keep what was found, and go behind what was looked through."""
        segment_bytes = self._ports.log.segment_bytes
        segment_end = found.start - found.start % segment_bytes + segment_bytes
        self._wanted = PIECE_BYTES
        if len(found.entries):
            self._table.append(found.entries)
        self.covered = found.end
        if found.why == BLANK and found.size == segment_end - found.end:
            self.covered = segment_end
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
        logger.error("keys of a segment's rest are not known", extra={"log_offset": self.covered, "error": error})
        self.covered += segment_bytes - self.covered % segment_bytes

    def _end_block(self) -> None:
        """Its piece of the log is looked through: sort it, and write it to a file."""
        begin, end, table = self._table_from, self.covered, self._table
        entries = array("Q")
        for piece in table:
            entries += piece
        self._restart(end)
        self._writing[begin] = end, entries
        job = partial(_write, self._ports.files, begin, end, entries[:])
        self._ports.submit(job, partial(self._written, begin))

    def _written(self, begin: int, result: Any) -> None:
        """What could not be written is looked through by every query."""
        del self._writing[begin]
        if isinstance(result, Exception):
            self.failed += 1
            logger.warning("a key block cannot be written", extra={"log_offset": begin, "error": str(result)})
        else:
            self.blocks.insert(bisect_left([block.begin for block in self.blocks], begin), result)

    def find(self, key: bytes, done: Callable[[list[Candidate] | Exception], None]) -> None:
        """done(the records that may have that key, the newest first, at most CANDIDATES_MAX)."""
        log, first = self._ports.log, self._ports.first()
        tables = [*self._table, *(entries for _, entries in self._writing.values())]
        known = [(block.begin, block.end) for block in self.blocks]
        known += [(self._table_from, self.covered)]
        known += [(begin, end) for begin, (end, _) in self._writing.items()]
        unknown, at = [], first
        for begin, end in sorted(known):
            if begin > at:
                unknown.append((at, begin))
            at = max(at, end)
        if at < log.committed:
            unknown.append((at, log.committed))
        search = Search(self._ports, KeySieve(self._make_reader()), key_hash(key), log.segment_bytes)
        self._ports.submit(partial(search.run, first, list(self.blocks), tables, unknown), done)


def _look(read: Callable[[int, int], bytes], sieve: Any, at: int, size: int) -> Any:
    return sieve.sift(read(at, size), at)


def _write(files: Any, begin: int, end: int, entries: array[int]) -> Any:
    return files.write(begin, end, sort_entries(entries))


class Search:
    """One search, in a reader thread."""

    def __init__(self, ports: Ports, sieve: Any, wanted: int, segment_bytes: int):
        self._read, self._files = ports.read, ports.files
        self._sieve = sieve
        self._hash = wanted
        self._segment_bytes = segment_bytes

    def run(
        self, first: int, blocks: list[Any], tables: list[array[int]], unknown: list[tuple[int, int]]
    ) -> list[Candidate]:
        """See KeyBlocks.find()."""
        found = [offset for table in tables for offset in search_entries(table, self._hash)]
        for begin, end in unknown:
            found += self._scan(begin, end)
        for block in reversed(blocks):
            if len(found) >= CANDIDATES_MAX:
                break
            found += self._files.search(block, self._hash, CANDIDATES_MAX)
        newest = sorted((offset for offset in found if offset >= first), reverse=True)[:CANDIDATES_MAX]
        return [self._candidate(offset) for offset in newest]

    def _candidate(self, offset: int) -> Candidate:
        head = self._read(offset, min(HEAD_BYTES, self._segment_bytes - offset % self._segment_bytes))
        copied = head[BORN_MS_AT : BORN_MS_AT + 8] != head[STORE_MS_AT : STORE_MS_AT + 8]
        return Candidate(offset, int.from_bytes(head[:4], "big"), copied)

    def _scan(self, at: int, end: int) -> list[int]:
        """What no block and no table tells."""
        found: list[int] = []
        wanted = PIECE_BYTES
        while at < end:
            segment_end = at - at % self._segment_bytes + self._segment_bytes
            keys = self._sieve.sift(self._read(at, min(wanted, segment_end - at, end - at)), at)
            found += search_entries(keys.entries, self._hash)
            stuck = keys.end == at
            at = keys.end
            if keys.why == CUT_SHORT and not stuck:
                wanted = PIECE_BYTES
            elif keys.why == CUT_SHORT and wanted < keys.size <= min(segment_end, end) - at:
                wanted = keys.size
            else:
                at = segment_end  # a blank, or what is no record
        return found
