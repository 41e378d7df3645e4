"""The past of an exchange: what was published to it, from a place in the log or a time on, for one consumer.

Every record says to which exchange and with which key its message was published, so nothing has to be declared before.
Found is what a durable queue took, in the order of publishing, each message once, while the segment lasts in which it
was stored first. It ends where the log ended when it began.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import cython

from core.log.scans import Scan
from core.log.sieve import PLACE_FIELDS, Sieve, exchange_prefix
from core.routing.exchange import ANY_KEY, Binding, comparable_fields
from core.routing.exchange import Exchange as ExchangeTable
from core.state.log_past import Ports

if cython.compiled:
    from cython.cimports.core.log.view import View
    from cython.cimports.core.message import Message
    from cython.cimports.core.state.log_past import LogPast
else:
    from core.log.view import View
    from core.message import Message
    from core.state.log_past import LogPast

logger = logging.getLogger(__name__)

LOOKED_AT_ONCE = cython.declare(cython.int, 256)  # messages of the exchange that the filter may refuse, in one turn


class Filter:
    """What a binding to the exchange would get: matches() as when a message is published. `kind` is what the exchange
    routes as; all messages are wanted of one that routes neither by keys nor by header fields."""

    def __init__(self, kind: str, key: str, arguments: dict, content: Callable[..., Any]):
        self._table: Any = None
        self._content = content
        if kind in (*ANY_KEY, "headers"):
            self._table = ExchangeTable("", kind)
            self._table.add(Binding(self._table, None, key, arguments))

    def matches(self, message: Message) -> bool:
        """Whether one of the message's keys, or its header fields, match."""
        if self._table is None:
            return True
        content = self._content(message.header, message.unseen)
        if self._table.by_headers:
            return bool(self._table.matches(message.routing_key, comparable_fields(content.headers())))
        if self._table.matches(message.routing_key, None):
            return True
        return any(self._table.matches(key, None) for key in content.copies())


@cython.final
@cython.cclass
class ExchangePast(LogPast):
    """deliver() gets log offsets. At the end its consumer's nothing() is called, and `ended` is true."""

    def __init__(self, replays: Any, vhost: Any, exchange: str, wanted: Filter | None, ports: Ports):
        LogPast.__init__(self, replays, f"exchange '{exchange}' in vhost '{vhost.name}'", ports)
        self._vhost = vhost
        self._filter = wanted
        prefix = exchange_prefix(vhost.name_bytes, exchange.encode())
        self._limit = ports.log.appended
        self.scan = Scan(self, Sieve(0, prefix), ports.first(), self._limit)
        self._from_offset = 0
        self.ended = False
        self._view = View()

    def place_at(self, offset: int) -> None:
        """Begin with the first message whose record lies at that log offset or behind it."""
        segment_bytes = self._ports.log.segment_bytes
        self._from_offset = offset
        self.scan.at = max(self.scan.at, offset - offset % segment_bytes)  # only there a record begins for certain

    def place_since(self, prefix: bytes, ms: int) -> None:
        """Begin with the first message that was stored at `ms` or later."""
        self.scan.sieve = Sieve(0, prefix, ms)
        self._seek(ms)

    @cython.ccall
    def message(self) -> Message:
        """See Replay.message."""
        looked: cython.int = 0
        while self._found is not None and self._at < len(self._found.found):
            if looked == LOOKED_AT_ONCE:
                self.more = True
                return None
            log_offset: cython.longlong = self._found.found[self._at]
            self._at += PLACE_FIELDS
            looked += 1
            message: Message = self._wanted(log_offset) if log_offset >= self._from_offset else None
            if message is not None:
                self.offset = log_offset
                return message
        self._found = None
        if self.scan.at < self._limit:
            self._ask()
        else:
            self.ended = True
            self.close()
            self.consumer.nothing()
        return None

    @cython.cfunc
    def _wanted(self, log_offset: cython.longlong) -> Message:
        """The message at that place in the block, or None: it is not wanted, or damaged."""
        view: View = self._view
        if view.parse(self._found.block, log_offset - self._found.start, log_offset) <= 0:
            self._ports.scans.unreadable += 1
            extra = {"reader": self.title, "log_offset": log_offset}
            logger.error("replay leaves out a message: it cannot be read", extra=extra)
            return None
        if self._vhost.delayed is not None and view.places()[0] == self._vhost.delayed.id:
            return None  # it waited there, and was published when its time came
        message: Message = view.message()
        if self._filter is not None and not self._filter.matches(message):
            return None
        return message
