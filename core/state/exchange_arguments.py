"""Arguments of exchanges, by type of exchange: what may be asked for, in RabbitMQ's and its plugins' words when not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from core.errors import CommandInvalid, PreconditionFailed, erlang_term
from core.routing.choosing import HASH_HEADER, HASH_PROPERTIES, HASH_PROPERTY
from core.routing.exchange import DELAYED_MESSAGE, DELAYED_TYPE, TABLES
from core.routing.history import HISTORY_LENGTH
from core.routing.once import CACHE_PERSISTENCE, CACHE_SIZE, CACHE_SIZE_MAX, CACHE_TTL, DISK
from core.state.arguments import ALTERNATE, ArgumentCodec

LENGTH_TYPES = ("byte", "short", "signedint", "long")  # RabbitMQ's plugin takes no unsigned ones
LENGTH_MAX = 10_000  # messages that one exchange may remember: a new binding gets them in one turn


def check_exchange_arguments(codec: ArgumentCodec, kind: str, arguments: dict[str, Any], title: str) -> None:
    """Raises PreconditionFailed for an argument of a new exchange that cannot be, CommandInvalid for an unknown
    type in x-delayed-type. title: `exchange 'x' in vhost '/'`."""
    _must_be_text(codec, ALTERNATE, arguments, title)
    check = CHECKS.get(kind)
    if check is not None:
        check(codec, arguments, title)


def _must_be_text(codec: ArgumentCodec, name: str, arguments: dict[str, Any], title: str) -> None:
    if name in arguments and codec.type_name(arguments[name]) != "longstr":
        raise PreconditionFailed(f"invalid type '{codec.type_name(arguments[name])}' for arg '{name}' in {title}")


def _consistent_hash(codec: ArgumentCodec, arguments: dict[str, Any], title: str) -> None:
    _must_be_text(codec, HASH_HEADER, arguments, title)
    _must_be_text(codec, HASH_PROPERTY, arguments, title)
    if HASH_PROPERTY not in arguments:
        return
    if HASH_HEADER in arguments:
        raise PreconditionFailed("hash-header and hash-property are mutually exclusive")
    if arguments[HASH_PROPERTY] not in HASH_PROPERTIES:
        raise PreconditionFailed(f"Unsupported property: {arguments[HASH_PROPERTY]}")


def _recent_history(codec: ArgumentCodec, arguments: dict[str, Any], title: str) -> None:
    if HISTORY_LENGTH not in arguments:
        return
    length = arguments[HISTORY_LENGTH]
    if codec.type_name(length) not in LENGTH_TYPES or length <= 0:
        raise PreconditionFailed(
            f"Invalid argument {erlang_term(length)}, '{HISTORY_LENGTH}' must be a positive integer"
        )
    if length > LENGTH_MAX:
        raise PreconditionFailed(f"Invalid argument {length}, '{HISTORY_LENGTH}' must not exceed {LENGTH_MAX}")


def _deduplicating(codec: ArgumentCodec, arguments: dict[str, Any], title: str) -> None:
    """As rabbitmq-message-deduplication checks them: whole numbers, also as digits."""
    if not _is_above_0(arguments.get(CACHE_SIZE)):
        raise PreconditionFailed(f"Missing or invalid argument, '{CACHE_SIZE}' must be an integer greater than 0")
    if int(arguments[CACHE_SIZE]) > CACHE_SIZE_MAX:
        raise PreconditionFailed(f"Invalid argument, '{CACHE_SIZE}' must not exceed {CACHE_SIZE_MAX}")
    if CACHE_TTL in arguments and not _is_above_0(arguments[CACHE_TTL]):
        raise PreconditionFailed(f"Invalid argument, '{CACHE_TTL}' must be an integer greater than 0")
    if arguments.get(CACHE_PERSISTENCE, DISK) not in (DISK, "memory"):
        raise PreconditionFailed(f"Invalid argument, '{CACHE_PERSISTENCE}' must be either 'disk' or 'memory'")


def _is_above_0(value: Any) -> bool:
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value):
        value = int(value)
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _delayed(codec: ArgumentCodec, arguments: dict[str, Any], title: str) -> None:
    kind = arguments.get(DELAYED_TYPE)
    if kind == DELAYED_MESSAGE:
        raise PreconditionFailed(f"Invalid argument, '{DELAYED_MESSAGE}' can't be used for '{DELAYED_TYPE}'")
    if not isinstance(kind, str):
        raise PreconditionFailed(f"Invalid argument, '{DELAYED_TYPE}' must be an existing exchange type")
    if kind not in TABLES:
        raise CommandInvalid(f"unknown exchange type '{kind}'")
    check_exchange_arguments(codec, kind, arguments, title)


CHECKS: dict[str, Callable[[ArgumentCodec, dict[str, Any], str], None]] = {
    "x-consistent-hash": _consistent_hash,
    "x-recent-history": _recent_history,
    "x-message-deduplication": _deduplicating,
    DELAYED_MESSAGE: _delayed,
}
