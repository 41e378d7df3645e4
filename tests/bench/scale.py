"""Scenarios of size: many queues, and many small messages waiting; with a kill -9 in between, and how a start goes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.bench.broker import Broker
from tests.bench.lag import PROBE, scraped, stall_ms
from tests.bench.procfs import usage
from tests.bench.runs import Run, Shape, Stretch
from tests.bench.scenarios import DRAIN, DURABLE, FILL, REST_SECONDS, Bench, Row, Scenario, moved, path
from tests.bench.session import LoadError
from tests.bench.targets import CPU

QUEUES, IN_TURN = 50_000, 10_000
USED_SECONDS = 120.0
USE = Shape(body_bytes=1024, persistent=True, window=1000, prefetch=500, ack_every=1, queues=QUEUES)
SMALL_BYTES = 100


def at_rest(broker: Broker) -> dict[str, Any]:
    """Memory a little later."""
    time.sleep(REST_SECONDS)
    now = usage(broker.pid)
    return {"broker_rss_mb": round(now.rss_mb, 1), "broker_rss_anon_mb": round(now.rss_anon_mb, 1)}


def killed(broker: Broker) -> dict[str, Any]:
    """kill -9, start again: the seconds until it accepts, its CPU seconds until then, and its memory."""
    os.kill(broker.pid, signal.SIGKILL)
    broker.stop()
    ready = broker.start()
    now = usage(broker.pid)
    return {"ready_s": round(ready, 2), "ready_cpu_s": round(now.user_s + now.system_s, 2)} | at_rest(broker)


def many_queues(bench: Bench, broker: Broker) -> Iterator[Row]:
    """One message for each of 50,000 durable queues, a kill -9, all of them consumed; then 10,000 queues in turn, over
    one queue measured right after; with what the loop stood still, checkpoints and all."""
    broker.destroy()
    broker.options = list(PROBE) if broker.name == "ours" else []
    broker.start()
    try:
        yield from _many_queues(bench, broker)
    finally:
        broker.options = []
        broker.destroy()


def _many_queues(bench: Bench, broker: Broker) -> Iterator[Row]:
    name = f"bench-{time.monotonic_ns()}"
    with Run(bench.driver, broker, replace(USE, consume=False), queue=name) as run:
        run.publishers[0].stop_at(QUEUES)
        result = used(run, run.confirmed)
    yield "queues-50k", result | at_rest(broker)
    yield "queues-50k-start", killed(broker)
    with Run(bench.driver, broker, replace(USE, publish=False), queue=name) as run:
        result = used(run, run.received)
    yield "queues-50k-consumed", result | at_rest(broker)
    with Run(bench.driver, broker, replace(USE, queues=IN_TURN), queue=name) as run:
        before = scraped(broker) if broker.metrics else ""
        result = run.measure(bench.warmup, bench.seconds)
        if before:
            result |= {"stall_ms": stall_ms(before, scraped(broker))}
    one = path(bench, broker, DURABLE)
    yield "queues-10k-in-turn", result | {"cpu_of_one_queue": round(result[CPU] / one[CPU], 2)}
    yield "one-queue", one


def used(run: Run, count: Any) -> dict[str, Any]:
    """The figures of a run that ends when each queue has had its message."""
    stretch = Stretch(run)
    if not run.load.run(USED_SECONDS, lambda: count() >= QUEUES):
        raise LoadError(f"{count()} of {QUEUES} in {USED_SECONDS:.0f} s")
    return stretch.end()


def small_backlog(bench: Bench, broker: Broker) -> Iterator[Row]:
    """Ten small messages for each of the backlog: filled, a kill -9, drained."""
    bench = replace(bench, backlog=10 * bench.backlog)
    name = f"bench-small-{time.monotonic_ns()}"
    with Run(bench.driver, broker, replace(FILL, body_bytes=SMALL_BYTES), queue=name) as run:
        run.publishers[0].stop_at(bench.backlog)
        result = moved(bench, broker, run, run.confirmed)
    yield "small-fill", result | at_rest(broker)
    yield "small-start", killed(broker)
    with Run(bench.driver, broker, replace(DRAIN, body_bytes=SMALL_BYTES), queue=name) as run:
        yield "small-drain", moved(bench, broker, run, run.received)


SCALE = (
    Scenario(
        "queues",
        "50,000 durable queues, each used, kill -9 and start; then 10,000 of them in turn; our driver",
        many_queues,
        2000,
        extra_s=90,
    ),
    Scenario(
        "small-backlog",
        "100 B durable messages waiting, ten for each of BACKLOG, kill -9 and start, then drained; our driver",
        small_backlog,
        4500,
        extra_s=150,
        of_backlog=True,
    ),
)
