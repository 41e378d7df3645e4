"""Bugs that the simulator found, reduced."""

from random import Random

import pytest

from tests.simulation.disk import Crash
from tests.simulation.life import Life, Sizes, World

SIZES = Sizes(32 << 10, 32 << 10, 32 << 10, checkpoint_seconds=5, disk_bytes=1 << 20)


def declare(life, name):
    """Some sectors of records."""
    for number in range(8):
        life.broker.topology.declare_queue(life.vhost, f"{name} {number} {'x' * 200}", durable=True)


def started(world, seed):
    life = Life(world, Random(seed))
    return life, life.start()


@pytest.mark.parametrize("seed", range(12))
def test_what_came_back_after_a_kill_in_the_midst_of_a_batch_survives_a_power_failure(seed):
    world = World(Random(seed), SIZES)
    life, _ = started(world, seed)
    life.run(0.5)

    def killed(fd):
        raise Crash

    world.disk.sync = killed
    declare(life, "written, never synced")
    with pytest.raises(Crash):
        life.run(0.5)
    del world.disk.sync
    world.disk.stop()
    life, tail = started(world, seed)
    assert len(life.vhost.queues) == 8
    world.disk.crash()
    assert started(world, seed)[1] == tail


@pytest.mark.parametrize("seed", range(12))
def test_what_came_back_after_a_failed_sync_survives_a_power_failure(seed):
    world = World(Random(seed), SIZES)
    life, _ = started(world, seed)
    life.run(0.5)
    world.disk.fail_sync = 0
    declare(life, "written, its sync failed")
    life.run(0.5)
    assert life.failure is not None
    world.disk.stop()
    life, _ = started(world, seed)
    assert len(life.vhost.queues) == 8
    declare(life, "another")  # synced, which says nothing of the bytes whose sync failed before
    life.run(0.5)
    tail = life.broker.log.committed
    world.disk.crash()
    assert started(world, seed)[1] == tail


@pytest.mark.parametrize("seed", range(12))
def test_what_came_back_of_all_batches_whose_one_flush_failed_survives_a_power_failure(seed):
    world = World(Random(seed), SIZES._replace(flush="async"))
    life, _ = started(world, seed)
    life.run(1.0)  # what the start wrote is synced
    batches = life.broker.log.batches
    for number in range(4):
        declare(life, f"batch {number}")
        life.run(0.05)
    assert life.broker.log.batches == batches + 4
    world.disk.fail_sync = 0  # of the flush that is due 0.5 s after the first of them
    life.run(0.5)
    assert world.disk.sync_errors == 1
    world.disk.stop()
    life, tail = started(world, seed)
    assert len(life.vhost.queues) == 32
    world.disk.crash()
    life, again = started(world, seed)
    assert again == tail and len(life.vhost.queues) == 32


def test_a_flush_due_while_a_batch_waits_for_space_does_not_stop_the_broker():
    world = World(Random(1), SIZES._replace(flush="async", ahead_bytes=4 << 10))
    life, _ = started(world, 1)
    life.run(0.1)  # a flush is due 0.5 s after the first batch
    world.disk.capacity = 0
    for number in range(20):
        declare(life, f"queue {number}")
    life.run(2.0)
    assert life.engine.full and life.broker.log.committed < life.broker.log.appended
    assert life.engine.tail() > life.files.end, "what waits belongs into a segment that cannot be made"
    assert life.failure is None
    world.disk.capacity = 1 << 20
    life.run(10.0)
    assert life.failure is None and life.broker.log.committed == life.broker.log.appended


@pytest.mark.parametrize("seed", range(12))
def test_no_checkpoint_is_ahead_of_what_a_failed_flush_left_of_the_log(seed):
    world = World(Random(seed), SIZES._replace(flush="async"))
    life, _ = started(world, seed)
    life.run(1.0)
    declare(life, "flushed in vain")
    world.disk.fail_sync = 0
    life.run(1.0)
    assert world.disk.sync_errors == 1
    life.broker.checkpointer.checkpoint()
    life.run(1.0)
    world.disk.crash()
    bare = world.copy(Random(0))
    bare.store.drop()
    assert sorted(started(world, seed)[0].vhost.queues) == sorted(started(bare, seed)[0].vhost.queues)
