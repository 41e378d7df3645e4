"""Delivery tags beside a dict: tag -> (consumer, offset)."""

import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.clock import Clock
from core.consume import Unacked
from core.queue.consumer import Consumer, Gate, Source

ACKED, REQUEUED, RETURNED = "acked", "requeued", "returned"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 200), st.integers(0, 2)),
        st.tuples(st.sampled_from(["ack", "nack"]), st.integers(0, 1 << 20), st.booleans()),
        st.tuples(st.just("take"), st.integers(0, 1 << 20), st.booleans()),
        st.tuples(st.sampled_from(["commit", "roll back"]), st.just(0), st.just(0)),
        st.tuples(st.just("recover"), st.just(0), st.just(0)),
        st.tuples(st.just("ack most"), st.integers(2, 50), st.just(0)),
    ),
    max_size=25,
)


class Queue(Source):
    """Notes what comes back."""

    def __init__(self, noted):
        super().__init__()
        self.noted = noted

    def acknowledge(self, offset):
        self.noted.append((ACKED, offset))

    def requeue(self, offset):
        self.noted.append((REQUEUED, offset))

    def give_back(self, offset):
        self.noted.append((RETURNED, offset))

    def wake(self, consumer):
        pass


def new_consumer(noted):
    return Consumer(Queue(noted), Gate())


class Model:
    """Its clock goes on by a second with each delivery: number n is delivered in second n."""

    def __init__(self):
        self.now = 0.0
        self.clock = Clock(lambda: self.now, lambda: self.now)
        self.held, self.open, self.noted = Unacked(self.clock), {}, []
        self.taken = []  # by a transaction: [what take() gave]
        self.consumers = [None, new_consumer(self.noted), new_consumer(self.noted)]

    def add(self, count, which):
        for _ in range(count):
            self.now = float(self.held.head)
            self.clock.tick()
            tag = self.held.add(self.consumers[which], self.held.head * 10)
            assert tag * 10 == (self.held.head - 1) * 10
            if which:
                self.open[tag] = self.consumers[which]
                self.consumers[which].unacked += 1
                self.consumers[which].gate.unacked += 1

    def settle(self, tag, multiple, requeue):
        known = tag in self.open or (multiple and tag == 0)
        tags = [each for each in sorted(self.open) if each <= (tag or self.held.head)] if multiple else [tag]
        before = len(self.noted)
        count = (self.held.give_back if requeue else self.held.acknowledge)(tag, multiple)
        if not known:
            assert count == -2 and len(self.noted) == before
            return
        assert count == len(tags)
        assert self.noted[before:] == [(REQUEUED if requeue else ACKED, each * 10) for each in tags]
        for each in tags:
            del self.open[each]

    def take(self, tag, multiple):
        known = tag in self.open or (multiple and tag == 0)
        tags = [each for each in sorted(self.open) if each <= (tag or self.held.head)] if multiple else [tag]
        taken = self.held.take(tag, multiple)
        if not known:
            assert taken is None
            return
        assert taken == [(each, self.open.pop(each), each * 10, each * 1000) for each in tags]
        self.taken.append(taken)

    def end(self, commit):
        before = len(self.noted)
        for taken in self.taken:
            if commit:
                self.held.settle_taken(taken, 0)
            else:
                self.held.put_back(taken)
                self.open.update((tag, consumer) for tag, consumer, _, _ in taken)
        wanted = [(ACKED, offset) for taken in self.taken for _, _, offset, _ in taken] if commit else []
        assert self.noted[before:] == wanted
        self.taken = []

    def check(self):
        assert self.held.count == len(self.open)
        oldest = min(self.open, default=None)
        assert self.held.oldest() == (None if oldest is None else (self.open[oldest], oldest * 1000))
        taken = [consumer for each in self.taken for _, consumer, _, _ in each]
        for consumer in self.consumers[1:]:
            held = [*self.open.values(), *taken].count(consumer)
            assert consumer.unacked == consumer.gate.unacked == held


@example([("add", 3, 1), ("ack most", 3, 0), ("add", 16, 0), ("add", 1, 1), ("ack most", 2, 0)])
@given(STEPS)
def test_it_is_a_dict_of_tags(steps):
    model = Model()
    for kind, number, choice in steps:
        if kind == "add":
            model.add(number, choice)
        elif kind == "recover":
            model.held.return_all()
            model.open.clear()
        elif kind == "ack most":  # one in `number` stays
            for tag in [tag for tag in model.open if tag % number]:
                model.settle(tag, False, False)
        elif kind == "take":
            model.take(number % (model.held.head + 2), choice)
        elif kind in ("commit", "roll back"):
            model.end(kind == "commit")
        else:
            model.settle(number % (model.held.head + 2), choice, kind == "nack")
        model.check()
    model.end(False)
    model.settle(0, True, True)
    assert model.open == {}


def test_tags_count_from_one_also_those_that_need_no_ack():
    held, consumer = Unacked(Clock()), new_consumer([])
    assert [held.add(each, 0) for each in (None, consumer, None, consumer)] == [1, 2, 3, 4]
    assert held.count == 2


@pytest.mark.parametrize("multiple", [False, True])
def test_a_tag_that_is_settled_or_was_never_given_is_unknown_also_to_multiple(multiple):
    held, consumer = Unacked(Clock()), new_consumer([])
    for offset in range(3):
        held.add(consumer, offset)
    assert held.acknowledge(2, False) == 1
    assert [held.acknowledge(tag, multiple) for tag in (2, 4, -1, 1 << 62)] == [-2] * 4
    assert held.count == 2


def test_zero_is_all_there_are_and_nothing_alone():
    held = Unacked(Clock())
    assert held.acknowledge(0, True) == 0
    assert held.acknowledge(0, False) == -2


def test_a_straggler_does_not_make_the_ring_grow():
    noted = []
    held, consumer = Unacked(Clock()), new_consumer(noted)
    held.add(consumer, 77)
    before = sum(map(sys.getsizeof, (held._consumers, held._offsets))) if hasattr(held, "_consumers") else 0
    for _ in range(100_000):
        held.acknowledge(held.add(consumer, 0), False)
    if before:  # fields of a compiled class are not seen from here
        assert sum(map(sys.getsizeof, (held._consumers, held._offsets))) == before
    assert held.acknowledge(held.head - 1, False) == -2 and held.count == 1
    assert held.head - held.base < 64, "the span that the ring covers"
    assert held.acknowledge(1, True) == 1 and noted[-1] == (ACKED, 77)


def test_what_a_client_gives_back_and_what_its_channel_leaves_are_told_apart():
    noted, held = [], Unacked(Clock(lambda: 0.0, lambda: 0.0))
    consumer = new_consumer(noted)
    for offset in range(3):
        held.add(consumer, offset)
    assert held.give_back(2, False) == 1 and held.return_all() == 2 and held.return_all() == 0
    assert noted == [(REQUEUED, 1), (RETURNED, 0), (RETURNED, 2)]
