"""Exchanges and their bindings: which destinations a key or a set of header fields leads to.

A destination is a queue or another exchange. Matching looks at one exchange only; router.py walks from one to the next.
Bindings are numbered in the order they came, and every match gives them in that order.
"""

from __future__ import annotations

from typing import Any

import cython

from core.errors import PreconditionFailed
from core.routing.choosing import ModulusHash
from core.routing.history import HISTORY_LENGTH, LENGTH, History
from core.routing.once import Cache, key_in

if cython.compiled:
    from cython.cimports.core.routing.choosing import Chance, ConsistentHash
    from cython.cimports.core.routing.topic_trie import TopicTrie
else:
    from core.routing.choosing import Chance, ConsistentHash
    from core.routing.topic_trie import TopicTrie

MATCH_MODES = {  # x-match: (any, not all; with x-), as of RabbitMQ 3.10
    "all": (False, False),
    "any": (True, False),
    "all-with-x": (False, True),
    "any-with-x": (True, True),
}
INT32_MAX = (1 << 31) - 1


def comparable(value: Any) -> tuple:
    """The value with its type class, hashable: 1 is equal to no "1", True or 1.0, but to 1 of any width.
    A subclass of int or bytes that is another class on the wire (a timestamp) says so by an attribute `type_class`."""
    declared = getattr(type(value), "type_class", None)
    if declared is not None:
        return declared, value
    for kind in (str, bool, int, float):  # bool before int, whose subclass it is
        if isinstance(value, kind):
            return kind.__name__, value
    if isinstance(value, (bytes, bytearray)):
        return "bytes", bytes(value)
    if isinstance(value, dict):
        return "table", frozenset((name, comparable(member)) for name, member in value.items())
    if isinstance(value, list):
        return "array", tuple([comparable(member) for member in value])
    return type(value).__name__, value


def comparable_fields(fields: dict) -> dict:
    """A message's header fields, ready for Exchange.matches()."""
    return {name: comparable(value) for name, value in fields.items()}


class Binding:
    """One way from `source` (an Exchange) to `destination` (a queue or an Exchange). It equals another between the
    same two with the same key and equivalent arguments. Not to be changed; serial: its place in the source's order."""

    __slots__ = ("source", "destination", "key", "arguments", "serial", "_identity", "_hash")

    def __init__(self, source: Any, destination: Any, key: str, arguments: dict):
        self.source = source
        self.destination = destination
        self.key = key
        self.arguments = arguments
        self.serial = 0
        self._identity = (source, destination, key, comparable(arguments)[1] if arguments else ())
        self._hash = hash(self._identity)

    @property
    def key_bytes(self) -> bytes:
        """The key as it comes on the wire; bytes that are no UTF-8 stand as surrogate escapes in `key`."""
        return self.key.encode("utf-8", "surrogateescape")

    @property
    def destination_name(self) -> bytes:
        """The destination's kind and name, the same after every start."""
        name = self.destination.name.encode("utf-8", "surrogateescape")
        return (b"x" if isinstance(self.destination, Exchange) else b"q") + name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Binding) and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash


class _Fanout:
    """Every binding, whatever the message."""

    by_key = by_headers = by_chance = False
    by_property = None

    def __init__(self, arguments):
        self._bindings = {}

    def add(self, binding):
        self._bindings[binding] = None

    def remove(self, binding):
        del self._bindings[binding]

    def matches(self, key, fields):
        return list(self._bindings)


class _Direct:
    """The bindings whose key is the message's."""

    by_key, by_headers, by_property, by_chance = True, False, None, False

    def __init__(self, arguments):
        self._by_key = {}

    def add(self, binding):
        self._by_key.setdefault(binding.key_bytes, {})[binding] = None

    def remove(self, binding):
        same_key = self._by_key[binding.key_bytes]
        del same_key[binding]
        if not same_key:
            del self._by_key[binding.key_bytes]

    def matches(self, key, fields):
        return list(self._by_key.get(key, ()))


class _Topic:
    """The bindings whose pattern matches the message's key."""

    by_key, by_headers, by_property, by_chance = True, False, None, False

    def __init__(self, arguments):
        self._trie = TopicTrie(b".", b"*", b"#")

    def add(self, binding):
        self._trie.add(binding.key_bytes, binding)

    def remove(self, binding):
        self._trie.remove(binding.key_bytes, binding)

    def matches(self, key, fields):
        return sorted(self._trie.match(key), key=lambda binding: binding.serial)


class _Headers:
    """The bindings whose arguments the message's header fields meet."""

    by_key, by_headers, by_property, by_chance = False, True, None, False

    def __init__(self, arguments):
        self._tests = {}  # binding -> (any, ((field name, comparable value or None for mere presence), ...))

    def add(self, binding):
        any_one, with_x = match_mode(binding.arguments)
        wanted = [
            (name, None if value is None else comparable(value))
            for name, value in binding.arguments.items()
            if name != "x-match" and (with_x or not name.startswith("x-"))
        ]
        self._tests[binding] = any_one, tuple(wanted)

    def check(self, key, arguments):
        match_mode(arguments)

    def remove(self, binding):
        del self._tests[binding]

    def matches(self, key, fields):
        return [binding for binding, (any_one, wanted) in self._tests.items() if _meets(fields, any_one, wanted)]


def _meets(fields: dict, any_one: bool, wanted: tuple) -> bool:
    """Whether the fields meet any of the wanted ones (of none: no), or all of them (of none: yes)."""
    for name, value in wanted:
        if (name in fields and (value is None or fields[name] == value)) == any_one:
            return any_one
    return not any_one


def match_mode(arguments: dict) -> tuple[bool, bool]:
    """What the argument x-match of a headers binding says: (any instead of all, names in `x-` count too).
    Raises PreconditionFailed, in RabbitMQ's words, for anything else."""
    mode = arguments.get("x-match", "all")
    if not isinstance(mode, str):
        raise PreconditionFailed(
            f"Invalid x-match field type {_type_name(mode)} (value {_erlang_text(mode)}); expected longstr"
        )
    if mode not in MATCH_MODES:
        raise PreconditionFailed(
            f'Invalid x-match field value <<"{mode}">>; expected all, any, all-with-x, or any-with-x'
        )
    return MATCH_MODES[mode]


def _type_name(value: Any) -> str:
    """RabbitMQ's name of the type that a value has on the wire."""
    kind = comparable(value)[0]
    if kind == "int":
        return "signedint" if -INT32_MAX - 1 <= value <= INT32_MAX else "long"
    return {"NoneType": "void", "float": "double", "bytes": "binary"}.get(kind, kind)


def _erlang_text(value: Any) -> str:
    """None and booleans as RabbitMQ writes them, all else as Python does."""
    if value is None:
        return "undefined"
    return str(value).lower() if isinstance(value, bool) else str(value)


class _RecentHistory(_Fanout):
    """Every binding, and the last messages for those to come."""

    def __init__(self, arguments):
        _Fanout.__init__(self, arguments)
        self.history = History(arguments.get(HISTORY_LENGTH, LENGTH))


class _Deduplicating(_Fanout):
    """Every binding, for a message whose key did not go through before."""

    by_headers = True

    def __init__(self, arguments):
        _Fanout.__init__(self, arguments)
        self.cache = Cache(arguments)

    def matches(self, key, fields):
        found = key_in(fields)
        return [] if found is not None and self.cache.knows(found) else list(self._bindings)


TABLES = {
    "direct": _Direct,
    "fanout": _Fanout,
    "topic": _Topic,
    "headers": _Headers,
    "x-consistent-hash": ConsistentHash,
    "x-modulus-hash": ModulusHash,
    "x-random": Chance,
    "x-recent-history": _RecentHistory,
    "x-message-deduplication": _Deduplicating,
}
ANY_KEY = ("direct", "topic")
DELAYED_MESSAGE, DELAYED_TYPE = "x-delayed-message", "x-delayed-type"
KINDS = (*TABLES, DELAYED_MESSAGE)


@cython.final
@cython.cclass
class Exchange:
    """One exchange and the bindings of which it is the source. Only its Router adds and removes them.

    name, kind (one of KINDS), durable, auto_delete, internal, arguments   as declared
    alternate             name of the exchange that takes what finds no binding here, or None
    any_key               whether each of a message's keys may match, not the first one only
    by_key, by_headers    whether matching looks at the routing key, at the header fields
    by_property           name of the message's property that matching looks at, or None
    by_chance             whether the same message may find other bindings the next time
    delayed               whether its type is x-delayed-message: it routes as the type in its argument says, and has
                          messages with a delay wait; whoever publishes looks
    history               the History of an exchange that has one, or None
    cache                 of an exchange that takes each key once, its Cache; None for all others
    """

    def __init__(
        self,
        name: str,
        kind: str,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: dict | None = None,
    ):
        self.name = name
        self.kind = kind
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments = {} if arguments is None else arguments
        alternate = self.arguments.get("alternate-exchange")
        self.alternate = alternate if isinstance(alternate, str) else None
        self._bindings = {}
        self.delayed = kind == DELAYED_MESSAGE
        routed_as = self.arguments[DELAYED_TYPE] if self.delayed else kind
        self._table = TABLES[routed_as](self.arguments)
        self.any_key = routed_as in ANY_KEY
        self.by_key = self._table.by_key
        self.by_headers = self._table.by_headers
        self.by_property = self._table.by_property
        self.by_chance = self._table.by_chance
        self._check = getattr(self._table, "check", None)
        self.history = getattr(self._table, "history", None)
        self.cache = getattr(self._table, "cache", None)
        self._serial = 0
        self.routes = {}
        self.keyless_route = None

    @property
    def is_used(self) -> bool:
        """Whether it is the source of any binding."""
        return bool(self._bindings)

    @property
    def binding_count(self) -> int:
        """How many bindings it is the source of."""
        return len(self._bindings)

    def bindings(self) -> list[Binding]:
        """The bindings it is the source of, in the order they came."""
        return list(self._bindings)

    def find(self, destination: Any, key: str, arguments: dict) -> Binding | None:
        """The binding with exactly these, or None."""
        return self._bindings.get(Binding(self, destination, key, arguments))

    def check_binding(self, key: str, arguments: dict) -> None:
        """Raises PreconditionFailed if a binding with these cannot be."""
        if self._check is not None:
            self._check(key, arguments)

    def add(self, binding: Binding) -> bool:
        """Add a binding whose source it is; False if it is there already. Raises as check_binding()."""
        self.check_binding(binding.key, binding.arguments)
        if binding in self._bindings:
            return False
        self._serial += 1
        binding.serial = self._serial
        self._bindings[binding] = binding
        self._table.add(binding)
        return True

    def remove(self, binding: Binding) -> None:
        """Remove a binding that is there."""
        del self._bindings[binding]
        self._table.remove(binding)

    def matches(self, key: bytes, fields: dict | None) -> list[Binding]:
        """The bindings that match, in the order they came. `fields` as from comparable_fields(): the message's header
        fields if by_headers, {name: value} of the property by_property; else they are not looked at."""
        return self._table.matches(key, fields)
