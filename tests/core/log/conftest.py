"""What the log's tests share: an engine that finishes a batch only when told to, real files whose faults are set."""

import errno
from array import array

import pytest

from core.clock import Clock
from core.disk.files import FileOps, SegmentFiles
from core.log.commit_log import CommitLog
from core.log.engine import LocalEngine
from core.message import Message

SEGMENT_BYTES = 1 << 20


class HeldEngine:
    """Keeps the batches handed over; finish() says that the one in flight is written."""

    def __init__(self, tail=0):
        self.end = tail
        self.batches = []
        self.disk = {}  # log offset -> bytes
        self.done = None
        self.full = False
        self.trimmed = []
        self.reads = []
        self.closed = False

    def tail(self):
        return self.end

    def space(self):
        return self.end + (64 << 20)

    def publish(self, parts, expected_tail, done):
        assert self.done is None, "two batches in flight"
        assert expected_tail == self.end == parts[0][0]
        self.batches.append([(offset, b"".join(bytes(piece) for piece in pieces)) for offset, pieces in parts])
        self.disk.update(self.batches[-1])
        self.end = parts[-1][0] + len(self.batches[-1][-1][1])
        self.done = done

    def finish(self, error=None):
        done, self.done = self.done, None
        done(error)

    def finish_all(self):
        while self.done is not None:
            self.finish()

    def trim(self, upto, done):
        self.trimmed.append((upto, done))

    def read(self, offset, size, done):
        self.reads.append((offset, size, done))

    def close(self, done):
        self.closed = True
        done(None)

    def image(self, first=0):
        """The log's bytes from `first` on, zeros where nothing was written."""
        end = max(offset + len(data) for offset, data in self.disk.items())
        out = bytearray(end - first)
        for offset, data in self.disk.items():
            if offset >= first:
                out[offset - first : offset - first + len(data)] = data
        return bytes(out)


class Bench:
    """A log on a held engine; `soon` holds the callbacks that wait for the next turn."""

    def __init__(self, tail=0, **options):
        self.engine = HeldEngine(tail)
        self.soon = []
        self.failures = []
        self.clock = Clock(lambda: 1_700_000_000.0, lambda: 5.0)
        options.setdefault("segment_bytes", SEGMENT_BYTES)
        self.log = CommitLog(self.engine, self.clock, self.soon.append, self.failures.append, **options)

    def turn(self):
        waiting, self.soon[:] = list(self.soon), []
        for callback in waiting:
            callback()

    def store(self, body=b"x", places=((1, 0, 0),), **fields):
        message = make_message(body, **fields)
        flat = array("q", [number for place in places for number in place])
        self.log.append_store(message, flat, len(places))
        return message


def make_message(body=b"x", address=(b"/", b"", b"q"), header=b"", persistent=True, expire_at=0):
    size = sum(map(len, body)) if isinstance(body, tuple) else len(body)
    message = Message(address, header, body, size, persistent)
    message.expire_at = expire_at
    return message


@pytest.fixture
def new_bench():
    return Bench


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def new_message():
    return make_message


class Inline:
    """Stands in for the worker threads: jobs run when run() is called, in order."""

    def __init__(self):
        self.jobs = []

    def submit(self, job, done):
        self.jobs.append((job, done))

    def run(self, count=1000):
        while self.jobs and count:
            count -= 1
            job, done = self.jobs.pop(0)
            try:
                result = job()
            except Exception as error:
                result = error
            done(result)


class FaultyOps(FileOps):
    """Real files; `room` = bytes that may still be written, `broken` = the errno of every sync."""

    def __init__(self):
        self.room = 1 << 40
        self.broken = 0
        self.short = 1 << 40  # no write takes more
        self.syncs = []
        self.calls = []

    def write(self, fd, buffers, at):
        size = sum(map(len, buffers))
        if size > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = b"".join(bytes(buffer) for buffer in buffers)[: self.short]
        self.calls.append((at, len(buffers)))
        return super().write(fd, [data], at)

    def write_zeros(self, fd, at, size):
        return self.write(fd, [bytes(size)], at)

    def sync(self, fd):
        self.syncs.append(fd)
        if self.broken:
            raise OSError(self.broken, "broken")
        super().sync(fd)


class Disk:
    """A log on real files with inline workers; open() again is a restart."""

    def __init__(self, path, segment_bytes=64 << 10, sync=True):
        self.path, self.segment_bytes, self.sync = path, segment_bytes, sync
        self.ops = FaultyOps()
        self.later = []

    def open(self, tail=0, counters=(0,) * 5, **options):
        self.files = SegmentFiles(self.path, self.segment_bytes, ahead_bytes=8192, ops=self.ops)
        self.worker = Inline()
        self.engine = LocalEngine(
            self.files, self.worker, self.worker, lambda seconds, *call: self.later.append(call), sync=self.sync
        )
        self.engine.start(tail)
        self.soon, self.failures = [], []
        clock = Clock(lambda: 1_700_000_000.0, lambda: 5.0)
        self.log = CommitLog(
            self.engine, clock, self.soon.append, self.failures.append,
            segment_bytes=self.segment_bytes, counters=counters, **options,
        )  # fmt: skip
        return self

    def store(self, body=b"x", **fields):
        message = make_message(body, **fields)
        self.log.append_store(message, array("q", [1, 0, 0]), 1)
        return message

    def commit(self):
        self.log.submit()
        self.worker.run()
        assert self.log.committed == self.log.appended

    def wait(self):
        """What was to be done later is due."""
        due, self.later[:] = list(self.later), []
        for callback, *args in due:
            callback(*args)
        self.worker.run()

    def raw(self, offset, data):
        """Write behind the broker's back."""
        base = offset - offset % self.segment_bytes
        with open(self.path / f"{base:020d}", "r+b") as file:
            file.seek(offset - base)
            file.write(data)


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path / "commitlog")


@pytest.fixture
def new_disk(tmp_path):
    return lambda **options: Disk(tmp_path / "commitlog", **options)
