"""What a queue of each type cannot be declared with, in RabbitMQ's words: arguments of other types, and properties.

Source: the capabilities of RabbitMQ 3.10's queue types; an argument that no type has is kept and ignored.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.errors import PreconditionFailed

CLASSIC, QUORUM, STREAM = "classic", "quorum", "stream"
QUEUE_TYPES = (CLASSIC, QUORUM, STREAM)
_OF_STREAMS = ("x-max-age", "x-stream-max-segment-size-bytes", "x-initial-cluster-size")
_RETRIES = ("x-delayed-retry-type", "x-delayed-retry-min", "x-delayed-retry-max")
NOT_FOR: dict[str, tuple[str, ...]] = {
    CLASSIC: (
        *("x-delivery-limit", "x-dead-letter-strategy", "x-quorum-initial-group-size", "x-queue-leader-locator"),
        *("x-max-in-memory-length", "x-max-in-memory-bytes"),
        *_RETRIES,
        *_OF_STREAMS,
    ),
    QUORUM: ("x-max-priority", "x-queue-mode", "x-queue-version", "x-queue-master-locator", *_OF_STREAMS),
    STREAM: (
        *("x-message-ttl", "x-expires", "x-max-length", "x-overflow", "x-max-priority", "x-single-active-consumer"),
        *("x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-delivery-limit"),
        *("x-queue-mode", "x-queue-version", "x-max-in-memory-length", "x-max-in-memory-bytes"),
        *_RETRIES,
        *("x-quorum-initial-group-size", "x-consumer-timeout", "x-message-deduplication"),
    ),
}


def check_names(title: str, queue_type: str, arguments: Iterable[str]) -> None:
    """Raises PreconditionFailed for an argument of another type. title: `queue 'q' in vhost '/'`."""
    for name in arguments:
        if name in NOT_FOR[queue_type]:
            raise PreconditionFailed(f"invalid arg '{name}' for {title} of queue type rabbit_{queue_type}_queue")


def check_properties(title: str, queue_type: str, properties: tuple[bool, bool, bool]) -> None:
    """Raises PreconditionFailed for what a queue of that type cannot be: (durable, exclusive, auto-delete)."""
    if queue_type == CLASSIC:
        return
    durable, exclusive, auto_delete = properties
    for wrong, name in ((auto_delete, "auto-delete"), (exclusive, "exclusive-owner"), (not durable, "non-durable")):
        if wrong:
            raise PreconditionFailed(f"invalid property '{name}' for {title}")


def check_unnamed(queue_type: str) -> None:
    """Raises PreconditionFailed if a queue of that type, if there is such a type, cannot get a generated name."""
    if queue_type in (QUORUM, STREAM):
        raise PreconditionFailed(f"Cannot declare a server-named queue for type rabbit_{queue_type}_queue")
