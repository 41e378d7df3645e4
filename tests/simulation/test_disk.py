"""What the simulated disk loses, and what it may not."""

from random import Random

import pytest

from tests.simulation.disk import BLOCK_BYTES, SECTOR_BYTES, Crash, SimDisk
from tests.simulation.store import SimStore

PATH = "data/file"


def new_disk(seed=1, capacity=1 << 20):
    disk = SimDisk(Random(seed), capacity)
    fd = disk.open(PATH)
    disk.set_size(fd, 4 * BLOCK_BYTES)
    disk.sync(fd)
    disk.sync_directory("data")
    return disk, fd


def after_crash(disk):
    disk.crash()
    return disk.read(disk.open(PATH), 4 * BLOCK_BYTES, 0)


def test_what_was_synced_survives():
    disk, fd = new_disk()
    disk.write(fd, [b"a" * 700, b"b" * 800], 100)
    disk.sync(fd)
    assert after_crash(disk)[100:1600] == b"a" * 700 + b"b" * 800


def test_of_what_was_not_synced_each_sector_is_old_or_new():
    seen = set()
    for seed in range(50):
        disk, fd = new_disk(seed)
        disk.write(fd, [b"x" * (4 * SECTOR_BYTES)], 0)
        data = after_crash(disk)[: 4 * SECTOR_BYTES]
        sectors = tuple(data[at : at + SECTOR_BYTES] for at in range(0, len(data), SECTOR_BYTES))
        assert all(sector in (b"x" * SECTOR_BYTES, bytes(SECTOR_BYTES)) for sector in sectors)
        seen.add(tuple(sector[0] for sector in sectors))
    assert len(seen) > 8


def test_a_failed_sync_makes_nothing_durable_even_if_the_next_one_succeeds():
    lost = 0
    for seed in range(30):
        disk, fd = new_disk(seed)
        disk.write(fd, [b"x" * SECTOR_BYTES], 0)
        disk.fail_sync = 0
        with pytest.raises(OSError):
            disk.sync(fd)
        disk.sync(fd)
        lost += after_crash(disk)[0] == 0
    assert 0 < lost < 30


def test_a_file_whose_name_was_not_synced_may_be_gone_and_one_that_was_removed_may_be_back():
    gone = back = 0
    for seed in range(30):
        disk, _ = new_disk(seed)
        disk.open("data/other")
        disk.remove(PATH)
        disk.crash()
        names = disk.sizes("data")
        gone += "other" not in names
        back += "file" in names
        assert "file" in names or "other" in names, "what was done later came first"
    assert 0 < gone < 30 and 0 < back < 30


def test_a_full_disk_refuses_new_blocks_and_takes_old_ones():
    disk, fd = new_disk(capacity=2 * BLOCK_BYTES)
    disk.write(fd, [bytes(2 * BLOCK_BYTES)], 0)
    disk.write(fd, [b"again"], 10)
    with pytest.raises(OSError, match="No space"):
        disk.write(fd, [b"x"], 2 * BLOCK_BYTES)
    assert disk.next_data(fd, 0) == 0 and disk.next_data(fd, 2 * BLOCK_BYTES) == -1


def test_a_crash_in_a_commit_leaves_all_of_it_or_nothing():
    for calls in range(2):
        disk, _ = new_disk()
        store = SimStore(disk)
        store.commit({"facts": [(b"k", b"old")]}, {}, {})
        disk.crash_in = calls
        with pytest.raises(Crash):
            store.commit({"facts": [(b"k", b"new"), (b"l", b"new")]}, {}, {})
        assert store.rows("facts") in ([(b"k", b"old")], [(b"k", b"new"), (b"l", b"new")])
