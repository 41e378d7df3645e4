"""Delayed retry of a quorum queue: what comes back waits, at its place, over a restart too."""

import pytest

from core.state.settings import QueueSettings
from tests.core.state.world import World

RETRY = {"x-queue-type": "quorum", "x-delayed-retry-type": "all", "x-delayed-retry-min": 1000}


@pytest.fixture
def world():
    return World().boot()


def declare(world, messages=3, **arguments):
    table = RETRY | {key.replace("_", "-"): value for key, value in arguments.items()}
    queue = world.declare("q", arguments=table)
    for number in range(messages):
        world.publish("", "q", b"%d" % number)
    world.run(0.01)
    return queue


def take(world, count=1):
    return [offset for offset, _, _ in world.take("q", count).got]


def requeue(world, *offsets):
    """As a client does, whose bytes are read with the time of their turn."""
    world.broker.clock.tick()
    for offset in offsets:
        world.queue("q").requeue(offset)


def bodies(world):
    return [body for _, body, _ in world.take("q", 10_000).got]


def numbers(queue):
    return queue.ready, queue.unacked, queue.delayed


def test_it_is_neither_ready_nor_out_and_comes_back_to_its_place(world):
    queue = declare(world)
    (offset,) = take(world)
    requeue(world, offset)
    assert numbers(queue) == (2, 0, 1)
    world.run(0.98)
    assert numbers(queue) == (2, 0, 1)
    world.run(0.03)
    assert numbers(queue) == (3, 0, 0)
    assert world.take("q", 3).got == [(0, b"0", True), (1, b"1", False), (2, b"2", False)]


def test_the_wait_grows_with_the_count_up_to_the_most(world):
    queue = declare(world, 1, x_delayed_retry_max=2500)
    waits = []
    for _ in range(4):
        (offset,) = take(world)
        start = world.broker.clock.tick()
        requeue(world, offset)
        while queue.delayed:
            world.run(0.01)
        waits.append(world.broker.clock.ms - start)
    assert [round(ms, -2) for ms in waits] == [1000, 2000, 2500, 2500]


@pytest.mark.parametrize(
    ("kind", "failed", "returned"), [("disabled", 0, 0), ("all", 1, 1), ("failed", 1, 0), ("returned", 0, 1)]
)
def test_what_waits(world, kind, failed, returned):
    queue = declare(world, 2, x_delayed_retry_type=kind)
    first, second = take(world, 2)
    requeue(world, first)
    assert queue.delayed == failed
    queue.give_back(second)
    assert queue.delayed == failed + returned
    assert queue.ready + queue.delayed == 2 and queue.unacked == 0


def test_without_a_least_time_nothing_waits(world):
    queue = world.declare("q", arguments={"x-queue-type": "quorum", "x-delayed-retry-type": "all"})
    world.publish("", "q")
    requeue(world, take(world)[0])
    assert numbers(queue) == (1, 0, 0)


def test_the_limit_of_deliveries_comes_before_the_wait(world):
    queue = declare(world, 1, x_delivery_limit=1)
    requeue(world, take(world)[0])
    world.run(1.1)
    requeue(world, take(world)[0])
    assert numbers(queue) == (0, 0, 0) and queue.cursor.floor == 1


def test_a_policy_may_begin_and_end_it(world):
    queue = declare(world, 2, x_delayed_retry_type="disabled")
    queue.configure(QueueSettings(retry_type="failed", retry_min_ms=2000))
    requeue(world, take(world)[0])
    queue.configure(QueueSettings())
    requeue(world, take(world)[0])
    assert numbers(queue) == (1, 0, 1)
    world.run(2)
    assert numbers(queue) == (2, 0, 0)


@pytest.mark.parametrize("ending", ["crash", "state lost", "checkpoint", "checkpoint before", "stop"])
def test_a_restart_keeps_who_waits_until_when(ending):
    world = World().boot()
    queue = declare(world, 5, x_delayed_retry_min=5000)
    if ending == "checkpoint before":
        world.checkpoint()
    offsets = take(world, 3)
    requeue(world, *offsets[1:])
    world.run(0.1)
    if ending == "checkpoint":
        world.checkpoint()
    if ending == "stop":
        world.stop()
    else:
        world.crash(state_lost=ending == "state lost")
    queue = world.boot(clean=ending == "stop").queue("q")
    assert numbers(queue) == (3, 0, 2)
    assert bodies(world)[:3] == [b"0", b"3", b"4"]
    world.run(5)
    assert (queue.delayed, queue.unacked) == (0, 3)
    assert world.take("q", 9).got == [(1, b"1", True), (2, b"2", True)]


def test_what_is_due_before_its_place_is_reached_after_a_restart_is_delivered_in_order():
    world = World().boot()
    queue = declare(world, 4)
    requeue(world, take(world, 2)[1])
    world.run(0.1)
    world.crash()
    queue = world.boot().queue("q")
    assert numbers(queue) == (3, 0, 1)
    world.run(1.5)
    assert numbers(queue) == (4, 0, 0)
    assert bodies(world) == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("state_lost", [True, False])
def test_what_waited_and_expired_before_the_start_is_gone_at_once_whatever_the_start_knew_of_it(state_lost):
    world = World().boot()
    declare(world, 1, x_message_ttl=2000)
    requeue(world, take(world)[0])
    world.run(0.1)
    world.checkpoint()
    world.crash(state_lost)
    world.now += 10
    queue = world.boot().queue("q")
    assert numbers(queue) == (0, 0, 0) and queue.cursor.floor == 1


def test_a_wait_that_was_over_before_the_start_is_over():
    world = World().boot()
    queue = declare(world, 1)
    requeue(world, take(world)[0])
    world.run(0.1)
    world.crash()
    world.now += 10
    queue = world.boot().queue("q")
    world.run(0.01)
    assert numbers(queue) == (1, 0, 0)


def test_a_wait_that_is_over_is_not_begun_anew_by_a_restart(world):
    declare(world, 1)
    requeue(world, take(world)[0])
    world.run(1.2)
    world.checkpoint()
    world.crash()
    assert numbers(world.boot().queue("q")) == (1, 0, 0)


def test_a_message_that_waits_expires_when_it_is_ready_again(world):
    queue = world.declare("q", arguments=RETRY)
    for ttl_ms in (None, 600, None):
        world.publish("", "q", ttl_ms=ttl_ms)
    first, second, _ = take(world, 3)
    requeue(world, second)
    queue.acknowledge(first)
    world.run(0.4)
    assert numbers(queue) == (0, 1, 1)
    world.run(1)
    assert numbers(queue) == (0, 1, 0) and queue.expired == 1


def test_it_expires_behind_another_that_waits_too_though_the_queue_was_looked_at_meanwhile(world):
    queue = world.declare("q", arguments=RETRY)
    world.publish("", "q")
    world.publish("", "q", ttl_ms=700)
    requeue(world, *take(world, 2))
    world.broker.turn.activate(queue)  # as basic.get does
    world.run(1.5)
    assert numbers(queue) == (1, 0, 0) and queue.expired == 1


def test_a_purge_leaves_what_waits_and_a_delete_does_not(world):
    queue = declare(world, 3)
    requeue(world, take(world, 2)[0])
    assert queue.purge() == 1
    assert numbers(queue) == (0, 1, 1)
    world.run(1.1)
    assert numbers(queue) == (1, 1, 0)
    requeue(world, take(world)[0])
    world.topology.delete_queue(world.vhost, "q", None)
    world.run(3)
    assert numbers(queue) == (0, 1, 0)


def test_many_that_are_due_at_once_come_back_in_slices(world):
    queue = declare(world, 5000)
    requeue(world, *take(world, 5000))
    world.run(1.2)
    assert numbers(queue) == (5000, 0, 0)
    assert [int(body) for body in bodies(world)] == list(range(5000))


def test_limits_count_it_only_while_it_is_ready(world):
    declare(world, 0, x_delayed_retry_min=5000, x_max_length_bytes=300, x_overflow="reject-publish")
    for _ in range(3):
        world.publish("", "q", bytes(100))
    world.run(0.1)
    requeue(world, take(world, 2)[1])
    world.run(0.1)
    assert world.queue("q").limits.ready_bytes == 100
    world.crash()
    queue = world.boot().queue("q")
    world.run(0.5)
    assert numbers(queue) == (2, 0, 1) and queue.limits.ready_bytes == 200
    world.run(5)
    assert numbers(queue) == (3, 0, 0) and queue.limits.ready_bytes == 300
