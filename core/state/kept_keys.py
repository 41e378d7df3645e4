"""Deduplication over a restart: what is kept of a durable exchange's cache, and what the keys of a queue are.

Of a cache pages of 256 keys are kept, each a fact of its own:

    number of the key + 1 u64 | ms when it is forgotten u64 | key 16 bytes

A key has its place, which a later one takes over (core/routing/once.py), so that every record is absolute: a key's own,
which goes into the batch of its message, and a page's, when the first statements of its keys are to leave the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any

from core.errors import LogCorrupt
from core.log.decode import decode_message
from core.queue.index import CHUNK_UNITS, FOUND
from core.state.model import Facts
from core.state.records import KeyPage, KeySeen

logger = logging.getLogger(__name__)

PAGE_KEYS = 256
KEY_BYTES = 16
ENTRY = Struct(f">QQ{KEY_BYTES}s")


def put_key(facts: Facts, record: KeySeen, offset: int) -> None:
    """Apply the record of one key: into its page, made when it is not there. offset: of the record in the log."""
    number, at = divmod(record.place, PAGE_KEYS)
    fact_key = "keys", record.vhost, record.exchange, number
    page: Any = facts.get(fact_key)
    if page is None:
        entries = bytearray(PAGE_KEYS * ENTRY.size)
        page = KeyPage(vhost=record.vhost, exchange=record.exchange, number=number, entries=entries)
        facts.put(page, offset)
    facts.changed.add(fact_key)
    ENTRY.pack_into(page.entries, at * ENTRY.size, record.number + 1, record.expires, record.key)


def page_keys(page: KeyPage) -> Iterator[tuple[int, int, bytes, int]]:
    """(place, number, key, ms when it is forgotten) of every key of a page."""
    for at, (number, expires, key) in enumerate(ENTRY.iter_unpack(page.entries)):
        if number:
            yield page.number * PAGE_KEYS + at, number - 1, key, expires


def kept_keys(facts: Facts, vhost: str, exchange: str) -> Iterator[tuple[int, bytes, int]]:
    """(number, key, ms when it is forgotten) of every key that is kept of an exchange."""
    for page in facts.pages(vhost, exchange):
        for _, number, key, expires in page_keys(page):
            yield number, key, expires


def read_keys(
    queue: Any, read_chunk: Callable[[int, int], bytes | None], read: Callable[[int, int], bytes]
) -> None:
    """After recovery: learn the keys of what a queue holds from its messages, by read(log offset, size). Blocks."""
    index = queue.index
    for chunk in range(queue.cursor.floor // CHUNK_UNITS, -(-index.end // CHUNK_UNITS)):
        first = chunk * CHUNK_UNITS
        is_loaded = index.loaded(first)
        if not is_loaded:
            units = read_chunk(queue.id, chunk)
            if units is None:
                continue
            index.load(chunk, units)
        for offset in range(max(first, queue.cursor.floor), min(first + CHUNK_UNITS, index.end)):
            if not queue.cursor.is_done(offset) and index.find(offset) == FOUND:
                _read_key(queue, offset, read)
        if not is_loaded:
            index.unload(chunk)


def _read_key(queue: Any, offset: int, read: Callable[[int, int], bytes]) -> None:
    at, size = queue.index.log_offset, queue.index.size
    try:
        queue.keys.put(decode_message(read(at, size), 0, size, at), offset)
    except (LogCorrupt, OSError) as error:  # who comes to read the message itself will hear of it
        logger.warning("deduplication key cannot be read", extra={"queue": queue.name, "error": str(error)})
