"""Cold reads past the page cache: what comes is what lies in the segments, and errors are told."""

import errno
import os
import random
import select
from pathlib import Path

import pytest

from core.disk.batch_writer import available
from core.disk.block_reader import BLOCK_BYTES, BUFFER_BYTES, LANES, BlockReader, Lane, new_block_reader
from core.disk.files import SegmentFiles
from core.disk.ops import PAGE_BYTES, FileOps

pytestmark = pytest.mark.skipif(not available(), reason="no eventfd on this system")
SEGMENT = 4 << 20
SECONDS = 30


class NoDirect(FileOps):
    """A file system that knows no O_DIRECT."""

    def open_direct(self, fd):
        return -1


class Reads:
    """Two segments of random bytes, and a block reader whose loop is this test."""

    def __init__(self, path, past_cache=True):
        self.data = random.Random(3).randbytes(2 * SEGMENT)
        self.path = path
        self.files = SegmentFiles(path, SEGMENT, ahead_bytes=SEGMENT)
        self.files.start(0)
        while self.files.filled_to < 2 * SEGMENT:
            self.files.fill()
        self.files.write_and_sync([(0, [self.data[:SEGMENT]]), (SEGMENT, [self.data[SEGMENT:]])], True)
        self.told, self.got = {}, []
        self.reader = new_block_reader(self.files, self.told.__setitem__, past_cache)

    def done(self, result):
        self.got.append(result if isinstance(result, Exception) else bytes(result))

    def wait(self, count=1):
        while len(self.got) < count:
            ready, _, _ = select.select(list(self.told), [], [], SECONDS)
            assert ready
            for fd in ready:
                self.told[fd]()
        got, self.got = self.got, []
        return got

    def read(self, offset, size):
        assert self.reader.read(offset, size, self.done)
        assert self.got == []
        (result,) = self.wait()
        return result

    def close(self):
        self.reader.stop()
        self.files.close()


@pytest.fixture
def reads(tmp_path):
    made = Reads(tmp_path / "log")
    yield made
    made.close()


@pytest.mark.parametrize("past_cache", [True, False])
def test_any_place_and_size_comes_as_it_lies_there(tmp_path, past_cache):
    reads, random_ = Reads(tmp_path / "log", past_cache), random.Random(11)
    sizes = [1, 100, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, 70_000, BLOCK_BYTES - 1, BLOCK_BYTES]
    for _ in range(60):
        offset, size = random_.randrange(2 * SEGMENT), random_.choice(sizes)
        size = min(size, SEGMENT - offset % SEGMENT)
        assert reads.read(offset, size) == reads.data[offset : offset + size]
    reads.close()


def test_a_read_ends_where_its_segment_ends(reads):
    assert reads.read(SEGMENT - 10, 100) == reads.data[SEGMENT - 10 : SEGMENT]


def test_buffers_are_bounded_and_used_again(reads):
    for number in range(LANES):
        assert reads.reader.read(number * 1000, 500, reads.done)
    assert not reads.reader.read(0, 500, reads.done)
    assert sorted(reads.wait(LANES)) == sorted(reads.data[n * 1000 : n * 1000 + 500] for n in range(LANES))
    assert reads.read(5, 5) == reads.data[5:10]


def test_the_buffer_is_not_used_again_before_done_returns_and_is_not_lent_any_longer(reads):
    kept = []

    def done(view):
        kept.append(view)
        for _ in range(LANES - 1):
            assert reads.reader.read(SEGMENT, 100, reads.done)
        assert not reads.reader.read(SEGMENT, 100, reads.done)
        reads.wait(LANES - 1)
        assert view == reads.data[100:200]
        reads.got.append(b"done")

    assert reads.reader.read(100, 100, done)
    assert reads.wait() == [b"done"]
    with pytest.raises(ValueError):
        bytes(kept[0])


def test_what_is_larger_or_not_there_goes_another_way(reads):
    assert not reads.reader.read(1, BUFFER_BYTES, reads.done)
    assert not reads.reader.read(5 * SEGMENT, 10, reads.done)
    assert reads.read(0, 1) == reads.data[:1]


def test_an_error_of_the_disk_and_a_segment_cut_short_are_answers(reads):
    path = reads.path / f"{0:020d}"
    os.truncate(path, 8 * PAGE_BYTES + 10)
    assert reads.read(8 * PAGE_BYTES, 10) == reads.data[8 * PAGE_BYTES : 8 * PAGE_BYTES + 10]
    error = reads.read(8 * PAGE_BYTES, 11)
    assert isinstance(error, OSError) and error.errno == errno.EIO
    segment = reads.files.take(SEGMENT)
    kept, folder = os.dup(segment.fd), os.open(reads.path, os.O_RDONLY)
    os.dup2(folder, segment.fd)  # a directory: no read of it succeeds
    error = reads.read(SEGMENT, 10)
    assert isinstance(error, OSError) and error.errno == errno.EISDIR
    os.dup2(kept, segment.fd)
    os.close(kept)
    os.close(folder)
    reads.files.give(segment)
    assert reads.read(SEGMENT, 10) == reads.data[SEGMENT : SEGMENT + 10]


def test_a_segment_that_is_removed_while_it_is_read_is_read_to_the_end(reads):
    assert reads.reader.read(1000, 100_000, reads.done)
    assert reads.files.remove_front(SEGMENT) == [0]
    assert reads.wait() == [reads.data[1000:101_000]]
    held = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not [name for name in held if name.startswith(str(reads.path / f"{0:020d}"))]


class HeldLane(Lane):
    """Its read is carried out by the test."""

    def put(self):
        pass


def test_without_o_direct_it_reads_through_the_page_cache_and_says_so(reads, caplog):
    lane = HeldLane(reads.files, NoDirect())
    reader = BlockReader([lane])
    assert reader.read(5, 10, reads.done) and lane.direct == -1
    os.preadv(lane.buffered, [lane.view[: lane.size]], lane.place)
    lane.finished(lane.size)
    assert reads.got == [reads.data[5:15]] and reader.cached == 1
    assert reader.read(5, 10, reads.done) and "no O_DIRECT" in caplog.text
    lane.finished(-errno.EIO)
    assert reads.got[1].errno == errno.EIO and not lane.busy


def test_reads_go_past_the_page_cache_in_whole_pages(reads):
    lane = HeldLane(reads.files, FileOps())
    assert BlockReader([lane]).read(SEGMENT + 4097, 4096, reads.done)
    assert (lane.place, lane.size) == (4096, 8192)
    if lane.direct < 0:
        pytest.skip("this file system knows no O_DIRECT")
    assert os.preadv(lane.direct, [lane.view[: lane.size]], lane.place) == 8192
    lane.finished(8192)
    assert reads.got == [reads.data[SEGMENT + 4097 : SEGMENT + 8193]]
