"""A new binding from an exchange with a history: what it remembers goes to where the binding leads."""

from __future__ import annotations

from typing import Any

from core.routing.history import History
from core.routing.router import Route
from core.state.model import VirtualHost


class Histories:
    """content(header block) reads a message's fields: see Broker. Called by Exchanges for each such binding."""

    def __init__(self, publisher: Any, clock: Any, content: Any):
        self._publisher = publisher
        self._clock = clock
        self._content = content

    def __call__(self, vhost: VirtualHost, history: History, destination: Any) -> None:
        """Publish the remembered messages, oldest first, to a queue, or into an exchange by their own keys."""
        router = vhost.router
        is_exchange = router.exchanges.get(destination.name) is destination
        only = None if is_exchange else Route((destination,), (destination,) if destination.durable else ())
        for message in history.replay(self._clock.tick()):
            route = only
            if route is None:
                content = self._content(message.header)
                route = router.route(destination, message.routing_key, content.headers, content)
            self._publisher.publish(message, route)
