"""The one object per message."""

import gc

import core
from core.message import Message


def test_a_new_message_is_in_no_record_and_never_expires():
    message = Message((b"/", b"x", b"k"), b"\x00\x00", b"body", 4, True)
    assert (message.vhost, message.exchange, message.routing_key) == (b"/", b"x", b"k")
    assert (message.header, message.body, message.body_size, message.persistent) == (b"\x00\x00", b"body", 4, True)
    assert (message.offset, message.record_size, message.store_ms, message.expire_at) == (-1, 0, 0, 0)


def test_a_body_is_one_piece_or_several():
    assert Message((b"", b"", b""), b"", b"ab", 2, False).fragments() == (b"ab",)
    assert Message((b"", b"", b""), b"", (b"a", b"b"), 2, False).fragments() == (b"a", b"b")


def test_the_garbage_collector_never_sees_one_when_compiled():
    message = Message((b"", b"", b""), b"", (b"a", b"b"), 2, False)
    assert gc.is_tracked(message) is bool(core.uncompiled_because)
