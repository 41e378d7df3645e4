"""What Prometheus is told of native topics and groups, by the names of rocketmq-exporter."""

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.native_metrics import FAMILIES, NativeCollector
from protocols.remoting.codes import Request
from protocols.remoting.lags import ASKED_MS
from protocols.remoting.remoting import Remoting
from tests.protocols.remoting.native_world import pull_fields
from tests.protocols.remoting.served_world import ServedWorld
from tests.protocols.remoting.world import request


@pytest.fixture
def world():
    made = ServedWorld().boot()
    made.topic()
    return made


@pytest.fixture
def client(world):
    made = world.client()
    world.join(made, "g", "T", "%RETRY%g")
    return made


def scraped(remoting):
    """family -> the values of its labels -> value"""
    registry = CollectorRegistry()
    registry.register(NativeCollector(remoting))
    found = {}
    for name, labels, value in re.findall(r"(?m)^(\w+)\{(.*)\} (\S+)$", generate_latest(registry).decode()):
        values = dict(re.findall(r'(\w+)="(.*?)"', labels))
        found.setdefault(name, {})[tuple(values[label] for label in FAMILIES[name][1])] = float(value)
    return found


def after_a_look(world):
    scraped(world.remoting)
    world.run(12)
    return scraped(world.remoting)


WHERE = ("DefaultCluster", "broker-a")


def test_families_are_there_without_samples_too_also_when_the_port_is_off(world):
    registry = CollectorRegistry()
    registry.register(NativeCollector(Remoting(world.broker)))
    text = generate_latest(registry).decode()
    assert set(re.findall(r"(?m)^# TYPE (\S+) gauge$", text)) == set(FAMILIES) and "{" not in text


def test_groups_are_behind_by_count_and_by_time(world, client):
    world.put(b"one", b"two")
    world.run(60)
    world.put(b"three", b"four")
    world.put(b"five", queue=1)
    world.commit(client, 0, 1)
    found = after_a_look(world)
    assert found["rocketmq_group_diff"] == {("g", "T", "1", "1"): 4}
    assert found["rocketmq_consumer_offset"] == {(*WHERE, "T", "g"): 1}
    assert 70_000 < found["rocketmq_group_get_latency_by_storetime"][*WHERE, "T", "g"] < 95_000
    world.commit(client, 0, 4)
    world.run(12)
    found = scraped(world.remoting)
    assert found["rocketmq_group_diff"] == {("g", "T", "1", "1"): 1}
    assert found["rocketmq_group_get_latency_by_storetime"][*WHERE, "T", "g"] < 40_000
    world.commit(client, 1, 1)
    world.run(12)
    found = scraped(world.remoting)
    assert found["rocketmq_group_diff"] == {("g", "T", "1", "1"): 0}
    assert found["rocketmq_group_get_latency_by_storetime"] == {(*WHERE, "T", "g"): 0}


def test_retry_topics_and_dead_letters_have_families_of_their_own(world, client):
    world.put(b"one")
    world.topic("%RETRY%g", queues=1)
    world.topic("%DLQ%g", queues=1)
    world.put(b"again", topic="%RETRY%g")
    world.put(b"dead", topic="%DLQ%g")
    world.commit(client, 0, 0, topic="%RETRY%g")
    found = after_a_look(world)
    assert found["rocketmq_group_retrydiff"] == {("g", "%RETRY%g", "1", "1"): 1}
    assert found["rocketmq_topic_retry_offset"] == {(*WHERE, "%RETRY%g"): 1}
    assert found["rocketmq_topic_dlq_offset"] == {(*WHERE, "g"): 1}
    assert (
        found["rocketmq_producer_offset"][*WHERE, "T"] == 1
        and (*WHERE, "%DLQ%g") not in found["rocketmq_producer_offset"]
    )


def test_what_passes_is_told_by_minute(world, client):
    world.put(b"one", b"two")
    client.send(request(Request.PULL_MESSAGE, pull_fields(consumerGroup="g")))
    world.run(10)
    found = scraped(world.remoting)
    assert found["rocketmq_producer_tps"] == {(*WHERE, "T"): 2}
    assert found["rocketmq_producer_message_size"][*WHERE, "T"] > 300
    assert found["rocketmq_consumer_tps"][*WHERE, "T", "g"] == pytest.approx(0.2, rel=0.1)
    assert found["rocketmq_consumer_message_size"][*WHERE, "T", "g"] > 30
    place = "DefaultCluster", "127.0.0.1:10911", "broker-a"
    assert found["rocketmq_broker_tps"][place] == pytest.approx(0.2, rel=0.1)
    assert found["rocketmq_broker_qps"][place] == pytest.approx(0.2, rel=0.1)
    assert "rocketmq_send_back_nums" not in found


def test_who_is_there_is_counted(world, client):
    world.join(world.client("127.0.0.1", 50001), "g", "T", "%RETRY%g", client_id="c2")
    found = scraped(world.remoting)
    assert found["rocketmq_group_count"] == {("127.0.0.1:50000,127.0.0.1:50001", "127.0.0.1", "g"): 2}
    assert "rocketmq_producer_count" not in found


def test_nobody_looks_while_nobody_asks_and_what_was_read_is_not_read_again(world, client, monkeypatch):
    reads = []
    queue = world.broker.topics.find(b"T").queues[0]
    world.put(b"one", b"two")
    world.commit(client, 0, 1)
    monkeypatch.setattr("protocols.remoting.lags.store_ms", lambda queue, offset, take: reading(reads, offset, take))
    world.run(60)
    assert reads == []
    after_a_look(world)
    world.run(60)
    assert reads == [1] and queue.max_offset == 2
    world.commit(client, 0, 0)
    world.run(12)
    assert reads == [1, 0]
    world.run(ASKED_MS / 1000 + 60)
    assert world.remoting.lags._found == {} and not world.remoting.lags._looking
    assert scraped(world.remoting)["rocketmq_group_diff"] == {("g", "T", "1", "1"): 2}


def reading(reads, offset, take):
    def step(done):
        reads.append(offset)
        take(1_700_000_000_000)
        done()

    return step


def test_groups_that_broadcast_have_no_offsets_here(world, client):
    world.put(b"one")
    world.commit(client, 0, 0)
    world.remoting.clients.consumers(b"g").message_model = "BROADCASTING"
    assert "rocketmq_group_diff" not in after_a_look(world)
