"""What may change while the broker runs really does; the rest is refused, and where to write it is said."""

import re
from types import SimpleNamespace

import pytest

from core.config import Config, Limits, LogConfig
from core.errors import NotAllowed, PreconditionFailed
from gateway.live_config import CHANGEABLE, RULES, LiveConfig
from gateway.settings import KEYS
from protocols.remoting.rules import Rules


class World:
    def __init__(self, **config):
        self.groups = SimpleNamespace(auto_create=True)
        self.retention = SimpleNamespace(keeper=SimpleNamespace(keep=None))
        self.rules, self.told = Rules(), []
        self.live = LiveConfig(self, Config(**config), "broker-a")
        self.live.follow(self.rules, lambda: self.told.append(self.rules.permission))


@pytest.fixture
def world():
    return World()


def refused(world, kind, text, said):
    before = world.live.config
    with pytest.raises(kind, match=f"^{re.escape(said)}"):
        world.live.change(text)
    assert world.live.config is before and world.told == []


def test_each_rule_changes_and_who_keeps_one_is_told(world):
    world.live.change(
        "autoCreateTopicEnable=false\ndefaultTopicQueueNums=3\nmaxMessageSize=1000\nbrokerPermission=4\n"
        "enablePropertyFilter=false\ntraceOn=false\nuseServerSideResetOffset=false\nautoCreateSubscriptionGroup=false\n"
        "transactionTimeOut=7\ntransactionCheckInterval=8\ntransactionCheckMax=9\nrejectTransactionMessage=true\n"
        "timerWheelEnable=false\ntimerMaxDelaySec=10\nrecallMessageEnable=false\nstoreReplyMessageEnable=false\n"
    )
    rules = world.rules
    assert [getattr(rules, name) for name in RULES.values()] == [
        *(False, 3, 1000, 4, False, False, False),
        *(7, 8, 9, True, False, 10, False, False),
    ]
    assert world.groups.auto_create is False and world.told == [4]
    shown = world.live.shown()
    assert (shown["defaultTopicQueueNums"], shown["brokerPermission"], shown["brokerName"]) == (3, 4, "broker-a")


def test_how_long_the_log_is_kept_changes_by_rocketmqs_names_and_ours(world):
    world.live.change("fileReservedTime=5\ndeleteWhen=02;14\nlog.disk_clean_percent=60\ndiskSpaceCleanForciblyRatio=70")
    keep = world.retention.keeper.keep
    assert (keep.ms, keep.hours, keep.clean_percent, keep.force_percent) == (5 * 3_600_000, {2, 14}, 60, 70)


def test_what_cannot_change_is_refused_with_all_that_came_along_and_where_it_is_to_be_written(world):
    where = "cannot change while the broker runs: write it into broker.conf"
    refused(world, NotAllowed, "traceOn=false\nbrokerName=other", f"rocketmq.brokerName {where}")
    refused(world, NotAllowed, "mapedFileSizeCommitLog=536870912", f"log.segment_bytes {where}")
    refused(world, NotAllowed, "flushDiskType=ASYNC_FLUSH", f"flushDiskType {where}")
    refused(world, NotAllowed, "listenPort=1", f"listenPort {where}")


def test_what_is_unknown_or_cannot_be_is_refused(world):
    refused(world, PreconditionFailed, "nonsense=1", "nonsense: no such key, or it has no effect here")
    refused(world, PreconditionFailed, "traceOn=perhaps", "traceOn: rocketmq.traceOn: 'perhaps' is not allowed")
    refused(world, PreconditionFailed, "brokerPermission=9", "brokerPermission: rocketmq.brokerPermission")
    refused(world, PreconditionFailed, "x=\\u12", "")


def test_what_is_as_it_was_is_no_change():
    world = World(log=LogConfig(segment_bytes=64 << 20), limits=Limits(message_bytes=1 << 20))
    world.live.change("mappedFileSizeCommitLog=67108864\nregionId=DefaultRegion\n")
    world.live.change("")


def test_every_key_that_may_change_is_one():
    assert KEYS.keys() >= CHANGEABLE
