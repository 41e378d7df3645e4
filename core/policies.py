"""Policies: settings for all queues or exchanges whose names match, from outside the applications that declare them.

One policy and one operator policy apply to an object, the matching ones of the highest priority. A policy that asks for
what a queue's type cannot do does not match it at all: the next one does. Source: RabbitMQ's rabbit_policy.erl.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from core.routing.once import CACHE_KEYS
from core.state.arguments import ALTERNATE
from core.state.records import EXCHANGE, QUEUE, QueueFact
from core.state.settings import SETTINGS, QueueSettings, settings_of
from core.state.type_arguments import CLASSIC, QUORUM, STREAM

APPLY_TO = {  # what a policy may apply to -> kinds of object, and of queue
    "all": (QUEUE, EXCHANGE, CLASSIC, QUORUM, STREAM),
    "queues": (QUEUE, CLASSIC, QUORUM, STREAM),
    "exchanges": (EXCHANGE,),
    "classic_queues": (CLASSIC,),
    "quorum_queues": (QUORUM,),
    "streams": (STREAM,),
}

_STREAM_ONLY = ("max-age", "stream-max-segment-size-bytes", "initial-cluster-size")
_QUORUM_ONLY = ("delivery-limit", "delayed-retry-type", "delayed-retry-min", "delayed-retry-max")
_MIRRORED_ONLY = (
    *("ha-mode", "ha-params", "ha-promote-on-failure", "ha-promote-on-shutdown", "ha-sync-mode"),
    *("queue-mode", "queue-master-locator"),
)
UNFIT = {  # what a policy may not ask for, or it does not match a queue of that type (RabbitMQ 3.10's capabilities)
    CLASSIC: frozenset((*_STREAM_ONLY, *_QUORUM_ONLY, "queue-leader-locator", "dead-letter-strategy")),
    QUORUM: frozenset((*_STREAM_ONLY, *_MIRRORED_ONLY)),
    STREAM: frozenset(
        (
            *(*_MIRRORED_ONLY, "expires", "message-ttl", "max-length", "overflow"),
            *_QUORUM_ONLY,
            *("dead-letter-exchange", "dead-letter-routing-key", "dead-letter-strategy"),
            *("max-in-memory-length", "max-in-memory-bytes", "consumer-timeout"),
            "x-message-deduplication",
        )
    ),
}
OPERATOR_KEYS = frozenset(  # limits, and since 3.12 a few choices, of which an operator's counts
    (
        *(key for key, setting in SETTINGS.items() if setting.limit),
        *("overflow", "queue-version", "ha-mode", "ha-params", "ha-sync-mode"),
    )
)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One policy or operator policy of a virtual host. definition: what it sets, by key; checked."""

    vhost: str
    name: str
    pattern: re.Pattern[bytes]
    apply_to: str = "all"
    priority: float = 0
    definition: Mapping[str, Any]


class Applied(NamedTuple):
    """What applies to one object."""

    policy: Policy | None
    operator: Policy | None

    @property
    def definition(self) -> Mapping[str, Any]:
        """Both as one: what only one says stands, of two limits the lesser, of two choices the operator's."""
        policy = {} if self.policy is None else self.policy.definition
        operator = {} if self.operator is None else self.operator.definition
        if not operator:
            return policy
        merged = {**policy, **operator}
        for key in policy.keys() & operator.keys():
            if SETTINGS[key].limit:
                merged[key] = min(policy[key], operator[key])
        return merged


class Policies:
    """All policies in force, and what they make of each queue and exchange."""

    def __init__(self) -> None:
        self.policies: tuple[Policy, ...] = ()
        self.operator_policies: tuple[Policy, ...] = ()
        self._by_vhost: dict[str, tuple[list[Policy], list[Policy]]] = {}

    def replace(self, policies: Iterable[Policy], operator_policies: Iterable[Policy]) -> None:
        """Let these apply from now on. What is there already is told by Topology.policies_changed()."""
        self.policies, self.operator_policies = tuple(policies), tuple(operator_policies)
        self._by_vhost = {}
        for at, some in enumerate((self.policies, self.operator_policies)):
            for policy in sorted(some, key=lambda policy: -policy.priority):
                self._by_vhost.setdefault(policy.vhost, ([], []))[at].append(policy)

    def of_queue(self, fact: QueueFact) -> Applied:
        """The policies that apply to a queue."""
        return self._matching(fact.vhost, fact.queue_type, fact.name)

    def of_exchange(self, vhost: str, name: str) -> Applied:
        """The policies that apply to an exchange."""
        return self._matching(vhost, EXCHANGE, name)

    def _matching(self, vhost: str, kind: str, name: str) -> Applied:
        found = self._by_vhost.get(vhost)
        if found is None:
            return Applied(None, None)
        octets = name.encode("utf-8", "surrogateescape")
        return Applied(*(next((one for one in some if _matches(one, kind, octets)), None) for some in found))

    def settings(self, fact: QueueFact, arguments: Mapping[str, Any]) -> QueueSettings:
        """What the queue's arguments and the policies make of it."""
        return settings_of(arguments, self.of_queue(fact).definition, fact.queue_type)

    def configure_exchange(self, vhost: str, exchange: Any) -> None:
        """Give an exchange its alternate: its argument's, else a policy's; and its cache of keys, if it has one, a
        policy's settings, else its arguments'."""
        definition = self.of_exchange(vhost, exchange.name).definition if exchange.name else {}
        alternate = exchange.arguments.get(ALTERNATE)
        if alternate is None:
            alternate = definition.get(ALTERNATE)
        exchange.alternate = alternate if isinstance(alternate, str) else None
        if exchange.cache is not None:
            exchange.cache.configure({key: definition[key] for key in CACHE_KEYS & definition.keys()})


def _matches(policy: Policy, kind: str, name: bytes) -> bool:
    if kind not in APPLY_TO[policy.apply_to]:
        return False
    unfit = UNFIT.get(kind, frozenset())
    return unfit.isdisjoint(policy.definition) and policy.pattern.search(name) is not None


def wrong_definition(definition: Mapping[str, Any], *, operator: bool) -> str | None:
    """What is wrong with a policy's definition, in RabbitMQ's words, or None."""
    if not definition:
        return "no policy provided"
    known = OPERATOR_KEYS if operator else SETTINGS.keys()
    for key in definition:
        if key in known and not SETTINGS[key].check(definition[key]):
            return SETTINGS[key].wrong.format(erlang_term(definition[key]))
    unknown = [(key, definition[key]) for key in sorted(definition.keys() - known)]
    if unknown:
        pairs = ",".join(f"{{{erlang_term(key)},{erlang_term(value)}}}" for key, value in unknown)
        return f"[{pairs}] are not recognised policy settings"
    return None


def erlang_term(value: Any) -> str:
    """A value of JSON as RabbitMQ writes it into its texts."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str):
        octets = value.encode("utf-8", "replace")
        if all(32 <= octet < 127 for octet in octets):
            return '<<"' + value.replace("\\", "\\\\").replace('"', '\\"') + '">>'
        return f"<<{','.join(map(str, octets))}>>"
    if isinstance(value, Mapping):
        return "#{" + ",".join(f"{erlang_term(key)} => {erlang_term(of)}" for key, of in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(erlang_term, value))}]"
    return str(value)
