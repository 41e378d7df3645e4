"""Selectors: which messages they select, and which texts are none. RocketMQ's own cases are from its ExpressionTest and
ParserTest (apache/rocketmq, filter/src/test)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.routing.selector import DEPTH_MAX, TEXT_MAX, SelectorError, parse

AND, OR = "a=3 and b<>4 And c>5 AND d<=4", "a=3 or b<>4 Or c>5 OR d<=4"
LISTED = "a in ('3', '4', '5')"


def selects(text, **properties):
    return parse(text).matches(properties.get)


ROCKETMQ = [
    (AND, {"a": 3, "b": 5, "c": 6, "d": 1}, True),
    (AND, {"a": "3", "b": "5", "c": "6", "d": "1"}, True),
    (AND, {"a": 4, "b": 5, "c": 6, "d": 1}, False),
    (AND, {"a": "4", "b": "5", "c": "6", "d": "1"}, False),
    (OR, {"a": 3}, True),
    (OR, {"a": 4, "b": 5}, True),
    (OR, {"a": 4, "b": 4, "c": 6}, True),
    (OR, {"a": 4, "b": 4, "c": 3, "d": 2}, True),
    (OR, {"a": 4, "b": 4, "c": 3, "d": 10}, False),
    (LISTED, {"a": "3"}, True),
    (LISTED, {"a": "8"}, False),
    (LISTED, {}, False),
    ("a not in ('3', '4', '5')", {"a": "8"}, True),
    ("a not in ('3', '4', '5')", {"a": "5"}, False),
    ("a between 2 and 10", {"a": "2"}, True),
    ("a between 2 and 10", {"a": "10"}, True),
    ("a between 2 and 10", {"a": "11"}, False),
    ("a between 0 and 100", {"a": "abc"}, False),
    ("a between up and low", {"a": "3.14"}, False),
    ("a between up and low", {"a": "3.14", "up": "up", "low": "low"}, False),
    ("key is not null and key between 0 and 100", {"key": "con"}, False),
    ("a not between 2 and 10", {"a": "1"}, True),
    ("a not between 2 and 10", {"a": "10"}, False),
    ("a is null", {"abc": "2"}, True),
    ("a is null", {"a": "2"}, False),
    ("a is not null", {"a": "2"}, True),
    ("a is not null", {}, False),
    ("a is not null and a='hello'", {"a": "hello"}, True),
    ("a is not null and a='hello'", {}, False),
    ("a is null OR a='hello'", {}, True),
    ("a is null OR a='hello'", {"a": "hello"}, True),
    ("a is null OR a='hello'", {"a": "abc"}, False),
    ("a=TRUE OR b=FALSE", {"a": "true", "b": "false"}, True),
    ("a=TRUE OR b=FALSE", {"a": "false", "b": "true"}, False),
    ("TAGS is not null and TAGS='''''tag'''''", {"TAGS": "''tag''"}, True),
    ("a=b", {"a": "3.14", "b": "3.14"}, True),
    ("a<>b", {"a": "3.14", "b": "3.14"}, False),
    ("a<>b", {"a": "3.14", "b": "3.141"}, True),
    ("a > 3.1E10", {"a": "3.1415E10"}, True),
    ("a > 3.14", {"a": "3.1415"}, True),
    ("a > b", {"a": "10", "b": "20"}, False),
    ("a > b", {"a": "20", "b": "10"}, True),
    ("value contains 'x'", {"value": "axb"}, True),
    ("value startswith 'ax'", {"value": "axb"}, True),
    ("value endswith 'xb'", {"value": "axb"}, True),
    ("value not contains 'x'", {"value": "axb"}, False),
    ("value not startswith 'ax'", {"value": "axb"}, False),
    ("value not endswith 'xb'", {"value": "axb"}, False),
    ("value contains 'x'", {"value": "abb"}, False),
    ("value not contains 'x'", {"value": "abb"}, True),
    ("value not startswith 'x'", {"value": "abb"}, True),
    ("value not endswith 'x'", {"value": "abb"}, True),
    ("value contains ''", {"value": "axb"}, False),
    ("value not contains ''", {"value": "axb"}, False),
    ("value not startswith 'x'", {}, False),
    ("value contains 'x'", {"value": 1.23}, False),
    ("value not contains 'x'", {"value": 1.23}, False),
    ("value not endswith 'x'", {"value": True}, False),
    ("'axb' contains 'x'", {}, True),
    ("' ' startswith ' '", {}, True),
    ("'axb' contains '.'", {}, False),
    ("'s' contains '\\'", {}, False),
    (
        "a not in ('4', '4', '5') and b between 3 and 10 and c not contains 'axbc'",
        {"a": "3", "b": 3, "c": "axbdc"},
        True,
    ),
]
OURS = [
    ("not (a = 1 and b = 2)", {"a": 1, "b": 3}, True),
    ("not (a = 1 and b = 2)", {"a": 1}, False),  # NULL
    ("not a = 1", {"a": 2}, True),  # NOT binds less than =, as SQL and JMS have it
    ("a = 1 or b = 2 and c = 3", {"a": 1, "b": 0, "c": 0}, True),
    ("(a = 1 or b = 2) and c = 3", {"a": 1, "b": 0, "c": 0}, False),
    ("a = 1 or b > 5", {"a": "1", "b": "abc"}, True),  # what cannot be compared is NULL
    ("a = 1 and not b > 5", {"a": "1", "b": "abc"}, False),
    ("a", {"a": True}, True),
    ("a", {"a": "TRUE"}, True),
    ("a", {"a": "yes"}, False),
    ("not a", {"a": 1}, False),
    ("a = FALSE", {"a": 0}, False),
    ("a <> TRUE", {"a": 1}, True),
    ("a = 1", {"a": True}, False),
    ("a = 3", {"a": "3.0"}, True),
    ("a > 3", {"a": "3.5"}, True),
    ("a = ' 3'", {"a": "3"}, False),
    ("a = 3", {"a": " 3"}, False),
    ("a = 3", {"a": "3_0"}, False),
    ("a = -3", {"a": "-3"}, True),
    ("-a = +3", {"a": "-3"}, True),
    ("a = 9223372036854775807L", {"a": "9223372036854775807"}, True),
    ("a * 2 + 1 = 7", {"a": "3"}, True),
    ("1 + a * 2 = 7", {"a": "3"}, True),
    ("7 / 2 = 3 and -7 / 2 = -3 and 7.0 / 2 = 3.5", {}, True),
    ("10 - 3 - 2 = 5 and 100 / 10 / 2 = 5", {}, True),
    ("a / 0 = 1 or a / 0 <> 1", {"a": 1}, False),
    ("a + 1 > 0 or a + 1 <= 0", {"a": "x"}, False),
    ("a like 'm_x%'", {"a": "max and moritz"}, True),
    ("a like '12%3'", {"a": "12993"}, True),
    ("a like '12%3'", {"a": "1234"}, False),
    ("a like 'l_se'", {"a": "loose"}, False),
    ("a like '\\_%' escape '\\'", {"a": "_foo"}, True),
    ("a like '\\_%' escape '\\'", {"a": "bar"}, False),
    ("a not like '12%3'", {"a": "1234"}, True),
    ("a not like '12%3'", {}, False),
    ('"content-type" = \'text\'', {"content-type": "text"}, True),
    ("$a_1 = 'x' -- the rest is said to nobody\n and /* nor ** this */ _b = 'y'", {"$a_1": "x", "_b": "y"}, True),
    ("TRUE", {}, True),
    ("NULL", {}, False),
    ("FALSE or NULL is null", {}, True),
]


@pytest.mark.parametrize(("text", "properties", "outcome"), ROCKETMQ + OURS)
def test_what_is_selected(text, properties, outcome):
    assert selects(text, **properties) is outcome


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at 0: the end where a property or a value is expected"),
        ("a and between 2 and 10", "at 6: BETWEEN where a property or a value is expected"),
        ("a between 10 and 0", "between 10 and 0 there is nothing"),
        ("a > 100000000000000000000000", "at 4: a number of 24 characters: no long and no double holds it"),
        ("a > " + "1" * 400 + ".5", "at 4: a number of 402 characters"),
        ("value contains x", "at 15: x where a 'string' is expected"),
        ("value contains 123", "at 15: 123 where a 'string' is expected"),
        ("'axb' contains", "at 14: the end where a 'string' is expected"),
        ("a > 'x'", "a string cannot be compared by >"),
        ("a = NULL", "NULL cannot be compared by ="),
        ("a < TRUE", "a boolean cannot be compared by <"),
        ("'x'", "a string where a condition is expected"),
        ("a = 1 and 5", "a number where a condition is expected"),
        ("a + 'x' = 1", "a string where a number is expected"),
        ("a in (1, 2)", "at 6: 1 where a 'string' is expected"),
        ("'x' in ('x')", "a string in front of IN, where a property is expected"),
        ("a is 5", "at 5: 5 where NULL is expected"),
        ("a not 5", "at 6: 5 where IN, LIKE, BETWEEN or CONTAINS is expected"),
        ("(a = 1", "at 6: the end where ) is expected"),
        ("a = 1 b", "at 6: b where AND, OR or the end is expected"),
        ("a = 007", "at 4: '007' is no part of a selector"),
        ("a # 1", "at 2: '# 1' is no part of a selector"),
        ("a = 'x", "at 4: \"'x\" is no part of a selector"),
        ("a like 'x' escape 'xy'", "to escape by 'xy', which is not one character"),
    ],
)
def test_what_is_no_selector_is_refused_with_the_place(text, said):
    with pytest.raises(SelectorError, match=re.escape(said)):
        parse(text)


def test_what_is_too_long_or_nested_too_deeply_is_refused_and_what_is_just_long_is_not():
    many = " OR ".join(["a=1"] * 2000)
    assert len(many) < TEXT_MAX and selects(many, a=1) and not selects(many, a=2)
    assert selects("a = 0 " + "+ 0 " * 3000, a=0)
    nested = "(" * (DEPTH_MAX + 1) + "a" + ")" * (DEPTH_MAX + 1)
    for text in (many * 2, nested, "- " * 40 + "a = 1", "not " * 40 + "a", "a" + "=TRUE" * 99):
        with pytest.raises(SelectorError, match="characters|deep|further"):
            parse(text)
    assert selects("(" * DEPTH_MAX + "a" + ")" * DEPTH_MAX, a=True)


def test_numbers_stay_small_whatever_is_multiplied():
    product = " * ".join(["a"] * 300)  # beyond every double
    assert selects(f"{product} > 0", a="9" * 19)
    assert not selects(f"{product} - {product} = 0", a="9" * 19)


def test_a_selector_names_the_properties_it_needs():
    assert parse("a = 1 or b like 'x' and not (c is null)").names == {"a", "b", "c"}


SIGNS = ["(", ")", "=", "<>", "<", ">", "<=", ">=", "+", "-", "*", "/", ","]
WORDS = ["and", "or", "not", "is", "null", "true", "false", "between", "in", "like", "escape", "contains"]
PIECES = st.sampled_from(["a", "b", "'x'", "'y%'", "1", "2.5", *SIGNS, *WORDS])
NUMBERS = st.one_of(st.booleans(), st.integers(), st.floats())
VALUES = st.one_of(st.none(), NUMBERS, st.text(max_size=5), st.from_regex(r"-?\d{1,25}"))


@given(st.lists(PIECES, max_size=12), VALUES, VALUES)
def test_any_text_is_a_selector_or_refused_and_no_message_makes_one_fail(pieces, a, b):
    try:
        selector = parse(" ".join(pieces))
    except SelectorError:
        return
    assert selector.matches({"a": a, "b": b}.get) in (True, False)


@given(st.text("ab%_", max_size=8), st.text("ab", max_size=10))
def test_like_is_what_a_regular_expression_says(pattern, text):
    expected = re.fullmatch(pattern.replace("%", ".*").replace("_", "."), text) is not None
    assert selects(f"a like '{pattern}'", a=text) is expected
