"""Cold reads: messages by their place in the log, from the tail or from blocks that a reader thread fetches. Of native
ones: their records, as they lie there.

Units that lie near each other are read as one block. The loop never touches the disk; what comes back is checked and
decoded on it, a bounded block at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import cython

from core.errors import LogCorrupt
from core.log.decode import decode_block
from core.log.engine import LogEngine
from core.message import Message

if cython.compiled:
    from cython.cimports.core.log.tail import Tail
else:
    from core.log.tail import Tail

    GAP_BYTES_MAX = 64 << 10  # between two units of one block: cheaper to read than to ask twice
    BLOCK_BYTES_MAX = 1 << 20  # or one bigger record

READS_MAX = 4  # blocks under way
OFFSET_MAX = (1 << 63) - 1

Unit = tuple[int, int]  # log offset, size
Done = Callable[[list[Message | bytes] | Exception], None]


@cython.final
@cython.cclass
class Block:
    """Consecutive units of one fetch: from `start` to `end` in the log; `places` = their indexes in the fetch."""

    def __init__(self, fetch: Fetch, start: cython.longlong):
        self.fetch = fetch
        self.start = self.end = start
        self.places = []


@cython.final
@cython.cclass
class Fetch:
    """One call of Reader.fetch: done when `missing` blocks are there, or at the first error."""

    def __init__(self, units: Sequence[Unit], done: Done):
        self.units = units
        self.done = done
        self.messages = [None] * len(units)
        self.missing = 0


@cython.final
@cython.cclass
class Reader:
    """fetch() gives messages for units. pending = blocks asked for and not yet decoded, blocks = read since start."""

    def __init__(self, engine: LogEngine, tail: Tail, soon: Callable[..., object], segment_bytes: int):
        self._engine = engine
        self._tail = tail
        self._soon = soon
        self._segment_bytes = segment_bytes
        self._waiting = deque()
        self._under_way = set()
        self.blocks = 0

    @property
    def oldest(self) -> int:
        """The lowest log offset that is asked for or being read: no segment from there on may go."""
        return min((block.start for block in (*self._waiting, *self._under_way)), default=OFFSET_MAX)

    @property
    def pending(self) -> int:
        """Blocks asked for and not yet decoded."""
        return len(self._under_way) + len(self._waiting)

    def fetch(self, units: Sequence[Unit], done: Done) -> None:
        """done(messages in the order of units), or done(exception): never from inside this call.

        A unit is (log offset, size). Units must be committed, or still in the tail.
        """
        fetch = Fetch(units, done)
        for block in self._blocks(fetch):
            fetch.missing += 1
            self._waiting.append(block)
        if not fetch.missing:
            self._soon(partial(self._finish, fetch))
        self._read()

    @cython.cfunc
    def _blocks(self, fetch: Fetch) -> list:
        """Serve what the tail holds; gather the rest into blocks."""
        cold: list = []
        place: cython.Py_ssize_t
        offset: cython.longlong
        size: cython.longlong
        last: cython.longlong = -1
        in_order: cython.bint = True
        for place, (offset, size) in enumerate(fetch.units):
            message = self._tail.get(offset)
            if message is None:
                cold.append((offset, size, place))
                in_order = in_order and offset > last
                last = offset
            else:
                fetch.messages[place] = message
        if not in_order:
            cold.sort()
        blocks: list = []
        block: Block = None
        for offset, size, place in cold:
            if block is None or not self._belongs(block, offset, size):
                block = Block(fetch, offset)
                blocks.append(block)
            block.end = max(block.end, offset + size)
            block.places.append(place)
        return blocks

    @cython.cfunc
    @cython.exceptval(-1)
    def _belongs(self, block: Block, offset: cython.longlong, size: cython.longlong) -> cython.bint:
        return (
            offset - block.end <= GAP_BYTES_MAX
            and offset + size - block.start <= BLOCK_BYTES_MAX
            and offset // self._segment_bytes == block.start // self._segment_bytes
        )

    def _read(self) -> None:
        while self._waiting and len(self._under_way) < READS_MAX:
            block: Block = self._waiting.popleft()
            if block.fetch.done is not None:  # not one whose fetch has failed
                self._under_way.add(block)
                self._engine.read_block(block.start, block.end - block.start, partial(self._got, block))

    def _got(self, block: Block, data: bytes | memoryview | Exception) -> None:
        """A block is there: decode its units; the last one ends the fetch."""
        self._under_way.discard(block)
        self.blocks += 1
        fetch: Fetch = block.fetch
        done = fetch.done
        if done is not None:
            error = data if isinstance(data, Exception) else self._decode(block, data)
            fetch.missing -= 1
            if error is not None:
                fetch.done = None
                done(error)
            elif not fetch.missing:
                self._finish(fetch)
        self._read()

    def _decode(self, block: Block, data: bytes | memoryview) -> LogCorrupt | None:
        fetch: Fetch = block.fetch
        try:
            decode_block(data, block.start, fetch.units, block.places, fetch.messages)
        except LogCorrupt as error:
            return error
        return None

    def _finish(self, fetch: Fetch) -> None:
        done, fetch.done = fetch.done, None
        if done is not None:
            done([message for message in fetch.messages if message is not None])
