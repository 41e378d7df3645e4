"""`mqgateway verify`: on a stopped broker, beside a busy one, after kill -9, and on whatever is damaged."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pika
import pytest

from tests.clients.broker import Broker, parameters, until
from tests.clients.deliveries import pour
from tests.crash.commands import run
from tests.crash.load import Consumer, Producer, declare
from tests.crash.segments import records

SEGMENT_BYTES = 1 << 20
SMALL = (f"log.segment_bytes={SEGMENT_BYTES}", "log.ahead_bytes=262144", "log.batch_bytes=262144")
EX_DATAERR, EX_NOINPUT, EX_CANTCREAT = 65, 66, 73
STATE_FILE = "state/data.mdb"
MESSAGES = 800 - 25 + 2  # what lay_in() leaves


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path, *SMALL)
    yield broker
    if broker.alive():
        broker.stop()


def command(data, *options):
    executable = str(Path(sys.executable).with_name("mqgateway"))
    settings = [word for setting in SMALL for word in ("--set", setting)]
    return [executable, "verify", "--data-dir", str(data), *settings, *options]


def verify(data, *options):
    """Exit code, and the report."""
    done = run(*command(data, "--format", "json", *options)[1:])
    return done.code, json.loads(done.stdout) if done.stdout else done.stderr


def lay_in(broker, count=800):
    """Durable queues with messages in some segments, settled in parts; a binding, an exchange, a quorum queue."""
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.exchange_declare("logs", "topic", durable=True)
        for name, arguments in (("one", {}), ("two", {"x-queue-type": "quorum"})):
            channel.queue_declare(name, durable=True, arguments=arguments)
            channel.queue_bind(name, "logs", "#")
        for at in range(0, count, 20):
            pour(channel, "one", [b"%d" % number + b"x" * 2000 for number in range(at, at + 20)], delivery_mode=2)
        channel.basic_publish("logs", "both", b"z" * 500, pika.BasicProperties(delivery_mode=2))
        for number in range(50):
            method, _, _ = channel.basic_get("one")
            (channel.basic_ack if number % 2 else channel.basic_nack)(method.delivery_tag)
        method, _, _ = channel.basic_get("two")
        channel.basic_nack(method.delivery_tag, requeue=True)
        channel.exchange_declare("last", durable=True)  # its commit takes along what was settled


def test_a_stopped_broker_is_sound_and_nothing_was_changed(broker):
    broker.start()
    lay_in(broker)
    broker.stop()
    files = [path for path in broker.data.rglob("*") if path.is_file() and not path.name.startswith("lock")]
    before = {path: path.read_bytes() for path in files}
    code, report = verify(broker.data)
    assert (code, report["findings"], report["online"]) == (0, [], False)
    assert report["segments"] >= 2 and report["log"]["records"] > 800 and report["queues"] == 2
    assert report["messages"] == MESSAGES and report["stamp"] == report["log"]["tail"]
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in broker.data.iterdir()} == {"commitlog", "spill", "state", "lock"}


def test_after_kill_9_and_without_state(broker):
    broker.start()
    lay_in(broker)
    broker.kill9()
    code, report = verify(broker.data)
    assert (code, report["findings"], report["messages"]) == (0, [], MESSAGES)
    (broker.data / STATE_FILE).unlink()
    code, report = verify(broker.data)
    assert (code, report["findings"], report["stamp"], report["messages"]) == (0, [], -1, MESSAGES)


def test_beside_a_busy_broker(broker):
    broker.options += ["log.checkpoint_seconds=1", "log.checkpoint_bytes=1000000"]
    broker.start()
    declare(broker.port, "q0", "markers")
    producers = [Producer(number, "", "q0", 1, number) for number in range(2)]
    consumer = Consumer("q0", "markers")
    for each in (*producers, consumer):
        each.attach(broker.port)
    until(lambda: producers[0].confirmed > 500, 30, "500 confirms")
    for _ in range(3):
        code, report = verify(broker.data)
        assert (code, report["findings"], report["online"]) == (0, [], True)
        assert report["log"]["records"] > 500
    broker.kill9()
    for each in (*producers, consumer):
        each.join(30)


def test_damaged_records_are_named(broker):
    broker.start()
    lay_in(broker)
    broker.stop()
    found = [each for each in records(broker.data) if each.size > 2000]
    for number in (10, 700):
        found[number].damage(1000)
    code, report = verify(broker.data)
    assert code == EX_DATAERR
    assert [each["offset"] for each in report["log"]["damages"]] == [found[10].offset, found[700].offset]
    assert len(report["findings"]) == 2 and str(found[10].offset) in report["findings"][0]


def test_a_last_record_that_is_damaged_after_a_clean_stop(broker):
    broker.start()
    lay_in(broker, 100)
    broker.stop()
    last = records(broker.data)[-1]
    last.damage(60)
    code, report = verify(broker.data)
    assert code == EX_DATAERR
    assert report["findings"][0].startswith("state: cannot be used") or "closed cleanly" in report["findings"][0]
    assert any("closed cleanly" in each and str(last.offset) in each for each in report["findings"])


def test_a_state_that_is_not_what_the_log_says(broker):
    broker.start()
    lay_in(broker, 200)
    broker.stop()
    old = (broker.data / STATE_FILE).read_bytes()
    broker.start()
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        channel.queue_purge("one")
        channel.queue_delete("two")
        channel.exchange_delete("logs")
    broker.stop()
    assert verify(broker.data)[0] == 0
    new = (broker.data / STATE_FILE).read_bytes()
    stamp_of_new = verify(broker.data)[1]["stamp"]
    (broker.data / STATE_FILE).write_bytes(old)  # an older checkpoint is no damage: the log goes on from its stamp
    code, report = verify(broker.data)
    assert code == 0 and report["stamp"] < stamp_of_new and report["messages"] == 0
    half = bytearray(new)
    page = new.index(b"queue") // 4096 * 4096 if b"queue" in new else 0
    half[page : page + 64] = bytes(64)
    (broker.data / STATE_FILE).write_bytes(bytes(half[:4096]))  # cut off
    code, report = verify(broker.data)
    assert code == EX_DATAERR and report["findings"][0].startswith("state: ")


def test_what_it_refuses(broker, tmp_path):
    code, text = verify(tmp_path)
    assert code == EX_NOINPUT and "is no data directory" in text and text.count("\n") == 1
    broker.start()
    lay_in(broker)
    broker.stop()
    done = subprocess.run([*command(broker.data), "--set", "log.segment_bytes=2097152"], capture_output=True, text=True)
    assert done.returncode == EX_CANTCREAT and "log.segment_bytes" in done.stderr
    assert subprocess.run([*command(broker.data), "--nonsense"], capture_output=True).returncode == 2


def test_interrupted_it_leaves_nothing_that_matters(broker):
    broker.start()
    lay_in(broker, 200)
    broker.stop()
    (broker.data / "verify" / "kept").mkdir(parents=True)  # what kill -9 leaves
    process = subprocess.Popen(command(broker.data), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    broker.start()
    broker.stop()
    assert verify(broker.data)[:1] == (0,)
    assert not (broker.data / "verify").exists()
