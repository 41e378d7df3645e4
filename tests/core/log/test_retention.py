"""Front segments that nothing needs are freed."""

import pytest

from core.log.retention import Estimates, Retention


@pytest.fixture
def log_of_four(new_bench):
    """Four segments of 4 KiB."""
    bench = new_bench(segment_bytes=4096)
    while bench.log.appended < 3 * 4096 + 1000:
        bench.store(b"x" * 500)
    bench.log.submit()
    bench.engine.finish_all()
    return bench


def started(bench):
    return Retention(bench.log, 0, bench.failures.append, lambda: 1 << 40)


def test_only_dead_front_segments_below_the_checkpoint_go(log_of_four):
    bench = log_of_four
    retention = started(bench)
    assert retention.free(4095) == []
    assert retention.free(8191) == [0]
    (upto, done), = bench.engine.trimmed  # fmt: skip
    assert upto == 4096
    assert retention.free(12287) == [] and len(bench.engine.trimmed) == 1, "one removal at a time"
    done([0])
    upto, done = bench.engine.trimmed[1]
    assert upto == retention.first == 8192, "what had to wait goes now"
    done([4096])
    assert retention.freed == 2 and len(bench.engine.trimmed) == 2


def test_a_segment_that_somebody_is_about_to_read_waits(log_of_four):
    bench = log_of_four
    reading = [4096]
    retention = Retention(bench.log, 0, bench.failures.append, lambda: reading[0])
    assert retention.free(12288) == [0]
    bench.engine.trimmed[0][1]([0])
    reading[0] = 1 << 40
    assert retention.free(0) == [4096, 8192]


def test_the_segment_being_written_never_goes(log_of_four):
    bench = log_of_four
    retention = started(bench)
    assert retention.free(1 << 40) == [0, 4096, 8192]


def test_a_failed_removal_is_reported(log_of_four):
    bench = log_of_four
    retention = started(bench)
    retention.free(4096)
    error = OSError(5, "Input/output error")
    bench.engine.trimmed[0][1](error)
    assert bench.failures == [error] and retention.freed == 0


def test_a_prefix_goes_when_it_frees_twice_what_is_copied():
    estimates = Estimates(1000)
    assert estimates.worth(0, 4000) == (0, 0), "nothing is known of the first"
    estimates.put(0, 1000, settled=5)
    assert estimates.worth(0, 4000) == (0, 1000)
    estimates.put(1000, 501, settled=6)
    estimates.put(2000, 0, settled=6)
    assert estimates.worth(0, 3999) == (0, -1), "3,000 bytes for 1,501; the fourth segment is not whole"
    estimates.put(3000, 499, settled=7)
    assert estimates.worth(0, 4000) == (4000, -1) and estimates.live_bytes(0, 4000) == 2000
    estimates.forget_before(1000)
    estimates.put(1000, 500, settled=8)
    estimates.put(3000, 501, settled=8)
    assert estimates.worth(1000, 4000) == (3000, -1), "what frees too little by itself is not copied because others do"
    assert estimates.worth(1000, 5000) == (3000, 4000)


def test_the_segment_that_was_looked_at_longest_ago_is_next():
    estimates = Estimates(1000)
    for base, live, settled in ((0, 900, 7), (1000, 900, 5), (2000, 0, 4)):
        estimates.put(base, live, settled)
    assert estimates.stalest(7) == 1000, "what has nothing live has nothing to lose"
    assert estimates.stalest(5) == -1
    estimates.cannot_read(1000)
    assert estimates.stalest(1 << 40) == 0


def test_nothing_goes_behind_a_segment_that_cannot_be_read():
    estimates = Estimates(1000)
    for base in range(0, 50_000, 1000):
        estimates.put(base, 0, 1)
    estimates.cannot_read(1000)
    assert estimates.worth(1000, 50_000) == (0, -1)
