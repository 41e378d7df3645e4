"""Dead letters: messages that a queue gives up go to its dead letter exchange, each moved by one record.

    bury(queue, offset, reason) ──► the queue's lane ──► in the turn: mark, route, Publisher.move() ──► buried

A letter is neither ready nor unacknowledged, and is not done before it is where it goes: a crash finds it in the one
queue or in the other. Those that are no longer in memory are read from the disk, in the order of their lane, while the
queue goes on. What the header block says is the protocol's (`codec`). No alarm blocks a dead letter.
"""

from __future__ import annotations

import logging
from array import array
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import cython

from core.queue.bounded import MAXLEN
from core.queue.index import FOUND, NOT_LOADED
from core.queue.stock import REJECTED
from core.turn import Servable

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.delivery import Queue
    from cython.cimports.core.routing.exchange import Exchange
    from cython.cimports.core.routing.router import Route
    from cython.cimports.core.turn import Servable
else:
    from core.message import Message
    from core.queue.delivery import Queue
    from core.routing.exchange import Exchange
    from core.routing.router import Route
    from core.turn import Servable

logger = logging.getLogger(__name__)

LETTER_COST = cython.declare(cython.int, 2)  # what one letter takes of a turn, in deliveries
AHEAD_LETTERS, AHEAD_BYTES = 256, 1 << 20  # what is read from the disk at once
RING_MIN = 16
CYCLE_QUEUE = "amq.dlq.cycle"


@cython.final
@cython.freelist(8)
@cython.cclass
class Dead:
    """A marked message: what goes to the exchange, the routing keys that it goes by, and the names of the queues that
    it passed, this one first, since somebody rejected it last."""


@cython.cfunc
def new_dead(message: Message, keys: tuple, passed: tuple) -> Dead:
    """A Dead, made without the cost of a Python call."""
    dead: Dead = Dead.__new__(Dead)
    dead.message = message
    dead.keys = keys
    dead.passed = passed
    return dead


class DeathCodec(Protocol):
    """How a protocol marks a message that died. protocols.amqp.death.Deaths is one."""

    def stamp(self, message: Any, queue: str, reason: str, seconds: int, target: tuple[str, bytes | None]) -> Dead:
        """The message as it goes to target = (exchange, routing key or, None, by its own keys)."""


class Ports(NamedTuple):
    """What dead letters work with. vhosts: name -> VirtualHost; cold: ColdReads; fetch: Reader.fetch;
    content(header block) reads it for the router; hold, on_the_way: of Delays; cycle_queue(vhost) gives the queue for
    messages that only go round, made when it is not there."""

    turn: Any
    vhosts: dict[str, Any]
    publisher: Any
    tail: Any
    cold: Any
    fetch: Callable[[Any, Callable[[Any], None]], None]
    content: Callable[[bytes], Any]
    hold: Callable[[Any, int, Any], Route]
    on_the_way: Callable[[Any, Route, Any], list[tuple[Any, Route]]]
    cycle_queue: Callable[[Any], Any]


@cython.final
@cython.cclass
class Lane:
    """One queue's letters, oldest first, `count` of them, in a ring: offset << 3 | place of its reason in `reasons`.

    ahead: offset -> message that was read from the disk; reading: is being.
    """

    def __init__(self, queue: Queue, vhost: object):
        self.queue = queue
        self.vhost = vhost
        self.router = vhost.router
        self.reasons = []
        self._ring = array("q", bytes(8 * RING_MIN))
        self._mask = RING_MIN - 1
        self._head = self.count = 0
        self.ahead = {}
        self.reading = False

    @cython.cfunc
    def put(self, offset: cython.longlong, reason: str):
        """One more."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        if self.count > self._mask:
            self._grow()
        self._ring[(self._head + self.count) & self._mask] = offset << 3 | self.reasons.index(reason)
        self.count += 1

    @cython.cfunc
    def _grow(self):
        """The ring is full: double it."""
        ring: cython.longlong[::1] = array("q", bytes(16 * self.count))
        at: cython.Py_ssize_t
        for at in range(self.count):
            ring[at] = self._ring[(self._head + at) & self._mask]
        self._ring = ring
        self._mask = self._mask * 2 + 1
        self._head = 0

    @cython.cfunc
    @cython.exceptval(-1)
    def offset(self, at: cython.Py_ssize_t) -> cython.longlong:
        """The offset of the letter with so many in front of it."""
        return self._ring[(self._head + at) & self._mask] >> 3

    @cython.cfunc
    def pop(self) -> str:
        """Take out the first and return its reason."""
        reason: str = self.reasons[self._ring[self._head] & 7]
        self._head = (self._head + 1) & self._mask
        self.count -= 1
        return reason


@cython.cclass
class DeadLetters(Servable):
    """Counters: moved by reason, cycles = those of them that went to the queue for cycles, failed = unreadable."""

    def __init__(self, ports: Ports, codec: DeathCodec):
        Servable.__init__(self)
        self._ports = ports
        self._turn = ports.turn
        self._stamp = codec.stamp
        self._publish = ports.publisher.move
        self._lanes = {}  # queue -> Lane
        self._open = deque()  # those that do not wait for the disk
        self._closed = False
        self._refused = deque()  # bury_refused()'s arguments, in their order
        self._sending = False
        self.moved = {}
        self.cycles = self.failed = 0

    @cython.ccall
    def bury(self, queue: Queue, offset: cython.longlong, reason: str):
        """The message at `offset` is given up. It leaves in the turn to come; then queue.buried() is called."""
        lane: Lane = self._lanes.get(queue)
        if lane is None:
            lane = self._lanes[queue] = Lane(queue, self._ports.vhosts[queue.vhost.decode()])
            self._open.append(lane)
        lane.put(offset, reason)
        self._turn.activate(self)

    @cython.ccall
    def bury_refused(self, queue: Queue, message: Message):
        """A full queue did not take the message: it goes now, so that nothing has to be kept of it. A letter that is
        refused in its turn follows, one after the other."""
        self._refused.append((queue, message))
        if self._sending:
            return
        self._sending = True
        try:
            while self._refused:
                queue, message = self._refused.popleft()
                lane = self._lanes.get(queue) or Lane(queue, self._ports.vhosts[queue.vhost.decode()])
                self._send(lane, MAXLEN, message, None, -1)
                self._count(MAXLEN)
        finally:
            self._sending = False

    def forget(self, queue: Queue) -> None:
        """The queue was deleted, and its letters with it."""
        lane: Lane = self._lanes.pop(queue, None)
        if lane is not None:
            lane.count = 0

    def close(self) -> None:
        """The broker stops: what has not left stays where it is, and leaves when the broker starts anew."""
        self._closed = True

    @cython.ccall
    @cython.exceptval(-1)
    def serve(self, budget: cython.int) -> cython.int:
        """See Servable: one lane after the other."""
        made: cython.int = 0
        while self._open and made < budget and not self._closed:
            lane: Lane = self._open[0]
            while lane.count and not lane.reading and made < budget:
                made += LETTER_COST
                self._serve_first(lane)
            if lane.reading:
                self._open.popleft()
            elif not lane.count:
                self._open.popleft()
                if self._lanes.get(lane.queue) is lane:
                    del self._lanes[lane.queue]
        return min(made, budget)

    @cython.cfunc
    def _serve_first(self, lane: Lane):
        """Move the first letter, or ask for it: it lies on the disk."""
        offset: cython.longlong = lane.offset(0)
        message: Message = lane.ahead.pop(offset, None) if lane.ahead else None
        if message is None:
            message = lane.queue.message_at(offset)
        if message is None:
            lane.reading = True
            self._read(lane)
        else:
            self._move(lane, offset, lane.pop(), message)

    # -- the way

    @cython.ccall
    def _move(self, lane: Lane, offset: cython.longlong, reason: str, message: Message):
        """A letter leaves its queue; when there is no such exchange it is gone, as in RabbitMQ."""
        queue: Queue = lane.queue
        if not self._send(lane, reason, message, queue, offset):
            queue.settle(offset)
        self._count(reason)
        queue.buried()

    @cython.cfunc
    def _count(self, reason: str):
        self.moved[reason] = self.moved.get(reason, 0) + 1

    @cython.cfunc
    @cython.exceptval(-1)
    def _send(
        self, lane: Lane, reason: str, message: Message, source: Queue | None, offset: cython.longlong
    ) -> cython.bint:
        """Mark it, find its queues, move it from where it lies: source None = from nowhere. False: no such exchange."""
        target: tuple = lane.queue.dead_letter  # None: a policy has gone meanwhile
        exchange: Exchange = None if target is None else lane.router.exchanges.get(target[0])
        if exchange is None:
            return False
        dead: Dead = self._stamp(message, lane.queue.name, reason, self._turn.clock.ms // 1000, target)
        route: Route = self._route(lane, exchange, dead, reason == REJECTED)
        if route.waits:
            self._send_delayed(lane, dead.message, route, source, offset)
        else:
            self._publish(dead.message, route, source, offset)
        if route.histories is not None and self._ports.content(dead.message.header).may_be_remembered():
            for history in route.histories:
                history.remember(dead.message)
        return True

    def _send_delayed(self, lane: Lane, message: Message, route: Route, source: Queue | None, offset: int) -> None:
        """_send() to exchanges that have it wait, and to queues that take it at once: all of it or nothing."""
        going = self._ports.on_the_way(message, route, lane.vhost)
        if route.queues or route.once:
            going.append((message, route))
        self._ports.publisher.move_all(going, source, offset)

    @cython.cfunc
    def _route(self, lane: Lane, exchange: Exchange, dead: Dead, rejected: cython.bint) -> Route:
        """The queues of all its keys, each once, but for those that it would only go round through."""
        route: Route = None
        if len(dead.keys) == 1 and not lane.router.delaying:
            route = lane.router.known(exchange, dead.keys[0])
        if route is None:
            return self._among(lane, exchange, dead, rejected)
        if not rejected:
            for item in route.queues:
                queue: Queue = item
                if queue.name in dead.passed:
                    return self._among(lane, exchange, dead, rejected)
        return route

    @cython.cfunc
    def _among(self, lane: Lane, exchange: Exchange, dead: Dead, rejected: cython.bint) -> Route:
        """_route() when the key alone does not tell it."""
        content = self._ports.content(dead.message.header)
        if exchange.delayed and content.delay_ms():
            return self._ports.hold(dead.message, content.delay_ms(), lane.vhost)
        if lane.router.delaying and content.delay_ms():
            route: Route = lane.router.route_delayed(exchange, dead.keys, content.headers, content)
        elif len(dead.keys) == 1:
            route = lane.router.route(exchange, dead.keys[0], content.headers, content)
        else:
            route = lane.router.route_all(exchange, dead.keys, content.headers, content)
        going = [queue for queue in route.queues if rejected or queue.name not in dead.passed]
        if len(going) == len(route.queues):
            return route
        if not going and not route.waits:
            self.cycles += 1
            going = [self._ports.cycle_queue(lane.vhost)]
        durable = tuple([queue for queue in going if queue.durable])
        fewer: Route = Route(tuple(going), durable, route.histories, route.seen, route.doubled)
        fewer.waits = route.waits
        return fewer

    # -- from the disk

    def _read(self, lane: Lane) -> None:
        """Fetch the first letter, and those behind it that are on the disk too."""
        if not lane.queue.durable:
            self._ports.cold.bring(lane.queue, lane.offset(0), partial(self._brought, lane))
            return
        index = lane.queue.index
        units: list[tuple[int, int]] = []
        offsets: list[int] = []
        size = 0
        for at in range(lane.count):
            offset = lane.offset(at)
            found = index.find(offset)
            if found == NOT_LOADED and not units:
                self._ports.cold.bring(lane.queue, offset, partial(self._chunk_came, lane))
                return
            if found != FOUND or size >= AHEAD_BYTES or len(units) == AHEAD_LETTERS:
                break
            if units and self._ports.tail.get(index.log_offset) is not None:
                break
            units.append((index.log_offset, index.size))
            offsets.append(offset)
            size += index.size
        assert units, f"letter {lane.offset(0)} of queue {lane.queue.name} lies nowhere"
        self._fetch(lane, units, offsets)

    def _chunk_came(self, lane: Lane) -> None:
        """The chunk of the first letter is in memory, or its queue has stopped since it cannot be read."""
        queue = lane.queue
        if queue.stopped and lane.count and queue.index.find(lane.offset(0)) == NOT_LOADED:
            self._give_up(lane, LookupError("its chunk of the index cannot be read"))
        self._go_on(lane)

    def _brought(self, lane: Lane) -> None:
        """A transient queue's letter is in memory, or lost. It is taken at once: it need not stay there."""
        queue, offset = lane.queue, lane.offset(0) if lane.count else -1
        if offset >= 0 and queue.held.is_lost(offset):
            self._give_up(lane, LookupError("spill/ did not give it back"))
            queue.settle(offset)
        elif offset >= 0:
            lane.ahead = {offset: queue.message_at(offset)}
        self._go_on(lane)

    def _fetch(self, lane: Lane, units: list[tuple[int, int]], offsets: list[int]) -> None:
        self._ports.fetch(units, partial(self._fetched, lane, units, offsets))

    def _fetched(self, lane: Lane, units: list[tuple[int, int]], offsets: list[int], result: Any) -> None:
        if self._closed:
            return
        if not isinstance(result, Exception):
            lane.ahead = dict(zip(offsets, result, strict=True))
        elif len(units) > 1 and lane.count:  # it may be another that cannot be read
            self._fetch(lane, units[:1], offsets[:1])
            return
        elif lane.count:
            self._give_up(lane, result)
        self._go_on(lane)

    def _give_up(self, lane: Lane, error: Exception) -> None:
        """It stays where it is, and comes back when the broker starts anew: only that is sure to lose nothing. A
        transient queue's is lost."""
        lane.pop()
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
        self._turn.activate(self)
