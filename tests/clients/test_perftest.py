"""RabbitMQ's PerfTest in many shapes: a run ends when the last message of all was received, or not at all."""

import re
import subprocess
import uuid

import pytest

from tests.bench.perftest import library, missing

RUN_SECONDS = 60
COUNT = 2000  # messages of one producer
DURABLE = ["--flag", "persistent", "--auto-delete", "false"]

pytestmark = [
    pytest.mark.timeout(RUN_SECONDS + 30),
    pytest.mark.skipif(bool(missing()), reason=missing() or "PerfTest is there"),
]

SHAPES = {
    "auto-ack": ["--autoack", "--size", "16"],
    "each acked": ["--qos", "100"],
    "acks in hundreds": ["--qos", "500", "--multi-ack-every", "100"],
    "global prefetch": ["--qos", "50", "--global-qos", "200"],
    "confirmed one by one": ["--confirm", "1", *DURABLE],
    "confirmed in hundreds": ["--confirm", "100", *DURABLE],
    "mandatory": ["--flag", "mandatory", "--confirm", "50"],
    "transactions of publishers": ["--ptxsize", "50", *DURABLE],
    "transactions of consumers": ["--ctxsize", "50", "--qos", "100", *DURABLE],
    "big bodies": ["--size", "400000", "-C", "50", "-D", "50"],
    "no bodies": ["--size", "0"],
    "topic exchange": ["--type", "topic", "--exchange", "perf-topic", "--routing-key", "a.b"],
    "random keys": ["--type", "topic", "--exchange", "perf-random", "--random-routing-key", "--routing-key", "#"],
    "quorum queue": ["--quorum-queue", "--confirm", "100", "--qos", "100"],
    "queue arguments": ["--queue-args", "x-max-priority=5,x-message-ttl=60000", "--message-properties", "priority=3"],
    "message properties": ["--message-properties", "appId=perf,expiration=60000,header=1"],
    "consumer arguments": ["--consumer-args", "x-priority=10"],
    "polling": ["--polling"],
    "exclusive queue": ["--exclusive"],
    "a steady rate": ["--rate", "4000"],
    "json bodies": ["--json-body", "--size", "1000"],
}


def perftest(broker, *options):
    """Run it to its end; what it said."""
    uri = f"amqp://guest:guest@127.0.0.1:{broker.port}"
    line = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", library()]
    line += ["com.rabbitmq.perf.PerfTest", "--uri", uri, "--metrics-format", "default", *options]
    done = subprocess.run(line, text=True, capture_output=True, timeout=RUN_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Exception" not in done.stdout + done.stderr
    return done.stdout


def received(said):
    """Messages received a second, on average."""
    return float(re.search(r"receiving rate avg: ([0-9.]+)", said)[1])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_message_of_a_run_arrives(broker, shape):
    queue = f"perf-{uuid.uuid4().hex[:12]}"
    said = perftest(broker, "-C", str(COUNT), "-D", str(COUNT), "--queue", queue, *SHAPES[shape])
    assert received(said) > 0


@pytest.mark.parametrize("lanes", [4, 20])
def test_every_message_of_many_queues_arrives(broker, lanes):
    pattern = f"perf-{uuid.uuid4().hex[:12]}-%d"
    options = ["--queue-pattern", pattern, "--queue-pattern-from", "1", "--queue-pattern-to", str(lanes)]
    options += ["-x", str(lanes), "-y", str(lanes), "-C", "300", "-D", "300", "--confirm", "100", "--qos", "100"]
    assert received(perftest(broker, *options, *DURABLE)) > 0


def test_several_consumers_share_a_queue(broker):
    queue = f"perf-{uuid.uuid4().hex[:12]}"
    counts = ["-x", "2", "-y", "4", "-C", str(COUNT), "-D", str(COUNT // 4)]  # who gets how many is not even
    said = perftest(broker, *counts, "--qos", "1", "--queue", queue)
    assert received(said) > 0


def test_a_stream_is_published_to_and_read(broker):
    queue = f"perf-{uuid.uuid4().hex[:12]}"
    options = ["--stream-queue", "--stream-consumer-offset", "first", "--confirm", "100", "--qos", "100"]
    said = perftest(broker, "-C", str(COUNT), "-D", str(COUNT), "--queue", queue, *options)
    assert received(said) > 0
