"""Statistics as RocketMQ's StatsItem samples them: the last minute, hour and day, of what has ever counted anything."""

import pytest

from protocols.remoting import statistics
from protocols.remoting.codes import Request
from tests.core.state.world import TestWorker
from tests.protocols.remoting.native_world import pull_fields
from tests.protocols.remoting.served_world import ServedWorld
from tests.protocols.remoting.world import request

NOTHING = {"sum": 0, "tps": 0.0, "avgpt": 0.0}


@pytest.fixture
def world():
    made = ServedWorld().boot()
    made.topic()
    return made


@pytest.fixture
def client(world):
    return world.client()


def view(world, client, name, key="T"):
    code, remark, body = world.told(client, Request.VIEW_BROKER_STATS_DATA, {"statsName": name, "statsKey": key})
    return body if code == 0 else (code, remark)


def pull(world, client, offset, group="g", **more):
    client.send(request(Request.PULL_MESSAGE, pull_fields(consumerGroup=group, queueOffset=offset, **more)))
    world.run(0.1)
    ((header, body),) = client.received()
    return header["code"], body


@pytest.mark.parametrize("name", ["TOPIC_PUT_NUMS", "GROUP_GET_NUMS", "BROKER_PUT_NUMS", "NO_SUCH_THING"])
def test_what_has_never_counted_anything_is_not_there(world, client, name):
    assert view(world, client, name, "x@y") == (1, f"The stats <{name}> <x@y> not exist")
    assert view(world, client, name) == (1, f"The stats <{name}> <T> not exist")


def test_what_is_put_is_counted_per_topic_and_for_the_broker(world, client):
    world.topic("U")
    world.put(b"one", b"two", b"three")
    world.put(b"four", queue=1)
    world.put(b"other", topic="U")
    assert view(world, client, "TOPIC_PUT_NUMS") == dict.fromkeys(("statsMinute", "statsHour", "statsDay"), NOTHING)
    world.run(10)
    minute = view(world, client, "TOPIC_PUT_NUMS")["statsMinute"]
    assert (minute["sum"], minute["avgpt"]) == (4, 1.0) and minute["tps"] == pytest.approx(0.4, rel=0.1)
    sizes = [each.index.size for each in world.broker.topics.find(b"T").queues if each.index.find(0) == 1]
    assert view(world, client, "TOPIC_PUT_SIZE")["statsMinute"]["sum"] > 4 * min(sizes) - 8
    assert view(world, client, "BROKER_PUT_NUMS", "DefaultCluster")["statsMinute"]["sum"] == 5
    assert view(world, client, "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", "DefaultCluster")["statsMinute"]["sum"] == 5


def test_windows_forget_what_is_older(world, client):
    world.put(b"one")
    world.run(50)
    world.put(b"two", b"three")
    world.run(10)
    assert view(world, client, "TOPIC_PUT_NUMS")["statsMinute"]["sum"] == 3
    assert world.remoting.statistics.put_tps(world.broker.topics.find(b"T")) == pytest.approx(3 / 60, rel=0.05)
    world.run(60)
    told = view(world, client, "TOPIC_PUT_NUMS")
    assert told["statsMinute"] == NOTHING and told["statsHour"] == NOTHING
    world.run(480)
    told = view(world, client, "TOPIC_PUT_NUMS")
    assert told["statsHour"]["sum"] == 3 and told["statsHour"]["tps"] == pytest.approx(3 / 600, rel=0.05)
    world.run(3000)
    assert view(world, client, "TOPIC_PUT_NUMS")["statsDay"]["sum"] == 3
    world.run(1200)
    told = view(world, client, "TOPIC_PUT_NUMS")
    assert told["statsHour"] == NOTHING and told["statsDay"]["sum"] == 3


def test_a_day_has_25_samples(world, client):
    world.put(b"one")
    world.run(24 * 3600 - 60)
    assert view(world, client, "TOPIC_PUT_NUMS")["statsDay"]["sum"] == 1
    world.run(2 * 3600)
    assert view(world, client, "TOPIC_PUT_NUMS")["statsDay"] == NOTHING
    history = world.broker.topics.find(b"T").traffic.history
    assert [len(rows) // 5 for rows in history.rows] == [7, 7, 25]


def test_what_groups_are_given_is_counted_by_pull(world, client):
    world.put(b"one", b"two", b"three")
    assert [pull(world, client, 0, maxMsgNums=2)[0], pull(world, client, 2)[0]] == [0, 0]
    assert pull(world, client, 1, group="h")[0] == 0
    world.run(10)
    minute = view(world, client, "GROUP_GET_NUMS", "T@g")["statsMinute"]
    assert (minute["sum"], minute["avgpt"]) == (3, 1.5)
    assert view(world, client, "GROUP_GET_NUMS", "T@h")["statsMinute"]["sum"] == 2
    assert view(world, client, "BROKER_GET_NUMS", "DefaultCluster")["statsMinute"]["sum"] == 5
    whole = view(world, client, "GROUP_GET_SIZE", "T@g")["statsMinute"]["sum"]
    assert whole == 3 * len(pull(world, client, 2)[1]) - 4  # "one" and "two" are two bytes shorter
    assert view(world, client, "GROUP_GET_LATENCY", "T@g")["statsMinute"] == NOTHING | {"avgpt": 0.0}


def test_how_long_a_read_from_the_disk_took_is_in_the_latency(world, monkeypatch):
    world.put(*[bytes(1000)] * 40)
    world.stop()
    world.boot(clean=True)
    monkeypatch.setattr(TestWorker, "submit", lambda self, job, done: self.loop.call_later(0.25, self.run, job, done))
    client = world.client()
    assert pull(world, client, 0)[0] == pull(world, client, 0)[0] == 0
    world.run(10)
    assert view(world, client, "GROUP_GET_LATENCY", "T@g")["statsMinute"]["avgpt"] > 100
    assert world.broker.topics.find(b"T").readers[b"g"].times == 2


def test_messages_that_come_back_are_counted_under_the_topic_that_they_came_from(world, client):
    world.put(b"one")
    offset = world.broker.topics.find(b"T").queues[0]
    assert offset.index.find(0) == 1
    fields = {"offset": offset.index.log_offset, "group": "g", "delayLevel": 0}
    assert world.told(client, Request.CONSUMER_SEND_MSG_BACK, fields)[0] == 0
    world.run(10)
    assert view(world, client, "SNDBCK_PUT_NUMS", "T@g")["statsMinute"]["sum"] == 1


def test_what_is_deleted_counts_no_more(world, client):
    world.put(b"one")
    pull(world, client, 0)
    assert isinstance(view(world, client, "GROUP_GET_NUMS", "T@g"), dict)
    assert world.told(client, Request.DELETE_SUBSCRIPTIONGROUP, {"groupName": "g"})[0] == 0
    assert view(world, client, "GROUP_GET_NUMS", "T@g")[0] == 1
    assert world.told(client, Request.DELETE_TOPIC_IN_BROKER, {"topic": "T"})[0] == 0
    world.topic()
    assert view(world, client, "TOPIC_PUT_NUMS")[0] == 1


def test_many_counters_are_sampled_in_slices(world, client, monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLED_AT_ONCE", 3)
    for number in range(10):
        world.topic(f"T{number}")
        world.put(b"x", topic=f"T{number}")
    world.run(10.5)
    sums = [view(world, client, "TOPIC_PUT_NUMS", f"T{number}")["statsMinute"]["sum"] for number in range(10)]
    assert sums == [1] * 10


def test_a_topic_s_rate_is_in_its_stats(world, client):
    world.put(b"one", b"two")
    world.run(10)
    told = world.told(client, Request.GET_TOPIC_STATS_INFO, {"topic": "T"})[2]
    assert told["topicPutTps"] == pytest.approx(0.2, rel=0.1)
