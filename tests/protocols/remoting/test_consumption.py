"""How far groups are, as mqadmin, dashboards and exporters ask it."""

import json

import pytest

from protocols.remoting import gathering
from protocols.remoting.codes import Request
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


def key(queue, topic="T"):
    return json.dumps({"brokerName": "broker-a", "queueId": queue, "topic": topic}, separators=(",", ":"))


def stats(world, client, **fields):
    code, _, body = world.told(client, Request.GET_CONSUME_STATS, {"consumerGroup": "g"} | fields)
    assert code == 0
    return body


def test_a_groups_offsets_and_when_its_last_message_was_stored(world, client):
    world.put(b"one", b"two")
    first_ms = world.clock.ms
    world.run(50)
    world.put(b"three")
    world.put(b"four", queue=1)
    assert world.commit(client, 0, 2) == (0, None)
    told = stats(world, client, topic="T")
    rows = told["offsetTable"]
    assert rows.keys() == {key(0), key(1)} and told["consumeTps"] == 0.0
    mine = rows[key(0)]
    assert (mine["brokerOffset"], mine["consumerOffset"], mine["pullOffset"]) == (3, 2, 2)
    assert first_ms - 5000 < mine["lastTimestamp"] <= first_ms
    assert rows[key(1)] == {"brokerOffset": 1, "consumerOffset": 0, "lastTimestamp": 0, "pullOffset": 0}


def test_without_a_topic_all_that_it_has_come_somewhere_in_its_retry_topic_too(world, client):
    world.put(b"one")
    world.commit(client, 0, 1)
    world.commit(client, 0, 0, topic="%RETRY%g")
    assert stats(world, client)["offsetTable"].keys() == {key(0), key(1), key(0, "%RETRY%g")}
    assert stats(world, client, topic=" ")["offsetTable"].keys() == {key(0), key(1), key(0, "%RETRY%g")}
    assert stats(world, client, topicList="T;nowhere")["offsetTable"].keys() == {key(0), key(1)}


def test_topics_that_its_members_do_not_subscribe_to_any_more_are_left_out(world, client):
    world.topic("U")
    world.commit(client, 0, 0, topic="U")
    assert stats(world, client, topic="U")["offsetTable"] == {}
    assert stats(world, client, topicList="U")["offsetTable"].keys() == {key(0, "U"), key(1, "U")}
    client.connection.lost()
    assert stats(world, world.client(), topic="U")["offsetTable"].keys() == {key(0, "U"), key(1, "U")}


def test_what_was_given_and_not_committed_is_in_flight(world, client):
    world.put(b"one", b"two", b"three")
    client.send(request(Request.PULL_MESSAGE, pull_fields(consumerGroup="g", maxMsgNums=2)))
    client.received()
    world.commit(client, 0, 1)
    row = stats(world, client)["offsetTable"][key(0)]
    assert (row["brokerOffset"], row["consumerOffset"], row["pullOffset"]) == (3, 1, 2)
    world.run(10)
    assert stats(world, client)["consumeTps"] == pytest.approx(0.2, rel=0.1)


def test_of_all_groups_at_once(world, client):
    world.topic("U", order=True)
    world.put(b"one", b"two")
    world.commit(client, 0, 1)
    other = world.client(port=50001)
    world.join(other, "h", "U")
    world.commit(other, 0, 0, group="h", topic="U")
    code, _, body = world.told(client, Request.GET_BROKER_CONSUME_STATS, {"isOrder": "false"})
    assert code == 0 and (body["brokerAddr"], body["totalDiff"]) == ("127.0.0.1:10911", 1)
    found = {group: tables for each in body["consumeStatsList"] for group, tables in each.items()}
    assert [table["offsetTable"].keys() for table in found["g"]] == [{key(0), key(1)}]
    assert [table["offsetTable"].keys() for table in found["h"]] == [{key(0, "U"), key(1, "U")}]
    ordered = world.told(client, Request.GET_BROKER_CONSUME_STATS, {"isOrder": "true"})[2]
    found = {group: tables for each in ordered["consumeStatsList"] for group, tables in each.items()}
    assert found["g"] == [] and len(found["h"]) == 1


def test_how_long_the_next_message_has_been_waiting(world, client):
    world.put(b"one")
    world.run(30)
    world.put(b"two")
    world.commit(client, 0, 1)
    world.run(70)
    code, _, body = world.told(client, Request.QUERY_CONSUME_TIME_SPAN, {"group": "g", "topic": "T"})
    first, empty = body["consumeTimeSpanSet"]
    assert code == 0 and first["messageQueue"] == {"brokerName": "broker-a", "queueId": 0, "topic": "T"}
    assert first["minTimeStamp"] == first["consumeTimeStamp"] < first["maxTimeStamp"]
    assert 70_000 <= first["delayTime"] < 75_000
    assert [empty[name] for name in ("minTimeStamp", "maxTimeStamp", "delayTime")] == [-1, -1, 0]
    assert world.told(client, Request.QUERY_CONSUME_TIME_SPAN, {"group": "g", "topic": "x"})[0] == 17


def test_who_reads_a_topic_and_what_a_group_reads(world, client):
    world.commit(client, 0, 0, group="g")
    world.broker.groups.commit(b"once", b"T", 0, 1)
    told = world.told(client, Request.QUERY_TOPIC_CONSUME_BY_WHO, {"topic": "T"})[2]
    assert sorted(told["groupList"]) == ["g", "once"]
    told = world.told(client, Request.QUERY_TOPICS_BY_CONSUMER, {"group": "g"})[2]
    assert told == {"brokerAddr": "127.0.0.1:10911", "topicList": ["T"]}
    fields = {"group": "g", "topic": "T"}
    told = world.told(client, Request.QUERY_SUBSCRIPTION_BY_CONSUMER, fields)[2]
    assert told["subscriptionData"]["subString"] == "*" and (told["group"], told["topic"]) == ("g", "T")
    told = world.told(client, Request.QUERY_SUBSCRIPTION_BY_CONSUMER, fields | {"group": "nobody"})[2]
    assert told == {"group": "nobody", "topic": "T"}


def test_a_topic_of_many_queues_is_gathered_in_slices_with_few_reads_at_once(world, client, monkeypatch):
    monkeypatch.setattr(gathering, "STEPS_AT_ONCE", 10)
    monkeypatch.setattr(gathering, "READS", 4)
    world.topic("many", queues=95)
    for queue in range(95):
        if queue % 3:
            world.put(b"x", topic="many", queue=queue)
    world.stop()
    world.boot(clean=True)
    client = world.client()
    world.join(client, "g", "many")
    for queue in range(95):
        if queue % 3:
            world.broker.groups.commit(b"g", b"many", queue, 1)
    told = stats(world, client, topic="many")["offsetTable"]
    assert len(told) == 95 and sum(row["lastTimestamp"] > 0 for row in told.values()) == 63
