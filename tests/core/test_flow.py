"""Alarms: when they begin, when they end, who is told."""

import pytest

from core.flow import DISK, LOG, MEMORY, Flow


class Listener:
    def __init__(self):
        self.told = 0

    def flow_changed(self):
        self.told += 1


class Use:
    memory, free = 0, 10_000

    def __call__(self):
        return self.memory, self.free


@pytest.fixture
def use():
    return Use()


@pytest.fixture
def flow(use):
    return Flow(1000, 1000, use)


def test_memory_within_a_tenth_of_its_limit_blocks_and_says_why(flow, use):
    use.memory = 901
    flow.check()
    assert (flow.blocked, flow.reason, flow.blocked_count) == (True, "low on memory", 1)
    assert (flow.memory_used, flow.disk_free) == (901, 10_000)


def test_a_disk_below_its_limit_blocks_and_says_why(flow, use):
    use.free = 999
    flow.check()
    assert (flow.blocked, flow.reason) == (True, "low on disk")


@pytest.mark.parametrize(("alarmed", "still", "over"), [((901, 2000), (856, 2000), (855, 2000))])
def test_an_alarm_ends_only_well_below_the_limit(flow, use, alarmed, still, over):
    for (use.memory, use.free), blocked in ((alarmed, True), (still, True), (over, False)):
        flow.check()
        assert flow.blocked is blocked


def test_a_disk_alarm_ends_only_well_above_the_limit(flow, use):
    for use.free, blocked in ((999, True), (1052, True), (1053, False)):
        flow.check()
        assert flow.blocked is blocked


def test_listeners_hear_of_the_outcome_not_of_every_alarm(flow):
    listener, gone = Listener(), Listener()
    flow.listen(listener)
    flow.listen(gone)
    flow.forget(gone)
    flow.forget(gone)
    flow.set_alarm(MEMORY, True)
    flow.set_alarm(MEMORY, True)
    flow.set_alarm(LOG, True)
    assert listener.told == 1
    flow.set_alarm(MEMORY, False)
    assert listener.told == 1 and flow.blocked and flow.reason == "low on disk"
    flow.set_alarm(LOG, False)
    assert listener.told == 2 and not flow.blocked and flow.reason == ""
    assert gone.told == 0 and flow.blocked_count == 1


def test_a_listener_may_leave_when_it_is_told(flow):
    class Leaves(Listener):
        def flow_changed(self):
            super().flow_changed()
            flow.forget(self)

    leaving = [Leaves(), Leaves()]
    for each in leaving:
        flow.listen(each)
    flow.set_alarm(DISK, True)
    flow.set_alarm(DISK, False)
    assert [each.told for each in leaving] == [1, 1]
