"""Ranges of offsets as one flat, ascending list: [first, end, first, end, ...]. An end is beyond its range; none touch.

A list of whole numbers has no object per range, and msgpack writes it as it is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


def add(ranges: list[int], first: int, end: int) -> None:
    """Put the offsets from `first` up to `end` in; those that are there already are no error."""
    assert first < end
    at = bisect_left(ranges, first)
    upto = bisect_right(ranges, end)
    if at % 2:  # it begins inside a range, or at its end
        at, first = at - 1, ranges[at - 1]
    if upto % 2:  # it ends inside a range, or where one begins
        upto, end = upto + 1, ranges[upto]
    ranges[at:upto] = [first, end]


def cut(ranges: list[int], offset: int) -> None:
    """Take out what lies below `offset`."""
    at = bisect_right(ranges, offset)
    if at % 2:
        at -= 1
        ranges[at] = offset
    del ranges[:at]


def end_at(ranges: list[int], offset: int) -> int:
    """The end of the range that holds `offset`; the offset itself if none does."""
    at = bisect_right(ranges, offset)
    return ranges[at] if at % 2 else offset


def between(offsets: Iterable[int], first: int, end: int) -> list[int]:
    """What lies from `first` up to `end` and is not among these ascending offsets."""
    found: list[int] = []
    for offset in offsets:
        if offset > first:
            found += (first, offset)
        first = offset + 1
    return [*found, first, end] if first < end else found


def pairs(ranges: list[int]) -> Iterator[tuple[int, int]]:
    """Each as (first, end)."""
    return zip(ranges[::2], ranges[1::2], strict=True)
