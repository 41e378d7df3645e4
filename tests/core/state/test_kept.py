"""Segments that nothing needs are kept for replay: what is live is copied all the same, and no start needs them."""

import pytest

from core.state.reappend import Portions
from tests.core.state.test_reappend import BOTH, bodies, pass_by, read_message, restart, settle
from tests.core.state.world import SEGMENT_BYTES, World

ALL = 1 << 30


@pytest.fixture(autouse=True)
def block_bytes(monkeypatch):
    monkeypatch.setattr(World, "portions", Portions(sample_bytes=4 << 10, block_bytes=4 << 10))


def booted(keep_bytes=ALL):
    world = World(keep_bytes=keep_bytes).boot()
    world.declare("busy")
    world.declare("slow")
    return world


def lived():
    """One in whose log lies what was: of queues, exchanges, bindings and messages that are gone, and of others."""
    world = booted()
    for n in range(8):
        world.declare(f"old{n}")
        world.declare("again")
        world.topology.declare_exchange(world.vhost, "x", "direct", durable=True)
        for name in (f"old{n}", "again", "slow"):
            world.bind(name, "x", f"k{n % 3}")
        world.publish("x", f"k{n % 3}", b"%d" % n * 1000)
        world.run()
        for offset, _, _ in world.take("slow", 2).got:
            slow = world.queue("slow")
            (slow.acknowledge if offset else slow.give_back)(offset)
        if n > 2:
            world.topology.delete_queue(world.vhost, f"old{n - 2}", None)
        world.topology.delete_queue(world.vhost, "again", None)
        if n % 4 == 1:
            world.topology.delete_exchange(world.vhost, "x")
        pass_by(world, 1)
    return world


def test_dead_segments_stay_and_live_ones_are_copied_so_that_there_are_any():
    world = booted()
    world.publish("", "slow", b"old")
    world.run()
    pass_by(world)
    retention = world.broker.retention
    assert retention.first == 0 and retention.needed_from >= 3 * SEGMENT_BYTES
    assert world.broker.reappender.copied_records == 1
    assert read_message(world, "slow", 0).offset >= retention.needed_from


def test_no_more_is_kept_than_may_be():
    world = booted(2 * SEGMENT_BYTES)
    pass_by(world, 8)
    retention = world.broker.retention
    assert retention.needed_from - retention.first == 2 * SEGMENT_BYTES
    assert min(map(int, world.disk.sizes("commitlog"))) == retention.first >= 5 * SEGMENT_BYTES


def test_wherever_the_log_begins_the_rest_of_it_says_the_same():
    world = lived()
    needed_from = world.broker.retention.needed_from
    assert needed_from >= 8 * SEGMENT_BYTES
    expected = world.picture(), {name: queue.ready for name, queue in world.vhost.queues.items()}
    for first in range(0, needed_from + 1, SEGMENT_BYTES):
        world.crash(state_lost=True)
        for files in world.disk._files, world.disk._durable:
            for path in [path for path in files if path.startswith("commitlog/") and int(path[10:]) < first]:
                del files[path]
        world.boot()
        assert world.broker.retention.first == first
        assert (world.picture(), {name: queue.ready for name, queue in world.vhost.queues.items()}) == expected, first


@BOTH
def test_after_a_restart(state_lost):
    world = lived()
    before = world.broker.retention.needed_from
    settle(world)
    picture = world.picture()
    restart(world, state_lost)
    retention, reappender = world.broker.retention, world.broker.reappender
    assert world.picture() == picture and retention.first == 0
    if not state_lost:
        assert retention.needed_from == before and world.restored.records < 10, "what is kept is not replayed"
    pass_by(world, 2)
    assert retention.needed_from >= before + SEGMENT_BYTES
    if not state_lost:
        assert reappender.looked_bytes < 4 * SEGMENT_BYTES < before, "nor looked into"
    assert bodies(world, "slow") == [b"0" * 1000]


def test_a_disk_that_fills_takes_what_is_kept_before_publishers_are_blocked():
    world = booted()
    blocked = []
    world.broker.log.engine.blocked = blocked.append
    world.disk.capacity = 10 * SEGMENT_BYTES
    for _ in range(30):
        pass_by(world, 1)
    retention = world.broker.retention
    assert blocked == [] and retention.freed["full"] >= 20


def test_a_crash_after_a_clean_stop_forgets_no_more_than_another():
    world = lived()
    settle(world)
    needed_from = world.broker.retention.needed_from
    world.stop()
    for _ in range(2):
        world.boot(clean=True)
        assert world.broker.retention.needed_from == needed_from
        world.crash()


def test_copies_get_the_room_that_is_kept_for_replay():
    world = booted()
    world.disk.free_bytes = lambda path: 3 * SEGMENT_BYTES + 10 - len(world.disk.sizes(path)) * 1000
    for _ in range(6):
        pass_by(world, 1)
    kept = world.broker.retention.needed_from
    assert kept and world.broker.retention.first == 0
    world.publish("", "slow", b"old")
    world.run()
    world.disk.free_bytes = lambda path: SEGMENT_BYTES * (1 + 4 * (world.broker.retention.first > 0))
    pass_by(world)
    assert world.broker.reappender.copied_records == 1 and world.broker.retention.freed["full"]
    assert world.broker.retention.needed_from > kept
    assert bodies(world, "slow") == [b"old"]
