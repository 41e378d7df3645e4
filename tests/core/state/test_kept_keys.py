"""Keys of deduplicating exchanges and queues, and the messages that brought them: a crash takes both or neither."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.message import Message
from core.publish import ACCEPTED, AT_COMMIT, KNOWN, UNROUTABLE
from core.routing.exchange import comparable_fields
from core.routing.once import KEY_HEADER, key_in
from protocols.amqp.content import Content
from protocols.amqp.properties import encode_properties
from tests.core.state.world import World, appended
from tests.simulation.disk import Crash

DISK = {"x-cache-size": 600, "x-cache-persistence": "disk"}
KIND = "x-message-deduplication"


def world_of(seed=1, arguments=DISK):
    world = World(seed).boot()
    world.topology.declare_exchange(world.vhost, "x", KIND, durable=True, arguments=arguments)
    world.declare("q")
    world.declare("once", arguments={KIND: True})
    world.bind("q", "x", "")
    world.run()
    return world


def publish(world, key, exchange="x", routing_key="", size=700):
    header = encode_properties({"headers": {KEY_HEADER: key}})
    body = (b"%d " % key).ljust(size)
    message = Message((b"/", exchange.encode(), routing_key.encode()), header, body, size, True)
    router, content = world.vhost.router, Content(header)
    route = router.route(router.exchanges[exchange], routing_key.encode(), content.headers, content)
    return world.broker.publisher.publish(message, route)


def known(world, keys):
    cache = world.vhost.router.exchanges["x"].cache
    return {key for key in keys if cache.knows(key_in(comparable_fields({KEY_HEADER: key})))}


def held(world, queue):
    return {int(body[:20]) for _, body, _ in world.take(queue, 1000).got}


def test_a_key_costs_records_of_its_own_only_where_it_is_kept():
    for arguments, records in (({"x-cache-size": 9}, 1), (DISK, 3)):
        world = world_of(arguments=arguments)
        before = appended(world)
        assert (publish(world, 1), publish(world, 1)) == (AT_COMMIT, KNOWN)
        assert appended(world) == before + records


def test_what_publish_says_of_duplicates():
    world = world_of()
    assert [publish(world, 1, "", "once") for _ in range(2)] == [AT_COMMIT, AT_COMMIT]
    world.declare("t", durable=False, arguments={KIND: True})
    assert [publish(world, 1, "", "t") for _ in range(2)] == [ACCEPTED, AT_COMMIT]
    world.topology.unbind(world.vhost, "x", ("queue", "q"), "", {})
    assert [publish(world, 2) for _ in range(2)] == [UNROUTABLE, KNOWN]
    assert (world.broker.publisher.duplicates, world.broker.publisher.unroutable) == (3, 1)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["publish", "publish", "run", "checkpoint", "crash", "lost"]), max_size=25),
    seed=st.integers(0, 1 << 16),
)
def test_a_key_is_known_exactly_if_its_message_is_there(steps, seed):
    world = world_of(seed)
    count = 0
    for step in (*steps, "publish", "publish", "crash"):
        if step == "publish":
            publish(world, count)
            publish(world, count, "", "once")
            count += 1
        elif step == "run":
            world.run()
        elif step == "checkpoint":
            world.checkpoint()
        else:
            world.disk.crash_in = world.random.randrange(4)
            try:
                world.run()
            except Crash:  # amid a write
                pass
            world.crash(state_lost=step == "lost")
            world.boot()
    assert known(world, range(count)) == held(world, "q")
    keys = world.queue("once").keys
    there = held(world, "once")
    messages = {key: Message((b"/", b"", b""), encode_properties({"headers": {KEY_HEADER: key}}), b"", 0, True)
                for key in range(count)}  # fmt: skip
    assert {key for key in messages if keys.knows(messages[key])} == there


@pytest.mark.parametrize("state_lost", [False, True])
def test_the_oldest_go_first_also_of_those_kept_from_before_and_all_with_their_exchange(state_lost):
    world = world_of()
    for key in range(700):
        publish(world, key, size=20)
        if key % 100 == 0:
            world.run()
    world.checkpoint()
    for key in range(700, 710):
        publish(world, key, size=20)
    world.run()
    world.crash(state_lost=state_lost)
    world.boot()
    assert known(world, range(800)) == set(range(110, 710))
    for key in range(710, 720):
        publish(world, key, size=20)
    assert known(world, range(800)) == set(range(120, 720))
    world.run()
    world.crash(state_lost=state_lost)
    world.boot()
    assert known(world, range(800)) == set(range(120, 720))
    world.topology.delete_exchange(world.vhost, "x")
    world.topology.declare_exchange(world.vhost, "x", KIND, durable=True, arguments=DISK)
    world.run()
    world.crash(state_lost=state_lost)
    world.boot()
    assert known(world, range(800)) == set()
