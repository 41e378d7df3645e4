"""A front segment in which nothing is live is freed, and the log alone still suffices."""

from itertools import pairwise

from core.state import checkpoint
from core.state.checkpoint import UNSTORED_CHUNKS_MAX
from core.state.retain import SLICE_FACTS
from core.state.snapshot import read_stamp
from tests.core.state.world import SEGMENT_BYTES, World

FILLER = b"f" * 3000


def fill(world, queue, segments):
    """Publish and ack that many segments' worth."""
    for _ in range(segments):
        for _ in range(SEGMENT_BYTES // 3200 + 1):
            world.publish("", queue, FILLER)
        world.run()
        for offset, _, _ in world.take(queue, 1000).got:
            world.queue(queue).acknowledge(offset)
        world.run()


def test_consumed_segments_go_and_facts_are_stated_anew():
    world = World().boot()
    world.declare("q", arguments={"x-message-ttl": 3600000})
    world.topology.declare_exchange(world.vhost, "x", "direct", durable=True)
    world.bind("q", "x", "k")
    fill(world, "q", 5)
    world.checkpoint()
    world.run(5)
    retention = world.broker.retention
    assert retention.first >= 4 * SEGMENT_BYTES
    assert len(world.disk.sizes("commitlog")) <= 3
    end = world.queue("q").index.end
    before = world.picture()
    world.crash(state_lost=True)
    world.boot()
    assert world.picture() == before
    assert world.queue("q").index.end == end and world.queue("q").ready == 0
    world.publish("x", "k", b"next")
    world.run()
    assert world.take("q", 1).got == [(end, b"next", False)]


def test_an_idle_broker_does_not_restate_for_ever():
    world = World().boot()
    for n in range(200):
        world.declare(f"q{n}")
    fill(world, "q0", 4)
    for _ in range(10):
        world.broker.checkpointer.checkpoint()
        world.run(100)
    appended = world.broker.log.appended
    checkpoints = world.broker.checkpointer.checkpoints
    world.run(1000)
    assert world.broker.log.appended == appended
    assert world.broker.checkpointer.checkpoints <= checkpoints + 1


def test_many_facts_are_stated_anew_in_slices_with_turns_of_the_loop_between():
    world = World().boot()
    for n in range(300):
        world.declare(f"q{n}")
    world.run()
    retainer = world.broker.checkpointer._retainer
    stated, at_once = retainer.restated, []
    later = world.broker.checkpointer._ports.soon

    def soon(callback):
        at_once.append(retainer.restated)
        later(callback)

    world.broker.checkpointer._ports = world.broker.checkpointer._ports._replace(soon=soon)
    fill(world, "q0", 12)
    for _ in range(3):
        world.broker.checkpointer.checkpoint()
        world.run(10)
    assert retainer.restated - stated >= 300
    assert max(after - before for before, after in pairwise([stated, *at_once])) == SLICE_FACTS


def test_a_backlog_leaves_memory_and_comes_back_when_it_is_read():
    world = World(checkpoint_bytes=64 << 10, tail_bytes=64 << 10).boot()
    world.declare("q")
    for n in range(6000):
        world.publish("", "q", b"%d" % n)
        if n % 500 == 0:
            world.run(0.1)
    world.run(5)
    index = world.queue("q").index
    assert len(index.unstored) < UNSTORED_CHUNKS_MAX and len(index.loaded_chunks()) <= 5 and len(index.stored) == 11
    world.crash()
    world.boot()
    assert len(world.queue("q").index.loaded_chunks()) <= 3
    assert [body for _, body, _ in world.take("q", 6000).got] == [b"%d" % n for n in range(6000)]
    assert world.broker.cold.reads and world.broker.cold.chunks


def test_a_failed_checkpoint_loses_nothing_and_the_next_one_holds_it():
    world = World().boot()
    world.declare("q")
    for n in range(600):
        world.publish("", "q", b"%d" % n)
    world.run()
    world.store.fail_in = 0
    world.broker.checkpointer.checkpoint()
    world.run()
    assert world.broker.checkpointer.failures == 1
    before = world.picture()
    world.checkpoint()
    world.crash()
    world.boot()
    assert world.restored.records == 0 and world.picture() == before


def test_a_checkpoint_waits_until_the_log_is_committed_past_it():
    world = World().boot()
    world.declare("q")
    world.run()
    world.publish("", "q")
    world.broker.checkpointer.checkpoint()
    commits = world.store.commits
    committed_at = []
    commit = world.store.commit

    def watched(*changes):
        committed_at.append(world.broker.log.committed)
        commit(*changes)

    world.store.commit = watched
    world.run()
    assert world.store.commits == commits + 1 and read_stamp(world.store).offset <= committed_at[0]


def test_a_queue_whose_units_are_all_gone_goes_on_with_its_offsets():
    world = World().boot()
    world.declare("quiet")
    for _ in range(5):
        world.publish("", "quiet")
    world.run()
    for offset, _, _ in world.take("quiet", 5).got:
        world.queue("quiet").acknowledge(offset)
    world.declare("q")
    fill(world, "q", 4)
    world.checkpoint()
    world.run(5)
    world.crash(state_lost=True)
    world.boot()
    quiet = world.queue("quiet")
    assert (quiet.index.end, quiet.cursor.floor, quiet.ready) == (5, 5, 0)
    world.publish("", "quiet", b"six")
    world.run()
    assert world.take("quiet", 1).got == [(5, b"six", False)]


def test_full_chunks_in_memory_ask_for_a_checkpoint_whatever_the_log(monkeypatch):
    monkeypatch.setattr(checkpoint, "UNSTORED_CHUNKS_MAX", 3)
    monkeypatch.setattr(checkpoint, "LOOK_BYTES", 10_000)
    world = World(checkpoint_seconds=86400).boot()
    world.declare("q")
    for n in range(512 * 3 + 100):
        world.publish("", "q")
        if n % 100 == 0:
            world.run(0.1)
    world.run()
    assert world.broker.checkpointer.checkpoints == 1 and len(world.queue("q").index.stored) == 3


def test_a_store_that_fails_is_not_tried_in_every_turn(monkeypatch):
    monkeypatch.setattr(checkpoint, "LOOK_BYTES", 1 << 20)
    world = World(checkpoint_bytes=64 << 10, checkpoint_seconds=86400).boot()
    world.declare("q")
    commit, world.store.commit = world.store.commit, lambda *changes: (_ for _ in ()).throw(OSError("full"))
    for _ in range(50):
        world.publish("", "q", FILLER)
        world.run(0.1)
    assert world.broker.checkpointer.failures == 1
    world.store.commit = commit
    world.checkpoint()


def test_a_chunk_that_is_settled_before_it_was_stored_leaves_no_row():
    world = World().boot()
    world.declare("q")
    for _ in range(100):
        world.publish("", "q")
    world.run()
    world.checkpoint()
    assert len(world.store.rows("chunks")) == 1
    for _ in range(1000):
        world.publish("", "q")
    world.run()
    for offset, _, _ in world.take("q", 1100).got:
        world.queue("q").acknowledge(offset)
    world.checkpoint()
    world.checkpoint()
    assert world.store.rows("chunks") == []
