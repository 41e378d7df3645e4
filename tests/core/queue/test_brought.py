"""What is brought from spill/ to be known is used at once: when memory is short it may not stay until a later turn."""

import msgspec
import pytest

from core.queue import spill
from tests.core.queue.spilling import SpillBench


@pytest.fixture
def restless():
    """Nothing stays in memory but the head, and what comes back goes again as soon as anybody else had his turn."""
    bench = SpillBench(0, file_bytes=1 << 20)
    bench.spill.bounds = spill.Bounds(hot=((1, 1), (1, 1)), least_bytes=(1, 1), kept_ms=0)
    bench.eager = False

    def run(rounds):
        for _ in range(rounds):
            bench.run()
            bench.work()
            bench.spill.look()

    return bench, run


def limit(queue, size):
    queue.configure(msgspec.structs.replace(queue.settings, max_length_bytes=size))


def put_away(bench, run, queue, count, **fields):
    for _ in range(count):
        bench.publish(queue, b"x" * 10, **fields)
        run(4)
    assert queue.held.away >= count - 1


def brought(bench):
    """A list of the offsets that are asked for from now on."""
    offsets, bring = [], bench.reads.bring
    bench.reads.bring = lambda queue, offset, done: (offsets.append(offset), bring(queue, offset, done))
    return offsets


def test_what_expires_in_the_middle_is_read_once_for_its_size_though_it_may_not_stay(restless):
    bench, run = restless
    queue = bench.queue()
    limit(queue, 1 << 20)
    put_away(bench, run, queue, 5)
    put_away(bench, run, queue, 5, expire_at=bench.clock.ms + 40)
    put_away(bench, run, queue, 5)
    offsets = brought(bench)
    bench.pass_ms(50)
    run(20)
    assert (queue.expired, queue.limits.ready_bytes) == (5, 100)
    assert [offset for offset in offsets if offset] == [5, 6, 7, 8, 9]


def test_heads_that_are_too_much_are_read_once_for_their_size_though_they_may_not_stay(restless):
    bench, run = restless
    queue = bench.queue()
    limit(queue, 1 << 20)
    put_away(bench, run, queue, 10)
    offsets = brought(bench)
    limit(queue, 45)
    run(20)
    assert (queue.dropped, queue.limits.ready_bytes) == (6, 40)
    assert offsets == sorted(set(offsets))


def test_what_is_counted_is_read_once_though_it_may_not_stay(restless):
    bench, run = restless
    queue = bench.queue()
    put_away(bench, run, queue, 10)
    offsets = brought(bench)
    limit(queue, 1 << 20)
    run(30)
    assert queue.limits.ready_bytes == 100 and queue.limits.counting_at >= queue.limits.counting_end
    assert offsets == sorted(set(offsets))
