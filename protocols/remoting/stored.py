"""Native messages out of their records, for verbs that store one anew: retries, dead letters, what was delayed.

See core/log/record.py for the bytes; a native record has a host of 8 or 20 bytes twice, and no property of ours but the
checksum that ends it.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

from core.native import BORN_V6, STORE_V6, Native
from protocols.remoting import properties

SHORT_TOPIC_MAX = 127
HEAD = struct.Struct(">IIIiiqqiq")  # up to the born host
MAGIC_1 = 0xDAA320A7
MAGIC_2 = 0xDAA320AB  # the topic's size has two bytes
CRC_NAME = b"__CRC32#\x01"


def stored_message(record: bytes) -> Native:
    """The message, with its place in the log and in its queue."""
    size, magic, _, queue_id, flag, queue_offset, offset, sys_flag, born_ms = HEAD.unpack_from(record)
    assert size == len(record)
    at = HEAD.size
    born_host, at = _cut(record, at, 20 if sys_flag & BORN_V6 else 8)
    (store_ms,) = struct.unpack_from(">q", record, at)
    store_host, at = _cut(record, at + 8, 20 if sys_flag & STORE_V6 else 8)
    reconsume_times, prepared_offset, body_size = struct.unpack_from(">iqI", record, at)
    body, at = _cut(record, at + 16, body_size)
    head = 2 if magic == MAGIC_2 else 1
    topic, at = _cut(record, at + head, int.from_bytes(record[at : at + head]))
    text, at = _cut(record, at + 2, int.from_bytes(record[at : at + 2]))
    assert at == size
    message = Native(topic, queue_id, body, text[: text.rindex(CRC_NAME)])
    message.flag, message.sys_flag, message.born_ms = flag, sys_flag, born_ms
    message.born_host, message.store_host = born_host, store_host
    message.reconsume_times, message.prepared_offset = reconsume_times, prepared_offset
    message.queue_offset, message.offset, message.store_ms, message.record_size = queue_offset, offset, store_ms, size
    return message


def encoded(message: Native) -> bytes:
    """The message as a client is sent it on its own: a record but for the checksum of the whole, which is RocketMQ's
    MessageDecoder.encode."""
    topic, text = message.topic, message.properties
    body: Any = message.body
    magic, head = (MAGIC_1, 1) if len(topic) <= SHORT_TOPIC_MAX else (MAGIC_2, 2)
    numbers = magic, zlib.crc32(body) & 0x7FFFFFFF, message.queue_id, message.flag, message.queue_offset, message.offset
    rest = b"".join(
        (
            struct.pack(">IIiiqqiq", *numbers, message.sys_flag, message.born_ms),
            message.born_host,
            struct.pack(">q", message.store_ms),
            message.store_host,
            struct.pack(">iqI", message.reconsume_times, message.prepared_offset, len(body)),
            body,
            len(topic).to_bytes(head) + topic,
            len(text).to_bytes(2) + text,
        )
    )
    return (4 + len(rest)).to_bytes(4) + rest


def renamed(record: bytes, receipt: bytes, topic: bytes) -> bytes:
    """The record with another topic, of at most 255 bytes, and the property POP_CK: as clients read it, not as one that
    is stored. Source: RocketMQ's MessageDecoder.encode."""
    at = _topic_at(record)
    text = record[_behind_topic(record, at) + 2 : record.rindex(CRC_NAME)]
    text = properties.put(text, b"POP_CK", receipt)
    parts = (MAGIC_1.to_bytes(4), record[8:at], bytes([len(topic)]), topic, len(text).to_bytes(2), text)
    return b"".join(((4 + sum(map(len, parts))).to_bytes(4), *parts))


def _topic_at(record: bytes) -> int:
    (sys_flag,) = struct.unpack_from(">i", record, 36)
    at = 68 + (20 if sys_flag & BORN_V6 else 8) + (20 if sys_flag & STORE_V6 else 8)  # behind the prepared offset
    return at + 4 + int.from_bytes(record[at : at + 4])


def _behind_topic(record: bytes, at: int) -> int:
    head = 2 if int.from_bytes(record[4:8]) == MAGIC_2 else 1
    return at + head + int.from_bytes(record[at : at + head])


def record_properties(record: bytes) -> dict[str, str]:
    """The properties of the message in a record, as text."""
    at = _behind_topic(record, _topic_at(record))
    said = properties.as_dict(record[at + 2 : record.rindex(CRC_NAME)])
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in said.items()}


def _cut(record: bytes, at: int, size: int) -> tuple[bytes, int]:
    return record[at : at + size], at + size
