"""The short way to the disk: what lies in the segments afterwards is what was handed over, whatever way it took."""

import errno
import os
import random
import select
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.disk.batch_writer import BatchWriter, available
from core.disk.files import SegmentFiles
from core.disk.ops import PAGE_BYTES
from core.disk.page_image import IMAGE_BYTES

pytestmark = pytest.mark.skipif(not available(), reason="no eventfd on this system")
SEGMENT = 4 << 20
SECONDS = 30


class Way:
    """A log's segments, and a batch writer whose loop is this test."""

    def __init__(self, path, tail=0, files=None):
        self.files = files or SegmentFiles(path, SEGMENT, ahead_bytes=2 * SEGMENT)
        self.files.start(tail)
        self.results = []
        self.writer = BatchWriter(self.files, self.watch)
        self.tail = tail
        self.short = self.long = 0

    def watch(self, fd, callback):
        self.told, self.callback = fd, callback

    def begin(self, parts, sync=True):
        return self.writer.write(parts, sync, self.results.append, lambda: self.results.append("instead"))

    def wait(self):
        while not self.results:  # told twice when the kernel refused and the thread did it
            assert select.select([self.told], [], [], SECONDS)[0]
            self.callback()
        return self.results.pop()

    def write(self, pieces, sync=True):
        """What the engine does: one batch, cut where the segment ends."""
        while self.files.filled_to < self.tail + sum(map(len, pieces)) + PAGE_BYTES:
            self.files.fill()
        parts, offset = [], self.tail
        data = b"".join(pieces)
        room = SEGMENT - offset % SEGMENT
        if len(data) > room:
            parts = [(offset, [data[:room]]), (offset + room, [data[room:]])]
        else:
            parts = [(offset, pieces)]
        if self.begin(parts, sync):
            self.short += 1
            assert self.wait() is None
        else:
            self.long += 1
            self.files.write_and_sync(parts, sync)
        self.tail += len(data)

    def close(self):
        self.writer.stop()
        self.files.close()


@pytest.fixture
def way(tmp_path):
    made = Way(tmp_path / "log")
    made.writer.start(0)
    yield made
    made.close()


def content(files, size):
    return b"".join(files.read(at, min(SEGMENT, size - at)) for at in range(0, size, SEGMENT))


def random_batches(way, random_, count, sizes):
    written = b""
    for _ in range(count):
        pieces = [random_.randbytes(random_.choice(sizes)) for _ in range(random_.randint(1, 4))]
        way.write(pieces, sync=random_.random() < 0.8)
        written += b"".join(pieces)
    return written


@pytest.mark.parametrize("seed", range(4))
def test_what_was_handed_over_lies_there_and_behind_it_zeros(way, seed):
    sizes = [1, 100, 1100, PAGE_BYTES, PAGE_BYTES - 1, 5000, 70_000, IMAGE_BYTES // 4, IMAGE_BYTES // 4 + 10]
    written = random_batches(way, random.Random(seed), 40, sizes)
    assert way.short and way.long
    assert content(way.files, len(written)) == written
    rest = min(way.files.filled_to, len(written) // SEGMENT * SEGMENT + SEGMENT) - len(written)
    assert way.files.read(len(written), min(rest, 1 << 20)) == bytes(min(rest, 1 << 20))


def test_a_log_that_is_opened_again_goes_on_within_its_last_page(tmp_path):
    written, random_ = b"", random.Random(7)
    for _ in range(6):
        again = Way(tmp_path / "log", tail=len(written))
        again.writer.start(len(written))
        written += random_batches(again, random_, 5, [3, 1100, 9000])
        assert not again.long and content(again.files, len(written)) == written
        again.close()


def test_what_lies_behind_the_zeros_is_not_touched(way):
    way.files.fill()
    behind = way.files.filled_to = 5 * PAGE_BYTES + 10  # an odd place: zeros end there
    way.files.write_and_sync([(behind, [b"precious"])], True)
    way.writer.start(behind - 100)
    assert way.begin([(behind - 100, [b"n" * 100])]) and way.wait() is None
    assert way.files.read(behind - 100, 108) == b"n" * 100 + b"precious"


def test_after_a_batch_whose_page_is_not_known_the_next_goes_the_long_way(way):
    way.files.fill()
    assert not way.begin([(10, [b"x"])])  # not where the last one ended
    assert not way.begin([(11, [b"x"])])
    way.files.write_and_sync([(10, [b"xx"])], True)
    assert not way.begin([(12, [b"y" * PAGE_BYTES])])  # more than a page: now it is known again
    way.files.write_and_sync([(12, [b"y" * PAGE_BYTES])], True)
    assert way.begin([(12 + PAGE_BYTES, [b"z"])]) and way.wait() is None
    assert way.files.read(10, PAGE_BYTES + 3) == b"xx" + b"y" * PAGE_BYTES + b"z"


def segment_at(fd):
    segment = SimpleNamespace(base=0, fd=fd)
    return SimpleNamespace(
        segment_bytes=SEGMENT, filled_to=SEGMENT, start=lambda tail: None, take=lambda offset: segment,
        give=lambda taken: None, close=lambda: os.close(fd),
    )  # fmt: skip


def test_an_error_of_the_disk_is_told(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    full = Way(tmp_path, files=segment_at(os.open("/dev/full", os.O_RDWR)))
    full.writer.start(0)
    assert full.begin([(0, [b"x"])])
    assert full.wait().errno == errno.ENOSPC
    full.close()


def test_a_file_that_cannot_be_written_so_is_left_to_another_way(tmp_path):
    other = Way(tmp_path, files=segment_at(os.open("/dev/null", os.O_RDWR)))  # it refuses to be synced
    other.writer.start(0)
    assert other.begin([(0, [b"x"])])
    assert other.wait() == "instead"
    assert other.begin([(1, [b"y"])], sync=False) and other.wait() is None
    other.close()


def test_a_file_system_without_direct_writes_serves_as_well():
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm to write in")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        way = Way(Path(folder) / "log")
        way.writer.start(0)
        written = random_batches(way, random.Random(3), 20, [1, 1100, 70_000])
        assert way.short and content(way.files, len(written)) == written
        way.close()
