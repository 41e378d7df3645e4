"""Front segments in which nothing is live are freed."""

from array import array

import pytest

from core.log.retention import Retention


@pytest.fixture
def log_of_four(new_bench):
    """Four segments of 4 KiB; the messages of each."""
    bench = new_bench(segment_bytes=4096)
    messages = []
    while bench.log.appended < 3 * 4096 + 1000:
        messages.append(bench.store(b"x" * 500))
    bench.log.submit()
    bench.engine.finish_all()
    return bench, messages


def settle(bench, messages, upto):
    for message in messages:
        if message.offset < upto:
            bench.log.liveness.drop(message.offset)
    messages[:] = [message for message in messages if message.offset >= upto]


def test_only_dead_front_segments_below_the_checkpoint_go(log_of_four):
    bench, messages = log_of_four
    retention = Retention(bench.log, 0, bench.failures.append)
    assert retention.free(1 << 40) == []
    settle(bench, messages, 8192)
    assert retention.free(4095) == []
    assert retention.free(8191) == [0]
    (upto, done), = bench.engine.trimmed  # fmt: skip
    assert upto == 4096
    assert retention.free(1 << 40) == [], "one removal at a time"
    done([0])
    assert retention.free(1 << 40) == [4096] and retention.first == 8192
    bench.engine.trimmed[1][1]([4096])
    assert retention.freed == 2


def test_a_live_front_segment_holds_back_dead_ones_behind_it(log_of_four):
    bench, messages = log_of_four
    retention = Retention(bench.log, 0, bench.failures.append)
    bench.log.liveness.add(100, 1)
    settle(bench, messages, 8192)
    assert retention.free(1 << 40) == []


def test_the_segment_being_written_never_goes(log_of_four):
    bench, messages = log_of_four
    settle(bench, messages, 1 << 40)
    retention = Retention(bench.log, 0, bench.failures.append)
    assert retention.free(1 << 40) == [0, 4096, 8192]


def test_a_failed_removal_is_reported(log_of_four):
    bench, messages = log_of_four
    settle(bench, messages, 4096)
    retention = Retention(bench.log, 0, bench.failures.append)
    retention.free(1 << 40)
    error = OSError(5, "Input/output error")
    bench.engine.trimmed[0][1](error)
    assert bench.failures == [error] and retention.freed == 0


def test_units_are_counted_when_a_message_is_stored(new_bench):
    bench = new_bench()
    message = bench.store(b"x", [(1, 0, 0), (2, 0, 0)])
    bench.log.append_store(message, array("q", [1, 1, 0]), 1)
    assert bench.log.liveness.live(0) == 3
