"""Front segments that nothing needs are freed."""

import pytest

from core.log.keeping import Keep, Keeper
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


def retention_of(bench, keep, reading=lambda: 1 << 40, needed_from=0):
    keeper = Keeper(keep, bench.clock, bench.log.segment_bytes)
    return Retention(bench.log, 0, bench.failures.append, reading, keeper, needed_from=needed_from)


def started(bench):
    return retention_of(bench, Keep())


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
    assert retention.freed == {"size": 2, "hours": 0, "disk": 0, "full": 0} and len(bench.engine.trimmed) == 2


def test_a_segment_that_somebody_is_about_to_read_waits(log_of_four):
    bench = log_of_four
    reading = [4096]
    retention = retention_of(bench, Keep(), lambda: reading[0])
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
    assert bench.failures == [error] and sum(retention.freed.values()) == 0


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


def trimmed(bench):
    """The removal under way is through; returns up to where."""
    upto, done = bench.engine.trimmed.pop()
    done([0] * (upto // 4096))
    return upto


def test_what_nothing_needs_is_kept_up_to_a_size(log_of_four):
    retention = retention_of(log_of_four, Keep(bytes=8191, ms=1 << 40))
    retention.free(12288)
    assert (retention.first, retention.needed_from) == (8192, 12288)
    assert trimmed(log_of_four) == 8192 and retention.freed["size"] == 2
    retention.free(12288)
    assert log_of_four.engine.trimmed == []


def test_what_is_kept_goes_when_it_is_too_old(log_of_four):
    bench = log_of_four
    retention = retention_of(bench, Keep(bytes=1 << 40, ms=1000))
    retention.free(8192)
    ((offset, size, answer),) = bench.engine.reads
    assert offset == 4096, "the first record behind it is not older than its last"
    answer(bench.engine.image()[offset : offset + size])
    assert retention.first == 0 and bench.engine.trimmed == []
    bench.clock.set(bench.clock.ms + 1000)
    retention.look(1 << 39, 1 << 40)
    assert bench.engine.trimmed == []
    bench.clock.set(bench.clock.ms + 1)
    assert retention.look(1 << 39, 1 << 40) == 4096
    assert trimmed(bench) == retention.first == 4096 and retention.freed["hours"] == 1
    offset, size, answer = bench.engine.reads[1]
    answer(bench.engine.image()[offset : offset + size])
    assert trimmed(bench) == 8192 and len(bench.engine.reads) == 2


def test_an_age_that_cannot_be_told_is_that_of_the_next_segment(log_of_four):
    bench = log_of_four
    retention = retention_of(bench, Keep(bytes=1 << 40, ms=1000))
    bench.clock.set(bench.clock.ms + 5000)
    retention.free(8192)
    bench.engine.reads[0][2](OSError(5, "Input/output error"))
    offset, size, answer = bench.engine.reads[1]
    assert offset == 8192
    answer(bench.engine.image()[offset : offset + size])
    assert trimmed(bench) == 4096
    bench.engine.reads[2][2](OSError(5, "Input/output error"))
    assert len(bench.engine.reads) == 3, "until the disk is looked at again"
    retention.look(1 << 39, 1 << 40)
    assert len(bench.engine.reads) == 4


def test_as_much_goes_as_a_full_disk_wants_and_is_counted_as_free(log_of_four):
    bench = log_of_four
    retention = retention_of(bench, Keep(bytes=1 << 40, ms=1 << 40))
    retention.free(12288)
    assert retention.look(200_000, 1_000_000) == 0
    assert retention.look(149_999, 1_000_000) == 4096
    assert retention.look(150_000 - 4097, 1_000_000) == 4096, "one removal at a time"
    assert trimmed(bench) == 4096 and retention.first == 8192, "what had to wait goes now"
    assert trimmed(bench) == 8192 and bench.engine.trimmed == [], "what it saw before says nothing now"
    assert retention.freed == {"size": 0, "hours": 0, "disk": 2, "full": 0}


def test_room_that_is_asked_for(log_of_four):
    bench = log_of_four
    retention = retention_of(bench, Keep(bytes=1 << 40, ms=1 << 40))
    assert not retention.make_room(), "all is needed"
    retention.free(12288)
    assert retention.make_room() and retention.make_room(1 << 30)
    assert trimmed(bench) == 4096 and bench.engine.trimmed == []
    assert retention.make_room(4097)
    assert trimmed(bench) == 12288 and retention.freed["full"] == 3
    assert not retention.make_room()


def test_a_disk_that_is_full_already_gets_what_a_checkpoint_frees(log_of_four):
    retention = retention_of(log_of_four, Keep(bytes=1 << 40, ms=1 << 40))
    log_of_four.engine.full = True
    retention.free(8192)
    assert trimmed(log_of_four) == 4096


def test_where_what_is_needed_begins_is_known_from_before(log_of_four):
    retention = retention_of(log_of_four, Keep(bytes=1 << 40, ms=1 << 40), needed_from=8191)
    assert retention.needed_from == 4096
    retention.free(0)
    assert retention.needed_from == 4096 and retention.make_room(1 << 30)
    assert trimmed(log_of_four) == 4096
