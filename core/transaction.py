"""What one client publishes and settles, held until it says commit: then one batch of the log takes all of it.

Nothing of it is visible before, and a crash leaves all or nothing of what durable queues got and gave: its records are
joined in the log (CommitLog.join). A message's queues are those it was routed to when it was published, as in RabbitMQ,
unless its deduplication key has become known since; its time to live counts from the commit. What is held lies in
memory, hence the bound.
"""

from __future__ import annotations

from typing import Any, Protocol

import cython

from core.errors import LimitReached, PreconditionFailed

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.queue.delivery import Queue
    from cython.cimports.core.routing.router import Route
else:
    from core.message import Message
    from core.queue.delivery import Queue
    from core.routing.router import Route

MESSAGE_BYTES = cython.declare(cython.Py_ssize_t, 256)  # of memory, beside body and header block, about
SETTLED_BYTES = cython.declare(cython.Py_ssize_t, 128)  # what a delivery takes that is to be settled
REFUSED = cython.declare(cython.int, 3)  # of core.publish.Publisher.publish(), and the 0 and 4 below

Taken = list[tuple[int, Any, int, int]]  # delivery tag, consumer, queue offset, ms of the delivery


class Publisher(Protocol):
    """The channel's publishing side, as a commit calls it."""

    def remember(self, message: Message, histories: tuple[Any, ...]) -> None:
        """The message went through exchanges with these histories."""

    def give_back(self, message: Message) -> None:
        """A mandatory message entered no queue."""


@cython.final
@cython.cclass
class Transaction:
    """One channel's transaction. When it is committed or rolled back the next one begins in the same object.

    held_bytes  what it holds, at most bytes_max
    publishing  whether messages are held
    """

    def __init__(self, broker: Any, unacked: Any, vhost: Any, bytes_max: int):
        """unacked: the channel's core.consume.Unacked; vhost: its VirtualHost."""
        self._log = broker.log
        self._clock = broker.clock
        self._publish = broker.publisher.publish
        self._gather = broker.handover.gather
        self._unacked = unacked
        self._queues, self._router = vhost.queues, vhost.router
        self._content = broker.content
        self._bytes_max = bytes_max
        self._begin_anew()

    @property
    def publishing(self) -> bool:
        """See above."""
        return len(self._messages) > 0

    @cython.ccall
    def publish(self, message: Message, route: Route, mandatory: cython.bint):
        """Hold a message. Raises LimitReached."""
        message.store_ms = self._clock.ms
        self._messages.append(message)
        self._routes.append(route)
        self._mandatory.append(mandatory)
        self._hold(message.body_size + len(message.header) + MESSAGE_BYTES)

    def settle(self, taken: Taken, fate: int) -> None:
        """Hold what Unacked.take() gave, with its fate as settle_taken() has it. Raises LimitReached."""
        self._settled.append((taken, fate))
        self._hold(SETTLED_BYTES * len(taken))

    @cython.cfunc
    def _hold(self, size: cython.Py_ssize_t):
        self.held_bytes += size
        if self.held_bytes > self._bytes_max:
            raise LimitReached(
                f"transaction of {self.held_bytes} bytes is larger than the limit of {self._bytes_max} bytes"
            )

    def commit(self, publisher: Publisher) -> None:
        """Publish everything, then settle everything, in the order it came. The publisher is told of mandatory messages
        that enter no queue. Who wants to know when all of it is safe asks the log.

        Raises PreconditionFailed when a full queue refused a message: all else is done nevertheless, as in RabbitMQ."""
        messages: list = self._messages
        routes: list = self._routes
        mandatory: list = self._mandatory
        settled, held_bytes = self._settled, self.held_bytes
        self._begin_anew()
        refused = False
        self._log.join(held_bytes)
        try:
            at: cython.Py_ssize_t
            for at in range(len(messages)):
                message: Message = messages[at]
                route: Route = routes[at]
                if message.expire_at:
                    message.expire_at += self._clock.ms - message.store_ms
                if route.seen:
                    route = self._still_new(message, route)
                if route.histories is not None:
                    publisher.remember(message, route.histories)
                result: cython.int = self._publish(message, self._living(route))
                if (result == 0 or result == 4) and mandatory[at]:
                    publisher.give_back(message)
                refused = refused or result == REFUSED
            for taken, fate in settled:
                self._unacked.settle_taken(taken, fate)
        finally:
            self._log.end_joined(self._gather())
        if refused:
            raise PreconditionFailed("partial tx completion")

    def roll_back(self) -> None:
        """Forget the messages; what was to be settled is unacknowledged as before, and can be settled again."""
        settled = self._settled
        self._begin_anew()
        for taken, _ in settled:
            self._unacked.put_back(taken)

    @cython.cfunc
    def _begin_anew(self):
        self._messages, self._routes, self._mandatory, self._settled = [], [], [], []
        self.held_bytes = 0

    def _still_new(self, message: Message, route: Route) -> Route:
        """Where the message leads now, if another one brought its key meanwhile, in this transaction or elsewhere."""
        exchange = self._router.exchanges.get(message.exchange.decode())
        if exchange is None or not any([seen.repeats() for seen in route.seen]):
            return route
        content = self._content(message.header, message.unseen)
        keys = (message.routing_key, *content.copies())
        return self._router.route_all(exchange, keys, content.headers, content)

    @cython.cfunc
    def _living(self, route: Route) -> Route:
        """The route without queues that were deleted meanwhile; one of the same name takes its predecessor's place."""
        for item in route.queues:
            queue: Queue = item
            if queue.deleted:
                return self._without_deleted(route)
        return route

    def _without_deleted(self, route: Route) -> Route:
        named = [self._queues.get(queue.name) if queue.deleted else queue for queue in route.queues]
        queues = dict.fromkeys([queue for queue in named if queue is not None])
        return Route(tuple(queues), tuple([queue for queue in queues if queue.durable]))
