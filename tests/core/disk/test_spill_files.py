"""The files of spill/: what they hold, and what they cost."""

import errno
import os
from pathlib import Path
from random import Random

import pytest

from core.disk.ops import FileOps
from core.disk.spill_files import SpillFiles
from tests.simulation.disk import SimDisk


def taken(folder):
    """Bytes of the disk that the files take."""
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def test_what_a_dead_broker_left_goes_and_what_is_not_ours_stays(tmp_path):
    for name in ("7".zfill(20), "8".zfill(20), "notes"):
        (tmp_path / name).write_bytes(b"old")
    SpillFiles(tmp_path, 1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_blocks_are_read_back_and_a_file_goes_with_its_last(tmp_path):
    files = SpillFiles(tmp_path, 8192)
    places = files.write([b"%03d" % number + b"x" * 397 for number in range(10)])
    assert [files.read(place)[:3] for place in places] == [b"%03d" % number for number in range(10)]
    assert len(list(tmp_path.iterdir())) == 5
    (big,) = files.write([bytes(5000)])
    assert len(files.read(big)) == 5000
    files.free(places[1:])
    assert files.read(places[0])[:3] == b"000" and len(list(tmp_path.iterdir())) == 2
    files.free([places[0], big])
    assert list(tmp_path.iterdir()) == []
    assert files.read(files.write([b"again"])[0]) == b"again"
    files.close()
    assert list(tmp_path.iterdir()) == []


def test_one_block_that_stays_costs_itself():
    folder = Path(os.environ.get("TMPDIR", "/tmp"), f"spill-{os.getpid()}")
    files = SpillFiles(folder, 1 << 30)
    try:
        places = [place for _ in range(20) for place in files.write([os.urandom(100_000), os.urandom(100_000)])]
        files.free(places[:20] + places[21:])
        assert taken(folder) <= 120_000
        assert len(files.read(places[20])) == 100_000
    finally:
        files.close()
        folder.rmdir()


def test_a_full_disk_takes_nothing_of_the_block_and_is_tried_again():
    disk = SimDisk(Random(1), 12 << 10)
    disk.short_writes = 0.5
    files = SpillFiles("spill", 1 << 20, disk)
    (first,) = files.write([b"a" * 5000])
    with pytest.raises(OSError) as error:
        files.write([b"b" * 3000, b"b" * 20_000])
    assert error.value.errno == errno.ENOSPC
    disk.capacity = 1 << 20
    (second,) = files.write([b"c" * 5000])
    assert second[1] == 8192 and files.read(first) == b"a" * 5000 and files.read(second) == b"c" * 5000


def test_a_file_that_became_shorter_is_an_error_not_fewer_bytes(tmp_path):
    files = SpillFiles(tmp_path, 1 << 20)
    (place,) = files.write([bytes(1000)])
    fd = FileOps().open(str(next(tmp_path.iterdir())))
    os.truncate(fd, 10)
    os.close(fd)
    with pytest.raises(OSError, match="shorter"):
        files.read(place)
