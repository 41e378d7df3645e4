"""Recall handles: what the sender of a timed message is given, so that it may take the message back.

    base64url("v1 TOPIC BROKER DUE-MS UNIQ_KEY")

Source: RocketMQ's RecallMessageHandle, RecallMessageProcessor.
"""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

VERSION = b"v1"
PARTS = 5
MARK_BITS = 21  # of those that core/state/delayed.py leaves


class Handle(NamedTuple):
    """What a handle says; due_ms -1: something that is no number."""

    topic: bytes
    broker: bytes
    due_ms: int
    unique_id: bytes

    def encode(self) -> bytes:
        """As clients are given it."""
        return urlsafe_b64encode(b" ".join((VERSION, self.topic, self.broker, b"%d" % self.due_ms, self.unique_id)))


def decode(text: bytes) -> Handle | None:
    """The handle, or None if it is none."""
    try:
        parts = urlsafe_b64decode(text + b"=" * (-len(text) % 4)).split(b" ")
    except ValueError:
        return None
    if parts[0] != VERSION or len(parts) < PARTS:
        return None
    due = parts[3]
    return Handle(parts[1], parts[2], int(due) if due.isdigit() and len(due) < PARTS * 4 else -1, parts[4])


def mark_of(unique_id: bytes) -> int:
    """What the message's place in the index has of its UNIQ_KEY."""
    return zlib.crc32(unique_id) & ((1 << MARK_BITS) - 1)
