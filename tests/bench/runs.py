"""One run of our driver against one broker: make the queues, load them, measure both sides, see that all came."""

from __future__ import annotations

import gc
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from tests.bench.broker import Broker
from tests.bench.load import Load
from tests.bench.procfs import Usage, usage
from tests.bench.session import LoadError, Session, frame, publish_frames

SETTLE_SECONDS = 30.0  # for what was sent to be confirmed and delivered, after the measured seconds
CONSUMERS_MAX = 10_000  # of one channel, which is the default limit of ours
SLICE_SECONDS = 0.5  # how often memory is looked at
COMMIT = frame(1, 1, b"\0\x5a\0\x14")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a run looks like.

    window: messages ahead of their confirms (0: no confirms). prefetch 0: no acks. lanes: each a queue with a publisher
    and a consumer of its own. fanout: queues behind one publisher. rate: messages per second (0: as fast as it goes).
    transaction: messages between two tx.commits (0: none), confirmed by the commit-ok. priorities: of as many levels
    the messages are, in turn (0: none). expiration: each message's, in ms. arguments: of the queue. dead: the consumer
    measured is that of the dead letters, which another one rejects ("rejected") or which expire ("expired").
    queues: so many durable ones, to which one publisher sends in turn, with as few consuming connections as may be (0:
    lanes).
    delay_ms: the broker is to hold each message back for so long (header x-delay); it is due when that is over.
    """

    body_bytes: int
    persistent: bool = False
    window: int = 0
    prefetch: int = 0
    ack_every: int = 0
    lanes: int = 1
    fanout: int = 0
    queues: int = 0
    rate: int = 0
    delay_ms: int = 0
    publish: bool = True
    consume: bool = True
    transaction: int = 0
    priorities: int = 0
    expiration: str = ""
    arguments: dict[str, int | str] = field(default_factory=dict)
    dead: str = ""


class Run:
    """Connections, queues and endpoints of one shape on one broker. A context: leaving it deletes the queues."""

    def __init__(self, driver: ModuleType, broker: Broker, shape: Shape, *, queue: str = "") -> None:
        self._driver = driver
        self._broker = broker
        self._shape = shape
        self._kept = bool(queue)  # a queue given by name outlives the run
        stem = queue or f"bench-{os.getpid()}-{time.monotonic_ns()}"
        self._exchange = stem if shape.fanout else ""
        count = shape.queues or shape.fanout or shape.lanes
        self._queues = [stem] if queue and not shape.queues else [f"{stem}-{at:05d}" for at in range(count)]
        self._dead = [f"{queue}-dead" for queue in self._queues] if shape.dead else []
        self.publishers: list[Any] = []
        self.consumers: list[Any] = []

    def __enter__(self) -> Run:
        shape = self._shape
        with Session(self._broker.address) as session:
            for queue in self._dead:
                session.declare_queue(queue, durable=shape.persistent)
            if shape.queues:
                session.declare_queues(self._queues)
            for queue in () if shape.queues else self._queues:
                letters: dict[str, int | str] = {}
                if shape.dead:
                    letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{queue}-dead"}
                session.declare_queue(queue, durable=shape.persistent, arguments=shape.arguments | letters)
            if self._exchange:
                session.declare_fanout(self._exchange, self._queues)
        rejecters = []
        if shape.dead == "rejected":
            rejecters = [self._consumer([queue], rejects=True) for queue in self._queues]
        if shape.consume and shape.queues:
            starts = range(0, shape.queues, CONSUMERS_MAX)
            self.consumers = [self._consumer(self._queues[at : at + CONSUMERS_MAX]) for at in starts]
        elif shape.consume:
            self.consumers = [self._consumer([queue]) for queue in self._dead or self._queues]
        if shape.publish:
            self.publishers = [self._publisher(at) for at in range(shape.lanes)]
        self.load = Load(self.consumers + rejecters + self.publishers)
        gc.collect()
        gc.disable()
        return self

    def __exit__(self, *exc: object) -> None:
        gc.enable()
        self.load.close()
        if self._kept:
            return
        expected = (OSError, LoadError) if exc[0] else ()  # what went wrong first is what is reported
        with suppress(*expected), Session(self._broker.address) as session:
            for queue in self._queues + self._dead:
                session.delete_queue(queue)
            if self._exchange:
                session.delete_exchange(self._exchange)

    def _consumer(self, queues: list[str], *, rejects: bool = False) -> Any:
        shape = self._shape
        session = Session(self._broker.address)
        session.consume(*queues, prefetch=shape.prefetch)
        session.sock.setblocking(False)
        ack_every = shape.ack_every if shape.prefetch else 0
        stamped = bool(shape.rate)
        made = self._driver.Consumer
        return made(session.sock, session.unread, shape.body_bytes, ack_every, stamped=stamped, rejects=rejects)

    def _publisher(self, lane: int) -> Any:
        shape = self._shape
        session = Session(self._broker.address)
        if shape.transaction:
            session.select_transactions()
        elif shape.window:
            session.confirm()
        session.sock.setblocking(False)
        key = "" if self._exchange else self._queues[lane]
        body = bytes(at * 7 & 0xFF for at in range(shape.body_bytes))
        durable = shape.persistent
        more = {"persistent": durable, "expiration": shape.expiration, "delay_ms": shape.delay_ms}
        message, body_at = publish_frames(self._exchange, key, body, **more)
        if shape.rate:
            pace = (1_000_000_000 // shape.rate, body_at, shape.delay_ms * 1_000_000)
            return self._driver.PacedPublisher(session.sock, session.unread, message, shape.window, pace)
        messages, window = [message], shape.window
        if shape.priorities:
            levels = range(shape.priorities)
            messages = [publish_frames("", key, body, persistent=durable, priority=level)[0] for level in levels]
        elif shape.queues:
            messages = [publish_frames("", queue, body, persistent=durable)[0] for queue in self._queues]
        elif shape.transaction:
            messages, window = [message * shape.transaction + COMMIT], window // shape.transaction
        return self._driver.Publisher(session.sock, session.unread, messages, window)

    def sent(self) -> int:
        """Messages sent since the start."""
        return sum(publisher.sent() for publisher in self.publishers) * (self._shape.transaction or 1)

    def confirmed(self) -> int:
        """Messages confirmed since the start."""
        return sum(publisher.confirmed() for publisher in self.publishers) * (self._shape.transaction or 1)

    def received(self) -> int:
        """Deliveries received since the start."""
        return sum(consumer.received for consumer in self.consumers)

    def measure(self, warmup: float, seconds: float) -> dict[str, Any]:
        """Load for the warm-up, then measure for that many seconds, then stop and see that everything arrived."""
        self.load.run(warmup)
        for publisher in self.publishers:
            publisher.confirm_ns.clear()
            if self._shape.rate:
                publisher.late_ns.clear()
        for endpoint in self.consumers:
            endpoint.latency_ns.clear()
        stretch = Stretch(self)
        self.load.run(seconds)
        result = stretch.end()
        if self._shape.rate:
            result["driver_late_p99_ms"] = milliseconds(self.publishers[0].late_ns, 99)
        self._settle()
        return result

    def _settle(self) -> None:
        for publisher in self.publishers:
            publisher.stop_at(0)
        self.load.run(SETTLE_SECONDS, self._settled)
        if not self._settled():
            wanted = self.sent() * (self._shape.fanout or 1)
            raise LoadError(f"of {wanted} sent {self.confirmed()} were confirmed and {self.received()} delivered")

    def _settled(self) -> bool:
        if any(publisher.writing() for publisher in self.publishers):
            return False
        confirmed = not self._shape.window or self.confirmed() == self.sent()
        return confirmed and (not self.consumers or self.received() == self.sent() * (self._shape.fanout or 1))


class Stretch:
    """A stretch of a run that is measured: from when it is made until end()."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._usage = self._look()
        self._counts = run.sent(), run.confirmed(), run.received()
        self._own = time.process_time()
        self._began = time.monotonic()

    def _look(self) -> Usage:
        return usage(self._run._broker.pid)

    def end(self) -> dict[str, Any]:
        """The figures, named as ../shared/peers/load names them; a million is counted of what was received, or else
        of what was confirmed."""
        seconds = time.monotonic() - self._began
        own = time.process_time() - self._own
        now, run = self._look(), self._run
        sent = run.sent() - self._counts[0]
        received = run.received() - self._counts[2]
        units = received if run.consumers else run.confirmed() - self._counts[1]
        if not units:
            raise LoadError(f"nothing came back in {seconds:.0f} s")
        cpu = now.cpu_s_since(self._usage)
        result = {
            "sent_per_s": round(sent / seconds),
            "recv_per_s": round(received / seconds),
            "broker_cpu_s_per_million": round(cpu / units * 1e6, 3),
            "broker_cpu_pct": round(cpu / seconds * 100, 1),
            "broker_system_pct": round((now.system_s - self._usage.system_s) / seconds * 100, 1),
            "broker_rss_mb": round(now.rss_mb, 1),
            "broker_rss_anon_mb": round(now.rss_anon_mb, 1),
            "driver_cpu_pct": round(own / seconds * 100),
            "driver_cpu_s_per_million": round(own / units * 1e6, 3),
            "blocked": sum(publisher.blocked for publisher in run.publishers),
            "secs": round(seconds, 1),
        }
        for prefix, histograms in (
            ("", [consumer.latency_ns for consumer in run.consumers]),
            ("confirm_", [publisher.confirm_ns for publisher in run.publishers]),
        ):
            if histograms and histograms[0].total:  # of several lanes, the first stands for all
                for name, percent in (("p50", 50), ("p99", 99), ("p999", 99.9), ("max", 100)):
                    result[f"{prefix}{name}_ms"] = milliseconds(histograms[0], percent)
        return result


def milliseconds(histogram: Any, percent: float) -> float:
    """A percentile of a histogram of nanoseconds, in milliseconds."""
    return round(histogram.percentile(percent) / 1e6, 4)
