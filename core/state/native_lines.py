"""Native messages as lines of a dump, and back: nothing of a record but its place in the log is lost."""

from __future__ import annotations

import ipaddress
from typing import Any

from core.log.record import OWN_TOPICS
from core.native import BORN_V6, COMMIT, STORE_V6, TRANSACTION, Native
from core.state.dump_lines import NativeLine, Place

V6_BITS = BORN_V6 | STORE_V6  # the hosts say these
NO_HOST = "0.0.0.0:0"
INT_MAX, LONG_MAX, PORT_MAX = (1 << 31) - 1, (1 << 63) - 1, (1 << 32) - 1
TOPIC_BYTES_MAX = 255


class LineError(Exception):
    """What of the line cannot be: the end of a sentence that begins with its number."""


def line_of(message: Native, places: list[Place]) -> NativeLine:
    """A message that was stored, as a line."""
    body: Any = message.body  # of one that was read: bytes
    line = NativeLine(
        topic=message.topic.decode(),
        queue=message.queue_id,
        offset=message.queue_offset,
        store_ms=message.store_ms,
        born_ms=message.born_ms,
        born_host=_host_text(message.born_host),
        store_host=_host_text(message.store_host),
        flag=message.flag,
        sys_flag=message.sys_flag & ~V6_BITS,
        reconsume_times=message.reconsume_times,
        prepared_offset=message.prepared_offset,
        body=body,
        places=places,
    )
    try:
        line.properties = message.properties.decode()
    except UnicodeDecodeError:
        line.properties_bytes = message.properties
    return line


def message_of(line: NativeLine) -> Native:
    """The message of a line, with its place in its queue. Raises LineError."""
    topic = line.topic.encode()
    if not 0 < len(topic) <= TOPIC_BYTES_MAX or topic.startswith(OWN_TOPICS):
        raise LineError("has a topic that cannot be")
    message = Native(topic, line.queue, line.body, line.properties_bytes or line.properties.encode())
    ints = line.flag, line.sys_flag, line.reconsume_times
    longs = line.born_ms, line.prepared_offset
    if any(not -INT_MAX - 1 <= each <= INT_MAX for each in ints) or any(abs(each) > LONG_MAX for each in longs):
        raise LineError("has a number that cannot be")
    if line.sys_flag & TRANSACTION not in (0, COMMIT) or line.sys_flag & V6_BITS:
        raise LineError("has a sys_flag that no message in a queue has")
    message.flag, message.sys_flag, message.reconsume_times = ints
    message.born_ms, message.prepared_offset = longs
    message.born_host, message.store_host = _host_bytes(line.born_host), _host_bytes(line.store_host)
    message.queue_offset = line.offset
    return message


def _host_text(host: bytes) -> str:
    address = ipaddress.ip_address(host[:-4])
    return f"{address if address.version == 4 else f'[{address}]'}:{int.from_bytes(host[-4:])}"


def _host_bytes(text: str) -> bytes:
    address, _, port = text.rpartition(":")
    try:
        number = int(port)
        return ipaddress.ip_address(address.strip("[]")).packed + number.to_bytes(4)
    except (ValueError, OverflowError):
        raise LineError(f"has a host that cannot be: '{text}'") from None
