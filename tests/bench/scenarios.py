"""The scenarios: what is put on a broker, and what of it is measured. Each gives rows: a name and its figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.bench import floor, perftest
from tests.bench.broker import Broker
from tests.bench.procfs import usage
from tests.bench.runs import SLICE_SECONDS, Run, Shape, Stretch
from tests.bench.session import LoadError, Session
from tests.bench.targets import CPU

Row = tuple[str, dict[str, Any]]
SPILL_BYTES = 64 << 20  # of memory that transient queues are given there
BACKLOG_SECONDS = 300.0  # at most, for the fill and for the drain
REST_SECONDS = 3.0  # before memory at rest is looked at
IDLE_SECONDS = 10.0
LATENCY_RUNS = 5
PATH_RUNS = 5  # the ratio of two stretches, each some seconds long, strays by a quarter here
LATENCY_WARMUP_SECONDS = 2.0
PATH_WARMUP_SECONDS = 2.0
DURABLE = Shape(body_bytes=1024, persistent=True, window=1000, prefetch=500, ack_every=1)
SHAPES = {
    "transient-100-window": Shape(body_bytes=100, window=1000, prefetch=500, ack_every=50),
    "driver-transient-16": Shape(body_bytes=16),
    "driver-durable": DURABLE,
    "driver-durable-4": Shape(body_bytes=1024, persistent=True, window=1000, prefetch=500, ack_every=1, lanes=4),
    "driver-fanout-10": Shape(body_bytes=16, fanout=10),
    "window-1": Shape(body_bytes=1024, persistent=True, window=1, consume=False),
    "latency": Shape(body_bytes=1024, persistent=True, window=65535, prefetch=500, ack_every=1, rate=5000),
}
PATHS = {  # each beside DURABLE, which it differs from in what its name says
    "ttl": replace(DURABLE, arguments={"x-message-ttl": 60_000}, expiration="30000"),
    "expired": replace(DURABLE, arguments={"x-message-ttl": 20}, dead="expired"),
    "dead-letter": replace(DURABLE, dead="rejected"),
    "priority-5": replace(DURABLE, arguments={"x-max-priority": 5}, priorities=5),
    "tx-50": replace(DURABLE, transaction=50),
}
FILL = Shape(body_bytes=1024, persistent=True, window=1000, consume=False)
HOLD = Shape(body_bytes=100, persistent=True, window=1000, consume=False, delay_ms=3_600_000)
FIRE = Shape(body_bytes=100, persistent=True, window=65535, prefetch=500, ack_every=1, rate=1000, delay_ms=500)
DRAIN = Shape(body_bytes=1024, persistent=True, prefetch=500, ack_every=50, publish=False)
SPILL_FILL = Shape(body_bytes=100, window=1000, consume=False)
SPILL_DRAIN = Shape(body_bytes=100, prefetch=500, ack_every=50, publish=False)


@dataclass(frozen=True)
class Bench:
    """What every scenario is given: the drivers, of AMQP and of RocketMQ's protocol, seconds, the backlog's size, a
    folder, the cores (None: not pinned)."""

    driver: ModuleType
    native: ModuleType
    warmup: float
    seconds: float
    backlog: int
    folder: Path
    broker_core: int | None
    driver_core: int | None


@dataclass(frozen=True)
class Scenario:
    """One entry of the list. disk_mb: what it may need on the disk, for each broker. runs: at least so many.

    stretches: how often `Bench.seconds` are measured in one run. extra_s: about what one run takes beyond warm-up and
    measuring; this and disk_mb grow with the backlog, if `of_backlog`. stands_for: the PerfTest scenario whose shape
    this one has, and which it is run in place of. peer: the broker that it is put on beside ours.
    """

    name: str
    text: str
    measure: Callable[[Bench, Broker], Iterator[Row]]
    disk_mb: int = 0
    runs: int = 1
    stretches: int = 1
    extra_s: float = 8
    of_backlog: bool = False
    stands_for: str = ""
    perftest: bool = False
    peer: str = "rabbitmq"

    def needs(self, bench: Bench, runs: int) -> tuple[float, float]:
        """About how many seconds all runs take on one broker, and MiB of disk at most."""
        scale = bench.backlog / 1e6 if self.of_backlog else 1
        seconds = bench.warmup + bench.seconds * self.stretches + self.extra_s * scale
        return seconds * max(runs, self.runs), self.disk_mb * scale


def by_perftest(name: str, script_name: str) -> Callable[[Bench, Broker], Iterator[Row]]:
    """A scenario of ../shared/peers/load/amqp.sh."""

    def measure(bench: Bench, broker: Broker) -> Iterator[Row]:
        yield name, perftest.run(broker, script_name, (bench.warmup, bench.seconds), bench.driver_core)

    return measure


def by_driver(name: str) -> Callable[[Bench, Broker], Iterator[Row]]:
    """A scenario of our driver: one of SHAPES."""

    def measure(bench: Bench, broker: Broker) -> Iterator[Row]:
        with Run(bench.driver, broker, SHAPES[name]) as run:
            yield name, run.measure(bench.warmup, bench.seconds)

    return measure


def window_1(bench: Bench, broker: Broker) -> Iterator[Row]:
    """One durable message at a time, and beside its confirm what the disk and the loopback take without a broker."""
    sync = floor.fdatasync_ms(bench.folder, bench.broker_core)
    trip = floor.round_trip_ms(bench.broker_core)
    with Run(bench.driver, broker, SHAPES["window-1"]) as run:
        result = run.measure(bench.warmup, bench.seconds)
    result |= {"floor_fdatasync_ms": round(sync, 4), "floor_round_trip_ms": round(trip, 4)}
    result["confirm_p50_of_floor"] = round(result["confirm_p50_ms"] / (sync + trip), 2)
    yield "window-1", result


def latency(bench: Bench, broker: Broker) -> Iterator[Row]:
    """5,000 messages a second, each timed from the moment it was due to be sent to its delivery."""
    with Run(bench.driver, broker, SHAPES["latency"]) as run:
        yield "latency", run.measure(LATENCY_WARMUP_SECONDS, bench.seconds)


def paths(bench: Bench, broker: Broker) -> Iterator[Row]:
    """TTL, dead letters, priorities and transactions, each over the plain durable path measured right before it."""
    for name, shape in PATHS.items():
        plain = path(bench, broker, DURABLE)
        yield "plain", plain
        result = path(bench, broker, shape)
        yield name, result | {"cpu_of_plain": round(result[CPU] / plain[CPU], 2)}


def path(bench: Bench, broker: Broker, shape: Shape) -> dict[str, Any]:
    """The figures of a shape after a short warm-up."""
    with Run(bench.driver, broker, shape) as run:
        return run.measure(PATH_WARMUP_SECONDS, bench.seconds)


def backlog(bench: Bench, broker: Broker) -> Iterator[Row]:
    """Fill a durable queue, see what memory that costs at rest, drain it."""
    yield from filled_and_drained(bench, broker, "backlog", (FILL, DRAIN))


def spill(bench: Bench, broker: Broker) -> Iterator[Row]:
    """The same with a transient queue, which holds far more than the share of memory that ours is given here."""
    broker.destroy()
    broker.options = ["--set", f"limits.transient_bytes={SPILL_BYTES}"]
    broker.start()
    try:
        yield from filled_and_drained(bench, broker, "spill", (SPILL_FILL, SPILL_DRAIN))
    finally:
        broker.options = []
        broker.destroy()


def filled_and_drained(bench: Bench, broker: Broker, what: str, shapes: tuple[Shape, Shape]) -> Iterator[Row]:
    """Rows WHAT-fill and WHAT-drain."""
    name = f"bench-{what}-{time.monotonic_ns()}"
    try:
        with Run(bench.driver, broker, shapes[0], queue=name) as run:
            for publisher in run.publishers:
                publisher.stop_at(bench.backlog)
            result = moved(bench, broker, run, run.confirmed)
        time.sleep(REST_SECONDS)
        at_rest = usage(broker.pid)
        result |= {"broker_rss_mb": round(at_rest.rss_mb, 1), "broker_rss_anon_mb": round(at_rest.rss_anon_mb, 1)}
        yield f"{what}-fill", result
        with Run(bench.driver, broker, shapes[1], queue=name) as run:
            yield f"{what}-drain", moved(bench, broker, run, run.received)
    finally:
        with suppress(OSError, LoadError), Session(broker.address) as session:
            session.delete_queue(name)


def delayed(bench: Bench, broker: Broker) -> Iterator[Row]:
    """Have messages wait for an hour and see what memory that costs at rest, over a broker that has done some work;
    then how late others come beside them."""
    if broker.name != "ours":  # RabbitMQ's plugin is not among its own
        return
    path(bench, broker, DURABLE)  # so that buffers and caches, which are bounded, are not counted
    time.sleep(REST_SECONDS)
    empty = usage(broker.pid)
    name = f"bench-delayed-{time.monotonic_ns()}"
    try:
        with Run(bench.driver, broker, HOLD, queue=name) as run:
            for publisher in run.publishers:
                publisher.stop_at(bench.backlog)
            result = moved(bench, broker, run, run.confirmed)
    finally:
        with suppress(OSError, LoadError), Session(broker.address) as session:
            session.delete_queue(name)
    time.sleep(REST_SECONDS)
    at_rest = usage(broker.pid)
    more = (at_rest.rss_anon_mb - empty.rss_anon_mb) * 1e6 / bench.backlog
    result |= {"broker_rss_anon_mb": round(at_rest.rss_anon_mb, 1), "rss_anon_mb_per_million": round(more, 1)}
    yield "delayed-fill", result
    with Run(bench.driver, broker, FIRE) as run:
        yield "delayed-fire", run.measure(LATENCY_WARMUP_SECONDS, bench.seconds)


def moved(bench: Bench, broker: Broker, run: Run, count: Callable[[], int]) -> dict[str, Any]:
    """The figures of a run that ends when the whole backlog is counted; with the most anonymous memory on the way, and
    what the last tenth of the messages costs, over the first."""
    stretch, peak = Stretch(run), 0.0
    end = time.monotonic() + BACKLOG_SECONDS * max(1.0, bench.backlog / 1e6)
    tenths = []
    for tenth in range(1, 11):
        part = Stretch(run)
        upto = bench.backlog * tenth // 10
        while not run.load.run(SLICE_SECONDS, lambda upto=upto: count() >= upto):
            peak = max(peak, usage(broker.pid).rss_anon_mb)
            if time.monotonic() > end:
                raise LoadError(f"{count()} of {bench.backlog} messages, and the time is over")
        tenths.append(part.end()[CPU])
    more = {"broker_rss_anon_peak_mb": round(peak, 1), "last_tenth_of_first": round(tenths[-1] / tenths[0], 2)}
    return stretch.end() | {"messages": count()} | more


def idle(bench: Bench, broker: Broker) -> Iterator[Row]:
    """Start on an empty folder, wait, and see what doing nothing costs."""
    broker.destroy()
    ready = broker.start()
    time.sleep(REST_SECONDS)
    before = usage(broker.pid)
    time.sleep(IDLE_SECONDS)
    after = usage(broker.pid)
    result = {
        "ready_s": round(ready, 3),
        "broker_cpu_pct": round(after.cpu_s_since(before) / IDLE_SECONDS * 100, 2),
        "broker_rss_mb": round(after.rss_mb, 1),
        "broker_rss_anon_mb": round(after.rss_anon_mb, 1),
        "secs": IDLE_SECONDS,
    }
    yield "idle", result


def _perftest(name: str, script_name: str, text: str, disk_mb: int) -> tuple[Scenario, Scenario]:
    """A PerfTest scenario, and the one of our driver that stands in where PerfTest is not."""
    other = f"driver-{name}"
    return (
        Scenario(name, f"{text}; PerfTest", by_perftest(name, script_name), disk_mb, perftest=True),
        Scenario(other, f"{text}; our driver", by_driver(other), disk_mb * 2, stands_for=name),
    )


SCENARIOS = (
    *_perftest("transient-16", "transient", "16 B transient, no confirms, no acks, 1 to 1", 0),
    Scenario(
        "transient-100-window",
        "100 B transient, confirm window 1000, prefetch 500, acks in fifties; our driver",
        by_driver("transient-100-window"),
    ),
    *_perftest("durable", "durable", "1 KiB durable, confirm window 1000, prefetch 500, each acked", 1500),
    *_perftest("durable-4", "durable-4", "the same, 4 queues with a publisher and a consumer each", 1500),
    *_perftest("fanout-10", "fanout-10", "16 B transient to 10 queues, per delivery", 0),
    Scenario("window-1", "1 KiB durable, published and confirmed one by one; our driver", window_1, 400),
    Scenario("latency", "5,000 msg/s 1 KiB durable, due to delivered; our driver", latency, 600, LATENCY_RUNS),
    Scenario(
        "paths",
        "the durable one with TTL, expiry, dead letters, 5 priorities, transactions of 50; our driver",
        paths,
        6000,
        PATH_RUNS,
        stretches=2 * len(PATHS),
        extra_s=40,
    ),
    Scenario(
        "backlog",
        "1 KiB durable messages waiting, then drained; our driver",
        backlog,
        3000,
        extra_s=120,
        of_backlog=True,
    ),
    Scenario(
        "spill",
        "100 B messages waiting in a transient queue, then drained; our driver",
        spill,
        600,
        extra_s=60,
        of_backlog=True,
    ),
    Scenario(
        "delayed",
        "100 B held back for an hour, then 1,000 msg/s for half a second each, due to delivered; our driver",
        delayed,
        1000,
        extra_s=60,
        of_backlog=True,
    ),
    Scenario("idle", "no clients; start on an empty folder", idle, 100, extra_s=IDLE_SECONDS),
)
