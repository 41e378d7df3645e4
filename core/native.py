"""A native message: one of RocketMQ's, with all that its record in the log has of its own.

Properties are RocketMQ's property text (name 0x01 value 0x02 ...), without the CRC that ends it in a record. Hosts are
the address (4 bytes, or 16 of IPv6) and the port as u32.
"""

from __future__ import annotations

import cython

if cython.compiled:
    from cython.cimports.core.wire import same
else:
    from core.wire import same

COMPRESSED, MULTI_TAGS, BORN_V6, STORE_V6 = 0x1, 0x2, 0x10, 0x20  # bits of sys flag
TRANSACTION, PREPARED, COMMIT, ROLLBACK = 0xC, 0x4, 0x8, 0xC
TAGS = cython.declare(bytes, b"TAGS")
DELAY = cython.declare(bytes, b"DELAY")
SCHEDULE_TOPIC = b"SCHEDULE_TOPIC_XXXX"
LEVELS_SECONDS = (1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200)
NO_HOST = bytes(8)


@cython.final
@cython.no_gc
@cython.freelist(256)
@cython.cclass
class Native:
    """One message; what the sender gives, and then what the log does.

    topic, queue_id, body, properties      where it goes, and what it is; body: bytes, or a tuple of bytes
    flag, sys_flag, born_ms, reconsume_times, prepared_offset    as RocketMQ has them; the bits of sys_flag that say how
                 long the hosts are follow from those
    born_host, store_host      8 or 20 bytes: who sent it, and which broker stored it
    tags_code    Java's hash of TAGS, 0 without (see tags_code()); in the schedule topic when it is due, in ms
    queue_offset, offset, record_size, store_ms      set by the append: its place in the queue, and in the log
    """

    def __init__(self, topic: bytes, queue_id: int, body: object, properties: bytes = b""):
        self.topic = topic
        self.queue_id = queue_id
        self.body = body
        self.properties = properties
        self.born_host = self.store_host = NO_HOST
        self.flag = self.sys_flag = self.reconsume_times = 0
        self.born_ms = self.prepared_offset = self.tags_code = 0
        self.queue_offset = self.offset = -1
        self.store_ms = 0
        self.record_size = 0


@cython.ccall
@cython.exceptval(-1, check=True)
def java_hash(text: bytes) -> cython.int:
    """Java's String.hashCode() of UTF-8 text: 31 * hash + unit over its UTF-16 units, in 32 bits, signed."""
    value: cython.uint = 0
    b: cython.p_uchar = text
    i: cython.Py_ssize_t
    n: cython.Py_ssize_t = len(text)
    for i in range(n):
        if b[i] > 0x7F:
            return _wide_hash(text)
        value = value * 31 + b[i]
        if not cython.compiled:
            value &= 0xFFFFFFFF
    return signed(value)


@cython.cfunc
@cython.exceptval(-1, check=True)
def _wide_hash(text: bytes) -> cython.int:
    """java_hash() of what is not ASCII."""
    units: bytes = text.decode("utf-8", "replace").encode("utf-16-be")
    value: object = 0
    for i in range(0, len(units), 2):
        value = value * 31 + (units[i] << 8 | units[i + 1]) & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


@cython.cfunc
@cython.exceptval(check=False)
def signed(value: cython.uint) -> cython.int:
    """Those 32 bits, as two's complement."""
    if cython.compiled:
        return cython.cast(cython.int, value)
    else:
        return value - (1 << 32) if value >> 31 else value


@cython.ccall
def property_of(properties: bytes, name: bytes) -> bytes:
    """The value of the property of that name, the last if there are several; None: there is none. One without a value
    is none (RocketMQ's MessageDecoder.string2messageProperties)."""
    b: cython.p_uchar = properties
    end: cython.Py_ssize_t = len(properties)
    at: cython.Py_ssize_t = 0
    found: bytes = None
    while at < end:
        name_at: cython.Py_ssize_t = at
        while at < end and b[at] != 1 and b[at] != 2:
            at += 1
        mine: cython.bint = at < end and b[at] == 1 and same(b, name_at, at - name_at, name)
        value_at: cython.Py_ssize_t = at + 1
        while at < end and b[at] != 2:
            at += 1
        if mine and at > value_at:
            found = properties[value_at:at]
        at += 1
    return found


def tags_code(topic: bytes, properties: bytes, store_ms: int) -> int:
    """What the index has of a message, beside its place: as RocketMQ's dispatcher finds it in the record. In the
    schedule topic: when it is due, by RocketMQ's own delay levels."""
    level = property_of(properties, DELAY) if topic == SCHEDULE_TOPIC else None
    if level is not None and level.isdigit() and int(level) > 0:
        return store_ms + 1000 * LEVELS_SECONDS[min(int(level), len(LEVELS_SECONDS)) - 1]
    tags = property_of(properties, TAGS)
    return java_hash(tags) if tags else 0
