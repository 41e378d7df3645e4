"""Whether the pages of an LMDB file hang together: LMDB itself does not look, and a wrong number in one of them ends
the process, or has it read or write another page.

Every page of the last transaction is walked: each belongs to one tree or to the list of free pages, and to no second
one; nodes lie within their pages, keys ascend, and the counts are those that the tables' records say. What a row holds
is not looked at: store.py gives each a checksum of its own. LMDB 0.9, little-endian, 64 bits; layout: mdb.c.
"""

from __future__ import annotations

import os
import struct
from array import array
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, NoReturn

from core.state.snapshot import StoreDamaged

MAGIC, VERSION = 0xBEEFC0DE, 1
META = struct.Struct(
    "<IIQQ48s48sQQ"
)  # magic, version, address, map size, free list, main table, last page, transaction
TABLE = struct.Struct("<IHHQQQQQ")  # pad, flags, depth, branch, leaf and overflow pages, entries, root
HEAD = struct.Struct("<QHHHH")  # page number, pad, flags, lower, upper; of overflow pages the last two are their count
NODE = struct.Struct("<IHH")  # size of the value (branch: 48 bits of the child's number, with flags), flags, key size
HEAD_BYTES, NODE_BYTES, NUMBER_BYTES = 16, 8, 8
BRANCH, LEAF, OVERFLOW = 1, 2, 4  # flags of a page
BIG, TABLE_ROW = 1, 2  # flags of a node: its value is on overflow pages; it is a table's record
INTEGER_KEYS = 8  # flag of a table
FREE_LIST, MAIN, ROWS = 0, 1, 2
NO_PAGE = (1 << 64) - 1
DEPTH_MAX = 32
KEY_MAX = 511
RUN_BITS = 24
PAGE_SIZES = (4096, 8192, 16384, 32768)


class Table(NamedTuple):
    """A table's record."""

    pad: int
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int


class Meta(NamedTuple):
    """What one transaction left: where its tables are."""

    page_bytes: int
    free: Table
    main: Table
    last_page: int
    transaction: int


def check(file: Path, transaction: int | None = None) -> array[int]:
    """Walk all that the last transaction (or this one, which a reader holds) left, but the heads of large values: what
    is returned is for check_large(), and as long as there are large values. Raises StoreDamaged, OSError."""
    with open(file, "rb", buffering=0) as opened:
        metas = read_metas(opened.fileno())
        if transaction is None:
            meta = max(metas, key=lambda each: each.transaction)
        else:
            found = [each for each in metas if each.transaction == transaction]
            if not found:
                raise StoreDamaged(f"its pages 0 and 1 do not tell of transaction {transaction}")
            meta = found[0]
        walk = _Walk(opened.fileno(), meta)
        walk.run()
        return array("Q", [meta.page_bytes, *walk.runs])


def check_large(file: Path, large: array[int]) -> None:
    """The heads of what holds large values: LMDB reads them when it frees the pages. Raises StoreDamaged, OSError."""
    page_bytes = large[0]
    with open(file, "rb", buffering=0) as opened:
        fd = opened.fileno()
        for run in sorted(large[1:]):
            first, count = run >> RUN_BITS, run & (1 << RUN_BITS) - 1
            if _count_in_head(fd, first, page_bytes) != count:
                raise StoreDamaged(f"page {first} does not begin {count} pages of a large value")


def _count_in_head(fd: int, first: int, page_bytes: int) -> int:
    """How many pages a large value has; 0 = its head is damaged."""
    number, _, flags, low, high = HEAD.unpack(os.pread(fd, HEAD_BYTES, first * page_bytes))
    return low | high << 16 if (number, flags) == (first, OVERFLOW) else 0


def read_metas(fd: int) -> list[Meta]:
    """Both; the older one is what the transaction before left. Raises StoreDamaged."""
    head = os.pread(fd, HEAD_BYTES + META.size, 0)
    metas = [_meta(head, 0)]
    metas.append(_meta(os.pread(fd, HEAD_BYTES + META.size, metas[0].page_bytes), 1))
    first, second = (each.transaction for each in metas)
    if abs(first - second) > 1 or (max(first, second) > 1 and (first % 2 or second % 2 == 0)):
        raise StoreDamaged(f"its pages 0 and 1 tell of transactions {first} and {second}")
    return metas


def _meta(page: bytes, number: int) -> Meta:
    if len(page) < HEAD_BYTES + META.size:
        raise StoreDamaged("its file is cut off")
    magic, version, _, _, free, main, last_page, transaction = META.unpack_from(page, HEAD_BYTES)
    tables = Table(*TABLE.unpack(free)), Table(*TABLE.unpack(main))
    size = tables[0].pad
    if (magic, version) != (MAGIC, VERSION) or size not in PAGE_SIZES:
        raise StoreDamaged(f"its page {number} is not the beginning of a store")
    if (tables[0].flags, tables[1].flags, tables[1].pad) != (INTEGER_KEYS, 0, 0):
        raise StoreDamaged(f"its page {number} tells of tables that are not ours")
    return Meta(size, *tables, last_page, transaction)


class _Walk:
    """run() raises StoreDamaged at the first thing that cannot be."""

    def __init__(self, fd: int, meta: Meta):
        self._fd = fd
        self._meta = meta
        self._page_bytes = meta.page_bytes
        self._end = meta.last_page + 1
        self._seen = bytearray(self._end if self._end <= os.fstat(fd).st_size // meta.page_bytes else 0)
        self.runs = array("Q")  # of overflow pages: the first one's number and how many, in RUN_BITS
        self._free: list[int] = []
        self._counts = [0, 0, 0]  # of the table that is walked: branch and leaf pages, entries
        self._large_pages = 0  # that tables have according to their records, less those that were found
        self._tables: list[Table] = []
        self._kind = FREE_LIST  # of table that is walked: FREE_LIST, MAIN or ROWS

    def run(self) -> None:
        if not self._seen:
            raise StoreDamaged("its file is cut off")
        self._take(0, 2)
        self._table(self._meta.free)
        self._kind = MAIN
        self._table(self._meta.main)
        self._kind = ROWS
        for table in self._tables:
            if table.flags or table.pad:
                self._refuse("a table's record is not ours")
            self._table(table)
        for first in self._free:
            self._take(first, 1)
        self._take_spare_pages()
        if self._large_pages:
            self._refuse("the tables do not have as many pages of large values as their records say")
        if 0 in self._seen:
            self._refuse(f"page {self._seen.index(0)} belongs to nothing")

    def _take_spare_pages(self) -> None:
        """A large value that became smaller keeps its pages: those behind a value that belong to nothing else are its,
        if its head says so."""
        for place, run in enumerate(self.runs):
            first, count = run >> RUN_BITS, run & (1 << RUN_BITS) - 1
            if first + count < self._end and not self._seen[first + count]:
                told = _count_in_head(self._fd, first, self._page_bytes)
                if not count < told < 1 << RUN_BITS:
                    self._refuse(f"page {first} does not begin a large value")
                self._take(first + count, told - count)
                self._large_pages -= told - count
                self.runs[place] = first << RUN_BITS | told

    def _refuse(self, text: str) -> NoReturn:
        raise StoreDamaged(text)

    def _take(self, first: int, count: int) -> None:
        """These pages belong to one thing, and so to nothing else."""
        if not 0 <= first <= first + count <= self._end:
            self._refuse(f"page {first} is beyond the last one")
        if any(self._seen[first : first + count]):
            self._refuse(f"page {first} belongs to two things")
        self._seen[first : first + count] = b"\1" * count

    def _table(self, table: Table) -> None:
        self._counts = [0, 0, 0]
        self._large_pages += table.overflow_pages
        if table.depth > DEPTH_MAX:
            self._refuse("a table is too deep")
        if table.root != NO_PAGE:
            self._tree(table.root, table.depth, None, None)
        elif table.depth:
            self._refuse("a table has no root")
        if self._counts != [table.branch_pages, table.leaf_pages, table.entries]:
            self._refuse("a table does not have what its record says")

    def _tree(self, number: int, depth: int, low: bytes | None, high: bytes | None) -> None:
        """A page at that height, and all below it; keys are in [low, high)."""
        self._take(number, 1)
        page = os.pread(self._fd, self._page_bytes, number * self._page_bytes)
        own, _, flags, lower, upper = HEAD.unpack_from(page)
        if own != number or flags != (LEAF if depth == 1 else BRANCH):
            self._refuse(f"page {number} is not the one that belongs there")
        if not HEAD_BYTES <= lower <= upper <= self._page_bytes or lower % 2:
            self._refuse(f"page {number} has no room as it says")
        self._counts[depth == 1] += 1
        nodes = memoryview(page)[HEAD_BYTES:lower].cast("H")
        if depth == 1:
            used = self._leaf(page, nodes, low, high)
        else:
            used = self._branch(page, nodes, depth, low, high)
        if used != self._page_bytes - upper:
            self._refuse(f"page {number} has nodes that are not what they were")

    def _leaf(self, page: bytes, nodes: memoryview, low: bytes | None, high: bytes | None) -> int:
        """Returns the bytes that its nodes take."""
        used, size, integers = 0, len(page), self._kind == FREE_LIST
        unpack = NODE.unpack_from
        last = low
        limit = size - NODE_BYTES
        for at in nodes:
            if at > limit:
                self._refuse("a node lies outside its page")
            length, flags, key_bytes = unpack(page, at)
            begin = at + NODE_BYTES + key_bytes
            key = page[at + NODE_BYTES : begin]
            if integers:
                key = key[::-1]
            if last is not None and key <= last and (key < last or last is not low):
                self._refuse("keys do not ascend")
            last = key
            if flags == BIG:
                taken = NODE_BYTES + key_bytes + NUMBER_BYTES
            else:
                taken = NODE_BYTES + key_bytes + length
            if at + taken > size or key_bytes > KEY_MAX:
                self._refuse("a node lies outside its page")
            used += taken + (taken & 1)
            if flags or integers:
                self._value(page, begin, length, flags)
        if high is not None and last is not None and last >= high:
            self._refuse("keys do not ascend")
        self._counts[2] += len(nodes)
        return used

    def _value(self, page: bytes, at: int, length: int, flags: int) -> None:
        """What is no plain row: a value on pages of its own, a table's record, a list of free pages."""
        if flags == BIG:
            first = int.from_bytes(page[at : at + NUMBER_BYTES], "little")
            count = (HEAD_BYTES + length - 1) // self._page_bytes + 1
            self._take(first, count)
            self.runs.append(first << RUN_BITS | count)
            self._large_pages -= count
            if self._kind == FREE_LIST:
                self._free_pages(os.pread(self._fd, length, first * self._page_bytes + HEAD_BYTES))
        elif flags == TABLE_ROW and self._kind == MAIN and length == TABLE.size:
            self._tables.append(Table(*TABLE.unpack_from(page, at)))
        elif flags == 0 and self._kind == FREE_LIST:
            self._free_pages(page[at : at + length])
        else:
            self._refuse("a row is of a kind that is not ours")

    def _free_pages(self, value: bytes) -> None:
        numbers = memoryview(value).cast("Q") if len(value) % NUMBER_BYTES == 0 else None
        if not numbers or numbers[0] >= len(numbers):
            self._refuse("a list of free pages is not what it was")
        listed = list(numbers[1 : numbers[0] + 1])
        if any(first <= second for first, second in pairwise(listed)):
            self._refuse("a list of free pages is not in order")
        self._free += listed

    def _branch(self, page: bytes, nodes: memoryview, depth: int, low: bytes | None, high: bytes | None) -> int:
        """Returns the bytes that its nodes take."""
        used, size = 0, len(page)
        children = []
        for at in nodes:
            if at > size - NODE_BYTES:
                self._refuse("a node lies outside its page")
            bits, flags, key_bytes = NODE.unpack_from(page, at)
            taken = NODE_BYTES + key_bytes
            if at + taken > size or key_bytes > KEY_MAX:
                self._refuse("a node lies outside its page")
            used += taken + (taken & 1)
            key = page[at + NODE_BYTES : at + taken]
            children.append((key[::-1] if self._kind == FREE_LIST else key, bits | flags << 32))
        if len(children) < 2:
            self._refuse("a branch has no two children")
        keys = [low, *(key for key, _ in children[1:]), high]
        for (_, child), (begin, end) in zip(children, pairwise(keys), strict=True):
            if begin is not None and end is not None and begin >= end:
                self._refuse("keys do not ascend")
            self._tree(child, depth - 1, begin, end)
        return used
