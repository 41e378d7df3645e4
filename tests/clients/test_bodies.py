"""Bodies of every size, cut into frames and interleaved with other channels' (amqp.md C6, E15, P4)."""

import hashlib
import random

import pytest
from pika import spec

from tests.clients.deliveries import drain, fill
from tests.clients.raw import (
    BODY,
    HEADER,
    METHOD,
    content_header,
    decode_method,
    encode_content,
    encode_frame,
    encode_method,
)

MEBIBYTE = 1 << 20
SIZES = [0, 1, 4087, 4088, 4089, 8176, 131063, 131064, 131065, 262128]


def digest(body: bytes) -> str:
    """A body's fingerprint, short in a failure's text."""
    return f"{len(body)}:{hashlib.sha256(body).hexdigest()}"


@pytest.mark.parametrize("size", SIZES)
def test_a_body_comes_back_as_it_was_sent(channel, name, size):
    channel.queue_declare(name, exclusive=True)
    body = random.Random(size).randbytes(size)
    fill(channel, name, [body])
    assert [digest(each.body) for each in drain(channel, name)] == [digest(body)]


@pytest.mark.parametrize("size", SIZES)
def test_a_body_in_a_durable_queue_comes_back_as_it_was_sent(channel, name, size):
    channel.queue_declare(name, durable=True)
    body = random.Random(size).randbytes(size)
    fill(channel, name, [body], delivery_mode=2)
    assert [digest(each.body) for each in drain(channel, name)] == [digest(body)]
    channel.queue_delete(name)


@pytest.mark.parametrize("durable", [False, True], ids=["transient", "durable"])
@pytest.mark.parametrize("size, frame_max", [(MEBIBYTE, 4096), (20 * MEBIBYTE, 4096), (20 * MEBIBYTE, 131072)])
def test_a_big_body_respects_the_frame_size_both_ways(raw, name, size, frame_max, durable):
    client = raw().open(frame_max=frame_max)
    client.call(spec.Queue.Declare(queue=name, durable=durable), spec.Queue.DeclareOk)
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    body = random.Random(size).randbytes(size)
    client.send_method(spec.Basic.Publish(exchange="", routing_key=name), 1)
    client.send(encode_content(1, body, b"\x10\x00\x02", frame_max))
    client.expect(spec.Basic.Ack, 1)
    client.send_method(spec.Basic.Get(queue=name, no_ack=True), 1)
    client.expect(spec.Basic.GetOk, 1)
    head = client.read_frame()
    parts, left = [], int.from_bytes(head.payload[4:12], "big")
    assert left == size
    while left:
        parts.append(client.read_frame())
        left -= len(parts[-1].payload)
    assert max(len(each.payload) for each in parts) == frame_max - 8
    assert digest(b"".join(each.payload for each in parts)) == digest(body)
    client.call(spec.Queue.Delete(queue=name), spec.Queue.DeleteOk)


def test_two_connections_with_different_frame_sizes_exchange_a_body(raw, name):
    sender, receiver = raw().open(frame_max=131072), raw().open(frame_max=4096)
    receiver.call(spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    receiver.call(spec.Basic.Consume(queue=name, no_ack=True), spec.Basic.ConsumeOk)
    body = random.Random(5).randbytes(300_000)
    sender.send(encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1) + encode_content(1, body))
    receiver.expect(spec.Basic.Deliver, 1)
    assert digest(receiver.read_content()[1]) == digest(body)


def test_a_body_cut_into_odd_frames_is_one_body(raw, name):
    client = raw().open()
    client.call(spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    body, rng = random.Random(6).randbytes(50_000), random.Random(7)
    data, at = [encode_frame(HEADER, 1, content_header(len(body)))], 0
    while at < len(body):
        size = rng.choice([0, 1, 2, 3, 5000])  # an empty body frame is allowed
        data.append(encode_frame(BODY, 1, body[at : at + size]))
        at += size
    client.send(encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1) + b"".join(data))
    client.send_method(spec.Basic.Get(queue=name, no_ack=True), 1)
    client.expect(spec.Basic.GetOk, 1)
    assert digest(client.read_content()[1]) == digest(body)


def test_contents_of_many_channels_may_be_interleaved_frame_by_frame(raw, name):
    client, count = raw().open(), 10
    client.call(spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    bodies = {number: random.Random(number).randbytes(3000 + number) for number in range(1, count + 1)}
    streams = []
    for number, body in bodies.items():
        if number > 1:
            client.open_channel(number)
        publish = encode_method(spec.Basic.Publish(exchange="", routing_key=name), number)
        pieces = [encode_frame(BODY, number, body[at : at + 100]) for at in range(0, len(body), 100)]
        streams.append([publish, encode_frame(HEADER, number, content_header(len(body))), *pieces])
    rng = random.Random(8)
    while streams:
        stream = rng.choice(streams)
        client.send(stream.pop(0))
        streams = [each for each in streams if each]
    client.call(spec.Basic.Consume(queue=name, no_ack=True), spec.Basic.ConsumeOk)
    got = set()
    for _ in range(count):
        client.expect(spec.Basic.Deliver, 1)
        got.add(client.read_content()[1])
    assert got == set(bodies.values())


def test_deliveries_of_many_channels_keep_each_message_together(raw, name):
    client, count = raw().open(), 5
    body = random.Random(9).randbytes(400_000)
    client.call(spec.Queue.Declare(queue=name, exclusive=True), spec.Queue.DeclareOk)
    for number in range(1, count + 1):
        if number > 1:
            client.open_channel(number)
        client.call(spec.Basic.Qos(prefetch_count=1), spec.Basic.QosOk, number)
        client.call(spec.Basic.Consume(queue=name), spec.Basic.ConsumeOk, number)
    publish = encode_method(spec.Basic.Publish(exchange="", routing_key=name), 1)
    client.send((publish + encode_content(1, body)) * count)
    stages: dict[int, list] = {}
    done = set()
    while len(done) < count:
        got = client.read_frame()
        stage = stages.setdefault(got.channel, [])
        stage.append(got)
        if len(stage) == 1:
            assert got.kind == METHOD and isinstance(decode_method(got.payload), spec.Basic.Deliver)
        else:
            assert got.kind == (HEADER if len(stage) == 2 else BODY)
        if sum(len(each.payload) for each in stage[2:]) == len(body):
            done.add(got.channel)
    assert done == set(range(1, count + 1))
