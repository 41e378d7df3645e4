"""A destructive reader's progress on a queue: what is done, as a floor and a bitmap of the offsets done above it.

Offsets below `floor` are done. Above it a bit per offset, 512 in one bytearray that exists only while some of them are
done and others not, so that acks in order cost one addition. What was settled since the last batch is gathered as
runs for the batch's *done* record.
"""

from __future__ import annotations

import cython

WORD_UNITS = 512


@cython.cclass
class Cursor:
    """floor: every offset below it is done and it never goes back; done_above: how many above it are done too."""

    def __init__(self, floor: int = 0):
        self.floor = floor
        self._above = {}
        self.done_above = 0
        self._run_start = self._run_end = self.run_start = self.run_end = -1
        self._runs = None

    @cython.ccall
    @cython.exceptval(-1)
    def is_done(self, offset: cython.longlong) -> cython.bint:
        """Whether `offset` is settled."""
        if offset < self.floor:
            return True
        if self.done_above == 0:
            return False
        bits: bytearray = self._above.get(offset // 512)
        if bits is None:
            return False
        p: cython.p_uchar = bits
        bit: cython.int = offset % 512
        return (p[bit >> 3] >> (bit & 7)) & 1

    @cython.ccall
    @cython.exceptval(-1)
    def settle(self, offset: cython.longlong) -> cython.bint:
        """Mark one offset done; False when it was already."""
        if not self._mark(offset):
            return False
        if offset == self._run_end:
            self._run_end = offset + 1
        else:
            self._gather(offset, offset + 1)
        return True

    @cython.ccall
    @cython.exceptval(-1)
    def settle_stated(self, offset: cython.longlong) -> cython.bint:
        """As settle(), of an offset that a record of the log settles already: no *done* record has to say it."""
        return self._mark(offset)

    @cython.cfunc
    @cython.exceptval(-1)
    def _mark(self, offset: cython.longlong) -> cython.bint:
        if offset < self.floor:
            return False
        if offset == self.floor:
            self.floor = offset + 1
            if self.done_above:
                self._advance()
        else:
            word: cython.longlong = offset // 512
            bits: bytearray = self._above.get(word)
            if bits is None:
                bits = bytearray(64)
                self._above[word] = bits
            p: cython.p_uchar = bits
            bit: cython.int = offset % 512
            mask: cython.uchar = 1 << (bit & 7)
            if p[bit >> 3] & mask:
                return False
            p[bit >> 3] |= mask
            self.done_above += 1
        return True

    @cython.cfunc
    def _advance(self):
        """Move the floor over everything done directly above it, and drop the bitmaps it passed."""
        while self.done_above:
            word: cython.longlong = self.floor // 512
            bits: bytearray = self._above.get(word)
            if bits is None:
                break
            p: cython.p_uchar = bits
            bit: cython.int = self.floor % 512
            while bit < 512 and (p[bit >> 3] >> (bit & 7)) & 1:
                p[bit >> 3] ^= 1 << (bit & 7)  # a set bit is above the floor, always: done_above counts them
                bit += 1
                self.done_above -= 1
            self.floor = word * 512 + bit
            if bit < 512:
                break
            del self._above[word]
        if self.done_above == 0 and self._above:
            self._above.clear()

    @cython.cfunc
    def _gather(self, start: cython.longlong, end: cython.longlong):
        if self._run_end > self._run_start:
            if self._runs is None:
                self._runs = []
            self._runs.append((self._run_start, self._run_end))
        self._run_start = start
        self._run_end = end

    @cython.ccall
    def settle_range(self, start: cython.longlong, end: cython.longlong):
        """Mark all of [start, end) done: a purge, or replay. One that begins at the floor costs nothing per offset."""
        if end <= self.floor:
            return
        if start <= self.floor:
            start = self.floor
            self._drop_below(end)
            self.floor = end
            if self.done_above:
                self._advance()
            self._gather(start, end)
            return
        offset: cython.longlong = start
        while offset < end:
            self.settle(offset)
            offset += 1

    def _drop_below(self, end: int) -> None:
        """Forget what was marked done below `end`, before the floor jumps there."""
        for word in sorted(self._above):
            if word * WORD_UNITS >= end:
                break
            bits = self._above[word]
            if (word + 1) * WORD_UNITS <= end:
                self.done_above -= int.from_bytes(bits, "little").bit_count()
                del self._above[word]
            else:
                value = int.from_bytes(bits, "little")
                kept = value >> (end - word * WORD_UNITS) << (end - word * WORD_UNITS)
                self.done_above -= value.bit_count() - kept.bit_count()
                self._above[word] = bytearray(kept.to_bytes(64, "little"))

    @cython.ccall
    @cython.exceptval(-1)
    def take_run(self) -> cython.bint:
        """The one range settled since the last call, as [run_start, run_end); False when there are several or none,
        which take_runs() tells."""
        if self._runs is not None or self._run_end <= self._run_start:
            return False
        self.run_start, self.run_end = self._run_start, self._run_end
        self._run_start = self._run_end = -1
        return True

    def take_runs(self) -> list:
        """The ranges [start, end) settled since the last call, in the order they were settled."""
        runs, self._runs = self._runs or [], None
        if self._run_end > self._run_start:
            runs.append((self._run_start, self._run_end))
        self._run_start = self._run_end = -1
        return runs

    def ranges(self) -> list:
        """The ranges [start, end) done above the floor, ascending: what a checkpoint keeps beside the floor."""
        found, start, end = [], -1, -1
        for word in sorted(self._above):
            value = int.from_bytes(self._above[word], "little")
            for bit in range(WORD_UNITS):
                if value >> bit & 1:
                    offset = word * WORD_UNITS + bit
                    if offset != end:
                        if end > start:
                            found.append((start, end))
                        start = offset
                    end = offset + 1
        if end > start:
            found.append((start, end))
        return found

    def restore(self, floor: int, ranges: list) -> None:
        """Take the state that a checkpoint recorded; nothing of it is gathered for a record."""
        self.__init__(floor)  # type: ignore[misc]
        for start, end in ranges:
            self.settle_range(start, end)
        self.take_runs()
