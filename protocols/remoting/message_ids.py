"""Ids of native messages, as hexadecimal text in upper case.

    offsetMsgId   | host 4 or 16 | port u32 | log offset u64 |                        where it lies, and in whose log
    UNIQ_KEY      | ip 4 | pid u16 | loader u32 | ms of the month u32 | count u16 |   a client's own

Source: RocketMQ's MessageDecoder.createMessageId, MessageClientIDSetter.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import cython

if cython.compiled:
    from cython.cimports.core.wire import put
else:
    from core.wire import put

HEX = cython.declare(bytes, b"0123456789ABCDEF")
OFFSET_DIGITS = cython.declare(cython.Py_ssize_t, 16)
COUNTS = 1 << 16
DAY_MS = 86_400_000


def host_bytes(address: str, port: int) -> bytes:
    """A host as records have it: 4 or 16 bytes of address, 4 of port. Raises ValueError if the address is no IP."""
    return ipaddress.ip_address(address.partition("%")[0]).packed + port.to_bytes(4)


@cython.cfunc
@cython.exceptval(check=False)
def put_offset_id(
    out: cython.p_uchar, to: cython.Py_ssize_t, host: bytes, offset: cython.longlong
) -> cython.Py_ssize_t:
    """Write the id of what lies at that offset, `host` in hexadecimal already, and return the place behind it."""
    digits: cython.p_uchar = HEX
    at: cython.Py_ssize_t
    put(out, to, host)
    to += len(host)
    for at in range(OFFSET_DIGITS):
        out[to + OFFSET_DIGITS - 1 - at] = digits[offset & 15]
        offset >>= 4
    return to + OFFSET_DIGITS


@cython.ccall
def offset_id(host: bytes, offset: cython.longlong) -> bytes:
    """The id of what lies at that offset; `host` in hexadecimal already."""
    made: bytearray = bytearray(len(host) + OFFSET_DIGITS)
    put_offset_id(made, 0, host, offset)
    return bytes(made)


def parse_offset_id(text: bytes) -> tuple[bytes, int]:
    """(host, offset) of an offsetMsgId. Raises ValueError if it is none."""
    if len(text) not in (32, 56):
        raise ValueError(f"an offsetMsgId has 32 or 56 digits, not {len(text)}")
    data = bytes.fromhex(text.decode("ascii"))
    return data[:-8], int.from_bytes(data[-8:])


class UniqueIds:
    """Makes UNIQ_KEYs for messages that come without. now_ms() = epoch ms; `origin` = 10 bytes that no other process
    uses: address, process, start."""

    def __init__(self, origin: bytes, now_ms: Callable[[], int]):
        assert len(origin) == 10
        self._origin = origin.hex().upper()
        self._now_ms = now_ms
        self._count = 0

    def make(self) -> bytes:
        """Another one."""
        now = self._now_ms()
        since_month = (_day_of_month(now // DAY_MS) - 1) * DAY_MS + now % DAY_MS
        self._count = (self._count + 1) % COUNTS
        return f"{self._origin}{since_month:08X}{self._count:04X}".encode()


def _day_of_month(days: int) -> int:
    """Of the day so many days after 1 January 1970 (Hinnant's civil_from_days: the year begins in March)."""
    of_era = (days + 719_468) % 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return of_year - (153 * ((5 * of_year + 2) // 153) + 2) // 5 + 1
