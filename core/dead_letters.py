"""Dead letters: messages that a queue gives up go to its dead letter exchange, each moved by one record.

    bury(queue, offset, reason) ──► the queue's lane ──► in the turn: mark, route, Publisher.move() ──► buried

A letter is neither ready nor unacknowledged, and is not done before it is where it goes: a crash finds it in the one
queue or in the other. Those that are no longer in memory are read from the disk, in the order of their lane, while the
queue goes on. What the header block says is the protocol's (`codec`). No alarm blocks a dead letter.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from core.queue.index import CHUNK_UNITS, FOUND, NOT_LOADED
from core.queue.stock import REJECTED
from core.routing.router import Route
from core.turn import Servable

logger = logging.getLogger(__name__)

LETTER_COST = 8  # what one letter takes of a turn, in deliveries
AHEAD_LETTERS, AHEAD_BYTES = 256, 1 << 20  # what is read from the disk at once
CYCLE_QUEUE = "amq.dlq.cycle"


class Dead(Protocol):
    """A marked message: what goes to the exchange, its header fields, and the routing keys that it goes by."""

    message: Any
    headers: dict[str, Any]
    keys: list[bytes]


class DeathCodec(Protocol):
    """How a protocol marks a message that died. protocols.amqp.death is one."""

    def stamp(self, message: Any, queue: str, reason: str, seconds: int, *, exchange: str, key: bytes | None) -> Any:
        """A Dead: the message as it goes to `exchange`, by `key` or, None, by its own keys."""

    def is_cycle(self, headers: dict[str, Any], queue: str) -> bool:
        """Whether such a message was in `queue` before, and nobody rejected it since."""


class Ports(NamedTuple):
    """What dead letters work with. vhosts: name -> VirtualHost; cold: ColdReads; fetch: Reader.fetch;
    content(header block) reads it for the router; hold = Delays.hold; cycle_queue(vhost) gives the queue for messages
    that only go round, made when it is not there."""

    turn: Any
    vhosts: dict[str, Any]
    publisher: Any
    tail: Any
    cold: Any
    fetch: Callable[[Any, Callable[[Any], None]], None]
    content: Callable[[bytes], Any]
    hold: Callable[[Any, int, Any], Route]
    cycle_queue: Callable[[Any], Any]


class Lane:
    """One queue's letters, oldest first. ahead: offset -> message that was read from the disk; reading: is being."""

    __slots__ = ("queue", "letters", "ahead", "reading")

    def __init__(self, queue: Any):
        self.queue = queue
        self.letters: deque[tuple[int, str]] = deque()
        self.ahead: dict[int, Any] = {}
        self.reading = False


class DeadLetters(Servable):
    """Counters: moved by reason, cycles = those of them that went to the queue for cycles, failed = unreadable."""

    def __init__(self, ports: Ports, codec: DeathCodec):
        super().__init__()
        self._ports = ports
        self._codec = codec
        self._lanes: dict[Any, Lane] = {}
        self._open: deque[Lane] = deque()  # those that do not wait for the disk
        self._closed = False
        self.moved: Counter[str] = Counter()
        self.cycles = self.failed = 0

    def bury(self, queue: Any, offset: int, reason: str) -> None:
        """The message at `offset` is given up. It leaves in the turn to come; then queue.buried() is called."""
        lane = self._lanes.get(queue)
        if lane is None:
            lane = self._lanes[queue] = Lane(queue)
            self._open.append(lane)
        lane.letters.append((offset, reason))
        self._ports.turn.activate(self)

    def forget(self, queue: Any) -> None:
        """The queue was deleted, and its letters with it."""
        lane = self._lanes.pop(queue, None)
        if lane is not None:
            lane.letters.clear()

    def close(self) -> None:
        """The broker stops: what has not left stays where it is, and leaves when the broker starts anew."""
        self._closed = True

    def serve(self, budget: int) -> int:
        """See Servable: one lane after the other."""
        made = 0
        while self._open and made < budget and not self._closed:
            lane = self._open[0]
            if not lane.letters:
                self._open.popleft()
                if self._lanes.get(lane.queue) is lane:
                    del self._lanes[lane.queue]
                continue
            made += LETTER_COST
            offset, reason = lane.letters[0]
            message = lane.ahead.pop(offset, None) or lane.queue.message_at(offset)
            if message is None:
                self._open.popleft()
                lane.reading = True
                self._read(lane)
                continue
            lane.letters.popleft()
            self._move(lane.queue, offset, reason, message)
        return min(made, budget)

    # -- the way

    def _move(self, queue: Any, offset: int, reason: str, message: Any) -> None:
        """Mark it, find its queues, move it; when there is no such exchange it is gone, as in RabbitMQ."""
        ports = self._ports
        vhost = ports.vhosts[queue.vhost.decode()]
        target = queue.dead_letter  # None: a policy has gone meanwhile
        exchange = None if target is None else vhost.router.exchanges.get(target[0])
        if exchange is None:
            queue.settle(offset)
        else:
            name, key = target
            dead = self._codec.stamp(message, queue.name, reason, ports.turn.clock.ms // 1000, exchange=name, key=key)
            route = self._route(vhost, exchange, dead, reason)
            ports.publisher.move(dead.message, route, queue, offset)
        self.moved[reason] += 1
        queue.buried()

    def _route(self, vhost: Any, exchange: Any, dead: Dead, reason: str) -> Route:
        """The queues of all its keys, each once, but for those that it would only go round through."""
        content = self._ports.content(dead.message.header)
        if exchange.delayed and content.delay_ms():
            return self._ports.hold(dead.message, content.delay_ms(), vhost)
        routes = [vhost.router.route(exchange, key, content.headers, content) for key in dead.keys]
        queues = dict.fromkeys(queue for route in routes for queue in route.queues)
        going = [queue for queue in queues if reason == REJECTED or not self._codec.is_cycle(dead.headers, queue.name)]
        if queues and not going:
            self.cycles += 1
            going = [self._ports.cycle_queue(vhost)]
        elif len(going) == len(queues) and len(routes) == 1:
            return routes[0]
        return Route(tuple(going), tuple(queue for queue in going if queue.durable))

    # -- from the disk

    def _read(self, lane: Lane) -> None:
        """Fetch the first letter, and those behind it that are on the disk too."""
        index = lane.queue.index
        units: list[tuple[int, int]] = []
        offsets: list[int] = []
        size = 0
        for offset, _ in lane.letters:
            found = index.find(offset)
            if found == NOT_LOADED and not units:
                self._ports.cold.load(lane.queue, offset // CHUNK_UNITS, partial(self._go_on, lane))
                return
            if found != FOUND or size >= AHEAD_BYTES or len(units) == AHEAD_LETTERS:
                break
            if units and self._ports.tail.get(index.log_offset) is not None:
                break
            units.append((index.log_offset, index.size))
            offsets.append(offset)
            size += index.size
        assert units, f"letter {lane.letters[0]} of queue {lane.queue.name} lies nowhere"
        self._fetch(lane, units, offsets)

    def _fetch(self, lane: Lane, units: list[tuple[int, int]], offsets: list[int]) -> None:
        self._ports.fetch(units, partial(self._fetched, lane, units, offsets))

    def _fetched(self, lane: Lane, units: list[tuple[int, int]], offsets: list[int], result: Any) -> None:
        if self._closed:
            return
        if not isinstance(result, Exception):
            lane.ahead = dict(zip(offsets, result, strict=True))
        elif len(units) > 1 and lane.letters:  # it may be another that cannot be read
            self._fetch(lane, units[:1], offsets[:1])
            return
        elif lane.letters:
            self._give_up(lane, result)
        self._go_on(lane)

    def _give_up(self, lane: Lane, error: Exception) -> None:
        """It stays where it is, and comes back when the broker starts anew: only that is sure to lose nothing."""
        lane.letters.popleft()
        lane.queue.buried()
        self.failed += 1
        logger.error(
            "dead letter cannot be read",
            extra={"queue": lane.queue.name, "vhost": lane.queue.vhost.decode(), "error": str(error)},
        )

    def _go_on(self, lane: Lane) -> None:
        """What was asked for is in memory."""
        lane.reading = False
        self._open.append(lane)
        self._ports.turn.activate(self)
