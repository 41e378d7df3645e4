"""The state comes back from checkpoint and log, from the log alone, and after any crash."""

import pytest

from core.disk.files import SegmentFiles
from core.errors import StoreRefused
from core.log.mend import Filler
from tests.core.log.newer import NEWER
from tests.core.state.world import SEGMENT_BYTES, World


@pytest.fixture
def world():
    return World().boot()


def test_what_was_declared_bound_and_published_is_back_after_a_crash(world):
    world.declare("q", arguments={"x-message-ttl": 60000})
    world.topology.declare_exchange(
        world.vhost, "x", "topic", durable=True, arguments={"alternate-exchange": "amq.fanout"}
    )
    world.bind("q", "x", "a.*")
    world.publish("x", "a.b", b"one")
    world.run()
    before = world.picture()
    world.crash()
    world.boot()
    assert world.picture() == before
    assert world.queue("q").ready == 1 and world.queue("q").ttl_ms == 60000
    assert world.take("q", 1).got == [(0, b"one", True)]


@pytest.mark.parametrize("state_lost", [False, True])
def test_a_checkpoint_and_the_log_behind_it_give_the_same_as_the_log_alone(world, state_lost):
    world.declare("q")
    for n in range(700):
        world.publish("", "q", b"%d" % n)
    world.run()
    taker = world.take("q", 600)
    for offset, _, _ in taker.got[:550]:
        world.queue("q").acknowledge(offset)
    world.checkpoint()
    world.publish("", "q", b"behind")
    world.queue("q").acknowledge(taker.got[560][0])
    world.run()
    before = world.picture()
    world.crash(state_lost)
    world.boot()
    assert world.picture() == before
    assert world.queue("q").ready == 150
    assert [body for _, body, _ in world.take("q", 1000).got] == [
        *(b"%d" % n for n in range(550, 700) if n != 560),
        b"behind",
    ]


def test_after_a_clean_stop_only_what_was_delivered_counts_as_redelivered(world):
    world.declare("q")
    for body in (b"a", b"b", b"c"):
        world.publish("", "q", body)
    world.run()
    world.take("q", 2)
    world.stop()
    world.boot(clean=True)
    assert world.restored.records == 0
    assert world.take("q", 3).got == [(0, b"a", True), (1, b"b", True), (2, b"c", False)]
    world.crash()
    world.boot()
    assert [redelivered for _, _, redelivered in world.take("q", 3).got] == [True] * 3


def test_a_clean_stop_remembers_deliveries_that_no_ack_followed_and_doubts_from_before(world):
    world.declare("q")
    for body in (b"a", b"b", b"c"):
        world.publish("", "q", body)
    world.run()
    world.checkpoint()
    world.take("q", 1)
    world.stop()
    world.boot(clean=True)
    assert [redelivered for _, _, redelivered in world.take("q", 3).got] == [True, False, False]
    world.crash()
    world.boot()
    world.stop()
    world.boot(clean=True)
    assert [redelivered for _, _, redelivered in world.take("q", 3).got] == [True] * 3


def test_transient_queues_and_exchanges_do_not_come_back(world):
    world.declare("t", durable=False)
    world.topology.declare_exchange(world.vhost, "tx", "fanout", durable=False)
    world.declare("d")
    world.bind("d", "tx", "")
    world.bind("t", "amq.fanout", "")
    world.run()
    world.stop()
    world.boot()
    assert list(world.vhost.queues) == ["d"] and "tx" not in world.vhost.router.exchanges
    assert world.vhost.router.bindings_to(world.queue("d")) == []


def test_a_deleted_queue_stays_deleted_and_its_id_is_not_given_again(world):
    old = world.declare("q").id
    world.publish("", "q")
    world.checkpoint()
    world.topology.delete_queue(world.vhost, "q", None)
    world.checkpoint()
    assert world.store.rows("queues") == [] and world.store.rows("chunks") == []
    world.crash(state_lost=True)
    world.boot()
    assert world.vhost.queues == {} and world.declare("q").id > old
    world.run()
    world.crash(state_lost=True)
    world.boot()
    assert world.queue("q").ready == 0


def test_a_replay_over_what_a_checkpoint_holds_changes_nothing(world):
    world.declare("q")
    for n in range(600):
        world.publish("", "q", b"%d" % n)
    world.run()
    world.checkpoint()
    old = world.store.rows("meta")
    for n in range(600):
        world.publish("", "q", b"%d" % n)
    for offset, _, _ in world.take("q", 700).got[::2]:
        world.queue("q").acknowledge(offset)
    world.declare("other")
    world.checkpoint()
    before = world.picture()
    assert world.store.rows("meta") != old
    world.store.commit({"meta": old}, {}, {})  # as if slices of that checkpoint had reflected more than its stamp
    world.crash()
    world.boot()
    assert world.restored.records > 600 and world.picture() == before
    assert len(world.take("q", 2000).got) == 850


@pytest.mark.parametrize("state_lost", [False, True])
def test_a_record_of_a_kind_that_only_a_newer_version_knows_refuses_the_start(world, state_lost):
    world.declare("q")
    world.publish("", "q", b"kept")
    world.run()
    world.checkpoint()
    end = world.broker.log.appended
    world.crash(state_lost)
    lost = Filler(end, 300, False).bytes()
    files = SegmentFiles("commitlog", SEGMENT_BYTES, ops=world.disk)
    files.write_and_sync([(end, [NEWER["topic"](lost)])], True)
    with pytest.raises(StoreRefused, match=f"log offset {end} is of a kind .* start the version that wrote it"):
        world.boot()
    files.write_and_sync([(end, [lost])], True)
    world.boot()
    assert world.take("q", 1).got[0][1] == b"kept"
