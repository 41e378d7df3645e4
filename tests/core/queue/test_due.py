"""The heap of due times, beside sorted()."""

from heapq import heappop, heappush

from hypothesis import given
from hypothesis import strategies as st

from core.queue.cursor import Cursor
from core.queue.due import DueHeap
from core.queue.index import Index

TIMES = st.integers(0, 1 << 53)
STEPS = st.lists(st.one_of(st.none(), st.integers(0, 30), TIMES), max_size=400)


def drained(heap):
    times = []
    while heap.first() >= 0:
        times.append((heap.first(), heap.pop()))
    assert len(heap) == 0 and heap.pop() == -1
    return times


@given(STEPS)
def test_the_earliest_comes_first_and_equal_times_in_the_order_of_offsets(steps):
    heap, model = DueHeap(), []
    for offset, step in enumerate(steps):
        if step is not None:
            heap.push(step, offset)
            heappush(model, (step, offset))
        elif model:
            assert heap.first() == model[0][0]
            assert heap.pop() == heappop(model)[1]
        assert len(heap) == len(model)
    assert sorted(heap.pairs()) == sorted(model)
    assert drained(heap) == sorted(model)


def test_it_grows_and_shrinks_and_stays_small():
    heap = DueHeap()
    for offset in range(100_000):
        heap.push((offset * 7919) % 100_003, offset)
    assert len(heap) == 100_000
    times = [time for time, _ in drained(heap)]
    assert times == sorted(times)
    heap.push(1, 1)
    assert drained(heap) == [(1, 1)]


@given(st.lists(st.tuples(TIMES, st.booleans()), max_size=200))
def test_what_is_done_is_sifted_out(items):
    heap, cursor = DueHeap(), Cursor()
    for offset, (time, done) in enumerate(items):
        heap.push(time, offset)
        if done:
            cursor.settle(offset)
    heap.sift(cursor)
    assert drained(heap) == sorted((time, offset) for offset, (time, done) in enumerate(items) if not done)


def test_a_chunk_of_the_index_fills_it():
    index, cursor, heap = Index(), Cursor(), DueHeap()
    for offset in range(20):
        if offset != 7:  # absent
            index.put(offset, 1000 * offset, 99, 1, 500 - offset)
    cursor.settle(3)
    heap.fill(index.chunk_bytes(0), 0, cursor)
    assert drained(heap) == [(500 - offset, offset) for offset in range(19, -1, -1) if offset not in (3, 7)]
