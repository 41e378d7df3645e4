"""Native topics in a dump: messages come back at their offsets with all that they are."""

import zlib
from random import Random

import msgspec
import pytest

from core.log.view import View
from core.native import Native, tags_code
from tests.core.state.test_dump import LINES, booted, dumped, live, restored
from tests.core.state.world import World
from tests.core.test_topics import put


def native(world, topic, queue, body, **fields):
    """A native message that is appended."""
    world.broker.clock.tick()
    message = Native(topic, queue, body, fields.pop("properties", b"UNIQ_KEY\x010A\x02TAGS\x01t\x02"))
    message.tags_code = tags_code(topic, message.properties, world.broker.clock.ms)
    for name, value in fields.items():
        setattr(message, name, value)
    world.broker.topics.append(world.broker.topics.find(topic), message)


def natives(world):
    """Of each topic its configuration, of each of its queues the bounds and what its messages are."""
    found = {}
    for topic in world.broker.topics.all():
        name = topic.config.name
        found[name] = (
            topic.config,
            [
                (queue.min_offset, queue.max_offset, [told(record) for record in records(world, queue)])
                for queue in topic.queues
            ],
        )
    return found


def records(world, queue):
    got = []
    for offset in range(queue.min_offset, queue.max_offset):
        while queue.index.find(offset) < 0:
            world.broker.cold.load(queue, offset // 512, lambda: None)
            world.run(0.01)
        if queue.index.find(offset) == 1:
            code = queue.index.code
            world.broker.log.engine.read(queue.index.log_offset, queue.index.size, got.append)
            world.run(0.01)
            got[-1] = got[-1], code
    return got


def told(read):
    """All of a record but where it lies; and its tags code."""
    record, code = read
    view = View()
    assert view.parse(record, 0, int.from_bytes(record[28:36])) == len(record)
    message = view.native()
    names = set(dir(message)) - {"offset"}
    return code, {name: getattr(message, name) for name in names if not name.startswith("_")}


@pytest.fixture
def topics():
    """Native messages of many kinds in several topics, one of which was there before; and how far groups are."""
    world = World().boot()
    for name, queues in ((b"T", 3), (b"U" * 200, 1), (b"gone", 1), (b"empty", 2)):
        put(world, name, queues, attributes={"message.type": "NORMAL"})
    for number in range(600):
        native(world, b"T", number % 2, b"%d" % number)
    native(world, b"gone", 0, b"of the first")
    world.broker.topics.delete(b"gone")
    put(world, b"gone", 1)
    native(world, b"gone", 0, b"of the second")
    hosts = {"born_host": bytes(15) + b"\x01\0\0\xc3\x50", "store_host": b"\x7f\0\0\x01\0\0\x2a\x9f"}
    numbers = {"flag": -7, "sys_flag": 0x308, "born_ms": 12345, "reconsume_times": 3, "prepared_offset": 77}
    native(world, b"U" * 200, 0, b"\0\xff" * 500, properties=b"mine\x01\xff\x02", **hosts, **numbers)
    world.broker.groups.use(b"g")
    world.broker.groups.commit(b"g", b"T", 1, 17)
    world.declare("q")
    world.publish("", "q", b"beside them")
    world.run()
    world.crash()
    return world


def test_native_messages_come_back_at_their_offsets_with_all_that_they_are(topics):
    lines = dumped(topics.disk)
    disk = restored(lines, topics.random)
    again, before = booted(disk), booted(topics.disk, clean=False)
    found = natives(again)
    assert found == natives(before) and live(again) == live(before)
    assert [queue[:2] for queue in found[b"T"][1]] == [(0, 300), (0, 300), (0, 0)]
    assert found[b"gone"][1][0][2][0][1]["body"] == b"of the second" and found[b"gone"][1][0][1] == 1
    assert again.broker.groups.offset(b"g", b"T", 1) == 17
    assert dumped(disk) == lines
    native(again, b"T", 2, b"more")
    again.run()
    assert natives(again)[b"T"][1][2][:2] == (0, 1)


def test_a_queue_whose_first_messages_have_gone_goes_on_where_it_was(topics):
    lines = [msgspec.json.decode(line) for line in dumped(topics.disk)]

    def stays(line):
        return line["line"] not in ("native", "end") or line.get("topic") == "T" and line["offset"] >= 290

    kept = [line for line in lines if stays(line) and line.get("queue") != 1]
    lines = whole([msgspec.json.encode(line) + b"\n" for line in kept])
    disk = restored(lines, topics.random)
    again = booted(disk)
    bounds = {name: [queue[:2] for queue in queues] for name, (_, queues) in natives(again).items()}
    assert bounds[b"T"] == [(290, 300), (300, 300), (0, 0)] and bounds[b"U" * 200] == [(1, 1)]
    native(again, b"T", 1, b"more")
    again.run()
    assert natives(again)[b"T"][1][1][:2] == (300, 301)
    assert len([line for line in dumped(disk) if b'"native"' in line]) == 11


def whole(lines):
    """Lines of a dump, with the last one that fits."""
    crc = zlib.crc32(b"".join(lines[1:]))
    return [*lines, msgspec.json.encode({"line": "end", "lines": len(lines) - 1, "crc": crc}) + b"\n"]


def test_what_groups_that_pop_have_done_is_kept():
    row = {"group": "g", "topic": "T", "queue": 1, "ranges": [5, 6, 9, 12]}
    head = msgspec.json.encode(LINES["dump"]) + b"\n"
    lines = whole(
        [head, *(msgspec.json.encode(each) + b"\n" for each in (LINES["vhost"], {"line": "done_ahead"} | row))]
    )
    disk = restored(lines, Random(1))
    assert {"line": "done_ahead"} | row in [msgspec.json.decode(line) for line in dumped(disk)]


def test_what_waits_for_its_time_or_its_sender_waits_on(topics):
    world = booted(topics.disk, clean=False)
    topic, due = world.broker.topics.find(b"T"), world.broker.clock.ms + 10**7
    for number in range(3):
        world.broker.timers.hold(topic, Native(b"T", 2, b"timed %d" % number, b"UNIQ_KEY\x010B\x02"), due + number, 5)
    world.broker.halves.hold(topic, Native(b"T", 2, b"half"), due)
    world.broker.timers.settle(1)
    world.run()
    world.crash()
    lines = dumped(world.disk)
    disk = restored(lines, world.random)
    again, before = booted(disk), booted(world.disk, clean=False)
    assert natives(again) == natives(before) and dumped(disk) == lines
    for broker in (again.broker, before.broker):
        assert (broker.timers.count, broker.halves.count) == (2, 1)
        assert [broker.timers.is_waiting(offset) for offset in range(4)] == [True, False, True, False]
    found = []
    again.broker.timers.start(lambda offset, record: found.append((offset, record[88:95])))
    again.run(10**7 / 1000 + 5)
    assert found == [(0, b"timed 0"), (2, b"timed 2")]
