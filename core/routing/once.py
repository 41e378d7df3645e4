"""Messages that are taken only once: the exchange type x-message-deduplication and the queue argument of that name, by
the header x-deduplication-header, as RabbitMQ's plugin of noxdafox has them.

An exchange remembers the last `x-cache-size` keys that went through it, each for `x-cache-ttl` ms; a queue knows the
keys of what it holds. A key is 16 bytes, a digest of the header's value and its type: 1 is not "1".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import cython

from core.routing.choosing import digest_of

if cython.compiled:
    from cython.cimports.core.clock import Clock
    from cython.cimports.core.message import Message
else:
    from core.clock import Clock
    from core.message import Message

KEY_HEADER, TTL_HEADER = "x-deduplication-header", "x-cache-ttl"
CACHE_SIZE, CACHE_TTL, CACHE_PERSISTENCE = "x-cache-size", "x-cache-ttl", "x-cache-persistence"
CACHE_KEYS = {CACHE_SIZE, CACHE_TTL, CACHE_PERSISTENCE}
MEMORY, DISK = "memory", "disk"
CACHE_SIZE_MAX = 10_000_000  # keys, of about 250 bytes of memory each
NEVER = 0


def key_in(fields: dict) -> bytes | None:
    """The key of a message with these comparable header fields, or None: it has none."""
    return digest_of(fields[KEY_HEADER]) if KEY_HEADER in fields else None


def ttl_in(fields: dict) -> int | None:
    """For how long (ms) the message's key is to be remembered, or None: as long as the exchange says."""
    kind, value = fields.get(TTL_HEADER, ("", None))
    return value if kind == "int" else None


class Entry(NamedTuple):
    """A key on its way into the log: which of its cache's it is, where it stands, when it is forgotten (epoch ms)."""

    place: int
    number: int
    key: bytes
    expires: int


class Cache:
    """The keys that went through one exchange, oldest first; the oldest goes when there are too many.

    clock     is its owner's to set, before anybody asks
    keep      keeps an Entry over a restart; its owner's to set, None = the exchange itself is not kept
    """

    def __init__(self, arguments: dict):
        self._arguments = arguments
        self.clock: Clock | None = None
        self.keep: Callable[[Entry], None] | None = None
        self._expiries: OrderedDict[bytes, int] = OrderedDict()
        self._number = 0  # of the next key
        self.configure({})

    def configure(self, definition: Mapping[str, Any]) -> None:
        """Take on what a policy says of the arguments, which it has precedence over, as in the plugin. After a size has
        grown, keys that are kept leave the log up to one round early: their places are those of the size."""
        wanted = {**self._arguments, **definition}
        self.size = int(wanted[CACHE_SIZE])
        self.ttl_ms = int(wanted.get(CACHE_TTL, NEVER))
        self.persistent = wanted.get(CACHE_PERSISTENCE) == DISK
        while len(self._expiries) > self.size:
            self._expiries.popitem(last=False)

    @property
    def store(self) -> Callable[[Entry], None] | None:
        """What keeps an Entry over a restart, None = nothing does."""
        return self.keep if self.persistent else None

    def __len__(self) -> int:
        return len(self._expiries)

    def knows(self, key: bytes) -> bool:
        """Whether the key went through, not too long ago."""
        expires = self._expiries.get(key, -1)
        return expires == NEVER or expires > self.clock.ms

    def remember(self, key: bytes, ttl_ms: int | None) -> None:
        """The key goes through; ttl_ms: its own, None = as the exchange says."""
        if ttl_ms is None and self.ttl_ms == NEVER:
            expires = NEVER
        else:
            expires = max(1, self.clock.ms + (self.ttl_ms if ttl_ms is None else ttl_ms))
        self._put(key, expires)
        store = self.store
        if store is not None:
            store(Entry(self._number % self.size, self._number, key, expires))
        self._number += 1

    def _put(self, key: bytes, expires: int) -> None:
        self._expiries.pop(key, None)
        self._expiries[key] = expires
        if len(self._expiries) > self.size:
            self._expiries.popitem(last=False)

    def restore(self, kept: Iterable[tuple[int, bytes, int]]) -> None:
        """After a restart: (number, key, ms when it is forgotten) of what store() was told."""
        for number, key, expires in sorted(kept):
            self._put(key, expires)
            self._number = number + 1


class Seen(NamedTuple):
    """A key that a message brings to a cache on its way, and its own ttl (ms) or None."""

    cache: Cache
    key: bytes
    ttl_ms: int | None

    def repeats(self) -> bool:
        """Whether another message brought the key since the way was found (in a transaction)."""
        return self.cache.knows(self.key)


@cython.final
@cython.cclass
class Keys:
    """The keys of what one queue holds, ready or unacknowledged. key_of(header block) gives a message's, or None."""

    def __init__(self, key_of: Callable[[bytes], Any]):
        self._key_of = key_of
        self._offsets = {}
        self._keys = {}
        self._asked = None
        self._answer = None

    @cython.cfunc
    def _key(self, message: Message) -> object:
        if self._asked is not message:
            self._answer = self._key_of(message.header) if message.header else None
            self._asked = message
        return self._answer

    @cython.ccall
    @cython.exceptval(-1)
    def knows(self, message: Message) -> cython.bint:
        """Whether the queue holds a message of the same key."""
        key = self._key(message)
        return key is not None and key in self._offsets

    @cython.ccall
    def put(self, message: Message, offset: cython.longlong):
        """The message entered at that offset."""
        key = self._key(message)
        self._asked = self._answer = None
        if key is not None:
            self._offsets[key] = offset
            self._keys[offset] = key

    @cython.ccall
    def forget(self, offset: cython.longlong):
        """What lies there is settled, or on its way out."""
        key = self._keys.pop(offset, None)
        if key is not None and self._offsets.get(key) == offset:
            del self._offsets[key]

    def clear(self) -> None:
        """Everything went."""
        self._offsets.clear()
        self._keys.clear()

    def sift(self, cursor: Any) -> None:
        """Forget what is done."""
        for offset in [offset for offset in self._keys if cursor.is_done(offset)]:
            self.forget(offset)
