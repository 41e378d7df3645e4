"""What x-max-length, x-max-length-bytes and x-overflow may be, and that they stay as declared (amqp.md Q3)."""

import struct
from decimal import Decimal

import pika
import pytest
from pika import spec

from tests.clients.deliveries import drain, fill
from tests.clients.raw import encode_method


@pytest.mark.parametrize(
    ("argument", "value", "text"),
    [
        ("x-max-length", -1, "{value_negative,-1}"),
        ("x-max-length", "5", '"expected integer, got longstr"'),
        ("x-max-length-bytes", -7, "{value_negative,-7}"),
        ("x-max-length-bytes", Decimal("1.5"), '"expected integer, got decimal"'),
        ("x-overflow", "explode", "invalid_overflow"),
        ("x-overflow", 5, "{unacceptable_type,signedint}"),
    ],
)
def test_what_a_limit_cannot_be(channel, name, argument, value, text):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.queue_declare(name, exclusive=True, arguments={argument: value})
    expected = f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{name}' in vhost '/': {text}"
    assert (refusal.value.reply_code, refusal.value.reply_text) == (406, expected)


def test_a_limit_is_no_floating_point_number(raw, name):
    asking = raw().open()
    large = struct.pack(">cq", b"l", 1 << 40)
    declare = spec.Queue.Declare(queue=name, exclusive=True, arguments={"x-max-length-bytes": 1 << 40})
    octets = encode_method(declare, 1)
    assert octets.count(large) == 1
    asking.send(octets.replace(large, struct.pack(">cd", b"d", 1.5)))
    close = asking.expect(spec.Channel.Close)
    wrong = f"invalid arg 'x-max-length-bytes' for queue '{name}' in vhost '/': \"expected integer, got double\""
    assert (close.reply_code, close.reply_text) == (406, "PRECONDITION_FAILED - " + wrong)


def test_a_limit_may_be_larger_than_anything(channel, name):
    arguments = {"x-max-length": (1 << 63) - 1, "x-max-length-bytes": (1 << 63) - 1}
    channel.queue_declare(name, exclusive=True, arguments=arguments)
    fill(channel, name, [b"0", b"1"])
    assert [each.body for each in drain(channel, name)] == [b"0", b"1"]


@pytest.mark.parametrize(
    ("declared", "again", "text"),
    [
        ({"x-max-length": 5}, {"x-max-length": 6}, "'x-max-length' for {}: received '6' but current is '5'"),
        (
            {"x-max-length": 5},
            {},
            "'x-max-length' for {}: received none but current is the value '5' of type 'signedint'",
        ),
        (
            {},
            {"x-overflow": "drop-head"},
            "'x-overflow' for {}: received the value 'drop-head' of type 'longstr' but current is none",
        ),
        (
            {"x-max-length-bytes": 5},
            {"x-max-length-bytes": 50},
            "'x-max-length-bytes' for {}: received '50' but current is '5'",
        ),
    ],
)
def test_a_queue_is_declared_again_with_the_same_limits_only(connection, channel, name, declared, again, text):
    channel.queue_declare(name, exclusive=True, arguments=declared)
    connection.channel().queue_declare(name, exclusive=True, arguments=declared)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.queue_declare(name, exclusive=True, arguments=again)
    expected = "PRECONDITION_FAILED - inequivalent arg " + text.format(f"queue '{name}' in vhost '/'")
    assert (refusal.value.reply_code, refusal.value.reply_text) == (406, expected)
