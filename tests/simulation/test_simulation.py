"""The simulator's seeds as a test; `make simulate`, or python -m tests.simulation, runs more of them."""

from tests.simulation.run import run_seeds

SECONDS = 20.0
SEEDS_MIN = 10


def test_whatever_the_seed_nothing_promised_is_lost_and_nothing_comes_twice():
    assert run_seeds(range(1, SEEDS_MIN + 1)) == []
    assert run_seeds(range(SEEDS_MIN + 1, 1000), SECONDS) == []
