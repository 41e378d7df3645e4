"""Native messages that wait: each once and whole, whatever stops, whatever becomes of its segment."""

from types import SimpleNamespace

import pytest

from core.errors import LimitReached
from core.native import Native
from core.queue.index import CHUNK_UNITS
from core.state import waking
from core.state.records import TopicConfig
from protocols.remoting.stored import stored_message
from tests.core.state.test_reappend import freed_up_to, pass_by, settle
from tests.core.state.world import World

STATES = pytest.mark.parametrize("state_lost", [False, True])
HOUR_MS = 3_600_000


class Served:
    """Timed messages that are delivered to the topic R, and halves that are asked about every 30 s."""

    def __init__(self, world):
        self.world, broker = world, world.broker
        self.asked = []
        for name in (b"W", b"H", b"R"):
            if broker.topics.find(name) is None:
                broker.topics.put(TopicConfig(name=name, read_queues=1, write_queues=1))
        broker.timers.start(self.deliver)
        broker.halves.start(self.ask)

    def topic(self, name):
        return self.world.broker.topics.find(name)

    def deliver(self, offset, record):
        self.world.broker.timers.settle(offset, [(self.topic(b"R"), self.real(record))])

    def ask(self, offset, record):
        halves, clock = self.world.broker.halves, self.world.broker.clock
        self.asked.append((offset, stored_message(record).body, halves.times(offset)))
        halves.again(offset, clock.ms + 30_000)

    def real(self, record):
        was = stored_message(record)
        return Native(b"R", 0, was.body, was.properties)

    def hold(self, body, ms, mark=0, kind="timers"):
        self.world.broker.clock.tick()
        name = b"W" if kind == "timers" else b"H"
        message = Native(name, 0, body, b"KEYS\x01k\x02")
        waits = getattr(self.world.broker, kind)
        return waits.hold(self.topic(name), message, self.world.broker.clock.ms + ms, mark)

    def delivered(self):
        queue, records = self.topic(b"R").queues[0], []
        at = queue.min_offset
        while at < queue.max_offset:
            found = queue.read(at, 5000, 1 << 30, None, late := [].append) or self.world.run(0.01) or late.__self__[0]
            records += found.records
            at = found.next_offset
        return [stored_message(record).body for record in records]


def restart(world, state_lost=False, checkpoint=False):
    if checkpoint:
        world.checkpoint()
    world.crash(state_lost=state_lost)
    world.boot()
    return Served(world)


@pytest.fixture
def world():
    return World().boot()


def test_a_timed_message_is_delivered_when_it_is_due_and_not_before(world):
    served = Served(world)
    for number, ms in enumerate([5000, 1000, 3000, 1000]):
        assert served.hold(b"%d" % number, ms) == number
    world.run(0.99)
    assert served.delivered() == [] and world.broker.timers.count == 4
    world.run(0.02)
    assert served.delivered() == [b"1", b"3"]
    world.run(10)
    assert served.delivered() == [b"1", b"3", b"2", b"0"] and world.broker.timers.count == 0


@STATES
@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_waits_survives_a_crash_and_is_delivered_once(world, checkpoint, state_lost):
    served = Served(world)
    for number in range(1200):
        served.hold(b"%d" % number, 1000 if number % 2 else HOUR_MS)
    world.run(2)
    served = restart(world, state_lost, checkpoint)
    assert served.delivered() == [b"%d" % number for number in range(1, 1200, 2)]
    assert world.broker.timers.count == 600
    world.run(3601)
    served = restart(world, state_lost, checkpoint)
    assert sorted(served.delivered()[600:], key=int) == [b"%d" % number for number in range(0, 1200, 2)]
    assert world.broker.timers.count == 0
    assert served.hold(b"next", 1000) == 1200


def test_what_was_due_while_the_broker_was_down_is_delivered_at_start(world):
    served = Served(world)
    for number in (3, 1, 2):
        served.hold(b"%d" % number, number * 1000)
    world.run(0.5)
    world.crash()
    world.now += 10
    world.boot()
    served = Served(world)
    world.run(0.1)
    assert served.delivered() == [b"1", b"2", b"3"]


def test_what_becomes_of_it_and_that_it_is_settled_are_there_together_or_not_at_all():
    """The last batch is torn behind each of its records."""
    outcomes = []
    for torn_at in range(1, 5):
        world = World().boot()
        served = Served(world)
        served.hold(b"x", 1000)
        world.run(0.5)
        before = world.broker.log.appended
        world.run(1)
        world.crash()
        tear(world, before, torn_at)
        served = Served(world.boot())
        outcomes.append((len(served.delivered()), world.broker.timers.count))
        world.run(2)
        assert served.delivered() == [b"x"]
    assert outcomes == [(0, 1), (0, 1), (1, 0), (1, 0)]  # the mark, the message, what settles it; all of it


def tear(world, before, count):
    """Of the records that lie behind `before` only so many are on the disk."""
    (file,) = [file for path, file in world.disk.durable_files().items() if path.startswith("commitlog/0")]
    found = [at for at in range(before, before + 4096) if int.from_bytes(file.data[at + 28 : at + 36]) == at]
    if count < len(found):
        file.data[found[count] :] = bytes(len(file.data) - found[count])


def test_nothing_changes_when_what_becomes_of_it_is_refused(world):
    served = Served(world)
    offset = served.hold(b"x", HOUR_MS, kind="halves")
    world.run()
    with pytest.raises(LimitReached):
        world.broker.halves.settle(offset, [(served.topic(b"R"), Native(b"R", 0, b"x", b"k\x01" + b"v" * 32767))])
    world.run()
    assert world.broker.halves.is_waiting(offset) and served.delivered() == []
    world.broker.halves.settle(offset)
    assert not world.broker.halves.is_waiting(offset) and world.broker.halves.count == 0


@STATES
@pytest.mark.parametrize("checkpoint", [False, True])
def test_how_often_and_when_next_a_half_is_asked_about_survives_a_crash(world, checkpoint, state_lost):
    served = Served(world)
    served.hold(b"h", 6000, kind="halves")
    settled = served.hold(b"settled", 6000, kind="halves")
    world.run(67)
    assert served.asked == [(at, body, n) for n in range(3) for at, body in ((0, b"h"), (1, b"settled"))]
    world.broker.halves.settle(settled)
    world.run(1)
    served = restart(world, state_lost, checkpoint)
    world.run(27)
    assert served.asked == []
    world.run(2)
    assert served.asked == [(0, b"h", 3)]
    world.run(30)
    assert served.asked == [(0, b"h", 3), (0, b"h", 4)] and world.broker.halves.times(0) == 5


def ports_of(waits, **other):
    """What waits has to be woken with; `other` takes the place of some of it."""
    waits._waking._ports = waits._waking._ports._replace(**other)
    return waits._waking._ports


def test_no_more_bytes_are_read_at_once_than_a_portion_has(world, monkeypatch):
    monkeypatch.setattr(waking, "READ_BYTES", 10_000)
    served, sizes = Served(world), []
    bodies = [b"%d" % number * 1000 for number in range(10, 30)]
    bodies[7] = b"b" * 20_000
    for body in bodies:
        served.hold(body, 1000)
    fetch = ports_of(world.broker.timers).fetch

    def weighed(units, done):
        sizes.append([size for _, size in units])
        fetch(units, done)

    ports_of(world.broker.timers, fetch=weighed)
    world.run(1.1)
    assert served.delivered() == bodies and world.broker.timers.count == 0
    assert max(map(len, sizes)) == 4 and [size for size in sizes if sum(size) > 10_000] == [[sizes[2][0]]]


def test_while_the_disk_is_behind_what_is_due_waits(world):
    served, log = Served(world), SimpleNamespace(pending_bytes=(64 << 20) + 1)
    ports_of(world.broker.timers, log=log)
    for number in range(200):
        served.hold(b"%d" % number, 1000)
    world.run(5)
    assert served.delivered() == []
    world.broker.timers.settle(150)
    log.pending_bytes = 64 << 20
    world.run(0.1)
    assert served.delivered() == [b"%d" % number for number in range(200) if number != 150]


@pytest.mark.parametrize("bad", [0, 5, 128, 199])
def test_one_that_cannot_be_served_keeps_no_other_waiting(world, caplog, bad):
    class Failing(Served):
        def real(self, record):
            made = Served.real(self, record)
            if made.body == b"%d" % bad:
                raise ZeroDivisionError("for this one")
            return made

    served = Failing(world)
    for number in range(200):
        served.hold(b"%d" % number, 1000)
    world.run(2)
    others = [b"%d" % number for number in range(200) if number != bad]
    assert served.delivered() == others
    assert world.broker.timers.unread == world.broker.timers.count == 1
    (said,) = [each for each in caplog.records if each.exc_info]
    assert (said.message, said.vhost, said.offset) == ("delayed message cannot be released", "timers", bad)
    served.hold(b"later", 1000)
    world.run(2)
    assert served.delivered() == [*others, b"later"]
    served = restart(world)
    world.run(0.1)
    assert served.delivered() == [*others, b"later", b"%d" % bad]


@STATES
def test_what_still_waits_when_its_segment_goes_is_appended_anew(state_lost):
    world = World(keep_hours=1).boot()
    served = Served(world)
    world.declare("busy")
    for number in range(30):
        served.hold(b"%d" % number, HOUR_MS * (6 if number % 3 else 1))
    half = served.hold(b"h", 6000, kind="halves")
    world.run(40)
    last = world.broker.log.appended
    world.run(2.5 * 3600)
    pass_by(world, 6)
    world.run(1.5 * 3600)  # what lies before the copies is too old now
    settle(world)
    assert freed_up_to(world, last) and world.broker.reappender.copied_records == 21
    assert served.topic(b"W").queues[0].min_offset == 30
    for lost in (state_lost, False):
        served = restart(world, lost)
    assert world.broker.halves.times(half) > 100
    found = []
    world.broker.halves.read(half, found.append)
    world.run(0.1)
    assert (stored_message(found[0]).body, stored_message(found[0]).queue_offset) == (b"h", 0)
    world.run(2.2 * 3600)
    assert sorted(served.delivered(), key=int) == [b"%d" % number for number in range(30) if number % 3]


def test_one_is_found_by_its_time_and_mark(world):
    served = Served(world)
    for number in range(3 * CHUNK_UNITS):
        served.hold(b"%d" % number, HOUR_MS + number // (2 * CHUNK_UNITS), mark=number % 700)
    world.run(1)
    world.checkpoint()
    due = world.broker.timers._ports.model.waiting["timers"].due
    first_ms, found, seen = due.first(), [], []

    def matches(record):
        seen.append(stored_message(record).body)
        return seen[-1] == b"705"

    world.broker.timers.find(first_ms, 5, matches, found.append)
    world.run(0.1)
    assert (found, seen) == ([705], [b"5", b"705"])
    world.broker.timers.settle(705)
    for ms, mark in ((first_ms, 5), (first_ms + 1, 5), (first_ms - 1, 5), (first_ms, 699)):
        world.broker.timers.find(ms, mark, matches, found.append)
        world.run(0.1)
    assert found == [705, None, None, None, None]
