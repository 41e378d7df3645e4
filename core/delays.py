"""Delayed messages: each waits in its virtual host's hidden queue, and is published when it is due.

    hold(message, delay) ──► the message is stored in the hidden queue, to its due time ──► one timer for the earliest
    ──► read from the tail or the disk ──► routed as it would be then ──► Publisher.move(): one record

What was due while the broker was down goes at start, in the order of the due times. No alarm holds it back, but
it waits while the disk is behind with what was released before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import nsmallest
from typing import Any, NamedTuple, Protocol

from core.message import Message
from core.routing.router import UNROUTABLE, Route
from core.state.delayed import DelayedQueue
from core.state.model import VirtualHost
from core.state.waking import Waking


class Content(Protocol):
    """A header block: see protocols.amqp.content."""

    def headers(self) -> dict[str, Any]:
        """The header fields, for routing."""

    def may_be_remembered(self) -> bool:
        """Whether exchanges with a history may keep the message."""

    def delay_ms(self) -> int:
        """How long the message is to wait, 0 = not at all."""

    def waiting_in(self, exchange: str) -> bytes:
        """What the message keeps unseen while it waits there, on its way."""

    def released(self) -> Released:
        """What the message becomes when its delay is over."""


class Released(Protocol):
    """content, its bytes, and what is unseen; exchange: where the way goes on, None = where it was published to; keys:
    routing keys beside the message's own; ttl_ms: how long it lives from now on, -1 = for ever."""

    content: Content
    header: bytes
    unseen: bytes
    exchange: str | None
    keys: tuple[bytes, ...]
    ttl_ms: int


class Ports(NamedTuple):
    """What delays work with.

    model, publisher, clock                   of the broker
    waking(release)                           gives a Waking
    content(header block, what is unseen)     gives a Content
    add_queue(vhost)                          declares the hidden queue
    """

    model: Any
    publisher: Any
    clock: Any
    waking: Callable[[Callable[[Any, int, Any], None]], Waking]
    content: Callable[[bytes, bytes], Any]
    add_queue: Callable[[VirtualHost], None]


class Waiting(NamedTuple):
    """A message that waits: its id within the virtual host, when it is due (ms since the epoch)."""

    id: int
    due_ms: int


class Delays:
    """fired: messages whose time came; unread: of them those that could not be read or released, and stay until the
    next start."""

    def __init__(self, ports: Ports):
        self._ports = ports
        self._routes: dict[DelayedQueue, Route] = {}
        self._waking = ports.waking(lambda queue, offset, message: self._release(queue, offset, message))
        self.fired = self.cancelled = 0

    @property
    def unread(self) -> int:
        """See above."""
        return self._waking.unread

    def hold(self, message: Message, delay_ms: int, vhost: VirtualHost) -> Route:
        """Where to publish the message so that it waits; it is given its due time. Made when first asked for."""
        message.expire_at = self._ports.clock.ms + delay_ms
        queue = vhost.delayed
        if queue is None:
            self._ports.add_queue(vhost)
            queue = vhost.delayed
        route = self._routes.get(queue)
        return self._adopt(queue) if route is None else route

    def on_the_way(self, message: Message, route: Route, vhost: VirtualHost) -> list[tuple[Message, Route]]:
        """One copy of the message for each exchange on its way that has it wait (Route.waits), and where to publish
        it: when it is due, it goes on from there."""
        content = self._ports.content(message.header, message.unseen)
        copies = []
        exchange: Any
        for exchange in route.waits:
            address = message.vhost, message.exchange, message.routing_key
            copy = Message(address, message.header, message.body, message.body_size, message.persistent)
            copy.unseen = content.waiting_in(exchange.name)
            copies.append((copy, self.hold(copy, content.delay_ms(), vhost)))
        return copies

    def restored(self, queue: DelayedQueue, read_chunk: Callable[[int, int], bytes | None]) -> None:
        """Recovery made this queue."""
        queue.fill(read_chunk)
        self._adopt(queue)
        self._waking.arm(queue)

    def _adopt(self, queue: DelayedQueue) -> Route:
        queue.waits = self._waking.arm
        route = self._routes[queue] = Route((queue,), (queue,))
        return route

    def forget(self, queue: DelayedQueue) -> None:
        """The queue was deleted."""
        self._routes.pop(queue, None)
        self._waking.forget(queue)

    def close(self) -> None:
        """Nothing is published any more."""
        self._waking.close()

    # -- what an operator asks

    def _queues(self, vhost: VirtualHost | None) -> Iterator[DelayedQueue]:
        for each in self._ports.model.vhosts.values() if vhost is None else (vhost,):
            if each.delayed is not None:
                yield each.delayed

    def count(self, vhost: VirtualHost | None = None) -> int:
        """How many messages wait, in one virtual host or in all."""
        return sum(queue.ready for queue in self._queues(vhost))

    def list(self, vhost: VirtualHost, limit: int = 100) -> Sequence[Waiting]:
        """The next ones that are due, earliest first."""
        queue = vhost.delayed
        if queue is None:
            return []
        pairs = (pair for pair in queue.due.pairs() if not queue.cursor.is_done(pair[1]))
        return [Waiting(offset, ms) for ms, offset in nsmallest(limit, pairs)]

    def cancel(self, vhost: VirtualHost, number: int) -> bool:
        """Drop a message that waits, by its id; False if there is none."""
        done = any(queue.cancel(number) for queue in self._queues(vhost))
        self.cancelled += done
        return done

    # -- when one is due

    def _release(self, queue: DelayedQueue, offset: int, message: Message) -> None:
        """Its time has come: publish what it becomes to where it leads now."""
        vhost = self._ports.model.vhosts.get(queue.vhost.decode())
        if queue.deleted or vhost is None or queue.cursor.is_done(offset):  # gone or cancelled meanwhile
            return
        content, header, unseen, name, keys, ttl_ms = self._ports.content(message.header, message.unseen).released()
        address = message.vhost, message.exchange, message.routing_key
        released = Message(address, header, message.body, message.body_size, message.persistent)
        released.unseen = unseen
        if ttl_ms >= 0:
            released.expire_at = self._ports.clock.ms + ttl_ms
        route = UNROUTABLE
        exchange = vhost.router.exchanges.get(message.exchange.decode() if name is None else name)
        if exchange is not None:
            key, router = message.routing_key, vhost.router
            if keys:
                route = router.route_all(exchange, (key, *keys), content.headers, content)
            else:
                route = router.route(exchange, key, content.headers, content)
        queue.ready -= 1
        self._ports.publisher.move(released, route, queue, offset)
        if route.histories is not None and content.may_be_remembered():
            for history in route.histories:
                history.remember(released)
        self.fired += 1
