"""Queues that go by themselves: with their connection, after their last consumer, unused for x-expires."""

import pytest

from core.lifetimes import DELETED_AT_ONCE
from tests.core.state.world import Owner, Taker, World


@pytest.fixture
def world():
    return World().boot()


@pytest.fixture
def topology(world):
    return world.topology


def test_an_auto_delete_queue_goes_with_its_last_consumer_and_never_before_the_first(world, topology):
    queue = world.declare("q", auto_delete=True)
    takers = [Taker(queue), Taker(queue)]
    for taker in takers:
        queue.add_consumer(taker)
        topology.consumer_added(world.vhost, queue)
    queue.remove_consumer(takers[0])
    topology.consumer_gone(world.vhost, queue)
    assert "q" in world.vhost.queues
    queue.remove_consumer(takers[1])
    topology.consumer_gone(world.vhost, queue)
    assert "q" not in world.vhost.queues
    topology.consumer_gone(world.vhost, queue)


def test_an_unused_queue_expires_to_the_millisecond_and_use_puts_it_off(world, topology):
    queue = world.declare("q", arguments={"x-expires": 1000})
    world.run(0.6)
    topology.queue_used(world.vhost, queue)
    world.run(0.999)
    assert "q" in world.vhost.queues
    world.run(0.002)
    assert "q" not in world.vhost.queues and queue.deleted


def test_a_queue_with_consumers_does_not_expire_and_recovery_begins_its_time_anew(world, topology):
    queue = world.declare("q", arguments={"x-expires": 1000})
    taker = Taker(queue)
    queue.add_consumer(taker)
    topology.consumer_added(world.vhost, queue)
    world.run(5)
    queue.remove_consumer(taker)
    topology.consumer_gone(world.vhost, queue)
    world.run(0.5)
    world.crash()
    world.boot()
    world.run(0.99)
    assert "q" in world.vhost.queues
    world.run(0.02)
    assert "q" not in world.vhost.queues


def test_ten_thousand_exclusive_queues_go_in_slices_and_none_is_in_the_way_of_its_successor(world, topology):
    mine, other, done = Owner(), Owner(), []
    for n in range(10 * DELETED_AT_ONCE):
        world.declare(f"q{n}", exclusive=True, owner=mine)
    topology.connection_gone(mine, lambda: done.append(True))
    assert len(world.vhost.queues) == 9 * DELETED_AT_ONCE and not done
    last = f"q{10 * DELETED_AT_ONCE - 1}"
    fresh = world.declare(last, exclusive=True, owner=other)
    world.run()
    assert done == [True] and list(world.vhost.queues.values()) == [fresh]
