"""What FrameWriter writes parses back, within the agreed frame size, whatever the fragments a body came in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.amqp import methods
from protocols.amqp.frames import HEARTBEAT_FRAME
from protocols.amqp.methods import BasicConsume, BasicConsumeOk, BasicDeliver
from protocols.amqp.properties import encode_properties
from tests.protocols.amqp.world import Client, Frame, World, frames_of, publish

SIZES = st.one_of(st.integers(0, 20_000), st.sampled_from([4087, 4088, 4089, 16384, 16385, 131_064, 131_065, 300_000]))


@settings(max_examples=60)
@given(SIZES, st.integers(4096, 131_072), st.lists(st.integers(0, 300_000), max_size=6), st.text(max_size=60))
def test_a_delivery_parses_back_in_frames_of_the_agreed_size(size, frame_max, cuts, key):
    world = World()
    world.add_queue("q")
    router = world.vhost.router
    router.bind(router.exchanges["amq.direct"], world.vhost.queues["q"], key, {})
    body = bytes(number % 251 for number in range(size))
    properties = encode_properties({"correlation_id": key})
    consumer, publisher = Client(world).open(5, frame_max=frame_max), Client(world).open()
    consumer.send(BasicConsume(queue="q", consumer_tag=key, no_ack=True), channel=5)
    edges = {min(cut, size) for cut in cuts} | set(range(0, size, 131_064))
    publisher.send(*publish(1, key, body, exchange="amq.direct", properties=properties, cuts=sorted(edges)))
    world.finish()
    ok, deliver, header, *parts = consumer.frames()
    tag = methods.decode(ok.payload, 0, len(ok.payload)).consumer_tag
    got = methods.decode(deliver.payload, 0, len(deliver.payload))
    assert got == BasicDeliver(tag, 1, False, "amq.direct", key.encode())
    assert tag == key or not key
    assert header == Frame(2, 5, (60 << 16).to_bytes(4, "big") + size.to_bytes(8, "big") + properties)
    assert all((kind, channel) == (3, 5) and 0 < len(part) <= frame_max - 8 for kind, channel, part in parts)
    assert b"".join(part for _, _, part in parts) == body


@pytest.mark.parametrize("count", [1, 300])
def test_many_deliveries_of_a_turn_stay_in_order(count):
    world = World()
    world.add_queue("q")
    client = Client(world).open()
    client.send(BasicConsume(queue="q", consumer_tag="c", no_ack=True))
    sizes = [(number * 977) % 40_000 for number in range(count)]
    client.send(*(part for size in sizes for part in publish(1, "q", bytes(size), cuts=range(0, size, 16_385))))
    world.finish()
    replies = client.replies()
    assert replies[0] == BasicConsumeOk("c")
    tags = [reply.delivery_tag for reply in replies if type(reply) is BasicDeliver]
    assert tags == list(range(1, count + 1))


def test_a_heartbeat_is_an_empty_frame_on_channel_zero():
    assert frames_of(HEARTBEAT_FRAME) == [Frame(8, 0, b"")]
