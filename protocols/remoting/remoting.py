"""What all native connections of one broker share: the table of verbs, the codec, and the members of its groups."""

from __future__ import annotations

from typing import Any

from protocols.remoting.frame import Frame
from protocols.remoting.frame_writer import FrameWriter
from protocols.remoting.locks import Locks
from protocols.remoting.members import Clients
from protocols.remoting.members import Ports as ClientPorts
from protocols.remoting.verbs import table

OPAQUE_MAX = 0x7FFFFFFF


class Remoting:
    """One per broker. One connection is served at a time, so one frame and one writer do for all.

    now()    monotonic seconds
    verbs    request code -> verb (verbs.py)
    clients  the members of all groups; locks = their leases of queues
    sends, pulls, topics, queues, sending_back, delivering, transactions, timers, status, statistics, consumption,
    resetting, configuring, lags, pops, pop_acks, pop_questions, pop_retries, assignments, replying    made by
    serving.py, once the broker has started
    """

    def __init__(self, broker: Any, verbs: dict[int, Any] | None = None):
        nothing: Any = None
        self.broker = broker
        self.now = broker.clock.monotonic
        self.verbs = table() if verbs is None else verbs
        self.frame = Frame()
        self.writer = FrameWriter()
        self.clients = Clients(ClientPorts(self.now, broker.schedule.at, lambda: broker.clock.ms))
        self.locks = Locks(self.now)
        self.sends = self.pulls = self.topics = self.queues = self.sending_back = self.delivering = nothing
        self.status = self.statistics = self.consumption = self.resetting = nothing
        self.configuring = self.lags = self.replying = nothing
        self.pops = self.pop_acks = self.pop_questions = self.pop_retries = self.assignments = nothing
        self.transactions = self.timers = nothing
        self._opaque = 0

    def next_opaque(self) -> int:
        """The number of a request of ours."""
        self._opaque = self._opaque + 1 if self._opaque < OPAQUE_MAX else 0
        return self._opaque
