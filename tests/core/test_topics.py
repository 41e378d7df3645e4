"""Native topics: offsets dense and never used twice, shown at the commit, whatever stops and comes again."""

from random import Random

import pytest

from core.errors import AccessRefused, LimitReached, NotFound, PreconditionFailed
from core.native import Native, tags_code
from core.state.records import TopicConfig
from tests.core.state.world import SEGMENT_BYTES, World

STATES = pytest.mark.parametrize("state_lost", [False, True])


@pytest.fixture
def world():
    return World().boot()


def put(world, name=b"T", queues=2, **fields):
    return world.broker.topics.put(TopicConfig(name=name, read_queues=queues, write_queues=queues, **fields))


def send(world, name=b"T", queue_id=0, body=b"x", properties=b""):
    world.broker.clock.tick()
    message = Native(name, queue_id, body, properties)
    message.tags_code = tags_code(name, properties, 0)
    return world.broker.topics.append(world.broker.topics.find(name), message)


def extents(world, name=b"T"):
    return [(queue.min_offset, queue.max_offset) for queue in world.broker.topics.find(name).queues]


def bodies(world, name=b"T", queue_id=0):
    """What the queue's units point at, read from the disk."""
    queue = world.broker.topics.find(name).queues[queue_id]
    got = []
    for offset in range(queue.min_offset, queue.max_offset):
        while queue.index.find(offset) < 0:
            number = offset // 512
            world.broker.cold.load(queue, number, lambda: None)
            world.run(0.01)
        if queue.index.find(offset) == 1:
            world.broker.log.engine.read(queue.index.log_offset, queue.index.size, got.append)
            world.run(0.01)
    return [body_of(record) for record in got]


def body_of(record):
    return record[88 : 88 + int.from_bytes(record[84:88], "big")]


def test_offsets_are_dense_per_queue_and_shown_when_they_are_committed(world):
    topic, woken = put(world), []
    assert [send(world, queue_id=number) for number in (0, 0, 1, 0)] == [0, 1, 0, 2]
    queue = topic.queues[0]
    queue.when_more(lambda: woken.append(queue.max_offset))
    queue.when_more(never := lambda: woken.append("never"))
    queue.forget(never)
    assert (queue.min_offset, queue.max_offset, queue.end) == (0, 0, 3) and not woken
    world.run()
    assert extents(world) == [(0, 3), (0, 1)] and woken == [3]
    send(world)
    world.run()
    assert woken == [3] and queue.max_offset == 4


def test_a_message_learns_where_it_is(world):
    put(world)
    send(world)
    message = Native(b"T", 0, b"body", b"KEYS\x01k\x02")
    world.broker.topics.append(world.broker.topics.find(b"T"), message)
    assert (message.queue_offset, message.store_ms) == (1, world.broker.clock.ms)
    assert world.broker.tail.get(message.offset)[88:92] == b"body"
    assert len(world.broker.tail.get(message.offset)) == message.record_size


@STATES
def test_what_was_committed_is_there_after_a_crash_and_offsets_go_on(world, state_lost):
    put(world, attributes={"message.type": "NORMAL"}, perm=4)
    for number in range(1200):
        send(world, queue_id=number % 2, body=b"%d" % number)
        if number == 700:
            world.run()
            world.checkpoint()
    world.run()
    send(world, body=b"lost")
    world.crash(state_lost)
    world.boot()
    assert extents(world) == [(0, 600), (0, 600)]
    assert world.broker.topics.find(b"T").config.attributes == {"message.type": "NORMAL"}
    assert world.broker.topics.find(b"T").config.perm == 4
    assert send(world, body=b"next") == 600
    world.run()
    assert bodies(world) == [b"%d" % number for number in range(0, 1200, 2)] + [b"next"]


@STATES
def test_a_clean_stop_keeps_all_without_replaying_any(world, state_lost):
    put(world)
    for number in range(1500):
        send(world, body=b"%d" % number)
    world.run()
    world.stop(state_lost)
    world.boot(clean=True)
    assert extents(world)[0] == (0, 1500)
    assert bool(world.restored.records) == state_lost
    assert bodies(world) == [b"%d" % number for number in range(1500)]


@STATES
@pytest.mark.parametrize("checkpoint", [None, "before", "between", "after"])
def test_a_topic_made_anew_begins_at_0_and_has_nothing_of_the_old_one(world, checkpoint, state_lost):
    put(world)
    for _ in range(600):
        send(world, body=b"old")
    world.run()
    if checkpoint == "before":
        world.checkpoint()
    world.broker.topics.delete(b"T")
    assert world.broker.topics.find(b"T") is None
    if checkpoint == "between":
        world.checkpoint()
    put(world)
    assert send(world, body=b"new") == 0
    world.run()
    if checkpoint == "after":
        world.checkpoint()
    world.crash(state_lost)
    world.boot()
    assert extents(world) == [(0, 1), (0, 0)] and bodies(world) == [b"new"]
    world.checkpoint()
    world.crash()
    world.boot()
    assert extents(world) == [(0, 1), (0, 0)] and bodies(world) == [b"new"]
    rows = {key[:8] for table in ("queues", "chunks") for key, _ in world.store.rows(table) if key[0] >= 0x40}
    assert len(rows) == 1  # the old one's went


@STATES
def test_a_deleted_topic_stays_deleted_and_wakes_who_waits(world, state_lost):
    topic, woken = put(world), []
    send(world)
    world.run()
    queue = topic.queues[0]
    queue.when_more(lambda: woken.append(queue.deleted))
    world.broker.topics.delete(b"T")
    assert woken == [True]
    world.run()
    world.crash(state_lost)
    world.boot()
    assert world.broker.topics.all() == []
    with pytest.raises(NotFound, match="no topic 'T'"):
        world.broker.topics.delete(b"T")


@STATES
def test_a_topic_with_fewer_queues_keeps_what_the_others_hold(world, state_lost):
    put(world, queues=4)
    send(world, queue_id=2)
    world.run()
    put(world, queues=1)
    world.run()
    assert len(world.broker.topics.find(b"T").queues) == 3
    world.crash(state_lost)
    world.boot()
    assert extents(world) == [(0, 0), (0, 0), (0, 1)]
    put(world, queues=6)
    assert len(world.broker.topics.find(b"T").queues) == 6
    assert send(world, queue_id=2) == 1
    with pytest.raises(IndexError):
        send(world, queue_id=6)


def test_the_version_grows_with_every_change_and_over_restarts(world):
    seen, told = [], []
    world.broker.topics.changed.append(told.append)
    for work in (lambda: put(world), lambda: put(world, queues=3), lambda: world.broker.topics.delete(b"T")):
        work()
        seen.append(world.broker.topics.version.counter)
    assert seen == [1, 2, 3] and told == [b"T"] * 3
    ms = world.broker.topics.version.ms
    world.run()
    for state_lost in (True, False):
        world.checkpoint()
        world.crash(state_lost)
        world.boot()
        assert (world.broker.topics.version.counter, world.broker.topics.version.ms) == (3, ms)


@pytest.mark.parametrize(
    ("name", "queues", "error"),
    [(b"CORDUROY_STATE", 1, AccessRefused), (b"", 1, PreconditionFailed), (b"x" * 256, 1, PreconditionFailed),
     (b"T", -1, PreconditionFailed), (b"T", 1 << 17, LimitReached)],
)  # fmt: skip
def test_what_cannot_be_is_refused(world, name, queues, error):
    with pytest.raises(error):
        put(world, name, queues)


def test_a_queue_costs_nothing_before_it_is_used(world):
    topic = put(world, queues=1000)
    assert len(topic.queues) == 1000 and not topic.queues.made


@STATES
def test_offsets_are_not_used_again_when_all_messages_have_gone_with_their_segments(state_lost):
    world = World(keep_hours=0).boot()
    put(world)
    for _ in range(300):
        send(world, body=b"x" * 400)
        world.run(0.01)
    for number in range(6):  # what lies behind is of others
        world.declare(f"q{number}")
        for _ in range(200):
            world.publish("", f"q{number}", b"y" * 300)
        world.run()
        world.checkpoint()
        world.run()
    assert world.broker.retention.first > SEGMENT_BYTES
    begin, end = extents(world)[0]
    assert end == 300 and begin > 0
    world.crash(state_lost)
    world.boot()
    world.run()
    assert extents(world)[0] == (begin, 300)
    assert send(world) == 300


def test_any_history_gives_back_what_was_committed():
    for seed in range(30):
        history(Random(seed), World(seed).boot())


def history(random, world):
    """Appends, restarts and deletions by chance, against a plain model: topic -> [messages of each queue]."""
    model, names, number = {}, [b"A", b"B"], 0
    for _ in range(60):
        name = random.choice(names)
        step = random.random()
        if step < 0.6 and name in model:
            for _ in range(random.randrange(1, 120)):
                queue_id, number = random.randrange(2), number + 1
                assert send(world, name, queue_id, b"%d" % number) == len(model[name][queue_id])
                model[name][queue_id].append(b"%d" % number)
        elif step < 0.72:
            if name in model:
                world.broker.topics.delete(name)
                del model[name]
            else:
                put(world, name)
                model[name] = [[], []]
        elif step < 0.85:
            world.checkpoint()
        else:
            world.run()
            world.crash(random.random() < 0.3)
            world.boot()
            assert {topic.config.name for topic in world.broker.topics.all()} == set(model)
            for name in model:
                assert extents(world, name) == [(0, len(queue)) for queue in model[name]]
    world.run()
    for name in model:
        assert [bodies(world, name, queue_id) for queue_id in (0, 1)] == model[name]
