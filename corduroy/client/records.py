"""Messages as brokers store and send them, one record after the other; and batches of messages to send.

    size u32 | magic u32 | body crc u32 | queue id i32 | flag i32 | queue offset i64 | log offset i64 | sys flag i32
    born ms i64 | born host 8 or 20 | store ms i64 | store host 8 or 20 | reconsume times i32 | prepared offset i64
    body u32 + bytes | topic u8 + bytes (second magic: u16) | properties u16 + text

A host is an address of 4 bytes, or 16 where the sys flag says so, and a port u32. Source: MessageDecoder.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from corduroy.client import properties as names
from corduroy.client.codes import SysFlag
from corduroy.client.compression import decompress
from corduroy.client.errors import CodecError
from corduroy.client.ids import host_text
from corduroy.client.messages import ReceivedMessage

MAGIC, MAGIC_LONG_TOPIC = 0xDAA320A7, 0xDAA320AB
BLANK_MAGIC = 0xCBD43194  # fills the end of a segment: in the commit log only
FIXED = struct.Struct(">IIIiiqqiq")  # up to and with born ms
BATCH_ITEM = struct.Struct(">IIIiI")  # size, magic, body crc, flag, body size


def decode_all(data: bytes, broker_name: str = "", *, check_crc: bool = True) -> list[ReceivedMessage]:
    """The messages of a response's body, those of inner batches one by one. Raises CodecError."""
    found: list[ReceivedMessage] = []
    at = 0
    while at < len(data):
        message, at = decode(data, at, broker_name, check_crc=check_crc)
        if message.sys_flag & SysFlag.NEED_UNWRAP:
            found.extend(unwrap(message))
        else:
            found.append(message)
    return found


def decode(data: bytes, at: int = 0, broker_name: str = "", *, check_crc: bool = True) -> tuple[ReceivedMessage, int]:
    """The message at `at`, its body decompressed, and the place behind it. Raises CodecError."""
    try:
        return _decode(data, at, broker_name, check_crc)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise CodecError(f"message record at byte {at} is broken: {error}") from None


def _decode(data: bytes, at: int, broker_name: str, check_crc: bool) -> tuple[ReceivedMessage, int]:
    size, magic, crc, queue_id, flag, queue_offset, log_offset, sys_flag, born_ms = FIXED.unpack_from(data, at)
    end = at + size
    if magic not in (MAGIC, MAGIC_LONG_TOPIC) or size < FIXED.size or end > len(data):
        raise CodecError(f"no message record at byte {at}: magic {magic:#x}, {size} bytes of {len(data) - at}")
    at += FIXED.size
    born_host, at = _host(data, at, sys_flag & SysFlag.BORN_HOST_V6)
    (store_ms,) = struct.unpack_from(">q", data, at)
    store_host, at = _host(data, at + 8, sys_flag & SysFlag.STORE_HOST_V6)
    reconsume_times, prepared, body_size = struct.unpack_from(">iqI", data, at)
    at += 16
    stored = data[at : at + body_size]
    at += body_size
    if at > end:
        raise CodecError(f"body of {body_size} bytes in a record of {size}")
    if check_crc and zlib.crc32(stored) & 0x7FFFFFFF != crc:
        raise CodecError(f"body of the message at log offset {log_offset} does not have the checksum it came with")
    topic, at = _text(data, at, 1 if magic == MAGIC else 2, end)
    properties, at = _text(data, at, 2, end)
    body = decompress(stored, sys_flag)
    decoded = names.decode(properties)
    numbers = (queue_id, queue_offset, log_offset, flag, sys_flag, born_ms, born_host, store_ms, store_host)
    return ReceivedMessage(topic, body, decoded, *numbers, reconsume_times, prepared, broker_name, size, crc), end


def _host(data: bytes, at: int, v6: int) -> tuple[str, int]:
    size = 16 if v6 else 4
    (port,) = struct.unpack_from(">I", data, at + size)
    return host_text(data[at : at + size], port), at + size + 4


def _text(data: bytes, at: int, size_bytes: int, end: int) -> tuple[str, int]:
    size = data[at] if size_bytes == 1 else struct.unpack_from(">H", data, at)[0]
    at += size_bytes
    if at + size > end:
        raise CodecError(f"text of {size} bytes in a record that has {end - at} left")
    return data[at : at + size].decode(), at + size


def encode_batch(items: Iterable[tuple[bytes, int, str]]) -> bytes:
    """The body of a batch of (body, flag, properties text)."""
    parts = []
    for body, flag, properties in items:
        text = properties.encode()
        size = BATCH_ITEM.size + len(body) + 2 + len(text)
        parts += [BATCH_ITEM.pack(size, 0, 0, flag, len(body)), body, struct.pack(">H", len(text)), text]
    return b"".join(parts)


def decode_batch(data: bytes) -> list[tuple[bytes, int, dict[str, str]]]:
    """The (body, flag, properties) of each item of a batch. Raises CodecError."""
    items, at = [], 0
    try:
        while at < len(data):
            size, _, _, flag, body_size = BATCH_ITEM.unpack_from(data, at)
            end = at + size
            body_at = at + BATCH_ITEM.size
            body = data[body_at : body_at + body_size]
            properties, at = _text(data, body_at + body_size, 2, min(end, len(data)))
            if at != end:
                raise CodecError(f"batch item of {size} bytes holds {at - end + size}")
            items.append((body, flag, names.decode(properties)))
    except (struct.error, UnicodeDecodeError) as error:
        raise CodecError(f"batch is broken at byte {at}: {error}") from None
    return items


def unwrap(batch: ReceivedMessage) -> list[ReceivedMessage]:
    """The messages of a batch that was stored as one record (queue.type=BatchCQ), with queue offsets of their own."""
    base = int(batch.properties.get(names.INNER_BASE, batch.queue_offset))
    found = []
    for number, (body, flag, properties) in enumerate(decode_batch(batch.body)):
        place = (batch.queue_id, base + number, batch.commit_log_offset, flag, batch.sys_flag, batch.born_ms)
        hosts = (batch.born_host, batch.store_ms, batch.store_host, batch.reconsume_times)
        prepared = batch.prepared_transaction_offset
        found.append(ReceivedMessage(batch.topic, body, properties, *place, *hosts, prepared, batch.broker_name))
    return found
