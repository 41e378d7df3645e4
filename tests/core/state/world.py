"""One machine for the tests of state: disk and store outlive the broker, whose loop and clock are simulated."""

import re
from collections import deque
from heapq import heappop, heappush
from random import Random

import pytest

from core.broker import Broker, Disk, Loop
from core.clock import Clock
from core.config import Config, Limits, LogConfig
from core.disk.files import SegmentFiles
from core.disk.spill_files import SpillFiles
from core.log.engine import LocalEngine
from core.message import Message
from core.queue.consumer import Consumer, Gate
from core.state.checkpoint import Slices
from core.state.reappend import Portions
from core.state.records import QUEUE
from protocols.amqp import tables
from protocols.amqp.content import Content
from protocols.amqp.death import Deaths
from protocols.amqp.message_keys import MessageKeys, keys_of
from tests.simulation.disk import SimDisk
from tests.simulation.store import SimStore

SEGMENT_BYTES = 64 << 10
NOT_THE_SAME = ("first_offset", "next_offset", "next_id")  # in a fact that was stated anew


class Timer:
    """What the loop's timers are."""

    def __init__(self):
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


class TestLoop:
    """Callbacks in order, timers in time; time passes only in run_until()."""

    __test__ = False

    def __init__(self, now):
        self.now = now
        self.ready = deque()
        self.timers = []
        self.count = 0

    def time(self):
        return self.now

    def wall(self):
        return 1_700_000_000 + self.now

    def call_soon(self, callback, *args):
        self.ready.append((callback, args))

    def call_later(self, seconds, callback, *args):
        timer = Timer()
        self.count += 1
        heappush(self.timers, (self.now + max(seconds, 0), self.count, timer, callback, args))
        return timer

    def run_until(self, when):
        while self.ready or (self.timers and self.timers[0][0] <= when):
            if not self.ready:
                self.now = max(self.now, self.timers[0][0])
            self.run_once()
        self.now = max(self.now, when)

    def run_once(self):
        while self.timers and self.timers[0][0] <= self.now:
            _, _, timer, callback, args = heappop(self.timers)
            if not timer.cancelled:
                self.ready.append((callback, args))
        for _ in range(len(self.ready)):
            callback, args = self.ready.popleft()
            callback(*args)


class TestWorker:
    """A thread whose jobs each take a tenth of a millisecond."""

    __test__ = False

    def __init__(self, loop):
        self.loop = loop

    def submit(self, job, done):
        self.loop.call_later(0.0001, self.run, job, done)

    def run(self, job, done):
        try:
            result = job()
        except Exception as error:
            result = error
        self.loop.call_later(0.0001, done, result)


class Taker(Consumer):
    """Takes what it is given until `limit`; says what it got, and whether its queue went."""

    def __init__(self, queue, limit=1 << 30, no_ack=False):
        Consumer.__init__(self, queue, Gate())
        self.limit = limit
        self.no_ack = no_ack
        self.got = []
        self.is_gone = False

    def can_take(self):
        return len(self.got) < self.limit

    def deliver(self, message, offset, redelivered):
        self.got.append((offset, message.body, bool(redelivered)))

    def gone(self):
        self.is_gone = True


class World:
    """boot() starts a broker on what the disk holds; crash() and stop() end it."""

    slices, portions = Slices(), Portions()

    def __init__(self, seed=1, store=None, **log):
        self.random = Random(seed)
        self.disk = SimDisk(self.random, 1 << 30)
        log.setdefault("keep_bytes", 0)
        self.store = store or SimStore(self.disk)
        self.config = Config(
            log=LogConfig(segment_bytes=SEGMENT_BYTES, batch_bytes=SEGMENT_BYTES // 2, ahead_bytes=8192, **log),
            limits=Limits(message_bytes=4096),
        )
        self.now = 0.0
        self.failures = []
        self.broker = None
        self.keys = None  # a KeyFiles

    def boot(self, clean=False):
        self.loop = TestLoop(self.now)
        clock = Clock(self.loop.wall, self.loop.time)
        files = SegmentFiles("commitlog", SEGMENT_BYTES, ahead_bytes=self.config.log.ahead_bytes, ops=self.disk)
        writer, readers = TestWorker(self.loop), TestWorker(self.loop)
        engine = LocalEngine(files, writer, readers, self.loop.call_later)
        spill = SpillFiles("spill", SEGMENT_BYTES, self.disk)
        workers = TestWorker(self.loop), readers, spill, TestWorker(self.loop)
        disk = Disk(files, engine, self.store, *workers, clean, keys=self.keys)

        def call_at(ms, callback):
            return self.loop.call_later((ms - clock.ms) / 1000, callback)

        loop = Loop(self.loop.call_soon, call_at, self.failures.append)
        self.broker = Broker(
            self.config,
            clock,
            disk,
            loop,
            codec=tables,
            content=Content,
            deaths=Deaths(),
            message_keys=(MessageKeys, keys_of),
            random_bytes=self.random.randbytes,
        )
        self.restored = self.broker.start()
        self.broker.checkpointer.slices, self.broker.reappender.portions = self.slices, self.portions
        self.topology = self.broker.topology
        self.vhost = self.broker.virtual_host("/")
        return self

    def run(self, seconds=1.0):
        self.loop.run_until(self.loop.now + seconds)
        self.now = self.loop.now
        assert self.failures == []

    def checkpoint(self):
        before = self.broker.checkpointer.checkpoints
        self.broker.checkpointer.checkpoint()
        self.run()
        assert self.broker.checkpointer.checkpoints > before

    def crash(self, state_lost=False):
        self.disk.crash()
        self._end(state_lost)

    def stop(self, state_lost=False):
        done = []
        self.broker.close(lambda: done.append(True))
        self.run()
        assert done == [True]
        self.disk.stop()
        self._end(state_lost)

    def _end(self, state_lost):
        self.store.close()
        if state_lost:
            self.store.drop()

    # -- what tests do

    def declare(self, name, **options):
        return self.topology.declare_queue(self.vhost, name, durable=options.pop("durable", True), **options)

    def bind(self, queue, exchange, key, arguments=None):
        self.topology.bind(self.vhost, exchange, (QUEUE, queue), key, arguments or {})

    def publish(self, exchange, key, body=b"x", persistent=True, ttl_ms=None, header=b""):
        self.broker.clock.tick()
        router = self.vhost.router
        message = Message((b"/", exchange.encode(), key.encode()), header, body, len(body), persistent)
        message.expire_at = 0 if ttl_ms is None else self.broker.clock.ms + ttl_ms
        self.broker.publisher.publish(message, router.route(router.exchanges[exchange], key.encode(), None))

    def queue(self, name):
        return self.vhost.queues[name]

    def take(self, name, count):
        """Take up to `count` messages; they stay unacknowledged. Returns the Taker."""
        queue = self.queue(name)
        taker = Taker(queue, count)
        queue.add_consumer(taker)
        self.run(0.5)
        queue.remove_consumer(taker)
        return taker

    def picture(self):
        """Everything durable that a restart must give back."""
        facts = self.broker.model.facts
        queues = {}
        for queue_id, queue in self.broker.model.queues.items():
            done = [offset for offset in range(queue.index.end) if queue.cursor.is_done(offset)]
            queues[queue_id] = queue.name, queue.index.end, done
        kept = {repr(key): _plain(facts.get(key)) for key in facts.stated}
        bindings = set()
        for binding in (b for x in self.vhost.router.exchanges.values() for b in x.bindings()):
            if binding.source.durable and binding.destination.durable:
                bindings.add((binding.source.name, binding.destination.name, binding.key))
        return kept, queues, bindings, facts.next_id


def _plain(fact):
    return {name: getattr(fact, name) for name in fact.__struct_fields__ if name not in NOT_THE_SAME}


class Owner:
    """A connection."""


def refuses(kind, text):
    """The block raises exactly this."""
    return pytest.raises(kind, match=f"^{re.escape(text)}$")


def exchange(world, name="x", kind="direct", **options):
    """Declare a durable exchange and return it."""
    options.setdefault("durable", True)
    world.topology.declare_exchange(world.vhost, name, kind, **options)
    return world.vhost.router.exchanges[name]


def appended(world):
    """How many records the log got."""
    return world.broker.log.records
