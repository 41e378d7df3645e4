"""When what is live in the front segments is copied, when it stays, and what is said of it."""

import logging

from core.state import live
from core.state.live import BLOCK, LiveScan
from tests.core.state.test_reappend import (
    FILLER,
    bodies,
    booted,
    fan_out,
    freed_up_to,
    pass_by,
    place_of,
    publish_over_the_edge,
    restart,
    settle,
)
from tests.core.state.world import SEGMENT_BYTES


def test_a_backlog_is_not_copied_round_and_round(caplog):
    caplog.set_level(logging.INFO, "core")
    world = booted()
    world.declare("slow")
    for _ in range(300):
        world.publish("", "slow", FILLER)
        world.run(0.1)
    pass_by(world, 2)
    reappender = world.broker.reappender
    assert reappender.copied_records == 0 and world.broker.retention.first == 0
    (kept,) = [record for record in caplog.records if record.message == "log segments are kept"]
    assert kept.segments >= 14 and kept.why == "too much in them is still wanted"
    looked = reappender.looked_bytes
    assert looked <= 2 * world.broker.log.appended
    for _ in range(5):
        settle(world)
    assert reappender.looked_bytes == looked, "nothing was settled since"


def test_twice_as_much_is_freed_as_is_copied():
    world = booted()
    world.declare("slow")
    for n in range(200):
        world.publish("", "slow" if n % 2 else "busy", FILLER)
    world.run()
    pass_by(world, 6)
    copied, retention = world.broker.reappender.copied_bytes, world.broker.retention
    assert 0 < copied <= retention.first / 2
    assert bodies(world, "slow") == [FILLER] * 100


def test_a_segment_with_a_damaged_record_stays(caplog):
    world = booted()
    world.declare("slow")
    for n in range(3):
        world.publish("", "slow", b"%d" % n)
    world.run()
    queue = world.queue("slow")
    queue.index.find(1)
    world.disk._files[f"commitlog/{0:020d}"].data[queue.index.log_offset + 90] ^= 1
    pass_by(world)
    assert world.broker.retention.first == 0
    kept = [record for record in caplog.records if record.message == "log segment is kept: it cannot be read"]
    assert len(kept) == 1 and kept[0].segment == 0 and "no valid record" in kept[0].error
    assert queue.ready == 3
    queue.purge()
    pass_by(world, 2)
    assert freed_up_to(world, SEGMENT_BYTES), "once nobody wants anything of it, it goes"


def test_copies_leave_the_reserve_of_a_full_disk_alone(caplog):
    caplog.set_level(logging.INFO, "core")
    world = booted()
    world.declare("slow")
    world.publish("", "slow", b"old")
    world.run()
    world.disk.free_bytes = lambda path: SEGMENT_BYTES
    pass_by(world)
    assert world.broker.retention.first == 0 and world.broker.reappender.copied_records == 0
    assert "the disk has no room for copies" in next(r.why for r in caplog.records if hasattr(r, "why"))
    del world.disk.free_bytes
    pass_by(world, 1)
    assert freed_up_to(world, SEGMENT_BYTES)


def test_an_idle_broker_copies_nothing():
    world = booted()
    world.declare("slow")
    world.publish("", "slow", b"old")
    world.run()
    pass_by(world)
    copied, appended = world.broker.reappender.copied_records, world.broker.log.appended
    world.run(1000)
    assert (world.broker.reappender.copied_records, world.broker.log.appended) == (copied, appended)


def test_rebuilt_from_the_log_what_expires_first_goes_first_though_its_copy_comes_last():
    world = booted()
    world.declare("q")
    world.publish("", "q", b"lives", ttl_ms=7_200_000)
    pass_by(world, 0)
    for _ in range(60):
        world.publish("", "busy", FILLER)
    world.queue("busy").purge()
    world.publish("", "q", b"dies", ttl_ms=3_600_000)
    world.run()
    settle(world)
    index = world.queue("q").index
    places = [index.log_offset for offset in (0, 1) if index.find(offset) == 1]
    assert places[0] > places[1] >= world.broker.retention.first, "only what is older was copied"
    restart(world, state_lost=True)
    world.run(3_650)
    assert world.queue("q").ready == 1
    assert bodies(world, "q") == [b"lives"]


def test_links_of_the_last_message_of_a_prefix_are_looked_for_behind_it():
    world = booted()
    fan_out(world)
    publish_over_the_edge(world)
    world.run()
    log = world.broker.log
    upto = log.appended - log.appended % SEGMENT_BYTES
    scan = LiveScan(world.broker.model.queues, log, upto - SEGMENT_BYTES, upto, SEGMENT_BYTES)
    result, scan.budget = BLOCK, 1 << 30
    while result == BLOCK:
        start = scan.at
        result = scan.run(world.broker._disk.files.read(start, SEGMENT_BYTES), start)
        if result == live.MESSAGE:
            world.broker.reader.fetch([(scan.message_at, scan.message_size)], lambda found: keep(scan, found[0]))
            scan.copy()
            world.run(0.1)
            result = BLOCK
    scan.copy()
    assert all(place_of(world, f"w{n}") > upto for n in range(300))


def keep(scan, message):
    scan.kept = message
