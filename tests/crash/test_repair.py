"""`mqgateway repair`: what no broker starts on is mended; what it tells is lost, no more, whenever it is killed."""

import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from itertools import chain, count
from pathlib import Path

import pika
import pytest

from tests.clients.broker import LISTENERS, Broker, parameters
from tests.clients.deliveries import fill, pour
from tests.crash import commands
from tests.crash.load import contents
from tests.crash.segments import records
from tests.crash.test_dump import command, lines, run
from tests.crash.test_verify import EX_CANTCREAT, EX_DATAERR, EX_NOINPUT, SMALL, STATE_FILE, lay_in, verify

STORE = b"CORDUROY_MESSAGE"
LOST = re.compile(r"lost   queue '(\w+)' in vhost '/': (\d+) messages, offsets (.*)")


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path, *SMALL)
    yield broker
    if broker.alive():
        broker.stop()


def plan(data):
    """What would be repaired: exit code, and what was printed."""
    done = commands.run(*command("repair", data, "")[1:-1])
    return done.code, done.text


def repair(data):
    """Exit code, and what was printed."""
    return run("repair", data, "--yes")


def dump(data, file):
    """What is durable there, line by line."""
    file.unlink(missing_ok=True)
    code, text = run("dump", data, file)
    assert code == 0, text
    return lines(file)


def told(text):
    """queue -> offsets that are said to be lost."""
    found = {}
    for name, told_count, ranges in LOST.findall(text):
        offsets = set()
        for each in ranges.split(", "):
            first, _, last = each.partition(" to ")
            offsets.update(range(int(first), int(last or first) + 1))
        assert len(offsets) == int(told_count)
        found[name] = offsets
    return found


def body(record):
    """The body of a message's record, None of another."""
    data = record.read()
    size = int.from_bytes(data[84:88], "big")
    return data[88 : 88 + size] if data[89 + size : 89 + size + len(STORE)] == STORE else None


def lay(broker):
    """Queues with messages, all of them different, settled here and there; ends with a clean stop. Returns what was
    left in each queue, in order."""
    lay_in(broker)
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for name in ("three", "gone"):
            channel.queue_declare(name, durable=True)
            for at in range(0, 200, 20):
                bodies = [b"%s %d " % (name.encode(), number) + b"y" * 300 for number in range(at, at + 20)]
                pour(channel, name, bodies, delivery_mode=2)
        for number in range(150):
            method, _, _ = channel.basic_get("three")
            if number % 3:
                channel.basic_ack(method.delivery_tag)
        channel.queue_delete("gone")
    left = {name: contents(broker.port, name) for name in ("one", "two", "three")}
    broker.stop()
    return left


@pytest.fixture(scope="module")
def laid(tmp_path_factory):
    """A data directory after lay(), and what is in its queues: to be copied, laying it takes longer."""
    broker = Broker(tmp_path_factory.mktemp("laid"), *SMALL).start()
    return broker.data, lay(broker)


@pytest.fixture
def left(broker, laid):
    """The test's broker, stopped, has a copy of it; what is in its queues."""
    shutil.copytree(laid[0], broker.data)
    return laid[1]


def damage(data, seed, count):
    """Change bytes of records at random. Returns the bodies of the messages that were hit, with None for others."""
    rng = random.Random(seed)
    found = records(data)
    chosen = rng.sample(found, count)
    hit = [body(record) for record in chosen]
    for record in chosen:
        for _ in range(rng.choice((1, 1, 2, 20))):
            at = rng.randrange(record.size)
            record.write(at, bytes([record.read()[at] ^ rng.randrange(1, 256)]))
    return hit


@pytest.mark.parametrize("seed", range(8))
def test_with_state_only_the_damaged_messages_are_lost(broker, left, seed):
    hit = damage(broker.data, seed, 1 + seed * 3)
    code, text = plan(broker.data)
    assert code == EX_DATAERR and "nothing was changed" in text, text
    code, said = repair(broker.data)
    assert code == 0, said
    assert said.splitlines()[:-1] == text.splitlines()[:-1], "what is done is what was said"
    assert verify(broker.data)[0] == 0
    for keep_state in (True, False):  # the log alone says all of it
        if not keep_state:
            shutil.rmtree(broker.data / "state")
        broker.start()
        for name, before in left.items():
            expected = [each for each in before if each not in hit]
            assert contents(broker.port, name) == expected
            assert len(told(said).get(name, ())) == len(before) - len(expected)
        broker.stop()
    assert plan(broker.data) == (0, f"{broker.data}: nothing to repair\n")


def test_what_only_state_knows_is_said_anew(broker, left, tmp_path):
    before = dump(broker.data, tmp_path / "before")
    for record in records(broker.data):
        if body(record) is None:
            record.damage(60)
    code, said = repair(broker.data)
    assert code == 0 and "lost" not in said and "is said anew in the log" in said
    shutil.rmtree(broker.data / "state")
    assert sorted(dump(broker.data, tmp_path / "after")[:-1]) == sorted(before[:-1])
    assert verify(broker.data)[0] == 0


@pytest.mark.parametrize("seed", range(100, 106))
def test_without_state_what_is_left_is_what_the_sound_records_say(broker, left, seed):
    shutil.rmtree(broker.data / "state")
    stored = [each for each in map(body, records(broker.data)) if each is not None]
    hit = damage(broker.data, seed, 1 + (seed - 100) * 2)
    while stored[-1] in hit:  # what is missing behind the last message nobody can count
        stored.pop()
    code, said = repair(broker.data)
    assert code == 0 and verify(broker.data)[0] == 0, said
    broker.start()
    for name, before in left.items():
        found = contents(broker.port, name)
        assert len(set(found)) == len(found), "exactly once"
        assert set(found) >= {each for each in before if each not in hit}
        if None not in hit:
            assert found == [each for each in before if each not in hit]
    assert len([each for each in stored if each in hit]) == sum(
        map(int, re.findall(r"(\d+) records of messages", said))
    )


def test_the_broker_names_the_command_that_mends_what_it_refuses(broker, left):
    shutil.rmtree(broker.data / "state")
    record = records(broker.data)[100]
    record.damage(60)
    damaged = record.read()
    done = subprocess.run(broker_line(broker), capture_output=True, text=True, timeout=60)
    assert done.returncode == EX_DATAERR and "mqgateway repair" in done.stderr and str(record.offset) in done.stderr
    code, text = repair(broker.data)
    assert code == 0 and f"offsets {record.offset} to {record.offset + record.size}" in text
    (folder,) = broker.data.glob("repaired-*")
    assert str(folder) in text
    saved = (folder / f"{record.offset:020d}-{record.offset + record.size:020d}").read_bytes()
    assert saved == damaged
    broker.start()


def broker_line(broker):
    executable = str(Path(sys.executable).with_name("mqgateway"))
    listeners = [f"listeners.{name}=127.0.0.1:0" for name in LISTENERS]
    settings = [word for setting in (*SMALL, *listeners) for word in ("--set", setting)]
    return [executable, "--data-dir", str(broker.data), *settings]


def test_after_kill_9_with_damage_in_front_of_and_behind_the_checkpoint(broker):
    broker.options += ["log.checkpoint_bytes=1000000", "log.checkpoint_seconds=1"]
    broker.start()
    lay_in(broker)
    left = {name: contents(broker.port, name) for name in ("one", "two")}
    broker.kill9()
    found = [record for record in records(broker.data) if body(record)]
    hit = [body(found[number]) for number in (200, 790)]
    for number in (200, 790):
        found[number].damage(1000)
    code, said = repair(broker.data)
    assert code == 0 and verify(broker.data)[0] == 0, said
    broker.start()
    for name, before in left.items():
        assert contents(broker.port, name) == [each for each in before if each not in hit]


def test_offsets_go_on_behind_what_was_lost(broker):
    broker.start()
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("s", durable=True, arguments={"x-queue-type": "stream"})
        fill(channel, "s", [b"%d" % number for number in range(10)], delivery_mode=2)
    broker.stop()
    last = [record for record in records(broker.data) if body(record) == b"9"]
    last[0].damage(90)
    code, said = repair(broker.data)
    assert code == 0 and told(said) == {"s": {9}}
    shutil.rmtree(broker.data / "state")
    broker.start()
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("", "s", b"new", pika.BasicProperties(delivery_mode=2))
        channel.basic_qos(prefetch_count=100)
        got = []
        for method, properties, data in channel.consume(
            "s", arguments={"x-stream-offset": "first"}, inactivity_timeout=20
        ):
            got.append((properties.headers["x-stream-offset"], data))
            channel.basic_ack(method.delivery_tag)
            if data == b"new":
                break
    assert got == [*((number, b"%d" % number) for number in range(9)), (10, b"new")]


def test_a_damaged_state_is_put_aside(broker, left, tmp_path):
    assert plan(broker.data) == (0, f"{broker.data}: nothing to repair\n")
    file = broker.data / STATE_FILE
    file.write_bytes(file.read_bytes()[:5000])
    code, text = plan(broker.data)
    assert code == EX_DATAERR and "state  is put aside" in text and file.exists()
    code, text = repair(broker.data)
    assert code == 0 and not (broker.data / "state").exists()
    (folder,) = broker.data.glob("repaired-*")
    assert (folder / STATE_FILE).exists()
    broker.start()
    assert {name: contents(broker.port, name) for name in left} == left


def test_what_it_refuses(broker, tmp_path):
    code, text = repair(tmp_path)
    assert code == EX_NOINPUT and "is no data directory" in text and text.count("\n") == 1
    broker.start()
    lay_in(broker, 100)
    code, text = repair(broker.data)
    assert code == EX_NOINPUT and "a broker is running on" in text and text.count("\n") == 1
    broker.stop()
    (broker.data / "restoring").touch()
    code, text = repair(broker.data)
    assert code == EX_CANTCREAT and "mqgateway restore was interrupted here, run it again" in text


def test_no_room_for_what_is_saved_changes_nothing(broker, left):
    for record in records(broker.data)[5:700]:
        record.damage(60)
    before = {path: path.read_bytes() for path in (broker.data / "commitlog").iterdir()}
    small = ("bash", "-c", 'ulimit -f 500; exec "$@"', "bash")
    line = [*broker_line(broker)[:1], "repair", "--yes", *broker_line(broker)[1:]]
    done = subprocess.run([*small, *line], capture_output=True, text=True, timeout=60)
    assert done.returncode == 74 and done.stderr.count("\n") == 1, done.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert list(broker.data.glob("repair*")) in ([], [broker.data / "repair"])
    assert repair(broker.data)[0] == 0


@pytest.mark.parametrize("state", ["kept", "inside"])
def test_wherever_it_is_killed_it_goes_on_and_ends_the_same(broker, left, tmp_path, state):
    found = records(broker.data)
    for number in (3, 10, 500, 501) if state == "kept" else (500, 501, len(found) - 1):
        found[number].damage(60)
    if state == "inside":
        (broker.data / "abort").touch()
    damaged = tmp_path / "damaged"
    shutil.copytree(broker.data, damaged)
    code, said = repair(broker.data)
    assert code == 0
    expected = dump(broker.data, tmp_path / "expected")
    dead = Counter()
    data = tmp_path / "data2"
    words = command("repair", data, "--yes")[1:]
    for number in chain(range(12), count(12, 3)):
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(damaged, data)
        if not commands.dies(number, *words):
            break
        if (data / "repairing").exists():
            dead["marked"] += 1
            code, text = verify(data)
            assert code == EX_CANTCREAT and "mqgateway repair was interrupted here, run it again" in text
            commands.dies(number // 2, *words)  # and again
        else:
            dead["not marked"] += 1
        code, text = repair(data)
        assert code == 0, text
        assert "nothing to repair" in text or text.splitlines()[:-1] == said.splitlines()[:-1]
        assert verify(data)[0] == 0
        assert dump(data, tmp_path / "found") == expected
    assert dead["marked"] > 3 and dead["not marked"] > 1
