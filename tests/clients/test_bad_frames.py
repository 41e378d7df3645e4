"""Bytes that break the protocol (amqp.md C6, C14-C16): the right close, that connection only, and no growth."""

import random
import struct

import pytest
from pika import spec

from tests.clients.broker import until
from tests.clients.raw import (
    BODY,
    HEADER,
    METHOD,
    PROTOCOL_HEADER,
    content_header,
    encode_content,
    encode_frame,
    encode_method,
)

FUZZ_CONNECTIONS = 200
FUZZ_GROWTH_BYTES = 16 << 20
PUBLISH = encode_method(spec.Basic.Publish(exchange="", routing_key="nowhere"), 1)
UNEXPECTED = "UNEXPECTED_FRAME - expected {}, got {} instead"
OUT_OF_TURN = {
    "a body without a publish": (
        encode_frame(BODY, 1, b"x"),
        505,
        UNEXPECTED.format("method frame", "non method frame"),
    ),
    "a header without a publish": (
        encode_frame(HEADER, 1, content_header(1)),
        505,
        UNEXPECTED.format("method frame", "non method frame"),
    ),
    "a method instead of the header": (
        PUBLISH + PUBLISH,
        505,
        UNEXPECTED.format("content header for class 60", "non content header frame"),
    ),
    "a method instead of the body": (
        PUBLISH + encode_frame(HEADER, 1, content_header(1)) + PUBLISH,
        505,
        UNEXPECTED.format("content body", "non content body frame"),
    ),
    "a body instead of the header": (
        PUBLISH + encode_frame(BODY, 1, b"x"),
        505,
        UNEXPECTED.format("content header for class 60", "non content header frame"),
    ),
    "a header instead of the body": (
        PUBLISH + encode_frame(HEADER, 1, content_header(1)) * 2,
        505,
        UNEXPECTED.format("content body", "non content body frame"),
    ),
    "a header of another class": (
        PUBLISH + encode_frame(HEADER, 1, struct.pack(">HHQH", 50, 0, 1, 0)),
        505,
        UNEXPECTED.format("content header for class 60", "one for class 50"),
    ),
    "a method on an unopened channel": (
        encode_method(spec.Basic.Qos(), 7),
        504,
        "CHANNEL_ERROR - expected 'channel.open'",
    ),
    "a second open of a channel": (
        encode_method(spec.Channel.Open(), 1),
        504,
        "CHANNEL_ERROR - second 'channel.open' seen",
    ),
}


@pytest.mark.parametrize("case", OUT_OF_TURN)
def test_a_frame_out_of_turn_closes_the_connection(raw, case):
    data, code, text = OUT_OF_TURN[case]
    client = raw().open()
    client.send(data)
    assert client.closed_with() == (code, text)


def test_a_frame_above_frame_max_is_refused_before_it_is_read(raw):
    client = raw().open()
    client.send(struct.pack(">BHI", BODY, 1, 140000))
    assert client.closed_with() == (501, "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,140000,131064}")


def test_the_agreed_frame_max_is_the_one_that_counts(raw):
    client = raw().open(frame_max=4096)
    client.send(PUBLISH + struct.pack(">BHI", BODY, 1, 4097))
    assert client.closed_with() == (501, "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}")


def test_an_unknown_frame_type_is_named(raw):
    client = raw().open()
    client.send(encode_frame(9, 1, b"a"))
    assert client.closed_with() == (501, 'FRAME_ERROR - type 9, all octets = <<"a">>: unknown_frame')


def test_a_wrong_end_octet_closes_the_connection(raw):
    client = raw().open()
    client.send(encode_frame(METHOD, 1, struct.pack(">HHIHB", 60, 10, 0, 0, 0), end=b"\x00"))
    assert client.closed_with()[0] == 501


@pytest.mark.parametrize("ids", [(99, 1), (60, 199), (0, 0), (10, 99)], ids=str)
def test_an_unknown_class_or_method_ends_that_connection_only(raw, ids):
    client, other = raw().open(), raw().open()
    client.send(encode_frame(METHOD, 1, struct.pack(">HH", *ids)))
    reason = client.closed_with()
    assert reason is None or reason[0] in (501, 503, 540, 541)
    assert other.serves()


@pytest.mark.parametrize("cut", [2, 5, 9, 14])
def test_a_truncated_method_ends_that_connection_only(raw, cut):
    client, other = raw().open(), raw().open()
    payload = encode_method(spec.Queue.Declare(queue="some-queue", arguments={"a": 1}), 1)[7:-1]
    client.send(encode_frame(METHOD, 1, payload[:cut]))
    reason = client.closed_with()
    assert reason is None or reason[0] in (501, 502, 503, 541)
    assert other.serves()


@pytest.mark.ours  # RabbitMQ goes on waiting
def test_more_body_than_announced_ends_that_connection_only(raw):
    client, other = raw().open(), raw().open()
    client.send(PUBLISH + encode_frame(HEADER, 1, content_header(3)) + encode_frame(BODY, 1, b"12345"))
    reason = client.closed_with()
    assert reason is None or reason[0] in (501, 505)
    assert other.serves()


def test_an_absurd_table_ends_that_connection_only(raw):
    table = b"\x01aF\xff\xff\xff\xf0"  # a nested table that claims four gigabytes
    fixed = struct.pack(">HHHB", 50, 10, 0, 1) + b"q\x02"
    other = raw().open()
    for arguments in (struct.pack(">I", len(table)) + table, b"\xff\xff\xff\xff", struct.pack(">I", 3) + b"\x01a?"):
        client = raw().open()
        client.send(encode_frame(METHOD, 1, fixed + arguments))
        reason = client.closed_with()
        assert reason is None or reason[0] in (501, 502, 503, 541)
    assert other.serves()


def test_after_close_only_close_ok_counts(raw):
    client = raw().open()
    client.send(encode_method(spec.Channel.Open(), 1) + encode_method(spec.Basic.Qos(), 1) * 50)
    client.expect(spec.Connection.Close, 0)
    client.send(encode_method(spec.Basic.Qos(), 1) * 50 + encode_method(spec.Connection.CloseOk()))
    assert client.read_frame() is None


def test_frames_for_a_closing_channel_are_dropped_and_its_number_works_again(raw, name):
    client = raw().open()
    client.open_channel(2)
    client.send_method(spec.Queue.Declare(queue=name, passive=True), 1)
    client.expect(spec.Channel.Close, 1)
    late = encode_method(spec.Queue.Declare(queue=name), 1) + PUBLISH + encode_content(1, b"late")
    client.send(late + encode_method(spec.Basic.Ack(delivery_tag=99), 1) + encode_method(spec.Channel.CloseOk(), 1))
    client.open_channel(1)
    client.send_method(spec.Queue.Declare(queue=name, passive=True), 1)
    assert client.expect(spec.Channel.Close, 1).reply_code == 404  # the late declare made nothing
    assert client.serves(2)


def test_a_close_from_both_sides_at_once_is_answered(raw, name):
    client = raw().open()
    leave = spec.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
    client.send(encode_method(spec.Queue.Declare(queue=name, passive=True), 1) + encode_method(leave, 1))
    client.expect(spec.Channel.Close, 1)
    client.expect(spec.Channel.CloseOk, 1)
    client.send_method(spec.Channel.CloseOk(), 1)
    client.open_channel(1)
    assert client.serves(1)


def test_the_failing_method_is_named_by_its_ids(raw, name):
    client = raw().open()
    client.send_method(spec.Queue.Declare(queue=name, passive=True), 1)
    close = client.expect(spec.Channel.Close, 1)
    assert (close.class_id, close.method_id) == (50, 10)


def test_a_reply_text_fits_its_short_string(raw):
    client = raw().open()
    client.send_method(spec.Queue.Declare(queue="n" * 250, passive=True), 1)
    close = client.expect(spec.Channel.Close, 1)
    assert close.reply_code == 404 and len(close.reply_text.encode()) <= 255


def fuzz(rng: random.Random, opened: bool) -> bytes:
    """Some frames whose parts are now and then wrong, or plain noise."""
    if not opened or rng.random() < 0.3:
        return rng.randbytes(rng.randrange(1, 400))
    frames = []
    for _ in range(rng.randrange(1, 6)):
        kind = rng.choice([METHOD, METHOD, METHOD, HEADER, BODY, 8, rng.randrange(256)])
        known = struct.pack(">HH", rng.choice([10, 20, 40, 50, 60, 85, 90]), rng.choice([10, 11, 20, 30, 40, 50, 80]))
        payload = (known if kind == METHOD else b"") + rng.randbytes(rng.randrange(0, 60))
        frame = bytearray(encode_frame(kind, rng.choice([0, 1, 1, 1, 2, 65535]), payload))
        if rng.random() < 0.3:
            frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
        frames.append(bytes(frame))
    return b"".join(frames)


def test_noise_on_many_connections_leaves_the_broker_serving_at_the_same_size(broker, raw):
    rng = random.Random(20091)
    witness = raw().open()
    before = 0
    for number in range(FUZZ_CONNECTIONS):
        if number == FUZZ_CONNECTIONS // 4:
            before = broker.rss_anon()
        client = raw()
        opened = rng.random() < 0.7
        if opened:
            client.open()
        else:
            client.send(PROTOCOL_HEADER if rng.random() < 0.7 else b"")
        client.send(fuzz(rng, opened))
        client.close()
        if number % 20 == 0:
            assert witness.serves()
    assert witness.serves() and broker.alive()
    until(lambda: broker.rss_anon() <= before + FUZZ_GROWTH_BYTES, what="memory back to where it was")
