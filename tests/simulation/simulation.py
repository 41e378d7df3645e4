"""One seed: several lives of a broker on one disk, each ended by a crash, a kill, a disk error or a clean stop."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

from core.errors import LogCorrupt
from core.flow import MEMORY
from core.state.snapshot import read_stamp
from tests.simulation import checkers
from tests.simulation.bounded import trimmed
from tests.simulation.clients import body_of
from tests.simulation.disk import Crash
from tests.simulation.expiry import Reads
from tests.simulation.life import Life, World, draw_kept, draw_sizes
from tests.simulation.model import Model, Violation
from tests.simulation.natives import Natives
from tests.simulation.records import watch_delays, watch_letters
from tests.simulation.retries import waited
from tests.simulation.streams import check_readers, observe_streams
from tests.simulation.workload import WIRE_QUEUES, Workload

LIVES_MAX = 4
ACTIONS_MAX = 250
SETTLE_SECONDS = 60.0
STARTS_MAX = 20
POWER, KILL, STOP, SYNC_ERROR = "power failure", "kill", "stop", "sync error"


class Simulation:
    """run() raises Violation, or whatever the broker raised that it must not."""

    def __init__(self, seed: int):
        self.random = Random(seed)
        self.world = World(self.random, draw_kept(Random(f"kept {seed}"), draw_sizes(self.random)))
        self.model = Model()
        self.natives = Natives(seed, self.model)
        self.life: Any = None
        self.workload: Any = None
        self.names = (b"m%d-" % number for number in count(1))
        self.old_tables: Any = None  # of an earlier checkpoint
        self.ends: list[str] = []
        self.durable = 0  # no power failure may cut below it, ASYNC_FLUSH or not

    def run(self) -> None:
        """All lives of this seed."""
        for _ in range(self.random.randint(2, LIVES_MAX)):
            self._start()
            end = self.random.choice((POWER, POWER, POWER, KILL, STOP, SYNC_ERROR))
            self.ends.append(end)
            try:
                self._live(end)
            except Crash:
                self.model.written(self.life.broker.log.appended)
                self._fall(end)
            self.world.now = self.life.loop.now + 0.01
        self._start()
        self._settle()

    def _fall(self, end: str) -> None:
        """The end was none that the broker chose: the machine stops, or only the process."""
        if end == KILL or (end == SYNC_ERROR and self.random.random() < 0.5):
            self.world.disk.stop()
            return
        self.world.disk.crash()
        if self.world.sizes.flush == "async":  # the promise is only what a checkpoint or a start made durable
            stamp = read_stamp(self.world.store)
            self.model.promised = max(self.durable, stamp.offset if stamp is not None else 0)

    # -- start

    def _start(self) -> None:
        """Recover, now and then crashing in it, and see that what came back is right."""
        disk = self.world.disk
        for _ in range(STARTS_MAX):
            if self.random.random() < 0.25:
                disk.crash_in = self.random.randint(0, 40)
            try:
                self._compare_ways()
                self.life = Life(self.world, self.random)
                tail = self.life.start()
                disk.crash_in = None
                break
            except Crash:
                self._fall(self.random.choice((KILL, POWER)))
            except LogCorrupt as error:
                raise Violation(f"the log was refused: {error}") from error
        self.life.observe = self.observe
        self.life.entered = {}
        self.model.restarted(tail, self.life.clock.ms)
        checkers.check_recovered(self.life, self.model)
        self.natives.restarted(self.life, tail)
        self.model.promise(tail)
        self.durable = tail
        self._watch_turns()
        self._watch_deletions()
        self.life.reads = Reads(self.life, self.model)
        self.life.reads.watch()
        watch_letters(self.life, self.model)
        watch_delays(self.life, self.model)
        self.workload = Workload(self.life, self.model, self.random, self.names)

    def _watch_turns(self) -> None:
        """Tell the model which part of the log holds what was settled."""
        checkpointer, model, log = self.life.broker.checkpointer, self.model, self.life.broker.log
        gather = checkpointer.gather

        def watched(settled: Any) -> Any:
            self.observe()
            model.gathered(log.appended)
            return gather(settled)

        checkpointer.gather = watched

    def _watch_deletions(self) -> None:
        """Tell the model of queues that the broker deletes by itself: exclusive ones and those with x-expires."""
        life, model, log = self.life, self.model, self.life.broker.log
        lifetimes = life.broker.topology._lifetimes
        delete = lifetimes._delete

        def watched(vhost: Any, queues: Any) -> None:
            self.observe()
            for queue in queues:
                model.deleting(queue.name, life.clock.ms)
            start = log.appended
            delete(vhost, queues)
            for queue in queues:
                model.changed(start, log.appended, "delete_queue", queue.name)

        lifetimes._delete = watched

    def _compare_ways(self) -> None:
        """Come back on a copy of the disk without the store, or with an earlier checkpoint: it must be the same."""
        if self.world.disk.crash_in is not None or self.random.random() < 0.5:
            return
        found = {}
        for way in ("checkpoint", "no state", "nothing kept", "old state"):
            world = self.world.copy(Random(0))
            if way == "no state":
                world.store.drop()
            elif way == "nothing kept":
                world.without_kept()
            elif way == "old state":
                if self.old_tables is None:
                    continue
                world.store.restore(self.old_tables)
            life = Life(world, Random(0))
            stamp = read_stamp(world.store)
            if stamp is not None and way == "old state":
                if stamp.offset < life.files.first:
                    continue
                world.clean = False
                life = Life(world, Random(0))
            life.start()
            found[way] = checkers.digest(life)
        for way, digest in found.items():
            for part, value in digest.items():
                if value != found["checkpoint"][part]:
                    raise Violation(f"{part} after a start with {way}: {value}, not {found['checkpoint'][part]}")

    # -- life

    def _live(self, end: str) -> None:
        """Act until the end."""
        random, life, disk = self.random, self.life, self.world.disk
        disk.short_writes = random.choice((0.0, 0.0, 0.3))
        disk.direct = random.random() < 0.7
        actions = random.randint(1, ACTIONS_MAX)
        pause = random.choice((0.0005, 0.002, 0.01))
        when = random.randint(0, actions)
        for number in range(actions):
            if number == when:
                self._plan(end)
            if random.random() < 0.01:
                self.world.store.fail_in = 0
            self.workload.act()
            self.natives.act()
            self._run(random.random() * pause)
            if life.failure is not None:
                raise Crash
            if random.random() < 0.1:
                checkers.check_running(life, self.model)
                self.natives.check()
            if random.random() < 0.02:
                self.old_tables = self.world.store.copy()
        disk.fail_sync = None
        if end == STOP:
            if random.random() < 0.3:
                disk.fail_sync = random.randint(0, 3)
            self._stop()
        else:
            raise Crash

    def _plan(self, end: str) -> None:
        if end in (POWER, KILL) or (end == STOP and self.random.random() < 0.3):
            self.world.disk.crash_in = self.random.randint(0, 200)
        elif end == SYNC_ERROR:
            self.world.disk.fail_sync = self.random.randint(0, 20 if self.world.sizes.flush == "sync" else 6)

    def _run(self, seconds: float) -> None:
        self.life.run(seconds)
        self.observe()

    def observe(self) -> None:
        """Find what entered the queues of the publishers over AMQP, and tell the model."""
        self.model.written(self.life.broker.log.appended)
        observe_streams(self.life, self.model)
        waited(self.life, self.model)
        trimmed(self.life, self.model)
        for name in WIRE_QUEUES:
            known = self.model.now.queues.get(name)
            queue = self.life.vhost.queues.get(name)
            while known is not None and queue.end() > known.end:
                index = queue.index
                if index.find(known.end) != 1:
                    raise Violation(f"{name}: offset {known.end} is not in the index")
                message = self.life.broker.tail.get(index.log_offset)
                body = body_of(message)
                self.model.stored(name, body, (index.log_offset, index.size), 0, 0)
                self._enters(body)

    def _enters(self, body: bytes) -> None:
        publisher, number = body.split(b"-")[:2]
        if not number.isdigit():
            return
        before = self.life.entered.get(publisher.decode(), 0)
        if int(number) != before + 1:
            raise Violation(f"{publisher.decode()}: message {int(number)} entered the queue after message {before}")
        self.life.entered[publisher.decode()] = before + 1

    # -- the end

    def _stop(self) -> None:
        for publisher in self.workload.publishers:
            publisher.lose()
        for client in self.workload.clients:
            client.disconnect()
        clean = self.life.stop()
        self.observe()
        if self.life.failure is not None:
            raise Crash
        if not clean:
            self.world.disk.stop()
            return
        log = self.life.broker.log
        if log.committed != log.appended:
            raise Violation(f"stopped with {log.appended - log.committed} bytes not written")
        self.model.promise(log.appended)
        self.durable = log.appended
        self._fall(self.random.choice((KILL, POWER)))

    def _settle(self) -> None:
        """Let some clients work; then alarms end and there is space: everything must come to an end."""
        for _ in range(self.random.randint(0, ACTIONS_MAX)):
            self.workload.act()
            self.natives.act()
            self._run(self.random.random() * 0.002)
        self.workload.publishing = False
        self.world.disk.capacity = 1 << 40
        self.life.flow.set_alarm(MEMORY, False)
        self._run(SETTLE_SECONDS)
        checkers.check_running(self.life, self.model)
        self._check_publishers()
        self._check_front()
        self.natives.settle()
        self._run(SETTLE_SECONDS)
        self._drain()
        self.natives.check()

    def _check_front(self) -> None:
        self.life.broker.checkpointer.checkpoint()  # the last one may have failed
        self._run(SETTLE_SECONDS)
        checkers.check_front(self.life)

    def _check_publishers(self) -> None:
        """Everything sent was taken in and confirmed; closes were answered."""
        if self.life.flow.blocked:
            raise Violation(f"still blocked, {self.life.flow.alarms}, though there is space")
        if self.model.now.hidden is not None and self.model.now.hidden.units:
            raise Violation(f"delayed messages {list(self.model.now.hidden.units)} still wait, and nothing happens")
        for client in self.workload.clients:
            if client.confirms.waiting:
                raise Violation(f"{len(client.confirms.waiting)} messages are not confirmed, and nothing happens")
            if client.getters:
                raise Violation(f"{len(client.getters)} gets are not answered, and nothing happens")
        for publisher in self.workload.publishers:
            if publisher.phase == "closing":
                raise Violation(f"{publisher.name}: its close is not answered")
            if publisher.phase == "open" and publisher.confirmed != publisher.sent:
                raise Violation(f"{publisher.name}: {publisher.sent} messages sent, {publisher.confirmed} confirmed")

    def _drain(self) -> None:
        """A consumer without a limit on every queue gets everything that is not held."""
        client = self.workload.clients[0]
        client.close()
        client.gate.limit = 0
        client.unacked_max = 1 << 30
        for known in list(self.model.now.queues.values()):
            if known.owner in (None, client) and not known.stream_bytes:
                client.consume(known, True, 0)
        for other in self.workload.clients[1:]:
            other.disconnect()
        self._run(SETTLE_SECONDS)
        checkers.check_running(self.life, self.model)
        check_readers(self.workload.readers)
        for name, queue in self.life.vhost.queues.items():
            if (queue.ready or queue.unacked) and not self.model.now.queues[name].stream_bytes:
                raise Violation(f"{name}: {queue.ready} messages stay, though a consumer takes all")
        self._check_front()
        log = self.life.broker.log
        if log.committed != log.appended:
            raise Violation(f"{log.pending_bytes} bytes are not committed, and nothing happens")
