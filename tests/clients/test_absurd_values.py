"""Absurd values: each gets its code, and nothing else happens: nothing is declared, others are served, memory stays."""

import struct

import pytest
from pika import spec

from tests.clients.broker import until
from tests.clients.raw import HEADER, METHOD, content_header, encode_content, encode_frame, encode_method

GROWTH_BYTES = 8 << 20
TIMES = 10
PUBLISH = encode_method(spec.Basic.Publish(exchange="", routing_key="nowhere", mandatory=True), 1)
INVALID = "PRECONDITION_FAILED - invalid arg '{}' for queue '{{n}}' in vhost '/': {{{{{},{}}}}}"
TOO_LARGE = "FRAME_ERROR - type {}, all octets = <<>>: {{{{frame_too_large,{},131064}}}}"
DECLARE, CONTENT = (50, 10), (60, 40)
MIB_10, MIB_128 = 10 << 20, 128 << 20


def declare(arguments: bytes):
    """queue.declare of an exclusive queue with these fields, as (name) -> bytes."""
    fixed = struct.pack(">HHH", 50, 10, 0)
    table = len(arguments).to_bytes(4, "big") + arguments
    return lambda name: encode_frame(METHOD, 1, fixed + short(name.encode()) + b"\x04" + table)


def short(text: bytes) -> bytes:
    """A short string; its size octet wraps, as a careless client's would."""
    return bytes([len(text) % 256]) + text


def long_number(name: bytes, value: int) -> bytes:
    """A table field of 64 bits."""
    return short(name) + b"l" + struct.pack(">q", value)


def nested(levels: int) -> bytes:
    """The fields of a table that holds a table that holds a table …"""
    fields = b""
    for _ in range(levels):
        fields = b"\x01aF" + len(fields).to_bytes(4, "big") + fields
    return fields


def publish(fields: bytes):
    """A message whose headers table has these fields."""
    properties = b"\x20\x00" + len(fields).to_bytes(4, "big") + fields
    return lambda name: PUBLISH + encode_content(1, b"x", properties)


def publish_with_key(key: bytes):
    """basic.publish with a routing key of any size."""
    return lambda name: encode_frame(METHOD, 1, struct.pack(">HHHB", 60, 40, 0, 0) + short(key) + b"\x00")


def message_of(size: int):
    """A content header that announces that much."""
    return lambda name: PUBLISH + encode_frame(HEADER, 1, content_header(size))


HUGE_FIELD = b"\x01kS" + MIB_10.to_bytes(4, "big") + b"x" * MIB_10
OURS = {  # RabbitMQ waits for the body, takes tables of any depth, shows the octets of a method that it cannot read
    "a message of 2^64 - 1 bytes",
    "arguments nested 1,000 deep",
    "headers nested 1,000 deep",
    "a routing key of 256 bytes",
}
ROWS = {
    "a TTL of 2^63 - 1": (
        declare(long_number(b"x-message-ttl", 2**63 - 1)),
        (406, INVALID.format("x-message-ttl", "value_too_large", 2**63 - 1), DECLARE),
    ),
    "a TTL of 2^63, which wraps": (
        declare(long_number(b"x-message-ttl", -(2**63))),
        (406, INVALID.format("x-message-ttl", "value_negative", -(2**63)), DECLARE),
    ),
    "a TTL of ten years and 1 ms": (
        declare(long_number(b"x-message-ttl", 315_360_000_001)),
        (406, INVALID.format("x-message-ttl", "value_too_large", 315_360_000_001), DECLARE),
    ),
    "an expiry of 2^63 - 1": (
        declare(long_number(b"x-expires", 2**63 - 1)),
        (406, INVALID.format("x-expires", "value_too_large", 2**63 - 1), DECLARE),
    ),
    "a priority of 256": (
        declare(long_number(b"x-max-priority", 256)),
        (406, INVALID.format("x-max-priority", "max_value_exceeded", 256), DECLARE),
    ),
    "a message of 2^64 - 1 bytes": (
        message_of(2**64 - 1),
        (406, f"PRECONDITION_FAILED - message size {2**64 - 1} is larger than configured max size {MIB_128}", CONTENT),
    ),
    "a header table of 10 MB": (publish(HUGE_FIELD), (501, TOO_LARGE.format(2, MIB_10 + 25), (0, 0))),
    "arguments of 10 MB": (declare(HUGE_FIELD), (501, TOO_LARGE.format(1, MIB_10 + 33), (0, 0))),
    "arguments nested 1,000 deep": (
        declare(nested(1000)),
        (502, "SYNTAX_ERROR - queue.declare: field 'a', byte 452: more than 64 levels", DECLARE),
    ),
    "headers nested 1,000 deep": (
        publish(nested(1000)),
        (502, "SYNTAX_ERROR - headers: field 'a', byte 452: more than 64 levels", (0, 0)),
    ),
    "a routing key of 256 bytes": (
        publish_with_key(b"k" * 256),
        (502, "SYNTAX_ERROR - basic.publish does not fill its frame", CONTENT),
    ),
}


def refused(client, data: bytes) -> tuple[int, str, tuple[int, int]]:
    """Send it; code, text and the method of the close that it gets, which is answered."""
    client.send(data)
    close = client.expect((spec.Channel.Close, spec.Connection.Close), None)
    if isinstance(close, spec.Channel.Close):
        client.send_method(spec.Channel.CloseOk(), 1)
    return close.reply_code, close.reply_text, (close.class_id, close.method_id)


@pytest.mark.parametrize("case", [pytest.param(row, marks=pytest.mark.ours) if row in OURS else row for row in ROWS])
def test_it_gets_its_code_and_nothing_else_happens(broker, raw, name, case):
    make, (code, text, ids) = ROWS[case]
    data, other, before = make(name), raw().open(), 0
    for number in range(TIMES):
        client = raw().open()
        assert refused(client, data) == (code, text.format(n=name), ids)
        client.close()
        if number == TIMES // 2:
            before = broker.rss_anon()
    missing = other.call(spec.Queue.Declare(queue=name, passive=True), spec.Channel.Close)
    assert missing.reply_code == 404
    other.send_method(spec.Channel.CloseOk(), 1)
    other.open_channel(2)
    assert other.serves(2) and broker.alive()
    until(lambda: broker.rss_anon() <= before + GROWTH_BYTES, what="memory back to where it was")


@pytest.mark.parametrize("levels", [1, 60])
def test_a_table_that_is_merely_deep_goes_through(raw, name, levels):
    client = raw().open()
    client.send(declare(nested(levels))(name))
    client.expect(spec.Queue.DeclareOk)
    client.send(encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1))
    fields = nested(levels)
    headers = b"\x20\x00" + len(fields).to_bytes(4, "big") + fields
    client.send(encode_content(1, b"x", headers))
    client.call(spec.Basic.Get(queue=name, no_ack=True), spec.Basic.GetOk)
    assert client.read_content() == (headers, b"x")


def test_a_routing_key_and_a_queue_name_of_255_bytes_work(channel, name):
    longest = name.ljust(255, "x")
    channel.queue_declare(longest, exclusive=True)
    channel.basic_publish("", longest, b"x")
    assert channel.basic_get(longest, auto_ack=True)[2] == b"x"
