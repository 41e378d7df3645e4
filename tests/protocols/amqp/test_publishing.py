"""basic.publish: contents, refusals, returns and confirms."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.routing.exchange import Exchange
from protocols.amqp import methods
from protocols.amqp.methods import BasicAck, BasicReturn, ChannelClose, ConfirmSelect, ConnectionClose
from protocols.amqp.properties import encode_properties
from tests.protocols.amqp.world import PERSISTENT, Client, World, frame, publish


def only_message(queue):
    assert queue.ready == 1
    return queue.held.get(queue.next)


def test_a_content_becomes_one_message_with_its_address_header_and_parts(world, client):
    queue = world.add_queue("q")
    properties = encode_properties({"content_type": "a/b", "headers": {"h": 1}})
    client.send(*publish(1, "q", b"abcdef", properties=properties, cuts=(2, 5)))
    message = only_message(queue)
    assert (message.vhost, message.exchange, message.routing_key) == (b"/", b"", b"q")
    assert message.header == properties and b"".join(message.fragments()) == b"abcdef" and message.body_size == 6
    assert not message.persistent and message.expire_at == 0


@pytest.mark.parametrize("size", [0, 1, 4088, 100_000])
def test_bodies_of_any_size_in_frames_of_any_size(world, client, size):
    queue = world.add_queue("q")
    body = bytes(number % 251 for number in range(size))
    client.send(*publish(1, "q", body, cuts=range(0, size, 4088)))
    assert b"".join(only_message(queue).fragments() if size else ()) == body


def test_persistence_and_expiration_are_read(world, client):
    queue = world.add_queue("q")
    properties = encode_properties({"delivery_mode": 2, "expiration": "60000"})
    client.send(*publish(1, "q", b"x", properties=properties))
    message = only_message(queue)
    assert message.persistent and message.expire_at == message.store_ms + 60000


def test_a_routing_key_may_be_any_bytes(world, client):
    method = methods.BasicPublish(exchange="amq.direct", routing_key=b"\xff\xfe", mandatory=True)
    client.send(methods.method_frame(1, method), *publish(1, "", b"")[1:])
    assert client.replies()[0].routing_key == b"\xff\xfe"


def test_a_headers_exchange_sees_the_headers(world, client):
    queue = world.add_queue("q")
    world.vhost.router.bind(world.vhost.router.exchanges["amq.headers"], queue, "", {"a": 1})
    for headers in ({"a": 1}, {"a": 2}, {}):
        properties = encode_properties({"headers": headers} if headers else {})
        client.send(*publish(1, "", b"%d" % len(headers), exchange="amq.headers", properties=properties))
    assert only_message(queue).header == encode_properties({"headers": {"a": 1}})


def test_a_binding_made_between_two_publishes_counts(world, client):
    queue, router = world.add_queue("q"), world.vhost.router
    client.send(*publish(1, "k", b"1", exchange="amq.direct"))
    router.bind(router.exchanges["amq.direct"], queue, "k", {})
    client.send(*publish(1, "k", b"2", exchange="amq.direct"))
    assert only_message(queue).body == b"2"


def test_an_unroutable_mandatory_message_comes_back_whole_and_then_its_confirm(world, client):
    client.send(ConfirmSelect(), *publish(1, "none", b"ab", mandatory=True, properties=PERSISTENT, cuts=(1,)))
    replies = client.replies()[1:]
    header = (60 << 16).to_bytes(4, "big") + (2).to_bytes(8, "big") + PERSISTENT
    assert replies == [BasicReturn(312, "NO_ROUTE", "", b"none"), header, b"a", b"b", BasicAck(1, False)]


@pytest.mark.parametrize(
    ("frames", "kind", "code", "text"),
    [
        (publish(1, "k", b"", exchange="none"), ChannelClose, 404, "no exchange 'none' in vhost '/'"),
        (publish(1, "k", b"", properties=encode_properties({"user_id": "root"})), ChannelClose, 406,
         "user_id property set to 'root' but authenticated user was 'guest'"),
        (publish(1, "k", b"", properties=encode_properties({"expiration": "x"})), ChannelClose, 406,
         "invalid expiration 'x': no_integer"),
        ([methods.method_frame(1, methods.BasicPublish(immediate=True))], ConnectionClose, 540, "immediate=true"),
        ([frame(1, 1, b"\0\x3c\0\x28\0\0\x05ab")], ConnectionClose, 502, "basic.publish does not fill its frame"),
        ([frame(1, 1, b"\0\x3c\0\x28")], ConnectionClose, 502, "basic.publish does not fill its frame"),
        ([frame(1, 1, b"\0\x3c\0\x28\0\0\x01\xff\0\0")], ConnectionClose, 502, "exchange name is not UTF-8"),
        ([*publish(1, "k", b"")[:1], frame(2, 1, bytes(13))], ConnectionClose, 502, "content header cut short"),
        ([*publish(1, "k", b"")[:1], frame(2, 1, bytes(14))], ConnectionClose, 505,
         "expected content header for class 60, got one for class 0 instead"),
        ([*publish(1, "k", b"ab")[:2], frame(3, 1, b"abc")], ConnectionClose, 505,
         "body of 3 bytes exceeds the announced 2"),
        ([*publish(1, "k", b"ab")[:2], methods.method_frame(1, ConfirmSelect())], ConnectionClose, 505,
         "expected content body, got non content body frame instead"),
        ([frame(3, 1, b"")], ConnectionClose, 505, "expected method frame, got non method frame instead"),
    ],
)  # fmt: skip
def test_what_is_refused(world, client, frames, kind, code, text):
    client.send(*frames)
    close = client.replies()[0]
    assert type(close) is kind and close.reply_code == code and close.reply_text.endswith(" - " + text)


def test_a_message_above_the_limit_is_refused_before_its_body():
    client = Client(World(limits={"message_bytes": 100})).open()
    client.send(*publish(1, "q", bytes(101))[:2])
    close = client.replies()[0]
    assert close.reply_text == "PRECONDITION_FAILED - message size 101 is larger than configured max size 100"


def test_confirms_of_a_turn_are_one_ack(world, client):
    world.add_queue("q")
    client.send(ConfirmSelect(), *(part for _ in range(5) for part in publish(1, "q", b"x")))
    assert client.replies()[1:] == [BasicAck(5, True)]


def test_a_confirm_waits_for_the_commit_of_its_own_batch(world, client):
    world.add_queue("d", durable=True)
    client.send(ConfirmSelect(), *publish(1, "d", b"1", properties=PERSISTENT))
    client.send(*publish(1, "d", b"2", properties=PERSISTENT))
    assert client.replies()[1:] == []
    world.engine.finish()
    world.run()
    assert client.replies() == [BasicAck(1, False)]
    world.engine.finish()
    world.run()
    assert client.replies() == [BasicAck(2, False)]


def test_a_duplicate_is_confirmed_when_what_it_repeats_is_safe(world, client):
    queue, router = world.add_queue("d", durable=True), world.vhost.router
    exchange = Exchange("x", "x-message-deduplication", arguments={"x-cache-size": 5})
    exchange.cache.clock = world.clock
    router.add_exchange(exchange)
    router.bind(exchange, queue, "", {})
    properties = encode_properties({"headers": {"x-deduplication-header": "a"}, "delivery_mode": 2})
    other = Client(world).open()
    client.send(*publish(1, "", b"1", exchange="x", properties=properties))
    other.send(ConfirmSelect(), *publish(1, "", b"2", exchange="x", properties=properties))
    assert other.replies()[1:] == [] and queue.ready == 1
    world.finish()
    assert other.replies() == [BasicAck(1, False)]
    other.send(*publish(1, "", b"3", exchange="x", properties=properties))
    assert other.replies() == [BasicAck(2, False)] and queue.ready == 1


def test_what_was_published_before_confirm_select_has_no_number(world, client):
    world.add_queue("q")
    client.send(*publish(1, "q", b"x"), ConfirmSelect(), *publish(1, "q", b"x"))
    assert client.replies()[1:] == [BasicAck(1, False)]


def test_a_transient_message_in_a_durable_queue_is_confirmed_at_once(world, client):
    world.add_queue("d", durable=True)
    client.send(ConfirmSelect(), *publish(1, "d", b"x"))
    assert client.replies()[1:] == [BasicAck(1, False)]


class Confirms:
    """Two confirming channels; needs = (channel, number) -> the log offset that must be committed before its ack."""

    def __init__(self):
        self.world = World()
        self.world.add_queue("q")
        self.world.add_queue("d", durable=True)
        self.client = Client(self.world).open(1, 2)
        for channel in (1, 2):
            self.client.send(ConfirmSelect(), channel=channel)
        self.client.replies()
        self.sent = {1: 0, 2: 0}
        self.needs, self.confirmed = {}, set()

    def publish(self, channel, key, properties):
        self.client.send(*publish(channel, key, b"x", properties=properties), run=False)
        self.sent[channel] += 1
        waits = key == "d" and properties == PERSISTENT
        self.needs[channel, self.sent[channel]] = self.world.log.appended if waits else 0

    def hear(self):
        for channel, ack in self.client.received():
            assert type(ack) is BasicAck
            low = 1 if ack.multiple else ack.delivery_tag
            for number in range(low, ack.delivery_tag + 1):
                assert self.needs[channel, number] <= self.world.log.committed, "confirmed before it was safe"
                self.confirmed.add((channel, number))

    def step(self, kind, channel):
        if kind == "turn":
            self.world.run()
        elif kind == "commit":
            if self.world.engine.done is not None:
                self.world.engine.finish()
        else:
            self.publish(channel, *{"waited": ("d", PERSISTENT), "stored": ("d", b"\0\0"), "held": ("q", b"\0\0"),
                                    "lost": ("none", PERSISTENT)}[kind])  # fmt: skip
        self.hear()


KINDS = st.sampled_from(["waited", "waited", "stored", "held", "lost", "turn", "turn", "commit"])


@settings(max_examples=200)
@given(st.lists(st.tuples(KINDS, st.sampled_from([1, 1, 2])), max_size=40))
def test_every_number_is_confirmed_and_none_before_it_is_safe(steps):
    use = Confirms()
    for kind, channel in steps:
        use.step(kind, channel)
    use.world.finish()
    use.hear()
    assert use.confirmed == set(use.needs)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5000), max_size=6), st.integers(0, 5000))
def test_a_body_in_any_fragments_is_the_same_message(cuts, size):
    world = World()
    client, queue = Client(world).open(), world.add_queue("q")
    body = bytes(number % 251 for number in range(size))
    client.send(*publish(1, "q", body, cuts=[min(cut, size) for cut in cuts]))
    assert b"".join(only_message(queue).fragments() if size else ()) == body
