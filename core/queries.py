"""Looking messages up: by a key that their publisher gave them, or by their place in the log, whatever became of them.

Found is what the log still has, and what a durable queue or a native topic took. A message that moved (a dead letter,
one whose delay is over) was stored anew, and is found each time; copies that retention made count once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from core.log.key_blocks import KeyBlocks
from core.log.key_blocks import Ports as KeyPorts
from core.log.key_search import ALWAYS, Candidate, Span
from core.log.keys import topic_key, topic_tag
from core.log.scans import Ports as ScanPorts
from core.log.view import View
from core.native import Native, property_of

RESULTS_MAX = 64
FETCHED_AT_ONCE = 32  # records; they may be large
ID_BYTES = 16

MessageKeys = tuple[Callable[[], Any], Callable[[Any], list[str]]]  # makes a KeyReader; the keys in a message's content


class Found(NamedTuple):
    """A message, and the id by which it is found again: RocketMQ's offsetMsgId, store host (none) and log offset. Of a
    native message: its record."""

    id: str
    message: Any


class Ports(NamedTuple):
    """What look-ups work with.

    log, first      CommitLog; where the log begins
    fetch(units, done)         Reader.fetch
    read(offset, size), submit(job, done)     bytes of one segment, which blocks; a reader thread for it
    find(key, done, span)      KeyBlocks.find
    noted                      a KeyTable of what is appended, or None
    keys_of(content)           the keys of a message, as text
    content(header block, unseen)   reads a message's header fields and properties
    """

    log: Any
    first: Callable[[], int]
    fetch: Callable[..., None]
    read: Callable[[int, int], bytes]
    submit: Callable[[Callable[[], Any], Callable[[Any], None]], None]
    find: Callable[..., None]
    noted: Any
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
    return blocks, Queries(Ports(log, first, fetch, read, submit, blocks.find, blocks.noted, keys_of, content))


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
        wanted = AmqpKey(vhost, key, self._ports)
        Lookup(self._ports, wanted, most, done).start(key.encode(), ALWAYS)

    def by_topic_key(
        self, wanted: NativeKey, span: Span, most: int, done: Callable[[list[Found] | Exception], None]
    ) -> None:
        """Messages of a native topic that have this key and were stored then, the newest first, at most so many."""
        Lookup(self._ports, wanted, most, done).start(wanted.noted_as(), span)

    def indexed(self, found: list[Found]) -> tuple[int, int]:
        """Where and when the newest native message was stored whose keys are known, as far as that is: before the first
        since the start, of the newest that was found; (0, 0) without one."""
        noted = self._ports.noted
        if noted is not None and noted.last_offset >= 0:
            return noted.last_offset, noted.last_ms
        message = native_in(found[0].message) if found else None
        return (0, 0) if message is None else (message.offset, message.store_ms)


class AmqpKey:
    """A key that AMQP messages of a virtual host may have. matches() is asked of candidates, the newest first."""

    def __init__(self, vhost: bytes, key: str, ports: Ports):
        self._vhost, self._key = vhost, key
        self._ports = ports

    def matches(self, message: Any) -> bool:
        """Whether it has the key."""
        if isinstance(message, bytes) or message.vhost != self._vhost:
            return False
        return self._key in self._ports.keys_of(self._ports.content(message.header, message.unseen))

    def once(self, found: list[tuple[Candidate, Any]]) -> list[tuple[Candidate, Any]]:
        """Of a message and its copies the first only."""
        seen, single = set(), []
        for candidate, message in reversed(found):
            body = b"".join(message.body) if isinstance(message.body, tuple) else message.body
            same = message.store_ms, message.exchange, message.routing_key, message.header, body
            if not candidate.copied or same not in seen:
                single.append((candidate, message))
            seen.add(same)
        return single[::-1]


class NativeKey(NamedTuple):
    """A key that native messages of a topic may have: their UNIQ_KEY, or a word of their KEYS; or `tags`: all that they
    have as TAGS."""

    topic: bytes
    key: bytes
    tags: bool = False

    def noted_as(self) -> bytes:
        """What the index knows them by."""
        return (topic_tag if self.tags else topic_key)(self.topic, self.key)

    def matches(self, record: Any) -> bool:
        """Whether the message in that record has the key."""
        message = native_in(record) if isinstance(record, bytes) else None
        if message is None or message.topic != self.topic:
            return False
        text = message.properties
        if self.tags:
            return property_of(text, b"TAGS") == self.key
        return property_of(text, b"UNIQ_KEY") == self.key or self.key in (property_of(text, b"KEYS") or b"").split(b" ")

    def once(self, found: list[tuple[Candidate, Any]]) -> list[tuple[Candidate, Any]]:
        """Native records are not copied."""
        return found


def native_in(record: bytes) -> Native | None:
    """The message of a whole native record; None: it is none."""
    view = View()
    if view.parse(record, 0, int.from_bytes(record[28:36], "big")) != len(record):
        return None
    message: Native = view.native()
    return message


class Lookup:
    """One query by key: candidates have its hash; those whose messages match count."""

    def __init__(self, ports: Ports, wanted: AmqpKey | NativeKey, most: int, done: Callable[[Any], None]):
        self._ports = ports
        self._wanted = wanted
        self._most = most
        self._done = done
        self._found: list[tuple[Candidate, Any]] = []
        self._candidates: list[Candidate] = []

    def start(self, key: bytes, span: Span) -> None:
        """Ask for the candidates."""
        self._ports.find(key, self._listed, span)

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
            self._done([Found(id_of(each.log_offset), message) for each, message in self._answer()])

    def _fetch(self, some: list[Candidate], then: Callable[[], None]) -> None:
        """Read them at once; if one cannot be read, one by one."""

        def fetched(result: Any) -> None:
            if not isinstance(result, Exception):
                matching = zip(some, result, strict=True)
                self._found += [(each, message) for each, message in matching if self._wanted.matches(message)]
                then()
            elif len(some) > 1:
                self._fetch(some[:1], partial(self._fetch, some[1:], then))
            else:
                then()

        self._ports.fetch([(each.log_offset, each.size) for each in some], fetched)

    def _answer(self) -> list[tuple[Candidate, Any]]:
        return self._wanted.once(self._found)[: self._most]
