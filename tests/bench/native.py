"""Scenarios of RocketMQ's protocol, on us with our default of syncing before we answer, and on Apache RocketMQ.

native-sync, -batch and -drain are Apache's own load programs, native-async is another of its client; a million is
counted by the topic's and the group's offsets before and after, as the broker tells them. The others are our driver's:
what those programs cannot do.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.bench.broker import Broker
from tests.bench.load import Load
from tests.bench.native_session import (
    GROUP,
    OPAQUE_AT,
    NativeSession,
    batch_request,
    pull_request,
    send_request,
)
from tests.bench.procfs import usage
from tests.bench.rocketmq import ASYNC, READY_SECONDS, program, wait_until
from tests.bench.runs import SETTLE_SECONDS, Stretch, milliseconds
from tests.bench.scenarios import REST_SECONDS, Bench, Row, Scenario
from tests.bench.session import LoadError
from tests.bench.targets import CPU

BODY = bytes(at * 7 & 0xFF for at in range(1024))
QUEUES = 4  # of a topic
BATCH = 16  # messages
WARM, WARM_WINDOW = 60_000, 16  # messages
DRAINED, CONSUMED = 400_000, 200_000
DRAIN_SECONDS = 90.0
TOPICS, MANY_QUEUES, GROUPS = 1000, 50_000, 100
LATENCY_RATE = 5000
LATENCY_WARMUP_SECONDS = 3.0
LATENCY_RUNS = 3


@dataclass
class NativeRun:
    """Endpoints of our driver on one load, as runs.Stretch looks at them."""

    bench: Bench
    broker: Broker
    publishers: list[Any]
    consumers: list[Any]
    each: int = 1  # messages in one request of a publisher

    def __post_init__(self) -> None:
        self._broker = self.broker
        self.load = Load(self.consumers + self.publishers)
        for puller in self.consumers:
            puller.begin()

    def sent(self) -> int:
        """Messages whose sending was begun."""
        return self.each * sum(publisher.sent() for publisher in self.publishers)

    def confirmed(self) -> int:
        """Messages that are stored."""
        return self.each * sum(publisher.confirmed() for publisher in self.publishers)

    def received(self) -> int:
        """Messages that pulls brought."""
        return sum(puller.received for puller in self.consumers)

    def measure(self, warmup: float, seconds: float) -> dict[str, Any]:
        """Load for the warm-up, then measure for that many seconds, then stop and see that all was answered."""
        self.load.run(warmup)
        for endpoint in self.publishers + self.consumers:
            (endpoint.confirm_ns if endpoint in self.publishers else endpoint.latency_ns).clear()
        stretch = Stretch(self)  # type: ignore[arg-type]
        self.load.run(seconds)
        result = stretch.end()
        for sender in self.publishers:
            sender.stop_at(0)
        if not self.load.run(SETTLE_SECONDS, self._settled):
            raise LoadError(f"of {self.sent()} sent {self.confirmed()} were answered and {self.received()} pulled")
        return result

    def _settled(self) -> bool:
        """What the broker was too busy for counts as never sent, and so it may become less meanwhile."""
        return self.confirmed() == self.sent() and (not self.consumers or self.received() >= self.sent())

    def moved(self, count: int) -> dict[str, Any]:
        """The figures of a run that ends when so many were pulled, or else stored."""
        counted = self.received if self.consumers else self.confirmed
        stretch = Stretch(self)  # type: ignore[arg-type]
        if not self.load.run(DRAIN_SECONDS, lambda: counted() >= count):
            raise LoadError(f"{counted()} of {count} messages in {DRAIN_SECONDS:.0f} s")
        return stretch.end()


@contextmanager
def topics(broker: Broker, count: int = 1, queues: int = QUEUES) -> Iterator[list[str]]:
    """Topics of one's own, which go in the end."""
    stem = f"bench-{time.monotonic_ns()}"
    names = [f"{stem}-{at:05d}" for at in range(count)]
    with NativeSession(broker.native) as session:
        for name in names:
            session.create_topic(name, queues)
    gc.collect()
    gc.disable()
    try:
        yield names
    finally:
        gc.enable()
        with suppress(OSError, LoadError), NativeSession(broker.native) as session:
            for name in names[:TOPICS]:
                session.delete_topic(name)


@contextmanager
def running(run: NativeRun) -> Iterator[NativeRun]:
    """A run whose sockets are closed in the end."""
    try:
        yield run
    finally:
        run.load.close()


def connected(broker: Broker) -> Any:
    """A socket for an endpoint."""
    sock = NativeSession(broker.native).sock
    sock.setblocking(False)
    return sock


def sender(bench: Bench, broker: Broker, names: list[str], window: int, queues: int = QUEUES) -> Any:
    """One that sends 1 KiB messages to these topics' queues in turn."""
    frames = [send_request(name, at, BODY)[0] for at in range(queues) for name in names]
    return bench.native.Sender(connected(broker), frames, OPAQUE_AT, window)


def puller(bench: Bench, broker: Broker, names: list[str], group: str = GROUP, **more: Any) -> Any:
    """A push consumer of all queues of these topics, which have `queues` each, from their beginning."""
    queues = more.pop("queues", QUEUES)
    session = NativeSession(broker.native)
    session.join(group, names)
    session.sock.setblocking(False)
    pulls = [pull_request(group, name, at) for at in range(queues) for name in names]
    places = (OPAQUE_AT, pulls[0][1])
    return bench.native.Puller(session.sock, [frame for frame, _ in pulls], places, [0] * len(pulls), **more)


def filled(bench: Bench, broker: Broker, names: list[str], count: int) -> dict[str, Any]:
    """Put about so many messages there, in batches."""
    frames = [batch_request(name, at, [BODY] * BATCH) for at in range(QUEUES) for name in names]
    batches = bench.native.Sender(connected(broker), frames, OPAQUE_AT, 64)
    batches.stop_at(-(-count // BATCH))
    with running(NativeRun(bench, broker, [batches], [], BATCH)) as run:
        return run.moved(BATCH * -(-count // BATCH))


# --- Apache's programs


def producing(row: str, *command: str) -> Callable[[Bench, Broker], Iterator[Row]]:
    """A scenario of a program that sends without end; {} in its options is the name server, or the topic."""

    def measure(bench: Bench, broker: Broker) -> Iterator[Row]:
        warm(bench, broker)
        with topics(broker) as (topic,), NativeSession(broker.native) as session:
            named = [word.format(names=broker.name_server, topic=topic) for word in command]
            with program(*named, core=bench.driver_core) as process:
                wait_until(lambda: session.stored(topic) > 0, process, READY_SECONDS, "nothing was sent")
                time.sleep(bench.warmup)
                yield row, produced(bench, broker, partial(session.stored, topic))

    return measure


def warm(bench: Bench, broker: Broker) -> None:
    """Have the broker see many messages before it is measured: a JVM compiles what is often used."""
    with topics(broker) as names:
        run = NativeRun(bench, broker, [sender(bench, broker, names, WARM_WINDOW)], [])
        with running(run):
            run.moved(WARM)


def produced(bench: Bench, broker: Broker, stored: Callable[[], int]) -> dict[str, Any]:
    """The figures of so many seconds of it."""
    before, already, began = usage(broker.pid), stored(), time.monotonic()
    time.sleep(bench.seconds)
    after, sent, seconds = usage(broker.pid), stored() - already, time.monotonic() - began
    if not sent:
        raise LoadError("nothing was sent")
    cpu = after.cpu_s_since(before)
    return {
        "sent_per_s": round(sent / seconds),
        CPU: round(cpu / sent * 1e6, 3),
        "broker_cpu_pct": round(cpu / seconds * 100, 1),
        "broker_rss_mb": round(after.rss_mb, 1),
        "broker_rss_anon_mb": round(after.rss_anon_mb, 1),
        "secs": round(seconds, 1),
    }


def apache_drain(bench: Bench, broker: Broker) -> Iterator[Row]:
    """A topic with messages in it is consumed by Apache's Consumer, once so that all is warm, and once more."""
    with topics(broker) as (topic,), NativeSession(broker.native) as session:
        filled(bench, broker, [topic], CONSUMED)
        for group in ("bench-warm", "bench-drain"):
            options = ["-n", broker.name_server, "-t", topic, "-g", group, "-p", "false"]
            before, began = usage(broker.pid), time.monotonic()
            with program("Consumer", *options, core=bench.driver_core) as process:
                done = partial(_consumed, session, group, topic)
                wait_until(done, process, DRAIN_SECONDS, f"of {CONSUMED} messages not all were consumed")
                after = usage(broker.pid)
            cpu = after.cpu_s_since(before)
    figures = {CPU: round(cpu / CONSUMED * 1e6, 3), "secs": round(time.monotonic() - began, 1)}
    memory = {"broker_rss_mb": round(after.rss_mb, 1), "broker_rss_anon_mb": round(after.rss_anon_mb, 1)}
    yield "native-drain", figures | memory


def _consumed(session: NativeSession, group: str, topic: str) -> bool:
    return session.consumed(group, topic) >= CONSUMED


# --- our driver


def driver_send(bench: Bench, broker: Broker) -> Iterator[Row]:
    """One connection with 200 sends in flight, then with batches, then one that pulls what they stored, one after the
    other, and one with a pull of each queue in flight."""
    with topics(broker) as names:
        with running(NativeRun(bench, broker, [sender(bench, broker, names, 200)], [])) as run:
            yield "native-driver-send", run.measure(bench.warmup, bench.seconds)
        yield "native-driver-batch", filled(bench, broker, names, DRAINED)
        for row, ahead in (("native-driver-pull-1", 1), ("native-driver-pull", 0)):
            with running(NativeRun(bench, broker, [], [puller(bench, broker, names, ahead=ahead)])) as run:
                yield row, run.moved(DRAINED)


def latency(bench: Bench, broker: Broker) -> Iterator[Row]:
    """5,000 messages a second, each timed from the moment it was due to be sent to when a waiting pull brought it."""
    warm(bench, broker)
    with topics(broker) as names:
        pulls = puller(bench, broker, names, follows=True, stamped=True)
        requests = [send_request(names[0], at, BODY) for at in range(QUEUES)]
        pace = (1_000_000_000 // LATENCY_RATE, requests[0][1])
        paced = bench.native.PacedSender(connected(broker), [frame for frame, _ in requests], OPAQUE_AT, pace)
        with running(NativeRun(bench, broker, [paced], [pulls])) as run:
            result = run.measure(LATENCY_WARMUP_SECONDS, bench.seconds)
            yield "native-latency", result | {"driver_late_p99_ms": milliseconds(paced.late_ns, 99)}


def many_topics(bench: Bench, broker: Broker) -> Iterator[Row]:
    """Sends to 1,000 topics in turn, over sends to one; and pulls of 32 from all their queues in turn, over one's."""
    costs: list[tuple[float, float]] = []
    for count in (1, TOPICS):
        with topics(broker, count) as names:
            with running(NativeRun(bench, broker, [sender(bench, broker, names, 200)], [])) as run:
                sent = run.measure(bench.warmup, bench.seconds)
            filled(bench, broker, names, max(DRAINED, 128 * QUEUES * count))
            with running(NativeRun(bench, broker, [], [puller(bench, broker, names, ahead=QUEUES)])) as run:
                pulled = run.moved(DRAINED)
        costs.append((sent[CPU], pulled[CPU]))
        if count == 1:
            yield "native-topic", sent
            yield "native-topic-pull", pulled
    yield f"native-topics-{TOPICS}", sent | {"cpu_of_one_topic": round(costs[1][0] / costs[0][0], 2)}
    yield f"native-topics-{TOPICS}-pull", pulled | {"cpu_of_one_topic": round(costs[1][1] / costs[0][1], 2)}


def many_queues(bench: Bench, broker: Broker) -> Iterator[Row]:
    """50,000 queues of 500 topics with a message each, what memory they take, and all of them pulled."""
    if broker.name != "ours":  # RocketMQ maps a file of 6 MB for each
        return
    count = MANY_QUEUES // 100
    with topics(broker, count, 100) as names:
        all_in_turn = sender(bench, broker, names, 200, queues=100)
        all_in_turn.stop_at(MANY_QUEUES)
        with running(NativeRun(bench, broker, [all_in_turn], [])) as run:
            result = run.moved(MANY_QUEUES)
        time.sleep(REST_SECONDS)
        at_rest = usage(broker.pid)
        memory = {"broker_rss_mb": round(at_rest.rss_mb, 1), "broker_rss_anon_mb": round(at_rest.rss_anon_mb, 1)}
        yield "native-queues-50k", result | memory
        pulls = puller(bench, broker, names, queues=100, ahead=QUEUES)
        with running(NativeRun(bench, broker, [], [pulls])) as run:
            yield "native-queues-50k-pull", run.moved(MANY_QUEUES)


def many_groups(bench: Bench, broker: Broker) -> Iterator[Row]:
    """100 groups pull what one topic holds, all at once; a million counts what was given to them."""
    with topics(broker) as names:
        filled(bench, broker, names, WARM)
        groups = [puller(bench, broker, names, f"bench-{at:03d}", ahead=QUEUES) for at in range(GROUPS)]
        with running(NativeRun(bench, broker, [], groups)) as run:
            yield f"native-groups-{GROUPS}", run.moved(WARM // 4 * GROUPS)


TO = ("-n", "{names}", "-t", "{topic}", "-s", str(len(BODY)))
NATIVE = (
    Scenario(
        "native-sync",
        "1 KiB, 64 threads that each wait for the answer; Apache's Producer",
        producing("native-sync", "Producer", "-w", "64", *TO),
        1500,
        peer="rocketmq",
    ),
    Scenario(
        "native-async",
        "1 KiB, 1,000 in flight; Apache's client",
        producing("native-async", ASYNC, "async", "{names}", "{topic}", "0", "1000", "3600", "1"),
        1500,
        peer="rocketmq",
    ),
    Scenario(
        "native-batch",
        "1 KiB, 8 threads with batches of 16; Apache's BatchProducer",
        producing("native-batch", "BatchProducer", "-b", str(BATCH), "-w", "8", *TO),
        5000,
        peer="rocketmq",
    ),
    Scenario("native-drain", "200,000 of 1 KiB, by push; Apache's Consumer", apache_drain, 600, peer="rocketmq"),
    Scenario("native-driver", "200 sends in flight, batches, pulls; our driver", driver_send, 2500, peer="rocketmq"),
    Scenario(
        "native-latency",
        "5,000 msg/s of 1 KiB to pulls that wait, due to delivered; our driver",
        latency,
        600,
        LATENCY_RUNS,
        peer="rocketmq",
    ),
    Scenario(
        "native-topics",
        "1,000 topics of 4 queues in turn, over one; our driver",
        many_topics,
        3000,
        stretches=2,
        extra_s=30,
        peer="rocketmq",
    ),
    Scenario("native-queues", "50,000 queues with a message each; our driver", many_queues, 500, peer="rocketmq"),
    Scenario("native-groups", "100 groups pull one topic; our driver", many_groups, 500, peer="rocketmq"),
)
