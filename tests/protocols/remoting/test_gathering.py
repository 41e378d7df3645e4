"""What is gathered for one answer: few reads at once, never too many steps in a turn, and the end said once."""

from types import SimpleNamespace

import pytest

from protocols.remoting.gathering import READS, STEPS_AT_ONCE, Gathering, store_ms


class World:
    def __init__(self):
        self.turns, self.reads, self.ended, self.taken = [], [], 0, 0
        self.clock = SimpleNamespace(ms=0)
        self.schedule = SimpleNamespace(at=lambda ms, callback: self.turns.append(callback))

    def steps(self, count, cold):
        def step(done):
            self.taken += 1
            if cold:
                self.reads.append(done)
            else:
                done()

        return iter([step] * count)

    def gather(self, count, cold=False):
        Gathering(self, self.steps(count, cold), self.end).start()

    def end(self):
        self.ended += 1


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("count", [0, 1, STEPS_AT_ONCE - 1])
def test_what_is_there_at_once_ends_at_once(world, count):
    world.gather(count)
    assert (world.taken, world.ended, world.turns) == (count, 1, [])


def test_after_so_many_steps_the_next_turn_goes_on(world):
    world.gather(2 * STEPS_AT_ONCE + 5)
    assert (world.taken, world.ended) == (STEPS_AT_ONCE, 0)
    world.turns.pop()()
    assert (world.taken, world.ended) == (2 * STEPS_AT_ONCE, 0)
    world.turns.pop()()
    assert (world.taken, world.ended, world.turns) == (2 * STEPS_AT_ONCE + 5, 1, [])


def test_so_many_reads_are_under_way_and_each_that_ends_makes_room_for_one(world):
    world.gather(READS + 3, cold=True)
    for taken in (READS, READS + 1, READS + 2, READS + 3):
        assert (world.taken, world.ended) == (taken, 0)
        world.reads.pop(0)()
    for done in world.reads:
        assert world.ended == 0
        done()
    assert (world.taken, world.ended) == (READS + 3, 1)


def test_a_message_that_is_not_there_was_stored_at_no_time():
    times, ended = [], []
    for answer in (5, LookupError("gone")):
        queue = SimpleNamespace(store_ms=lambda offset, done, answer=answer: done(answer))
        store_ms(queue, 3, times.append)(lambda: ended.append(True))
    assert (times, ended) == ([5, 0], [True, True])
