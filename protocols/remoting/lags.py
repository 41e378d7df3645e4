"""How far each group is behind in each topic, by count and by time: looked at every 10 s while somebody asks.

By time is how long the next message that the group has to consume has been there, as rocketmq-exporter has it (its
MetricsCollectTask.collectConsumerOffset). When it was stored is read once for each message that is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from protocols.remoting.gathering import Gathering, Step, store_ms

PERIOD_MS = 10_000
SHARE = 20  # the time between two looks is so many times what the last one took, at least
ASKED_MS = 300_000  # who asks once is taken to ask again within this time
Queue = tuple[str, bytes, int]  # group, topic, queue id


class Lag(NamedTuple):
    """Of a group in a topic. behind, offset: messages that it has still to consume, and has consumed, of all queues;
    oldest_ms: when the first of those that it has to was stored, 0 = there is none."""

    behind: int = 0
    offset: int = 0
    oldest_ms: int = 0


class Lags:
    """ask() for what the last look found: (group, topic) -> Lag. `clients` = the members of all groups."""

    def __init__(self, broker: Any, clients: Any):
        self._broker = broker
        self._clients = clients
        self._found: dict[tuple[str, bytes], Lag] = {}
        self._stored: dict[Queue, tuple[int, int]] = {}  # -> an offset, and when its message was stored
        self._asked_until = 0
        self._looking = False

    def ask(self) -> dict[tuple[str, bytes], Lag]:
        """Who asks after a while is told what is in memory; what has to be read is there when they ask again."""
        now = self._broker.clock.ms
        self._asked_until = now + ASKED_MS
        if not self._looking:
            self._look()
        return self._found

    def _look(self) -> None:
        clock = self._broker.clock
        began = clock.tick()
        self._looking = began < self._asked_until
        if not self._looking:
            self._found, self._stored = {}, {}
            return
        found: dict[tuple[str, bytes], Lag] = {}
        stored: dict[Queue, tuple[int, int]] = {}

        def ended() -> None:
            self._found, self._stored = found, stored
            took = clock.tick() - began
            self._broker.schedule.at(clock.ms + max(PERIOD_MS, SHARE * took), self._look)

        Gathering(self._broker, self._steps(found, stored), ended).start()

    def _steps(self, found: dict[tuple[str, bytes], Lag], stored: dict[Queue, tuple[int, int]]) -> Iterator[Step]:
        groups, topics = self._broker.groups, self._broker.topics
        for group in [fact.name for fact in groups.all()]:
            members = self._clients.consumers(group.encode())
            for name, offsets in groups.offsets_of(group.encode()).items():
                topic = topics.find(name.encode())
                if topic is None or (members and members.subscriptions and name.encode() not in members.subscriptions):
                    continue
                found[group, name.encode()] = Lag()
                for queue_id in range(topic.config.read_queues):
                    queue = topic.queues.made.get(queue_id)
                    if queue is not None:
                        yield self._step(
                            (group, name.encode(), queue_id), queue, offsets.get(queue_id, 0), (found, stored)
                        )

    def _step(self, key: Queue, queue: Any, mine: int, into: Any) -> Step:
        """Add one queue to what is found."""
        found, stored = into
        behind = max(0, queue.max_offset - mine)

        def add(ms: int) -> None:
            lag = found[key[:2]]
            oldest = min(filter(None, (lag.oldest_ms, ms)), default=0)
            found[key[:2]] = Lag(lag.behind + behind, lag.offset + mine, oldest)
            if ms:
                stored[key] = first, ms

        first = max(mine, queue.min_offset)
        known = self._stored.get(key)
        if behind and (known is None or known[0] != first):
            return store_ms(queue, first, add)

        def step(done: Any) -> None:
            add(known[1] if behind and known else 0)
            done()

        return step
