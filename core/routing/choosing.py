"""Exchanges that send a message one way only: by a hash, by the key's remainder, by chance, as RabbitMQ's plugins.

x-consistent-hash is a weighted rendezvous: each destination gets a score from its name, its weight and the message's
value, and the highest takes it. So a value keeps its queue whatever the order of bindings and across restarts, and when
a binding comes or goes only the values move that it gains or gives up (RabbitMQ's jump hash moves more of them when one
goes that is not the last). Which value leads where is not what RabbitMQ says; the shares are: weight / sum of weights.
"""

from __future__ import annotations

import re
from array import array
from hashlib import blake2b
from typing import Any

import cython

from core.errors import PreconditionFailed, erlang_term

if cython.compiled:
    from cython.cimports.libc.math import log
else:
    from math import log

HASH_HEADER, HASH_PROPERTY = "hash-header", "hash-property"
HASH_PROPERTIES = ("correlation_id", "message_id", "timestamp")
WEIGHT_MAX = 10_000  # RabbitMQ's since 4.1
_INTEGER = re.compile(r"[+-]?[0-9]+")
MASK_64 = cython.declare(cython.ulonglong, (1 << 64) - 1)
STEP = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)  # these three are splitmix64's
FACTOR_1 = cython.declare(cython.ulonglong, 0xBF58476D1CE4E5B9)
FACTOR_2 = cython.declare(cython.ulonglong, 0x94D049BB133111EB)


def weight_of(key: str) -> int:
    """The weight that a binding's key says. Raises PreconditionFailed in RabbitMQ's words."""
    if not _INTEGER.fullmatch(key):
        raise PreconditionFailed(f"The binding key must be an integer: {erlang_term(key)}")
    weight = int(key)
    if weight < 1:
        raise PreconditionFailed("The binding key must be greater than 0")
    if weight > WEIGHT_MAX:
        raise PreconditionFailed(f"The binding key must not exceed {WEIGHT_MAX}")
    return weight


def digest(value: bytes) -> int:
    """64 bits of a hash that is the same on every machine and after every start."""
    return int.from_bytes(blake2b(value, digest_size=8).digest(), "big")


def digest_of(value: Any) -> bytes:
    """16 bytes that are the same for equal values of `comparable()`, and, for all we know, for no others."""
    return blake2b(canonical(value), digest_size=16).digest()


def canonical(value: Any) -> bytes:
    """Bytes that are equal for equal values of `comparable()`, whatever the order of their tables."""
    if isinstance(value, frozenset):
        return b"{" + b",".join(sorted(canonical(member) for member in value)) + b"}"
    if isinstance(value, tuple):
        return b"(" + b",".join([canonical(member) for member in value]) + b")"
    return repr(value).encode("utf-8", "backslashreplace")


@cython.cfunc
@cython.exceptval(check=False)
def mixed(x: cython.ulonglong) -> cython.ulonglong:
    """splitmix64's finaliser: every bit of the result depends on every bit of x."""
    x = ((x ^ (x >> 30)) * FACTOR_1) & MASK_64
    x = ((x ^ (x >> 27)) * FACTOR_2) & MASK_64
    return x ^ (x >> 31)


@cython.final
@cython.cclass
class ConsistentHash:
    """x-consistent-hash. The hashed value is the routing key, or the argument names a header or a property; messages
    without it all go one way. Of several bindings to one destination the first gives the weight."""

    def __init__(self, arguments: dict):
        header, self.by_property = arguments.get(HASH_HEADER), arguments.get(HASH_PROPERTY)
        self.by_headers = header is not None
        self.by_key = header is None and self.by_property is None
        self.by_chance = False
        self._name = header if self.by_headers else self.by_property
        self._ways = {}  # destination -> {binding: weight}
        self._bindings = None  # one of each destination; None: to be gathered again
        self._seeds = self._weights = None

    def check(self, key: str, arguments: dict) -> None:
        """Raises PreconditionFailed for a key that is no weight."""
        weight_of(key)

    def add(self, binding: object) -> None:
        """A way more."""
        self._ways.setdefault(binding.destination, {})[binding] = weight_of(binding.key)
        self._bindings = None

    def remove(self, binding: object) -> None:
        """A way less."""
        same_way = self._ways[binding.destination]
        del same_way[binding]
        if not same_way:
            del self._ways[binding.destination]
        self._bindings = None

    def _gather(self) -> None:
        """Seeds and weights, flat, for the loop below."""
        firsts = [next(iter(same_way.items())) for same_way in self._ways.values()]
        self._seeds = array("Q", [digest(binding.destination_name) for binding, _ in firsts])
        self._weights = array("d", [weight for _, weight in firsts])
        self._bindings = [binding for binding, _ in firsts]

    def matches(self, key: bytes, fields: dict | None) -> list:
        """The one binding whose destination has the highest score."""
        if self._bindings is None:
            self._gather()
        if not self._bindings:
            return []
        value = digest(key if self.by_key else canonical(fields.get(self._name)))
        return [self._bindings[self._highest(value)]]

    @cython.cfunc
    @cython.exceptval(-1)
    def _highest(self, value: cython.ulonglong) -> cython.Py_ssize_t:
        """Its place: the largest of weight / -ln(u), where u in (0, 1) comes from destination and value."""
        best: cython.Py_ssize_t = 0
        highest: cython.double = -1.0
        i: cython.Py_ssize_t
        for i in range(len(self._seeds)):
            u: cython.double = ((mixed(self._seeds[i] ^ value) >> 11) + 0.5) / 9007199254740992.0
            score: cython.double = self._weights[i] / -log(u)
            if score > highest:
                highest = score
                best = i
        return best


class ModulusHash:
    """x-modulus-hash: the binding whose place, in the order of names, is the key's hash modulo their number. A queue
    that is bound twice counts twice."""

    by_key, by_headers, by_property, by_chance = True, False, None, False

    def __init__(self, arguments: dict):
        self._bindings = {}
        self._sorted = None

    def add(self, binding):
        """A way more."""
        self._bindings[binding] = None
        self._sorted = None

    def remove(self, binding):
        """A way less."""
        del self._bindings[binding]
        self._sorted = None

    def matches(self, key, fields):
        """The one binding of the key."""
        if self._sorted is None:
            self._sorted = sorted(self._bindings, key=lambda binding: (binding.destination_name, binding.key_bytes))
        return [self._sorted[digest(key) % len(self._sorted)]] if self._sorted else []


@cython.final
@cython.cclass
class Chance:
    """x-random: any binding, anew for each message. A queue that is bound twice is as likely again.

    The choices are splitmix64's, begun anew with each start, so that a simulated run can be repeated."""

    def __init__(self, arguments: dict):
        self.by_key = self.by_headers = False
        self.by_property = None
        self.by_chance = True
        self._bindings = {}
        self._listed = None
        self._state = 0

    def add(self, binding: object) -> None:
        """A way more."""
        self._bindings[binding] = None
        self._listed = None

    def remove(self, binding: object) -> None:
        """A way less."""
        del self._bindings[binding]
        self._listed = None

    def matches(self, key: bytes, fields: dict | None) -> list:
        """Any one."""
        if self._listed is None:
            self._listed = list(self._bindings)
        if not self._listed:
            return []
        self._state = (self._state + STEP) & MASK_64
        count: cython.ulonglong = len(self._listed)
        return [self._listed[mixed(self._state) % count]]
