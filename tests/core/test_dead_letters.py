"""Dead letters move by one record, in order, whether they are in memory or not (architecture rules 8.1, 8.4)."""

import pytest

from core.queue.index import FOUND
from core.queue.spill import Bounds
from core.state.records import QUEUE
from protocols.amqp.properties import decode_properties
from tests.core.queue.bench import bytes_held
from tests.core.state.world import World, appended


@pytest.fixture
def world():
    return World().boot()


def declare(world, name, exchange="", key="dead", **arguments):
    table = {"x-dead-letter-exchange": exchange, **arguments}
    if key is not None:
        table["x-dead-letter-routing-key"] = key
    return world.declare(name, arguments=table)


def reject(world, name, count):
    """Take so many messages and reject them."""
    queue = world.queue(name)
    for offset, _, _ in world.take(name, count).got:
        queue.reject(offset)


def bodies(world, name):
    return [body.rstrip(b".") for _, body, _ in world.take(name, 10_000).got]


def fill(world, name, count, padding=0):
    for number in range(count):
        world.publish("", name, b"%d" % number + b"." * padding)


def test_a_rejected_message_moves_and_nothing_else_is_written(world):
    declare(world, "q")
    world.declare("dead")
    fill(world, "q", 3)
    world.run()
    before = appended(world)
    reject(world, "q", 2)
    world.run()
    assert appended(world) == before + 2
    assert bodies(world, "dead") == [b"0", b"1"] and world.queue("q").ready == 1
    assert world.queue("q").burying == 0 and world.broker.dead_letters.moved["rejected"] == 2


def test_a_letter_under_way_is_neither_ready_nor_done(world):
    queue = declare(world, "q")
    world.declare("dead")
    fill(world, "q", 1)
    taken = world.take("q", 1)
    queue.reject(taken.got[0][0])
    assert (queue.ready, queue.unacked, queue.burying, queue.cursor.is_done(0)) == (0, 0, 1, False)
    world.crash()
    world.boot()
    assert bodies(world, "q") == [b"0"]


def test_without_such_an_exchange_or_route_the_message_is_gone(world):
    declare(world, "q", exchange="nowhere")
    declare(world, "r", key="nobody")
    for name in "qr":
        fill(world, name, 1)
        reject(world, name, 1)
        world.run()
        assert world.queue(name).cursor.floor == 1
    world.crash(state_lost=True)
    world.boot()
    assert bodies(world, "q") == bodies(world, "r") == []


def test_expired_heads_move_in_order_with_their_reason(world):
    declare(world, "q", **{"x-message-ttl": 50})
    world.declare("dead")
    fill(world, "q", 5)
    world.run()
    assert bodies(world, "dead") == [b"%d" % number for number in range(5)]
    assert world.broker.dead_letters.moved["expired"] == 5


def test_a_backlog_on_the_disk_moves_in_order_and_within_bounds():
    world = World(tail_bytes=65536).boot()
    queue = declare(world, "q", **{"x-message-ttl": 60_000})
    world.declare("dead")
    fill(world, "q", 3000, padding=100)
    world.run()
    world.checkpoint()
    most = 0
    while world.queue("dead").ready < 3000 and world.loop.now < 600:
        world.run(0.5 if world.loop.now < 60 else 0.002)
        most = max(most, queue.burying)
    assert most <= 2000
    assert bodies(world, "dead") == [b"%d" % number for number in range(3000)]
    assert queue.burying == 0 and queue.cursor.floor == 3000


def test_rejects_of_what_is_no_longer_in_memory_wait_for_the_disk_while_the_queue_goes_on():
    world = World(tail_bytes=65536).boot()
    queue = declare(world, "q")
    world.declare("dead")
    fill(world, "q", 40, padding=4000)
    world.run()
    taken = world.take("q", 10)
    for offset, _, _ in taken.got[::-1]:
        queue.reject(offset)
    world.publish("", "q", b"new")
    assert queue.burying == 10 and queue.message_at(9) is None
    assert bodies(world, "q") == [b"%d" % number for number in range(10, 40)] + [b"new"]
    world.run()
    assert bodies(world, "dead") == [b"%d" % number for number in range(9, -1, -1)]


def test_a_letter_whose_chunk_is_lost_stays_and_those_behind_it_go():
    world = World(tail_bytes=65536).boot()
    queue = declare(world, "q")
    world.declare("dead")
    fill(world, "q", 3000)
    world.run()
    world.take("q", 2000)
    world.checkpoint()
    assert not queue.index.loaded(600)
    world.store.drop()
    queue.reject(600)
    queue.reject(601)
    queue.reject(3)
    world.run()
    assert queue.stopped and bodies(world, "dead") == [b"3"]
    assert world.broker.dead_letters.failed == 2 and queue.burying == 0 and world.broker.cold.failed == 1
    queue.purge()
    queue.reject(4)
    world.run()
    assert bodies(world, "dead") == [b"4"] and not queue.cursor.is_done(600)


def test_a_deleted_or_purged_queue_leaves_no_dead_letters(world):
    declare(world, "q")
    declare(world, "r")
    world.declare("dead")
    fill(world, "q", 3)
    fill(world, "r", 3)
    assert world.queue("q").purge() == 3
    taken = world.take("r", 1)
    world.queue("r").reject(taken.got[0][0])
    world.topology.delete_queue(world.vhost, "r", None)
    world.run()
    assert bodies(world, "dead") == [] and sum(world.broker.dead_letters.moved.values()) == 0


def test_letters_of_a_transient_queue_leave_its_memory(world):
    table = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    world.declare("q", durable=False, arguments=table)
    world.declare("dead")
    fill(world, "q", 2)
    reject(world, "q", 2)
    world.run()
    assert bytes_held(world.queue("q")) == 0 and bodies(world, "dead") == [b"0", b"1"]


def test_letters_of_a_transient_queue_are_read_once_though_they_may_not_stay_in_memory(world):
    table = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    world.declare("q", durable=False, arguments=table)
    world.declare("dead")
    spill, cold = world.broker.spill, world.broker.cold
    spill.room.limit, spill.bounds = 0, Bounds(hot=((1, 1), (1, 1)), least_bytes=(1, 1), kept_ms=0)
    queue = world.queue("q")
    for number in range(6):
        world.publish("", "q", b"%d" % number)
        spill.look()
        world.run(0.1)
    taken = world.take("q", 6)

    def go_away():
        queue.held.evict(queue.held.chunk_at(0), -1, -1)
        assert not any(queue.held.holds(offset) for offset in range(queue.cursor.floor, 6))

    for _ in range(6):
        spill.look()
        world.run(0.1)
    go_away()
    asked, bring = [], cold.bring
    cold.bring = lambda queue, offset, done: (asked.append(offset), bring(queue, offset, lambda: (done(), go_away())))
    for offset, _, _ in taken.got[:5]:
        queue.reject(offset)
    world.run()
    assert bodies(world, "dead") == [b"0", b"1", b"2", b"3", b"4"]
    assert asked and len(asked) == len(set(asked))


def test_a_cycle_without_a_rejection_ends_in_the_queue_for_cycles(world):
    declare(world, "a", key="b", **{"x-message-ttl": 10})
    declare(world, "b", key="a", **{"x-message-ttl": 10})
    fill(world, "a", 3)
    world.run()
    assert bodies(world, "a") == bodies(world, "b") == []
    assert bodies(world, "amq.dlq.cycle") == [b"0", b"1", b"2"]
    assert world.broker.dead_letters.cycles == 3
    world.crash(state_lost=True)
    world.boot()
    assert bodies(world, "amq.dlq.cycle") == [b"0", b"1", b"2"]
    assert world.queue("amq.dlq.cycle").durable


def test_a_rejection_may_go_round(world):
    declare(world, "a", key="a")
    fill(world, "a", 1)
    for _ in range(3):
        reject(world, "a", 1)
        world.run()
    queue = world.queue("a")
    assert queue.ready == 1 and queue.end() == 4
    assert queue.index.find(3) == FOUND
    deaths = decode_properties(world.broker.tail.get(queue.index.log_offset).header)["headers"]["x-death"]
    assert [each["count"] for each in deaths] == [3]


def test_a_letter_goes_to_each_queue_of_the_exchange_but_those_of_a_cycle(world):
    world.topology.declare_exchange(world.vhost, "x", "fanout", durable=True)
    declare(world, "a", exchange="x", key=None, **{"x-message-ttl": 10})
    world.declare("b")
    for name in "ab":
        world.topology.bind(world.vhost, "x", (QUEUE, name), "", {})
    fill(world, "a", 1)
    world.run()
    assert bodies(world, "a") == [] and bodies(world, "b") == [b"0"]
    assert "amq.dlq.cycle" not in world.vhost.queues


def test_a_letter_that_is_read_while_the_broker_stops_stays_for_the_next_start():
    world = World(tail_bytes=65536).boot()
    declare(world, "q")
    world.declare("dead")
    fill(world, "q", 300, padding=1000)
    world.run()
    world.checkpoint()
    queue, log = world.queue("q"), world.broker.log
    taken = world.take("q", 1).got[0][0]
    queue.reject(taken)
    while not world.broker.reader.pending:
        world.loop.run_once()
    world.stop()
    assert log.committed == log.appended
    world.boot(clean=True)
    assert (world.queue("q").ready, world.queue("dead").ready) == (300, 0)
