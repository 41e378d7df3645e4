"""Random graphs and random changes: a route is what a naive walk over plain lists says, cached or not."""

from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from core.routing.exchange import Exchange
from core.routing.router import Router

KINDS = ("direct", "fanout", "topic", "headers", "x-recent-history")
EXCHANGES = ["x0", "x1", "x2", "x3"]
QUEUES = ["q0", "q1", "q2"]
KEYS = ["", "a", "b", "a.b"]
BINDING_KEYS = [*KEYS, "#", "*", "a.*", "#.b"]
ARGUMENTS = [{}, {"a": 1}, {"a": "1"}, {"x-match": "any", "a": 1, "b": None}]
FIELDS = [{}, {"a": 1}, {"a": True, "b": 2}]

BINDINGS = st.tuples(
    st.sampled_from(EXCHANGES),
    st.sampled_from(EXCHANGES + QUEUES),
    st.sampled_from(BINDING_KEYS),
    st.sampled_from(ARGUMENTS),
)
CHANGES = st.one_of(
    st.tuples(st.sampled_from(["bind", "bind", "bind", "unbind"]), BINDINGS),
    st.tuples(st.just("replace exchange"), st.tuples(st.sampled_from(EXCHANGES), st.sampled_from(KINDS))),
    st.tuples(st.just("replace queue"), st.tuples(st.sampled_from(QUEUES), st.booleans())),
)
DECLARED = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from([None, "", *EXCHANGES])),
    min_size=len(EXCHANGES),
    max_size=len(EXCHANGES),
)


def topic_match(pattern, key):
    if not pattern:
        return not key
    if pattern[0] == "#":
        return topic_match(pattern[1:], key) or bool(key) and topic_match(pattern, key[1:])
    return bool(key) and pattern[0] in ("*", key[0]) and topic_match(pattern[1:], key[1:])


def headers_match(arguments, fields):
    wanted = [(name, value) for name, value in arguments.items() if name != "x-match"]
    hits = [name in fields and (v is None or (type(v), v) == (type(fields[name]), fields[name])) for name, v in wanted]
    return any(hits) if arguments.get("x-match") == "any" else all(hits)


class Model:
    """Exchanges, queues and bindings as plain lists of names, beside a real router."""

    def __init__(self, declared):
        self.router = Router()
        self.kinds, self.alternates, self.bindings, self.things = {}, {}, [], {}
        for name, (kind, alternate) in zip(EXCHANGES, declared, strict=True):
            self.alternates[name] = alternate
            self.add_exchange(name, kind)
        for name in QUEUES:
            self.add_queue(name, False)

    def add_exchange(self, name, kind):
        self.kinds[name] = kind
        alternate = self.alternates[name]
        exchange = Exchange(name, kind, arguments={} if alternate is None else {"alternate-exchange": alternate})
        self.things[name] = exchange
        self.router.add_exchange(exchange)

    def add_queue(self, name, durable):
        self.things[name] = SimpleQueue(name=name, durable=durable)
        self.router.add_queue(self.things[name], name)

    def apply(self, change, subject):
        if change in ("bind", "unbind"):
            source, destination, key, arguments = subject
            arguments = dict(arguments)
            known = subject in self.bindings
            if change == "bind":
                assert self.router.bind(self.things[source], self.things[destination], key, arguments) is not known
                self.bindings += [] if known else [subject]
            else:
                removed = self.router.unbind(self.things[source], self.things[destination], key, arguments)
                assert len(removed.bindings) == known
                self.bindings = [binding for binding in self.bindings if binding != subject]
            return
        name, how = subject
        exchange = change == "replace exchange"
        removed = (self.router.remove_exchange if exchange else self.router.remove_queue)(self.things[name])
        lost = [binding for binding in self.bindings if name in binding[:2]]
        assert len(removed.bindings) == len(lost)
        self.bindings = [binding for binding in self.bindings if binding not in lost]
        (self.add_exchange if exchange else self.add_queue)(name, how)

    def route(self, exchange, key, fields, reached):
        """The names of the queues that `key` reaches from `exchange`, each as often as it is reached."""
        if exchange in reached:
            return []
        reached.add(exchange)
        if exchange == "":
            return [key] if key in QUEUES else []
        found = [
            destination
            for source, destination, pattern, arguments in self.bindings
            if source == exchange and self.matches(exchange, pattern, arguments, key, fields)
        ]
        if not found and self.alternates[exchange] is not None:
            found = [self.alternates[exchange]]
        return [
            queue for name in found for queue in ([name] if name in QUEUES else self.route(name, key, fields, reached))
        ]

    def matches(self, exchange, pattern, arguments, key, fields):
        kind = self.kinds[exchange]
        if kind == "topic":
            return topic_match(pattern.split(".") if pattern else [], key.split(".") if key else [])
        return (
            kind in ("fanout", "x-recent-history")
            or kind == "direct"
            and key == pattern
            or kind == "headers"
            and headers_match(arguments, fields)
        )

    def check(self, exchange, key, fields):
        """Ask twice, so that a remembered answer is checked too."""
        expected = set(self.route(exchange, key, fields, set()))
        for _ in range(2):
            route = self.router.route(self.things.get(exchange, self.router.default), key.encode(), lambda: fields)
            names = [queue.name for queue in route.queues]
            assert len(names) == len(set(names)) and set(names) == expected
            assert all(self.things[queue.name] is queue for queue in route.queues)
            assert list(route.durable) == [queue for queue in route.queues if queue.durable]


class SimpleQueue(SimpleNamespace):
    """Equal to itself only, as queues are."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


@settings(max_examples=150, deadline=None)
@given(DECLARED, st.lists(CHANGES, min_size=4, max_size=30), st.sampled_from(FIELDS))
def test_a_route_is_what_a_naive_walk_over_the_same_graph_gives(declared, changes, fields):
    model = Model(declared)
    for change, subject in changes:
        model.apply(change, subject)
        model.check(subject[0] if subject[0] in EXCHANGES else "x0", "a", fields)
    for exchange in ["", *EXCHANGES]:
        for key in [*KEYS, "q1"]:
            model.check(exchange, key, fields)
    for name in [*EXCHANGES, *QUEUES]:
        assert len(model.router.bindings_to(model.things[name])) == sum(b[1] == name for b in model.bindings)
