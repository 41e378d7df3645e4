"""A restart knows which messages expire before one in front of them, from the checkpoint and from the log."""

import pytest

from tests.core.state.world import World

LIVES = [None, 3000, 9000, None, 3000]
PRIORITIES = [b"", b"\x08\x00\x03", b"\x08\x00\x01", b"\x08\x00\x02", b""]  # 0 3 1 2 0


def bodies(world, name):
    return [int(body) for _, body, _ in world.take(name, 10_000).got]


def fill(world, lives):
    for number, ms in enumerate(lives):
        world.publish("", "q", b"%d" % number, ttl_ms=ms, header=PRIORITIES[number % 5])


@pytest.fixture(params=["log", "checkpoint", "checkpoint and log", "state lost", "stop"])
def again(request):
    """again(world, more): what is to be in the log is checkpointed, or not, and the broker comes back."""

    def restart(world, more):
        if request.param.startswith("checkpoint"):
            world.checkpoint()
        more()
        world.run(0.5)
        if request.param == "stop":
            world.stop()
        else:
            world.crash(state_lost=request.param == "state lost")
        return world.boot(clean=request.param == "stop")

    return restart


@pytest.mark.parametrize("arguments", [{}, {"x-queue-type": "quorum"}, {"x-max-priority": 3}], ids=str)
def test_what_expired_stays_gone_and_the_rest_goes_at_its_time(again, arguments):
    world = World().boot()
    world.declare("q", arguments=arguments)
    fill(world, LIVES)
    world.run(4)
    assert world.queue("q").ready == 3
    world = again(world, lambda: world.publish("", "q", b"5", ttl_ms=5000))
    queue = world.queue("q")
    assert queue.ready == 4
    world.run(3.4)
    assert queue.ready == 4
    world.run(3)
    assert queue.ready == 2 and queue.expired == 2
    assert sorted(bodies(world, "q")) == [0, 3]


def test_what_expired_while_the_broker_was_down_goes_at_its_start(again):
    world = World().boot()
    world.declare("q")
    fill(world, LIVES)
    world = again(world, lambda: world.run(0.1))
    world.crash()
    world.now += 5
    world.boot()
    world.run(0.01)
    assert world.queue("q").ready == 3
    assert bodies(world, "q") == [0, 2, 3]


def test_only_the_chunks_with_such_messages_are_read_at_a_start():
    world = World(checkpoint_bytes=64 << 10, tail_bytes=64 << 10).boot()
    world.declare("q")
    world.publish("", "q", b"stays", ttl_ms=1 << 40)
    for number in range(6000):
        world.publish("", "q", b"%d" % number, ttl_ms=50_000 if number == 3000 else 1 << 40)
        if number % 500 == 0:
            world.run(0.1)
    world.checkpoint()
    world.crash()
    read = []
    get = world.store.get
    world.store.get = lambda table, key: read.append((table, key)) or get(table, key)
    world.boot()
    chunks = [int.from_bytes(key[8:], "big") for table, key in read if table == "chunks"]
    assert chunks.count(3001 // 512) == 1 and len(chunks) <= 3, "it, and both ends"
    world.run(60)
    assert world.queue("q").ready == 6000 and world.queue("q").cursor.is_done(3001)


def test_expired_ones_far_from_memory_become_dead_letters():
    world = World(checkpoint_bytes=64 << 10, tail_bytes=64 << 10).boot()
    to = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    world.declare("q", arguments=to)
    world.declare("dead")
    world.publish("", "q", b"stays")
    for number in range(5000):
        due_ms = 30_000 + 10 * (5000 - number) - int(world.now * 1000)
        world.publish("", "q", b"%d" % number, ttl_ms=due_ms if number % 5 else None)
        if number % 500 == 0:
            world.run(0.1)
    world.checkpoint()
    assert len(world.queue("q").index.loaded_chunks()) < 8
    world.run(120)
    assert world.queue("q").burying == 0 and world.queue("q").ready == 1001
    assert bodies(world, "dead") == [number for number in range(4999, 0, -1) if number % 5]


def test_a_transient_queue_keeps_the_times_that_a_policy_gave_before():
    world = World().boot()
    for name, durable in (("d", True), ("t", False)):
        world.declare(name, durable=durable)
    queues = [world.queue(name) for name in "dt"]
    for ttl_ms in (1000, 9000, 3000):
        for queue in queues:
            queue.ttl_ms = ttl_ms
            world.publish("", queue.name)
    ready = []
    for _ in range(5):
        world.run(2)
        ready.append([queue.ready for queue in queues])
    assert ready == [[2, 2], [1, 1], [1, 1], [1, 1], [0, 0]]
