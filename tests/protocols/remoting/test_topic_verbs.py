"""Topics and their queues by request: RocketMQ's answers, in its JSON, and its refusals."""

import json

import pytest

from core.state.records import TopicConfig
from protocols.remoting import attributes
from protocols.remoting.codes import Request
from protocols.remoting.fastjson import strict
from tests.protocols.remoting.native_world import NativeWorld, send_fields, text
from tests.protocols.remoting.world import request

CREATE, CREATE_LIST = Request.UPDATE_AND_CREATE_TOPIC, Request.UPDATE_AND_CREATE_TOPIC_LIST
DELETE, SHOW, SHOW_ALL = Request.DELETE_TOPIC_IN_BROKER, Request.GET_TOPIC_CONFIG, Request.GET_ALL_TOPIC_CONFIG
STATS, SYSTEM = Request.GET_TOPIC_STATS_INFO, Request.GET_SYSTEM_TOPIC_LIST_FROM_BROKER
MAX, MIN = Request.GET_MAX_OFFSET, Request.GET_MIN_OFFSET
SEARCH, EARLIEST = Request.SEARCH_OFFSET_BY_TIMESTAMP, Request.GET_EARLIEST_MSG_STORETIME


@pytest.fixture
def world():
    return NativeWorld()


@pytest.fixture
def client(world):
    return world.client()


def create_fields(topic="T", **more):
    fields = {"topic": topic, "defaultTopic": "TBW102", "readQueueNums": 8, "writeQueueNums": 4, "perm": 6}
    fields |= {"topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false", "attributes": "", "force": "false"}
    return fields | more


def done(client, code, fields=None, body=b""):
    """The answer, which comes with the commit."""
    client.send(request(code, fields, body))
    assert client.received() == []
    client.world.commit()
    ((header, body),) = client.received()
    return header["code"], header.get("remark"), body


def put(world, count, queue=0):
    sender = world.client(port=60000)
    for _ in range(count):
        sender.send(request(Request.SEND_MESSAGE_V2, send_fields(e=queue, i=text(UNIQ_KEY="1")), b"hi"))
    world.commit()


def test_a_topic_is_made_and_changed_and_deleted(world, client):
    assert done(client, CREATE, create_fields(attributes="+message.type=FIFO", order="true")) == (0, None, b"")
    config = TopicConfig(
        name=b"T", read_queues=8, write_queues=4, order=True, attributes={"message.type": "FIFO"}
    )  # fmt: skip
    assert world.topics.find(b"T").config == config
    assert done(client, CREATE, create_fields(perm=4, attributes="-message.type"))[0] == 0
    assert world.topics.find(b"T").config == TopicConfig(name=b"T", read_queues=8, write_queues=4, perm=4)
    gone = []
    world.remoting.topics.forget = gone.append
    assert done(client, DELETE, {"topic": "T"}) == (0, None, b"")
    assert world.topics.find(b"T") is None and gone == [b"T"]


def test_what_changes_nothing_is_no_change(world, client):
    done(client, CREATE, create_fields())
    before = world.topics.version
    assert client.ask(CREATE, create_fields())[0]["code"] == 0
    assert client.ask(DELETE, {"topic": "none"})[0]["code"] == 0
    assert world.topics.version == before


def test_a_list_of_topics_is_made_as_a_whole(world, client):
    good, bad = {"topicName": "A", "readQueueNums": 2, "writeQueueNums": 2}, {"topicName": "a b"}
    header, _ = client.ask(CREATE_LIST, None, json.dumps({"topicConfigList": [good, bad]}).encode())
    assert header["code"] == 29 and world.topics.find(b"A") is None
    assert done(client, CREATE_LIST, None, json.dumps({"topicConfigList": [good]}).encode())[0] == 0
    assert world.topics.find(b"A").config.read_queues == 2


@pytest.mark.parametrize(
    "fields, code, remark",
    [
        (
            {"topic": "a.b"},
            29,
            "The specified topic: a.b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$",
        ),
        ({"topic": "TBW102"}, 29, "The topic[TBW102] is conflict with system topic."),
        ({"topic": "broker-a"}, 29, "The topic[broker-a] is conflict with system topic."),
        ({"topic": "DefaultCluster_REPLY_TOPIC"}, 29,
         "The topic[DefaultCluster_REPLY_TOPIC] is conflict with system topic."),
        ({"topicFilterType": "X"}, 1, "topicFilterType = [X] value invalid"),
        ({"attributes": "+message.type=MIXED"}, 29, "MIXED message type is not supported."),
        ({"attributes": "message.type=FIFO"}, 1, "add/alter attribute format is wrong: message.type"),
        ({"attributes": "+colour=red"}, 1, "unsupported key: colour"),
        ({"readQueueNums": -1}, 29, "a topic has 0 to 65536 queues, not -1"),
        ({"writeQueueNums": 65_537}, 29, "a topic has 0 to 65536 queues, not 65537"),
    ],
)
def test_a_topic_that_cannot_be_is_refused(world, client, fields, code, remark):
    before = world.log.appended
    header, _ = client.ask(CREATE, create_fields(**fields))
    assert (header["code"], header["remark"]) == (code, remark)
    assert world.log.appended == before


@pytest.mark.parametrize("topic, remark", [(" ", "The specified topic is blank."),
                                           ("TBW102", "The topic[TBW102] is conflict with system topic.")])  # fmt: skip
def test_topics_of_the_broker_itself_are_not_deleted(world, client, topic, remark):
    header, _ = client.ask(DELETE, {"topic": topic})
    assert (header["code"], header["remark"]) == (29, remark)


def test_a_topic_is_shown_in_rocketmqs_json(world, client):
    world.topic(b"T", 3, attributes={"message.type": "FIFO"})
    header, body = client.ask(SHOW, {"topic": "T", "lo": "true"})
    assert header["code"] == 0
    assert body == (
        b'{"attributes":{"message.type":"FIFO"},"order":false,"perm":6,"readQueueNums":3,'
        b'"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":3}'
    )
    header, body = client.ask(SHOW, {"topic": "U"})
    assert (header["code"], header["remark"], body) == (17, "No topic in this broker. topic: U", b"")


def test_all_topics_are_shown_also_in_parts(world, client):
    world.topic(b"T", 3)
    header, body = client.ask(SHOW_ALL, {})
    whole = json.loads(body)
    total = int(header["extFields"]["totalTopicNum"])
    assert total == len(whole["topicConfigTable"]) == 13
    assert whole["topicConfigTable"]["T"]["readQueueNums"] == 3
    assert whole["topicConfigTable"]["TBW102"]["perm"] == 7
    assert whole["topicQueueMappingDetailMap"] == {}
    version = whole["dataVersion"]
    assert set(version) == {"counter", "stateVersion", "timestamp"}
    parts, asked = {}, {"topicSeq": 0, "maxTopicNum": 5}
    while len(parts) < total:
        header, body = client.ask(SHOW_ALL, asked)
        part = json.loads(body)["topicConfigTable"]
        assert not parts.keys() & part.keys() and len(part) <= 5
        parts |= part
        asked = {"topicSeq": len(parts), "maxTopicNum": 5, "dataVersion": json.dumps(version)}
    assert parts == whole["topicConfigTable"]
    asked["dataVersion"] = json.dumps(version | {"counter": -1})
    assert list(json.loads(client.ask(SHOW_ALL, asked)[1])["topicConfigTable"]) == list(parts)[:5]


def test_the_brokers_own_topics_are_listed(world, client):
    found = json.loads(client.ask(SYSTEM)[1])["topicList"]
    assert {"TBW102", "SCHEDULE_TOPIC_XXXX", "DefaultCluster", "broker-a", "RMQ_SYS_TRACE_TOPIC"} <= set(found)
    assert {config.config.name.decode() for config in world.topics.all()} <= set(found)


def test_statistics_tell_each_queues_bounds_and_last_time(world, client):
    world.topic(b"T", 2)
    put(world, 3, queue=1)
    stored = world.messages()[-1].store_ms
    body = client.ask(STATS, {"topic": "T"})[1]
    assert body == (
        b'{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:'
        b'{"lastUpdateTimestamp":0,"maxOffset":0,"minOffset":0},'
        b'{"brokerName":"broker-a","queueId":1,"topic":"T"}:'
        b'{"lastUpdateTimestamp":%d,"maxOffset":3,"minOffset":0}},"topicPutTps":0.0}' % stored
    )
    assert len(json.loads(strict(body))["offsetTable"]) == 2
    header, _ = client.ask(STATS, {"topic": "U"})
    assert (header["code"], header["remark"]) == (17, "topic[U] not exist")


# --- queues


def offset(client, code, name="offset", **fields):
    header, _ = client.ask(code, {"topic": "T", "queueId": 0} | fields)
    assert header["code"] == 0
    return int(header["extFields"][name])


def test_a_queues_bounds_are_those_of_what_is_committed(world, client):
    world.topic()
    assert (offset(client, MIN), offset(client, MAX)) == (0, 0)
    put(world, 3)
    world.topics.find(b"T").queues[0].min_offset = 1
    world.client().send(request(Request.SEND_MESSAGE_V2, send_fields(), b"hi"))
    world.run()
    assert (offset(client, MIN), offset(client, MAX)) == (1, 3)


@pytest.mark.parametrize("fields", [{"topic": "U"}, {"queueId": 4}, {"queueId": -1}])
def test_a_queue_that_is_not_there_is_empty(world, client, fields):
    world.topic()
    assert [offset(client, code, **fields) for code in (MIN, MAX)] == [0, 0]
    assert offset(client, SEARCH, timestamp=5, **fields) == 0
    assert offset(client, EARLIEST, "timestamp", **fields) == -1


def test_times_are_looked_up_in_the_queue(world, client):
    world.topic()
    put(world, 2)
    queue = world.topics.find(b"T").queues[0]
    queue.offset_at = lambda ms, upper, done: done(ms + upper)
    assert offset(client, SEARCH, timestamp=40) == offset(client, SEARCH, timestamp=40, boundaryType="LOWER") == 40
    assert offset(client, SEARCH, timestamp=40, boundaryType="upper") == 41
    assert offset(client, EARLIEST, "timestamp") == world.messages()[0].store_ms
    header, _ = client.ask(SEARCH, {"topic": "T", "queueId": 0, "timestamp": 1, "boundaryType": "middle"})
    assert header["code"] == 1 and "middle" in header["remark"]


def test_a_queue_that_cannot_be_read_says_so(world, client):
    world.topic()
    put(world, 2)
    queue = world.topics.find(b"T").queues[0]
    queue.offset_at = lambda ms, upper, done: done(OSError("gone"))
    header, _ = client.ask(SEARCH, {"topic": "T", "queueId": 0, "timestamp": 1})
    assert (header["code"], header["remark"]) == (1, "the queue cannot be read: gone")


# --- attributes


def test_attributes_change_as_asked_for():
    change = attributes.parse("+message.type=FIFO,+reserve.time=3")
    made = attributes.altered(None, change)
    assert made == {"message.type": "FIFO", "reserve.time": "3"}
    assert attributes.altered(made, attributes.parse("-reserve.time,+message.type=DELAY")) == {"message.type": "DELAY"}
    assert attributes.parse("") == {} and attributes.altered(made, {}) == made


@pytest.mark.parametrize(
    "current, change, remark",
    [
        (None, "x", "delete attribute format is wrong: x"),
        (None, "x=1", "add/alter attribute format is wrong: x"),
        (None, "+x=1,+x=2", "key duplication: +x"),
        (None, "-message.type", "only add attribute is supported while creating topic. key: message.type"),
        (None, "+", "delete attribute format is wrong: +"),
        (None, "+a-b=1", "kv string format wrong."),
        ({}, "-message.type", "attempt to delete a nonexistent key: message.type"),
        ({"reserve.time": "1"}, "+reserve.time=2,-reserve.time", "alter duplication key. key: reserve.time"),
        ({}, "+queue.type=SimpleCQ", "attempt to update an unchangeable attribute. key: queue.type"),
        (None, "+message.type=x", "value is not in set: [UNSPECIFIED, NORMAL, FIFO, DELAY, TRANSACTION, MIXED]"),
        (None, "+reserve.time=x", 'For input string: "x"'),
        (None, "+reserve.time=-2", "value is not in range(-1, 9223372036854775807)"),
        (None, "+queue.type=BatchCQ", "queue.type BatchCQ is not served by this broker"),
        (None, "+cleanup.policy=COMPACTION", "cleanup.policy COMPACTION is not served by this broker"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(current, change, remark):
    with pytest.raises(attributes.AttributeRefused) as refused:
        attributes.altered(current, attributes.parse(change))
    assert str(refused.value) == remark
