"""The local engine: when a batch is committed, and what a full or a broken disk does."""

import errno
import os

import pytest

from core.log.engine import LocalEngine


def test_a_batch_is_committed_when_it_is_written_and_synced(disk):
    disk.open()
    disk.store(b"hello")
    disk.log.submit()
    disk.worker.run(1)  # the fill that start() asked for
    assert disk.log.committed == 0
    syncs = len(disk.ops.syncs)
    disk.worker.run()
    assert disk.log.committed == disk.log.appended
    assert len(disk.ops.syncs) > syncs
    assert b"hello" in (disk.path / ("0" * 20)).read_bytes()


def test_async_flush_commits_when_written_and_syncs_later(new_disk):
    disk = new_disk(sync=False).open()
    disk.worker.run()
    syncs = len(disk.ops.syncs)
    disk.store()
    disk.log.submit()
    disk.worker.run(1)
    assert disk.log.committed == disk.log.appended and len(disk.ops.syncs) == syncs
    disk.wait()
    assert len(disk.ops.syncs) > syncs


def test_space_is_made_ahead_and_again_when_the_log_grows(disk):
    disk.open()
    disk.worker.run()
    first = disk.engine.space()
    assert first >= 8192 and disk.files.end == disk.segment_bytes
    while disk.log.appended < 100_000:
        disk.store(b"x" * 1000)
        disk.commit()
        assert disk.engine.space() >= disk.log.appended + 8192
    assert os.stat(disk.path / f"{disk.segment_bytes:020d}").st_size == disk.segment_bytes


def test_a_full_disk_holds_batches_back_tells_and_goes_on_by_itself(disk):
    disk.open()
    disk.worker.run()
    told = []
    disk.engine.blocked = told.append
    space = disk.engine.space()
    disk.ops.room = 0
    while disk.log.appended <= space:  # more than the space made so far
        disk.store(b"x" * 3000)
    disk.log.submit()
    disk.worker.run()
    assert told == [True] and disk.engine.full and disk.log.committed == 0 and not disk.failures
    for _ in range(3):
        disk.wait()
    assert told == [True] and len(disk.later) == 1, "one retry at a time"
    disk.ops.room = 1 << 40
    disk.wait()
    assert told == [True, False] and disk.log.committed == disk.log.appended and not disk.failures


def test_within_the_space_made_batches_go_on_although_the_disk_is_full(disk):
    disk.open()
    disk.worker.run()
    disk.ops.room = 20_000  # writes into space made need no more, but a chunk of zeros does not fit
    disk.store(b"x" * 10_000)
    disk.log.submit()
    disk.worker.run()
    assert disk.log.committed == disk.log.appended


def test_a_batch_that_meets_a_full_disk_is_kept_and_written_later(disk):
    disk.open()
    disk.worker.run()
    disk.ops.room = 10
    disk.store(b"x" * 100)
    disk.log.submit()
    disk.worker.run()
    assert disk.engine.full and disk.log.committed == 0 and not disk.failures
    disk.ops.room = 1 << 40
    disk.wait()
    assert disk.log.committed == disk.log.appended and not disk.engine.full


def test_an_error_of_sync_stops_the_log(disk):
    disk.open()
    disk.worker.run()
    disk.ops.broken = errno.EIO
    disk.store()
    disk.log.submit()
    disk.worker.run()
    assert [error.errno for error in disk.failures] == [errno.EIO] and disk.log.committed == 0


def test_an_error_while_making_space_stops_the_log_at_the_next_batch(disk):
    disk.open()
    disk.ops.broken = errno.EIO
    disk.worker.run()
    disk.store()
    disk.log.submit()
    disk.wait()
    assert [error.errno for error in disk.failures] == [errno.EIO] and disk.log.committed == 0


def test_a_batch_that_was_synced_beside_a_sync_that_failed_is_not_committed(new_disk):
    """The kernel tells it once, and what it says may be about the batch's bytes as well as about the zeros."""
    disk = new_disk(segment_bytes=64 << 20).open()
    disk.worker.run()
    disk.store()
    disk.log.submit()
    write, done = disk.worker.jobs.pop(0)
    assert write.args[1] is True
    write()
    disk.ops.broken = errno.EIO
    with pytest.raises(OSError, match="sync of segment 00000000000000000000"):
        disk.files.fill()
    done(None)
    assert [error.errno for error in disk.failures] == [errno.EIO] and disk.log.committed == 0


@pytest.mark.parametrize("early", [True, False], ids=["the flush", "the last sync"])
def test_a_stop_is_none_when_a_sync_failed(new_disk, early):
    disk = new_disk(sync=False).open()
    disk.worker.run()
    disk.store()
    disk.commit()
    if not early:
        disk.wait()
        disk.store()
        disk.commit()
    disk.ops.broken = errno.EIO
    if early:
        disk.wait()
        disk.ops.broken = 0
    told = []
    disk.log.close(lambda: told.append("closed"))
    for callback in disk.soon:
        callback()
    disk.worker.run()
    assert told == [] and [error.errno for error in disk.failures] == [errno.EIO]


def test_freeing_a_segment_makes_a_full_disk_try_again(disk):
    disk.open()
    while disk.log.appended < 3 * disk.segment_bytes:
        disk.store(b"x" * 1000)
        disk.commit()
    disk.ops.room = 0
    disk.engine._is_full(True)
    disk.ops.room = 1 << 40
    gone = []
    disk.engine.trim(2 * disk.segment_bytes, gone.extend)
    disk.worker.run()
    assert gone == [0, disk.segment_bytes] and disk.files.first == 2 * disk.segment_bytes
    assert not disk.engine.full
    assert sorted(os.listdir(disk.path))[0] == f"{2 * disk.segment_bytes:020d}"


def test_reads_come_back_and_errors_too(disk):
    disk.open()
    message = disk.store(b"hello")
    disk.commit()
    got = []
    disk.engine.read(message.offset, message.record_size, got.append)
    disk.engine.read(1 << 40, 10, got.append)
    disk.worker.run()
    assert b"hello" in got[0] and len(got[0]) == message.record_size
    assert isinstance(got[1], OSError)


@pytest.mark.parametrize("sync", [True, False])
def test_close_waits_for_what_is_under_way_and_lets_go_of_the_files(new_disk, sync):
    disk = new_disk(sync=sync).open()
    disk.store()
    told = []
    disk.log.close(lambda: told.append("closed"))
    for callback in disk.soon:
        callback()
    disk.worker.run()
    assert told == ["closed"] and disk.log.committed == disk.log.appended
    assert disk.files.end == 0


def test_a_batch_out_of_place_is_our_bug(disk):
    engine: LocalEngine = disk.open().engine
    with pytest.raises(AssertionError, match="batch at 5, log ends at 0"):
        engine.publish([(5, [b"x"])], 5, print)
