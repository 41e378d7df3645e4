"""A queue and its consumers: turns, credit, places, cold reads, expiry, deletion."""

import pytest

from core.queue.consumer import Gate
from tests.core.queue.bench import Bench, OneShot, Taker, bytes_held


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture(params=[True, False], ids=["durable", "transient"])
def queue(bench, request):
    return bench.queue(request.param)


def fill(bench, queue, count):
    for number in range(count):
        bench.publish(queue, b"%d" % number)


def consume(queue, *args, **options):
    taker = Taker(queue, *args, **options)
    queue.add_consumer(taker)
    return taker


def get(queue, **options):
    taker = OneShot(queue, **options)
    queue.park(taker)
    return taker


def test_a_consumer_gets_what_is_there_and_what_comes_in_order(bench, queue):
    fill(bench, queue, 3)
    taker = consume(queue)
    bench.run()
    bench.publish(queue, b"late")
    bench.run()
    assert taker.got == [(b"0", 0, False), (b"1", 1, False), (b"2", 2, False), (b"late", 3, False)]
    assert (queue.ready, queue.unacked, queue.delivered, queue.published) == (0, 4, 4, 4)


def test_equal_consumers_take_turns(bench, queue):
    takers = [consume(queue) for _ in range(3)]
    fill(bench, queue, 7)
    bench.run()
    assert [taker.bodies for taker in takers] == [[b"0", b"3", b"6"], [b"1", b"4"], [b"2", b"5"]]


def test_one_without_credit_is_passed_over_until_it_acks(bench, queue):
    slow, quick = consume(queue, prefetch=1), consume(queue)
    fill(bench, queue, 4)
    bench.run()
    assert (slow.bodies, quick.bodies) == ([b"0"], [b"1", b"2", b"3"])
    slow.settle(0)
    fill(bench, queue, 3)
    bench.run()
    assert len(slow.got) == 2 and slow.unacked == 1


def test_a_no_ack_consumer_holds_nothing(bench, queue):
    taker = consume(queue, no_ack=True, prefetch=1)
    fill(bench, queue, 5)
    bench.run()
    assert len(taker.got) == 5
    assert (queue.unacked, queue.cursor.floor, bytes_held(queue)) == (0, 5, 0)


def test_what_comes_back_goes_to_its_place_and_says_so(bench, queue):
    taker = consume(queue, prefetch=3)
    fill(bench, queue, 5)
    bench.run()
    taker.settle(2, requeue=True)
    taker.settle(0, requeue=True)
    queue.remove_consumer(taker)
    other = consume(queue)
    bench.run()
    assert other.got == [(b"0", 0, True), (b"2", 2, True), (b"3", 3, False), (b"4", 4, False)]
    assert queue.redelivered == 2


def test_a_shared_gate_closes_for_all_and_opens_for_all(bench, queue):
    gate = Gate()
    gate.limit = 3
    takers = [consume(queue, gate) for _ in range(2)]
    fill(bench, queue, 9)
    bench.run()
    assert [len(taker.got) for taker in takers] == [2, 1] and gate.unacked == 3
    takers[1].settle(1)
    bench.run()
    assert sum(len(taker.got) for taker in takers) == 4
    gate.limit = 0
    gate.open()
    bench.run()
    assert sum(len(taker.got) for taker in takers) == 9 and gate.closed_out == []


def test_a_closed_gate_remembers_each_consumer_once_and_none_that_left(bench):
    gate = Gate()
    gate.limit = 1
    queues = [bench.queue(False) for _ in range(2)]
    takers = [consume(queue, gate) for queue in queues]
    for round_ in range(20):
        for queue in queues:
            fill(bench, queue, 1)
        passing = consume(queues[round_ % 2], gate)
        bench.run()
        assert len(gate.closed_out) == len(set(gate.closed_out))
        queues[round_ % 2].remove_consumer(passing)
        assert set(gate.closed_out) <= set(takers)
    assert gate.unacked == 1


def test_a_consumer_that_left_gets_nothing_and_may_still_ack(bench, queue):
    taker = consume(queue, prefetch=2)
    fill(bench, queue, 3)
    bench.run()
    queue.remove_consumer(taker)
    taker.settle(0)
    taker.settle(1, requeue=True)
    bench.run()
    assert len(taker.got) == 2 and (queue.ready, queue.unacked) == (2, 0)


def test_a_get_is_answered_with_the_first_or_with_nothing(bench, queue):
    fill(bench, queue, 1)
    first, second = get(queue), get(queue, no_ack=True)
    bench.run()
    assert (first.bodies, first.empty) == ([b"0"], 0)
    assert (second.bodies, second.empty) == ([], 1)


def test_a_get_that_is_nobodys_any_more_costs_no_message(bench, queue):
    fill(bench, queue, 1)
    gone = get(queue, no_ack=True)
    gone.cancelled = True
    bench.run()
    assert gone.got == [] and gone.empty == 0 and queue.ready == 1
    other = get(queue)
    bench.run()
    assert other.got == [(b"0", 0, False)]


def test_a_get_may_cause_another_and_a_deletion_from_inside(bench, queue):
    fill(bench, queue, 3)
    answers = []

    class Chain(OneShot):
        def deliver(self, message, offset, redelivered):
            super().deliver(message, offset, redelivered)
            answers.append(message.body)
            queue.park(Chain(queue, no_ack=True))
            if len(answers) == 2:
                queue.discard()

        def nothing(self):
            answers.append("empty")

    queue.park(Chain(queue, no_ack=True))
    bench.run()
    assert answers == [b"0", b"1", "empty"]


class TestCold:
    @pytest.fixture
    def bench(self):
        return Bench(tail_bytes=1)

    @pytest.fixture
    def messages(self, bench, queue):
        """Six messages in the log only, as (offset -> message)."""
        found = {number: bench.publish(queue, b"%d" % number) for number in range(6)}
        bench.run()
        bench.engine.finish_all()
        return found

    @pytest.fixture
    def queue(self, bench):
        return bench.queue()

    def test_a_message_that_is_not_in_memory_is_asked_for_once(self, bench, queue, messages):
        taker = consume(queue)
        bench.run()
        fill(bench, queue, 1)
        bench.run()
        assert bench.cold == [(queue, 0)] and taker.got == []
        queue.read_finished({0: messages[0], 1: messages[1]})
        bench.run()
        assert taker.bodies == [b"0", b"1"] and bench.cold == [(queue, 0), (queue, 2)]

    def test_gets_wait_for_the_disk_in_their_order(self, bench, queue, messages):
        takers = [get(queue) for _ in range(2)]
        bench.run()
        assert [taker.bodies + [taker.empty] for taker in takers] == [[0], [0]]
        queue.read_finished(dict(messages))
        bench.run()
        assert [taker.bodies for taker in takers] == [[b"0"], [b"1"]]

    def test_gets_are_answered_when_the_queue_goes_while_the_disk_is_read(self, bench, queue, messages):
        taker = get(queue)
        bench.run()
        queue.discard()
        bench.run()
        assert taker.empty == 1
        queue.read_finished(dict(messages))
        bench.run()
        assert (taker.got, taker.empty) == ([], 1)

    def test_gets_are_answered_when_the_queue_is_purged_while_the_disk_is_read(self, bench, queue, messages):
        taker = get(queue)
        bench.run()
        assert queue.purge() == 6
        bench.run()
        queue.read_finished(dict(messages))
        bench.run()
        assert taker.empty == 1

    def test_a_requeued_message_goes_first_although_others_were_read_ahead(self, bench, queue, messages):
        taker = consume(queue, prefetch=2)
        bench.run()
        queue.read_finished(dict(messages))
        bench.run()
        taker.settle(0, requeue=True)
        bench.run()
        assert bench.cold[-1] == (queue, 0)
        queue.read_finished(dict(messages))
        bench.run()
        assert taker.got == [(b"0", 0, False), (b"1", 1, False), (b"0", 0, True)]

    def test_what_expired_is_not_read(self, bench, queue):
        bench.publish(queue, b"old", expire_at=bench.clock.ms + 5)
        bench.run()
        bench.engine.finish_all()
        bench.pass_ms(6)
        bench.run()
        taker = get(queue)
        bench.run()
        assert (taker.empty, queue.expired, bench.cold) == (1, 1, [])


def test_a_durable_queues_progress_is_gathered_once_a_turn(bench):
    queue = bench.queue()
    taker = consume(queue)
    fill(bench, queue, 4)
    bench.run()
    for offset in (0, 1, 3):
        taker.settle(offset)
    bench.run()
    assert bench.settled == [(queue, [(0, 2), (3, 4)])]


def test_purge_takes_the_ready_only(bench, queue):
    taker = consume(queue, prefetch=3)
    fill(bench, queue, 8)
    bench.run()
    taker.settle(1, requeue=True)
    queue.remove_consumer(taker)
    assert queue.purge() == 6
    assert (queue.ready, queue.unacked) == (0, 2)
    taker.settle(2, requeue=True)
    bench.publish(queue, b"new")
    other = consume(queue)
    bench.run()
    assert other.got == [(b"2", 2, True), (b"new", 8, False)]
    for offset in (2, 8):
        other.settle(offset)
    taker.settle(0)
    assert (queue.cursor.floor, queue.unacked, bytes_held(queue)) == (9, 0, 0)


def test_a_purge_of_an_untouched_durable_queue_is_one_range(bench):
    queue = bench.queue()
    fill(bench, queue, 5000)
    assert queue.purge() == 5000 and queue.cursor.floor == queue.next == 5000
    bench.run()
    assert bench.settled == [(queue, [(0, 5000)])] and queue.index.begin == 5000


def test_after_recovery_everything_not_done_is_ready_and_may_have_been_delivered(bench):
    queue = bench.queue()
    fill(bench, queue, 5)
    for offset in (0, 1, 3):
        queue.cursor.settle(offset)
    queue.restored()
    fill(bench, queue, 1)
    taker = consume(queue)
    bench.run()
    assert [(offset, redelivered) for _, offset, redelivered in taker.got] == [(2, True), (4, True), (5, False)]


def test_a_unit_that_retention_removed_reads_as_done(bench):
    queue = bench.queue()
    fill(bench, queue, 2)
    queue.index.put(5, 1, 0, 0, 0)  # size 0: three units nobody wrote, and one that is absent
    queue.ready = 6
    taker = consume(queue)
    bench.run()
    assert len(taker.got) == 2 and queue.ready == 0


class TestExpiry:
    def test_the_head_goes_when_its_time_is_over(self, bench, queue):
        queue.ttl_ms = 10
        fill(bench, queue, 2)
        bench.run()
        bench.pass_ms(9)
        bench.run()
        assert queue.ready == 2
        bench.pass_ms(1)
        bench.run()
        assert (queue.ready, queue.expired, bytes_held(queue)) == (0, 2, 0)

    def test_a_ttl_of_nothing_still_reaches_who_takes_it_at_once(self, bench, queue):
        queue.ttl_ms = 0
        taker = consume(queue)
        fill(bench, queue, 1)
        bench.run()
        assert taker.bodies == [b"0"]

    def test_a_ttl_of_nothing_leaves_nothing_to_wait(self, bench, queue):
        queue.ttl_ms = 0
        fill(bench, queue, 3)
        bench.run()
        assert (queue.ready, queue.expired) == (0, 3)

    def test_what_comes_back_too_late_goes_too(self, bench, queue):
        queue.ttl_ms = 10
        taker = consume(queue, prefetch=1)
        fill(bench, queue, 1)
        bench.run()
        bench.pass_ms(20)
        bench.run()
        queue.remove_consumer(taker)
        taker.settle(0, requeue=True)
        bench.run()
        assert (queue.ready, queue.expired) == (0, 1)

    def test_one_behind_a_message_that_never_expires_goes_at_its_time(self, bench, queue):
        bench.publish(queue, b"stays")
        bench.publish(queue, b"goes", expire_at=bench.clock.ms + 10)
        bench.run()
        bench.pass_ms(9)
        bench.run()
        assert queue.ready == 2
        bench.pass_ms(1)
        bench.run()
        assert (queue.ready, queue.expired) == (1, 1)

    def test_unacknowledged_messages_do_not_expire(self, bench, queue):
        queue.ttl_ms = 10
        taker = consume(queue)
        fill(bench, queue, 1)
        bench.run()
        bench.pass_ms(50)
        bench.run()
        taker.settle(0)
        assert (queue.acked, queue.expired, queue.unacked) == (1, 0, 0)

    def test_a_long_row_of_expired_messages_goes_in_slices(self, bench, queue):
        queue.ttl_ms = 10
        fill(bench, queue, 4500)
        bench.run()
        bench.pass_ms(20)
        del bench.wakes[queue]
        assert queue.expire() == 2000 and bench.wakes[queue] == bench.clock.ms + 1
        for _ in range(2):
            bench.pass_ms(1)
            bench.run()
        assert (queue.ready, queue.expired) == (0, 4500)


class TestDeleted:
    def test_it_lets_go_of_all_it_held_and_acks_of_it_are_harmless(self, bench, queue):
        taker = consume(queue, prefetch=2)
        fill(bench, queue, 900)
        bench.run()
        queue.remove_consumer(taker)
        queue.discard()
        assert (queue.ready, bytes_held(queue)) == (0, 0)
        taker.settle(0)
        taker.settle(1, requeue=True)
        bench.run()
        assert (queue.ready, queue.unacked) == (0, 0)
        assert not queue.durable or queue.index.loaded_chunks() in ([], [1])

    def test_what_came_back_before_is_not_given_to_who_asks(self, bench, queue):
        taker = consume(queue, prefetch=1)
        fill(bench, queue, 1)
        bench.run()
        queue.remove_consumer(taker)
        taker.settle(0, requeue=True)
        waiting = get(queue)
        queue.discard()
        bench.run()
        assert (waiting.got, waiting.empty) == ([], 1)
