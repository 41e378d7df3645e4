"""A dump has everything durable, and what is restored from it is the same, offset by offset."""

import io
import zlib
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.disk.files import SegmentFiles
from core.log.blocking import BlockingLog
from core.log.decode import decode_message
from core.message import Message
from core.routing.exchange import DELAYED_MESSAGE
from core.routing.once import KEY_HEADER
from core.state.dump import Dump
from core.state.dump_lines import VERSION, DumpRefused, Head, encode
from core.state.snapshot import read_chunk
from core.state.undump import Undump
from protocols.amqp.content import Content
from protocols.amqp.properties import encode_properties
from tests.core.state.test_lived import STEPS, Life
from tests.core.state.world import SEGMENT_BYTES, World, exchange
from tests.simulation.disk import SimDisk


def files_of(disk):
    return SegmentFiles("commitlog", SEGMENT_BYTES, ops=disk)


def dumped(disk):
    """The lines of a dump of what lies on that disk."""
    out = io.BytesIO()
    dump = Dump(out.write)
    found = dump.read(files_of(disk))
    assert found.damages == []
    out.write(encode(Head(version=VERSION)) + b"\n")
    dump.write_facts()
    dump.write_messages(files_of(disk), found.tail)
    dump.end()
    return out.getvalue().splitlines(keepends=True)


def restored(lines, random):
    """A disk that a dump was restored to."""
    disk = SimDisk(random, 1 << 30)
    work = Undump(BlockingLog(files_of(disk)), SEGMENT_BYTES)
    for line in lines:
        work.take(line)
    work.end()
    disk.stop()
    return disk


def booted(disk, clean=True):
    world = World()
    world.disk = disk
    return world.boot(clean)


def live(world):
    """By queue: its next offset, and what of it is not done: offset -> (body, header, code, returns, time, ...)."""
    found = {}
    reader = files_of(world.disk)
    for queue in world.broker.model.queues.values():
        messages = {}
        for offset in range(queue.cursor.floor, queue.index.end):
            if not queue.cursor.is_done(offset):
                messages[offset] = unit(world, queue, offset, reader)
        found[queue.id, queue.name] = queue.index.end, messages
    return found


def unit(world, queue, offset, reader):
    index = queue.index
    if not index.loaded(offset):
        index.load(offset // 512, read_chunk(world.store, queue.id, offset // 512))
    assert index.find(offset) == 1
    message = decode_message(reader.read(index.log_offset, index.size), 0, index.size, index.log_offset)
    returns = 0 if queue.counts is None else queue.counts.of(offset)
    address = message.vhost, message.exchange, message.routing_key
    times = message.store_ms, message.expire_at, message.persistent
    return address, message.header, message.body, index.code, index.body_size, returns, times


def facts(world):
    kept = {}
    for key, fact in world.broker.model.facts.all.items():
        names = set(fact.__struct_fields__) - {"first_offset", "next_offset", "next_id"}
        kept[key] = {name: getattr(fact, name) for name in names}
    return kept, world.broker.model.facts.next_id


def round_trip(world):
    """Dump what is there, restore it, and compare; returns the world that was restored."""
    lines = dumped(world.disk)
    disk = restored(lines, world.random)
    again = booted(disk)
    before = booted(world.disk, clean=False)
    assert facts(again) == facts(before)
    assert live(again) == live(before)
    assert dumped(disk) == lines
    return again


class Full(Life):
    """A life in a world of every kind of queue and exchange, with delays, counts, keys and expiries."""

    def __init__(self, seed):
        super().__init__(seed)
        world = self.world
        self.topology = world.topology
        exchange(world, "late", DELAYED_MESSAGE, arguments={"x-delayed-type": "direct"})
        cache = {"x-cache-size": 300, "x-cache-persistence": "disk"}
        exchange(world, "once", "x-message-deduplication", arguments=cache)
        world.declare("stream", arguments={"x-queue-type": "stream"})
        world.declare("quorum", arguments={"x-queue-type": "quorum", "x-delayed-retry-type": "all"})
        world.declare("levels", arguments={"x-max-priority": 4})
        world.topology.add_vhost("other")
        for name in ("stream", "quorum", "levels"):
            world.bind(name, "amq.fanout", "")
            world.bind(name, "once", "")

    def many(self, count, priority):
        for number in range(count):
            ttl = 100_000 * number if number % 7 == 0 else None
            header = encode_properties({"priority": priority, "headers": {KEY_HEADER: number}})
            key = b"\xff\xfe" if number % 5 == 0 else b"k"
            self.send("once" if number % 3 else "amq.fanout", key, b"%d" % number, header, ttl)

    def send(self, source, key, body, header, ttl):
        world = self.world
        world.broker.clock.tick()
        message = Message((b"/", source.encode(), key), header, body, len(body), ttl is None)
        message.expire_at = 0 if ttl is None else world.broker.clock.ms + ttl
        router, content = world.vhost.router, Content(header)
        route = router.route(router.exchanges[source], message.routing_key, content.headers, content)
        world.broker.publisher.publish(message, route)

    def delay(self, ms):
        header = encode_properties({"headers": {"x-delay": ms}})
        message = Message((b"/", b"", b"levels"), header, b"later", 5, True)
        world = self.world
        world.broker.clock.tick()
        world.broker.publisher.publish(message, world.broker.delays.hold(message, ms, world.vhost))


FULL_STEPS = st.one_of(
    STEPS,
    st.tuples(st.just("many"), st.integers(1, 200), st.integers(0, 5)),
    st.tuples(st.just("delay"), st.integers(10**5, 10**6)),  # not due while a life ends: that is compared
    st.tuples(st.just("ack"), st.sampled_from(["quorum", "levels"]), st.integers(1, 200)),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(FULL_STEPS, max_size=25), st.integers(0, 1 << 30))
def test_whatever_was_lived_a_dump_restores_it_and_is_the_same_again(steps, seed):
    life = Full(seed)
    for step in steps:
        life.step(*step)
    life.world.crash()
    round_trip(life.world)


@pytest.fixture
def life():
    """Messages in queues of all kinds, partly settled, over chunks and segments; a checkpoint that frees some."""
    life = Full(1)
    for number in range(300):
        life.world.declare(f"f{number}")
        life.world.bind(f"f{number}", "amq.direct", "all")
    life.delay(10**8)
    life.declare("a", False)
    life.publish("a", 1500)
    life.many(200, 3)
    life.many(200, 9)
    life.world.run()
    life.ack("quorum", 200)
    life.ack("a", 1200)
    life.world.run()
    return life


def ack(world, name, offsets):
    taker = world.take(name, max(offsets) + 1)
    for offset, _, _ in taker.got:
        if offset in offsets:
            world.queue(name).acknowledge(offset)
        else:
            world.queue(name).requeue(offset)
    world.run()


def test_every_kind_of_thing_comes_back_at_its_offset_with_its_time(life):
    life.world.crash()
    again = round_trip(life.world)
    found = live(again)
    assert {name for _, name in found} >= {"stream", "quorum", "levels", "a", "amq.delayed"}
    assert any(each[5] for each in found[2, "quorum"][1].values()), "counts of what came back"
    assert any(each[0][2] == b"\xff\xfe" for each in found[1, "stream"][1].values()), "a key of any bytes"
    assert any(each[6][1] for each in found[3, "levels"][1].values()), "expiries"


def test_next_offsets_stay_though_the_last_messages_are_done(life):
    world = life.world
    for number in range(10):
        world.publish("", "f0", b"%d" % number)
        world.publish("", "f1", b"%d" % number)
    ack(world, "f0", {2, 5, 8, 9})
    ack(world, "f1", set(range(10)))
    world.crash()
    again = round_trip(world)
    for name in ("f0", "f1"):
        again.publish("", name, b"new")
    again.run()
    assert [(offset, body) for offset, body, _ in again.take("f0", 99).got] == [
        *((offset, b"%d" % offset) for offset in (0, 1, 3, 4, 6, 7)),
        (10, b"new"),
    ]
    assert [(offset, body) for offset, body, _ in again.take("f1", 99).got] == [(10, b"new")]


def test_a_message_in_more_queues_than_its_record_holds_is_one_line(life):
    world = life.world
    world.publish("amq.direct", "all", b"in all of them")
    world.publish("amq.direct", "all", b"in some")
    world.run()
    for number in range(290):
        ack(world, f"f{number}", {1} if number else {0, 1})
    world.crash()
    lines = [line for line in dumped(world.disk) if b'"exchange":"amq.direct","key"' in line]
    assert [line.count(b'"queue":') for line in lines if b"message" in line] == [299, 10]
    round_trip(world)


def test_a_header_block_behind_the_body_and_a_body_in_fragments(life):
    world = life.world
    header = encode_properties({"headers": {"long": "y" * 30_000}})
    message = Message((b"/", b"", b"a"), header, (b"one", b"two"), 6, True)
    router = world.vhost.router
    world.broker.publisher.publish(message, router.route(router.default, b"a", None))
    world.run()
    world.crash()
    (found,) = [messages for (_, name), (_, messages) in live(round_trip(world)).items() if name == "a"]
    *_, last = found.values()
    assert last[1] == header and last[2] == b"onetwo"


def test_a_log_whose_front_segments_are_gone():
    world = World().boot()
    world.declare("kept")
    world.bind("kept", "amq.topic", "#")
    for _ in range(3):
        for _ in range(300):
            world.publish("", "kept", b"z" * 500)
        ack(world, "kept", set(range(world.queue("kept").index.end - 3)))
        world.checkpoint()
        world.checkpoint()
    assert files_of(world.disk).first > 0
    world.crash()
    round_trip(world)


def test_a_damaged_log_is_told_and_not_dumped(life):
    world = life.world
    world.crash()
    files = files_of(world.disk)
    files.write_and_sync([(5000, [b"\xff\xfe\xfd"])], True)
    dump = Dump(None)
    assert dump.read(files_of(world.disk)).damages


LINES = {
    "dump": {"line": "dump", "version": VERSION},
    "vhost": {"line": "vhost", "name": "/"},
    "queue": {"line": "queue", "id": 1, "vhost": "/", "name": "q", "first": 2, "next": 9},
    "message": {"line": "message", "vhost": "/", "store_ms": 1, "places": [{"queue": 1, "offset": 3}], "body": "eA=="},
    "topic": {"line": "topic", "name": "T", "read_queues": 2, "write_queues": 2, "perm": 6, "next": [5, 5]},
    "native": {"line": "native", "topic": "T", "queue": 0, "offset": 3, "store_ms": 1, "body": "eA=="},
}


def refusal(*lines, end=True):
    """What is said of a dump of these lines (names of LINES, or changes of one), with a last line that fits."""
    texts = []
    for line in lines:
        name, changes = (line, {}) if isinstance(line, str) else line
        texts.append(msgspec.json.encode(LINES.get(name, {}) | changes) + b"\n")
    if end:
        crc = zlib.crc32(b"".join(texts[1:]))
        texts.append(msgspec.json.encode({"line": "end", "lines": len(texts) - 1, "crc": crc}) + b"\n")
    with pytest.raises(DumpRefused) as refused:
        restored(texts, Random(1))
    return str(refused.value)


PLACE = {"queue": 1, "offset": 3}
BINDING = {"line": "binding", "vhost": "/", "source": "amq.topic", "kind": "queue", "destination": "q"}


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([("dump", {"version": 4, "by": "corduroy-mq 9", "new": 1})], "in dump format 4, this version reads up to 3"),
        (["vhost"], "no dump of mqgateway"),
        ([("", {"any": "json"})], "no dump of mqgateway"),
        (["dump", "vhost", ("", {"line": "shard"})], "its line 3 cannot be read"),
        (["dump", "vhost", ("queue", {"colour": 1})], "its line 3 cannot be read"),
        (["dump", "queue"], "names a virtual host '/' that no line before it declares"),
        (["dump", "vhost", ("queue", {"queue_type": "heap"})], "queue type that this version does not know: 'heap'"),
        (["dump", "vhost", ("queue", {"first": 10})], "has an id or offset that cannot be"),
        (["dump", "vhost", ("queue", {"id": 1 << 50})], "has an id or offset that cannot be"),
        (["dump", "vhost", "queue", "queue"], "declares a queue a second time"),
        (["dump", "vhost", "queue", "message", "vhost"], "is a declaration behind a message"),
        (["dump", "vhost", "message"], "a queue with the id 1, which no line before it declares"),
        (
            ["dump", "vhost", "queue", ("message", {"places": [PLACE | {"offset": 9}]})],
            "is at offset 9 of the queue 'q'",
        ),
        (
            ["dump", "vhost", "queue", ("message", {"places": [PLACE | {"offset": 1}]})],
            "is at offset 1 of the queue 'q'",
        ),
        (["dump", "vhost", "queue", "message", "message"], "is at offset 3 of the queue 'q', as one before it"),
        (["dump", "vhost", "queue", ("message", {"store_ms": -1})], "has a time that cannot be"),
        (["dump", "vhost", "queue", ("message", {"places": [PLACE | {"returns": -1}]})], "has a number that cannot be"),
        (["dump", "vhost", "queue", ("message", {"places": [PLACE | {"code": 1 << 64}]})], "its line 4"),
        (["dump", "vhost", "queue", ("message", {"body": "eHh4" * 22_000})], "does not fit a segment"),
        (["dump", "vhost", "queue", ("message", {"exchange": "x" * 20_000})], "exceed 16000"),
        (["dump", "vhost", ("", {"line": "exchange", "vhost": "/", "name": "x", "kind": "odd"})], "exchange type that"),
        (["dump", "vhost", ("", BINDING)], "binds the queue 'q', which no line before it declares"),
        (
            ["dump", "vhost", "queue", ("", BINDING | {"kind": "topic"})],
            "binds to a thing that this version does not know",
        ),
        (
            ["dump", "vhost", ("", {"line": "keys", "vhost": "/", "exchange": "x", "keys": []})],
            "has keys of an exchange 'x' that no line before it declares",
        ),
        (["dump", "vhost", ("", {"line": "ids", "next": 0})], "has an id that cannot be"),
        (["dump", "vhost", ("topic", {"next": [-1]})], "has an offset that cannot be"),
        (["dump", "vhost", "topic", "topic"], "declares a topic a second time"),
        (["dump", "vhost", "native"], "is of a topic 'T', which no line before it declares"),
        (["dump", "vhost", "topic", ("native", {"offset": 5})], "where one from 0 up to 5 may follow"),
        (["dump", "vhost", "topic", ("native", {"queue": 2})], "is at offset 3 of queue 2 of the topic 'T'"),
        (["dump", "vhost", "topic", ("native", {"queue": -1})], "is at offset 3 of queue -1 of the topic 'T'"),
        (["dump", "vhost", "topic", "native", "native"], "where one from 4 up to 5 may follow"),
        (["dump", "vhost", "topic", ("native", {"store_ms": -1})], "has a time that cannot be"),
        (["dump", "vhost", "topic", ("native", {"flag": 1 << 31})], "has a number that cannot be"),
        (["dump", "vhost", "topic", ("native", {"sys_flag": 4})], "has a sys_flag that no message in a queue has"),
        (["dump", "vhost", "topic", ("native", {"born_host": "here:1"})], "has a host that cannot be: 'here:1'"),
        (["dump", "vhost", "topic", ("native", {"store_host": "127.0.0.1:-1"})], "has a host that cannot be"),
        (["dump", "vhost", "topic", ("native", {"body": "eHh4" * 22_000})], "does not fit a segment"),
        (["dump", "vhost", "topic", ("native", {"properties": "x" * 33_000})], "exceed 32767"),
        (["dump", "vhost", ("topic", {"name": "CORDUROY_X"}), ("native", {"topic": "CORDUROY_X"})], "has a topic that"),
        (
            ["dump", "vhost", ("", {"line": "done_ahead", "group": "g", "topic": "T", "queue": -1, "ranges": []})],
            "has an offset that cannot be",
        ),
    ],
)
def test_what_cannot_be_restored_is_refused_in_one_sentence(lines, text):
    said = refusal(*lines)
    assert text in said and "\n" not in said


def test_a_dump_that_is_not_whole_or_was_changed_is_refused(life):
    life.world.crash()
    lines = dumped(life.world.disk)
    for changed, text in (
        (lines[:-1], "its last line is missing"),
        (lines[:-3] + lines[-2:], "was changed or is not whole"),
        ([*lines[:-2], lines[-2].replace(b'"places"', b' "places"'), lines[-1]], "was changed or is not whole"),
        ([*lines, lines[1]], f"its line {len(lines) + 1} follows the last"),
        ([], "its last line is missing"),
    ):
        with pytest.raises(DumpRefused, match=text):
            restored(changed, Random(1))
