"""From an exchange and a key to the queues: the graph of exchanges of one virtual host, and a cache of what it said.

Each exchange on the way is asked once, so cycles end, and each queue is named once: nearer exchanges first, then in the
order of the bindings. An exchange in which the message finds no binding hands it to its alternate; one whose binding
leads to an exchange that knows no queue does not: it has routed, and the other one's alternate decides, as in RabbitMQ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import cython

from core.errors import AccessRefused
from core.routing.exchange import Binding, comparable, comparable_fields
from core.routing.once import Seen, key_in, ttl_in

if cython.compiled:
    from cython.cimports.core.routing.exchange import Exchange
else:
    from core.routing.exchange import Exchange

ROUTES_MAX = 16_384  # cached in one router, of keys of up to 255 bytes: some megabytes


@cython.final
@cython.cclass
class Route:
    """queues: all that take the message, each once; durable: those of them whose `durable` is true; histories: of the
    exchanges on the way, those that remember it, or None. Never changed.

    seen      what it brings to the caches of deduplicating exchanges on the way; doubled: one of them knew it
    once      whether any of that is so, or a queue may hold the message already: whoever publishes looks
    waits     the exchanges on the way that have a delayed message wait, route_delayed()'s only: see Delays.on_the_way()
    """

    def __init__(
        self, queues: tuple, durable: tuple, histories: tuple | None = None, seen: tuple = (), doubled: bool = False
    ):
        self.queues = queues
        self.durable = durable
        self.histories = histories
        self.seen = seen
        self.waits = ()
        self.doubled = doubled
        self.once = doubled or bool(seen) or any([getattr(queue, "keys", None) is not None for queue in queues])

    def only(self, queues: tuple) -> Route:
        """To these of its queues, with nothing left to look at."""
        route: Route = Route((), ())
        route.queues = queues
        route.durable = tuple([queue for queue in queues if queue.durable])
        return route


UNROUTABLE = Route((), ())


class Removed(NamedTuple):
    """What a removal took along: the bindings, and the auto-delete exchanges that lost their last one as source, which
    the caller is to remove in turn."""

    bindings: list[Binding]
    unused: list[Any]  # of Exchange


@cython.final
@cython.cclass
class Router:
    """The exchanges, bindings and queue names of one virtual host. Queues are any objects with a bool `durable`.

    version    grows with every change that may alter a route: who remembers a Route compares it
    exchanges  name -> Exchange; default: the one named "", in which every queue is bound by its name, implicitly
    cached     how many routes are remembered, at most ROUTES_MAX
    delaying   how many exchanges have delayed messages wait
    """

    def __init__(self):
        self.version = 0
        self.default = Exchange("", "direct", durable=True)
        self.exchanges = {"": self.default}
        self.cached = self.delaying = 0
        self._queues = {}  # name as a routing key -> queue
        self._names = {}  # queue -> the same bytes
        self._bindings_to = {}  # queue or Exchange -> {Binding: None}
        self._caching = []  # the exchanges that hold cached routes

    def add_exchange(self, exchange: Exchange) -> None:
        """Make the exchange known. Its name must be free."""
        assert exchange.name not in self.exchanges
        self.exchanges[exchange.name] = exchange
        self.delaying += exchange.delayed
        self._changed()

    def remove_exchange(self, exchange: Exchange) -> Removed:
        """Forget the exchange and every binding from or to it."""
        assert exchange is not self.default and self.exchanges.get(exchange.name) is exchange
        del self.exchanges[exchange.name]
        self.delaying -= exchange.delayed
        return self._remove(dict.fromkeys([*exchange.bindings(), *self.bindings_to(exchange)]))

    def add_queue(self, queue: Any, name: str) -> None:
        """Make the queue known to the default exchange. Its name must be free."""
        routing_key = name.encode("utf-8", "surrogateescape")
        assert routing_key not in self._queues and queue not in self._names
        self._queues[routing_key] = queue
        self._names[queue] = routing_key
        self._changed()

    def remove_queue(self, queue: Any) -> Removed:
        """Forget the queue and every binding to it. Costs what it has, not what others have."""
        del self._queues[self._names.pop(queue)]
        return self._remove(self.bindings_to(queue))

    def add_reply(self, token: bytes, queue: Any) -> None:
        """Let the default exchange route a token, which nobody had a route for, to `queue`."""
        assert token not in self._queues
        self._queues[token] = queue

    def remove_reply(self, token: bytes) -> None:
        """Undo add_reply(). Costs nobody a route but those who used it."""
        del self._queues[token]
        if self.default.routes.pop(token, None) is not None:
            self.cached -= 1
        self.version += 1

    def bind(self, exchange: Exchange, destination: Any, key: str, arguments: dict) -> bool:
        """Bind a queue or exchange to `exchange`; False if the same binding is there. The dict must not change later.
        Raises AccessRefused for the default exchange, PreconditionFailed for arguments that are not valid."""
        self._refuse_default(exchange, destination)
        binding = Binding(exchange, destination, key, arguments)
        if not exchange.add(binding):
            return False
        self._bindings_to.setdefault(destination, {})[binding] = None
        self._changed()
        return True

    def unbind(self, exchange: Exchange, destination: Any, key: str, arguments: dict) -> Removed:
        """Undo bind(); a binding that is not there is no error. Raises AccessRefused for the default exchange."""
        self._refuse_default(exchange, destination)
        binding = exchange.find(destination, key, arguments)
        return Removed([], []) if binding is None else self._remove([binding])

    def bindings_to(self, destination: Any) -> list[Binding]:
        """The bindings that lead to a queue or exchange, in the order they came; the implicit one is not among them."""
        return list(self._bindings_to.get(destination, ()))

    @cython.cfunc
    def known(self, exchange: Exchange, key: bytes) -> Route:
        """What route() would return without asking for headers or content, or None when it is not remembered."""
        route: Route = exchange.keyless_route
        return exchange.routes.get(key) if route is None else route

    @cython.ccall
    def route(self, exchange: Exchange, key: bytes, headers: object, content: object = None) -> Route:
        """The queues for a message published to `exchange` with `key`.

        headers() gives its header fields as a dict and is called at most once, and only if an exchange is met that
        looks at them; None stands for no fields. content.property_of(name) gives a property of the message or None.
        A known key costs one dict lookup, and none if no exchange on the way looks at it.
        """
        route: Route = self.known(exchange, key)
        return self._walk(exchange, (key,), headers, content, False) if route is None else route

    def route_all(self, exchange: Exchange, keys: tuple, headers: object, content: object = None) -> Route:
        """route() for a message with several keys (AMQP: CC and BCC): any of them matches, and where one value decides
        (an exchange that hashes) it is the first. Nothing of it is remembered."""
        return self._walk(exchange, keys, headers, content, False)

    def route_delayed(self, exchange: Exchange, keys: tuple, headers: object, content: object) -> Route:
        """route_all() for a message with a delay: those exchanges that have it wait lead nowhere yet (Route.waits)."""
        return self._walk(exchange, keys, headers, content, True)

    @cython.cfunc
    def _walk(self, start: Exchange, keys: tuple, headers: object, content: object, delayed: cython.bint) -> Route:
        """Ask the graph, and remember the answer if only the key decided it."""
        source: Exchange
        queues: dict = {}
        histories: list = []
        seen: list = []
        waits: list = []
        doubled: cython.bint = False
        by_key: cython.bint = False
        repeats: cython.bint = True  # the same key finds the same queues again
        fields: dict = None
        work: list = [start]
        reached: set = {start}
        for source in work:  # grows as we go
            if delayed and source.delayed:
                waits.append(source)
                continue
            by_key = by_key or source.by_key
            if source.by_headers and fields is None:
                fields = {} if headers is None else comparable_fields(headers())
            if source.by_headers or source.by_chance or source.by_property is not None:
                repeats = False
            if source.history is not None:
                histories.append(source.history)
            if source.by_property is None:
                found = self._destinations(source, keys, fields)
            else:
                value = None if content is None else content.property_of(source.by_property)
                found = self._destinations(source, keys, {source.by_property: comparable(value)})
            if source.cache is not None and (met := key_in(fields)) is not None:
                if source.cache.knows(met):
                    doubled = True
                else:
                    seen.append(Seen(source.cache, met, ttl_in(fields)))
            for destination in found:
                if not isinstance(destination, Exchange):
                    queues[destination] = None
                elif destination not in reached:
                    reached.add(destination)
                    work.append(destination)
        route: Route = _new_route(queues, tuple(histories) if histories else None, tuple(seen), doubled)
        if waits:
            route = Route(route.queues, route.durable, route.histories, route.seen, doubled)
            route.waits = tuple(waits)
        elif delayed:
            return route
        elif repeats and len(keys) == 1:
            self._keep(start, keys[0] if by_key else None, route)
        return route

    def _destinations(self, source: Exchange, keys: tuple, fields: dict | None) -> list[Any]:
        """What this one exchange leads to, or else its alternate."""
        if source is self.default:
            return [self._queues[key] for key in keys if key in self._queues]
        asked = keys if source.any_key else keys[:1]
        found = [binding.destination for key in asked for binding in source.matches(key, fields)]
        if not found and source.alternate in self.exchanges:
            found.append(self.exchanges[source.alternate])
        return found

    @cython.cfunc
    def _keep(self, exchange: Exchange, key: bytes | None, route: Route):
        """Remember the route of a key, or of all keys if it is None."""
        if self.cached >= ROUTES_MAX:
            self._forget()
        if not exchange.routes and exchange.keyless_route is None:
            self._caching.append(exchange)
        if key is None:
            exchange.keyless_route = route
        else:
            exchange.routes[key] = route
        self.cached += 1

    @cython.cfunc
    def _forget(self):
        """Drop every cached route; each was paid for by the walk that made it."""
        exchange: Exchange
        for exchange in self._caching:
            exchange.routes = {}
            exchange.keyless_route = None
        self._caching = []
        self.cached = 0

    def touch(self) -> None:
        """Have everybody who remembers a route ask again: permissions changed."""
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._forget()

    def _remove(self, bindings: Iterable[Binding]) -> Removed:
        """Take the bindings out of both tables, and find the exchanges that nothing is bound to any more."""
        sources = {}
        removed = list(bindings)
        for binding in removed:
            binding.source.remove(binding)
            sources[binding.source] = None
            others = self._bindings_to[binding.destination]
            del others[binding]
            if not others:
                del self._bindings_to[binding.destination]
        self._changed()
        unused = [
            source
            for source in sources
            if source.auto_delete and not source.is_used and self.exchanges.get(source.name) is source
        ]
        return Removed(removed, unused)

    def _refuse_default(self, exchange: Exchange, destination: Any) -> None:
        if exchange is self.default or destination is self.default:
            raise AccessRefused("operation not permitted on the default exchange")


def _new_route(queues: dict, histories: tuple | None, seen: tuple, doubled: bool) -> Route:
    """The Route of these queues, in their order."""
    if not queues and histories is None and not seen and not doubled:
        return UNROUTABLE
    durable = tuple([queue for queue in queues if queue.durable])
    everything = durable if len(durable) == len(queues) else tuple(queues)
    return Route(everything, durable, histories, seen, doubled)
