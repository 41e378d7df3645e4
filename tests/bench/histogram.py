"""A histogram of durations in fixed buckets, as HdrHistogram's: no object per value, less than 1 % off at any size.

Values below 256 have a bucket each; above that, every power of two is cut into 128 buckets of equal width:

    value  0..255 | 256..511 | 512..1023 | ...
    width     1   |     2    |     4     | ...
"""

from __future__ import annotations

from array import array

import cython

CUTS_BITS = 7  # 128 buckets for each power of two
VALUE_BITS_MAX = 44  # in nanoseconds nearly five hours; larger values count as this large
BUCKETS = (VALUE_BITS_MAX - CUTS_BITS + 1) << CUTS_BITS


@cython.cfunc
@cython.exceptval(-1, check=True)
def bucket_of(value: cython.ulonglong) -> cython.int:
    """The bucket that a value falls into."""
    shift: cython.int = 0
    while value >> shift >= 256:
        shift += 1
    return cython.cast(cython.int, (shift << 7) + (value >> shift))


def largest_in(bucket: int) -> int:
    """The largest value that falls into a bucket."""
    shift = max(0, (bucket >> CUTS_BITS) - 1)
    return ((bucket - (shift << CUTS_BITS) + 1) << shift) - 1


@cython.final
@cython.cclass
class Histogram:
    """Counts of values, here nanoseconds; negative ones count as 0."""

    def __init__(self) -> None:
        self._counts = array("q", bytes(8 * BUCKETS))
        self.total = 0
        self.largest = 0

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def record(self, value: cython.longlong) -> cython.int:
        """Count one value."""
        if value < 0:
            value = 0
        if value >= cython.cast(cython.longlong, 1) << 44:
            value = (cython.cast(cython.longlong, 1) << 44) - 1
        self._counts[bucket_of(value)] += 1
        self.total += 1
        if value > self.largest:
            self.largest = value
        return 0

    def percentile(self, percent: float) -> int:
        """The value that `percent` of all values do not exceed; 0 while there is none. At most 1 % too large."""
        wanted = self.total * percent / 100
        seen = 0
        for bucket in range(BUCKETS):
            seen += self._counts[bucket]
            if seen and seen >= wanted:
                return min(largest_in(bucket), self.largest)
        return self.largest

    def clear(self) -> None:
        """Forget all values."""
        for bucket in range(BUCKETS):
            self._counts[bucket] = 0
        self.total = 0
        self.largest = 0
