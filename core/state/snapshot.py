"""What a checkpoint keeps, as rows of the store's tables, and how it is read back.

    meta    stamp       -> Stamp
    facts   digest      -> (log offset of the last statement, body of the state record)
    queues  id u64      -> QueueMeta
    chunks  id u64, n u64 -> units of 20 bytes; zeros at the end of a chunk are left out

Keys are big-endian, so a queue's chunks lie together and in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from core.queue.index import CHUNK_BYTES
from core.state.model import FactKey

STAMP_KEY = b"stamp"


class StoreDamaged(Exception):
    """The store's files hold no store: drop() them and build the state from the log."""


class Tables(Protocol):
    """Of core.disk.store.Store, what the state uses. Reading raises StoreDamaged, commit() OSError."""

    def rows(self, table: str) -> list[tuple[bytes, bytes]]:
        """All rows of a table."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """One value; from any thread."""

    def commit(self, puts: Any, deletes: Any, prefixes: Any) -> None:
        """One durable transaction."""

    def drop(self) -> None:
        """Delete everything."""

    def open(self) -> None:
        """Open, or create."""


class Stamp(msgspec.Struct, array_like=True):
    """The log offset that all of it reflects, the log's counters there, whether the broker stopped cleanly, below which
    log offset nothing is needed, by what was known then, and where the batch of the last record before `offset` began,
    -1 = unknown."""

    offset: int = 0
    counters: tuple[int, ...] = (0, 0, 0, 0, 0)
    clean: bool = False
    next_id: int = 1
    needed_from: int = 0
    batch: int = -1


class QueueMeta(msgspec.Struct, array_like=True):
    """One queue's index and cursor.

    watermark  what lies below may have been delivered
    tail       number of the chunk that fills, -1 = none
    stored     runs [first, after) of the numbers of full chunks
    above      ranges [start, end) done above the floor
    counts     (offset, how often it came back, until when it waits) of those that did
    latest     when all that is there has expired, and
    overtaking runs [first, after) of the numbers of chunks with units that expire before one in front of them
    copied_to  see Index
    topic, number   of a native topic's queue, whose id is the store's own
    """

    begin: int
    end: int
    floor: int
    watermark: int
    tail: int
    stored: list[tuple[int, int]]
    above: list[tuple[int, int]]
    counts: list[tuple[int, int, int]] = []
    latest: int = 0
    overtaking: list[tuple[int, int]] = []
    copied_to: int = 0
    topic: bytes = b""
    number: int = -1


_encode = msgspec.msgpack.Encoder().encode
_decode_stamp = msgspec.msgpack.Decoder(Stamp).decode
_decode_meta = msgspec.msgpack.Decoder(QueueMeta).decode
_decode_fact = msgspec.msgpack.Decoder(tuple[int, bytes]).decode


def stamp_row(stamp: Stamp) -> tuple[bytes, bytes]:
    """Its row in `meta`."""
    return STAMP_KEY, _encode(stamp)


def fact_digest(key: FactKey) -> bytes:
    """The key of a fact's row: names may be longer than the store's keys."""
    return hashlib.blake2b(_encode(key), digest_size=20).digest()


def fact_row(key: FactKey, offset: int, body: bytes) -> tuple[bytes, bytes]:
    """A fact's row in `facts`."""
    return fact_digest(key), _encode((offset, body))


def queue_key(queue_id: int) -> bytes:
    """The key of a queue's row, and the prefix of its chunks' keys."""
    return queue_id.to_bytes(8, "big")


def queue_row(queue_id: int, meta: QueueMeta | tuple[Any, ...]) -> tuple[bytes, bytes]:
    """A queue's row in `queues`; as a tuple: the values of QueueMeta, in its order."""
    return queue_key(queue_id), _encode(meta)


def chunk_key(queue_id: int, number: int) -> bytes:
    """The key of a chunk's row in `chunks`."""
    return queue_id.to_bytes(8, "big") + number.to_bytes(8, "big")


def chunk_row(queue_id: int, number: int, units: bytes) -> tuple[bytes, bytes]:
    """A chunk's row in `chunks`."""
    return chunk_key(queue_id, number), units.rstrip(b"\0")


def read_chunk(tables: Tables, queue_id: int, number: int) -> bytes | None:
    """The 10,240 bytes of a stored chunk, or None. May run in any thread."""
    found = tables.get("chunks", chunk_key(queue_id, number))
    return None if found is None else found.ljust(CHUNK_BYTES, b"\0")


def read_stamp(tables: Tables) -> Stamp | None:
    """The stamp of the last checkpoint, or None: there was none."""
    found = tables.get("meta", STAMP_KEY)
    return None if found is None else _decode_stamp(found)


def read_facts(tables: Tables) -> list[tuple[int, bytes]]:
    """(log offset of the last statement, body) of every fact, oldest statement first."""
    return sorted(_decode_fact(value) for _, value in tables.rows("facts"))


def read_queues(tables: Tables) -> list[tuple[int, QueueMeta]]:
    """(id, QueueMeta) of every queue."""
    return [(int.from_bytes(key, "big"), _decode_meta(value)) for key, value in tables.rows("queues")]


def runs_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """A set of numbers as ascending runs [first, after)."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number:
            runs[-1] = runs[-1][0], number + 1
        else:
            runs.append((number, number + 1))
    return runs
