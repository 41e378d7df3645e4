"""Exchanges that send a message one way only: shares, stability, and what their bindings must be."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PreconditionFailed
from core.routing.choosing import WEIGHT_MAX, canonical
from core.routing.exchange import Binding, Exchange, comparable, comparable_fields
from core.routing.router import Router
from protocols.amqp.tables import Int64

NAMES = ["q1", "q2", "q3", "q4", "q5"]
KEYS = [f"key.{number}".encode() for number in range(4000)]


class Queue:
    """What a router's queues are."""

    durable = True

    def __init__(self, name):
        self.name = name


def ring(weights, arguments=None):
    """An x-consistent-hash exchange with a queue of each name and weight."""
    exchange = Exchange("x", "x-consistent-hash", arguments=arguments)
    for name, weight in weights.items():
        exchange.add(Binding(exchange, Queue(name), str(weight), {}))
    return exchange


def way(exchange, key=b"", fields=None):
    """The name of the one queue that a message goes to, or None."""
    found = [binding.destination.name for binding in exchange.matches(key, fields)]
    assert len(found) <= 1
    return found[0] if found else None


def ways(exchange):
    return {key: way(exchange, key) for key in KEYS}


def remove(exchange, name):
    for binding in exchange.bindings():
        if binding.destination.name == name:
            exchange.remove(binding)


def test_each_queue_gets_its_weights_share():
    shares = Counter(ways(ring({"q1": 1, "q2": 1, "q3": 2})).values())
    for name, share in (("q1", 0.25), ("q2", 0.25), ("q3", 0.5)):
        assert abs(shares[name] / len(KEYS) - share) < 0.03


@given(st.permutations(NAMES))
def test_the_order_of_bindings_does_not_matter(order):
    weights = dict.fromkeys(NAMES, 3)
    assert [way(ring({name: weights[name] for name in order}), key) for key in KEYS[:50]] == [
        way(ring(weights), key) for key in KEYS[:50]
    ]


def test_a_key_goes_the_same_way_in_every_process():
    exchange = ring(dict.fromkeys(NAMES, 1))
    assert [way(exchange, key) for key in (b"a", b"b", b"c", b"d", b"e", b"")] == GOLDEN


GOLDEN = ["q1", "q3", "q5", "q4", "q1", "q4"]


@pytest.mark.parametrize("gone", NAMES)
def test_only_what_a_queue_held_moves_when_it_goes_and_it_takes_the_same_back(gone):
    exchange = ring(dict.fromkeys(NAMES, 2))
    before = ways(exchange)
    binding = next(each for each in exchange.bindings() if each.destination.name == gone)
    exchange.remove(binding)
    after = ways(exchange)
    assert all(after[key] == before[key] for key in KEYS if before[key] != gone)
    assert len({after[key] for key in KEYS if before[key] == gone}) == 4
    exchange.add(binding)
    assert ways(exchange) == before


def test_a_greater_weight_only_takes():
    light, heavy = ways(ring({"q1": 1, "q2": 1, "q3": 1})), ways(ring({"q1": 1, "q2": 5, "q3": 1}))
    assert all(heavy[key] in ("q2", light[key]) for key in KEYS)


def test_the_first_of_two_bindings_to_a_queue_counts_until_it_goes():
    exchange, queue = ring({"q1": 1}), Queue("q2")
    first, second = (Binding(exchange, queue, weight, {}) for weight in ("1", "99"))
    exchange.add(first)
    alone = ways(exchange)
    exchange.add(second)
    assert ways(exchange) == alone
    exchange.remove(first)
    assert Counter(ways(exchange).values())["q2"] > 0.97 * len(KEYS)
    exchange.remove(second)
    assert set(ways(exchange).values()) == {"q1"}


def test_without_bindings_nothing_is_found():
    assert way(ring({}), b"k") is None
    exchange = ring({"q1": 1})
    remove(exchange, "q1")
    assert way(exchange, b"k") is None


def test_a_header_is_hashed_with_its_type_and_messages_without_it_go_one_way():
    exchange = ring(dict.fromkeys(NAMES, 1), {"hash-header": "h"})
    assert exchange.by_headers and not exchange.by_key
    found = {way(exchange, b"k", comparable_fields({"h": number, "other": 1})) for number in range(99)}
    assert found == set(NAMES)
    assert {way(exchange, key, {}) for key in KEYS[:99]} == {way(exchange, b"", {})}
    for number in range(20):
        wide = way(exchange, b"", comparable_fields({"h": Int64(number)}))
        assert wide == way(exchange, b"", comparable_fields({"h": number}))
    texts = [way(exchange, b"", comparable_fields({"h": str(number)})) for number in range(20)]
    assert texts != [way(exchange, b"", comparable_fields({"h": number})) for number in range(20)]


def test_equal_tables_are_hashed_alike_whatever_their_order():
    one, other = {"a": 1, "b": [1, {"c": "x"}]}, {"b": [1, {"c": "x"}], "a": 1}
    assert canonical(comparable(one)) == canonical(comparable(other))
    assert canonical(comparable(one)) != canonical(comparable({"a": 1}))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("", "The binding key must be an integer: <<>>"),
        ("abc", 'The binding key must be an integer: <<"abc">>'),
        ("1.5", 'The binding key must be an integer: <<"1.5">>'),
        ("1_0", 'The binding key must be an integer: <<"1_0">>'),
        (" 1", 'The binding key must be an integer: <<" 1">>'),
        ("\x01", "The binding key must be an integer: <<1>>"),
        ("0", "The binding key must be greater than 0"),
        ("-3", "The binding key must be greater than 0"),
        (str(WEIGHT_MAX + 1), "The binding key must not exceed 10000"),
    ],
)
def test_a_key_that_is_no_weight_is_refused(key, text):
    exchange = ring({})
    with pytest.raises(PreconditionFailed) as refusal:
        exchange.add(Binding(exchange, Queue("q"), key, {}))
    assert str(refusal.value) == text and not exchange.is_used
    for good in ("+5", "007", str(WEIGHT_MAX)):
        exchange.check_binding(good, {})


# -- by the router


class Message:
    """A message's properties."""

    def __init__(self, **properties):
        self.property_of = properties.get


def routed(kind, names=NAMES, arguments=None, key="1"):
    router, exchange = Router(), Exchange("x", kind, arguments=arguments)
    router.add_exchange(exchange)
    for name in names:
        queue = Queue(name)
        router.add_queue(queue, name)
        router.bind(exchange, queue, key, {})
    return router, exchange


def name_of(route):
    (queue,) = route.queues
    return queue.name


def test_a_property_is_hashed_anew_for_each_message():
    router, exchange = routed("x-consistent-hash", arguments={"hash-property": "message_id"})
    found = [name_of(router.route(exchange, b"k", None, Message(message_id=str(number)))) for number in range(99)]
    assert set(found) == set(NAMES) and router.cached == 0
    again = [name_of(router.route(exchange, b"z", None, Message(message_id=str(number)))) for number in range(99)]
    assert again == found
    missing = {name_of(router.route(exchange, key, None, Message(correlation_id="c"))) for key in KEYS[:50]}
    assert missing == {name_of(router.route(exchange, b"", None, None))}


def test_a_header_is_hashed_anew_for_each_message():
    router, exchange = routed("x-consistent-hash", arguments={"hash-header": "h"})
    found = {name_of(router.route(exchange, b"k", lambda n=n: {"h": n})) for n in range(99)}
    assert found == set(NAMES) and router.cached == 0


def test_a_hashed_key_is_remembered_and_forgotten_with_the_bindings():
    router, exchange = routed("x-consistent-hash")
    assert router.route(exchange, b"k", None) is router.route(exchange, b"k", None)
    first = name_of(router.route(exchange, b"k", None))
    router.remove_queue(next(b.destination for b in exchange.bindings() if b.destination.name == first))
    assert name_of(router.route(exchange, b"k", None)) != first


def test_chance_is_not_frozen_by_the_cache_and_is_fair():
    router, exchange = routed("x-random")
    source = Exchange("source", "fanout")
    router.add_exchange(source)
    router.bind(source, exchange, "", {})
    for start in (exchange, source):
        shares = Counter(name_of(router.route(start, b"k", None)) for _ in range(5000))
        assert set(shares) == set(NAMES) and all(abs(share - 1000) < 150 for share in shares.values())
    assert router.cached == 0


def test_chance_repeats_from_the_start():
    runs = []
    for _ in range(2):
        router, exchange = routed("x-random")
        runs.append([name_of(router.route(exchange, b"", None)) for _ in range(50)])
    assert runs[0] == runs[1]


def test_modulus_sends_a_key_one_way_and_all_keys_every_way():
    router, exchange = routed("x-modulus-hash", key="")
    found = {key: name_of(router.route(exchange, key, None)) for key in KEYS}
    shares = Counter(found.values())
    assert set(shares) == set(NAMES) and all(abs(share - 800) < 150 for share in shares.values())
    assert all(name_of(router.route(exchange, key, None)) == found[key] for key in KEYS[:100])
    router, exchange = routed("x-modulus-hash", names=NAMES[::-1], key="")
    assert all(name_of(router.route(exchange, key, None)) == found[key] for key in KEYS[:100])


@pytest.mark.parametrize("kind", ["x-consistent-hash", "x-modulus-hash", "x-random"])
def test_an_unbound_one_hands_to_its_alternate(kind):
    router, exchange = routed(kind, names=[], arguments={"alternate-exchange": "ae"})
    assert router.route(exchange, b"k", None).queues == ()
    alternate, queue = Exchange("ae", "fanout"), Queue("q")
    router.add_exchange(alternate)
    router.add_queue(queue, "q")
    router.bind(alternate, queue, "", {})
    assert router.route(exchange, b"k", None).queues == (queue,)
