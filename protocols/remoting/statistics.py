"""Statistics by topic, group and broker, over the last minute, hour and day. Source: RocketMQ's BrokerStatsManager,
StatsItem and AdminBrokerProcessor.ViewBrokerStatsData.

What passes is counted where it passes (core/queue/traffic.py). Here the counters are looked at every 10 s, and the
samples that StatsItem would keep are kept of those that have ever counted anything. A message that comes in a batch
counts as one put of its own, so that AVGPT of what is put is 1.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from core.queue.traffic import Traffic
from protocols.remoting import names
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.fields import as_text

SAMPLE_MS = 10_000
SAMPLED_AT_ONCE = 2000  # counters in one turn of the loop


class Window(NamedTuple):
    """every = samples of SAMPLE_MS; kept = how many at most."""

    every: int
    kept: int


MINUTE, HOUR, DAY = Window(1, 7), Window(60, 7), Window(360, 25)
WINDOWS = (MINUTE, HOUR, DAY)
MESSAGES, BYTES, TIMES, MS, SENT_BACK = range(5)  # of Traffic.counts()
COUNTERS = 5
BY_TOPIC = {"TOPIC_PUT_NUMS": (MESSAGES, MESSAGES), "TOPIC_PUT_SIZE": (BYTES, MESSAGES)}  # name -> value, times
BY_GROUP = {
    "GROUP_GET_NUMS": (MESSAGES, TIMES),
    "GROUP_GET_SIZE": (BYTES, TIMES),
    "GROUP_GET_LATENCY": (MS, TIMES),
    "SNDBCK_PUT_NUMS": (SENT_BACK, SENT_BACK),
}
BY_BROKER = ("BROKER_PUT_NUMS", "BROKER_GET_NUMS")
WITHOUT_SYSTEM = "_WITHOUT_SYSTEM_TOPIC"


class Rate(NamedTuple):
    """What came in a window: sum, per second, and per time that something came."""

    sum: int = 0
    tps: float = 0.0
    avgpt: float = 0.0


class History:
    """Samples of one Traffic: rows of COUNTERS numbers for each window, the newest last."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = tuple(array("q") for _ in WINDOWS)

    def take(self, counts: tuple[int, ...], number: int) -> None:
        """A sample for the window of that number. Before its first there was nothing."""
        rows = self.rows[number]
        if not rows:
            rows.extend([0] * COUNTERS)
        rows.extend(counts)
        if len(rows) > WINDOWS[number].kept * COUNTERS:
            del rows[:COUNTERS]


class Statistics:
    """start() once the broker serves. `cluster` is the key of what is counted of the broker as a whole."""

    def __init__(self, broker: Any, pulls: Any, cluster: str):
        self._broker = broker
        self._pulls = pulls
        self._cluster = cluster
        self._whole = {name + rest: Traffic() for name in BY_BROKER for rest in ("", WITHOUT_SYSTEM)}
        self._samples = 0
        self._taken = [deque([broker.clock.ms], maxlen=window.kept) for window in WINDOWS]

    def start(self) -> None:
        """Take samples from now on."""
        self._broker.schedule.at(self._broker.clock.ms + SAMPLE_MS, self._sample)

    def _sample(self) -> None:
        self._samples += 1
        due = [number for number, window in enumerate(WINDOWS) if self._samples % window.every == 0]
        for number in due:
            self._taken[number].append(self._broker.clock.ms)
        self._count_whole()
        self._go_on(due, self._all())
        self.start()

    def _count_whole(self) -> None:
        """The broker's own, out of what others count."""
        topics = self._broker.topics
        system = [topic for topic in topics.all() if names.is_system_topic(topic.config.name)]
        puts, gets = topics.messages, self._pulls.messages
        system_puts = sum(topic.traffic.messages for topic in system)
        system_gets = sum(each.messages for topic in system for each in topic.readers.values())
        counts = puts, puts - system_puts, gets, gets - system_gets
        for traffic, count in zip(self._whole.values(), counts, strict=True):
            traffic.messages = count

    def _all(self) -> Iterator[Traffic]:
        yield from self._whole.values()
        for topic in self._broker.topics.all():
            yield topic.traffic
            yield from list(topic.readers.values())

    def _go_on(self, due: list[int], left: Iterator[Traffic]) -> None:
        taken = 0
        for traffic in islice(left, SAMPLED_AT_ONCE):
            taken += 1
            counts = traffic.counts()
            if any(counts):
                if traffic.history is None:
                    traffic.history = History()
                for number in due:
                    traffic.history.take(counts, number)
        if taken == SAMPLED_AT_ONCE:
            self._broker.schedule.at(self._broker.clock.ms, partial(self._go_on, due, left))

    # -- asking

    def rate(self, traffic: Traffic, counters: tuple[int, int | None], window: Window = MINUTE) -> Rate:
        """Of one Traffic. counters: of its counts(), what is summed, and how often it came; None = nobody knows."""
        number = WINDOWS.index(window)
        rows = traffic.history.rows[number] if traffic.history is not None else ()
        if not rows:
            return Rate()
        taken = self._taken[number]
        value, times = counters
        came = rows[len(rows) - COUNTERS + value] - rows[value]
        often = 0 if times is None else rows[len(rows) - COUNTERS + times] - rows[times]
        span_ms = max(1, taken[-1] - taken[-(len(rows) // COUNTERS)])
        return Rate(came, came * 1000 / span_ms, came / often if often else 0.0)

    def whole(self, name: str) -> Rate:
        """One of BY_BROKER, over the last minute."""
        return self.rate(self._whole[name], (MESSAGES, None))

    def put_tps(self, topic: Any) -> float:
        """Messages put into a topic per second, over the last minute."""
        return self.rate(topic.traffic, BY_TOPIC["TOPIC_PUT_NUMS"]).tps

    def get_tps(self, topic: Any, group: bytes) -> float:
        """Messages of a topic that the group was given per second, over the last minute."""
        reader = topic.readers.get(group)
        return self.rate(reader, BY_GROUP["GROUP_GET_NUMS"]).tps if reader else 0.0

    def _find(self, name: str, key: bytes) -> tuple[Traffic | None, tuple[int, int | None]]:
        """What is asked for, and which of its counters."""
        if name in BY_TOPIC:
            topic = self._broker.topics.find(key)
            return topic and topic.traffic, BY_TOPIC[name]
        if name in BY_GROUP:
            topic_name, _, group = key.partition(b"@")
            topic = self._broker.topics.find(topic_name)
            return topic and topic.readers.get(group), BY_GROUP[name]
        if name in self._whole and key == self._cluster.encode():
            self._count_whole()
            return self._whole[name], (MESSAGES, None)
        return None, (MESSAGES, None)

    def view(self, connection: Any, frame: Any) -> None:
        """VIEW_BROKER_STATS_DATA. What has never counted anything is not there, as in RocketMQ."""
        name, key = frame.text(b"statsName"), frame.text(b"statsKey")
        traffic, counters = self._find(as_text(name), key)
        if traffic is None or not traffic.counts()[counters[0] if counters[1] is None else counters[1]]:
            remark = f"The stats <{as_text(name)}> <{as_text(key)}> not exist"
            raise Refused(Response.SYSTEM_ERROR, remark)
        said = zip(("statsMinute", "statsHour", "statsDay"), WINDOWS, strict=True)
        body = {label: self.rate(traffic, counters, window)._asdict() for label, window in said}
        connection.respond(frame.opaque, Response.SUCCESS, None, (), msgspec.json.encode(body))


def view(connection: Any, frame: Any) -> None:
    """VIEW_BROKER_STATS_DATA."""
    connection.remoting.statistics.view(connection, frame)


VERBS = {Request.VIEW_BROKER_STATS_DATA: view}
