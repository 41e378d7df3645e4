"""Frames in, errors out, heartbeats, bounds, and how a connection ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.amqp import methods
from protocols.amqp.methods import (
    BasicConsume,
    BasicQos,
    BasicQosOk,
    ChannelOpen,
    ConfirmSelect,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionStartOk,
    QueueDeclare,
)
from tests.protocols.amqp.world import HEADER, PERSISTENT, Client, World, frame, publish

FRAME_ERROR = "FRAME_ERROR - type "
SCRIPT = [
    HEADER,
    ConnectionStartOk({}, "PLAIN", b"\0guest\0guest", ""),
    methods.ConnectionTuneOk(),
    methods.ConnectionOpen("/"),
]


def script():
    """A whole session as bytes: login, declarations, publishes in fragments, consuming, an error, the end."""
    on_zero = [item if isinstance(item, bytes) else methods.method_frame(0, item) for item in SCRIPT]
    on_one = [
        ChannelOpen(), QueueDeclare(queue="q"), ConfirmSelect(), *publish(1, "q", b"abc", cuts=(1,)),
        *publish(1, "none", b"", mandatory=True), *publish(1, "q", bytes(9000), cuts=(4000, 8000)), frame(8, 0, b""),
        BasicConsume(queue="q", consumer_tag="c"), methods.BasicAck(9), methods.BasicAck(1),
    ]  # fmt: skip
    data = [item if isinstance(item, bytes) else methods.method_frame(1, item) for item in on_one]
    return b"".join([*on_zero, *data, methods.method_frame(0, ConnectionClose(200, "", 0, 0))])


WIRE = script()


@settings(max_examples=80)
@given(st.lists(st.integers(0, len(WIRE)), max_size=30))
def test_it_does_not_matter_how_the_bytes_arrive(cuts):
    outputs = []
    for edges in ([], sorted(cuts)):
        world = World()
        client = Client(world)
        for start, end in zip([0, *edges], [*edges, len(WIRE)]):
            client.feed(WIRE[start:end])
        world.finish()
        outputs.append((bytes(client.transport.data), world.publisher.messages, client.transport.closed))
    assert outputs[0] == outputs[1] and outputs[0][1:] == (3, True)


def test_octet_by_octet_is_one_of_the_ways():
    client = Client(World())
    for octet in WIRE:
        client.feed(bytes([octet]))
    client.world.finish()
    assert client.replies()[-1] == ConnectionCloseOk()


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_end_in_a_close_or_in_waiting_for_more(data, opened):
    client = Client(World())
    if opened:
        client.open()
    client.feed(data)
    client.feed(data)
    client.world.finish()
    client.connection.lost()


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.binary(max_size=40)), max_size=6), st.booleans())
def test_any_frames_do_not_break_it(frames, first):
    client = Client(World()).open(1, 2)
    methods_first = [(1, each[1], (60 << 16 | 40).to_bytes(4, "big") + each[2]) if first else each for each in frames]
    client.send(*(frame(*each) for each in methods_first))
    client.world.finish()
    client.frames()


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (frame(3, 1, bytes(131_065)), FRAME_ERROR + "3, all octets = <<>>: {frame_too_large,131065,131064}"),
        (frame(9, 1, b"a"), FRAME_ERROR + '9, all octets = <<"a">>: unknown_frame'),
        (frame(1, 1, b"ab")[:-1] + b"\0", FRAME_ERROR + "1, first 2 octets = b'ab': invalid_frame_end_marker"),
    ],
)
def test_broken_framing_closes_and_nothing_after_it_is_read(client, sent, text):
    client.send(sent, *publish(1, "q", b"x"))
    (close,) = client.replies()
    assert (close.reply_code, close.reply_text) == (501, text)
    client.feed(b"garbage that is no frame at all \xce\xce\xce")
    client.send(frame(1, 0, b"\0\x0a\0\x33"))
    assert client.replies() == [] and client.world.publisher.messages == 0
    client.connection.tick(client.world.clock.monotonic() + 6)
    assert client.transport.closed


def test_a_frame_above_the_agreed_size_is_refused_before_it_is_whole(client):
    client.send(frame(3, 1, bytes(131_065))[:7])
    assert client.replies()[0].reply_code == 501


@pytest.mark.parametrize(
    ("sent", "channel", "code", "text"),
    [
        (BasicQos(), 7, 504, "expected 'channel.open'"),
        (methods.TxSelect(), 0, 503, "tx.select is not a method of a client on an open connection"),
        (frame(2, 0, bytes(14)), 0, 505, "expected method frame, got non method frame instead"),
        (frame(8, 1, b""), 1, 505, "heartbeat on another channel than 0"),
        (frame(1, 1, b"\0\x63\0\1"), 1, 503, "unknown class: class 99, method 1"),
        (ChannelOpen(), 2048, 530, "number of channels opened (1) has reached the negotiated channel_max (2047)"),
    ],
)
def test_connection_errors(client, sent, channel, code, text):
    client.send(sent, channel=channel)
    (close,) = client.replies()
    assert (close.reply_code, close.reply_text.partition(" - ")[2]) == (code, text)


def test_channels_have_a_bound_and_more_is_not_allowed():
    client = Client(World(limits={"channels_per_connection": 2})).open(1, 2)
    client.send(ChannelOpen(), channel=3)
    (close,) = client.replies()
    assert type(close) is ConnectionClose and close.reply_code == 530 and "limit (2)" in close.reply_text


def test_after_our_close_only_its_answer_is_heard(world, client):
    client.connection.close(320, "CONNECTION_FORCED - because")
    assert world.connections == set()
    client.send(BasicQos(), *publish(1, "q", b"x"), frame(1, 0, b"\0\x63\0\1"))
    assert client.replies() == [ConnectionClose(320, "CONNECTION_FORCED - because", 0, 0)]
    client.send(ConnectionClose(200, "", 0, 0), ConnectionCloseOk(), channel=0)
    assert client.replies() == [ConnectionCloseOk()] and client.transport.closed
    assert world.publisher.messages == 0


def test_a_close_waits_for_a_commit_that_a_channel_waits_for(world, client):
    client.send(QueueDeclare(queue="d", durable=True), *publish(1, "d", b"x", properties=PERSISTENT), run=False)
    client.send(ConnectionClose(200, "", 0, 0), channel=0)
    assert client.replies() == [] and not client.transport.closed
    world.finish()
    assert [type(each) for each in client.replies()] == [methods.QueueDeclareOk, ConnectionCloseOk]
    assert client.transport.closed and world.vhost.queues["d"].ready == 1


def gone_count(world):
    return [done[0] for done in world.topology.done].count("connection gone")


@pytest.mark.parametrize("way", ["client", "lost", "ours", "silence", "error"])
def test_however_it_ends_what_is_its_own_goes_once(world, way):
    queue = world.add_queue("q")
    client = Client(world).open(heartbeat=10)
    client.send(BasicConsume(queue="q"), *publish(1, "q", b"x"))
    connection = client.connection
    if way == "client":
        client.send(ConnectionClose(200, "", 0, 0), channel=0)
    elif way == "ours":
        connection.close(320, "CONNECTION_FORCED")
    elif way == "silence":
        for seconds in (1, 30, 60):
            connection.tick(world.clock.monotonic() + seconds)
    elif way == "error":
        client.send(frame(9, 0, b""))
    connection.lost()
    connection.lost()
    connection.tick(world.clock.monotonic() + 100)
    world.run()
    assert (queue.ready, queue.unacked, queue.consumers) == (1, 0, [])
    assert gone_count(world) == 1 and world.connections == set() and connection.channels == {}


def test_what_is_held_goes_in_when_the_connection_is_lost(world, client):
    queue = world.add_queue("q")
    world.alarm(True)
    client.send(*publish(1, "q", b"x"))
    client.connection.lost()
    world.run()
    assert queue.ready == 1 and client.connection.held_bytes == 0


def test_what_waits_behind_a_commit_goes_in_when_the_connection_is_lost(world, client):
    queue = world.add_queue("q")
    durable = [QueueDeclare(queue=name, durable=True) for name in "ab"]
    client.send(durable[0], *publish(1, "q", b"x"), durable[1], *publish(1, "q", b"y"), *publish(1, "b", b"z"))
    assert queue.ready == 0
    client.connection.lost()
    assert queue.ready == 2 and world.vhost.queues["b"].ready == 1 and client.connection.held_bytes == 0


class TestHeartbeat:
    @pytest.fixture
    def client(self, world):
        client = Client(world).open(heartbeat=10)
        client.connection.tick(0)
        return client

    def beats(self, client):
        client.world.run()
        return client.replies()

    def test_it_is_sent_after_half_the_interval_without_output(self, client):
        for now, sent in ((4, []), (5.1, [None]), (6, []), (10.2, [])):
            client.connection.tick(now)
            assert self.beats(client) == sent
        client.connection.tick(11.5)
        assert self.beats(client) == [None]

    def test_two_and_a_half_missed_end_the_connection(self, client):
        client.connection.tick(25)
        assert not client.transport.closed
        client.connection.tick(25.6)
        assert client.transport.closed
        assert client.connection.close_reason == "missed heartbeats from client, timeout: 10s"

    def test_any_octet_counts(self, client):
        client.connection.tick(20)
        client.feed(b"\x08")
        client.connection.tick(21)
        client.connection.tick(45)
        assert not client.transport.closed

    def test_what_we_do_not_read_is_not_missed(self, world, client):
        client.connection.pause_input(2)
        for now in range(10, 200, 10):
            client.connection.tick(now)
        client.connection.resume_input(2)
        client.connection.tick(201)
        assert not client.transport.closed
        client.connection.tick(240)
        assert client.transport.closed

    def test_none_is_sent_or_missed_when_it_is_off(self, world):
        client = Client(world).open()
        client.connection.tick(1e6)
        assert self.beats(client) == [] and not client.transport.closed


class TestSocketThatTakesNothing:
    def test_who_asks_and_never_reads_is_not_heard_until_it_does(self):
        world = World(limits={"output_bytes": 65536})
        client = Client(world).open()
        client.connection.pause_writing()
        client.transport.unsent = 131_072
        client.send(BasicQos())
        assert not client.paused
        client.transport.unsent += 1
        client.send(BasicQos())
        assert client.paused
        client.send(BasicQos())
        assert client.replies() == [BasicQosOk()] * 2
        client.connection.resume_writing()
        world.run()
        assert client.replies() == [BasicQosOk()] and not client.paused

    def test_one_reason_to_read_on_is_not_enough_while_another_says_no(self, client):
        connection = client.connection
        for reason in (2, 4):
            connection.pause_input(reason)
        connection.resume_input(2)
        assert client.paused
        connection.resume_input(4)
        assert not connection.paused_for

    def test_a_close_that_cannot_be_sent_ends_in_cutting_off(self, world, client):
        client.send(ConnectionClose(200, "", 0, 0), channel=0)
        for now in (100, 104.9):
            client.connection.tick(now)
        assert client.transport.closed and not client.transport.aborted
        client.connection.tick(105.1)
        assert client.transport.aborted
