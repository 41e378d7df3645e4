"""A message that moves from queue to queue is in exactly one of them, whenever the broker dies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.message import Message
from core.publish import AT_COMMIT, UNROUTABLE
from tests.core.queue.bench import bytes_held
from tests.core.state.world import World, appended


@pytest.fixture
def world():
    world = World().boot()
    world.declare("a")
    world.declare("b")
    world.declare("t", durable=False)
    world.run()
    return world


def move(world, source, offset, *targets, header=b"", body=b"moved"):
    """Move a message as its queue's owner would; return what the publisher said."""
    route = world.vhost.router.route(world.vhost.router.default, targets[0].encode(), None) if targets else None
    if len(targets) > 1:
        world.topology.declare_exchange(world.vhost, "f", "fanout", durable=True)
        for target in targets:
            world.bind(target, "f", "")
        route = world.vhost.router.route(world.vhost.router.exchanges["f"], b"", None)
    elif not targets:
        route = world.vhost.router.route(world.vhost.router.default, b"nowhere", None)
    message = Message((b"/", b"dlx", b"k"), header, body, len(body), True)
    return world.broker.publisher.move(message, route, world.queue(source), offset)


def held(world, name):
    """(bodies that are there, how many offsets are done)."""
    queue = world.queue(name)
    done = sum(queue.cursor.is_done(offset) for offset in range(queue.end()))
    return [body for _, body, _ in world.take(name, 100).got], done


def test_a_move_is_one_record_that_places_and_settles(world):
    world.publish("", "a", b"first")
    world.take("a", 1)
    before = appended(world)
    assert move(world, "a", 0, "b") == AT_COMMIT
    world.run()
    assert appended(world) == before + 1, "no done record beside it"
    world.crash(state_lost=True)
    world.boot()
    assert held(world, "a") == ([], 1)
    assert held(world, "b") == ([b"moved"], 0)


def test_a_move_that_was_not_committed_leaves_the_message_where_it_was(world):
    world.publish("", "a", b"first")
    world.take("a", 1)
    move(world, "a", 0, "b")
    world.crash()
    world.boot()
    assert held(world, "a") == ([b"first"], 0)
    assert held(world, "b") == ([], 0)


@pytest.mark.parametrize("targets", [(), ("t",)])
def test_a_move_into_no_durable_queue_settles_by_a_done_record(world, targets):
    world.publish("", "a", b"first")
    world.take("a", 1)
    assert (move(world, "a", 0, *targets) == UNROUTABLE) == (not targets)
    assert [body for _, body, _ in world.take("t", 9).got] == [b"moved"] * len(targets)
    world.run()
    world.crash()
    world.boot()
    assert held(world, "a") == ([], 1)


def test_a_move_from_a_transient_queue_settles_nothing_in_the_log(world):
    world.publish("", "t", b"first")
    world.take("t", 1)
    move(world, "t", 0, "b")
    assert bytes_held(world.queue("t")) == 0
    world.run()
    world.crash()
    world.boot()
    assert held(world, "b") == ([b"moved"], 0)


def test_a_move_may_lead_to_several_queues_and_back_to_its_own(world):
    world.publish("", "a", b"first")
    world.take("a", 1)
    move(world, "a", 0, "a", "b", "t")
    world.run()
    world.crash()
    world.boot()
    assert held(world, "a") == ([b"moved"], 1)
    assert held(world, "b") == ([b"moved"], 0)


def test_a_move_out_of_order_is_kept_by_a_checkpoint(world):
    for number in range(4):
        world.publish("", "a", b"%d" % number)
    world.take("a", 4)
    move(world, "a", 2, "b")
    world.checkpoint()
    world.crash()
    world.boot()
    assert held(world, "a") == ([b"0", b"1", b"3"], 1)
    assert held(world, "b") == ([b"moved"], 0)


def test_a_header_block_too_big_for_the_properties_moves_with_its_message(world):
    world.publish("", "a", b"first")
    world.take("a", 1)
    header = b"\x20\x00" + bytes(40_000)
    log = world.broker.log
    move(world, "a", 0, "b", header=header, body=b"b" * 3000)
    world.run()
    index = world.queue("b").index
    assert index.find(0) == 1
    seen = []
    world.broker.reader.fetch([(index.log_offset, index.size)], seen.append)
    world.run()
    assert log.committed == log.appended and seen[0][0].header == header
    world.crash(state_lost=True)
    world.boot()
    assert held(world, "a") == ([], 1)
    assert held(world, "b") == ([b"b" * 3000], 0)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.sampled_from(["publish", "move", "run", "checkpoint", "crash", "lost"]), max_size=30))
def test_each_message_is_in_exactly_one_queue_whatever_happens(steps):
    """Bodies are told apart by number; a crash may take what was not committed back to where it was."""
    world = World().boot()
    world.declare("a")
    world.declare("b")
    world.run()
    count = 0
    for step in (*steps, "run", "lost"):
        if step == "publish":
            world.publish("", "a", b"%d" % count)
            world.run()
            count += 1
        elif step == "move":
            taken = world.take("a", 1).got
            for offset, body, _ in taken:
                move(world, "a", offset, "b", body=body)
        elif step == "run":
            world.run()
        elif step == "checkpoint":
            world.checkpoint()
        else:
            world.crash(state_lost=step == "lost")
            world.boot()
    left, moved = held(world, "a")[0], held(world, "b")[0]
    assert sorted(map(int, left + moved)) == list(range(count))
