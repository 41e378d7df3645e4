"""What an operator sees: health for probes, metrics for Prometheus."""

import json
import re
import urllib.error
import urllib.request

import pika
import pytest

from tests.clients.broker import Broker, parameters, until
from tests.clients.deliveries import fill

pytestmark = pytest.mark.ours


def get(address: str, path: str) -> tuple[int, str]:
    """Status and body of a GET."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def sample(text: str, name: str) -> float:
    """The value of a family of one sample."""
    return float(re.search(rf"^{name} (\S+)$", text, re.M).group(1))


@pytest.mark.parametrize("path", ["/healthz", "/healthz/live", "/healthz/ready", "/healthz/startup"])
def test_a_broker_that_serves_is_healthy(broker, path):
    assert get(broker.addresses["http"], path) == (200, '{"status": "ok"}')


@pytest.mark.parametrize("path", ["/metrics", "/metrics/per-object"])
def test_every_family_says_what_it_is(broker, path):
    status, text = get(broker.addresses["metrics"], path)
    assert ("rocketmq_broker_tps{" in text) == (path == "/metrics/per-object")
    assert status == 200
    named = set(re.findall(r"^([a-z_]+?)(?:\{.*\})? \S+$", text, re.M))
    for what in ("HELP", "TYPE"):
        told = set(re.findall(rf"^# {what} (\S+)", text, re.M))
        told |= {name + end for name in told for end in ("_bucket", "_count", "_sum")}  # a histogram's
        assert {name for name in named if name not in told} == set()


def test_counters_follow_a_message_and_never_go_back_when_its_queue_goes(broker, channel, name):
    def now(family: str) -> float:
        return sample(get(broker.addresses["metrics"], "/metrics")[1], family)

    families = [f"rabbitmq_global_messages_{each}_total" for each in ("received", "delivered", "acknowledged")]
    before = [now(family) for family in families]
    channel.queue_declare(name, exclusive=True)
    channel.basic_publish("", name, b"x")
    tag = channel.basic_get(name)[0].delivery_tag
    channel.basic_ack(tag)
    channel.queue_delete(name)
    until(lambda: all(now(family) >= then + 1 for family, then in zip(families, before, strict=True)), what="counted")


def test_gauges_tell_what_waits_where(tmp_path):
    broker = Broker(tmp_path).start()
    try:
        with pika.BlockingConnection(parameters(broker)) as connection:
            channel = connection.channel()
            channel.queue_declare("q")
            fill(channel, "q", [b"x" * 1000] * 5)
            channel.basic_get("q")
            channel.queue_declare("other")
            channel.basic_consume("other", print)
            metrics = get(broker.addresses["metrics"], "/metrics")[1]
            expected = {"ready": 4, "unacked": 1}
            assert {each: sample(metrics, f"rabbitmq_queue_messages_{each}") for each in expected} == expected
            assert sample(metrics, "rabbitmq_queue_messages") == 5 and sample(metrics, "rabbitmq_consumers") == 1
            assert sample(metrics, "mq_transient_queue_bytes") >= 5000
            assert sample(metrics, "mq_loop_lag_seconds_count") > 0, "there were turns, and looks at how late they are"
    finally:
        broker.stop()


@pytest.mark.parametrize(("limit", "family"), [("memory_bytes=33554432", "rabbitmq_alarms_memory_used_watermark")])
def test_a_memory_alarm_shows_in_the_metrics(tmp_path, limit, family):
    broker = Broker(tmp_path, f"limits.{limit}").start()  # an idle broker is above that already
    try:
        until(lambda: sample(get(broker.addresses["metrics"], "/metrics")[1], family) == 1, what="alarm")
    finally:
        broker.stop()


def test_an_alarm_shows_in_health_and_metrics(tmp_path):
    broker = Broker(tmp_path, f"limits.disk_free_bytes={1 << 49}").start()
    try:
        status, text = get(broker.addresses["http"], "/healthz/ready")
        assert status == 503 and json.loads(text)["reason"] == "publishers are blocked: low on disk"
        assert get(broker.addresses["http"], "/healthz/live")[0] == 200
        metrics = get(broker.addresses["metrics"], "/metrics")[1]
        assert sample(metrics, "rabbitmq_alarms_free_disk_space_watermark") == 1
        assert sample(metrics, "mq_publishers_blocked_total") == 1
    finally:
        broker.stop()
