"""Message ids: where a message lies (offset id, by the broker), and which one it is (UNIQ_KEY, by its sender).

    offset id   store address 4 or 16 | port u32 | offset in the commit log i64
    UNIQ_KEY    address 4 or 16 | process id u16 | random u32 | ms since the month began u32 | counter u16

Both travel as upper-case hex. Source: MessageDecoder.createMessageId, MessageClientIDSetter.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from datetime import datetime

from corduroy.client.errors import CodecError

SIZES = (32, 56)  # hex digits, with IPv4 and with IPv6


def host_text(address: bytes, port: int) -> str:
    """4 or 16 bytes and a port as `127.0.0.1:10911` or `[::1]:10911`."""
    if len(address) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, address)}:{port}"
    return f"[{socket.inet_ntop(socket.AF_INET6, address)}]:{port}"


def host_bytes(text: str) -> tuple[bytes, int]:
    """The address and port in `127.0.0.1:10911` or `[::1]:10911`. Raises CodecError."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.inet_pton(family, host), int(port)
    except (OSError, ValueError):
        raise CodecError(f"{text!r} is no address with a port") from None


def offset_id(store_host: str, commit_log_offset: int) -> str:
    """The id of the message that lies there."""
    address, port = host_bytes(store_host)
    return (address + struct.pack(">Iq", port, commit_log_offset)).hex().upper()


def parse_offset_id(message_id: str) -> tuple[str, int]:
    """(store host, offset in its commit log) of an offset id. Raises CodecError."""
    try:
        data = bytes.fromhex(message_id)
    except ValueError:
        data = b""
    if len(message_id) not in SIZES or not data:
        raise CodecError(f"{message_id!r} is no message id: 32 or 56 hex digits")
    port, offset = struct.unpack(">Iq", data[-12:])
    if port > 65535:
        raise CodecError(f"{message_id!r} is no offset id: it names port {port}")
    return host_text(data[:-12], port), offset


class UniqueIds:
    """Makes UNIQ_KEYs: different for every message of this process, and very probably of all."""

    def __init__(self, address: bytes | None = None):
        self._prefix = (address or local_address()) + struct.pack(">H4s", os.getpid() & 0xFFFF, os.urandom(4))
        self._counter = itertools.count(1)
        self._month_began = self._month_ends = 0.0

    def next(self) -> str:
        """One more id."""
        now = time.time()
        if not self._month_began <= now < self._month_ends:
            self._begin_month(now)
        since_ms = int((now - self._month_began) * 1000) & 0xFFFFFFFF
        return (self._prefix + struct.pack(">IH", since_ms, next(self._counter) & 0xFFFF)).hex().upper()

    def _begin_month(self, now: float) -> None:
        first = datetime.fromtimestamp(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        year, month = (first.year, first.month + 1) if first.month < 12 else (first.year + 1, 1)
        self._month_began = first.timestamp()
        self._month_ends = first.replace(year=year, month=month).timestamp()


def id_time_ms(unique_id: str, now_ms: int) -> int:
    """When a UNIQ_KEY was made, in ms since 1970, if that was within the last month. Raises CodecError."""
    try:
        since_ms = int.from_bytes(bytes.fromhex(unique_id)[-6:-2], "big")
    except ValueError:
        raise CodecError(f"{unique_id!r} is no message id: 32 or 56 hex digits") from None
    first = datetime.fromtimestamp(now_ms / 1000).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    made = int(first.timestamp() * 1000) + since_ms
    if made <= now_ms:
        return made
    year, month = (first.year, first.month - 1) if first.month > 1 else (first.year - 1, 12)
    return int(first.replace(year=year, month=month).timestamp() * 1000) + since_ms


def local_address() -> bytes:
    """This machine's address as others see it, 4 bytes; loopback if it has none. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: connecting a datagram socket only picks a route
            return socket.inet_aton(probe.getsockname()[0])
        except OSError:
            return socket.inet_aton("127.0.0.1")
