"""Which rule lets segments go that nothing needs: how many they are, how old, how full the disk is."""

import logging

import pytest

from core.clock import Clock
from core.config import Config, Limits, LogConfig
from core.log.keeping import CLEAN, FORCE, HOUR_MS, ROOMY, Keep, Keeper, keep_of, stored_ms
from core.log.record import DONE

NOON_MS = 1_700_000_000_000
GIB = 1 << 30


def keeper_of(**keep):
    keep.setdefault("bytes", 100)
    keep.setdefault("ms", HOUR_MS)
    return Keeper(Keep(**keep), Clock(lambda: NOON_MS / 1000, lambda: 5.0), 10)


def test_what_is_configured():
    log = LogConfig(keep_hours=2, keep_bytes=5 * GIB, delete_when="04;16", disk_clean_percent=50, disk_force_percent=60)
    keep = keep_of(Config(log=log, limits=Limits(disk_free_bytes=7)))
    assert keep == Keep(5 * GIB, 2 * HOUR_MS, frozenset((4, 16)), 50, 60, 7)
    assert keep_of(Config()) == Keep(8 * GIB, 72 * HOUR_MS, frozenset(), 75, 85, GIB)


@pytest.mark.parametrize(
    ("keep", "total", "most"),
    [
        ({}, 0, 100),  # the disk was not looked at yet
        ({}, 2000, 100),
        ({}, 1999, 99),  # 5 % of the disk
        ({"bytes": 0}, 4000, 0),
        ({"ms": 0}, 4000, 0),
    ],
)
def test_the_least_of_hours_bytes_and_share_of_the_disk(keep, total, most):
    keeper = keeper_of(**keep)
    if total:
        keeper.look(total, total)
    assert keeper.bytes_max == most and keeper.asks_age is (most > 0)


def test_what_is_kept_is_said_once(caplog):
    caplog.set_level(logging.INFO, "core")
    keeper = keeper_of()
    keeper.look(900, 1000)
    keeper.look(800, 1000)
    (line,) = caplog.records
    assert line.message == "log segments that nothing needs are kept for replay, at most"
    assert (line.hours, line.bytes, line.segments) == (1, 50, 5)
    assert line.why == "5 % of the disk is less than log.keep_bytes"


@pytest.mark.parametrize(
    ("free", "step"),
    [(260, ROOMY), (250, CLEAN), (151, CLEAN), (150, FORCE), (160, FORCE), (161, CLEAN), (260, CLEAN), (261, ROOMY)],
)
def test_steps_of_a_disk_that_fills_and_empties(free, step):
    keeper = keeper_of()
    for each, expected in ((260, ROOMY), (250, CLEAN), (151, CLEAN), (150, FORCE), (160, FORCE), (161, CLEAN)):
        keeper.look(each, 1000)
        assert keeper.step == expected
        if each == free:
            return
    keeper.look(free, 1000)
    assert keeper.step == step


def test_a_disk_near_the_alarm_that_blocks_publishers_is_full_whatever_its_share():
    keeper = keeper_of(alarm_bytes=200)
    keeper.look(400, 1000)
    assert keeper.step == ROOMY
    keeper.look(399, 1000)
    assert keeper.step == FORCE and keeper.wanted(0) == 1
    keeper.look(100, 1000)
    assert keeper.wanted(0) == 300 and keeper.wanted(250) == 50 and keeper.wanted(500) == 0


def test_no_more_goes_than_brings_the_disk_below_its_mark(caplog):
    keeper = keeper_of()
    keeper.look(140, 1000)
    assert keeper.wanted(0) == 10
    assert [record.levelname for record in caplog.records] == ["WARNING"] and caplog.records[0].used_percent == 86
    keeper.look(151, 1000)
    assert keeper.wanted(0) == 0
    keeper.look(500, 1000)
    assert keeper.wanted(0) == 0


def test_old_ones_go_at_once_or_in_their_hour_or_when_the_disk_fills():
    keeper = keeper_of()
    assert [keeper.too_old(NOON_MS - age) for age in (0, HOUR_MS, HOUR_MS + 1)] == [False, False, True]
    assert not keeper.too_old(0), "nobody knows"
    hour = Clock(lambda: NOON_MS / 1000, lambda: 5.0).hour()
    assert keeper_of(hours=frozenset((hour,))).too_old(1)
    later = keeper_of(hours=frozenset(((hour + 1) % 24,)))
    assert not later.too_old(1)
    later.look(200, 1000)
    assert later.step == CLEAN and later.too_old(1)


def test_when_a_record_was_stored(bench):
    bench.store()
    bench.log.append(DONE, b"x")
    bench.log.submit()
    head = bench.engine.image()
    second = int.from_bytes(head[:4], "big")
    assert stored_ms(head[:64], 0) == stored_ms(head[second : second + 64], second) == bench.clock.ms
    assert stored_ms(head[:64], 4096) == stored_ms(bytes(64), 0) == stored_ms(b"", 0) == 0
