"""The broker: puts the parts around one log and one clock. It has no logic of its own.

start() blocks: it loads the last checkpoint, replays the log from there and builds what lives. close() makes the last
checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from core.connections import Connections
from core.dead_letters import CYCLE_QUEUE, DeadLetters, DeathCodec
from core.dead_letters import Ports as DeadLetterPorts
from core.delays import Delays
from core.delays import Ports as DelayPorts
from core.errors import NotAllowed
from core.exchanges import Exchanges
from core.flow import BEHIND
from core.groups import make_groups
from core.handover import HandOver
from core.histories import Histories
from core.lifetimes import Lifetimes
from core.log.commit_log import CommitLog
from core.log.keeping import Keeper, keep_of
from core.log.reader import Reader
from core.log.record import STATE
from core.log.recovery import Recovered, scan
from core.log.retention import Retention
from core.log.scans import Ports as ScanPorts
from core.making import Maker
from core.past import make_past
from core.policies import Policies
from core.pop import make_pops
from core.publish import Publisher
from core.queries import MessageKeys, make_queries
from core.queue.cold import ColdReads
from core.queue.delivery import Queue
from core.queue.spill import Ports as SpillPorts
from core.queue.spill import Spill
from core.queue.topic_queue import TopicLog
from core.replies import Replies
from core.schedule import Schedule
from core.state.apply import Applier
from core.state.arguments import ArgumentCodec, table_of
from core.state.changes import Changes
from core.state.changes import Ports as ChangePorts
from core.state.checkpoint import Checkpointer
from core.state.checkpoint import Ports as CheckpointPorts
from core.state.delayed import HALVES, TIMERS, DelayedQueue
from core.state.kept_keys import read_keys
from core.state.model import IDS_KEY, Model, VirtualHost
from core.state.reappend import Ports as ReappendPorts
from core.state.reappend import Reappender
from core.state.records import IdsFact, encode
from core.state.restore import Restored, restore
from core.state.retain import Retainer
from core.state.snapshot import Stamp, read_chunk
from core.state.waking import Ports as WakingPorts
from core.state.waking import Waking
from core.topics import Ports as TopicPorts
from core.topics import Topics
from core.topology import Topology, random_name
from core.turn import Turn
from core.waits import Ports as WaitPorts
from core.waits import Waits

DEFAULT_VHOST = "/"
NO_BOUND = 1 << 62  # until the gateway, which knows how much memory there is, says how much transient queues may take


class Disk(NamedTuple):
    """What lies below: the log's files and engine, the store of checkpoints, the thread that writes them and those that
    read. spill, spiller = the files of spill/, and the thread that writes them. clean = the last stop was clean;
    unsynced_bytes = what a power failure may have taken (it ran with async). keys = the key blocks' files, or None."""

    files: Any
    engine: Any
    store: Any
    checkpoints: Any
    readers: Any
    spill: Any
    spiller: Any
    clean: bool = False
    unsynced_bytes: int = 0
    keys: Any = None


class Loop(NamedTuple):
    """The event loop: soon(callback) = in the next iteration, call_at(epoch ms, callback) = a timer with cancel(),
    failed(exception) = the log cannot be written: stop."""

    soon: Callable[[Callable[[], Any]], Any]
    call_at: Callable[[int, Callable[[], None]], Any]
    failed: Callable[[Exception], None]


class Broker:
    """turn, schedule, model, spill are there at once; log, tail, cold, checkpointer, topology, publisher, replies,
    dead_letters, groups, pops, delays, and of native messages timers and halves from start() on.

    content(header block) reads a message's header fields and properties: headers(), property_of(name)
    connections  those that are open; their protocols add and remove themselves
    policies     what applies; whoever replaces them after start() calls topology.policies_changed()
    access, passwords, flow, metrics, report, cluster_name, started   are the gateway's to set
    """

    def __init__(
        self,
        config: Any,
        clock: Any,
        disk: Disk,
        loop: Loop,
        *,
        codec: ArgumentCodec,
        content: Callable[..., Any],
        deaths: DeathCodec,
        message_keys: MessageKeys,
        random_bytes: Callable[[int], bytes],
    ):
        self.config = config
        self.clock = clock
        self.model = Model()
        self.policies = Policies()
        self.turn: Any = Turn(clock, loop.soon)
        self.schedule = Schedule(loop.call_at, clock)
        self.connections = Connections()
        self.access: Any = None
        self.passwords: Any = None
        self.flow: Any = None
        self.metrics: Any = None
        self.report: Any = None
        self.cluster_name = ""
        self.started = False
        spilling = SpillPorts(disk.spill, disk.spiller, disk.readers, clock, loop.soon)
        self.spill = Spill(spilling, config.limits.transient_bytes or NO_BOUND)
        self.topic_log = TopicLog()
        self._disk = disk
        self._loop = loop
        self._codec = codec
        self.content = content
        self._deaths = deaths
        self._message_keys = message_keys
        self._random_bytes = random_bytes

    def start(self) -> Restored:
        """Recover and be ready to serve. Raises LogCorrupt, StoreRefused; StoreDamaged: another Broker has to try."""
        disk = self._disk
        disk.store.open()
        decode, maker = partial(table_of, self._codec), Maker(self, self.topic_log, partial(read_chunk, disk.store))
        applier = Applier(self.model, maker.queue, decode, maker.exchange, maker.topic)
        maker.apply = applier.apply
        restored = restore(disk.store, applier, self._scan)
        disk.engine.start(restored.log.tail)
        self._build_log(restored.log)
        applier.finish_replay()
        self._build_parts(applier, min(restored.stamp.needed_from, restored.stamp.offset))
        self._resume(restored)
        self.turn.submit = self.handover.submit
        if IDS_KEY not in self.model.facts.stated:
            fact = IdsFact(next_id=self.model.facts.next_id)
            applier.apply(fact, self.append_state(encode(fact)))
        if not self.model.vhosts:
            self.topology.add_vhost(DEFAULT_VHOST)
        self.topology.started()
        return restored

    def _scan(self, stamp: Stamp, on_record: Callable[[Any], None]) -> Any:
        disk = self._disk
        known: dict[str, Any] = {"counters": stamp.counters, "batch": stamp.batch, "clean": disk.clean}
        return scan(disk.files, stamp.offset, on_record, unsynced_bytes=disk.unsynced_bytes, **known)

    def _build_log(self, recovered: Recovered) -> None:
        config, disk, loop = self.config.log, self._disk, self._loop
        self.log = CommitLog(
            disk.engine,
            self.clock,
            loop.soon,
            loop.failed,
            segment_bytes=config.segment_bytes,
            batch_bytes_max=config.batch_bytes,
            tail_bytes=config.tail_bytes,
            counters=recovered.counters,
        )
        self.log.turn, self.log.batch_offset = self.turn, recovered.batch
        self.tail = self.log.tail
        self.reader = Reader(disk.engine, self.tail, loop.soon, config.segment_bytes)
        topics = self.topic_log
        topics.log, topics.turn, topics.fetch = self.log, self.turn, self.reader.fetch
        topics.read, topics.read_chunk = disk.engine.read, self._read_chunk
        self.cold = ColdReads(self.reader, disk.readers, partial(read_chunk, disk.store), self.tail, self.spill)
        self.schedule.expire = self.cold.expire
        self.replies = Replies(self.turn, self.tail, self._random_bytes)
        self.publisher = Publisher(self.log, self.turn)
        self.dead_letters = DeadLetters(
            DeadLetterPorts(
                self.turn,
                self.model.vhosts,
                self.publisher,
                self.tail,
                self.cold,
                self.reader.fetch,
                self.content,
                lambda message, delay_ms, vhost: self.delays.hold(message, delay_ms, vhost),
                lambda message, route, vhost: self.delays.on_the_way(message, route, vhost),
                lambda vhost: self.topology.system_queue(vhost, CYCLE_QUEUE),
            ),
            self._deaths,
        )

    def _build_parts(self, applier: Applier, needed_from: int) -> None:
        disk, loop = self._disk, self._loop
        keeper, first = Keeper(keep_of(self.config), self.clock, self.log.segment_bytes), disk.files.first
        self.retention = Retention(self.log, first, loop.failed, self._oldest_read, keeper, needed_from=needed_from)
        self.retention.native_from = lambda: self.topic_log.lowest
        self.topic_log.first = self._log_begins_at
        self._build_past()
        retainer = Retainer(self.model, self.log, self.retention, STATE)
        sync = self._sync_log
        ports = CheckpointPorts(disk.store, disk.checkpoints, loop.soon, self._hand_over, sync, self.topic_log)
        self.checkpointer = Checkpointer(self.model, self.log, ports, retainer, self.config.log.checkpoint_bytes)
        self._build_reappender(retainer)
        self.handover = HandOver(
            self.turn,
            self.log,
            self.clock,
            self.checkpointer,
            at=self.schedule.at,
            checkpoint_seconds=self.config.log.checkpoint_seconds,
            behind=lambda behind: self.flow.set_alarm(BEHIND, behind),
            follow=self.key_blocks.follow,
        )
        change_ports = ChangePorts(
            self.append_state, self._queue_deleted, self._codec, self._random_bytes, self.config.limits, self.policies
        )
        changes = Changes(self.model, applier, change_ports)
        self.topics = Topics(
            self.model,
            self.topic_log,
            TopicPorts(self.append_state, applier.apply, self.checkpointer.deleted, self.clock, loop.soon),
        )
        self.retention.trimmed = self.topics.trimmer.look
        histories = Histories(self.publisher, self.clock, self.content)
        lifetimes = partial(Lifetimes, self.clock, self.schedule, loop.soon)
        self.topology = Topology(changes, partial(Exchanges, changes, histories), lifetimes)
        self.groups = make_groups(changes, self.schedule, self.clock, self.config)
        self.pops = make_pops(self)
        to_wake = WakingPorts(self.clock, self.schedule, self.cold, self.reader.fetch, loop.soon, self.log)
        waking = partial(Waking, to_wake)
        self.delays = Delays(
            DelayPorts(
                model=self.model,
                publisher=self.publisher,
                clock=self.clock,
                waking=waking,
                content=self.content,
                add_queue=self.topology.add_delayed_queue,
            )
        )
        change = partial(changes.change, durable=True)
        waits = WaitPorts(self.model, self.log, self.topics, self.handover.gather, change, waking)
        self.timers, self.halves = Waits(TIMERS, waits), Waits(HALVES, waits)

    def _build_past(self) -> None:
        disk, at, limits = self._disk, self.schedule.at, self.config.limits
        read, submit, soon = disk.files.read, disk.readers.submit, self._loop.soon
        ports = ScanPorts(self.log, lambda: self.retention.first, read, submit, self.clock, at, soon)
        fetch, content = self.reader.fetch, self.content
        self.past = make_past(ports, self.turn, self.tail, fetch, self._read_chunk, content=content, limits=limits)
        self.key_blocks, self.queries = make_queries(ports, disk.keys, fetch, self._message_keys, content)

    def _read_chunk(self, queue_id: int, number: int, done: Callable[[Any], None]) -> None:
        """done(a stored chunk of an index, None or Exception)."""
        self._disk.readers.submit(partial(read_chunk, self._disk.store, queue_id, number), done)

    def _oldest_read(self) -> int:
        return min(self.reader.oldest, self.past.replays.scans.oldest)

    def _build_reappender(self, retainer: Retainer) -> None:
        def cleared(upto: int) -> None:
            retainer.cleared(upto)
            self.checkpointer.checkpoint()

        self.reappender = Reappender(
            ReappendPorts(
                self.log,
                self.model.queues,
                self.reader,
                read_chunk=self._read_chunk,
                busy=lambda: self.checkpointer.running,
                later=lambda ms, callback: self.schedule.at(self.clock.ms + ms, callback),
                free_bytes=partial(self._disk.readers.submit, self._disk.files.free_bytes),
                make_room=self.retention.make_room,
                cleared=cleared,
            )
        )
        retainer.consider = self.reappender.consider

    def _resume(self, restored: Restored) -> None:
        """Hand over what recovery found: what the next checkpoint must hold, and heads that expire."""
        checkpointer = self.checkpointer
        checkpointer.stamp = restored.stamp.offset
        checkpointer.gone |= restored.gone
        for queue in self.model.queues.values():
            checkpointer.restored(queue, restored.tails.get(queue.id, -1))
            if restored.records:
                checkpointer.touched[queue.id] = queue
            if queue.keys is not None and queue.ready:
                read_keys(queue, partial(read_chunk, self._disk.store), self._disk.files.read)
            if isinstance(queue, DelayedQueue) and queue.vhost:
                self.delays.restored(queue, partial(read_chunk, self._disk.store))
            elif isinstance(queue, DelayedQueue):
                queue.fill(partial(read_chunk, self._disk.store))
            elif queue.ready or queue.delayed:
                self.cold.expire(queue)
        for topic in self.topics.all():
            for queue in topic.queues.made.values():
                checkpointer.restored(queue, restored.tails.get(queue.id, -1))
                if restored.records:
                    queue.touch()
        self.topic_log.lowest = 0
        self.topics.trimmer.look()

    def _queue_deleted(self, queue: Queue) -> None:
        self.schedule.forget(queue)
        self.dead_letters.forget(queue)
        self.past.forget(queue)
        if isinstance(queue, DelayedQueue):
            self.delays.forget(queue)
        if self.metrics is not None:
            self.metrics.absorb(queue)
        if queue.durable:
            self.checkpointer.deleted(queue.id)

    def append_state(self, body: bytes) -> int:
        """Append a state record and return its offset: its maker applies it."""
        self.turn.schedule()
        offset: int = self.log.append(STATE, body)
        return offset

    def _log_begins_at(self) -> int:
        first: int = self.retention.first
        return first

    def _hand_over(self) -> None:
        self.handover.now()

    def _sync_log(self, upto: int) -> None:
        """In the checkpointer's thread: ASYNC_FLUSH says committed before it is synced, a checkpoint must not."""
        if self.config.log.flush == "async" and upto:
            self._disk.files.sync(upto - 1)

    def virtual_host(self, name: str) -> VirtualHost:
        """The virtual host of that name. Raises NotAllowed."""
        vhost = self.model.vhosts.get(name)
        if vhost is None:
            raise NotAllowed(f"vhost {name} not found")
        return vhost

    def random_name(self, prefix: str) -> str:
        """A name that nobody else has: the prefix and 22 characters."""
        return random_name(prefix, self._random_bytes)

    def close(self, done: Callable[[], None]) -> None:
        """Make the last checkpoint, let go of log and store, then done(). Connections must be gone."""
        self.pops.flush()
        self.groups.flush()
        self.handover.closing = self.reappender.closed = self.key_blocks.closed = True
        self.schedule.close()
        for each in (self.delays, self.timers, self.halves):
            each.close()
        self.dead_letters.close()
        self.handover.now()
        self.checkpointer.close(partial(self.log.close, partial(self._closed, done)))

    def _closed(self, done: Callable[[], None]) -> None:
        self._disk.store.close()
        done()
