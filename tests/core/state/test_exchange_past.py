"""What was published to an exchange is read again, by the filter that a binding would be."""

import pytest

from core.errors import NotFound, PreconditionFailed
from core.message import Message
from core.state.queue_past import FIRST, OFFSET, TIME
from protocols.amqp.properties import encode_properties
from tests.core.state.world import Taker, World, exchange, refuses


class Reader(Taker):
    """Keeps what a binding decides by, and whether the end was told."""

    def __init__(self, replay, limit=1 << 30):
        Taker.__init__(self, replay, limit)
        self.ends = 0
        self.keys = []

    def deliver(self, message, offset, redelivered):
        Taker.deliver(self, message, offset, redelivered)
        assert message.offset == offset and message.exchange == b"x"
        self.keys.append(message.routing_key)

    def nothing(self):
        self.ends += 1

    @property
    def bodies(self):
        return [data for _, data, _ in self.got]


@pytest.fixture
def world():
    made = World(checkpoint_seconds=86400).boot()
    made.declare("q")
    return made


def begin(world, kind=FIRST, value=0, **wanted):
    replay = world.broker.past.of_exchange(world.vhost, "x", kind, value, **wanted)
    reader = Reader(replay)
    replay.begin(reader)
    return reader


def read(world, *args, **wanted):
    reader = begin(world, *args, **wanted)
    world.run(5)
    assert reader.ends == 1 and reader.queue.ended and world.broker.past.replays.open == {}
    return reader


def headers(**fields):
    return encode_properties({"headers": fields})


def to_x(body, header):
    return Message((b"/", b"x", b""), header, body, len(body), True)


def publish(world, keys, header=b""):
    for number, key in enumerate(keys):
        world.publish("x", key, b"%d" % number, header=header)
    world.run(0.1)


KEYS = ["a.b", "a.c", "b", "a", "a.b.c", "a.b"]


@pytest.mark.parametrize(
    ("kind", "key", "found"),
    [
        ("topic", "a.*", [0, 1, 5]),
        ("topic", "#", [0, 1, 2, 3, 4, 5]),
        ("topic", "a.b", [0, 5]),
        ("topic", None, [0, 1, 2, 3, 4, 5]),
        ("direct", "a", [3]),
        ("direct", "", []),
        ("fanout", "a", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_key_finds_what_its_binding_would_have_got(world, kind, key, found):
    exchange(world, kind=kind)
    exchange(world, "other", "fanout")
    world.bind("q", "other", "")
    for each in ("#", *KEYS) if kind == "direct" else ("#",):
        world.bind("q", "x", each)
    for number, each in enumerate(KEYS):
        world.publish("x", each, b"%d" % number)
        world.publish("other", each, b"no")
    world.run()
    world.queue("q").purge()
    reader = read(world, key=key)
    assert reader.bodies == [b"%d" % number for number in found]
    assert reader.keys == [KEYS[number].encode() for number in found]


def test_header_fields_are_matched_as_at_publish(world):
    exchange(world, kind="headers")
    world.bind("q", "x", "", {"x-match": "any"})
    world.topology.bind(world.vhost, "x", ("queue", "q"), "", {"a": 1})
    for number, fields in enumerate(({"a": 1}, {"a": 2}, {"a": 1, "b": "x"})):
        router = world.vhost.router
        route = router.route(router.exchanges["x"], b"", lambda fields=fields: fields)
        world.broker.clock.tick()
        world.broker.publisher.publish(to_x(b"%d" % number, headers(**fields)), route)
    world.run()
    assert read(world, arguments={"a": 1}).bodies == [b"0", b"2"]
    assert read(world, arguments={"a": 1, "b": "x"}).bodies == [b"2"]
    with refuses(
        PreconditionFailed, 'Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x'
    ):
        begin(world, arguments={"x-match": "some"})
    assert world.broker.past.replays.open == {}


def test_keys_of_cc_and_bcc_count(world):
    exchange(world, kind="topic")
    world.bind("q", "x", "#")
    publish(world, ["none"], headers(CC=["a.b"]))
    assert read(world, key="a.*").bodies == [b"0"]
    assert read(world, key="c").bodies == []


def test_it_begins_at_a_time_or_at_a_place_in_the_log(world):
    exchange(world, kind="fanout")
    world.bind("q", "x", "")
    times = []
    for round in range(5):
        times.append(world.broker.clock.tick())
        for number in range(60):
            world.publish("x", "", b"%d" % (60 * round + number) + bytes(700))
        world.run(2)
    everything = read(world).got
    assert [int(data.rstrip(b"\0")) for _, data, _ in everything] == list(range(300))
    for round, ms in enumerate(times):
        assert read(world, TIME, ms).got == everything[60 * round :]
    for number in (0, 1, 150, 299):
        assert read(world, OFFSET, everything[number][0]).got == everything[number:]
        assert read(world, OFFSET, everything[number][0] + 1).got == everything[number + 1 :]


def test_it_ends_where_the_log_ended_when_it_began(world):
    exchange(world, kind="fanout")
    world.bind("q", "x", "")
    publish(world, KEYS)
    reader = begin(world)
    publish(world, KEYS)
    world.run()
    assert len(reader.got) == len(KEYS) and reader.ends == 1


def test_what_is_not_committed_yet_is_waited_for(world):
    exchange(world, kind="fanout")
    world.bind("q", "x", "")
    world.run()
    for key in KEYS:
        world.publish("x", key)
    assert world.broker.log.pending_bytes
    assert len(read(world).got) == len(KEYS)


def test_a_copy_that_retention_made_is_not_found_again(world):
    exchange(world, kind="fanout")
    world.bind("q", "x", "")
    for number in range(600):
        world.publish("x", "", b"%d" % number + bytes(700))
    world.run()
    taker = world.take("q", 600)
    for offset, *_ in taker.got:
        if offset not in (100, 500):
            world.queue("q").acknowledge(offset)
    world.run()
    before = [data for _, data, _ in read(world).got]
    for _ in range(3):
        world.checkpoint()
        world.run(2)
    assert world.broker.reappender.copied_records and world.broker.retention.first > 0
    after = [data for _, data, _ in read(world).got]
    assert after and after == before[-len(after) :]


def test_a_delayed_message_is_found_once_when_it_was_published(world):
    exchange(world, kind="fanout")
    world.bind("q", "x", "")
    later = to_x(b"later", headers(**{"x-delay": 5000}))
    world.broker.publisher.publish(later, world.broker.delays.hold(later, 5000, world.vhost))
    world.publish("x", "", b"now")
    world.run(1)
    assert read(world).bodies == [b"now"]
    world.run(10)
    assert read(world).bodies == [b"now", b"later"]


def test_an_exchange_that_is_not_there(world):
    with refuses(NotFound, "no exchange 'x' in vhost '/'"):
        begin(world)
