"""A queue with priorities after a restart: the same order, whatever was in a checkpoint and whatever was settled."""

import pytest

from core.message import Message
from protocols.amqp.properties import encode_properties
from tests.core.state.world import World

COUNT = 1300  # full chunks of the index, and one that fills


@pytest.fixture
def world():
    world = World().boot()
    world.declare("q", arguments={"x-max-priority": 4})
    return world


def publish(world, number, priority=None):
    header = b"" if priority is None else encode_properties({"priority": priority})
    body = b"%d" % number
    message = Message((b"/", b"", b"q"), header, body, len(body), True)
    router = world.vhost.router
    world.broker.publisher.publish(message, router.route(router.default, b"q", None))


def fill(world):
    """COUNT messages of five levels; returns their numbers in the order of delivery."""
    priorities = [(None, 1, 9, 0, 3, 2)[number % 6] for number in range(COUNT)]
    for number, priority in enumerate(priorities):
        publish(world, number, priority)
    world.run()
    return sorted(range(COUNT), key=lambda number: (-min(priorities[number] or 0, 4), number))


def settle_some(world, order):
    """Take the first hundred, ack two of three; returns what is left, in order."""
    queue, taker = world.queue("q"), world.take("q", 100)
    assert [int(body) for _, body, _ in taker.got] == order[:100]
    kept = []
    for place, (offset, body, _) in enumerate(taker.got):
        if place % 3:
            queue.acknowledge(offset)
        else:
            kept.append(int(body))
    world.run()
    return kept + order[100:]


@pytest.mark.parametrize("checkpointed", [False, True], ids=["log alone", "checkpoint"])
@pytest.mark.parametrize("ending", ["crash", "stop"])
def test_the_order_is_the_same_after_a_restart(world, checkpointed, ending):
    left = settle_some(world, fill(world))
    if checkpointed:
        world.checkpoint()
    getattr(world, ending)(state_lost=not checkpointed)
    world.boot(clean=ending == "stop" and checkpointed)
    queue = world.queue("q")
    assert queue.ready == len(left)
    publish(world, COUNT, 4)
    top = sum(number % 6 == 2 for number in left)
    expected = [*left[:top], COUNT, *left[top:]]
    assert [int(body) for _, body, _ in world.take("q", COUNT).got] == expected
    assert queue.ready == 0


def test_what_comes_back_after_its_chunk_left_memory_keeps_its_level(world):
    order = fill(world)
    queue, taker = world.queue("q"), world.take("q", 3)
    world.checkpoint()
    world.checkpoint()
    for offset, _, _ in taker.got:
        queue.give_back(offset)
    again = world.take("q", 4).got
    assert [int(body) for _, body, _ in again] == order[:4]
    assert [redelivered for _, _, redelivered in again] == [True, True, True, False]
