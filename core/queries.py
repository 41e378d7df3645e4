"""Looking messages up: by a key that their publisher gave them, or by their place in the log, whatever became of them.

Found is what the log still has, and what a durable queue took. A message that moved (a dead letter, one whose delay is
over) was stored anew, and is found each time; copies that retention made count once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from core.log.key_blocks import Candidate, KeyBlocks
from core.log.key_blocks import Ports as KeyPorts
from core.log.scans import Ports as ScanPorts

RESULTS_MAX = 64
FETCHED_AT_ONCE = 32  # records; they may be large
ID_BYTES = 16

MessageKeys = tuple[Callable[[], Any], Callable[[Any], list[str]]]  # makes a KeyReader; the keys in a message's content


class Found(NamedTuple):
    """A message, and the id by which it is found again: RocketMQ's offsetMsgId, store host (none) and log offset."""

    id: str
    message: Any


class Ports(NamedTuple):
    """What look-ups work with.

    log, first      CommitLog; where the log begins
    fetch(units, done)         Reader.fetch
    read(offset, size), submit(job, done)     bytes of one segment, which blocks; a reader thread for it
    find(key, done)            KeyBlocks.find
    keys_of(content)           the keys of a message, as text
    content(header block, unseen)   reads a message's header fields and properties
    """

    log: Any
    first: Callable[[], int]
    fetch: Callable[..., None]
    read: Callable[[int, int], bytes]
    submit: Callable[[Callable[[], Any], Callable[[Any], None]], None]
    find: Callable[..., None]
    keys_of: Callable[[Any], list[str]]
    content: Callable[..., Any]


def make_queries(
    ports: ScanPorts, files: Any, fetch: Any, message_keys: MessageKeys, content: Any
) -> tuple[KeyBlocks, Queries]:
    """The key blocks and the broker's look-ups, on what scans of the log work with; files: a KeyFiles, or None."""
    make_reader, keys_of = message_keys
    log, first, read, submit = ports.log, ports.first, ports.read, ports.submit

    def later(ms: int, callback: Callable[[], None]) -> None:
        ports.at(ports.clock.ms + ms, callback)

    blocks = KeyBlocks(KeyPorts(log, first, read, submit, later, files), make_reader)
    return blocks, Queries(Ports(log, first, fetch, read, submit, blocks.find, keys_of, content))


def id_of(log_offset: int) -> str:
    """The id of the message whose record lies there."""
    return log_offset.to_bytes(ID_BYTES, "big").hex().upper()


class Queries:
    """The broker's look-ups. done() is called with a list of Found, or with an Exception: the log cannot be read."""

    def __init__(self, ports: Ports):
        self._ports = ports

    def by_id(self, text: str, done: Callable[[list[Found] | Exception], None]) -> None:
        """The message of that id, if there is one."""
        ports = self._ports
        try:
            offset = int.from_bytes(bytes.fromhex(text), "big") if len(text) == 2 * ID_BYTES else -1
        except ValueError:
            offset = -1
        if not ports.first() <= offset < ports.log.committed:
            ports.submit(list, done)
            return
        segment_left = ports.log.segment_bytes - offset % ports.log.segment_bytes

        def fetch(size: int | Exception) -> None:
            if isinstance(size, int) and 0 < size <= segment_left:
                ports.fetch([(offset, size)], fetched)
            else:
                done([])

        def fetched(result: Any) -> None:
            done([] if isinstance(result, Exception) else [Found(id_of(offset), result[0])])

        ports.submit(lambda: int.from_bytes(ports.read(offset, min(4, segment_left)), "big"), fetch)

    def by_key(
        self, vhost: bytes, key: str, done: Callable[[list[Found] | Exception], None], most: int = RESULTS_MAX
    ) -> None:
        """Messages of a virtual host that have this key, the newest first, at most so many."""
        Lookup(self._ports, vhost, key, most, done).start()


class Lookup:
    """One query by key: candidates have its hash; those whose messages have it count."""

    def __init__(self, ports: Ports, vhost: bytes, key: str, most: int, done: Callable[[Any], None]):
        self._ports = ports
        self._vhost, self._key = vhost, key
        self._most = most
        self._done = done
        self._found: list[tuple[Candidate, Any]] = []
        self._candidates: list[Candidate] = []

    def start(self) -> None:
        """Ask for the candidates."""
        self._ports.find(self._key.encode(), self._listed)

    def _listed(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._done(result)
            return
        self._candidates = result
        self._next()

    def _next(self) -> None:
        """Read some more, until there are none, or enough were found."""
        some, self._candidates = self._candidates[:FETCHED_AT_ONCE], self._candidates[FETCHED_AT_ONCE:]
        if some and len(self._found) < self._most:
            self._fetch(some, self._next)
        else:
            self._done(self._answer())

    def _fetch(self, some: list[Candidate], then: Callable[[], None]) -> None:
        """Read them at once; if one cannot be read, one by one."""

        def fetched(result: Any) -> None:
            if not isinstance(result, Exception):
                for candidate, message in zip(some, result, strict=True):
                    self._look(candidate, message)
                then()
            elif len(some) > 1:
                self._fetch(some[:1], partial(self._fetch, some[1:], then))
            else:
                then()

        self._ports.fetch([(each.log_offset, each.size) for each in some], fetched)

    def _look(self, candidate: Candidate, message: Any) -> None:
        content = self._ports.content(message.header, message.unseen)
        if message.vhost == self._vhost and self._key in self._ports.keys_of(content):
            self._found.append((candidate, message))

    def _answer(self) -> list[Found]:
        """What was found, but of a message and its copies the first only."""
        seen, found = set(), []
        for candidate, message in reversed(self._found):
            body = b"".join(message.body) if isinstance(message.body, tuple) else message.body
            same = message.store_ms, message.exchange, message.routing_key, message.header, body
            if not candidate.copied or same not in seen:
                found.append(Found(id_of(candidate.log_offset), message))
            seen.add(same)
        return found[::-1][: self._most]
