"""Counters of what is gone or belongs to no queue: plain integers, read at scrape (gateway/metrics.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Metrics:
    """What deleted queues had counted, so that totals never go back, and events of the broker itself. loop_lag: see
    gateway/loop_lag.py; None = nobody looks."""

    delivered: int = 0
    acked: int = 0
    redelivered: int = 0
    expired: int = 0
    dropped: int = 0
    refused: int = 0
    lost: int = 0
    published: int = 0
    logins_refused: int = 0
    connections_opened: int = 0
    connections_closed: int = 0
    unexpected_errors: int = 0
    consumer_timeouts: int = 0
    cold_read_errors: int = 0
    tls_handshakes_failed: int = 0
    loop_lag: Any = None
    tls_certificate_expires: dict[str, float] = field(default_factory=dict)  # file -> Unix time, seconds

    def absorb(self, queue) -> None:
        """Take over a deleted queue's counts."""
        self.delivered += queue.delivered
        self.acked += queue.acked
        self.redelivered += queue.redelivered
        self.expired += queue.expired
        self.dropped += queue.dropped
        self.refused += queue.refused
        self.lost += queue.lost
        self.published += queue.published
