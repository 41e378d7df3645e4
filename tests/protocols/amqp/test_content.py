"""A stored message's header block as the core reads it, and what becomes of it after a delay."""

import pytest

from protocols.amqp.content import DELAY_MS_MAX, Content, delay_of
from protocols.amqp.properties import decode_properties, encode_properties
from protocols.amqp.tables import Float32, Int8, Int64, ScaledDecimal, Timestamp, UInt32, encode


@pytest.mark.parametrize(
    ("value", "delay"),
    [
        (5000, 5000),
        (Int8(1), 1),
        (Int64(1 << 40), 1 << 40),
        (UInt32(4294967295), 4294967295),
        (DELAY_MS_MAX, DELAY_MS_MAX),
        (DELAY_MS_MAX + 1, 0),
        (0, 0),
        (-5000, 0),
        ("1500", 1500),
        ("-1", 0),
        ("abc", 0),
        ("", 0),
        ("1.5", 0),
        ("9" * 5000, 0),
        (1500.9, 1500),
        (Float32(0.5), 0),
        (float("inf"), 0),
        (float("nan"), 0),
        (True, 0),
        (None, 0),
        (b"\xff", 0),
        ([1], 0),
        ({"a": 1}, 0),
        (ScaledDecimal(0, 5), 0),
        (Timestamp(5), 0),
    ],
)
def test_what_counts_as_a_delay(value, delay):
    assert delay_of(value) == delay


def test_fields_and_properties_are_read():
    content = Content(encode_properties({"headers": {"a": 1}, "message_id": "m"}))
    assert content.headers() == {"a": 1}
    assert content.property_of("message_id") == "m" and content.property_of("timestamp") is None
    assert Content(b"").headers() == {} and Content(b"").property_of("message_id") is None


@pytest.mark.parametrize(("delay", "after"), [(5000, -5000), (Int64(1 << 40), -(1 << 40)), ("70", -70)])
def test_a_delay_that_is_over_is_negative(delay, after):
    before = {"headers": {"x-delay": delay, "t": Timestamp(5)}, "content_type": "text/plain", "expiration": "90"}
    content, header, unseen, exchange, keys, ttl_ms = Content(encode_properties(before)).released()
    assert decode_properties(header) == {**before, "headers": {"x-delay": after, "t": 5}}
    assert content.headers()["x-delay"] == after and delay_of(after) == 0
    assert (unseen, exchange, keys, ttl_ms) == (b"", None, (), 90)
    again, same, *_ = Content(header).released()
    assert same == header and again.headers() == content.headers()


def test_without_an_expiration_it_lives_for_ever():
    assert Content(encode_properties({"headers": {"x-delay": 1}})).released().ttl_ms == -1


def test_its_copies_count_when_it_is_over_unseen_ones_too():
    headers = {"CC": ["a", 5, b"\xff"], "x-delay": 1}
    released = Content(encode_properties({"headers": headers}), encode({"BCC": ["b"]})).released()
    assert released.keys == (b"a", b"\xff", b"b")
    assert decode_properties(released.header)["headers"] == {"CC": ["a", 5, b"\xff"], "x-delay": -1}


def test_one_that_waited_on_its_way_goes_on_from_there_and_keeps_what_is_unseen():
    unseen = encode({"BCC": ["b"]})
    header = encode_properties({"headers": {"x-delay": 1}})
    waiting = Content(header, Content(header, unseen).waiting_in("there")).released()
    assert (waiting.exchange, waiting.unseen, waiting.keys) == ("there", unseen, (b"b",))
    assert Content(header, Content(header).waiting_in("there")).released().unseen == b""


@pytest.mark.parametrize(("value", "kept"), [(True, False), (False, True), ("true", True), (None, True)])
def test_a_header_keeps_a_message_out_of_histories(value, kept):
    assert Content(encode_properties({"headers": {"x-recent-history-no-store": value}})).may_be_remembered() is kept
