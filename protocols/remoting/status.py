"""What a broker says of itself: its counters and its configuration, by RocketMQ's names.

Only what is counted here is there: our broker has no thread pools whose requests wait, so that their queues are empty,
and its index is never behind its log. Totals count from the start of the process. Source: RocketMQ's
AdminBrokerProcessor.getBrokerRuntimeInfo and getBrokerConfig, StoreStatsService, BrokerStats.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from protocols.remoting.codes import VERSION_NAME, Request

SAMPLE_SECONDS = 10
SPANS = (1, 6, 60)  # samples: 10 s, 60 s, 600 s
POOLS = ("send", "pull", "litePull", "query", "ack")
DAY_SECONDS = 86400


class Status:
    """show(), show_config(); start() once the broker serves. shown() = the configuration, by RocketMQ's keys."""

    def __init__(self, broker: Any, pulls: Any, shown: Callable[[], Mapping[str, object]]):
        self._broker = broker
        self._pulls = pulls
        self._shown = shown
        self._began_ms = broker.clock.ms
        self._samples: deque[tuple[int, int, int]] = deque([self._counts()], maxlen=SPANS[-1] + 1)
        self._day = broker.clock.day()
        self._mornings = [(0, 0), (0, 0)]  # what was put and got until yesterday's begin, and today's

    def start(self) -> None:
        """Take samples from now on."""
        self._broker.schedule.at(self._broker.clock.ms + SAMPLE_SECONDS * 1000, self._sample)

    def _counts(self) -> tuple[int, int, int]:
        return self._broker.clock.ms, self._broker.topics.messages, self._pulls.messages

    def _sample(self) -> None:
        now = self._counts()
        self._samples.append(now)
        day = self._broker.clock.day()
        if day != self._day:
            self._mornings = [self._mornings[1] if day == self._day + 1 else now[1:], now[1:]]
            self._day = day
        self.start()

    def _rates(self, which: int) -> str:
        """Per second, over the last 10, 60 and 600 s, or up to a sample more; as far as there are samples."""
        now = self._counts()
        rates = []
        for span in SPANS:
            then = self._samples[-min(span + 1, len(self._samples))]
            rates.append((now[which] - then[which]) * 1000 / max(1, now[0] - then[0]))
        return " ".join(map(str, rates))

    def table(self) -> dict[str, str]:
        """The counters."""
        log, keeper = self._broker.log, self._broker.retention.keeper
        now, puts, gets = self._counts()
        before, today = self._mornings
        found: dict[str, object] = {
            "bootTimestamp": self._began_ms,
            "runtime": _span_text((now - self._began_ms) // 1000),
            "brokerActive": "true",
            "brokerVersionDesc": VERSION_NAME,
            "putMessageTimesTotal": puts,
            "putTps": self._rates(1),
            "getTransferredTps": self._rates(2),
            "commitLogMinOffset": self._broker.retention.first,
            "commitLogMaxOffset": log.committed,
            "commitLogDiskRatio": keeper.used_ratio,
            "dispatchBehindBytes": 0,
            "pageCacheLockTimeMills": 0,
            "remainHowManyDataToFlush": f"{log.pending_bytes} B",
        }
        for name, position in (("Put", 0), ("Get", 1)):
            found[f"msg{name}TotalYesterdayMorning"] = before[position]
            found[f"msg{name}TotalTodayMorning"] = today[position]
            found[f"msg{name}TotalTodayNow"] = (puts, gets)[position]
        for pool in POOLS:
            found[f"{pool}ThreadPoolQueueSize"] = found[f"{pool}ThreadPoolQueueHeadWaitTimeMills"] = 0
        return {name: str(value) for name, value in found.items()}

    def show(self, connection: Any, frame: Any) -> None:
        """GET_BROKER_RUNTIME_INFO."""
        connection.respond(frame.opaque, 0, body=msgspec.json.encode({"table": self.table()}))

    def show_config(self, connection: Any, frame: Any) -> None:
        """GET_BROKER_CONFIG: `key=value` lines. It is not changed while it runs, so its version stays."""
        version = msgspec.json.encode({"counter": 0, "stateVersion": 0, "timestamp": self._began_ms})
        lines = "".join(f"{key}={_java(value)}\n" for key, value in sorted(self._shown().items()))
        connection.respond(frame.opaque, 0, fields=((b"version", version),), body=lines.encode())


def _java(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _span_text(seconds: int) -> str:
    days, rest = divmod(seconds, DAY_SECONDS)
    return f"[ {days} days, {rest // 3600} hours, {rest % 3600 // 60} minutes, {rest % 60} seconds ]"


def show(connection: Any, frame: Any) -> None:
    """GET_BROKER_RUNTIME_INFO."""
    connection.remoting.status.show(connection, frame)


def show_config(connection: Any, frame: Any) -> None:
    """GET_BROKER_CONFIG."""
    connection.remoting.status.show_config(connection, frame)


VERBS = {Request.GET_BROKER_RUNTIME_INFO: show, Request.GET_BROKER_CONFIG: show_config}
