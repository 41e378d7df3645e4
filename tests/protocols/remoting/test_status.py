"""What a broker says of itself: counters that were counted, rates over what is back, days that begin at midnight."""

from types import SimpleNamespace

import pytest

from protocols.remoting import status
from protocols.remoting.status import SAMPLE_SECONDS, Status

NOON_MS = 1_800_000_000_000 // 86_400_000 * 86_400_000 + 43_200_000


class World:
    """A broker whose counters and time the test sets; timers are carried out by run()."""

    def __init__(self):
        self.clock = SimpleNamespace(ms=NOON_MS, day=lambda: self.clock.ms // 86_400_000)
        self.topics = SimpleNamespace(messages=0)
        self.log = SimpleNamespace(committed=5000, pending_bytes=70)
        self.retention = SimpleNamespace(first=1024, keeper=SimpleNamespace(used_ratio=0.25))
        self.schedule = SimpleNamespace(at=lambda ms, callback: self.timers.append((ms, callback)))
        self.pulls = SimpleNamespace(messages=0)
        self.timers = []
        self.status = Status(self, self.pulls, lambda: {"b": True, "a": 1, "c": "x y"})
        self.status.start()

    def run(self, seconds, puts=0, gets=0):
        """Time goes by in steps of a sample, with so many messages in each."""
        for _ in range(seconds // SAMPLE_SECONDS):
            self.topics.messages += puts
            self.pulls.messages += gets
            ((due, callback),) = self.timers
            self.timers = []
            self.clock.ms = due
            callback()

    def told(self):
        return self.status.table()


@pytest.fixture
def world():
    return World()


def rates(text):
    return [float(rate) for rate in text.split()]


def test_rates_are_over_the_last_10_60_and_600_seconds(world):
    world.run(600, puts=100, gets=50)
    world.run(30, puts=1000)
    told = world.told()
    assert rates(told["putTps"]) == pytest.approx([100, (3 * 1000 + 3 * 100) / 60, (3 * 1000 + 57 * 100) / 600])
    assert rates(told["getTransferredTps"]) == pytest.approx([0, 3 * 50 / 60, 57 * 50 / 600])


def test_soon_after_the_start_rates_are_over_what_there_was(world):
    assert rates(world.told()["putTps"]) == [0, 0, 0]
    world.topics.messages, world.clock.ms = 30, world.clock.ms + 3000
    assert rates(world.told()["putTps"]) == pytest.approx([10, 10, 10])


def test_days_begin_at_midnight_and_a_day_that_nobody_saw_has_no_messages(world):
    def totals(told):
        return [int(told[f"msg{which}Total{when}"]) for which in ("Put", "Get") for when in WHEN]

    WHEN = ("YesterdayMorning", "TodayMorning", "TodayNow")
    world.run(12 * 3600, puts=1)  # the last of these ends at midnight
    assert totals(world.told()) == [0, 4320, 4320, 0, 0, 0]
    world.run(24 * 3600, puts=1, gets=2)
    assert totals(world.told()) == [4320, 12960, 12960, 0, 17280, 17280]
    world.topics.messages += 5
    world.timers = [(world.clock.ms + 3 * 86_400_000, world.timers[0][1])]
    world.run(SAMPLE_SECONDS)
    assert totals(world.told()) == [12965, 12965, 12965, 17280, 17280, 17280]


def test_the_log_the_disk_and_the_time_since_the_start_are_told(world):
    world.run(90_060)
    told = world.told()
    assert told["runtime"] == "[ 1 days, 1 hours, 1 minutes, 0 seconds ]" and told["bootTimestamp"] == str(NOON_MS)
    assert (told["commitLogMinOffset"], told["commitLogMaxOffset"]) == ("1024", "5000")
    assert told["commitLogDiskRatio"] == "0.25" and told["remainHowManyDataToFlush"] == "70 B"
    assert told["brokerActive"] == "true" and told["brokerVersionDesc"] == "V5_3_3"


def test_the_configuration_is_lines_of_keys_and_values(world):
    answered = []
    connection = SimpleNamespace(
        respond=lambda opaque, code, fields, body: answered.append((opaque, code, fields, body)),
        remoting=SimpleNamespace(status=world.status),
    )
    status.show_config(connection, SimpleNamespace(opaque=7))
    version = b'{"counter":0,"stateVersion":0,"timestamp":%d}' % NOON_MS
    assert answered == [(7, 0, ((b"version", version),), b"a=1\nb=true\nc=x y\n")]
