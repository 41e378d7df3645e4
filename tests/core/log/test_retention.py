"""Front segments that nothing needs are freed."""

import pytest

from core.log.retention import Retention


@pytest.fixture
def log_of_four(new_bench):
    """Four segments of 4 KiB."""
    bench = new_bench(segment_bytes=4096)
    while bench.log.appended < 3 * 4096 + 1000:
        bench.store(b"x" * 500)
    bench.log.submit()
    bench.engine.finish_all()
    return bench


def test_only_dead_front_segments_below_the_checkpoint_go(log_of_four):
    bench = log_of_four
    retention = Retention(bench.log, 0, bench.failures.append)
    assert retention.free(4095) == []
    assert retention.free(8191) == [0]
    (upto, done), = bench.engine.trimmed  # fmt: skip
    assert upto == 4096
    assert retention.free(12287) == [], "one removal at a time"
    done([0])
    assert retention.free(12287) == [4096] and retention.first == 8192
    bench.engine.trimmed[1][1]([4096])
    assert retention.freed == 2


def test_the_segment_being_written_never_goes(log_of_four):
    bench = log_of_four
    retention = Retention(bench.log, 0, bench.failures.append)
    assert retention.free(1 << 40) == [0, 4096, 8192]


def test_a_failed_removal_is_reported(log_of_four):
    bench = log_of_four
    retention = Retention(bench.log, 0, bench.failures.append)
    retention.free(4096)
    error = OSError(5, "Input/output error")
    bench.engine.trimmed[0][1](error)
    assert bench.failures == [error] and retention.freed == 0
