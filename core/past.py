"""Reading again what a queue or an exchange received: the broker's part for it, whatever protocol asks.

A consumer is made for the replay that of_queue() or of_exchange() returns, as for a queue, and given to its begin().
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.errors import LimitReached, NotFound, PreconditionFailed
from core.log.scans import Ports as ScanPorts
from core.log.scans import Scans
from core.log.sieve import exchange_prefix
from core.queue.replays import Replays
from core.routing.exchange import DELAYED_TYPE
from core.state.exchange_past import ExchangePast, Filter
from core.state.log_past import Ports
from core.state.queue_past import FIRST, OFFSET, TIME, QueuePast


def make_past(
    ports: ScanPorts, turn: Any, tail: Any, fetch: Any, read_chunk: Any, *, content: Any, limits: Any
) -> Past:
    """The broker's part, on what scans of the log work with: the rest as queue_past.Ports and Past have it."""
    log, at, first, clock = ports.log, ports.at, ports.first, ports.clock
    scans = Scans(ports, limits.replay_bytes_per_second)
    replays = Replays(turn, log, scans, at)
    return Past(replays, Ports(log, tail, scans, fetch, read_chunk, at, first, clock), content, limits.replays)


class Past:
    """replays: those there are, at most `most`; content(header block, unseen) reads a message's header fields and other
    keys."""

    def __init__(self, replays: Replays, ports: Ports, content: Callable[..., Any], most: int):
        self.replays = replays
        self._ports = ports
        self._content = content
        self._most = most

    def of_queue(self, queue: Any, kind: str, value: int = 0) -> QueuePast:
        """What entered a queue: "first", "last" or "next" (what is to come), "offset" (value = the queue's offset,
        perhaps one to come) or "time" (value = ms since the epoch). At the end it goes on with what comes.

        Raises PreconditionFailed for a transient queue, LimitReached."""
        replay = QueuePast(self.replays, queue, self._ports)
        if not queue.durable:
            raise PreconditionFailed(f"{replay.title} is transient: nothing of its past is kept")
        self._open(replay)
        replay.place(kind, value)
        return replay

    def of_exchange(
        self,
        vhost: Any,
        name: str,
        kind: str = FIRST,
        value: int = 0,
        *,
        key: str | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> ExchangePast:
        """What was published to an exchange, from "first", an "offset" of the log or a "time" on, up to now; with a key
        or arguments what a binding with these would have got.

        Raises NotFound, PreconditionFailed for arguments that no binding could have, LimitReached."""
        exchange = vhost.router.exchanges.get(name)
        if exchange is None:
            raise NotFound(f"no exchange '{name}' in vhost '{vhost.name}'")
        wanted = None
        if key is not None or arguments is not None:
            routed_as = exchange.arguments[DELAYED_TYPE] if exchange.delayed else exchange.kind
            wanted = Filter(routed_as, key or "", arguments or {}, self._content)
        replay = ExchangePast(self.replays, vhost, name, wanted, self._ports)
        self._open(replay)
        if kind == OFFSET:
            replay.place_at(value)
        elif kind == TIME:
            replay.place_since(exchange_prefix(vhost.name_bytes, name.encode()), value)
        else:
            assert kind == FIRST
        return replay

    def _open(self, replay: Any) -> None:
        if len(self.replays.open) >= self._most:
            raise LimitReached(f"number of replays has reached the limit ({self._most})")
        self.replays.open[replay] = None

    def forget(self, queue: Any) -> None:
        """The queue was deleted: who reads its past is told."""
        for replay in list(self.replays.open):
            if getattr(replay, "queue", None) is queue:
                replay.end()
