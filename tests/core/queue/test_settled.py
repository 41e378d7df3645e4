"""What is settled becomes a done record of a turn, whenever in a turn it was settled."""

import pytest

from core.turn import Flushable
from tests.core.queue.bench import Bench, Taker


class Settles(Flushable):
    """An output that acks while it is flushed: what a socket's error or a drained buffer may bring about."""

    def __init__(self, taker, offsets):
        super().__init__()
        self.taker, self.offsets = taker, offsets

    def flush(self):
        for offset in self.offsets:
            self.taker.settle(offset)


@pytest.fixture
def bench():
    return Bench()


def test_what_is_settled_while_outputs_are_flushed_gets_a_turn_of_its_own(bench):
    queue = bench.queue()
    taker = Taker(queue)
    queue.add_consumer(taker)
    for _ in range(5):
        bench.publish(queue)
    bench.run()
    bench.turn.mark(Settles(taker, range(3)))
    bench.soon.pop(0)()
    assert bench.settled == [] and queue.cursor.floor == 3, "this turn has handed over already"
    assert len(bench.soon) == 1, "and nobody else will ask for the next"
    bench.run()
    assert bench.settled == [(queue, [(0, 3)])]
