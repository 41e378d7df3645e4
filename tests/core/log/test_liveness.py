"""Units per segment."""

import pytest

from core.log.liveness import Liveness


def test_a_segment_is_dead_when_its_last_unit_is_dropped():
    live = Liveness(1000)
    live.add(10, 2)
    live.add(999, 1)
    live.add(1000, 1)
    for offset in (10, 10):
        live.drop(offset)
    assert live.live(0) == 1 and not live.is_dead(500)
    live.drop(999)
    assert live.is_dead(0) and not live.is_dead(1999) and live.is_dead(2000)


def test_it_grows_with_the_log_and_forgets_what_is_gone():
    live = Liveness(1000)
    for number in range(100):
        live.add(number * 1000, number + 1)
    live.forget(40_000)
    assert live.live(39_999) == 0
    assert [live.live(n * 1000) for n in range(40, 100)] == list(range(41, 101))
    live.add(250_000, 3)
    live.drop(40_500)
    assert (live.live(250_999), live.live(40_000)) == (3, 40)
    live.forget(1_000_000)
    live.add(1_000_001, 1)
    assert live.live(1_000_000) == 1


def test_more_drops_than_units_are_our_bug():
    live = Liveness(1000)
    live.add(1, 1)
    live.drop(2)
    with pytest.raises(AssertionError, match="offset 3"):
        live.drop(3)
