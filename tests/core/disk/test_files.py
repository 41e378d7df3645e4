"""Segment files and the data directory."""

import errno
import os

import pytest

from core.disk.files import CHUNK_BYTES, DataDirectory, FileOps, SegmentFiles
from core.errors import StoreRefused

SEGMENT = 32 << 10


class ShortOps(FileOps):
    """Takes a few bytes at a time."""

    def __init__(self):
        self.most_buffers = 0

    def write(self, fd, buffers, at):
        self.most_buffers = max(self.most_buffers, len(buffers))
        return super().write(fd, [b"".join(bytes(b) for b in buffers)[:700]], at)

    def write_zeros(self, fd, at, size):
        return self.write(fd, [bytes(size)], at)


def filled(path, ops=None):
    files = SegmentFiles(path, SEGMENT, ops=ops)
    files.start(0)
    files.fill()
    files.fill()
    return files


def test_segments_are_of_full_size_and_named_by_their_offset(tmp_path):
    files = filled(tmp_path / "log")
    assert (files.first, files.end, files.filled_to) == (0, 2 * SEGMENT, 2 * SEGMENT)
    assert sorted(os.listdir(tmp_path / "log")) == ["0" * 20, f"{SEGMENT:020d}"]
    assert {os.stat(tmp_path / "log" / name).st_size for name in os.listdir(tmp_path / "log")} == {SEGMENT}


def test_a_chunk_is_filled_at_a_time(tmp_path):
    files = SegmentFiles(tmp_path, 64 << 20)
    files.start(1000)
    assert files.fill() == CHUNK_BYTES, "to a page: the rest goes in whole pages"
    assert os.stat(tmp_path / ("0" * 20)).st_size == 64 << 20
    assert os.stat(tmp_path / ("0" * 20)).st_blocks * 512 < 6 << 20, "sparse"


def test_space_made_ahead_is_space_on_the_disk_so_that_no_batch_meets_a_full_one(tmp_path):
    files = SegmentFiles(tmp_path, 64 << 20)
    files.start(0)
    files.fill()
    assert os.stat(tmp_path / ("0" * 20)).st_blocks * 512 >= CHUNK_BYTES


def test_a_batch_is_written_whole_however_little_a_call_takes(tmp_path):
    ops = ShortOps()
    files = filled(tmp_path, ops)
    pieces = [bytes([i % 251]) * (i % 9) for i in range(3000)]
    files.write_and_sync([(SEGMENT - 100, [b"a" * 100]), (SEGMENT, pieces)], True)
    assert files.read(SEGMENT - 100, 100) == b"a" * 100
    whole = b"".join(pieces)
    assert files.read(SEGMENT, len(whole)) == whole
    assert 1 < ops.most_buffers <= 1024


def test_a_segment_that_is_left_is_synced_whatever_the_mode(tmp_path):
    class CountingOps(FileOps):
        syncs = 0

        def sync(self, fd):
            self.syncs += 1

    ops = CountingOps()
    files = filled(tmp_path, ops)
    ops.syncs = 0
    files.write_and_sync([(SEGMENT - 8, [b"a" * 8]), (SEGMENT, [b"b"])], False)
    assert ops.syncs == 1
    files.write_and_sync([(SEGMENT + 1, [b"c"])], False)
    assert ops.syncs == 1
    files.write_and_sync([(SEGMENT + 2, [b"d"])], True)
    assert ops.syncs == 2


def test_a_read_ends_with_its_segment_and_an_unknown_place_is_an_error(tmp_path):
    files = filled(tmp_path)
    assert files.read(SEGMENT - 10, 100) == bytes(10)
    with pytest.raises(OSError, match="no segment holds"):
        files.read(5 * SEGMENT, 1)


def test_zeros_replace_what_is_erased_across_segments(tmp_path):
    files = filled(tmp_path)
    files.write_and_sync([(SEGMENT - 5, [b"aaaaa"]), (SEGMENT, [b"bbbbb"])], True)
    files.erase(SEGMENT - 3, SEGMENT + 2)
    assert files.read(SEGMENT - 5, 5) == b"aa\0\0\0" and files.read(SEGMENT, 5) == b"\0\0bbb"


def test_the_front_goes_and_the_last_stays(tmp_path):
    files = filled(tmp_path)
    assert files.remove_front(SEGMENT - 1) == []
    assert files.remove_front(10 * SEGMENT) == [0]
    assert (files.first, files.end) == (SEGMENT, 2 * SEGMENT)
    files.close()
    assert SegmentFiles(tmp_path, SEGMENT).first == SEGMENT


def test_a_removed_segment_is_closed_when_its_last_reader_is_through(tmp_path):
    files = filled(tmp_path)
    segment = files.take(0)
    files.remove_front(SEGMENT)
    assert os.pread(segment.fd, 4, 0) == bytes(4)
    files.give(segment)
    with pytest.raises(OSError):
        os.pread(segment.fd, 4, 0)


def test_another_segment_size_is_refused(tmp_path):
    filled(tmp_path).close()
    with pytest.raises(StoreRefused, match="log.segment_bytes is 65536"):
        SegmentFiles(tmp_path, 2 * SEGMENT)


def test_a_missing_segment_is_refused_by_name(tmp_path):
    files = filled(tmp_path)
    files.fill()
    files.close()
    os.unlink(tmp_path / f"{SEGMENT:020d}")
    with pytest.raises(StoreRefused, match=f"{SEGMENT:020d} is missing"):
        SegmentFiles(tmp_path, SEGMENT)


def test_a_segment_made_and_not_yet_sized_is_made_again(tmp_path):
    filled(tmp_path).close()
    (tmp_path / f"{2 * SEGMENT:020d}").touch()
    files = SegmentFiles(tmp_path, SEGMENT)
    assert files.end == 2 * SEGMENT
    files.start(2 * SEGMENT)
    assert files.fill() == 3 * SEGMENT


def test_free_space_is_the_file_system_s(tmp_path):
    assert SegmentFiles(tmp_path, SEGMENT).free_bytes() > 0


def test_a_second_broker_is_refused_and_may_come_when_the_first_is_gone(tmp_path):
    first = DataDirectory(tmp_path / "data")
    with pytest.raises(StoreRefused, match=f"in use by another broker \\(process {os.getpid()}\\)"):
        DataDirectory(tmp_path / "data")
    first.release()
    DataDirectory(tmp_path / "data").release()


def test_clean_and_unclean_stops_are_told_apart_and_how_it_flushed(tmp_path):
    for sync in (True, False):
        first = DataDirectory(tmp_path)
        assert (first.unclean, first.ended_async) == (False, False)
        first.mark_running(sync=sync)
        first.release()
        second = DataDirectory(tmp_path)
        assert (second.unclean, second.ended_async) == (True, not sync)
        second.mark_running(sync=True)
        second.mark_stopped()
        second.release()
    third = DataDirectory(tmp_path)
    assert (third.unclean, third.ended_async) == (False, False)
    third.release()


def test_a_damaged_mark_of_a_running_broker_is_no_reason_to_cut_what_a_sync_kept(tmp_path):
    (tmp_path / "abort").write_bytes(b"flush=as\xf9nc\n")
    directory = DataDirectory(tmp_path)
    assert (directory.unclean, directory.ended_async) == (True, False)
    directory.release()


def test_a_directory_that_cannot_be_used_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreRefused, match="data directory"):
        DataDirectory(tmp_path / "file" / "data")
    with pytest.raises(StoreRefused, match="log directory"):
        SegmentFiles(tmp_path / "file" / "log", SEGMENT)


class RecordingOps(FileOps):
    """Real files; what was forgotten, and where writes ended."""

    def __init__(self):
        self.forgotten, self.ends = [], []

    def write(self, fd, buffers, at):
        self.ends.append(at + sum(map(len, buffers)))
        return super().write(fd, buffers, at)

    def forget(self, fd, at, size):
        self.forgotten.append((at, size))


def test_zeros_replace_old_bytes_whether_or_not_they_go_past_the_page_cache(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 20000)
    ops = FileOps()
    fd = ops.open(str(path))
    assert ops.write_zeros(fd, 4096, 8192) == 8192
    assert ops.write_zeros(fd, 13000, 100) == 100
    ops.close(fd)
    left = path.read_bytes()
    assert left[:4096] == b"x" * 4096 and left[4096:12288] == bytes(8192)
    assert left[12288:13000] == b"x" * 712 and left[13000:13100] == bytes(100) and left[13100:] == b"x" * 6900


def test_a_batch_ends_with_its_page_so_that_no_page_is_read_to_be_written(tmp_path):
    ops = RecordingOps()
    files = filled(tmp_path, ops)
    ops.ends.clear()
    files.write_and_sync([(0, [b"a" * 100])], True)
    files.write_and_sync([(100, [b"b" * 5000])], True)
    assert ops.ends == [4096, 8192]
    assert files.read(0, 5200) == b"a" * 100 + b"b" * 5000 + bytes(100)


def test_what_lies_far_behind_the_end_leaves_the_page_cache(tmp_path):
    ops = RecordingOps()
    files = SegmentFiles(tmp_path, 16 << 20, cached_bytes=1 << 20, ops=ops)
    files.start(0)
    for _ in range(3):
        files.fill()
    for offset in range(0, 11 << 20, 1 << 20):
        files.write_and_sync([(offset, [b"x" * (1 << 20)])], False)
    assert ops.forgotten[0] == (0, 4 << 20)
    assert sum(size for _, size in ops.forgotten) <= 10 << 20


def test_what_recovery_writes_again_leaves_what_lies_behind_it(tmp_path):
    files = filled(tmp_path)
    files.write_and_sync([(0, [b"a" * 9000])], True)
    files.close()
    again = SegmentFiles(tmp_path, SEGMENT)  # not started: the log's end is not known yet
    again.write_and_sync([(0, [b"b" * 5000])], True)
    assert again.read(0, 9100) == b"b" * 5000 + b"a" * 4000 + bytes(100)


@pytest.mark.parametrize("where", ["open", "pwritev"])
def test_a_file_system_that_cannot_go_past_the_page_cache_gets_its_zeros_through_it(tmp_path, monkeypatch, where):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 8192)
    ops, real = FileOps(), getattr(os, where)
    fd, buffered = ops.open(str(path)), []

    def refusing(*args):
        if where == "open" or args[0] != fd:
            raise OSError(errno.EINVAL, "Invalid argument")
        buffered.append(args)
        return real(*args)

    monkeypatch.setattr(os, where, refusing)
    assert ops.write_zeros(fd, 0, 4096) == 4096
    monkeypatch.undo()
    ops.close(fd)
    assert path.read_bytes() == bytes(4096) + b"x" * 4096


def test_a_full_disk_is_an_error_and_no_reason_to_try_otherwise(tmp_path, monkeypatch):
    ops = FileOps()
    fd = ops.open(str(tmp_path / "file"))

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(OSError, match="No space left"):
        ops.write_zeros(fd, 0, 4096)
    monkeypatch.undo()
    ops.close(fd)


class DyingOps(FileOps):
    """`broken` = the errno of the next sync, and of no other: so the kernel tells it, once."""

    broken = 0

    def sync(self, fd):
        broken, self.broken = self.broken, 0
        if broken:
            raise OSError(broken, os.strerror(broken))
        super().sync(fd)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_after_a_sync_that_failed_none_is_said_to_have_succeeded(tmp_path, code):
    ops = DyingOps()
    files = filled(tmp_path, ops)
    files.write_and_sync([(0, [b"x" * 100])], False)
    assert files.failed is None
    ops.broken = code
    with pytest.raises(OSError, match="sync") as told:
        files.sync(0)
    assert told.value.errno == errno.EIO, "a full disk may be tried again, this may not"
    assert files.failed is not None
    tries = (
        lambda: files.sync(0),
        lambda: files.sync(SEGMENT),
        lambda: files.write_and_sync([(100, [b"y" * 100])], True),
        lambda: files.write_and_sync([(SEGMENT - 10, [b"y" * 10]), (SEGMENT, [b"y"])], False),
        files.fill,
        lambda: files.erase(0, 10),
    )
    for number, again in enumerate(tries):
        with pytest.raises(OSError, match="sync") as told:
            again()
        assert told.value.errno == errno.EIO, number
    files.close()
    assert SegmentFiles(tmp_path, SEGMENT).failed is None, "the next start writes again what it read"
