"""What the parts of a selector (selector.py) are for one message: functions of get(name), which tells a property.

NULL is None. Each is made once per selector and called for each message; none fails, whatever the properties are.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

Get = Callable[[str], Any]
Value = Callable[[Get], Any]

LONG_MAX = (1 << 63) - 1
DIGITS_MAX = 19
NUMBER = re.compile(r"[+-]?(?:\d+|(?P<float>(?:\d+\.\d*|\.\d+|\d+(?=E))(?:E[+-]?\d+)?))", re.ASCII | re.IGNORECASE)
ANY, ONE = object(), object()  # in a pattern of LIKE: % and _


def truth(value: Value) -> Value:
    """A property where TRUE or FALSE is wanted: a boolean, or the text of one."""
    return lambda get: _truth(value(get))


def _truth(value: Any) -> bool | None:
    """Of text what Java's Boolean.valueOf makes of it; of a number nothing."""
    if isinstance(value, str):
        return value.lower() == "true"
    return value if isinstance(value, bool) else None


def all_of(values: Sequence[Value]) -> Value:
    """AND."""

    def every(get: Get) -> bool | None:
        outcome: bool | None = True
        for value in values:
            result = value(get)
            if result is False:
                return False
            if result is None:
                outcome = None
        return outcome

    return every


def any_of(values: Sequence[Value]) -> Value:
    """OR."""

    def some(get: Get) -> bool | None:
        outcome: bool | None = False
        for value in values:
            result = value(get)
            if result is True:
                return True
            if result is None:
                outcome = None
        return outcome

    return some


def negated(value: Value) -> Value:
    """NOT."""

    def contrary(get: Get) -> bool | None:
        result = value(get)
        return None if result is None else not result

    return contrary


def is_null(value: Value) -> Value:
    """IS NULL."""
    return lambda get: value(get) is None


def number_of(value: Any) -> float | None:
    """A number, or text that is one; anything else is None."""
    if isinstance(value, str):
        found = NUMBER.fullmatch(value)
        if found is None:
            return None
        return float(value) if found["float"] is not None or len(value) > DIGITS_MAX else int(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def compared(sign: str, left: Value, right: Value) -> Value:
    """One of COMPARISONS. Text and text are equal or not as they are; for order both have to be numbers."""
    test = COMPARISONS[sign]
    equality = sign in EQUALITY

    def comparison(get: Get) -> bool | None:
        a, b = left(get), right(get)
        if a is None or b is None:
            return None
        if equality:
            if isinstance(a, str) and isinstance(b, str):
                return test(a, b)
            if isinstance(a, bool) or isinstance(b, bool):
                return test(_truth(a), _truth(b))
        a, b = number_of(a), number_of(b)
        return None if a is None or b is None else test(a, b)

    return comparison


def text_test(name: str, value: Value, wanted: str, contrary: bool) -> Value:
    """One of TEXT_TESTS, or NOT that. As RocketMQ has it: FALSE either way for what is missing or no text, and when
    nothing is wanted."""
    test = TEXT_TESTS[name]

    def tested(get: Get) -> bool:
        text = value(get)
        return isinstance(text, str) and wanted != "" and test(text, wanted) is not contrary

    return tested


def among(value: Value, listed: frozenset[str]) -> Value:
    """IN."""

    def found(get: Get) -> bool | None:
        text = value(get)
        return text in listed if isinstance(text, str) else None

    return found


def like(value: Value, pattern: str, escape: str) -> Value:
    """LIKE; escape is one character, or empty."""
    wanted: list[object] = []
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            wanted.append(next(characters, escape))
        else:
            wanted.append({"%": ANY, "_": ONE}.get(character, character))

    def alike(get: Get) -> bool | None:
        text = value(get)
        return _alike(text, wanted) if isinstance(text, str) else None

    return alike


def _alike(text: str, wanted: list[object]) -> bool:
    """At most as many steps as the product of both lengths: what a % stands for grows, only the last one's."""
    at = place = grown = 0
    after = -1  # the place behind the last %
    while at < len(text):
        if place < len(wanted) and wanted[place] is ANY:
            place += 1
            after, grown = place, at
        elif place < len(wanted) and (wanted[place] is ONE or wanted[place] == text[at]):
            place += 1
            at += 1
        elif after >= 0:
            grown += 1
            at, place = grown, after
        else:
            return False
    return all(item is ANY for item in wanted[place:])


def worked_out(first: Value, rest: Sequence[tuple[str, Value]]) -> Value:
    """A chain of ARITHMETIC: rest = (sign, value) of what follows, from left to right."""
    steps = [(ARITHMETIC[sign], value) for sign, value in rest]

    def result(get: Get) -> float | None:
        total = number_of(first(get))
        for work, value in steps:
            other = number_of(value(get))
            if total is None or other is None:
                return None
            try:
                total = work(total, other)
                total = total if abs(total) <= LONG_MAX else float(total)
            except (ZeroDivisionError, OverflowError):
                return None
        return total

    return result


def _divided(a: float, b: float) -> float:
    """As Java does: of whole numbers the whole part, towards zero."""
    if isinstance(a, int) and isinstance(b, int):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return a / b


EQUALITY = ("=", "<>")
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "CONTAINS": str.__contains__,
    "STARTSWITH": str.startswith,
    "ENDSWITH": str.endswith,
}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
}
