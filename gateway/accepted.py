"""A connection that a listener accepted: told its peer's address, and turned away when there are too many."""

from __future__ import annotations

from typing import Any

from gateway.connection import Connection
from gateway.listeners import local_address, peer_address, tune_socket


class Accepted(Connection):
    """`refused`: there are too many already. `output_bytes`: unsent, above which its peer is told to wait."""

    refused = False
    output_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """The socket is there."""
        if self.refused:
            transport.abort()
        tune_socket(transport)
        transport.set_write_buffer_limits(high=self.output_bytes)
        self.peer.peer_address = peer_address(transport)
        self.peer.local_address = local_address(transport)
        super().connection_made(transport)
