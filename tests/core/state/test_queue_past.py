"""What a queue received is read again: from where, how long it is there, what it costs others."""

import pytest

from core.errors import LimitReached, PreconditionFailed
from core.state.queue_past import FIRST, LAST, NEXT, OFFSET, TIME
from tests.core.state.world import SEGMENT_BYTES, Taker, World, refuses

SEGMENTS_FREED = "replay lost its place: what it was to read next has gone"


@pytest.fixture
def world():
    made = World(checkpoint_seconds=86400).boot()  # segments go when a test says so
    made.declare("q")
    return made


def body(number):
    return b"%05d" % number


def fill(world, first, end, name="q", pad=0, persistent=True):
    for number in range(first, end):
        world.publish("", name, body(number) + bytes(pad), persistent)
    world.run(0.1)


def consume(world, count, name="q"):
    """Take `count` messages and acknowledge them."""
    taker = world.take(name, count)
    for offset, *_ in taker.got:
        world.queue(name).acknowledge(offset)
    assert len(taker.got) == count
    world.run(0.1)


def begin(world, kind=FIRST, value=0, name="q", limit=1 << 30):
    """A consumer of the queue's past that takes up to `limit` messages."""
    replay = world.broker.past.of_queue(world.queue(name), kind, value)
    taker = Taker(replay, limit)
    replay.begin(taker)
    return taker


def read(world, *args, **options):
    taker = begin(world, *args, **options)
    world.run(5)
    taker.queue.close()
    return numbers(taker)


def numbers(taker):
    assert all(int(data[:5]) == offset for offset, data, _ in taker.got)
    assert not any(redelivered for *_, redelivered in taker.got)
    return [offset for offset, *_ in taker.got]


def free_consumed(world):
    """Let the consumed segments go."""
    before = world.broker.retention.first
    world.checkpoint()
    world.run()
    assert world.broker.retention.first > before


@pytest.mark.parametrize("taken", [0, 7, 600, 1000])
@pytest.mark.parametrize(
    ("kind", "value", "first"),
    [(FIRST, 0, 0), (LAST, 0, 999), (NEXT, 0, 1000), (OFFSET, 3, 3), (OFFSET, 999, 999), (OFFSET, -5, 0), (TIME, 0, 0)],
)
def test_it_begins_where_it_was_asked_to_whatever_was_consumed(world, taken, kind, value, first):
    fill(world, 0, 1000)
    consume(world, taken)
    assert read(world, kind, value) == list(range(first, 1000))
    assert world.queue("q").ready == 1000 - taken and world.queue("q").unacked == 0


@pytest.mark.parametrize("taken", [0, 450, 900])
def test_a_time_finds_the_first_message_that_is_not_older(world, taken):
    times = []
    for start in range(0, 900, 90):
        times.append(world.broker.clock.tick())
        fill(world, start, start + 90, pad=500)
        world.run(3)
    assert world.broker.log.appended > 6 * SEGMENT_BYTES
    consume(world, taken)
    for count, ms in enumerate(times):
        assert read(world, TIME, ms) == list(range(90 * count, 900))
        assert read(world, TIME, ms - 1) == list(range(90 * count, 900))
    assert read(world, TIME, times[-1] + 100_000) == []


def test_messages_done_out_of_order_are_read_with_those_that_are_not(world):
    fill(world, 0, 700)
    taker = world.take("q", 700)
    for offset, *_ in taker.got:
        if offset % 3:
            world.queue("q").acknowledge(offset)
    world.run()
    assert read(world) == list(range(700))


def test_only_what_entered_this_queue_is_read(world):
    world.declare("other")
    for number in range(50):
        world.publish("", "other", b"no")
        fill(world, number, number + 1)
    consume(world, 50)
    assert read(world) == list(range(50))


def test_messages_that_expired_or_were_purged_are_read_too(world):
    for number in range(10):
        world.publish("", "q", body(number), ttl_ms=1)
    world.run(1)
    fill(world, 10, 20)
    assert world.queue("q").ready == 10
    world.queue("q").purge()
    world.run()
    assert read(world) == list(range(20))


def test_of_many_queues_whose_list_needs_links_each_has_its_past(world):
    world.topology.declare_exchange(world.vhost, "x", "fanout", durable=True)
    for number in range(700):
        world.declare(f"q{number}")
        world.bind(f"q{number}", "x", "")
    for number in range(3):
        world.publish("x", "", body(number))
    world.run()
    for name in ("q0", "q255", "q256", "q699"):
        consume(world, 3, name)
        assert read(world, name=name) == [0, 1, 2]
        assert read(world, LAST, name=name) == [2]


class TestAtTheEnd:
    def test_it_goes_on_with_what_comes(self, world):
        fill(world, 0, 10)
        consume(world, 10)
        taker = begin(world)
        world.run()
        fill(world, 10, 13)
        world.run()
        assert numbers(taker) == list(range(13))
        assert world.broker.past.replays.behind == 0

    def test_though_others_take_it_at_once(self, world):
        world.queue("q").add_consumer(Taker(world.queue("q"), no_ack=True))
        fill(world, 0, 10)
        taker = begin(world, NEXT)
        read_before = world.broker.past.replays.scans.read_bytes
        for start in range(10, 3010, 1000):
            fill(world, start, start + 1000)
        world.run()
        assert numbers(taker) == list(range(10, 3010))
        assert world.broker.past.replays.scans.read_bytes == read_before, "the disk is not needed by who keeps up"

    def test_an_offset_to_come_is_waited_for(self, world):
        fill(world, 0, 5)
        taker = begin(world, OFFSET, 8)
        fill(world, 5, 10)
        world.run()
        assert numbers(taker) == [8, 9]

    def test_what_is_not_persistent_is_there_too(self, world):
        fill(world, 0, 10, persistent=False)
        consume(world, 10)
        assert read(world) == list(range(10))


class TestBesideOthers:
    def test_acks_and_returns_of_a_replay_change_nothing(self, world):
        fill(world, 0, 10)
        taker = begin(world)
        world.run()
        replay, queue = taker.queue, world.queue("q")
        for settle in (replay.acknowledge, replay.reject, replay.give_back, replay.requeue):
            settle(0)
        world.run()
        assert (queue.ready, queue.unacked, queue.delivered, queue.cursor.floor) == (10, 0, 0, 0)
        assert replay.unacked == 6 and queue.consumers == []

    def test_one_slice_of_a_turn_is_all_that_replays_get(self, world):
        fill(world, 0, 1000)
        takers = [begin(world) for _ in range(3)]
        replays = world.broker.past.replays
        for _ in range(100):
            before = sum(len(taker.got) for taker in takers)
            replays.active = False
            made = replays.serve(1000)
            assert made == sum(len(taker.got) for taker in takers) - before <= 64
            world.loop.run_once()
        counts = [len(taker.got) for taker in takers]
        assert max(counts) - min(counts) <= 1 and sum(counts) > 500

    def test_a_slice_ends_with_its_bytes_too(self, world):
        fill(world, 0, 200, pad=20_000)
        taker = begin(world)
        replays = world.broker.past.replays
        assert replays.serve(1000) <= (256 << 10) // 20_000 + 1
        world.run()
        assert numbers(taker) == list(range(200))

    def test_it_pauses_between_slices_while_others_are_served(self, world):
        fill(world, 0, 500)
        taker = begin(world)
        turn, served = world.broker.turn, []
        while len(taker.got) < 500:
            before = len(taker.got), world.loop.now
            world.publish("", "q", b"99999")
            world.loop.run_until(world.loop.now + 0.0005)
            served.append(len(taker.got) - before[0])
        assert turn.turns > len(served) // 2
        assert max(served) <= 64
        assert sum(1 for count in served if count) <= len(served) // 3, "every third turn at most had a slice"

    def test_no_more_is_read_in_a_second_than_the_limit(self):
        world = limited(World(), replay_bytes_per_second=1 << 16).boot()
        world.declare("q")
        fill(world, 0, 300, pad=2000)
        consume(world, 300)
        taker = begin(world)
        world.run(4)
        assert world.broker.past.replays.scans.read_bytes <= 5 * (1 << 16)
        assert 0 < len(taker.got) < 250
        world.run(10)
        assert numbers(taker) == list(range(300))

    def test_there_are_no_more_of_them_than_the_limit(self):
        world = limited(World(), replays=2).boot()
        world.declare("q")
        begin(world)
        second = begin(world)
        with refuses(LimitReached, "number of replays has reached the limit (2)"):
            begin(world)
        second.queue.close()
        begin(world)

    def test_units_are_held_while_they_are_read_and_no_longer(self, world):
        fill(world, 0, 2000)
        slow = begin(world, limit=0)
        other = begin(world, NEXT)
        consume(world, 2000)
        assert world.queue("q").index.begin == 0
        slow.queue.close()
        assert world.queue("q").index.begin == 2000
        other.queue.close()
        fill(world, 2000, 2600)
        consume(world, 600)
        assert world.queue("q").index.begin > 2500


def limited(world, **limits):
    from msgspec.structs import replace

    world.config = replace(world.config, limits=replace(world.config.limits, **limits))
    return world


class TestWhatHasGone:
    @pytest.mark.parametrize("kind", [FIRST, OFFSET, TIME])
    def test_it_begins_with_the_first_that_is_there(self, world, kind):
        fill(world, 0, 1000, pad=500)
        consume(world, 900)
        free_consumed(world)
        got = read(world, kind)
        assert got == list(range(got[0], 1000)) and 0 < got[0] <= 900

    def test_the_last_message_is_gone_and_so_there_is_none(self, world):
        fill(world, 0, 200, pad=500)
        consume(world, 200)
        world.declare("other")
        fill(world, 0, 400, "other", pad=500)
        consume(world, 300, "other")
        free_consumed(world)
        assert read(world, LAST) == [] == read(world)

    def test_the_last_message_may_lie_segments_back(self, world):
        fill(world, 0, 20, pad=500)
        consume(world, 20)
        world.declare("other")
        fill(world, 0, 400, "other", pad=500)
        assert world.broker.log.appended > 3 * SEGMENT_BYTES
        assert read(world, LAST) == [19]

    def test_a_slow_reader_pins_nothing_is_told_and_goes_on(self, world, caplog):
        fill(world, 0, 1000, pad=500)
        consume(world, 1000)
        taker = begin(world, limit=5)
        world.run()
        assert len(taker.got) == 5 and world.broker.past.replays.scans.oldest > world.broker.log.appended
        fill(world, 1000, 1100, pad=500)
        free_consumed(world)
        assert SEGMENTS_FREED not in caplog.text
        taker.limit = 1 << 30
        taker.queue.wake(taker)
        world.run()
        got = [offset for offset, *_ in taker.got]
        assert got[-100:] == list(range(1000, 1100)) and sorted(set(got)) == got
        assert caplog.text.count(SEGMENTS_FREED) == 1 and world.broker.past.replays.scans.lost == 1

    def test_a_segment_that_is_being_read_stays(self, world):
        fill(world, 0, 600, pad=500)
        consume(world, 600)
        begin(world)
        scans = world.broker.past.replays.scans
        while scans.reading is None:
            world.loop.run_once()
        before = world.broker.retention.first
        assert world.broker.retention.free(world.broker.log.committed) == [] and scans.oldest == before

    def test_nothing_comes_twice_because_retention_copied_it(self, world):
        fill(world, 0, 1500, pad=500)
        taker = world.take("q", 1500)
        for offset, *_ in taker.got:
            if offset not in (3, 300, 900):
                world.queue("q").acknowledge(offset)
        world.run()
        for _ in range(4):
            world.checkpoint()
            world.run(2)
        assert world.broker.reappender.copied_records >= 3
        first = world.broker.retention.first
        assert first > 0
        got = read(world)
        assert got == sorted(set(got)) and {3, 300, 900} <= set(got)
        world.queue("q").acknowledge(3)
        world.queue("q").acknowledge(300)
        world.run()
        again = read(world)
        assert again == sorted(set(again)) and set(again) >= set(got) - {3, 300}


class TestAfterARestart:
    @pytest.mark.parametrize("state_lost", [False, True])
    @pytest.mark.parametrize("crash", [False, True])
    def test_the_past_is_what_it_was(self, world, crash, state_lost):
        fill(world, 0, 700)
        consume(world, 650)
        world.checkpoint()
        fill(world, 700, 1400)
        world.checkpoint()
        consume(world, 500)
        there = read(world)
        assert there[0] < 1000 and there == list(range(there[0], 1400))
        world.crash(state_lost) if crash else world.stop(state_lost)
        world.boot(clean=not crash)
        for kind, value, first in ((FIRST, 0, there[0]), (OFFSET, 1000, 1000), (OFFSET, 1200, 1200), (LAST, 0, 1399)):
            assert read(world, kind, value) == list(range(first, 1400))

    def test_stored_chunks_of_the_index_come_back_and_leave_again(self, world):
        fill(world, 0, 6000)
        world.checkpoint()
        index = world.queue("q").index
        assert len(index.loaded_chunks()) < 8
        assert read(world) == list(range(6000))
        assert len(index.loaded_chunks()) < 8


class TestRefused:
    def test_a_transient_queue_has_no_past(self, world):
        world.declare("t", durable=False)
        with refuses(PreconditionFailed, "queue 't' in vhost '/' is transient: nothing of its past is kept"):
            begin(world, name="t")
        assert world.broker.past.replays.open == {}

    def test_who_reads_a_queue_that_is_deleted_is_told(self, world):
        fill(world, 0, 10)
        taker = begin(world)
        world.run()
        world.topology.delete_queue(world.vhost, "q", None)
        world.run()
        assert taker.is_gone and world.broker.past.replays.open == {}

    def test_a_damaged_message_is_left_out_and_counted(self, world, caplog):
        fill(world, 0, 300, pad=300)
        consume(world, 300)
        segment = world.disk._files["commitlog/" + "0" * 20]
        segment.data[segment.data.find(body(77) + bytes(300)) + 50] ^= 0xFF
        assert read(world) == [number for number in range(300) if number != 77]
        assert "replay leaves out a message: it cannot be read" in caplog.text
        assert world.broker.past.replays.scans.unreadable == 1
