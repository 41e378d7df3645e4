"""The ready offsets of a queue with priorities, beside a list of them."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.queue.index import CHUNK_BYTES, Index
from core.queue.levels import EXPIRY_BITS, Levels, level_in
from tests.core.queue.bench import new_message

TOP = 9


class LevelsUse(RuleBasedStateMachine):
    """ready: offset -> level of what is ready; out: of what was taken."""

    def __init__(self):
        super().__init__()
        self.levels = Levels(TOP, len)
        self.end = 0
        self.ready, self.out, self.back = {}, {}, set()

    def expected(self):
        return sorted(self.ready, key=lambda offset: (-self.ready[offset], offset))

    @rule(level=st.integers(0, TOP), gap=st.sampled_from([1, 1, 1, 7, 600]))
    def publish(self, level, gap):
        self.levels.put(self.end, level)
        self.ready[self.end] = level
        self.end += gap

    @precondition(lambda self: self.ready)
    @rule(count=st.integers(1, 9))
    def take(self, count):
        for offset in self.expected()[:count]:
            assert self.levels.first() == offset
            self.levels.take(offset)
            self.out[offset] = self.ready.pop(offset)

    @precondition(lambda self: self.ready)
    @rule(which=st.integers(0, 999))
    def take_any(self, which):
        offset = self.expected()[which % len(self.ready)]
        self.levels.take(offset)
        self.out[offset] = self.ready.pop(offset)

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 999), requeue=st.booleans())
    def settle(self, which, requeue):
        offset = sorted(self.out)[which % len(self.out)]
        level = self.out.pop(offset)
        if requeue:
            self.levels.give_back(offset)
            self.ready[offset] = level
            self.back.add(offset)
        else:
            self.levels.settle(offset)
            self.back.discard(offset)

    @invariant()
    def agrees(self):
        expected = self.expected()
        assert self.levels.first() == (expected[0] if expected else -1)
        assert list(self.levels.offsets()) == expected
        assert all(self.levels.came_back(offset) == (offset in self.back) for offset in (*self.ready, *self.out))


LevelsUse.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestLevels = LevelsUse.TestCase


@given(st.integers(0, 255), st.integers(0, 300))
def test_a_message_above_the_queues_highest_level_counts_as_of_it(top, priority):
    levels = Levels(top, len)
    message = new_message()
    assert levels.level_of(message) == 0
    assert levels.level_of(type(message)((b"/", b"", b"q"), bytes(priority), b"", 0, True)) == min(priority, top)


@given(st.integers(0, 255), st.integers(0, (1 << EXPIRY_BITS) - 1), st.integers(0, 511))
def test_a_unit_tells_its_level_whatever_its_expiry(level, expires, at):
    index = Index()
    index.put(at, 77, 5, 1, level << EXPIRY_BITS | expires)
    units = index.chunk_bytes(0)
    assert level_in(units, at) == level
    assert [level_in(units, each) for each in {0, 511} - {at}] == [-1] * len({0, 511} - {at})
    assert len(units) == CHUNK_BYTES
