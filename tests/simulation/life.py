"""One life of the broker: the real parts over the simulated disk, store, loop and threads, from start to end."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

import core.broker
from core.access import Access
from core.broker import Broker, Disk, Loop
from core.clock import Clock
from core.config import Config, Limits, LogConfig
from core.disk.files import SegmentFiles
from core.disk.spill_files import SpillFiles
from core.flow import LOG, Flow
from core.log.engine import LocalEngine
from core.metrics import Metrics
from core.queue.spill import Bounds
from core.state.checkpoint import Slices
from core.state.reappend import Portions
from core.state.snapshot import read_stamp
from protocols.amqp import tables
from protocols.amqp.content import Content
from protocols.amqp.death import Deaths
from protocols.amqp.message_keys import MessageKeys, keys_of
from tests.simulation.batches import SimBatches
from tests.simulation.disk import SimDisk
from tests.simulation.loop import EPOCH_SECONDS, SimLoop, SimWorker
from tests.simulation.records import WatchedLetters
from tests.simulation.store import SimStore

LOG_DIRECTORY, SPILL_DIRECTORY = "data/commitlog", "data/spill"
HELD_BYTES = 8 << 10
STOP_SECONDS = 120.0
PORTIONS = Portions(slice_cost=40, sample_bytes=4 << 10, block_bytes=4 << 10)  # so that it stops everywhere
BOUNDS = Bounds(hot=((1, 1), (1, 1)), least_bytes=(1, 1), kept_ms=0)  # one message stays, any number is written


class Sizes(NamedTuple):
    """How small everything is in this seed, so that every limit is met."""

    segment_bytes: int
    batch_bytes: int
    ahead_bytes: int
    checkpoint_seconds: int
    disk_bytes: int
    flush: str = "sync"
    batches: bool = False  # the short way to the disk is there
    slice_queues: int = 64  # of a checkpoint, in one turn
    keep_bytes: int = 0  # of what nothing needs any more
    keep_ms: int = 0
    force_percent: int = 85  # of the disk used, from which on it goes
    looks: bool = False  # how full the disk is shows before it takes no more


def draw_sizes(random: Random) -> Sizes:
    """The sizes of a seed."""
    segment_bytes = random.choice((16 << 10, 32 << 10, 64 << 10))
    return Sizes(
        segment_bytes,
        random.choice((4 << 10, segment_bytes)),
        random.choice((4 << 10, segment_bytes)),
        random.choice((1, 1, 2, 5)),
        random.choice((20, 200, 200)) * segment_bytes,
        random.choice(("sync", "sync", "async")),
        random.random() < 0.7,
        random.choice((1, 4, 64)),
    )


def draw_kept(random: Random, sizes: Sizes) -> Sizes:
    """How long segments are kept that nothing needs."""
    return sizes._replace(
        keep_bytes=random.choice((0, 0, 0, 3 * sizes.segment_bytes, 1 << 40, 1 << 40)),
        keep_ms=random.choice((2_000, 1 << 40)),
        force_percent=random.choice((2, 85)),
        looks=random.random() < 0.5,
    )


class World:
    """What outlives the broker. clean = the last stop was a clean one."""

    def __init__(self, random: Random, sizes: Sizes):
        self.sizes = sizes
        self.disk = SimDisk(random, sizes.disk_bytes)
        self.store = SimStore(self.disk)
        self.clean = False
        self.now = 0.0

    def copy(self, random: Random) -> World:
        """Another machine with the same disk, on which something else may be tried."""
        other = World(random, self.sizes)
        other.disk.take_from(deepcopy(self.disk.durable_files()))
        other.store.restore(self.store.copy())
        other.clean, other.now = self.clean, self.now
        return other

    def without_kept(self) -> None:
        """Somebody deleted state/, and all segments that nothing needs."""
        stamp, files = read_stamp(self.store), self.disk.durable_files()
        needed_from = 0 if stamp is None else stamp.needed_from
        for path in [path for path in files if path.startswith(LOG_DIRECTORY)]:
            if int(path.rpartition("/")[2]) < needed_from:
                del files[path]
        self.disk.take_from(files)
        self.store.drop()


class Life:
    """broker, with what the gateway would give it; failure = why it wants to stop, or None.

    observe()  has the simulation see what entered queues that it did not fill itself
    entered    publisher over AMQP -> number of its last message that is in its queue
    reads      what of its queues is under way
    copied     how many records retention had copied when streams were looked at
    """

    observe: Callable[[], None]
    entered: dict[str, int]
    reads: Any = None
    copied = 0

    def __init__(self, world: World, random: Random):
        self.world = world
        sizes = world.sizes
        self.loop = SimLoop(random, world.now)
        self.clock = Clock(self.loop.wall, self.loop.time)
        self.failure: Exception | None = None
        self.files = SegmentFiles(
            LOG_DIRECTORY, sizes.segment_bytes, ahead_bytes=sizes.ahead_bytes, ops=world.disk
        )  # fmt: skip
        self.spill_files = SpillFiles(SPILL_DIRECTORY, sizes.segment_bytes, ops=world.disk)
        self.readers = SimWorker(self.loop, 0.002, 3)
        self.batches = SimBatches(self.files, world.disk, self.loop) if sizes.batches else None
        self.engine = LocalEngine(
            self.files, SimWorker(self.loop, 0.002), self.readers, self.loop.call_later,
            sync=sizes.flush == "sync", batches=self.batches,
        )  # fmt: skip
        self.flow = Flow(1 << 40, 0, lambda: (0, 1 << 40))
        self.engine.blocked = lambda full: self.flow.set_alarm(LOG, full)
        self.broker = self._build(random)

    def _build(self, random: Random) -> Any:
        world, sizes = self.world, self.world.sizes
        config = Config(
            log=LogConfig(
                flush=sizes.flush,
                segment_bytes=sizes.segment_bytes,
                batch_bytes=sizes.batch_bytes,
                ahead_bytes=sizes.ahead_bytes,
                tail_bytes=64 << 10,
                checkpoint_seconds=sizes.checkpoint_seconds,
                checkpoint_bytes=64 << 10,
                keep_bytes=sizes.keep_bytes,
            ),
            limits=Limits(message_bytes=sizes.segment_bytes // 2, held_bytes=HELD_BYTES, transient_bytes=4096),
        )
        unsynced_bytes = 0 if sizes.flush == "sync" else 1 << 30
        checkpoints = SimWorker(self.loop, 0.02)
        broker: Any = Broker(
            config,
            self.clock,
            Disk(
                self.files, self.engine, world.store, checkpoints, self.readers, self.spill_files,
                SimWorker(self.loop, 0.002), world.clean, unsynced_bytes,
            ),
            Loop(self.loop.call_soon, self._call_at, self._failed),
            codec=tables,
            content=Content,
            deaths=Deaths(),
            message_keys=(MessageKeys, keys_of),
            random_bytes=random.randbytes,
        )
        broker.spill.bounds = BOUNDS
        broker.flow = self.flow
        broker.access = Access(self.loop.time)
        broker.metrics = Metrics()
        broker.log_event = lambda text, **fields: None
        broker.cluster_name = "simulated"
        return broker

    def start(self) -> int:
        """Recover; return the log's end. The disk may crash in it."""
        with patch.object(core.broker, "DeadLetters", WatchedLetters):
            restored = self.broker.start()
        self.broker.checkpointer.slices = Slices(queues=self.world.sizes.slice_queues)
        self.broker.reappender.portions = PORTIONS
        sizes, keeper = self.world.sizes, self.broker.retention.keeper
        keeper.keep = keeper.keep._replace(ms=sizes.keep_ms, force_percent=sizes.force_percent)
        self.world.clean = False
        return int(restored.log.tail)

    @property
    def vhost(self) -> Any:
        """The one virtual host."""
        return self.broker.model.vhosts["/"]

    def _call_at(self, ms: int, callback: Any) -> Any:
        return self.loop.call_at((ms + 0.5) / 1000 - EPOCH_SECONDS, callback)

    def _failed(self, error: Exception) -> None:
        self.failure = error

    def run(self, seconds: float) -> None:
        """Let that much time pass, or less if the broker wants to stop."""
        until = self.loop.now + seconds
        if self.failure is None:
            self.broker.spill.look()
            if self.world.sizes.looks:
                self.broker.retention.look(self.world.disk.free_bytes(LOG_DIRECTORY), self.world.disk.capacity)
        while self.failure is None and self.loop.step_until(until):
            pass
        self.world.now = self.loop.now

    def stop(self) -> bool:
        """The clean stop; False when the disk is full, so that it cannot be one."""
        stopped: list[bool] = []
        self.broker.close(lambda: stopped.append(True))
        self.run(STOP_SECONDS)
        if self.failure is None and not self.engine.full:
            assert stopped, "the broker does not come to an end"
        self.world.clean = bool(stopped)
        return self.world.clean
