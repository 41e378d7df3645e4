"""Arguments of queues: what may be asked for, in RabbitMQ's words when it may not.

Known arguments are checked when a queue is declared and compared when it is declared again; unknown ones are kept and
ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from core.errors import PreconditionFailed
from core.state.stream_arguments import MAX_AGE, MAX_BYTES, OF_A_STREAM, check_max_age
from core.state.type_arguments import CLASSIC, NOT_FOR, QUEUE_TYPES, STREAM, check_names

DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY = "x-dead-letter-exchange", "x-dead-letter-routing-key"
TTL, EXPIRES, QUEUE_TYPE, ALTERNATE = "x-message-ttl", "x-expires", "x-queue-type", "alternate-exchange"
SINGLE_ACTIVE, PRIORITY, STREAM_OFFSET = "x-single-active-consumer", "x-priority", "x-stream-offset"
CONSUMER_TIMEOUT = "x-consumer-timeout"
MAX_LENGTH, OVERFLOW = "x-max-length", "x-overflow"
RETRY_TYPE, RETRY_MIN, RETRY_MAX = "x-delayed-retry-type", "x-delayed-retry-min", "x-delayed-retry-max"
RETRY_TYPES = ("disabled", "all", "failed", "returned")
MAX_PRIORITY, PRIORITY_MAX = "x-max-priority", 255
MS_MAX = 1 << 53  # so that any time plus it is a time
EXPIRY_MS_MAX = 10 * 365 * 86_400_000  # RabbitMQ's bound of x-message-ttl and x-expires
INTEGERS = frozenset(("byte", "unsignedbyte", "short", "unsignedshort", "signedint", "unsignedint", "long"))


class ArgumentCodec(Protocol):
    """The argument tables of the protocol that declares: its encoding, and its names of types."""

    def encode(self, table: dict[str, Any]) -> bytes:
        """The bytes of a table."""

    def decode(self, data: bytes, at: int, end: int) -> tuple[dict[str, Any], int]:
        """The table at `at`, and where it ends."""

    def type_name(self, value: Any) -> str:
        """RabbitMQ's name of a value's type."""

    def equivalent(self, a: Any, b: Any) -> bool:
        """Whether two values mean the same when something is declared again."""


def block_of(codec: ArgumentCodec, arguments: dict[str, Any]) -> bytes:
    """Arguments as facts keep them; no arguments are no bytes."""
    return codec.encode(arguments) if arguments else b""


def table_of(codec: ArgumentCodec, block: bytes) -> dict[str, Any]:
    """Arguments from a fact."""
    return codec.decode(block, 0, len(block))[0] if block else {}


def _any_integer(kind: str, value: Any) -> str | None:
    """What is wrong with a number of any sign, or None."""
    return None if kind in INTEGERS else f'"expected integer, got {kind}"'


def _natural(kind: str, value: Any) -> str | None:
    """What is wrong with a number that may be 0, and as large as it likes, or None."""
    wrong = _any_integer(kind, value)
    return f"{{value_negative,{value}}}" if wrong is None and value < 0 else wrong


def _integer(kind: str, value: Any) -> str | None:
    """What is wrong with a number that may be 0, or None."""
    wrong = _natural(kind, value)
    if wrong is None and value > MS_MAX:
        wrong = f"{{value_too_big,{value}}}"
    return wrong


def _ttl(kind: str, value: Any) -> str | None:
    if kind in INTEGERS and value > EXPIRY_MS_MAX:
        return f"{{value_too_large,{value}}}"
    return _integer(kind, value)


def _expires(kind: str, value: Any) -> str | None:
    return _ttl(kind, value) if value else _positive(kind, value)


def _priority(kind: str, value: Any) -> str | None:
    wrong = _integer(kind, value)
    return f"{{max_value_exceeded,{value}}}" if wrong is None and value > PRIORITY_MAX else wrong


def _flag(kind: str, value: Any) -> str | None:
    return None if kind == "bool" else f"{{unacceptable_type,{kind}}}"


def _positive(kind: str, value: Any) -> str | None:
    if kind in INTEGERS and value == 0:
        return "{value_zero,0}"
    return _integer(kind, value)


def _queue_type(kind: str, value: Any) -> str | None:
    if kind != "longstr":
        return f"{{unacceptable_type,{kind}}}"
    return None if value in QUEUE_TYPES else f"\"unsupported queue type '{text_of(value)}'\""


def _queue_mode(kind: str, value: Any) -> str | None:
    wrong = _text(kind, value)
    if wrong is None and value not in ("default", "lazy"):
        wrong = f"\"unsupported queue mode '{text_of(value)}'\""
    return wrong


def _version(kind: str, value: Any) -> str | None:
    wrong = _integer(kind, value)
    if wrong is None and value not in (1, 2):
        wrong = f"\"unsupported queue version '{value}'\""
    return wrong


def _text(kind: str, value: Any) -> str | None:
    return None if kind == "longstr" else f"{{unacceptable_type,{kind}}}"


def _one_of(values: tuple[str, ...], wrong: str) -> Callable[[str, Any], str | None]:
    def check(kind: str, value: Any) -> str | None:
        if kind != "longstr":
            return f"{{unacceptable_type,{kind}}}"
        return None if value in values else wrong

    return check


CHECKS: dict[str, Callable[[str, Any], str | None]] = {
    EXPIRES: _expires,
    TTL: _ttl,
    QUEUE_TYPE: _queue_type,
    SINGLE_ACTIVE: _flag,
    MAX_PRIORITY: _priority,
    DEAD_LETTER_EXCHANGE: _text,
    DEAD_LETTER_KEY: _text,
    "x-dead-letter-strategy": _one_of(("at-most-once", "at-least-once"), "invalid_dlx_strategy"),
    "x-queue-mode": _queue_mode,
    "x-queue-version": _version,
    "x-max-in-memory-length": _integer,
    "x-max-in-memory-bytes": _integer,
    "x-quorum-initial-group-size": _positive,
    CONSUMER_TIMEOUT: _positive,
    "x-message-deduplication": _flag,
    "x-delivery-limit": _any_integer,  # as from RabbitMQ 4.0 below 0 = no limit; before, any value was taken
    RETRY_TYPE: _one_of(RETRY_TYPES, "invalid_delayed_retry_type"),
    RETRY_MIN: _positive,
    RETRY_MAX: _positive,
    MAX_AGE: check_max_age,
    MAX_LENGTH: _natural,
    MAX_BYTES: _natural,
    OVERFLOW: _one_of(("drop-head", "reject-publish", "reject-publish-dlx"), "invalid_overflow"),
    "x-stream-max-segment-size-bytes": _integer,
    "x-stream-filter-size-bytes": _integer,
    "x-initial-cluster-size": _positive,
    "x-queue-leader-locator": _one_of(
        ("client-local", "balanced", "random", "least-leaders"), "invalid_queue_locator_arg"
    ),
}
COMPARED = tuple(CHECKS)


def _check_value(codec: ArgumentCodec, arguments: dict[str, Any], name: str, title: str) -> None:
    if name in arguments:
        wrong = CHECKS[name](codec.type_name(arguments[name]), arguments[name])
        if wrong is not None:
            raise PreconditionFailed(f"invalid arg '{name}' for {title}: {wrong}")


def check_queue_arguments(codec: ArgumentCodec, arguments: dict[str, Any], title: str) -> None:
    """Raises PreconditionFailed for an argument of a new queue that cannot be: a value of its type's own, then one of
    another type. title: `queue 'q' in vhost '/'`."""
    _check_value(codec, arguments, QUEUE_TYPE, title)
    queue_type = arguments.get(QUEUE_TYPE, CLASSIC)
    for name in CHECKS:
        if name not in NOT_FOR[queue_type]:
            _check_value(codec, arguments, name, title)
    if DEAD_LETTER_KEY in arguments and DEAD_LETTER_EXCHANGE not in arguments:
        raise PreconditionFailed(f"invalid arg '{DEAD_LETTER_KEY}' for {title}: routing_key_but_no_dlx_defined")
    check_names(title, queue_type, arguments)


def check_consumer_arguments(codec: ArgumentCodec, arguments: dict[str, Any], title: str, queue_type: str) -> None:
    """Raises PreconditionFailed for an argument of a new consumer that cannot be. title: of its queue. What a stream's
    x-stream-offset may be: stream_arguments.py."""
    if queue_type == STREAM and PRIORITY in arguments:
        raise PreconditionFailed(f"invalid arg '{PRIORITY}' for {title} {OF_A_STREAM}")
    for name, check in ((PRIORITY, _any_integer), (CONSUMER_TIMEOUT, _integer)):
        wrong = check(codec.type_name(arguments[name]), arguments[name]) if name in arguments else None
        if wrong is not None:
            raise PreconditionFailed(f"invalid arg '{name}' for {title}: {wrong}")
    if STREAM_OFFSET in arguments and queue_type != STREAM and PRIORITY in arguments:
        raise PreconditionFailed(f"invalid arg '{PRIORITY}' for {title}: it cannot be with '{STREAM_OFFSET}'")


def check_same(title: str, name: str, received: Any, current: Any) -> None:
    """Raises PreconditionFailed when a property differs from what is there."""
    if received != current:
        raise PreconditionFailed(
            f"inequivalent arg '{name}' for {title}: received '{text_of(received)}' but current is '{text_of(current)}'"
        )


def check_equivalent(
    codec: ArgumentCodec, title: str, received: dict[str, Any], current: dict[str, Any], names: Iterable[str] = COMPARED
) -> None:
    """Raises PreconditionFailed when one of the named arguments differs from what is there."""
    for name in names:
        if name in received and name in current:
            if not codec.equivalent(received[name], current[name]):
                check_same(title, name, received[name], current[name])
        elif name in received or name in current:
            raise PreconditionFailed(
                f"inequivalent arg '{name}' for {title}: received {_value_of(codec, name, received)} "
                f"but current is {_value_of(codec, name, current)}"
            )


def _value_of(codec: ArgumentCodec, name: str, arguments: dict[str, Any]) -> str:
    if name not in arguments:
        return "none"
    return f"the value '{text_of(arguments[name])}' of type '{codec.type_name(arguments[name])}'"


def text_of(value: Any) -> str:
    """A value as RabbitMQ writes it into an error text."""
    if value is None or isinstance(value, bool):
        return "undefined" if value is None else str(value).lower()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
