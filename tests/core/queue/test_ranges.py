"""Ranges are a set of offsets, whatever is put in and cut off."""

from hypothesis import given
from hypothesis import strategies as st

from core.queue import ranges

OFFSETS = st.integers(0, 40)
ADD = st.tuples(OFFSETS, st.integers(1, 9)).map(lambda each: ("add", each[0], each[0] + each[1]))
CUT = OFFSETS.map(lambda offset: ("cut", offset))


def members(flat):
    return {offset for first, end in ranges.pairs(flat) for offset in range(first, end)}


@given(st.lists(ADD | CUT, max_size=20))
def test_ranges_are_a_set_of_offsets(changes):
    flat, wanted = [], set()
    for what, *numbers in changes:
        if what == "add":
            ranges.add(flat, *numbers)
            wanted |= set(range(*numbers))
        else:
            ranges.cut(flat, *numbers)
            wanted = {offset for offset in wanted if offset >= numbers[0]}
        assert members(flat) == wanted
        assert flat == sorted(set(flat))  # none touch
        for offset in range(50):
            end = next(at for at in range(offset, 99) if at not in wanted)
            assert ranges.end_at(flat, offset) == end


@given(st.sets(OFFSETS), OFFSETS, st.integers(0, 20))
def test_what_lies_between_offsets(offsets, first, size):
    inside = sorted(offset for offset in offsets if first <= offset < first + size)
    found = ranges.between(inside, first, first + size)
    assert members(found) == set(range(first, first + size)) - set(inside)
    assert found == sorted(set(found))
