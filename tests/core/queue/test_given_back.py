"""What one settlement gives back, to a queue that is full."""

import pytest

from core.consume import Unacked
from core.state.settings import DROP_HEAD, QueueSettings
from tests.core.queue.bench import Bench, Taker


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture(params=[True, False], ids=["durable", "transient"])
def queue(bench, request):
    return bench.queue(request.param)


@pytest.mark.parametrize("how", ["give_back", "return_all", "settle_taken"])
def test_all_that_comes_back_at_once_is_there_before_the_head_goes(bench, queue, how):
    queue.configure(QueueSettings(max_length_bytes=100, overflow=DROP_HEAD))
    taker = Taker(queue)
    queue.add_consumer(taker)
    bench.publish(queue, bytes(10))
    bench.publish(queue, bytes(60))
    bench.run()
    queue.remove_consumer(taker)
    bench.publish(queue, bytes(60))
    held = Unacked(bench.clock)
    for offset in (1, 0):  # 0 came back before, and has the later tag
        held.add(taker, offset)
    if how == "settle_taken":
        held.settle_taken(held.take(0, True), 1)
    else:
        held.give_back(0, True) if how == "give_back" else held.return_all()
    assert (queue.ready, queue.dropped, queue.limits.ready_bytes, queue.cursor.floor) == (1, 2, 60, 2)
