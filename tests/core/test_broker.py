"""The parts together: start, run, stop."""

import pytest

from core.disk.store import Store
from core.errors import LogCorrupt, NotAllowed
from core.state.snapshot import read_stamp
from tests.core.state.world import SEGMENT_BYTES, World


def test_an_empty_directory_gives_one_virtual_host_and_an_idle_broker():
    world = World().boot()
    assert list(world.broker.model.vhosts) == ["/"] and world.broker.virtual_host("/").name == "/"
    with pytest.raises(NotAllowed, match="^vhost none not found$"):
        world.broker.virtual_host("none")
    world.run(61)
    assert world.broker.checkpointer.checkpoints == 1
    appended = world.broker.log.appended
    world.run(10_000)
    assert (world.broker.checkpointer.checkpoints, world.broker.log.appended) == (1, appended)


def test_names_are_random_and_of_rabbitmqs_form():
    world = World().boot()
    names = {world.broker.random_name("amq.ctag-") for _ in range(100)}
    assert len(names) == 100 and {len(name) for name in names} == {len("amq.ctag-") + 22}


def test_a_checkpoint_comes_after_the_configured_time_and_covers_what_changed():
    world = World(checkpoint_seconds=5).boot()
    world.declare("q")
    world.publish("", "q")
    world.run(4)
    assert world.broker.checkpointer.checkpoints == 0
    world.run(2)
    assert world.broker.checkpointer.checkpoints == 1 and not world.broker.checkpointer.dirty
    assert read_stamp(world.store).offset == world.broker.log.appended


def test_a_clean_stop_is_marked_and_the_mark_is_gone_as_soon_as_it_runs_again():
    world = World().boot()
    world.declare("q")
    world.publish("", "q")
    world.stop()
    assert read_stamp(world.store).clean
    world.boot(clean=True)
    assert not read_stamp(world.store).clean and world.restored.records == 0
    assert not world.broker.checkpointer.dirty and world.queue("q").ready == 1


def test_everything_works_on_the_real_store(tmp_path):
    world = World(store=Store(tmp_path / "state"), checkpoint_bytes=64 << 10, tail_bytes=64 << 10).boot()
    world.declare("q")
    for n in range(3000):
        world.publish("", "q", b"%d" % n)
        if n % 400 == 0:
            world.run(0.2)
    world.run()
    for offset, _, _ in world.take("q", 1500).got[::2]:
        world.queue("q").acknowledge(offset)
    world.run()
    for end in (world.crash, world.stop, world.crash):
        before = world.picture()
        end()
        world.boot()
        assert world.picture() == before
    assert [body for _, body, _ in world.take("q", 5000).got] == [b"%d" % n for n in range(3000) if n >= 1500 or n % 2]


def test_a_damaged_store_is_rebuilt_from_the_log(caplog):
    world = World().boot()
    world.declare("q")
    world.publish("", "q")
    world.run()
    world.checkpoint()
    before = world.picture()
    world.crash()
    world.store.commit({"queues": [(key, b"\xc1") for key, _ in world.store.rows("queues")]}, {}, {})
    world.boot()
    assert world.picture() == before
    assert "state is damaged, rebuilding it from the log" in [record.getMessage() for record in caplog.records]


def test_a_store_ahead_of_the_log_means_that_the_log_lost_something():
    world = World().boot()
    world.declare("q")
    world.run()
    world.checkpoint()
    stamp = read_stamp(world.store)
    world.crash()
    stamp.offset += 10 * SEGMENT_BYTES
    import msgspec

    world.store.commit({"meta": [(b"stamp", msgspec.msgpack.encode(stamp))]}, {}, {})
    with pytest.raises(LogCorrupt, match="the state reflects the log up to"):
        world.boot()


def test_messages_that_expired_while_nobody_looked_go_by_their_time():
    world = World().boot()
    world.declare("q", arguments={"x-message-ttl": 10_000})
    world.publish("", "q")
    world.run(5)
    world.crash()
    world.boot()
    assert world.queue("q").ready == 1
    world.run(6)
    assert world.queue("q").ready == 0 and world.queue("q").expired == 1
    world.run()
    world.crash()
    world.boot()
    assert world.queue("q").ready == 0 and world.queue("q").cursor.floor == 1


def test_messages_expire_although_their_chunks_are_not_in_memory():
    world = World(checkpoint_bytes=64 << 10, tail_bytes=64 << 10).boot()
    world.declare("q", arguments={"x-message-ttl": 100_000})
    for n in range(5000):
        world.publish("", "q")
        if n % 500 == 0:
            world.run(0.1)
    world.run(5)
    assert len(world.queue("q").index.loaded_chunks()) < 8
    world.run(101)
    assert world.queue("q").ready == 0 and world.queue("q").expired == 5000


def test_messages_that_came_back_expire_although_their_chunks_are_not_in_memory():
    world = World().boot()
    queue = world.declare("q", arguments={"x-message-ttl": 2000})
    for _ in range(7 * 512):
        world.publish("", "q")
    world.run(0.1)
    slow = world.take("q", 600)  # it holds what is in front of them
    others = world.take("q", 7 * 512)
    world.checkpoint()
    world.run(2)
    assert len(slow.got) + len(others.got) == queue.unacked == 7 * 512 and not queue.index.loaded(600)
    for offset, _, _ in others.got:
        queue.give_back(offset)
    world.run(0.5)
    assert (queue.ready, queue.expired, queue.unacked) == (0, 7 * 512 - 600, 600)
