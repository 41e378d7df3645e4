"""What one exchange answers: direct, fanout, topic and headers bindings, and which bindings are the same."""

import pytest

from core.errors import PreconditionFailed
from core.routing.exchange import Binding, Exchange, comparable, comparable_fields

BY_ANY_KEY = ("direct", "fanout", "topic", "headers", "x-random", "x-modulus-hash", "x-recent-history")


class Seconds(int):
    """As a codec marks an integer that is another class on the wire."""

    type_class = "timestamp"


class Short(int):
    """As a codec keeps the width of an integer."""


def exchange_with(kind, *bindings, name="x"):
    """An exchange with (destination, key) or (destination, key, arguments) bindings."""
    exchange = Exchange(name, kind)
    for destination, key, *arguments in bindings:
        exchange.add(Binding(exchange, destination, key, arguments[0] if arguments else {}))
    return exchange


def destinations(exchange, key=b"", **fields):
    return [binding.destination for binding in exchange.matches(key, comparable_fields(fields))]


def headers_match(arguments, fields):
    exchange = exchange_with("headers", ("q", "", arguments))
    return bool(exchange.matches(b"", comparable_fields(fields)))


def test_direct_leads_to_the_bindings_of_exactly_that_key():
    exchange = exchange_with("direct", ("q1", "a"), ("q2", "b"), ("q3", "a"), ("q4", "#"), ("q5", ""))
    assert destinations(exchange, b"a") == ["q1", "q3"]
    assert destinations(exchange, b"#") == ["q4"]
    assert destinations(exchange, b"") == ["q5"]
    assert destinations(exchange, b"c") == []


def test_fanout_leads_to_every_binding_whatever_its_key():
    exchange = exchange_with("fanout", ("q1", "a"), ("q2", ""), ("q1", "b"))
    assert destinations(exchange, b"z") == ["q1", "q2", "q1"]


def test_topic_leads_to_the_matching_patterns_in_the_order_of_binding():
    exchange = exchange_with("topic", ("q1", "#"), ("q2", "a.b"), ("q3", "*.b"), ("q4", "a.c"), ("q5", "a.b"))
    assert destinations(exchange, b"a.b") == ["q1", "q2", "q3", "q5"]
    assert destinations(exchange, b"") == ["q1"]


@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_a_key_that_is_not_utf8_matches_the_same_bytes(kind):
    exchange = exchange_with(kind, ("q", b"\xff\xfe".decode("utf-8", "surrogateescape")))
    assert destinations(exchange, b"\xff\xfe") == ["q"]
    exchange = exchange_with(kind, ("q", "schlüssel"))
    assert destinations(exchange, "schlüssel".encode()) == ["q"]


@pytest.mark.parametrize(
    ("arguments", "fields", "matches"),
    [
        ({"a": 1, "b": "x"}, {"a": 1, "b": "x", "c": 3}, True),
        ({"a": 1, "b": "x"}, {"a": 1}, False),
        ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1, "b": "y"}, False),
        ({"x-match": "any", "a": 1, "b": "x"}, {"a": 2, "b": "x"}, True),
        ({"x-match": "any", "a": 1, "b": "x"}, {"a": 2, "b": "y"}, False),
        ({"x-match": "any", "a": 1}, {}, False),
        ({}, {}, True),
        ({}, {"a": 1}, True),
        ({"x-match": "all"}, {}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "all", "x-a": 1}, {}, True),
        ({"x-match": "any", "x-a": 1}, {"x-a": 1}, False),
        ({"x-match": "all-with-x", "x-a": 1}, {}, False),
        ({"x-match": "all-with-x", "x-a": 1, "b": 2}, {"x-a": 1, "b": 2}, True),
        ({"x-match": "any-with-x", "x-a": 1, "b": 2}, {"x-a": 1}, True),
        ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 2}, False),
        ({"x-match": "all-with-x"}, {"x-match": "other"}, True),
        ({"x-match": "any-with-x"}, {"x-match": "any-with-x"}, False),
    ],
)
def test_headers_ask_for_all_or_any_with_or_without_x(arguments, fields, matches):
    assert headers_match(arguments, fields) is matches


@pytest.mark.parametrize("mode", ["all", "any", "all-with-x", "any-with-x"])
def test_a_void_argument_asks_for_presence_only(mode):
    for value in (1, "text", None, False, [], {}):
        assert headers_match({"x-match": mode, "a": None}, {"a": value})
    assert not headers_match({"x-match": mode, "a": None}, {"b": 1})


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1, True),
        (1, Short(1), True),
        (1, 1 << 40, False),
        (1, "1", False),
        (1, True, False),
        (0, False, False),
        (1, 1.0, False),
        (1.5, 1.5, True),
        (True, True, True),
        ("a", "a", True),
        ("a", b"a", False),
        (b"a", bytearray(b"a"), True),
        ("", 0, False),
        (5, Seconds(5), False),
        (Seconds(5), Seconds(5), True),
        (Seconds(5), Seconds(6), False),
        ([1, "a"], [Short(1), "a"], True),
        ([1, "a"], ["a", 1], False),
        ([1], [True], False),
        ({"k": [1], "j": 2}, {"j": 2, "k": [1]}, True),
        ({"k": 1}, {"k": True}, False),
        ({}, [], False),
    ],
)
def test_header_values_compare_with_their_type_class(one, other, equal):
    assert headers_match({"a": one}, {"a": other}) is equal
    assert headers_match({"a": other}, {"a": one}) is equal
    assert headers_match({"x-match": "any", "a": one}, {"a": other}) is equal


def test_a_void_field_is_not_equal_to_a_value():
    assert not headers_match({"a": 0}, {"a": None})


def test_values_of_unknown_types_compare_within_their_own_type():
    assert comparable(1 + 2j) == comparable(1 + 2j) != comparable((1, 2))


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("bogus", 'Invalid x-match field value <<"bogus">>; expected all, any, all-with-x, or any-with-x'),
        ("", 'Invalid x-match field value <<"">>; expected all, any, all-with-x, or any-with-x'),
        (1, "Invalid x-match field type signedint (value 1); expected longstr"),
        (1 << 40, "Invalid x-match field type long (value 1099511627776); expected longstr"),
        (True, "Invalid x-match field type bool (value true); expected longstr"),
        (1.5, "Invalid x-match field type double (value 1.5); expected longstr"),
        (None, "Invalid x-match field type void (value undefined); expected longstr"),
    ],
)
def test_an_x_match_that_means_nothing_is_refused_in_rabbitmqs_words(mode, text):
    exchange = Exchange("x", "headers")
    with pytest.raises(PreconditionFailed) as refusal:
        exchange.check_binding("", {"x-match": mode})
    assert str(refusal.value) == text
    with pytest.raises(PreconditionFailed):
        exchange.add(Binding(exchange, "q", "", {"x-match": mode}))
    assert not exchange.is_used and destinations(exchange) == []


@pytest.mark.parametrize("kind", ["direct", "fanout", "topic"])
def test_other_kinds_do_not_look_at_x_match(kind):
    exchange = Exchange("x", kind)
    exchange.check_binding("", {"x-match": "bogus"})
    assert exchange.add(Binding(exchange, "q", "", {"x-match": "bogus"}))


@pytest.mark.parametrize("kind", BY_ANY_KEY)
def test_the_same_binding_twice_is_one_and_arguments_tell_bindings_apart(kind):
    exchange = Exchange("x", kind)
    assert exchange.add(Binding(exchange, "q", "k", {"a": 1}))
    assert not exchange.add(Binding(exchange, "q", "k", {"a": Short(1)}))
    assert exchange.add(Binding(exchange, "q", "k", {"a": "1"}))
    assert exchange.add(Binding(exchange, "q", "k", {}))
    assert exchange.add(Binding(exchange, "q", "l", {}))
    assert exchange.add(Binding(exchange, "other", "k", {}))
    assert exchange.binding_count == 5
    exchange.remove(exchange.find("q", "k", {"a": 1}))
    assert exchange.find("q", "k", {"a": 1}) is None
    assert exchange.find("q", "k", {"a": "1"}) is not None


@pytest.mark.parametrize("kind", BY_ANY_KEY)
def test_an_exchange_lists_its_bindings_and_is_used_as_long_as_it_has_any(kind):
    exchange = exchange_with(kind, ("q1", "k", {"a": 1}), ("q2", "k"), name="source")
    assert [(b.source.name, b.destination, b.key, b.arguments) for b in exchange.bindings()] == [
        ("source", "q1", "k", {"a": 1}),
        ("source", "q2", "k", {}),
    ]
    for binding in exchange.bindings():
        assert exchange.is_used
        exchange.remove(binding)
    assert not exchange.is_used and exchange.bindings() == []
    assert exchange.matches(b"k", comparable_fields({"a": 1})) == []


def test_an_exchange_keeps_what_it_was_declared_with():
    exchange = Exchange(
        "x", "topic", durable=True, auto_delete=True, internal=True, arguments={"alternate-exchange": "ae", "z": 1}
    )
    assert (exchange.name, exchange.kind, exchange.alternate) == ("x", "topic", "ae")
    assert exchange.durable and exchange.auto_delete and exchange.internal
    assert exchange.arguments == {"alternate-exchange": "ae", "z": 1}
    assert Exchange("y", "fanout").alternate is None and Exchange("y", "fanout").arguments == {}
