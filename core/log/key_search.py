"""One search for the records that may have a key: in blocks, in tables, and through what neither covers.

A reader thread runs it.

Records lie in the log in the order of their times, so that a span of time is a span of the log; where the clock was set
back, what lies near that is found by the wider of the two.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any, NamedTuple

from core.log.key_sieve import search_entries
from core.log.view import CUT_SHORT

PIECE_BYTES = 4 << 20  # looked through at once
CANDIDATES_MAX = 1024  # records with the hash that is looked for, the newest of them
OFFSET_MAX = (1 << 63) - 1
HEAD_BYTES, BORN_MS_AT, STORE_MS_AT, SYS_FLAG_AT = 80, 40, 56, 36  # of a record
BORN_V6, LONGER = 0x10, 12  # an address of IPv6 before the time
BLANK_MAGIC = b"\xcb\xd4\x31\x94"


class Candidate(NamedTuple):
    """A record that has the hash of a key: where it lies, its bytes, and whether it is, if it is a record of ours, a
    copy that retention made."""

    log_offset: int
    size: int
    copied: bool


class Span(NamedTuple):
    """Only what was stored then, ms since the epoch, both included."""

    since_ms: int = 0
    until_ms: int = OFFSET_MAX


ALWAYS = Span()


class Known(NamedTuple):
    """Where to look: pairs in memory, blocks in files in the log's order, pieces of the log that neither covers; and
    from where on the log is there, and up to where it is committed."""

    tables: list[array[int]]
    blocks: list[Any]
    unknown: list[tuple[int, int]]
    first: int
    committed: int


class Search:
    """read(offset, size): bytes of one segment; files: a KeyFiles; sieve: a KeySieve of this search's own."""

    def __init__(self, read: Callable[[int, int], bytes], files: Any, sieve: Any, wanted: int, segment_bytes: int):
        self._read, self._files = read, files
        self._sieve = sieve
        self._hash = wanted
        self._segment_bytes = segment_bytes

    def run(self, known: Known, span: Span) -> list[Candidate]:
        """The newest CANDIDATES_MAX, the newest first. Raises OSError."""
        found = [offset for table in known.tables for offset in search_entries(table, self._hash)]
        for begin, end in known.unknown:
            found += self._scan(begin, end)
        found = self._within(found, known, span)
        blocks = known.blocks
        for number in range(len(blocks) - 1, -1, -1):
            if len(found) >= CANDIDATES_MAX:
                break
            begin = max(blocks[number].begin, known.first)
            if span.until_ms < OFFSET_MAX and self._time_at(begin) > span.until_ms:
                continue
            found += self._within(self._files.search(blocks[number], self._hash), known, span)
            if span.since_ms and self._time_at(begin) < span.since_ms:
                break
        return [self._candidate(offset) for offset in sorted(set(found), reverse=True)[:CANDIDATES_MAX]]

    def _within(self, offsets: list[int], known: Known, span: Span) -> list[int]:
        """Those that are there and of that time, the newest first."""
        there = sorted((each for each in offsets if known.first <= each < known.committed), reverse=True)
        low, high = 0, len(there)
        if span.until_ms < OFFSET_MAX:
            low = bisect_left(there, -span.until_ms, key=self._age)
        if span.since_ms:
            high = bisect_right(there, -span.since_ms, lo=low, key=self._age)
        return there[low:high][:CANDIDATES_MAX]

    def _age(self, offset: int) -> int:
        return -self._time_at(offset)

    def _head(self, offset: int) -> bytes:
        return self._read(offset, min(HEAD_BYTES, self._segment_bytes - offset % self._segment_bytes))

    def _time_at(self, offset: int) -> int:
        """When the record was stored that lies there, or behind the blank that does."""
        head = self._head(offset)
        if head[4:8] == BLANK_MAGIC or len(head) < HEAD_BYTES:
            head = self._head(offset - offset % self._segment_bytes + self._segment_bytes)
        at = STORE_MS_AT + (LONGER if int.from_bytes(head[SYS_FLAG_AT : SYS_FLAG_AT + 4], "big") & BORN_V6 else 0)
        return int.from_bytes(head[at : at + 8], "big")

    def _candidate(self, offset: int) -> Candidate:
        head = self._head(offset)
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
