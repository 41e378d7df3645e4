"""Records as a newer version may write them: whole, in their place, and of a kind or layout that is not known here."""

from zlib import crc32

CRC_BYTES = 20


def placed(record: bytes, offset: int) -> bytes:
    """The record as it is at another log offset, the first of its batch."""
    return signed(record[:28] + offset.to_bytes(8, "big") + record[36:76] + offset.to_bytes(8, "big") + record[84:])


def of_unknown_topic(record: bytes) -> bytes:
    """One of our own topics, and none that is known."""
    at = record.rindex(b"CORDUROY_") + len(b"CORDUROY_")
    return record[:at] + bytes([record[at] + 10]) + record[at + 1 :]


def signed(record: bytes) -> bytes:
    """With the CRC that it should have."""
    data = record[:-CRC_BYTES]
    return data + b"__CRC32#\1" + (b"%010d" % (crc32(data) & 0x7FFFFFFF))[::-1] + b"\2"


NEWER = {
    "topic": lambda record: signed(of_unknown_topic(record)),
    "layout": lambda record: signed(record[:4] + bytes.fromhex("daa320ab") + record[8:]),
    "hosts of IPv6": lambda record: signed(record[:36] + b"\0\0\0\x30" + record[40:]),
}
