"""Deliveries from a quorum queue: the header x-delivery-count says how often the message came back before.

As in RabbitMQ a consumer's first delivery has none, and shows what the publisher may have put there; basic.get has a 0.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.message import Message
    from cython.cimports.core.quorum import QuorumQueue
    from cython.cimports.protocols.amqp.consuming import AmqpConsumer, Getter
    from cython.cimports.protocols.amqp.headers import annotated
else:
    from core.message import Message
    from core.quorum import QuorumQueue
    from protocols.amqp.consuming import AmqpConsumer, Getter
    from protocols.amqp.headers import annotated

COUNT = "x-delivery-count"


@cython.final
@cython.cclass
class CountedConsumer(AmqpConsumer):
    """One basic.consume on a quorum queue."""

    @cython.ccall
    def deliver(self, message: Message, offset: cython.longlong, redelivered: cython.bint):
        """basic.deliver."""
        queue: QuorumQueue = self.queue
        count: cython.longlong = queue.counts.of(offset)
        shown: Message = annotated(message, COUNT, count) if count else message
        AmqpConsumer.deliver(self, shown, offset, redelivered)


@cython.final
@cython.cclass
class CountedGetter(Getter):
    """One basic.get on a quorum queue."""

    @cython.ccall
    def deliver(self, message: Message, offset: cython.longlong, redelivered: cython.bint):
        """basic.get-ok with the content."""
        queue: QuorumQueue = self.queue
        Getter.deliver(self, annotated(message, COUNT, queue.counts.of(offset)), offset, redelivered)
