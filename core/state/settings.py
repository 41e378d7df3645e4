"""What arguments and policies together ask of a queue: one typed struct per queue, given to it by Queue.configure().

A new setting is three lines: its field in QueueSettings, its row in SETTINGS below, and its use in Queue.configure()
(core/queue/stock.py). A policy's key is the argument's name without `x-`, unless it is a plugin's. Argument and policy
are merged as RabbitMQ does: of two limits the lesser counts, of anything else the argument, but of a quorum queue's
overflow the policy; an operator policy was merged into the policy before (core/policies.py). What an argument may hold
is checked in arguments.py, what a policy may hold here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from core.routing.once import CACHE_PERSISTENCE, CACHE_SIZE, CACHE_SIZE_MAX, CACHE_TTL, DISK, MEMORY
from core.state.arguments import MS_MAX, RETRY_TYPES
from core.state.type_arguments import CLASSIC, QUORUM

RETRY_DISABLED, RETRY_ALL, RETRY_FAILED, RETRY_RETURNED = RETRY_TYPES
DROP_HEAD, REJECT_PUBLISH, REJECT_PUBLISH_DLX = "drop-head", "reject-publish", "reject-publish-dlx"


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The effective settings of one queue. A number is -1 where there is no limit, a name None where there is none."""

    ttl_ms: int = -1
    expires_ms: int = -1
    max_length: int = -1  # ready messages
    max_length_bytes: int = -1  # of ready messages' bodies
    overflow: str = DROP_HEAD
    dead_letter_exchange: str | None = None
    dead_letter_routing_key: str | None = None
    dead_letter_strategy: str = "at-most-once"
    delivery_limit: int = -1  # of a quorum queue
    retry_type: str = RETRY_DISABLED  # of a quorum queue: what waits when it comes back
    retry_min_ms: int = -1
    retry_max_ms: int = -1
    max_age: str | None = None  # of a stream: `7D`
    deduplication: bool = False
    consumer_timeout_ms: int = -1  # -1 = as the configuration says

    @property
    def refuses(self) -> bool:
        """Whether a full queue refuses what comes, instead of dropping its head."""
        return self.overflow != DROP_HEAD

    @property
    def buries_refused(self) -> bool:
        """Whether what is refused goes to the dead letter exchange."""
        return self.overflow == REJECT_PUBLISH_DLX

    @property
    def dead_letter(self) -> tuple[str, bytes | None] | None:
        """Where dead letters go: the exchange, and the routing key, None = the message's own. None: nowhere."""
        name, key = self.dead_letter_exchange, self.dead_letter_routing_key
        if name is None:
            return None
        if isinstance(name, bytes):  # an argument that is no UTF-8
            name = name.decode("utf-8", "surrogateescape")
        return name, key.encode() if isinstance(key, str) else key


UNSET = QueueSettings()


class Setting(NamedTuple):
    """How one key is read.

    field     its place in QueueSettings; empty = none of a queue's, or INERT
    limit     whether it is a limit, of which the lesser counts
    check     whether a policy may hold this value
    wrong     RabbitMQ's words when it may not, {} standing for the value
    """

    field: str
    limit: bool
    check: Callable[[Any], bool]
    wrong: str


def _number(least: int = 0, most: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _name(value: Any) -> bool:
    return isinstance(value, str)


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: type(value) in (str, int) and value in values


def _age(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"0*[1-9][0-9]*[YMDhms]", value, re.ASCII) is not None


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _anything(value: Any) -> bool:
    return True


def _limit(field: str, wrong: str, least: int = 0) -> Setting:
    return Setting(field, True, _number(least), f"{{}} is not a valid {wrong}")


def _choice(field: str, check: Callable[[Any], bool], wrong: str) -> Setting:
    return Setting(field, False, check, f"{{}} is not a valid {wrong}")


def _plugin(key: str, check: Callable[[Any], bool], wrong: str, field: str = "") -> Setting:
    """One of the deduplication plugin's, which has words of its own."""
    return Setting(field, False, check, f'"{key}" must be {wrong}, got {{}}')


LOCATORS = ("client-local", "balanced", "random", "least-leaders")
SETTINGS: dict[str, Setting] = {
    "message-ttl": _limit("ttl_ms", "message TTL"),
    "expires": _limit("expires_ms", "queue expiry", 1),
    "max-length": _limit("max_length", "maximum length"),
    "max-length-bytes": _limit("max_length_bytes", "maximum length in bytes"),
    "overflow": _choice("overflow", _one_of(DROP_HEAD, REJECT_PUBLISH, REJECT_PUBLISH_DLX), "overflow value"),
    "dead-letter-exchange": _choice("dead_letter_exchange", _name, "dead letter exchange name"),
    "dead-letter-routing-key": _choice("dead_letter_routing_key", _name, "dead letter routing key"),
    "dead-letter-strategy": _choice(
        "dead_letter_strategy", _one_of("at-most-once", "at-least-once"), "dead letter strategy"
    ),
    "delivery-limit": _limit("delivery_limit", "delivery limit"),
    "delayed-retry-type": _choice("retry_type", _one_of(*RETRY_TYPES), "delayed retry type"),
    "delayed-retry-min": _choice("retry_min_ms", _number(1), "delayed retry time"),
    "delayed-retry-max": _choice("retry_max_ms", _number(1), "delayed retry time"),
    "consumer-timeout": _limit("consumer_timeout_ms", "consumer timeout", 1),
    "x-message-deduplication": _plugin("x-message-deduplication", _flag, "a boolean", "deduplication"),
    CACHE_SIZE: _plugin(CACHE_SIZE, _number(1, CACHE_SIZE_MAX), f"an integer of 1 to {CACHE_SIZE_MAX}"),
    CACHE_TTL: _plugin(CACHE_TTL, _number(1, MS_MAX), "an integer greater than 0"),
    CACHE_PERSISTENCE: _plugin(CACHE_PERSISTENCE, _one_of(MEMORY, DISK), 'either "disk" or "memory"'),
    "alternate-exchange": _choice("", _name, "alternate exchange name"),
    "max-age": _choice("max_age", _age, "max age"),
    "stream-max-segment-size-bytes": _choice("", _number(), "segment size"),
}
INERT = {  # what RabbitMQ knows and nothing comes of here: mirrors, modes, places, what classic queues keep in memory
    "queue-mode": _choice("", _one_of("default", "lazy"), "queue-mode value"),
    "queue-version": _choice("", _one_of(1, 2), "queue-version value"),
    "queue-leader-locator": _choice("", _one_of(*LOCATORS), "queue leader locator value"),
    "queue-master-locator": _choice("", _name, "queue-master-locator value"),
    "initial-cluster-size": _choice("", _number(), "cluster size"),
    "max-in-memory-length": _limit("", "maximum memory in bytes"),
    "max-in-memory-bytes": _limit("", "maximum memory in bytes"),
    "ha-mode": _choice("", _one_of("all", "exactly", "nodes"), "ha-mode value"),
    "ha-params": _choice("", _anything, "ha-params value"),
    "ha-promote-on-failure": _choice("", _anything, "ha-promote-on-failure value"),
    "ha-promote-on-shutdown": _choice("", _anything, "ha-promote-on-shutdown value"),
    "ha-sync-batch-size": _choice("", _anything, "ha-sync-batch-size value"),
    "ha-sync-mode": _choice("", _anything, "ha-sync-mode value"),
}
SETTINGS |= INERT


def _argument(key: str) -> str:
    """The argument that a policy's key stands for."""
    return key if key.startswith("x-") else f"x-{key}"


def settings_of(
    arguments: Mapping[str, Any], definition: Mapping[str, Any], queue_type: str = CLASSIC
) -> QueueSettings:
    """The settings of a queue of that type that was declared with `arguments` and that a policy's `definition` applies
    to."""
    if not arguments and not definition:
        return UNSET
    values: dict[str, Any] = {}
    for key, setting in SETTINGS.items():
        given = [table[name] for table, name in ((definition, key), (arguments, _argument(key))) if name in table]
        if given and setting.field:
            chosen = given[0] if key == "overflow" and queue_type == QUORUM else given[-1]
            values[setting.field] = _least(given) if setting.limit else chosen
    return msgspec.structs.replace(UNSET, **values) if values else UNSET


def _least(given: list[int]) -> int:
    """The lesser of the limits; one below 0 is none (x-delivery-limit)."""
    limits = [limit for limit in given if limit >= 0]
    return int(min(*limits, MS_MAX)) if limits else -1
