"""The graph of exchanges: every route, and every change that a remembered route must not outlive."""

import pytest

from core.errors import AccessRefused, PreconditionFailed
from core.routing.exchange import Exchange
from core.routing.router import ROUTES_MAX, Router


class Queue:
    def __init__(self, name, durable=False):
        self.name = name
        self.durable = durable

    def __repr__(self):
        return self.name


class World:
    """A router, with exchanges and queues by name."""

    def __init__(self, *queues, durable=()):
        self.router = Router()
        self.queues = {name: Queue(name, name in durable) for name in queues}
        for name, queue in self.queues.items():
            self.router.add_queue(queue, name)

    def __getitem__(self, name):
        return self.queues.get(name) or self.router.exchanges[name]

    def exchange(self, name, kind, alternate=None, **flags):
        arguments = {"alternate-exchange": alternate} if alternate is not None else {}
        self.router.add_exchange(Exchange(name, kind, arguments=arguments, **flags))
        return self

    def bind(self, source, destination, key="", **arguments):
        return self.router.bind(self[source], self[destination], key, arguments)

    def unbind(self, source, destination, key="", **arguments):
        return self.router.unbind(self[source], self[destination], key, arguments)

    def route(self, exchange, key="", headers=None):
        return self.router.route(self[exchange], key.encode(), headers)

    def names(self, exchange, key="", headers=None):
        return [queue.name for queue in self.route(exchange, key, headers).queues]


def test_the_default_exchange_knows_every_queue_by_its_name():
    world = World("q1", "q2")
    assert world.names("", "q1") == ["q1"] and world.names("", "none") == []
    assert world.router.bindings_to(world["q1"]) == [] and not world.router.default.is_used
    world.router.remove_queue(world["q1"])
    assert world.names("", "q1") == []


def test_a_queue_name_of_any_bytes_is_its_routing_key():
    router, queue = Router(), Queue("odd")
    router.add_queue(queue, b"\xff\xc3".decode("utf-8", "surrogateescape"))
    assert router.route(router.default, b"\xff\xc3", None).queues == (queue,)


@pytest.mark.parametrize(("source", "destination"), [("", "q"), ("x", ""), ("", "x")])
def test_the_default_exchange_can_be_neither_bound_nor_unbound(source, destination):
    world = World("q").exchange("x", "fanout")
    for change in (world.bind, world.unbind):
        with pytest.raises(AccessRefused, match="^operation not permitted on the default exchange$"):
            change(source, destination)


def test_a_queue_reached_by_several_bindings_gets_one_copy():
    world = World("q1", "q2").exchange("x", "topic").exchange("y", "fanout")
    for pattern in ("a.*", "#", "a.b"):
        world.bind("x", "q1", pattern)
    world.bind("x", "y", "#")
    world.bind("y", "q2")
    world.bind("y", "q1")
    assert world.names("x", "a.b") == ["q1", "q2"]


def test_queues_come_nearer_exchanges_first_then_in_the_order_of_binding():
    world = World("q1", "q2", "q3", "q4").exchange("x", "fanout").exchange("y", "fanout")
    world.bind("x", "y")
    world.bind("y", "q2")
    for name in ("q4", "q1", "q3"):
        world.bind("x", name)
    assert world.names("x") == ["q4", "q1", "q3", "q2"]


def test_a_route_names_the_durable_queues_apart():
    world = World("d1", "t1", "d2", durable=("d1", "d2")).exchange("x", "fanout")
    for name in ("d1", "t1", "d2"):
        world.bind("x", name)
    route = world.route("x")
    assert route.queues == (world["d1"], world["t1"], world["d2"])
    assert route.durable == (world["d1"], world["d2"])
    nowhere = world.route("", "none")
    assert nowhere.queues == () and nowhere.durable == ()


def test_exchanges_bound_in_a_circle_end():
    world = World("q1", "q2").exchange("x", "fanout").exchange("y", "topic").exchange("z", "direct")
    world.bind("x", "x")
    world.bind("x", "y", "k")
    world.bind("y", "z", "#")
    world.bind("z", "x", "k")
    world.bind("z", "q1", "k")
    world.bind("y", "q2", "k")
    for start in ("x", "y", "z"):
        assert sorted(world.names(start, "k")) == ["q1", "q2"]
    assert world.names("x", "other") == []


def test_a_chain_of_thousands_of_exchanges_needs_no_deep_stack():
    world = World("q")
    for number in range(3000):
        world.exchange(f"x{number}", "fanout")
        if number:
            world.bind(f"x{number - 1}", f"x{number}")
    world.bind("x2999", "q")
    assert world.names("x0") == ["q"]


def test_every_exchange_on_the_way_sees_the_same_key_and_fields():
    world = World("q1", "q2").exchange("x", "fanout").exchange("h", "headers").exchange("t", "topic")
    world.bind("x", "h")
    world.bind("h", "t", a=1)
    world.bind("t", "q1", "k.*")
    world.bind("h", "q2", a=2)
    assert world.names("x", "k.1", lambda: {"a": 1}) == ["q1"]
    assert world.names("x", "other", lambda: {"a": 1}) == []
    assert world.names("x", "k.1", lambda: {"a": 2}) == ["q2"]
    assert world.names("x", "k.1") == []


def test_the_alternate_takes_what_finds_no_binding_in_the_exchange_itself():
    world = World("q", "lost").exchange("x", "direct", alternate="ae").exchange("ae", "fanout").exchange("y", "direct")
    world.bind("ae", "lost")
    world.bind("x", "q", "k")
    world.bind("x", "y", "via-y")
    assert world.names("x", "k") == ["q"]
    assert world.names("x", "other") == ["lost"]
    assert world.names("x", "via-y") == []  # it found a binding; y is the one that knows nothing


def test_an_exchange_in_the_middle_uses_its_own_alternate():
    world = World("q", "lost").exchange("x", "fanout").exchange("y", "direct", alternate="ae").exchange("ae", "fanout")
    world.bind("x", "y")
    world.bind("x", "q")
    world.bind("ae", "lost")
    assert world.names("x", "k") == ["q", "lost"]


def test_alternates_follow_each_other_and_a_circle_of_them_ends():
    world = World("q")
    for name, alternate in (("x", "y"), ("y", "z"), ("z", "x")):
        world.exchange(name, "direct", alternate=alternate)
    assert world.names("x", "k") == []
    world.bind("z", "q", "k")
    assert world.names("x", "k") == ["q"]


def test_an_alternate_that_is_not_there_is_ignored_until_it_is():
    world = World("lost").exchange("x", "direct", alternate="ae")
    assert world.names("x", "k") == []
    world.exchange("ae", "fanout")
    world.bind("ae", "lost")
    assert world.names("x", "k") == ["lost"]
    world.router.remove_exchange(world["ae"])
    assert world.names("x", "k") == []


def test_the_default_exchange_can_be_an_alternate():
    world = World("q").exchange("x", "direct", alternate="")
    assert world.names("x", "q") == ["q"]


def test_a_known_key_is_answered_from_memory():
    world = World("q").exchange("x", "topic")
    world.bind("x", "q", "#")
    route = world.route("x", "k")
    assert world.route("x", "k") is route and world.router.cached == 1
    assert world.route("x", "l") is not route and world.router.cached == 2


def test_an_exchange_that_looks_at_no_key_is_remembered_once_for_all_keys():
    world = World("q").exchange("x", "fanout").exchange("y", "fanout")
    world.bind("x", "y")
    world.bind("y", "q")
    route = world.route("x", "k")
    assert world.route("x", "l") is route and world.router.cached == 1


def test_a_route_that_met_a_headers_exchange_is_worked_out_each_time_and_decodes_the_fields_once():
    world = World("q").exchange("x", "direct", alternate="h").exchange("h", "headers").exchange("g", "headers")
    world.bind("h", "g")
    world.bind("g", "q", a=1)
    calls = []

    def fields():
        calls.append(1)
        return {"a": len(calls) % 2}

    assert [world.names("x", "k", fields) for _ in range(3)] == [["q"], [], ["q"]]
    assert len(calls) == 3 and world.router.cached == 0


def test_header_fields_are_not_decoded_where_no_exchange_asks():
    world = World("q").exchange("x", "direct")
    world.bind("x", "q", "k")
    assert world.names("x", "k", lambda: pytest.fail("decoded")) == ["q"]


def test_the_cache_is_bounded_and_still_right_when_it_overflows():
    world = World("q").exchange("x", "topic").exchange("f", "fanout")
    world.bind("x", "q", "odd.*")
    world.bind("f", "q")
    world.route("f")
    for number in range(ROUTES_MAX + 10):
        world.route("x", f"odd.{number}")
    assert 0 < world.router.cached < 20
    assert world.names("x", "odd.0") == ["q"] and world.names("x", "even.0") == [] and world.names("f") == ["q"]


CHANGES = [
    ("a binding comes", lambda w: w.bind("x", "q2", "k"), ["q1", "q2"]),
    ("a binding goes", lambda w: w.unbind("x", "q1", "k"), ["lost"]),
    ("a queue goes", lambda w: w.router.remove_queue(w["q1"]), ["lost"]),
    ("an exchange is bound", lambda w: w.bind("x", "y", "k"), ["q1", "q3"]),
    ("an exchange further on is bound", lambda w: w.bind("y", "q2"), ["q1"]),
]


@pytest.mark.parametrize(("change", "expected"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_no_remembered_route_outlives_a_change(change, expected):
    world = World("q1", "q2", "q3", "lost").exchange("x", "direct", alternate="ae").exchange("y", "fanout")
    world.exchange("ae", "fanout")
    world.bind("ae", "lost")
    world.bind("y", "q3")
    world.bind("x", "q1", "k")
    assert world.names("x", "k") == ["q1"]
    version = world.router.version
    change(world)
    assert world.router.version > version
    assert world.names("x", "k") == expected


def test_a_queue_declared_again_is_found_anew():
    world = World("q")
    old = world.route("", "q").queues
    world.router.remove_queue(world["q"])
    assert world.route("", "q").queues == ()
    new = Queue("q")
    world.router.add_queue(new, "q")
    assert world.route("", "q").queues == (new,) != old


def test_binding_twice_changes_nothing_and_unbinding_what_is_not_there_is_no_error():
    world = World("q").exchange("x", "direct", auto_delete=True)
    assert world.bind("x", "q", "k") is True
    version = world.router.version
    assert world.bind("x", "q", "k") is False
    assert world.unbind("x", "q", "other") == ([], []) and world.unbind("x", "q", "k", a=1) == ([], [])
    assert world.router.version == version and world.names("x", "k") == ["q"]


def test_a_refused_binding_leaves_no_trace():
    world = World("q").exchange("x", "headers")
    with pytest.raises(PreconditionFailed):
        world.router.bind(world["x"], world["q"], "", {"x-match": "some"})
    assert world.router.bindings_to(world["q"]) == [] and world["x"].bindings() == []


def test_bindings_are_listed_from_either_end():
    world = World("q").exchange("x", "topic").exchange("y", "headers")
    world.bind("x", "y", "#")
    world.bind("y", "q", "key", a=1)
    world.bind("x", "q", "a.*")
    assert [(b.source.name, b.key, b.arguments) for b in world.router.bindings_to(world["q"])] == [
        ("y", "key", {"a": 1}),
        ("x", "a.*", {}),
    ]
    assert [(b.destination, b.key) for b in world["x"].bindings()] == [(world["y"], "#"), (world["q"], "a.*")]
    assert [b.source.name for b in world.router.bindings_to(world["y"])] == ["x"]


def test_removing_a_queue_takes_its_bindings_along():
    world = World("q1", "q2").exchange("x", "direct").exchange("y", "topic")
    world.bind("x", "q1", "k")
    world.bind("y", "q1", "#")
    world.bind("y", "q2", "#")
    removed = world.router.remove_queue(world["q1"])
    assert [(b.source.name, b.destination.name, b.key) for b in removed.bindings] == [
        ("x", "q1", "k"),
        ("y", "q1", "#"),
    ]
    assert removed.unused == []
    assert not world["x"].is_used and world.names("y", "k") == ["q2"]


def test_removing_an_exchange_takes_the_bindings_from_and_to_it_along():
    world = World("q").exchange("x", "fanout").exchange("y", "fanout").exchange("z", "fanout")
    world.bind("x", "y")
    world.bind("y", "y")
    world.bind("y", "z")
    world.bind("y", "q")
    gone = world["y"]
    removed = world.router.remove_exchange(gone)
    assert sorted((b.source.name, b.destination.name) for b in removed.bindings) == [
        ("x", "y"),
        ("y", "q"),
        ("y", "y"),
        ("y", "z"),
    ]
    assert "y" not in world.router.exchanges and not world["x"].is_used
    assert world.router.bindings_to(world["q"]) == [] and world.router.bindings_to(gone) == []
    assert world.names("x") == [] and world.router.route(gone, b"", None).queues == ()


def test_an_auto_delete_exchange_is_reported_when_its_last_binding_goes_and_never_before_it_had_one():
    world = World("q1", "q2").exchange("x", "direct", auto_delete=True).exchange("never", "direct", auto_delete=True)
    world.exchange("stays", "direct")
    world.bind("stays", "never", "k")  # being a destination does not count
    world.bind("stays", "q2", "k")
    world.bind("x", "q1", "k")
    world.bind("x", "q1", "l")
    assert world.unbind("stays", "never", "k").unused == []
    assert world.unbind("x", "q1", "k").unused == []
    assert world.router.remove_queue(world["q2"]).unused == []
    assert world.unbind("x", "q1", "l").unused == [world["x"]]


def test_deletes_cascade_from_a_queue_through_auto_delete_exchanges():
    world = World("q")
    for name in ("a", "b", "c"):
        world.exchange(name, "fanout", auto_delete=True)
    world.bind("a", "b")
    world.bind("b", "c")
    world.bind("c", "q")
    world.bind("c", "q", "again")
    unused, order = world.router.remove_queue(world["q"]).unused, []
    while unused:
        exchange = unused.pop()
        order.append(exchange.name)
        unused += world.router.remove_exchange(exchange).unused
    assert order == ["c", "b", "a"] and set(world.router.exchanges) == {""}


def test_an_auto_delete_exchange_bound_to_itself_is_not_reported_by_its_own_removal():
    world = World().exchange("x", "fanout", auto_delete=True)
    world.bind("x", "x")
    removed = world.router.remove_exchange(world["x"])
    assert len(removed.bindings) == 1 and removed.unused == []


@pytest.mark.parametrize("kind", ["direct", "fanout", "topic", "headers", "x-random", "x-modulus-hash"])
def test_removing_a_queue_with_thousands_of_bindings_looks_at_no_other(kind):
    class Counting(Queue):
        looked_at = 0

        def __eq__(self, other):
            Counting.looked_at += 1
            return self is other

        def __hash__(self):
            return id(self)

    router, exchange = Router(), Exchange("x", kind)
    router.add_exchange(exchange)
    queue, other = Counting("queue"), Counting("other")
    router.add_queue(queue, "queue")
    router.add_queue(other, "other")
    for number in range(2000):
        router.bind(exchange, other, f"other.{number}", {})
        router.bind(exchange, queue, f"queue.{number}", {})
    Counting.looked_at = 0
    assert len(router.remove_queue(queue).bindings) == 2000
    assert Counting.looked_at < 2000  # at most a chance meeting of hashes
    assert exchange.binding_count == 2000
