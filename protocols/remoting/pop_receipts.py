"""Receipts of popped messages, and the retry topics that receipts speak of by a digit.

    startOffset popTime invisibleTime reviveQid retry broker queueId queueOffset      separated by blanks

A client puts the receipt together from what a pop's answer says; for a message that comes again the broker does, as
property POP_CK. Source: RocketMQ's ExtraInfoUtil, KeyBuilder.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from protocols.remoting import names
from protocols.remoting.codes import Response
from protocols.remoting.errors import Refused

NORMAL, RETRY_V1, RETRY_V2 = b"0", b"1", b"2"
IN_ORDER = 999  # the revive queue of an ordered pop: there is none (KeyBuilder.POP_ORDER_REVIVE_QUEUE)
REVIVE_QUEUE = 0  # of all others: it is a queue of Apache RocketMQ's store, here it says nothing
FIELDS_MIN = 4
TIME_MAX, NUMBER_MAX = (1 << 63) - 1, (1 << 31) - 1  # of Java's long and int


class Receipt(NamedTuple):
    """What acks and their like look at."""

    pop_ms: int
    invisible_ms: int
    revive_queue: int

    @property
    def in_order(self) -> bool:
        """Whether the pop was an ordered one."""
        return self.revive_queue == IN_ORDER


def parse(text: bytes) -> Receipt:
    """The receipt of an ack. Raises Refused."""
    parts = text.split(b" ")
    if len(parts) < FIELDS_MIN:
        raise Refused(Response.SYSTEM_ERROR, f"getReviveQid fail, extraInfoStrs length {len(parts)}")
    try:
        found: Receipt | None = Receipt(int(parts[1]), int(parts[2]), int(parts[3]))
    except ValueError:
        found = None
    if found is None or min(found) < 0 or max(found) > TIME_MAX or found.revive_queue > NUMBER_MAX:
        shown = text[:100].decode("utf-8", "replace")
        raise Refused(Response.SYSTEM_ERROR, f"extraInfo holds no receipt: {shown}")
    return found


def digit(topic: bytes) -> bytes:
    """How receipts speak of the topic."""
    if not topic.startswith(names.RETRY_PREFIX):
        return NORMAL
    return RETRY_V2 if b"+" in topic else RETRY_V1


def retry_topic(group: bytes, topic: bytes, v2: bool) -> bytes:
    """Where a popped message goes whose time is over."""
    return b"%b%b%b%b" % (names.RETRY_PREFIX, group, b"+" if v2 else b"_", topic)


def normal_topic(topic: bytes, group: bytes) -> bytes:
    """The topic of which that is the group's retry topic; or itself."""
    prefix = names.RETRY_PREFIX + group
    return topic[len(prefix) + 1 :] if topic.startswith(prefix) else topic


def named(topic: bytes, group: bytes, how: bytes) -> bytes:
    """The topic that a receipt's digit means. Raises Refused."""
    if how not in (NORMAL, RETRY_V1, RETRY_V2):
        raise Refused(Response.SYSTEM_ERROR, "getRetry fail, format is wrong")
    return topic if how == NORMAL else retry_topic(group, topic, how == RETRY_V2)


def offset_of(record: bytes) -> int:
    """Of a message's record: its offset in its queue."""
    return int.from_bytes(record[20:28])


def property_text(start: int, pop: tuple[int, int, int], place: tuple[bytes, bytes, int, int]) -> bytes:
    """A whole receipt. pop: time, invisible time, revive queue; place: topic, broker, queue id, queue offset."""
    topic, broker, queue_id, offset = place
    return b"%d %d %d %d %b %b %d %d" % (start, *pop, digit(topic), broker, queue_id, offset)


def offsets_text(topic: bytes, queue_id: int, offsets: Iterable[int]) -> bytes:
    """An entry of msgOffsetInfo, or with one offset of startOffsetInfo."""
    return b"%b %d %b" % (digit(topic), queue_id, b",".join(b"%d" % offset for offset in offsets))


def times_text(topic: bytes, queue_id: int, offsets: list[int], times: list[tuple[int, int]]) -> bytes:
    """Entries of orderCountInfo: times = (offset, how often it was handed out before), of those that were."""
    kind = digit(topic)
    rows = [b"%b qo%d%%%d %d" % (kind, queue_id, offset, count) for offset, count in times]
    least = min(count for _, count in times) if len(times) == len(offsets) and times else 0
    return b";".join([*rows, b"%b %d %d" % (kind, queue_id, least)])
