"""Messages expire at their own time, wherever they lie (architecture rule 8.4)."""

import pytest

from core.queue.levels import Levels
from tests.core.queue.bench import Bench, OneShot, Taker


class Graves:
    """Takes dead letters; they leave when told to."""

    def __init__(self):
        self.waiting = []
        self.buried = []

    def bury(self, queue, offset, reason):
        self.waiting.append((queue, offset, reason))

    def go(self, count=None):
        going, self.waiting = self.waiting[:count], self.waiting[len(self.waiting) if count is None else count :]
        for queue, offset, reason in going:
            self.buried.append((offset, reason))
            queue.settle(offset)
            queue.buried()


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture(params=[True, False], ids=["durable", "transient"])
def queue(bench, request):
    return bench.queue(request.param)


def publish(bench, queue, *lives):
    """One message for each time to live in ms, None = for ever; its body is its number."""
    for number, ms in enumerate(lives, queue.end()):
        bench.publish(queue, b"%d" % number, expire_at=0 if ms is None else bench.clock.ms + ms)
    bench.run()


def pass_ms(bench, ms):
    bench.pass_ms(ms)
    bench.run()


def drain(bench, queue):
    taker = Taker(queue, no_ack=True)
    queue.add_consumer(taker)
    bench.run()
    queue.remove_consumer(taker)
    return [int(body) for body in taker.bodies]


def take(bench, queue, count):
    takers = [OneShot(queue) for _ in range(count)]
    for taker in takers:
        queue.park(taker)
    bench.run()
    return takers


def test_each_goes_at_its_time_and_the_others_keep_their_order(bench, queue):
    publish(bench, queue, None, 30, None, 10, 20, None, 10)
    counts = []
    for _ in range(6):
        pass_ms(bench, 5)
        counts.append(queue.ready)
    assert counts == [7, 5, 5, 4, 4, 3]
    assert drain(bench, queue) == [0, 2, 5] and queue.expired == 4


@pytest.mark.parametrize("lives", [[None] * 50, [40] * 50, list(range(10, 60))], ids=["never", "equal", "later"])
def test_nothing_is_kept_of_messages_that_do_not_overtake(bench, queue, lives):
    publish(bench, queue, *lives)
    assert queue.overtaking is None
    pass_ms(bench, 100)
    assert queue.ready == lives.count(None)


def test_a_queue_that_was_empty_begins_anew(bench, queue):
    publish(bench, queue, None, 10)
    pass_ms(bench, 20)
    assert drain(bench, queue) == [0]
    publish(bench, queue, 10)
    assert queue.overtaking is None


def test_the_lesser_of_the_queues_time_and_the_messages_counts_anywhere(bench, queue):
    queue.ttl_ms = 50
    publish(bench, queue, None, 20, 80)
    pass_ms(bench, 21)
    assert queue.ready == 2
    pass_ms(bench, 30)
    assert queue.ready == 0


def test_a_new_ttl_of_the_queue_is_for_what_enters_then(bench, queue):
    """As in RabbitMQ, whose messages carry their expiry."""
    queue.ttl_ms = 1000
    publish(bench, queue, None, 500)
    queue.ttl_ms = 100  # a policy lowers it
    publish(bench, queue, None)
    pass_ms(bench, 101)
    assert queue.ready == 2
    queue.ttl_ms = -1  # and another takes it away
    publish(bench, queue, None)
    pass_ms(bench, 400)
    assert queue.ready == 2
    pass_ms(bench, 500)
    assert drain(bench, queue) == [3]


def test_one_that_is_out_goes_when_it_comes_back(bench, queue):
    publish(bench, queue, None, 10, None)
    takers = take(bench, queue, 3)
    pass_ms(bench, 20)
    assert (queue.ready, queue.unacked, queue.expired) == (0, 3, 0)
    for offset in (1, 2, 0):
        takers[offset].settle(offset, requeue=True)
    bench.run()
    assert (queue.ready, queue.expired) == (2, 1)
    assert drain(bench, queue) == [0, 2]


def test_one_that_was_late_and_is_gone_holds_up_nobody(bench, queue):
    taker = Taker(queue, prefetch=2)
    queue.add_consumer(taker)
    publish(bench, queue, None, 10)
    bench.run()
    bench.pass_ms(20)
    bench.run()
    taker.settle(1, requeue=True)
    bench.run()
    assert (queue.expired, queue.ready, queue.unacked) == (1, 0, 1)
    queue.remove_consumer(taker)
    publish(bench, queue, None, 10)
    bench.run()
    bench.pass_ms(20)
    bench.run()
    assert (queue.expired, queue.ready) == (2, 1)


def test_one_that_came_back_goes_at_its_time(bench, queue):
    publish(bench, queue, None, 10, None)
    takers = take(bench, queue, 3)
    for offset in (2, 1, 0):
        takers[offset].settle(offset, requeue=True)
    pass_ms(bench, 20)
    assert (queue.ready, queue.expired) == (2, 1)
    assert drain(bench, queue) == [0, 2]


@pytest.mark.parametrize("durable", [True, False])
def test_of_any_level(bench, durable):
    queue = bench.queue(durable)
    queue.levels = Levels(3, len)
    for priority, ms in ((0, 10), (3, 20), (3, None), (1, 10), (0, None)):
        expire_at = 0 if ms is None else bench.clock.ms + ms
        bench.publish(queue, b"%d" % queue.end(), expire_at=expire_at, header=bytes(priority))
    pass_ms(bench, 10)
    assert queue.ready == 3
    pass_ms(bench, 10)
    assert drain(bench, queue) == [2, 4]


def test_dead_letters_leave_in_the_order_of_their_times_and_are_not_ready_meanwhile(bench, queue):
    queue.dead_letter, queue.letters = ("", None), Graves()
    publish(bench, queue, None, 30, 20, None, 10)
    pass_ms(bench, 40)
    assert (queue.ready, queue.burying) == (2, 3)
    assert queue.purge() == 2
    assert not queue.cursor.is_done(2), "a purge takes what is ready only"
    queue.letters.go()
    assert not queue.aside
    assert [offset for offset, _ in queue.letters.buried] == [4, 2, 1]
    assert {reason for _, reason in queue.letters.buried} == {"expired"}
    assert (queue.cursor.floor, queue.cursor.done_above) == (5, 0)


def test_no_more_are_on_their_way_than_may_be(bench, queue):
    queue.dead_letter, queue.letters = ("", None), Graves()
    publish(bench, queue, None, *range(5000, 0, -1))
    most = 0
    pass_ms(bench, 6000)
    while queue.letters.waiting:
        most = max(most, queue.burying)
        queue.letters.go(300)
        pass_ms(bench, 1)
    assert most <= 2000 and queue.ready == 1 and queue.burying == 0
    assert [offset for offset, _ in queue.letters.buried] == list(range(5000, 0, -1))


def test_what_is_remembered_is_bounded_by_what_is_there(bench, queue):
    publish(bench, queue, None)
    for _ in range(20):
        publish(bench, queue, *[60_000] * 1000)
        held = take(bench, queue, 1001)[0]
        for offset in range(queue.end() - 1000, queue.end()):
            queue.acknowledge(offset)
        held.settle(0, requeue=True)
        assert queue.overtaking.count <= 2 * 1001 + 1024 + 1000


def test_nothing_is_remembered_of_what_expired(bench, queue):
    publish(bench, queue, None, *[10] * 3000)
    taker = take(bench, queue, 2)[1]
    pass_ms(bench, 20)
    pass_ms(bench, 1)
    assert (queue.ready, queue.unacked) == (0, 2)
    taker.settle(1)
    overtaking = queue.overtaking
    assert overtaking.count == 0 and not queue.aside and not overtaking.late and not overtaking.back


def test_many_at_once_go_in_slices(bench, queue):
    publish(bench, queue, None, *[10] * 5000)
    counts = []
    for ms in (20, 1, 1):
        pass_ms(bench, ms)
        counts.append(queue.ready)
    assert counts == [3001, 1001, 1]
