"""Native messages are found by UNIQ_KEY, KEYS and TAGS in their topic, in a span of time, beside AMQP's messages."""

from random import Random

import pytest

from core.disk.key_files import KeyFiles
from core.log import key_blocks, key_search
from core.log.key_search import ALWAYS, OFFSET_MAX, Span
from core.message import Message
from core.native import Native, tags_code
from core.queries import NativeKey, native_in
from core.state.records import TopicConfig
from protocols.amqp.properties import encode_properties
from tests.core.state.world import World

BLOCK_BYTES = 16 << 10
PIECE_BYTES = 4 << 10


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(key_blocks, "BLOCK_BYTES", BLOCK_BYTES)
    for module in (key_blocks, key_search):
        monkeypatch.setattr(module, "PIECE_BYTES", PIECE_BYTES)
    made = World(checkpoint_seconds=86400)
    made.keys = KeyFiles(tmp_path / "keys")
    made.boot()
    for name in (b"T", b"U"):
        made.broker.topics.put(TopicConfig(name=name, read_queues=1, write_queues=1))
    made.declare("q")
    made.run()
    return made


def text(**properties):
    return "".join(f"{name}\x01{value}\x02" for name, value in properties.items()).encode()


def send(world, body, topic=b"T", v6=False, **properties):
    world.broker.clock.tick()
    message = Native(topic, 0, body, text(**properties))
    message.tags_code = tags_code(topic, message.properties, 0)
    if v6:
        message.born_host = bytes(15) + b"\x01" + bytes(4)
    world.broker.topics.append(world.broker.topics.find(topic), message)
    return message


def publish(world, key):
    world.broker.clock.tick()
    message = Message((b"/", b"", b"q"), encode_properties({"message_id": key}), b"amqp", 4, True)
    router = world.vhost.router
    world.broker.publisher.publish(message, router.route(router.exchanges[""], b"q", None))


def ask(world, key, topic=b"T", *, tags=False, span=ALWAYS, most=64):
    answers = []
    world.broker.queries.by_topic_key(NativeKey(topic, key, tags), span, most, answers.append)
    world.run(0.5)
    (answer,) = answers
    return [native_in(each.message).body.rstrip(b"\0") for each in answer]


def test_by_unique_key_each_word_of_keys_and_tags_in_their_topic_only(world):
    send(world, b"one", UNIQ_KEY="0A", KEYS="a b", TAGS="x")
    send(world, b"two", UNIQ_KEY="0B", KEYS=" b  ccc ", WAIT="true", v6=True)
    send(world, b"three", topic=b"U", UNIQ_KEY="0A", KEYS="b", TAGS="x")
    world.run()
    assert ask(world, b"0A") == ask(world, b"a") == [b"one"] and ask(world, b"0A", b"U") == [b"three"]
    assert ask(world, b"b") == [b"two", b"one"] and ask(world, b"ccc") == [b"two"]
    assert ask(world, b"x", tags=True) == [b"one"] and ask(world, b"x", b"U", tags=True) == [b"three"]
    for key in (b"", b"x", b"0C", b"A", b"a b", b"T#a"):
        assert ask(world, key) == [], key
    assert ask(world, b"b", most=1) == [b"two"] and ask(world, b"b", b"V") == []
    assert world.broker.queries.indexed([])[0] > 0


def test_only_what_is_committed_is_found(world):
    send(world, b"one", KEYS="k")
    answers = []
    world.broker.queries.by_topic_key(NativeKey(b"T", b"k"), ALWAYS, 9, answers.append)
    world.loop.run_once()
    world.run()
    assert answers == [[]] and ask(world, b"k") == [b"one"]


@pytest.mark.parametrize("end", ["stop", "crash"])
@pytest.mark.parametrize("lost", [False, True])
def test_what_was_noted_and_what_is_read_after_a_restart_are_the_same(world, tmp_path, end, lost):
    random, sent = Random(3), {}
    for number in range(300):
        words = " ".join(f"w{random.randrange(40)}" for _ in range(random.randrange(4)))
        message = send(world, b"%d" % number + bytes(random.randrange(900)), v6=number % 3 == 0, KEYS=words, TAGS="t")
        sent[number] = set(words.split()), message
        publish(world, f"T#w{number % 40}")  # the hash of an AMQP key may be a native one's
        if number % 5 == 0:
            world.run(0.01)
    world.run(2)
    for boot in range(2):
        for word in range(0, 40, 3):
            key = f"w{word}"
            wanted = [number for number, (words, _) in sent.items() if key in words]
            assert ask(world, key.encode(), most=999) == [b"%d" % number for number in wanted[::-1]], boot
        assert ask(world, b"t", tags=True, most=5) == [b"299", b"298", b"297", b"296", b"295"]
        answers = []
        world.broker.queries.by_key(b"/", "T#w3", answers.append)
        world.run(0.5)
        assert len(answers[0]) == 8 and {each.message.body for each in answers[0]} == {b"amqp"}
        if boot == 0:
            world.crash() if end == "crash" else world.stop()
            for path in (tmp_path / "keys").iterdir() if lost else ():
                path.unlink()
            world.boot(clean=end == "stop")
            send(world, b"the first turn", topic=b"U")
            world.run(3)
            assert world.broker.key_blocks.read_bytes > 0 and world.broker.key_blocks.failed == 0


def test_of_a_span_of_time_whatever_else_has_the_key(world, monkeypatch):
    monkeypatch.setattr(key_search, "CANDIDATES_MAX", 20)
    times = []
    for number in range(200):
        times.append(send(world, b"%d" % number + bytes(500), v6=number % 2 == 0, KEYS="k").store_ms)
        world.run(0.05)
    assert len(world.broker.key_blocks.blocks) > 3 and len(set(times)) == 200

    def between(first, last):
        return [int(body) for body in ask(world, b"k", span=Span(times[first], times[last]))]

    for first in (0, 17, 60, 111, 185):
        assert between(first, first + 9) == list(range(first + 9, first - 1, -1))
        assert between(first, first) == [first]
    assert between(0, 100) == list(range(100, 80, -1)) and between(190, 199) == list(range(199, 189, -1))
    assert ask(world, b"k", span=Span(times[-1] + 1, OFFSET_MAX)) == []
    assert ask(world, b"k", span=Span(0, times[0] - 1)) == []


def test_a_candidate_of_the_same_hash_counts_if_it_is_a_native_message_with_that_key_in_that_topic(world):
    send(world, b"one", KEYS="a", UNIQ_KEY="0A", TAGS="t")
    send(world, b"two", topic=b"U", KEYS="a")
    publish(world, "a")
    send(world, b"three", KEYS="b", TAGS="a")
    world.run()
    found = []
    for key in (b"T#a", b"U#a", b"a", b"T#b"):
        world.broker.key_blocks.find(key, found.extend)
    world.run(0.5)
    assert len(found) == 4
    queries = world.broker.queries
    queries._ports = queries._ports._replace(find=lambda key, done, span: done(found))
    assert ask(world, b"a") == [b"one"] and ask(world, b"a", tags=True) == [b"three"]
    assert ask(world, b"a", b"U") == [b"two"] and ask(world, b"0A") == [b"one"]


def test_without_files_a_query_looks_through_the_log(world):
    world.stop()
    world.keys = None
    world.boot(clean=True)
    send(world, b"one", UNIQ_KEY="0A", KEYS="a")
    world.run()
    assert ask(world, b"a") == ask(world, b"0A") == [b"one"] and world.broker.key_blocks.noted is None


def test_a_block_ends_when_there_are_many_keys_of_little_log(world, monkeypatch):
    monkeypatch.setattr(key_blocks, "PAIRS_MAX", 500)
    monkeypatch.setattr(key_blocks, "BLOCK_BYTES", 64 << 20)
    for number in range(60):
        send(world, b"%d" % number, KEYS=" ".join(f"{number}-{n}" for n in range(100)))
        world.run(0.01)
    assert len(world.broker.key_blocks.blocks) > 5 and world.broker.key_blocks.noted.count < 2000
    assert ask(world, b"3-99") == [b"3"] and ask(world, b"59-0") == [b"59"]
