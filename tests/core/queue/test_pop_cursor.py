"""A pop cursor against a model: each message is handed out until it is done, never while it is hidden, never after."""

from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.queue import ranges
from core.queue.pop_cursor import PopCursor

QUEUE = SimpleNamespace(topic=b"t", queue_id=0)
MOST = 1000


def cursor_of(floor=0, done=(), life_ms=0):
    return PopCursor(b"g", QUEUE, floor, list(done), life_ms)


class Machine(RuleBasedStateMachine):
    """`hidden` offset -> (handed out at, until); what is done is what was acked, moved or not wanted."""

    def __init__(self):
        super().__init__()
        self.now, self.end = 1000, 0
        self.done, self.hidden, self.receipts = set(), {}, []
        self.stated_floor, self.stated = 0, []
        self.cursor = cursor_of(life_ms=self.now)

    def state(self):
        """What the log would have."""
        self.stated_floor, more = self.cursor.take_fresh()
        for first, end in ranges.pairs(more):
            ranges.add(self.stated, first, end)
        ranges.cut(self.stated, self.stated_floor)

    @rule(count=st.integers(1, 12))
    def messages_come(self, count):
        self.end += count

    @rule(count=st.integers(1, 8), ms=st.integers(0, 5), keep=st.integers(1, 3))
    def pop(self, count, ms, keep):
        """Of what there is, every keep-th is wanted."""
        if self.cursor.ordered:
            self.cursor.begin()
        start = self.cursor.next
        upto = min(self.end, start + count * keep)
        offsets = [each for each in range(start, upto) if not self.cursor.is_done(each)]
        wanted = [each for each in offsets if each % keep == 0][:count]
        self.give(start, upto, wanted, ms)
        self.done |= set(offsets) - set(wanted)

    def give(self, start, upto, wanted, ms):
        if start >= upto:
            return
        assert not self.done & set(wanted) and not self.hidden.keys() & set(wanted)
        assert all(each in self.done or each in self.hidden for each in range(start))
        self.cursor.hand_out(wanted, upto, self.now, self.now + ms)
        for each in wanted:
            self.hidden[each] = self.now, self.now + ms
            self.receipts.append((each, self.now))

    @rule(count=st.integers(1, 8), ms=st.integers(0, 5))
    def pop_in_order(self, count, ms):
        blocked = any(until > self.now for _, until in self.hidden.values())
        assert self.cursor.may_begin_in_order(None, self.now) != blocked
        if blocked:
            return
        self.cursor.begin_in_order(None)
        self.hidden = {}
        floor = min(set(range(self.end + 1)) - self.done)
        assert self.cursor.next == floor
        upto = min(self.end, floor + count)
        wanted = [each for each in range(floor, upto) if not self.cursor.is_done(each)]
        assert wanted == [each for each in range(floor, upto) if each not in self.done]
        self.give(floor, upto, wanted, ms)

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def ack(self, data):
        """With a receipt that may be an old one, of this life or an earlier one."""
        offset, pop_ms = data.draw(st.sampled_from(self.receipts))
        known = self.hidden.get(offset)
        earlier = known is None and pop_ms < self.cursor._life_ms and offset not in self.done
        news = earlier or (known is not None and known[0] == pop_ms)
        assert self.cursor.settle(offset, pop_ms, MOST) == news
        if news:
            self.hidden.pop(offset, None)
            self.done.add(offset)

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), ms=st.integers(0, 9))
    def hide(self, data, ms):
        offset, pop_ms = data.draw(st.sampled_from(self.receipts))
        known = self.hidden.get(offset)
        ours = known is not None and known[0] == pop_ms
        assert self.cursor.hide(offset, pop_ms, self.now, self.now + ms) == ours
        if ours:
            self.hidden[offset] = self.now, self.now + ms
            self.receipts.append((offset, self.now))

    @rule(ms=st.integers(1, 6))
    def time_passes(self, ms):
        self.now += ms
        over = {offset for offset, (_, until) in self.hidden.items() if until <= self.now}
        found = self.cursor.due(self.now, MOST)
        if not self.cursor.ordered:
            assert set(found) == over and len(found) == len(over)
        for offset in found:
            self.cursor.settle_moved(offset)
            del self.hidden[offset]
            self.done.add(offset)

    @rule()
    def restart(self):
        """What was not acked is there again, what was is not."""
        self.state()
        self.now += 1
        self.hidden = {}
        self.cursor = cursor_of(self.stated_floor, self.stated, self.now)

    @rule()
    def state_it(self):
        self.state()
        stated = set(range(self.stated_floor)) | {
            each for first, end in ranges.pairs(self.stated) for each in range(first, end)
        }
        assert stated == self.done
        assert not self.cursor.changed

    @invariant()
    def the_floor_is_the_lowest_that_is_not_done(self):
        assert self.cursor.floor == min(set(range(self.end + 1)) - self.done)
        assert len(self.cursor) == len(self.hidden)
        assert all(self.cursor.is_done(each) == (each in self.done) for each in range(self.end))
        assert len(self.stated) <= 2 * len(self.hidden) + 2 * self.end


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def handed_out(count=4, ms=10, in_order=False):
    cursor = cursor_of()
    if in_order:
        cursor.begin_in_order(b"a")
    cursor.hand_out(list(range(count)), count, 100, 100 + ms)
    return cursor


def test_ranges_done_beyond_the_floor_are_no_more_than_what_is_in_flight():
    """However many messages nobody wants lie between those that are acked."""
    cursor, stated = cursor_of(), []
    cursor.hand_out([each for each in range(1000) if each % 2], 1000, 100, 1000)
    for offset in range(3, 1000, 2):
        cursor.settle(offset, 100, MOST)
    floor, more = cursor.take_fresh()
    for first, end in ranges.pairs(more):
        ranges.add(stated, first, end)
    assert (floor, more, stated) == (1, [2, 1000], [2, 1000])


def test_the_same_attempt_of_an_ordered_pop_gets_the_same_and_counts_once():
    cursor = handed_out(in_order=True)
    assert cursor.may_begin_in_order(b"a", 105) and not cursor.may_begin_in_order(b"b", 105)
    assert not cursor.may_begin_in_order(None, 105)
    cursor.begin_in_order(b"a")
    cursor.hand_out([0, 1, 2, 3], 4, 105, 115)
    assert cursor.times(range(4)) == []
    assert cursor.due(200, MOST) == [] and cursor.may_begin_in_order(b"b", 200)
    cursor.begin_in_order(b"b")
    cursor.hand_out([0, 1, 2, 3], 4, 200, 210)
    assert cursor.times(range(4)) == [(0, 1), (1, 1), (2, 1), (3, 1)]
    cursor.settle(0, 200, MOST)
    cursor.begin_in_order(None)
    assert cursor.next == 1 and cursor.times(range(4)) == [(1, 2), (2, 2), (3, 2)]


def test_what_an_ordered_pop_left_is_moved_once_an_unordered_one_came():
    cursor = handed_out(in_order=True)
    assert cursor.due(200, MOST) == []
    cursor.begin()
    assert cursor.due(200, MOST) == [0, 1, 2, 3]


def test_times_that_count_no_more_do_not_pile_up():
    cursor = handed_out()
    for ms in range(10_000):
        cursor.hide(0, 100 + ms, 101 + ms, 5000 + ms)
    assert len(cursor._due) < 2000
    assert cursor.due(100_000, MOST) == [1, 2, 3, 0]


def test_what_went_with_its_segment_is_in_flight_no_more():
    cursor = handed_out()
    cursor.reach(2)
    assert (cursor.floor, cursor.next, len(cursor)) == (2, 4, 2)
    cursor.reach(9)
    assert (cursor.floor, cursor.next, len(cursor)) == (9, 9, 0)
