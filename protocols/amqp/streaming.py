"""basic.consume on a stream, or on what a queue received: where it begins, and the offset in deliveries' headers."""

from __future__ import annotations

from typing import Any

import cython

from core.errors import NotSupported, PreconditionFailed
from core.state.stream_arguments import beginning
from protocols.amqp.tables import type_name

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.protocols.amqp.consuming import AmqpConsumer
    from cython.cimports.protocols.amqp.headers import annotated
else:
    from core.message import Message
    from protocols.amqp.consuming import AmqpConsumer
    from protocols.amqp.headers import annotated

OFFSET = "x-stream-offset"


@cython.final
@cython.cclass
class StreamConsumer(AmqpConsumer):
    """One basic.consume on a stream, or on what a queue received."""

    @cython.ccall
    def deliver(self, message: Message, offset: cython.longlong, redelivered: cython.bint):
        """basic.deliver with the header x-stream-offset."""
        AmqpConsumer.deliver(self, annotated(message, OFFSET, offset), offset, redelivered)


def check_consume(title: str, no_ack: bool, prefetch: int) -> None:
    """Raises what a consumer deserves that a stream cannot serve. title: `queue 'q' in vhost '/'`."""
    if no_ack:
        raise NotSupported(f"automatic acknowledgement not supported by stream queues {title}")
    if not prefetch:
        raise PreconditionFailed(f"consumer prefetch count is not set for '{title}'")


def check_replay(title: str, method: Any, prefetch: int) -> None:
    """Raises what a consumer deserves that a queue's past cannot serve. title: `queue 'q' in vhost '/'`."""
    if method.no_ack:
        raise NotSupported(f"automatic acknowledgement not supported with '{OFFSET}' for {title}")
    if method.exclusive:
        raise NotSupported(f"exclusive consumer not supported with '{OFFSET}' for {title}")
    if not prefetch:
        raise PreconditionFailed(f"consumer prefetch count is not set for '{title}'")


def place_of(title: str, arguments: dict, now_ms: int) -> tuple[str, int]:
    """Where a consumer begins, as Stream.place() takes it."""
    value = arguments.get(OFFSET, "next")
    return beginning(title, type_name(value), value, now_ms)
