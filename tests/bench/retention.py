"""What retention costs while it works: a full load, while the live half of old segments is appended anew."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from tests.bench.broker import Broker
from tests.bench.lag import PROBE, scraped, stall_ms
from tests.bench.runs import Run
from tests.bench.scenarios import DRAIN, DURABLE, FILL, Bench, Row, Scenario, moved
from tests.bench.session import LoadError, Session
from tests.bench.targets import CPU

MESSAGES = 2  # millions, for each million of the backlog, half of which stay
BEGIN_SECONDS = 60.0  # in which retention is to begin
COPIED = re.compile(r"^mq_log_copied_bytes_total (\S+)$", re.MULTILINE)
DECLINED = re.compile(r'^mq_log_copies_declined_total\{why="(\w+)"\} (\S+)$', re.MULTILINE)


def retention(bench: Bench, broker: Broker) -> Iterator[Row]:
    """The durable load, with nothing else in the log; old messages for two queues in turn, and one of them drained, so
    that half of what lies in each old segment is live; the same load while that half is copied."""
    if broker.name != "ours":
        return
    broker.destroy()
    broker.options = list(PROBE)
    broker.start()
    try:
        yield from _measured(replace(bench, backlog=MESSAGES * bench.backlog), broker)
    finally:
        broker.options = []
        broker.destroy()


def _measured(bench: Bench, broker: Broker) -> Iterator[Row]:
    name = f"bench-old-{time.monotonic_ns()}"
    with Run(bench.driver, broker, DURABLE) as run:
        before = scraped(broker)
        plain = run.measure(bench.warmup, bench.seconds)
        plain |= {"stall_ms": stall_ms(before, scraped(broker))}
    yield "retention-none", plain
    with Run(bench.driver, broker, replace(FILL, queues=2), queue=name) as run:
        run.publishers[0].stop_at(bench.backlog)
        yield "retention-fill", moved(bench, broker, run, run.confirmed)
    with Run(bench.driver, broker, DRAIN, queue=f"{name}-00000") as run:
        yield "retention-drain", moved(replace(bench, backlog=bench.backlog // 2), broker, run, run.received)
    with Run(bench.driver, broker, DURABLE) as run:
        begun(run, broker)
        before = scraped(broker)
        result = run.measure(0, bench.seconds)
        after = scraped(broker)
        run.load.run(1.0)
        if copied(scraped(broker)) == copied(after):
            raise LoadError("retention came to its end while it was measured: a larger BACKLOG lasts longer")
    result |= {
        "stall_ms": stall_ms(before, after),
        "cpu_of_none": round(result[CPU] / plain[CPU], 2),
        "copied_mb_per_s": round((copied(after) - copied(before)) / result["secs"] / 1e6, 1),
    }
    yield "retention", result
    with suppress(OSError, LoadError), Session(broker.address) as session:
        session.delete_queue(f"{name}-00001")


def begun(run: Run, broker: Broker) -> None:
    """Load until something is copied."""
    start, end = copied(scraped(broker)), time.monotonic() + BEGIN_SECONDS
    while copied(text := scraped(broker)) == start:
        if time.monotonic() > end:
            raise LoadError(f"nothing was copied within {BEGIN_SECONDS:.0f} s, declined: {DECLINED.findall(text)}")
        run.load.run(0.5)


def copied(text: str) -> float:
    """Bytes that retention has appended anew."""
    return float(COPIED.findall(text)[0])


RETENTION = (
    Scenario(
        "retention",
        "1 KiB durable at full load, while retention copies the live half of two million old messages; our driver",
        retention,
        9000,
        stretches=2,
        extra_s=90,
        of_backlog=True,
    ),
)
