"""Direct reply-to: a requester without a queue of its own gets its replies by a token.

Behind each token is a transient queue that nothing but the router knows, of one consumer that needs no acks; it goes
with that consumer. So replies have the order, the turns and the bounds of any other delivery.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.log.tail import Tail
from core.queue.delivery import Queue
from core.state.model import VirtualHost
from core.turn import Turn

TOKEN_BYTES = 16  # of randomness: nobody guesses where another one's replies go


class Replies:
    """Makes and forgets the queues behind tokens. A token is made of `prefix` and random characters."""

    def __init__(self, turn: Turn, tail: Tail, random_bytes: Callable[[int], bytes]):
        self._turn = turn
        self._tail = tail
        self._random_bytes = random_bytes
        self._open: dict[tuple[str, str], Any] = {}  # (virtual host, token) -> queue

    def open(self, vhost: VirtualHost, prefix: str) -> Any:
        """A queue whose name is a new token, for one consumer."""
        token = prefix + self._random_bytes(TOKEN_BYTES).hex()
        queue: Any = Queue((0, vhost.name_bytes, token), False, self._turn, self._tail)
        self._open[vhost.name, token] = queue
        vhost.router.add_reply(token.encode(), queue)
        return queue

    def close(self, vhost: VirtualHost, queue: Any) -> None:
        """Its consumer is gone: replies to come are unroutable."""
        del self._open[vhost.name, queue.name]
        vhost.router.remove_reply(queue.name.encode())
        queue.discard()

    def knows(self, vhost: VirtualHost, token: str) -> bool:
        """Whether somebody waits for replies there."""
        return (vhost.name, token) in self._open
