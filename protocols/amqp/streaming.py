"""basic.consume on a stream: where it begins, and the offset in every delivery's headers."""

from __future__ import annotations

import cython

from core.errors import NotSupported, PreconditionFailed
from core.state.stream_arguments import beginning
from protocols.amqp.headers import with_long
from protocols.amqp.tables import type_name

if cython.compiled:
    from cython.cimports.core.message import Message, new_message
    from cython.cimports.protocols.amqp.consuming import AmqpConsumer
else:
    from core.message import Message, new_message
    from protocols.amqp.consuming import AmqpConsumer

OFFSET = "x-stream-offset"


@cython.final
@cython.cclass
class StreamConsumer(AmqpConsumer):
    """One basic.consume on a stream."""

    @cython.ccall
    def deliver(self, message: Message, offset: cython.longlong, redelivered: cython.bint):
        """basic.deliver with the header x-stream-offset."""
        header: bytes = with_long(message.header, OFFSET, offset)
        copy: Message = new_message(
            message.vhost, message.exchange, message.routing_key, header, message.body, message.body_size
        )
        AmqpConsumer.deliver(self, copy, offset, redelivered)


def check_consume(title: str, no_ack: bool, prefetch: int) -> None:
    """Raises what a consumer deserves that a stream cannot serve. title: `queue 'q' in vhost '/'`."""
    if no_ack:
        raise NotSupported(f"automatic acknowledgement not supported by stream queues {title}")
    if not prefetch:
        raise PreconditionFailed(f"consumer prefetch count is not set for '{title}'")


def place_of(title: str, arguments: dict, now_ms: int) -> tuple[str, int]:
    """Where a consumer begins, as Stream.place() takes it."""
    value = arguments.get(OFFSET, "next")
    return beginning(title, type_name(value), value, now_ms)
