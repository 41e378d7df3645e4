"""The cursor beside a set of done offsets."""

from hypothesis import given
from hypothesis import strategies as st

from core.queue.cursor import Cursor

END = 1600  # three words and a bit
OFFSETS = st.one_of(st.integers(0, END), st.sampled_from([0, 1, 511, 512, 513, 1023, 1024]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("settle"), OFFSETS, st.integers(1, 40)),
        st.tuples(st.just("range"), OFFSETS, st.integers(0, 700)),
        st.tuples(st.just("purge"), st.just(0), st.integers(0, 700)),
        st.tuples(st.just("take"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


def floor_of(done):
    return next(offset for offset in range(4 * END) if offset not in done)


def expand(ranges):
    return [offset for start, end in ranges for offset in range(start, end)]


def check(cursor, done):
    floor = floor_of(done)
    above = sorted(offset for offset in done if offset > floor)
    assert (cursor.floor, cursor.done_above) == (floor, len(above))
    assert expand(cursor.ranges()) == above
    assert all(start < end for start, end in cursor.ranges())
    for offset in {*above[:20], floor - 1, floor, floor + 1, END, 512, 1023} - {-1}:
        assert cursor.is_done(offset) == (offset in done)


@given(STEPS)
def test_it_is_a_set_of_done_offsets(steps):
    cursor, done, gathered = Cursor(), set(), set()
    for kind, offset, count in steps:
        if kind == "settle":
            for each in range(offset, offset + count):
                assert cursor.settle(each) == (each not in done)
            done.update(range(offset, offset + count))
        elif kind == "take":
            one = cursor.take_run()
            gathered.update(expand([(cursor.run_start, cursor.run_end)] if one else cursor.take_runs()))
            assert gathered == done and cursor.take_runs() == []
        else:
            start = cursor.floor if kind == "purge" else offset
            cursor.settle_range(start, start + count)
            done.update(range(start, start + count))
        check(cursor, done)
    assert gathered | set(expand(cursor.take_runs())) == done


@given(STEPS)
def test_a_checkpoint_brings_back_the_same_set_and_gathers_nothing(steps):
    cursor = Cursor()
    for _, offset, count in steps:
        cursor.settle_range(offset, offset + count)
    restored = Cursor()
    restored.settle(3)
    restored.restore(cursor.floor, cursor.ranges())
    assert (restored.floor, restored.done_above) == (cursor.floor, cursor.done_above)
    assert restored.ranges() == cursor.ranges() and restored.take_runs() == []


@given(st.permutations(range(30)))
def test_all_settled_in_any_order_leaves_nothing_but_the_floor(order):
    cursor = Cursor()
    for offset in order:
        cursor.settle(offset)
    assert (cursor.floor, cursor.done_above, cursor.ranges()) == (30, 0, [])


def test_acks_in_order_are_one_run():
    cursor = Cursor()
    for offset in range(2000):
        cursor.settle(offset)
    assert cursor.take_runs() == [(0, 2000)]


def test_a_range_over_what_was_done_in_the_floors_own_word_keeps_the_count():
    cursor = Cursor()
    for offset in (2, 5, 0, 1):
        cursor.settle(offset)
    assert (cursor.floor, cursor.done_above, cursor.ranges()) == (3, 1, [(5, 6)])
    cursor.settle_range(3, 600)
    assert (cursor.floor, cursor.done_above) == (600, 0)


def test_a_queue_may_begin_far_from_zero():
    cursor = Cursor(1 << 40)
    assert cursor.is_done((1 << 40) - 1) and not cursor.is_done(1 << 40)
    cursor.settle((1 << 40) + 1)
    cursor.settle(1 << 40)
    assert cursor.floor == (1 << 40) + 2
