"""One turn: serve, hand over the batch, flush, in this order, once, and fairly."""

import pytest

from core.clock import Clock
from core.turn import Flushable, Servable, Turn


class Work(Servable):
    """`left` deliveries to make, noted in a log that several share."""

    def __init__(self, left, noted):
        super().__init__()
        self.left, self.noted = left, noted

    def serve(self, budget):
        made = min(budget, self.left)
        self.left -= made
        self.noted.append((self, made))
        return made


class Output(Flushable):
    def __init__(self, noted):
        super().__init__()
        self.noted = noted

    def flush(self):
        self.noted.append(self)


class Broken(Servable):
    def serve(self, budget):
        raise ZeroDivisionError


class BrokenOutput(Flushable):
    def flush(self):
        raise ZeroDivisionError


@pytest.fixture
def soon():
    return []


@pytest.fixture
def turn(soon):
    return Turn(Clock(lambda: 1.0, lambda: 1.0), soon.append)


def test_whatever_is_marked_in_an_iteration_costs_one_callback(turn, soon):
    noted = []
    output, work = Output(noted), Work(1, noted)
    for _ in range(3):
        turn.activate(work)
        turn.mark(output)
        turn.schedule()
    assert len(soon) == 1
    soon.pop()()
    assert noted == [(work, 1), output]
    assert soon == [] and not work.active and not output.dirty


def test_a_turn_serves_then_submits_then_flushes(turn):
    noted = []
    turn.submit = lambda: noted.append("submit")
    turn.mark(Output(noted))
    turn.activate(Work(1, noted))
    turn.run()
    assert [type(each).__name__ for each in noted] == ["tuple", "str", "Output"]


def test_time_stands_still_while_a_turn_serves_and_goes_on_before_it_submits(soon):
    seconds, seen = [1.0], []
    turn = Turn(Clock(lambda: seconds[0], lambda: seconds[0]), soon.append)
    start = turn.clock.ms
    seconds[0] += 5

    class Look(Servable):
        def serve(self, budget):
            seen.append(turn.clock.ms - start)
            return 0

    turn.submit = lambda: seen.append(turn.clock.ms - start)
    turn.activate(Look())
    turn.run()
    assert seen == [0, 5000]


def test_whoever_has_more_than_its_share_waits_for_the_others(turn, soon):
    noted = []
    greedy, modest = Work(5000, noted), Work(3, noted)
    turn.activate(greedy)
    turn.activate(modest)
    soon.pop()()
    assert noted == [(greedy, 1000), (modest, 3)], "a queue's share of a turn"
    while soon:
        soon.pop()()
    assert greedy.left == 0 and all(made <= 1000 for _, made in noted)


def test_a_turn_makes_no_more_than_two_thousand_deliveries_and_goes_on_where_it_stopped(turn, soon):
    noted = []
    works = [Work(199, noted) for _ in range(12)]
    for work in works:
        turn.activate(work)
    soon.pop()()
    assert turn.deliveries == 2000
    assert noted == [*((work, 199) for work in works[:10]), (works[10], 10)]
    soon.pop()()
    assert noted[11][0] is works[11], "who had nothing comes first"
    while soon:
        soon.pop()()
    assert turn.deliveries == 12 * 199 and [work.left for work in works] == [0] * 12


def test_output_that_a_flush_causes_leaves_in_the_next_turn(turn, soon):
    noted = []
    late = Output(noted)

    class Causes(Flushable):
        def flush(self):
            turn.mark(late)

    turn.mark(Causes())
    soon.pop()()
    assert noted == [] and len(soon) == 1
    soon.pop()()
    assert noted == [late]


def test_one_that_fails_costs_the_others_nothing(turn, soon):
    noted = []
    work, output = Work(1, noted), Output(noted)
    turn.activate(Broken())
    turn.activate(work)
    turn.mark(BrokenOutput())
    turn.mark(output)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            soon.pop()()
    soon.pop()()
    assert noted == [(work, 1), output] and soon == []
    turn.activate(work)
    turn.mark(output)
    assert len(soon) == 1
