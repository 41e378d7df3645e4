"""What a broker says of itself: counters that were counted, rates over what is back, days that begin at midnight."""

from types import SimpleNamespace

import pytest

from protocols.remoting.status import SAMPLE_SECONDS, Status, size_text

NOON_MS = 1_800_000_000_000 // 86_400_000 * 86_400_000 + 43_200_000


class World:
    """A broker whose counters and time the test sets; timers are carried out by run()."""

    def __init__(self):
        self.clock = SimpleNamespace(ms=NOON_MS, day=lambda: self.clock.ms // 86_400_000)
        self.topics = SimpleNamespace(messages=0, stored_bytes=0, find=lambda name: None)
        engine = SimpleNamespace(read=lambda at, size, done: self.reads.append((at, size, done)))
        self.reads = []
        self.log = SimpleNamespace(committed=5000, pending_bytes=70, engine=engine)
        keeper = SimpleNamespace(used_ratio=0.25, total=400 << 30, free=300 << 30)
        self.retention = SimpleNamespace(first=1024, keeper=keeper)
        self.schedule = SimpleNamespace(at=lambda ms, callback: self.timers.append((ms, callback)))
        self.pulls = SimpleNamespace(messages=0, found=0, missed=0, longest_ms=7)
        self.timers = []
        self.status = Status(self, self.pulls, "/data/commitlog")
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
    assert told["commitLogDiskRatio_/data/commitlog"] == told["consumeQueueDiskRatio"] == "0.25"
    assert told["commitLogDirCapacity"] == "Total : 400.0 GiB, Free : 300.0 GiB."


def test_pulls_that_found_some_and_those_that_did_not_have_rates_of_their_own(world):
    world.run(600)
    world.pulls.found, world.pulls.missed = 60, 30
    world.run(10)
    told = world.told()
    assert rates(told["getFoundTps"])[:2] == pytest.approx([60 / 10, 60 / 60])
    assert rates(told["getMissTps"])[0] == pytest.approx(3) and rates(told["getTotalTps"])[0] == pytest.approx(9)
    assert told["getMessageEntireTimeMax"] == "7"


def test_when_the_first_record_was_stored_is_read_once_and_again_when_it_went(world):
    record = bytearray(76)
    record[4:8], record[28:36] = (0xDAA320A7).to_bytes(4), (1024).to_bytes(8)
    record[56:64] = (NOON_MS - 5000).to_bytes(8)
    ((at, size, done),) = world.reads
    assert (at, size) == (1024, 76) and world.told()["earliestMessageTimeStamp"] == str(NOON_MS)
    done(bytes(record))
    world.run(30)
    assert world.told()["earliestMessageTimeStamp"] == str(NOON_MS - 5000) and len(world.reads) == 1
    world.retention.first = 2048
    world.run(10)
    assert [each[0] for each in world.reads] == [1024, 2048]


def test_all_that_rocketmq_tells_is_there_since_exporters_give_up_where_something_is_missing(world):
    """The keys of a broker of 5.3.3, but for those of delay levels, which it has only of those in use."""
    keys = """
        EndTransactionQueueSize EndTransactionThreadPoolQueueCapacity ackThreadPoolQueueCapacity
        ackThreadPoolQueueHeadWaitTimeMills ackThreadPoolQueueSize bootTimestamp brokerActive brokerVersion
        brokerVersionDesc commitLogDirCapacity commitLogDiskRatio commitLogDiskRatio_/data/commitlog
        commitLogMaxOffset commitLogMinOffset consumeQueueDiskRatio dispatchBehindBytes dispatchMaxBuffer
        earliestMessageTimeStamp getFoundTps getMessageEntireTimeMax getMissTps getTotalTps getTransferredTps
        litePullThreadPoolQueueCapacity litePullThreadPoolQueueHeadWaitTimeMills litePullThreadPoolQueueSize
        msgGetTotalTodayMorning msgGetTotalTodayNow msgGetTotalYesterdayMorning msgPutTotalTodayMorning
        msgPutTotalTodayNow msgPutTotalYesterdayMorning pageCacheLockTimeMills pullThreadPoolQueueCapacity
        pullThreadPoolQueueHeadWaitTimeMills pullThreadPoolQueueSize putLatency99 putLatency999
        putMessageAverageSize putMessageDistributeTime putMessageEntireTimeMax putMessageFailedTimes
        putMessageSizeTotal putMessageTimesTotal putTps queryThreadPoolQueueCapacity
        queryThreadPoolQueueHeadWaitTimeMills queryThreadPoolQueueSize remainHowManyDataToFlush
        remainTransientStoreBufferNumbs runtime sendThreadPoolQueueCapacity sendThreadPoolQueueHeadWaitTimeMills
        sendThreadPoolQueueSize startAcceptSendRequestTimeStamp timerCongestNum timerDequeueTps timerEnqueueTps
        timerOffsetBehind timerReadBehind
    """
    assert sorted(world.told()) == sorted(keys.split())
    assert world.told()["putMessageDistributeTime"].startswith("[<=0ms]:0 [0~10ms]:0 ")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (1 << 61, "2.0 EiB")]
)
def test_sizes_are_written_as_rocketmq_does(size, text):
    assert size_text(size) == text
