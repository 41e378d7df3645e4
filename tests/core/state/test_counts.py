"""How often messages of a quorum queue came back: kept in memory for those that did, and in the log for good."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.queue.counts import Counts
from core.queue.cursor import Cursor
from core.state.done import DoneWriter, read_done
from protocols.amqp.properties import decode_properties
from tests.core.state.world import World, appended

QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture
def world():
    return World().boot()


def quorum(world, name="q", **arguments):
    return world.declare(name, arguments=QUORUM | arguments)


def give_back(world, name, count=1, times=1):
    """Let the first `count` messages be taken and come back."""
    for _ in range(times):
        for offset, _, _ in world.take(name, count).got:
            world.queue(name).give_back(offset)


def counts(world, name="q"):
    return {offset: count for offset, count, _ in world.queue(name).counts.rows()}


@pytest.mark.parametrize("state_lost", [False, True])
@pytest.mark.parametrize("checkpoints", [(), (1,), (1, 2)])
def test_counts_come_back_from_checkpoint_and_log(world, checkpoints, state_lost):
    quorum(world)
    for number in range(600):
        world.publish("", "q", b"%d" % number)
    give_back(world, "q", 3, times=2)
    if 1 in checkpoints:
        world.checkpoint()
    give_back(world, "q", 2)
    if 2 in checkpoints:
        world.checkpoint()
    world.run()
    world.crash(state_lost)
    world.boot()
    assert counts(world) == {0: 3, 1: 3, 2: 2}
    give_back(world, "q")
    assert counts(world) == {0: 4, 1: 3, 2: 2}


def test_a_count_that_was_not_committed_is_lost_with_its_batch_and_the_message_is_not(world):
    quorum(world)
    world.publish("", "q", b"x")
    give_back(world, "q")
    world.run()
    world.queue("q").give_back(world.take("q", 1).got[0][0])
    world.crash()
    world.boot()
    assert counts(world) == {0: 1} and world.queue("q").ready == 1


def test_a_batch_of_returns_is_one_record_and_none_without_returns(world):
    quorum(world)
    for _ in range(50):
        world.publish("", "q")
    world.run()
    before = appended(world)
    taken = world.take("q", 50).got
    world.run()
    assert appended(world) == before
    for offset, _, _ in taken:
        world.queue("q").give_back(offset)
    world.run()
    assert appended(world) == before + 1


@pytest.mark.parametrize("end", ["ack", "reject", "purge", "move", "expire"])
def test_what_is_settled_is_counted_no_more(world, end):
    arguments = {"x-message-ttl": 60_000} if end == "expire" else {}
    if end == "move":
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
        world.declare("dead")
    queue = quorum(world, **arguments)
    world.publish("", "q")
    give_back(world, "q", times=2)
    if end == "purge":
        queue.purge()
    elif end == "expire":
        world.run(70)
    else:
        offset = world.take("q", 1).got[0][0]
        queue.acknowledge(offset) if end == "ack" else queue.reject(offset)
    world.run()
    assert counts(world) == {}
    world.crash(state_lost=True)
    world.boot()
    assert counts(world) == {} and world.queue("q").ready == 0


@pytest.mark.parametrize(("out", "left"), [(0, {}), (1, {0: 1})])
def test_a_purge_after_a_restart_forgets_and_spares_what_is_out(world, out, left):
    quorum(world)
    for _ in range(3):
        world.publish("", "q")
    give_back(world, "q", 3)
    world.run()
    world.crash()
    world.boot()
    if out:
        world.take("q", out)
    world.queue("q").purge()
    assert counts(world) == left


def test_what_came_back_too_often_goes_and_its_letter_says_why(world):
    quorum(world, **{"x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    world.declare("dead")
    world.publish("", "q", b"poison")
    give_back(world, "q", times=2)
    assert world.queue("q").ready == 1
    give_back(world, "q")
    world.run()
    assert (world.queue("q").ready, world.queue("q").unacked, counts(world)) == (0, 0, {})
    assert world.broker.dead_letters.moved["delivery_limit"] == 1
    world.crash(state_lost=True)
    world.boot()
    assert world.queue("q").ready == 0
    index, seen = world.queue("dead").index, []
    assert index.find(0) == 1
    world.broker.reader.fetch([(index.log_offset, index.size)], seen.append)
    world.run()
    assert decode_properties(seen[0][0].header)["headers"]["x-death"][0]["reason"] == "delivery_limit"


def test_a_letter_that_a_crash_stopped_comes_back_with_its_count(world):
    quorum(world, **{"x-delivery-limit": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    world.declare("dead")
    world.publish("", "q", b"poison")
    give_back(world, "q")
    world.run()
    taken = world.take("q", 1).got
    world.queue("q").give_back(taken[0][0])
    world.crash()
    world.boot()
    assert (world.queue("q").ready, counts(world)) == (1, {0: 1})


def test_a_deleted_queue_takes_nothing_back(world):
    queue = quorum(world)
    world.publish("", "q")
    taken = world.take("q", 1).got
    world.topology.delete_queue(world.vhost, "q", None)
    queue.give_back(taken[0][0])
    world.run()
    assert len(queue.counts) == 0 and queue.unacked == 0


def test_the_bytes_are_those_of_the_specification():
    writer = DoneWriter()
    writer.add(5, [(0, 3)])
    writer.add_counts(5, [(3, 1, 0), (300, 200, 7)])
    (body,) = writer.take()
    assert body == bytes((5, 1, 0, 3)) + bytes((5, 2, 3, 0, 1, 0, 0xA9, 0x02, 0, 0xC8, 0x01, 7))
    assert read_done(body) == [(5, [(0, 3)], []), (5, [], [(3, 1, 0), (300, 200, 7)])]


TIMES_AND_DUE = st.tuples(st.integers(1, 1 << 61), st.integers(0, 1 << 61))
ROWS = st.dictionaries(st.integers(0, 1 << 61), TIMES_AND_DUE, max_size=300).map(
    lambda rows: [(offset, *row) for offset, row in sorted(rows.items())]
)


@given(st.dictionaries(st.integers(1, 1 << 60), ROWS, max_size=4), st.sampled_from([2900, 4096]))
def test_counts_are_read_back_whatever_the_bound(queues, body_bytes_max):
    writer = DoneWriter(body_bytes_max)
    for queue_id, rows in queues.items():
        writer.add_counts(queue_id, rows)
    found = {}
    for body in writer.take():
        assert 0 < len(body) <= body_bytes_max
        for queue_id, runs, rows in read_done(body):
            assert runs == []
            found.setdefault(queue_id, []).extend(rows)
    assert found == {queue_id: rows for queue_id, rows in queues.items() if rows}


def test_a_replay_keeps_only_what_is_not_settled():
    kept, cursor = Counts(), Cursor()
    for offset in range(100_000):
        kept.put(offset, 1, 0)
        kept.sift(cursor)
        if offset % 10:
            cursor.settle(offset)
        assert len(kept) <= 2 * (offset // 10 + 1) + 1024
    kept.prune(cursor)
    assert len(kept) == 10_000


STEPS = ["publish", "back", "ack", "purge", "run", "checkpoint", "crash", "lost"]


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.sampled_from(STEPS), max_size=25), many=st.integers(1, 3))
def test_counts_are_those_of_a_simple_model_whatever_happens(steps, many):
    world = World().boot()
    quorum(world)
    model = {}
    end = 0
    for step in (*steps, "lost"):
        if step == "publish":
            world.publish("", "q", b"%d" % end)
            model[end] = 0
            end += 1
        elif step == "back":
            for offset, _, _ in world.take("q", many).got:
                world.queue("q").give_back(offset)
                model[offset] += 1
        elif step == "ack":
            for offset, _, _ in world.take("q", many).got[1:]:
                world.queue("q").acknowledge(offset)
                del model[offset]
            for offset in list(model):  # the one that was left out is requeued by its channel's end
                if not world.queue("q").cursor.is_done(offset) and world.queue("q").unacked:
                    world.queue("q").give_back(offset)
                    model[offset] += 1
        elif step == "purge":
            world.queue("q").purge()
            model.clear()
        elif step == "checkpoint":
            world.checkpoint()
        world.run()
        if step in ("crash", "lost"):
            world.crash(state_lost=step == "lost")
            world.boot()
        assert counts(world) == {offset: count for offset, count in model.items() if count}
        assert world.queue("q").ready == len(model)
