"""A bench whose transient queues page out, on a simulated disk; threads do a job when told to."""

from random import Random

from core.disk.spill_files import SpillFiles
from core.queue import spill
from core.queue.cold import ColdReads
from tests.core.queue.bench import Bench
from tests.simulation.disk import SimDisk


class Threads:
    """Jobs of one pool, oldest first, and what became of those that were done."""

    def __init__(self, bench):
        self.bench = bench

    def submit(self, job, done):
        self.bench.jobs.append((self, job, done))


class SpillBench(Bench):
    """limit: of bytes in memory. eager: run() has the threads work until nothing is left to do."""

    def __init__(self, limit=0, file_bytes=4096, capacity=1 << 30, **options):
        super().__init__(**options)
        self.disk = SimDisk(Random(1), capacity)
        self.files = SpillFiles("spill", file_bytes, self.disk)
        self.jobs = []
        self.eager = True
        self.writer, self.readers = Threads(self), Threads(self)
        ports = spill.Ports(self.files, self.writer, self.readers, self.clock, self.soon.append)
        self.spill = spill.Spill(ports, limit)
        self.reads = ColdReads(None, None, None, self.log.tail, self.spill)

    def queue(self, durable=False, **options):
        queue = super().queue(durable, **options)
        queue.held.room = self.spill.room
        queue.cold = self.reads
        return queue

    def work(self, which=0):
        """The oldest job of one of the pools is done."""
        pools = [threads for threads in (self.writer, self.readers) if any(job[0] is threads for job in self.jobs)]
        if pools:
            chosen = pools[which % len(pools)]
            item = next(item for item in self.jobs if item[0] is chosen)
            self.jobs.remove(item)
            _, job, done = item
            try:
                result = job()
            except Exception as error:
                result = error
            done(result)

    def run(self):
        while self.soon or self.due() or (self.eager and self.jobs):
            waiting, self.soon[:] = list(self.soon), []
            for callback in waiting:
                callback()
            for queue in self.due():
                del self.wakes[queue]
                self.reads.expire(queue)
            if self.eager:
                self.work()

    def files_there(self):
        return [path for path in self.disk._files if path.startswith("spill/")]

    def is_empty(self):
        """Whether nothing is kept of what was spilled, nor of what is in memory."""
        room = self.spill.room
        return (room.bytes, room.away, self.spill.bytes, self.spill._blocks, self.files_there()) == (0, 0, 0, {}, [])
