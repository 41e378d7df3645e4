"""What is live in the front segments is appended anew, and they go; all of it is what it was, after a restart too."""

from array import array

import pytest

from core.message import Message
from core.queue.index import CHUNK_UNITS
from core.state import reappend
from core.state.live import ALL, LiveScan
from core.state.reappend import Portions
from protocols.amqp.properties import encode_properties
from tests.core.state.test_kept_keys import publish as publish_keyed
from tests.core.state.world import SEGMENT_BYTES, World

FILLER = b"f" * 3000
FIELDS = ("vhost", "exchange", "routing_key", "header", "unseen", "body", "store_ms", "expire_at", "persistent")
RETRY = {"x-queue-type": "quorum", "x-delayed-retry-type": "all", "x-delayed-retry-min": 3_600_000}


@pytest.fixture(params=[4 << 10, 256 << 10], ids=["small blocks", "blocks"], autouse=True)
def block_bytes(request, monkeypatch):
    """Records lie across blocks, or segments in one."""
    monkeypatch.setattr(World, "portions", Portions(sample_bytes=request.param, block_bytes=request.param))
    return request.param


def booted():
    world = World().boot()
    world.declare("busy")
    return world


def pass_by(world, segments=4):
    """Publish and ack that many segments' worth in another queue, and let retention do its work."""
    for _ in range(segments):
        for _ in range(SEGMENT_BYTES // 3200 + 1):
            world.publish("", "busy", FILLER)
        world.run()
        queue = world.queue("busy")
        for offset, _, _ in world.take("busy", 1000).got:
            queue.acknowledge(offset)
        world.run()
    settle(world)


def settle(world):
    for _ in range(3):
        world.checkpoint()
        world.run(10)


def freed_up_to(world, offset):
    return world.broker.retention.first > offset


def restart(world, state_lost):
    world.crash(state_lost=state_lost)
    world.boot()


def bodies(world, name, count=1000):
    return [body for _, body, _ in world.take(name, count).got]


BOTH = pytest.mark.parametrize("state_lost", [False, True], ids=["with state", "without"])


@BOTH
def test_one_old_message_pins_no_segment_and_is_what_it_was(state_lost):
    world = booted()
    world.declare("slow")
    world.publish("", "slow", b"old", header=encode_properties({"delivery_mode": 2}), ttl_ms=3_600_000)
    world.run()
    before = read_message(world, "slow", 0)
    pass_by(world)
    assert freed_up_to(world, before.offset) and world.broker.reappender.copied_records
    for _ in range(2):
        after = read_message(world, "slow", 0)
        assert after.offset > before.offset
        for field in FIELDS:
            assert getattr(after, field) == getattr(before, field), field
        restart(world, state_lost)
    assert world.take("slow", 1).got == [(0, b"old", True)]


def read_message(world, name, offset):
    queue, found = world.queue(name), []
    assert queue.index.find(offset) == 1
    world.broker.reader.fetch([(queue.index.log_offset, queue.index.size)], found.extend)
    world.run(0.1)
    return found[0]


@BOTH
def test_a_copy_is_for_every_queue_that_still_wants_it_and_for_no_other(state_lost):
    world = booted()
    names = [f"q{n}" for n in range(5)]
    world.topology.declare_exchange(world.vhost, "all", "fanout", durable=True)
    for name in names:
        world.declare(name)
        world.bind(name, "all", "")
    for n in range(10):
        world.publish("all", "", b"%d" % n)
    world.run()
    for name, offsets in (("q0", range(10)), ("q1", (0, 4, 9)), ("q2", ())):
        taker = world.take(name, 10)
        for offset, _, _ in taker.got:
            if offset in offsets:
                world.queue(name).acknowledge(offset)
            else:
                world.queue(name).give_back(offset)
    pass_by(world)
    assert freed_up_to(world, SEGMENT_BYTES)
    restart(world, state_lost)
    assert bodies(world, "q0") == []
    assert bodies(world, "q1") == [b"%d" % n for n in (1, 2, 3, 5, 6, 7, 8)]
    for name in names[2:]:
        assert bodies(world, name) == [b"%d" % n for n in range(10)]
    assert world.queue("q0").index.end == world.queue("q1").index.end == 10, "though 9 was settled"


def fan_out(world):
    world.topology.declare_exchange(world.vhost, "wide", "fanout", durable=True)
    for n in range(300):
        world.declare(f"w{n}")
        world.bind(f"w{n}", "wide", "")
    world.run()


def place_of(world, name):
    """Where the record of the queue's youngest message lies."""
    index = world.queue(name).index
    assert index.find(index.end - 1) == 1
    return index.log_offset


def publish_over_the_edge(world):
    """A message to all 300 whose record just fits its segment, so that its link lies in the next one; its body."""
    log = world.broker.log
    while SEGMENT_BYTES - log.appended % SEGMENT_BYTES > 6000:
        world.publish("", "busy", b"x" * 1000)
    world.publish("wide", "", b"probe")
    world.queue("w0").index.find(world.queue("w0").index.end - 1)
    body = b"y" * (SEGMENT_BYTES - log.appended % SEGMENT_BYTES - world.queue("w0").index.size + 5 - 100)
    world.publish("wide", "", body)
    assert place_of(world, "w299") // SEGMENT_BYTES < log.appended // SEGMENT_BYTES, "its link is in the next segment"
    return body


@BOTH
@pytest.mark.parametrize("over_the_edge", [False, True], ids=["", "links in the next segment"])
def test_a_message_in_more_queues_than_a_record_names(state_lost, over_the_edge):
    world = booted()
    fan_out(world)
    body = publish_over_the_edge(world) if over_the_edge else b"wide"
    if not over_the_edge:
        world.publish("wide", "", body)
    world.run()
    old = world.broker.log.appended
    for name in ("w5", "w280"):
        for offset, _, _ in world.take(name, 2).got:
            world.queue(name).acknowledge(offset)
    pass_by(world, 12)
    assert freed_up_to(world, old)
    assert world.broker.reappender.copied_records <= 4 * (1 + over_the_edge), "a copy is in all its queues"
    restart(world, state_lost)
    for n in range(300):
        assert bodies(world, f"w{n}")[-1:] == ([] if n in (5, 280) else [body]), n


def test_the_log_may_begin_with_a_link_whose_message_is_gone():
    world = booted()
    fan_out(world)
    publish_over_the_edge(world)
    base = world.broker.log.appended - world.broker.log.appended % SEGMENT_BYTES
    world.run()
    world.crash(state_lost=True)
    for files in world.disk._files, world.disk._durable:
        for path in [path for path in files if int(path.removeprefix("commitlog/")) < base]:
            del files[path]
    world.boot()
    assert world.broker.retention.first == base and world.restored.records


@BOTH
def test_how_often_a_copied_message_came_back_and_until_when_it_waits(state_lost):
    world = booted()
    world.declare("counted", arguments={"x-queue-type": "quorum"})
    world.declare("waiting", arguments=RETRY)
    for name in ("counted", "waiting"):
        world.publish("", name, b"old")
    world.run()
    for _ in range(3):
        for offset, _, _ in world.take("counted", 1).got:
            world.queue("counted").give_back(offset)
    for offset, _, _ in world.take("waiting", 1).got:
        world.queue("waiting").requeue(offset)
    world.run()
    rows = {name: world.queue(name).counts.rows() for name in ("counted", "waiting")}
    assert rows["counted"] == [(0, 3, 0)] and rows["waiting"][0][2]
    old = world.broker.log.appended
    pass_by(world)
    assert freed_up_to(world, old - 100)
    restart(world, state_lost)
    assert {name: world.queue(name).counts.rows() for name in rows} == rows
    assert world.queue("waiting").delayed == 1 and world.take("waiting", 1).got == []


@BOTH
def test_priorities_delays_and_expiry_go_along(state_lost):
    world = booted()
    world.declare("levels", arguments={"x-max-priority": 5})
    world.declare("mortal", arguments={"x-message-ttl": 7_200_000})
    world.topology.declare_exchange(
        world.vhost, "later", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"}
    )
    for priority in (1, 3, 5):
        world.publish("", "levels", b"%d" % priority, header=encode_properties({"priority": priority}))
    world.publish("", "mortal", b"stays")
    world.publish("", "mortal", b"goes", ttl_ms=3_600_000)
    world.bind("mortal", "later", "mortal")
    hold = world.broker.delays.hold
    late = Message((b"/", b"later", b"mortal"), b"", b"late", 4, True)
    world.broker.publisher.publish(late, hold(late, 3_700_000, world.vhost))
    world.run()
    old = world.broker.log.appended
    pass_by(world)
    assert freed_up_to(world, old)
    restart(world, state_lost)
    assert bodies(world, "levels") == [b"5", b"3", b"1"]
    assert world.broker.delays.count() == 1
    world.run(3_650)
    assert world.queue("mortal").ready == 1, "it went at its time, though one that lives longer is in front of it"
    world.run(100)
    assert bodies(world, "mortal") == [b"stays", b"late"]


@BOTH
def test_a_stream_keeps_its_offsets_and_knows_its_size(state_lost):
    world = booted()
    world.declare("s", arguments={"x-queue-type": "stream", "x-max-length-bytes": 1 << 20})
    world.topology.declare_exchange(world.vhost, "both", "fanout", durable=True)
    for name in ("s", "busy"):
        world.bind(name, "both", "")
    for n in range(20):
        world.publish("both", "", b"%d" % n)  # whose copies, for one queue only, are smaller
    world.run()
    pass_by(world)
    assert freed_up_to(world, SEGMENT_BYTES)
    stream = world.queue("s")
    for _ in range(2):
        assert stream.bytes_kept == sum(stream.index.size for n in range(20) if stream.index.find(n) == 1)
        restart(world, state_lost)
        stream = world.queue("s")
        world.run()
    assert (stream.cursor.floor, stream.index.end) == (0, 20)


@BOTH
def test_a_deduplicating_queue_knows_the_keys_of_what_was_copied(state_lost):
    world = booted()
    world.declare("once", arguments={"x-message-deduplication": True})
    publish_keyed(world, 1, exchange="", routing_key="once")
    world.run()
    pass_by(world)
    assert freed_up_to(world, SEGMENT_BYTES)
    restart(world, state_lost)
    for key in (1, 2):
        publish_keyed(world, key, exchange="", routing_key="once")
    assert world.queue("once").ready == 2


@BOTH
def test_what_is_left_of_a_chunk_that_is_never_full_again_is_in_the_checkpoints(state_lost):
    world = booted()
    world.declare("q")
    for n in range(2 * CHUNK_UNITS):
        world.publish("", "q", b"%d" % n)
    world.run()
    for offset, _, _ in world.take("q", 5000).got:
        if offset not in (5, 700):
            world.queue("q").acknowledge(offset)
    for _ in range(60):
        world.publish("", "busy", FILLER)
    world.queue("busy").purge()
    world.publish("", "q", b"young")
    world.run()
    settle(world)
    assert freed_up_to(world, 2 * SEGMENT_BYTES)
    restart(world, state_lost)
    world.checkpoint()
    restart(world, state_lost=False)
    assert bodies(world, "q") == [b"5", b"700", b"young"]
    assert world.queue("q").index.end == 2 * CHUNK_UNITS + 1


@BOTH
def test_at_whatever_moment_it_crashes(state_lost):
    world = booted()
    world.declare("slow")
    for n in range(60):
        world.publish("", "slow", b"%d" % n + b"s" * 1000 * (n % 3))
        for _ in range(n % 4):
            world.publish("", "busy", FILLER)
    world.run()
    expected = [b"%d" % n + b"s" * 1000 * (n % 3) for n in range(60)]
    world.queue("busy").purge()
    for _ in range(60):
        world.publish("", "busy", FILLER)
    world.run()
    world.queue("busy").purge()
    world.broker.checkpointer.checkpoint()
    for crash in range(25):
        for _ in range(1 + crash * 3):
            step(world)
        world.crash(state_lost=state_lost)
        world.boot()
        queue = world.queue("slow")
        assert (queue.ready, queue.index.end) == (60, 60), crash
        world.broker.checkpointer.checkpoint()
    settle(world)
    pass_by(world, 2)
    assert freed_up_to(world, SEGMENT_BYTES)
    assert bodies(world, "slow") == expected


def step(world):
    """One iteration of the loop, and time goes on to the next timer."""
    loop = world.loop
    if not loop.ready and loop.timers:
        loop.now = max(loop.now, loop.timers[0][0])
    loop.run_once()
    world.now = loop.now


def test_nothing_is_copied_while_a_checkpoint_is_made(monkeypatch):
    monkeypatch.setattr(reappend, "PAUSE_MS", 0)
    world = booted()
    world.broker.reappender.portions = world.portions._replace(slice_cost=20)
    world.declare("slow")
    for _ in range(300):
        world.publish("", "slow", b"s")
    world.run()
    checkpointer, reappender = world.broker.checkpointer, world.broker.reappender
    world.queue("busy").purge()
    pass_by_without_settling(world)
    checkpointer.checkpoint()
    while not reappender.copied_records:
        step(world)
    checkpointer.checkpoint()
    copied = reappender.copied_records
    while checkpointer.running:
        assert reappender.copied_records == copied
        step(world)
    world.run(10)
    assert reappender.copied_records >= 300 > copied


def pass_by_without_settling(world):
    for _ in range(4):
        for _ in range(SEGMENT_BYTES // 3200 + 1):
            world.publish("", "busy", FILLER)
        world.run(0.3)
        world.queue("busy").purge()
        world.run(0.3)


def test_a_queue_with_copies_goes_on_by_order_when_they_are_gone():
    world = booted()
    world.declare("slow")
    world.publish("", "slow", b"old")
    world.run()
    pass_by(world)
    queue = world.queue("slow")
    assert queue.index.copied_to == 1
    world.publish("", "slow", b"new")
    for offset, _, _ in world.take("slow", 1).got:
        queue.acknowledge(offset)
    world.run()
    world.checkpoint()
    assert world.broker.checkpointer._retainer.needed_units() == place_of(world, "slow")


def test_settled_between_two_slices_is_not_copied():
    world = booted()
    world.declare("slow")
    for n in range(3):
        world.publish("", "slow", b"%d" % n)
    world.run()
    queues, log = world.broker.model.queues, world.broker.log
    block = world.broker._disk.files.read(0, SEGMENT_BYTES)
    scan = LiveScan(queues, log, 0, log.appended, SEGMENT_BYTES)
    for offset, _, _ in world.take("slow", 1).got:
        world.queue("slow").acknowledge(offset)
    scan.budget = 1000
    assert scan.run(block, 0) == ALL
    scan.copy()
    assert scan.copied_records == 2
    assert array("q", [world.queue("slow").index.find(n) for n in range(3)]) == array("q", [1, 1, 1])
