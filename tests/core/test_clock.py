"""Time: drawn to the wall clock, never back."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import Clock


class Times:
    """A wall clock and a monotonic one that are set."""

    def __init__(self, wall=1000.0, monotonic=50.0):
        self.wall, self.monotonic = wall, monotonic
        self.clock = Clock(lambda: self.wall, lambda: self.monotonic)

    def pass_seconds(self, seconds, wall=None):
        self.monotonic += seconds
        self.wall += seconds if wall is None else wall
        return self.clock.tick()


def test_it_starts_at_the_wall_clock_and_counts_milliseconds():
    times = Times()
    assert times.clock.ms == 1_000_000
    assert times.pass_seconds(0.25) == times.clock.ms == 1_000_250


def test_it_stands_between_two_ticks():
    times = Times()
    times.monotonic += 9
    assert times.clock.ms == 1_000_000 and times.clock.monotonic() == 59


def test_a_wall_clock_set_forward_is_followed_by_a_tenth_of_the_time_that_passes():
    times = Times()
    times.wall += 100
    assert times.pass_seconds(10) == 1_000_000 + 11_000
    assert times.clock.skew_ms == 100_000
    for _ in range(200):
        times.pass_seconds(10)
    assert abs(times.clock.ms - times.wall * 1000) <= 1


def test_a_wall_clock_set_back_slows_it_and_never_turns_it_back():
    times = Times()
    times.wall -= 1000
    assert times.pass_seconds(10) == 1_000_000 + 9_000


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e6, 1e6)), max_size=50))
def test_it_never_goes_back_whatever_the_wall_clock_does(steps):
    times, last = Times(), 0
    for seconds, wall in steps:
        now = times.pass_seconds(seconds, wall)
        assert now >= last
        last = now


@pytest.mark.parametrize(("zone", "hour", "day"), [("UTC", 23, 19999), ("JST-9", 8, 20000), ("PST8", 15, 19999)])
def test_hours_and_days_are_those_of_the_local_time(monkeypatch, zone, hour, day):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        clock = Times(wall=20000 * 86400 - 600).clock
        assert (clock.hour(), clock.day()) == (hour, day)
    finally:
        monkeypatch.undo()
        time.tzset()
