"""Durations in buckets: never too small, at most 1 % too large."""

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.histogram import VALUE_BITS_MAX, Histogram

VALUES = st.lists(st.integers(0, (1 << VALUE_BITS_MAX) - 1), min_size=1, max_size=50)


@given(VALUES, st.floats(1, 100))
def test_a_percentile_is_a_recorded_value_or_at_most_1_percent_above_it(values, percent):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    exact = next(v for n, v in enumerate(sorted(values), 1) if n >= len(values) * percent / 100)
    assert exact <= histogram.percentile(percent) <= exact * 1.01


def test_values_out_of_range_count_as_the_nearest_in_range():
    histogram = Histogram()
    histogram.record(-5)
    histogram.record(1 << 60)
    assert histogram.total == 2
    assert histogram.percentile(50) == 0
    assert histogram.percentile(100) == (1 << VALUE_BITS_MAX) - 1


def test_a_cleared_histogram_has_no_values():
    histogram = Histogram()
    histogram.record(7)
    histogram.clear()
    assert histogram.total == histogram.percentile(99) == 0
