"""The message that every protocol maps to and from.

It is one small object per message, shared by all queues that hold it. Its body and header block stay as they came;
nothing is parsed until somebody asks. It can be part of no reference cycle, so the garbage collector never sees it.
"""

from __future__ import annotations

import cython


@cython.final
@cython.no_gc
@cython.freelist(1024)
@cython.cclass
class Message:
    """One message.

    vhost, exchange, routing_key  its address, UTF-8 (an AMQP routing key is any bytes)
    header       the header block as received (AMQP: property flags and property list), not decoded
    unseen       what the protocol keeps beside it and no consumer is shown (AMQP: the keys of BCC); mostly b""
    body         bytes, or a tuple of bytes when it came in several frames; body_size in bytes
    offset       of its record in the log, -1 while it is in none; record_size in bytes
    store_ms     when it entered the broker, expire_at when it expires (0 = never): ms since the epoch
    spilled      the name of its record in spill/ (log/block.py), which may be gone; 0 = it was never there
    persistent   the publisher asked for persistence: a durable queue's confirm waits for the commit
    """

    def __init__(self, address: tuple, header: bytes, body: object, body_size: int, persistent: bool):
        vhost, exchange, routing_key = address
        self.vhost = vhost
        self.exchange = exchange
        self.routing_key = routing_key
        self.header = header
        self.unseen = b""
        self.body = body
        self.body_size = body_size
        self.persistent = persistent
        self.offset = -1
        self.record_size = 0
        self.store_ms = 0
        self.expire_at = 0
        self.spilled = 0

    def fragments(self) -> tuple:
        """The body as a tuple of bytes, in order."""
        return self.body if isinstance(self.body, tuple) else (self.body,)


@cython.cfunc
def new_message(
    vhost: bytes, exchange: bytes, routing_key: bytes, header: bytes, body: object, body_size: cython.Py_ssize_t
) -> Message:
    """A message in memory, made without the cost of a Python call: the hot path's constructor."""
    message: Message = Message.__new__(Message)
    message.vhost = vhost
    message.exchange = exchange
    message.routing_key = routing_key
    message.header = header
    message.unseen = b""
    message.body = body
    message.body_size = body_size
    message.offset = -1
    message.record_size = 0
    message.store_ms = 0
    message.expire_at = 0
    message.spilled = 0
    message.persistent = False
    return message
