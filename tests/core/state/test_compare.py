"""What `verify` compares: the state that a checkpoint keeps against the one that the log alone gives."""

from functools import partial

import msgspec
import pytest

from core.disk.files import SegmentFiles
from core.log.recovery import Walk, scan
from core.state.apply import Applier
from core.state.compare import Loaded, count_units, differences
from core.state.model import Model
from core.state.restore import load
from core.state.snapshot import QueueMeta, read_chunk
from tests.core.state.world import SEGMENT_BYTES, World
from tests.core.test_topics import put, send
from tests.simulation.store import SimStore


@pytest.fixture
def world():
    """Full chunks and one that fills, settled here and there, what came back counted; a checkpoint, and more of it."""
    world = World().boot()
    world.declare("q")
    world.declare("counted", arguments={"x-queue-type": "quorum"})
    world.bind("q", "amq.topic", "a.#")
    for n in range(1300):
        world.publish("", "q", b"%d" % n)
    for n in range(5):
        world.publish("", "counted", b"%d" % n)
    world.run()
    taker = world.take("q", 700)
    for offset, _, _ in taker.got[:600:2]:
        world.queue("q").acknowledge(offset)
    for offset, _, _ in world.take("counted", 3).got:
        world.queue("counted").give_back(offset)
    world.run()
    world.checkpoint()
    for offset, _, _ in taker.got[600:650]:
        world.queue("q").acknowledge(offset)
    world.publish("amq.topic", "a.b", b"last")
    world.run()
    return world


def loaded(world, store, tail=None):
    """A state from that store and the log up to `tail`."""
    files = SegmentFiles("commitlog", SEGMENT_BYTES, ops=world.disk)

    def read_on(stamp, on_record):
        if tail is None:
            return scan(files, stamp.offset, on_record, counters=stamp.counters)
        return Walk(files, on_record, stamp.counters, tail).run(max(stamp.offset, files.first))

    applier = Applier(Model(), None, None, None, None)
    load(store, applier, read_on)
    return Loaded(applier, partial(read_chunk, store))


def compared(world):
    """Both states after a crash, and what differs."""
    world.crash()
    kept, rebuilt = loaded(world, world.store), loaded(world, SimStore(world.disk))
    return kept, rebuilt, list(differences(kept, rebuilt))


def test_both_are_the_same(world):
    kept, rebuilt, found = compared(world)
    assert found == []
    assert count_units(kept) == count_units(rebuilt) == 1300 - 300 - 50 + 1 + 5


def test_up_to_an_offset_that_the_log_has_passed(world):
    tail = world.broker.log.appended
    world.publish("", "q", b"later")
    world.run()
    world.crash()
    kept, rebuilt = loaded(world, world.store, tail), loaded(world, SimStore(world.disk), tail)
    assert list(differences(kept, rebuilt)) == [] and count_units(kept) == 956
    assert count_units(loaded(world, SimStore(world.disk))) == 957


def changed(world, table, key, change):
    """Change a row behind the broker's back: change(old value) gives the new one, None = no row."""
    rows = world.store.copy()
    value = change(rows[table].pop(key))
    if value is not None:
        rows[table][key] = value
    world.store.restore(rows)


def test_a_unit_that_points_elsewhere_is_named(world):
    queue = world.queue("q")
    unit = 700 - 512  # of the second chunk

    def change(units):
        return units[: unit * 20 + 7] + bytes([units[unit * 20 + 7] ^ 1]) + units[unit * 20 + 8 :]

    changed(world, "chunks", queue.id.to_bytes(8, "big") + (1).to_bytes(8, "big"), change)
    _, _, found = compared(world)
    assert len(found) == 1
    assert found[0].startswith("queue 'q' in vhost '/': the state has message 700 at log offset ")


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("floor", 640, "the state has message 650 at"),
        ("above", [], "the state has message 0 at"),
        ("counts", [], "came back 1 times)"),
    ],
)
def test_a_cursor_that_is_elsewhere_is_named(world, field, value, text):
    name = "counted" if field == "counts" else "q"

    def change(row):
        meta = msgspec.msgpack.decode(row, type=QueueMeta)
        setattr(meta, field, value)
        if field == "above":
            meta.floor = 0
        return msgspec.msgpack.encode(meta)

    changed(world, "queues", world.queue(name).id.to_bytes(8, "big"), change)
    _, _, found = compared(world)
    assert len(found) == 1 and found[0].startswith(f"queue '{name}'") and text in found[0]


def test_a_fact_that_is_missing_is_named(world):
    facts = world.store.copy()["facts"]
    (key,) = [key for key, row in facts.items() if b"amq.topic" in row]
    changed(world, "facts", key, lambda row: None)
    _, _, found = compared(world)
    assert len(found) == 1 and found[0].startswith("binding / amq.topic queue q") and "the state says None" in found[0]


@pytest.fixture
def native(world):
    """And native topics: one that was made anew, full chunks and one that fills."""
    put(world)
    send(world, body=b"old")
    world.broker.topics.delete(b"T")
    put(world)
    for number in range(1300):
        send(world, queue_id=number % 2, body=b"%d" % number, properties=b"TAGS\x01a\x02")
    world.run()
    world.checkpoint()
    send(world)
    world.run()
    return world


def test_topics_are_the_same(native):
    assert compared(native)[2] == []


def test_a_unit_of_a_topic_s_queue_that_points_elsewhere_is_named(native):
    queue = native.broker.topics.find(b"T").queues[1]
    key = queue.id.to_bytes(8, "big") + (0).to_bytes(8, "big")
    changed(native, "chunks", key, lambda units: units[:147] + bytes([units[147] ^ 1]) + units[148:])
    (line,) = compared(native)[2]
    assert line.startswith("queue 1 of topic 'T': the state has message 7 at log offset ")


def test_a_topic_s_queue_that_ends_elsewhere_is_named(native):
    queue = native.broker.topics.find(b"T").queues[1]

    def change(row):
        meta = msgspec.msgpack.decode(row, type=QueueMeta)
        return msgspec.msgpack.encode(msgspec.structs.replace(meta, end=meta.end + 3))

    changed(native, "queues", queue.id.to_bytes(8, "big"), change)
    assert compared(native)[2] == ["queue 1 of topic 'T': the state ends at 653, the log at 650"]
