"""What a broker says of itself: its counters, by RocketMQ's names. All of them are there: what reads them gives up
where one is missing.

Totals count from the start of the process. Of what RocketMQ has and we do not, the figures are nothing: there are no
thread pools whose requests wait, no index that is behind its log, no pool of memory outside the heap. A put is a copy
into the batch that fills, and never takes as much as a millisecond. Source: RocketMQ's
AdminBrokerProcessor.prepareRuntimeInfo, StoreStatsService, DefaultMessageStore.getRuntimeInfo, BrokerStats.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from core.log.keeping import STORE_MS_END, stored_ms
from core.native import LEVELS_SECONDS, SCHEDULE_TOPIC
from protocols.remoting.codes import VERSION, VERSION_NAME, Request
from protocols.remoting.delivering import GROUP as DELIVERING

SAMPLE_SECONDS = 10
SPANS = (1, 6, 60)  # samples: 10 s, 60 s, 600 s
POOLS = ("send", "pull", "litePull", "query", "ack")
DAY_SECONDS = 86400
KIB = 1024
NO_POOL = (1 << 31) - 1  # how much is free of a pool that there is not
LATENCIES = (
    *("[<=0ms]", "[0~10ms]", "[10~50ms]", "[50~100ms]", "[100~200ms]", "[200~500ms]", "[500ms~1s]", "[1~2s]"),
    *("[2~3s]", "[3~4s]", "[4~5s]", "[5~10s]", "[10s~]"),
)
TIMERS = {"ReadBehind": "0", "OffsetBehind": "0", "CongestNum": "0", "EnqueueTps": "0.0", "DequeueTps": "0.0"}


class Counts(NamedTuple):
    """At a time: messages put, and given; pulls that found some, and that came when there was nothing."""

    ms: int
    puts: int
    gets: int
    found: int
    missed: int


class Status:
    """show(); start() once the broker serves. folder = where the log lies."""

    def __init__(self, broker: Any, pulls: Any, folder: str):
        self._broker = broker
        self._pulls = pulls
        self._folder = folder
        self._began_ms = broker.clock.ms
        self._samples: deque[Counts] = deque([self._counts()], maxlen=SPANS[-1] + 1)
        self._day = broker.clock.day()
        self._mornings = [(0, 0), (0, 0)]  # what was put and got until yesterday's begin, and today's
        self._earliest = (-1, 0)  # where the log began when it was asked for, and when its first record was stored

    def start(self) -> None:
        """Take samples from now on."""
        self._look_at_the_first()
        self._broker.schedule.at(self._broker.clock.ms + SAMPLE_SECONDS * 1000, self._sample)

    def _counts(self) -> Counts:
        pulls = self._pulls
        return Counts(self._broker.clock.ms, self._broker.topics.messages, pulls.messages, pulls.found, pulls.missed)

    def _sample(self) -> None:
        now = self._counts()
        self._samples.append(now)
        day = self._broker.clock.day()
        if day != self._day:
            morning = now.puts, now.gets
            self._mornings = [self._mornings[1] if day == self._day + 1 else morning, morning]
            self._day = day
        self.start()

    def _look_at_the_first(self) -> None:
        """When the log's first record was stored."""
        first = self._broker.retention.first
        if first != self._earliest[0] or not self._earliest[1]:

            def read(data: Any) -> None:
                self._earliest = first, 0 if isinstance(data, Exception) else stored_ms(data, first)

            if first + STORE_MS_END <= self._broker.log.committed:
                self._broker.log.engine.read(first, STORE_MS_END, read)

    def _rates(self, *which: str) -> str:
        """Per second, over the last 10, 60 and 600 s, or up to a sample more; as far as there are samples."""
        now = self._counts()
        rates = []
        for span in SPANS:
            then = self._samples[-min(span + 1, len(self._samples))]
            came = sum(getattr(now, name) - getattr(then, name) for name in which)
            rates.append(came * 1000 / max(1, now.ms - then.ms))
        return " ".join(map(str, rates))

    def table(self) -> dict[str, str]:
        """The counters."""
        found = self._puts_and_gets() | self._of_the_log() | self._of_pools()
        found |= {
            "bootTimestamp": self._began_ms,
            "runtime": _span_text((self._broker.clock.ms - self._began_ms) // 1000),
            "brokerActive": "true",
            "brokerVersion": VERSION,
            "brokerVersionDesc": VERSION_NAME,
            "startAcceptSendRequestTimeStamp": 0,
        }
        found |= {f"timer{name}": value for name, value in TIMERS.items()}
        found.update(self._delayed())
        return {name: str(value) for name, value in found.items()}

    def _puts_and_gets(self) -> dict[str, object]:
        now = self._counts()
        size = self._broker.topics.stored_bytes
        found: dict[str, object] = {
            "putMessageTimesTotal": now.puts,
            "putMessageFailedTimes": 0,
            "putMessageSizeTotal": size,
            "putMessageAverageSize": size / max(1, now.puts),
            "putMessageEntireTimeMax": 0,
            "putMessageDistributeTime": " ".join(f"{name}:{now.puts * (not at)}" for at, name in enumerate(LATENCIES)),
            "putLatency99": "0.00",
            "putLatency999": "0.00",
            "getMessageEntireTimeMax": self._pulls.longest_ms,
            "putTps": self._rates("puts"),
            "getFoundTps": self._rates("found"),
            "getMissTps": self._rates("missed"),
            "getTotalTps": self._rates("found", "missed"),
            "getTransferredTps": self._rates("gets"),
        }
        before, today = self._mornings
        for position, name in enumerate(("Put", "Get")):
            found[f"msg{name}TotalYesterdayMorning"] = before[position]
            found[f"msg{name}TotalTodayMorning"] = today[position]
            found[f"msg{name}TotalTodayNow"] = now[position + 1]
        return found

    def _of_the_log(self) -> dict[str, object]:
        log, keeper = self._broker.log, self._broker.retention.keeper
        ratio = keeper.used_ratio
        return {
            "commitLogMinOffset": self._broker.retention.first,
            "commitLogMaxOffset": log.committed,
            "commitLogDiskRatio": ratio,
            f"commitLogDiskRatio_{self._folder}": ratio,
            "consumeQueueDiskRatio": ratio,
            "commitLogDirCapacity": f"Total : {size_text(keeper.total)}, Free : {size_text(keeper.free)}.",
            "earliestMessageTimeStamp": self._earliest[1] or self._broker.clock.ms,
            "dispatchBehindBytes": 0,
            "dispatchMaxBuffer": 0,
            "pageCacheLockTimeMills": 0,
            "remainHowManyDataToFlush": size_text(log.pending_bytes),
            "remainTransientStoreBufferNumbs": NO_POOL,
        }

    def _of_pools(self) -> dict[str, object]:
        found: dict[str, object] = {"EndTransactionQueueSize": 0, "EndTransactionThreadPoolQueueCapacity": 0}
        for pool in POOLS:
            names = ("QueueSize", "QueueCapacity", "QueueHeadWaitTimeMills")
            found |= dict.fromkeys([f"{pool}ThreadPool{name}" for name in names], 0)
        return found

    def _delayed(self) -> Iterator[tuple[str, str]]:
        """How far each delay level is, of those that are in use."""
        topic = self._broker.topics.find(SCHEDULE_TOPIC)
        for level in range(len(LEVELS_SECONDS)) if topic else ():
            done = self._broker.groups.offset(DELIVERING, SCHEDULE_TOPIC, level)
            if done >= 0:
                yield f"scheduleMessageOffset_{level + 1}", f"{done},{topic.queues[level].max_offset}"

    def show(self, connection: Any, frame: Any) -> None:
        """GET_BROKER_RUNTIME_INFO."""
        connection.respond(frame.opaque, 0, body=msgspec.json.encode({"table": self.table()}))


def size_text(size: int) -> str:
    """As RocketMQ's MixAll.humanReadableByteCount: 70 B, 1.5 KiB."""
    if size < KIB:
        return f"{size} B"
    value, units = size / KIB, iter("KMGTPE")
    unit = next(units)
    while value >= KIB:
        value, unit = value / KIB, next(units)
    return f"{value:.1f} {unit}iB"


def _span_text(seconds: int) -> str:
    days, rest = divmod(seconds, DAY_SECONDS)
    return f"[ {days} days, {rest // 3600} hours, {rest % 3600 // 60} minutes, {rest % 60} seconds ]"


def show(connection: Any, frame: Any) -> None:
    """GET_BROKER_RUNTIME_INFO."""
    connection.remoting.status.show(connection, frame)


VERBS = {Request.GET_BROKER_RUNTIME_INFO: show}
