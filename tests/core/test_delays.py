"""Delayed messages: held back, fired in order, moved by one record, found again after every kind of stop."""

import pytest

from core.errors import CommandInvalid, PreconditionFailed
from core.message import Message
from protocols.amqp.properties import decode_properties, encode_properties
from tests.core.state.world import World, appended, exchange, refuses

DAY_MS = 86_400_000


@pytest.fixture
def world():
    made = World().boot()
    made.declare("q")
    return made


def delay(world, body, delay_ms, key="q", source="", **properties):
    """Publish as the protocol does for a message with x-delay."""
    clock = world.broker.clock
    clock.tick()
    header = encode_properties({"headers": {"x-delay": delay_ms}, **properties})
    message = Message((b"/", source.encode(), key.encode()), header, body, len(body), True)
    return world.broker.publisher.publish(message, world.broker.delays.hold(message, delay_ms, world.vhost))


def bodies(world, name="q"):
    return [body for _, body, _ in world.take(name, 1000).got]


def ready(world, name="q"):
    return world.queue(name).ready


def test_a_message_waits_for_its_time_and_no_longer(world):
    delay(world, b"x", 5000)
    world.run(4.99)
    assert ready(world) == 0 and world.broker.delays.count() == 1
    world.run(0.03)
    assert ready(world) == 1 and world.broker.delays.count() == 0 and world.broker.delays.fired == 1


def test_the_earliest_goes_first_whatever_the_order_they_came_in(world):
    delays = [3000, 100, 200, 100, 5000, 250]
    for number, each in enumerate(delays):
        delay(world, b"%d" % number, each)
    world.run(0.26)
    assert bodies(world) == [b"1", b"3", b"2", b"5"]
    world.run(10)
    assert bodies(world) == [b"0", b"4"]


def test_more_than_one_turn_fires_are_all_fired_in_order(world):
    for number in range(1000):
        delay(world, b"%d" % number, 1000)
    world.run(1.1)
    assert bodies(world) == [b"%d" % number for number in range(1000)]


def test_what_arrives_was_delayed_and_expires_from_then_on(world):
    delay(world, b"x", 1000, expiration="500", message_id="m")
    world.run(1.01)
    queue = world.queue("q")
    queue.index.find(0)
    message = world.broker.tail.get(queue.index.log_offset)
    assert decode_properties(message.header) == {
        "headers": {"x-delay": -1000},
        "expiration": "500",
        "message_id": "m",
    }
    assert (message.exchange, message.routing_key, message.persistent) == (b"", b"q", True)
    assert ready(world) == 1
    world.run(0.6)
    assert ready(world) == 0


def test_it_is_routed_when_it_is_due_and_lost_where_nothing_takes_it(world):
    exchange(world, "x", "topic")
    delay(world, b"taken", 1000, key="a.b", source="x")
    delay(world, b"lost", 500, key="a.b", source="x")
    delay(world, b"no exchange", 1000, source="gone")
    world.run(0.6)
    world.bind("q", "x", "a.*")
    world.run(1)
    assert bodies(world) == [b"taken"]
    assert world.broker.delays.count() == 0 and world.broker.delays.fired == 3


def test_a_header_exchange_sees_the_fields(world):
    exchange(world, "h", "headers")
    world.bind("q", "h", "", {"x-match": "any-with-x", "x-delay": -700})
    delay(world, b"x", 700, source="h")
    world.run(1)
    assert bodies(world) == [b"x"]


def test_transient_queues_take_it_too(world):
    world.declare("t", durable=False)
    delay(world, b"x", 100, key="t")
    world.run(1)
    assert bodies(world, "t") == [b"x"]


def test_the_hidden_queue_is_nobodys(world):
    delay(world, b"x", DAY_MS)
    assert list(world.vhost.queues) == ["q"]
    assert world.vhost.router.route(world.vhost.router.default, b"amq.delayed", None).queues == ()


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("state_lost", [False, True])
def test_it_survives_a_crash_before_its_time_and_fires_once(world, checkpoint, state_lost):
    for number, each in enumerate((9000, 3000, 6000)):
        delay(world, b"%d" % number, each)
    world.run(0.5)
    if checkpoint:
        world.checkpoint()
    world.crash(state_lost)
    world.boot()
    assert world.broker.delays.count() == 3 and list(world.vhost.queues) == ["q"]
    world.run(20)
    assert bodies(world) == [b"1", b"2", b"0"]
    world.crash(state_lost)
    world.boot()
    world.run(20)
    assert world.broker.delays.count() == 0 and world.queue("q").ready == 3


@pytest.mark.parametrize("clean", [False, True])
def test_what_was_due_while_down_fires_at_start_in_due_order(world, clean):
    for number, each in enumerate((9000, 3000, 6000, DAY_MS)):
        delay(world, b"%d" % number, each)
    world.run(0.5)
    (world.stop if clean else world.crash)()
    world.now += 3600
    world.boot(clean)
    world.run(0.2)
    assert bodies(world) == [b"1", b"2", b"0"] and world.broker.delays.count() == 1


def test_one_record_moves_it_and_nothing_else_is_written(world):
    delay(world, b"x", 100)
    world.run(0.05)
    before = appended(world)
    world.run(2)
    assert ready(world) == 1 and appended(world) == before + 1
    world.crash()
    world.boot()
    assert world.broker.delays.count() == 0 and ready(world) == 1


def test_they_are_listed_by_time_and_cancelled_by_id(world):
    delays, start = world.broker.delays, world.broker.clock.ms
    for each in (3000, 1000, 2000):
        delay(world, b"%d" % each, each)
    assert [(each.id, each.due_ms - start) for each in delays.list(world.vhost)] == [(1, 1000), (2, 2000), (0, 3000)]
    assert [each.id for each in delays.list(world.vhost, limit=1)] == [1]
    assert delays.cancel(world.vhost, 2) and not delays.cancel(world.vhost, 2)
    assert not delays.cancel(world.vhost, 3) and not delays.cancel(world.vhost, -1)
    assert delays.count() == delays.count(world.vhost) == 2 and delays.cancelled == 1
    assert [each.id for each in delays.list(world.vhost)] == [1, 0]
    world.run(1)
    world.crash()
    world.boot()
    world.run(5)
    assert bodies(world) == [b"1000", b"3000"]


def test_many_cancelled_ones_take_no_memory(world):
    for number in range(3000):
        delay(world, b"", DAY_MS + number)
    queue = world.vhost.delayed
    for number in range(2990):
        assert world.broker.delays.cancel(world.vhost, number)
    assert len(queue.due) < 2000 and world.broker.delays.count() == 10
    assert [each.id for each in world.broker.delays.list(world.vhost)] == list(range(2990, 3000))


def test_what_is_no_longer_in_memory_is_read(world):
    small = World(tail_bytes=64 << 10).boot()
    small.declare("q")
    for number in range(3000):
        delay(small, b"%4d" % number * 50, 60_000 + (number * 7919) % 3000)
        if number % 100 == 0:
            small.run(0.01)
    small.run(1)
    small.checkpoint()
    assert not small.vhost.delayed.index.loaded(3 * 512)
    order = [number for _, number in sorted(small.vhost.delayed.due.pairs())]
    small.run(70)
    assert ready(small) == 3000 and small.broker.delays.count() == 0
    assert [int(body[:4]) for body in bodies(small)] == order[:1000]


def test_a_chunk_that_is_in_the_store_only_is_found_at_start(world):
    for number in range(1200):
        delay(world, b"", 60_000 + number)
    world.run(1)
    world.checkpoint()
    world.crash()
    world.boot()
    assert len(world.vhost.delayed.due) == world.broker.delays.count() == 1200
    world.run(70)
    assert ready(world) == 1200


@pytest.mark.parametrize("deleted", [True, False], ids=["its virtual host goes", "it is lost"])
def test_nothing_waits_for_a_chunk_that_does_not_come(world, deleted):
    vhost = world.topology.add_vhost("other")
    for number in range(3000):
        message = Message((b"other", b"", b"q"), encode_properties({"headers": {"x-delay": 60_000}}), b"", 0, True)
        delay_ms = 60_000 if number == 3 * 512 else 70_000
        world.broker.publisher.publish(message, world.broker.delays.hold(message, delay_ms, vhost))
    world.run(1)
    world.checkpoint()
    assert not vhost.delayed.index.loaded(3 * 512)
    world.store.drop()
    jobs, readers = [], world.broker.cold._worker
    readers.submit, submit = lambda *job: jobs.append(job), readers.submit
    world.run(60)
    assert len(jobs) == 1
    if deleted:
        world.topology.remove_vhost("other")
    submit(*jobs.pop())
    world.run(20)
    assert jobs == [] and world.broker.delays._waking.firing == set()
    assert vhost.delayed.stopped != deleted


def test_a_virtual_host_takes_what_waits_along(world):
    other = world.topology.add_vhost("other")
    message = Message((b"other", b"", b"q"), b"", b"x", 1, True)
    world.broker.publisher.publish(message, world.broker.delays.hold(message, 1000, other))
    delay(world, b"mine", 1000)
    assert world.broker.delays.count() == 2
    world.topology.remove_vhost("other")
    assert world.broker.delays.count() == 1
    world.run(5)
    assert bodies(world) == [b"mine"]
    world.crash()
    world.boot()
    assert world.broker.delays.count() == 0 and set(world.broker.model.vhosts) == {"/"}


def test_an_unreadable_one_stays_and_the_others_go(world):
    small = World(tail_bytes=64 << 10).boot()
    small.declare("q")
    for number in range(100):
        delay(small, b"%4d" % number * 500, 60_000)
        small.run(0.01)
    fetch = small.broker.reader.fetch
    bad = small.vhost.delayed.unit(3)

    def broken(units, done):
        if bad in units:
            small.loop.call_soon(done, OSError("cannot read"))
        else:
            fetch(units, done)

    waking = small.broker.delays._waking
    waking._ports = waking._ports._replace(fetch=broken)
    small.run(70)
    assert small.broker.delays.unread == 1 and small.broker.delays.count() == 1 and ready(small) == 99
    small.crash()
    small.boot().run(1)
    assert small.broker.delays.count() == 0 and ready(small) == 100


# -- the exchange type


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({}, PreconditionFailed, "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
        (
            {"x-delayed-type": 5},
            PreconditionFailed,
            "Invalid argument, 'x-delayed-type' must be an existing exchange type",
        ),
        (
            {"x-delayed-type": "x-delayed-message"},
            PreconditionFailed,
            "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'",
        ),
        ({"x-delayed-type": "zz"}, CommandInvalid, "unknown exchange type 'zz'"),
        (
            {"x-delayed-type": "x-consistent-hash", "hash-property": "zz"},
            PreconditionFailed,
            "Unsupported property: zz",
        ),
    ],
)
def test_a_delayed_type_that_cannot_be(world, arguments, kind, text):
    with refuses(kind, text):
        exchange(world, "x", "x-delayed-message", arguments=arguments)


@pytest.mark.parametrize("kind", ["direct", "fanout", "topic", "headers", "x-random", "x-consistent-hash"])
def test_it_routes_as_its_delayed_type_says(world, kind):
    made = exchange(world, "x", "x-delayed-message", arguments={"x-delayed-type": kind})
    world.bind("q", "x", "1")
    assert made.delayed and made.kind == "x-delayed-message"
    assert [binding.destination.name for binding in made.matches(b"1", {})] == ["q"]
    world.run()
    world.crash()
    assert world.boot().vhost.router.exchanges["x"].delayed
