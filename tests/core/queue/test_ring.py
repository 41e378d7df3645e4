"""Whose turn it is among a queue's consumers: priorities, turns of equals, the single active one."""

import pytest

from core.queue.consumer import Gate
from tests.core.queue.bench import Bench, Taker


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def queue(bench):
    return bench.queue(False)


@pytest.fixture
def single(queue):
    queue.ring.single = True
    return queue


def fill(bench, queue, count):
    for _ in range(count):
        bench.publish(queue, b"%d" % queue.end())
    bench.run()


def consume(queue, *args, **options):
    taker = Taker(queue, *args, **options)
    queue.add_consumer(taker)
    return taker


def test_the_higher_priority_gets_all_until_its_prefetch_is_full(bench, queue):
    low = consume(queue, priority=-3)
    plain = consume(queue, prefetch=1)
    high = consume(queue, priority=5, prefetch=2)
    fill(bench, queue, 5)
    assert (high.bodies, plain.bodies, low.bodies) == ([b"0", b"1"], [b"2"], [b"3", b"4"])
    plain.settle(2)
    high.settle(0)
    fill(bench, queue, 3)
    assert (high.bodies[2:], plain.bodies[1:], low.bodies[2:]) == ([b"5"], [b"6"], [b"7"])


def test_equals_of_a_lower_priority_take_turns_while_a_higher_one_comes_and_goes(bench, queue):
    high = consume(queue, priority=1, prefetch=1)
    lower = [consume(queue) for _ in range(2)]
    for _ in range(4):
        fill(bench, queue, 2)
        high.settle(high.got[-1][1])
    assert [len(taker.got) for taker in (high, *lower)] == [4, 2, 2]


def test_any_integer_is_a_priority(bench, queue):
    takers = [consume(queue, priority=each, prefetch=1) for each in (0, -(1 << 63), (1 << 63) - 1, -1)]
    fill(bench, queue, 4)
    assert [taker.bodies for taker in takers] == [[b"1"], [b"3"], [b"0"], [b"2"]]


def test_one_that_leaves_takes_its_priority_with_it(bench, queue):
    high, low = consume(queue, priority=9), consume(queue)
    queue.remove_consumer(high)
    fill(bench, queue, 2)
    again = consume(queue, priority=9)
    fill(bench, queue, 2)
    assert (len(high.got), len(low.got), len(again.got)) == (0, 2, 2)


def test_a_leaving_equal_does_not_cost_another_its_turn(bench, queue):
    takers = [consume(queue) for _ in range(3)]
    fill(bench, queue, 2)
    queue.remove_consumer(takers[0])
    fill(bench, queue, 1)
    assert [len(taker.got) for taker in takers] == [1, 1, 1]


def test_only_the_active_consumer_gets_messages(bench, single):
    first, second = consume(single, prefetch=2), consume(single)
    fill(bench, single, 4)
    assert (first.bodies, second.bodies, single.ready) == ([b"0", b"1"], [], 2)
    first.settle(0)
    bench.run()
    assert first.bodies == [b"0", b"1", b"2"] and single.ring.active is first


def test_when_it_leaves_the_next_takes_over_and_what_it_holds_stays_its_own(bench, single):
    first, second, third = (consume(single, prefetch=2) for _ in range(3))
    fill(bench, single, 4)
    single.remove_consumer(first)
    bench.run()
    assert (second.bodies, third.bodies, single.unacked) == ([b"2", b"3"], [], 4)
    first.settle(1, requeue=True)
    second.settle(2)
    bench.run()
    assert second.got[2:] == [(b"1", 1, True)] and single.ring.active is second


def test_the_heir_is_the_highest_priority_and_of_equals_the_first_but_a_newcomer_waits(bench, single):
    takers = [consume(single, prefetch=1, priority=each) for each in (0, 1, 5, 5)]
    fill(bench, single, 4)
    order = []
    for _ in takers:
        order.append(takers.index(single.ring.active))
        single.remove_consumer(single.ring.active)
        bench.run()
    assert order == [0, 2, 3, 1] and single.ring.active is None
    assert [taker.bodies for taker in takers] == [[b"0"], [b"3"], [b"1"], [b"2"]]


def test_those_of_a_closing_channel_do_not_inherit(bench, single):
    active, leaving, staying = (consume(single) for _ in range(3))
    active.cancelled = leaving.cancelled = True
    fill(bench, single, 1)
    single.remove_consumer(active)
    assert single.ring.active is staying
    single.remove_consumer(leaving)
    assert single.ring.active is staying


def test_one_that_waits_is_not_woken_by_its_gate(bench, single):
    gate = Gate()
    gate.limit = 1
    active, waiting = consume(single, gate), consume(single, gate)
    fill(bench, single, 3)
    active.settle(0)
    bench.run()
    assert (active.bodies, waiting.bodies) == ([b"0", b"1"], [])


def test_a_deleted_queue_has_no_heirs(bench, single):
    active, waiting = consume(single), consume(single)
    single.deleted = True
    single.remove_consumer(active)
    assert single.ring.active is None and not waiting.available
