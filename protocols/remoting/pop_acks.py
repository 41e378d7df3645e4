"""What becomes of popped messages: acks, one or many, and a change of how long one is hidden.

Acks are answered when they are safe: what was acked never comes back. An ack of what was handed out to somebody else
since, or stored anew, changes nothing, and is no error. Source: RocketMQ's AckMessageProcessor,
ChangeInvisibleTimeProcessor.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import msgspec

from protocols.remoting import pop_receipts
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.fastjson import decode
from protocols.remoting.fields import as_text
from protocols.remoting.pop import INVISIBLE_MS_MAX
from protocols.remoting.pop_checks import PopChecks
from protocols.remoting.send_header import number

ACKS_MAX = 1024  # of queues, in one request
BITS_BYTES_MAX = 8192  # that say which offsets of one queue; a pop has 32 messages, between which others may lie
MESSAGES_MAX, BYTES_MAX = 16_384, 64 << 10  # of all queues together, in one request: it is done in one go


class BatchAck(msgspec.Struct):
    """RocketMQ's BatchAck: of the messages of one queue and pop, those whose bits are set, counted from `so`."""

    c: str
    t: str
    so: int
    q: int
    pt: int
    r: str = "0"
    rq: int = 0
    it: int = 0
    b: Annotated[bytes, msgspec.Meta(max_length=BITS_BYTES_MAX)] = b""


class BatchAcks(msgspec.Struct, rename="camel"):
    """The body of BATCH_ACK_MESSAGE."""

    acks: Annotated[list[BatchAck], msgspec.Meta(max_length=ACKS_MAX)] | None = None


class PopAcks:
    """Takes acks and their like of all native connections."""

    def __init__(self, broker: Any, checks: PopChecks):
        self._topics = broker.topics
        self._pops = broker.pops
        self._clock = broker.clock
        self._checks = checks

    def ack(self, connection: Any, frame: Any) -> None:
        """ACK_MESSAGE."""
        group, offset = frame.text(b"consumerGroup"), frame.number(b"offset")
        receipt = pop_receipts.parse(frame.text(b"extraInfo"))
        queue = self._queue(connection, frame)
        if not queue.min_offset <= offset <= queue.max_offset:
            key = f"{as_text(queue.topic)}@{queue.queue_id}"
            bounds = f"commit:{offset}, store:{queue.min_offset}~{queue.max_offset}"
            raise Refused(Response.NO_MESSAGE, f"offset is illegal, key:{key}, {bounds}")
        cursor = self._pops.find(group, queue)
        if cursor is not None and offset < queue.max_offset:
            self._settle(cursor, offset, receipt)
        self._pops.when_safe(partial(connection.respond, frame.opaque, Response.SUCCESS))

    def ack_many(self, connection: Any, frame: Any) -> None:
        """BATCH_ACK_MESSAGE."""
        acks = decode(frame.body(), BatchAcks).acks if frame.body_size else None
        if not acks:
            raise Refused(Response.NO_MESSAGE, "there is nothing to be acked in the body")
        bits = b"".join(each.b for each in acks)
        if len(bits) > BYTES_MAX or int.from_bytes(bits).bit_count() > MESSAGES_MAX:
            remark = f"more than {MESSAGES_MAX} messages, or {BYTES_MAX} bytes of bits, in one request"
            raise Refused(Response.INVALID_PARAMETER, remark)
        refused = None
        for each in acks:
            try:
                self._ack_some(each)
            except Refused as error:
                refused = error
        if refused is None:
            answer = partial(connection.respond, frame.opaque, Response.SUCCESS)
        else:
            answer = partial(connection.respond, frame.opaque, refused.code, refused.remark)
        self._pops.when_safe(answer)

    def _ack_some(self, batch: BatchAck) -> None:
        group = batch.c.encode()
        topic = self._topics.find(pop_receipts.named(batch.t.encode(), group, batch.r.encode()))
        if topic is None or not 0 <= batch.q < topic.config.read_queues:
            return
        queue = topic.queues[batch.q]
        receipt = pop_receipts.Receipt(batch.pt, batch.it, batch.rq)
        cursor = self._pops.find(group, queue)
        if cursor is not None:
            for offset in offsets_of(batch, queue.min_offset, queue.max_offset):
                self._settle(cursor, offset, receipt)

    def _settle(self, cursor: Any, offset: int, receipt: pop_receipts.Receipt) -> None:
        """Raises Refused for what an ordered pop did not hand out."""
        if not self._pops.settle(cursor, offset, receipt.pop_ms) and receipt.in_order and cursor.ordered:
            if not cursor.is_done(offset) and cursor.popped_at(offset) is None and cursor.is_last_pop(receipt.pop_ms):
                key = f"{as_text(cursor.queue.topic)}@{as_text(cursor.group)}@{cursor.queue.queue_id}"
                remark = f"offset is illegal, key:{key}, old:{cursor.floor}, commit:{offset}, next:-1"
                raise Refused(Response.MESSAGE_ILLEGAL, remark)

    def change(self, connection: Any, frame: Any) -> None:
        """CHANGE_MESSAGE_INVISIBLETIME."""
        group, offset = frame.text(b"consumerGroup"), frame.number(b"offset")
        receipt = pop_receipts.parse(frame.text(b"extraInfo"))
        invisible_ms = max(0, min(frame.number(b"invisibleTime"), INVISIBLE_MS_MAX))
        queue = self._queue(connection, frame)
        if not queue.min_offset <= offset < queue.max_offset:
            raise Refused(Response.NO_MESSAGE, f"no message at offset {offset}: {queue.min_offset}~{queue.max_offset}")
        now = self._clock.ms
        cursor = self._pops.find(group, queue)
        if cursor is not None:
            self._pops.hide(cursor, offset, receipt.pop_ms, invisible_ms)
        in_order = receipt.in_order  # its receipt stays, so its time counts from the pop
        fields = (
            (b"popTime", receipt.pop_ms if in_order else now),
            (b"invisibleTime", now + invisible_ms - receipt.pop_ms if in_order else invisible_ms),
            (b"reviveQid", receipt.revive_queue),
        )
        connection.respond(frame.opaque, Response.SUCCESS, None, fields)

    def _queue(self, connection: Any, frame: Any) -> Any:
        """The queue that a request names. Raises Refused."""
        topic = self._checks.known(frame.text(b"topic"))
        queue_id = number(frame, b"queueId")
        self._checks.queue(topic, queue_id if queue_id >= 0 else 1 << 31, connection, Response.MESSAGE_ILLEGAL)
        return topic.queues[queue_id]


def offsets_of(batch: BatchAck, first: int, end: int) -> Iterator[int]:
    """Those of a batch that are there: from `first` up to `end`."""
    first, end = max(first, batch.so), min(end, batch.so + 8 * len(batch.b))
    for at in range((first - batch.so) // 8, (end - batch.so + 7) // 8):
        bits = batch.b[at]
        if bits:
            base = batch.so + 8 * at
            yield from (base + bit for bit in range(8) if bits >> bit & 1 and first <= base + bit < end)


def _verb(method: Any) -> Any:
    return lambda connection, frame: method(connection.remoting.pop_acks, connection, frame)


VERBS = {
    Request.ACK_MESSAGE: _verb(PopAcks.ack),
    Request.BATCH_ACK_MESSAGE: _verb(PopAcks.ack_many),
    Request.CHANGE_MESSAGE_INVISIBLETIME: _verb(PopAcks.change),
}
