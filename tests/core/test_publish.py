"""A message enters its queues."""

import pytest

from core.publish import ACCEPTED, AT_COMMIT, UNROUTABLE
from core.routing.router import Route
from tests.core.queue.bench import START_MS, Bench, new_message


@pytest.fixture
def bench():
    return Bench()


def route_to(*queues):
    return Route(queues, tuple(queue for queue in queues if queue.durable))


def test_a_message_for_nobody_is_counted_and_stored_nowhere(bench):
    assert bench.publisher.publish(new_message(), route_to()) == UNROUTABLE
    assert (bench.publisher.messages, bench.publisher.unroutable, bench.log.appended) == (1, 1, 0)


@pytest.mark.parametrize(
    ("durable", "persistent", "answer"),
    [(True, True, AT_COMMIT), (True, False, ACCEPTED), (False, True, ACCEPTED), (False, False, ACCEPTED)],
)
def test_only_a_persistent_message_in_a_durable_queue_waits_for_the_commit(bench, durable, persistent, answer):
    queue = bench.queue(durable)
    assert bench.publisher.publish(new_message(persistent=persistent), route_to(queue)) == answer
    assert queue.ready == 1 and (bench.log.appended > 0) is durable


def test_one_record_serves_all_durable_queues_and_one_object_all_others(bench):
    queues = [bench.queue(durable) for durable in (True, False, True, False)]
    message = new_message()
    bench.publisher.publish(message, route_to(*queues))
    assert bench.log.records == 1
    for queue in (queues[0], queues[2]):
        assert queue.index.find(0) == 1 and queue.index.log_offset == message.offset
    assert queues[1].held.get(0) is queues[3].held.get(0) is message


def test_a_record_for_more_queues_than_ever_names_them_all(bench):
    queues = [bench.queue(name=str(number)) for number in range(40)]
    bench.publisher.publish(new_message(), route_to(*queues))
    assert [queue.end() for queue in queues] == [1] * 40


def test_storing_asks_for_a_turn_so_that_the_batch_leaves(bench):
    bench.publish(bench.queue())
    bench.run()
    assert len(bench.engine.batches) == 1


@pytest.mark.parametrize(
    ("ttl_ms", "expire_at", "code"),
    [(-1, 0, 0), (-1, START_MS + 9, START_MS + 9), (5, 0, START_MS + 5), (5, START_MS + 9, START_MS + 5),
     (5, START_MS + 2, START_MS + 2), (0, 0, START_MS)],
)  # fmt: skip
def test_the_earlier_of_the_queues_and_the_messages_own_expiry_counts(bench, ttl_ms, expire_at, code):
    for durable in (True, False):
        queue = bench.queue(durable, ttl_ms)
        bench.publish(queue, expire_at=expire_at)
        assert queue.expiry_of(0) == code
