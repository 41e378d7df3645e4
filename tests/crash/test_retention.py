"""kill -9 while old messages are appended anew and their segments go: each is there once, in order, as it was."""

import contextlib
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pika
import pytest
from pika import spec

from tests.clients.broker import Broker, parameters, until
from tests.clients.deliveries import drain, fill
from tests.clients.raw import RawConnection, encode_content, encode_method
from tests.crash.load import PERSISTENT, contents, declare
from tests.crash.test_restart import delete_state

SEGMENT_BYTES = 256 << 10
SMALL = (
    f"log.segment_bytes={SEGMENT_BYTES}",
    "log.checkpoint_seconds=1",
    f"log.checkpoint_bytes={SEGMENT_BYTES}",
    "log.tail_bytes=65536",
    "log.keep_bytes=0",
)
KEPT_BYTES = 3 * SEGMENT_BYTES
ROUNDS, SECONDS = 4, 60
SLOW = [b"%d:" % number + b"s" * (number % 7 * 300) for number in range(600)]
HOUR_MS = 3_600_000
AGE_MS = 20_000  # of what is to expire: not before all rounds are over
TABLES = {
    "slow": {},
    "counted": {"x-queue-type": "quorum"},
    "levels": {"x-max-priority": 5},
    "mortal": {"x-message-ttl": HOUR_MS},
    "stream": {"x-queue-type": "stream"},
    "busy": {},
}


@pytest.fixture
def broker(tmp_path):
    """One whose segments are small."""
    broker = Broker(tmp_path, *SMALL)
    yield broker
    if broker.alive():
        broker.stop()


def set_up(broker) -> None:
    """Old messages of every kind, in what will be the front of the log."""
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        for queue, arguments in TABLES.items():
            channel.queue_declare(queue, durable=True, arguments=arguments)
        kept = {"delivery_mode": 2}
        fill(channel, "counted", [b"c0", b"c1"], **kept)
        for _ in range(3):
            channel.basic_nack(channel.basic_get("counted")[0].delivery_tag)
        for priority in (1, 5, 3):
            fill(channel, "levels", [b"p%d" % priority], priority=priority, **kept)
        fill(channel, "mortal", [b"lives"], **kept)
        fill(channel, "mortal", [b"dies"], expiration=str(AGE_MS), **kept)
        fill(channel, "stream", [b"e%d" % number for number in range(20)], **kept)
        channel.exchange_declare("later", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
        channel.queue_bind("levels", "later", "levels")
        channel.confirm_delivery()
        late = pika.BasicProperties(delivery_mode=2, headers={"x-delay": HOUR_MS})
        channel.basic_publish("later", "levels", b"late", late)
        fill(channel, "slow", SLOW, **kept)


def pass_by(broker, condition) -> None:
    """Fill `busy` and purge it, again and again, until the condition holds; or until the broker is gone."""
    filler = encode_method(spec.Basic.Publish(exchange="", routing_key="busy"), 1)
    filler += encode_content(1, b"f" * 3000, PERSISTENT)
    deadline = time.monotonic() + SECONDS
    sent = 0
    with contextlib.suppress(OSError, AssertionError):  # it was killed
        client = RawConnection(broker.port).open()
        client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
        while not condition() and time.monotonic() < deadline:
            client.send(filler * 50)
            sent += 50
            while client.expect(spec.Basic.Ack, 1).delivery_tag < sent:
                pass
            client.send_method(spec.Queue.Purge(queue="busy", nowait=True), 1)
        client.close()
    assert time.monotonic() < deadline, f"not within {SECONDS} s"


def counted(broker, name: str, least: float):
    """A condition: the counter has come that far."""
    return lambda: broker.metric(name) >= least


@pytest.mark.timeout(300)
def test_what_is_old_is_there_once_and_as_it_was_whenever_the_broker_is_killed(broker):
    rng = random.Random("retention")
    broker.start()
    set_up(broker)
    for number in range(ROUNDS):
        pass_by(broker, counted(broker, "mq_log_copied_records_total", rng.choice((1, 100, 300))))
        killing = threading.Timer(rng.uniform(0, 0.7), broker.kill9)
        killing.start()
        pass_by(broker, lambda: not broker.alive())
        killing.join()
        if number % 2:
            delete_state(broker)
        broker.start()
        assert contents(broker.port, "slow") == SLOW, f"round {number}"
    check_the_others(broker)
    segments = sorted(int(path.name) for path in (broker.data / "commitlog").iterdir())
    assert segments[0] > 2 * SEGMENT_BYTES, "the front of the log has moved behind what was old"


def check_the_others(broker) -> None:
    """Delivery counts, priorities, expiry, delays and streams: as they were."""
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        counts = {each.body: each.properties.headers["x-delivery-count"] for each in drain(channel, "counted")}
        assert counts[b"c0"] >= 3 and counts.keys() == {b"c0", b"c1"}
        assert broker.metric("mq_messages_delayed") == 1
        until(lambda: channel.queue_declare("mortal", passive=True).method.message_count == 1, SECONDS, "expiry")
        assert [each.body for each in drain(channel, "mortal")] == [b"lives"]
        assert [each.body for each in drain(channel, "levels")] == [b"p5", b"p3", b"p1"]
        channel.basic_qos(prefetch_count=50)
        got = []
        for method, properties, body in channel.consume(
            "stream", arguments={"x-stream-offset": "first"}, inactivity_timeout=10
        ):
            got.append((properties.headers["x-stream-offset"], body))
            channel.basic_ack(method.delivery_tag)
            if len(got) == 20:
                break
        assert got == [(number, b"e%d" % number) for number in range(20)]


@pytest.mark.parametrize("kept_bytes", [0, KEPT_BYTES], ids=["", "some kept for replay"])
def test_a_slow_queue_pins_nothing_and_deleting_the_state_changes_nothing(broker, kept_bytes):
    broker.options += [f"log.keep_bytes={kept_bytes}", "log.disk_force_percent=99"]
    broker.start()
    declare(broker.port, "slow", "busy")
    with pika.BlockingConnection(parameters(broker)) as connection:
        fill(connection.channel(), "slow", SLOW[:50], delivery_mode=2)
    pass_by(broker, counted(broker, "mq_log_segments_freed_total", 20))
    until(lambda: broker.metric("mq_log_bytes") < kept_bytes + 4 * SEGMENT_BYTES, SECONDS, "the front of the log")
    until(lambda: broker.metric("mq_log_kept_bytes") == kept_bytes, SECONDS, "what is kept")
    assert f"bytes={kept_bytes}" in next(line for line in broker.log.splitlines() if "kept for replay, at most" in line)
    broker.kill9()
    shutil.copytree(broker.data, broker.folder / "kept")
    for lost in (False, True):
        shutil.rmtree(broker.data)
        shutil.copytree(broker.folder / "kept", broker.data)
        if lost:
            delete_state(broker)
        broker.start()
        assert contents(broker.port, "slow") == SLOW[:50]
        broker.kill9()
    command = [str(Path(sys.executable).with_name("mqgateway")), "verify", "--data-dir", str(broker.data)]
    found = subprocess.run([*command, "--set", SMALL[0]], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stdout + found.stderr
