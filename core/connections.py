"""The connections that are open, counted by virtual host and by user, and how many there may be: RabbitMQ's limits."""

from __future__ import annotations

from collections import Counter
from typing import Any

from core.errors import NotAllowed


class Connections(set[Any]):
    """Open connections of every protocol; each has `vhost`, `user` and `channels`. A limit of -1 is none."""

    def __init__(self) -> None:
        super().__init__()
        self.in_vhost: Counter[str] = Counter()
        self.of_user: dict[str, set[Any]] = {}

    def add(self, connection: Any) -> None:
        """One is open."""
        super().add(connection)
        self.in_vhost[connection.vhost.name] += 1
        self.of_user.setdefault(connection.user.name, set()).add(connection)

    def discard(self, connection: Any) -> None:
        """One is open no more; one that was not is no error."""
        if connection not in self:
            return
        super().discard(connection)
        self.in_vhost[connection.vhost.name] -= 1
        if not self.in_vhost[connection.vhost.name]:
            del self.in_vhost[connection.vhost.name]
        others = self.of_user[connection.user.name]
        others.remove(connection)
        if not others:
            del self.of_user[connection.user.name]

    def check_vhost(self, vhost: Any, user: str) -> None:
        """Raises NotAllowed when the virtual host may have no more connections."""
        limit = vhost.max_connections
        if 0 <= limit <= self.in_vhost[vhost.name]:
            raise NotAllowed(
                f"access to vhost '{vhost.name}' refused for user '{user}': connection limit ({limit}) is reached"
            )

    def check_user(self, user: str, limit: int) -> None:
        """Raises NotAllowed when the user may have no more connections."""
        if 0 <= limit <= len(self.of_user.get(user, ())):
            raise NotAllowed(f"connection refused for user '{user}': user connection limit ({limit}) is reached")

    def check_channels(self, user: str, limit: int) -> None:
        """Raises NotAllowed when the user may have no more channels, over all connections."""
        if 0 <= limit <= sum(len(connection.channels) for connection in self.of_user.get(user, ())):
            raise NotAllowed(
                f"number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})"
            )
