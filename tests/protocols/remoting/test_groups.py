"""Verbs about consumer groups, as mqadmin asks them; and how far a group has come."""

import json
from types import SimpleNamespace

import pytest

from core.state.records import GroupFact
from protocols.remoting import groups, offsets
from protocols.remoting.remoting import Remoting
from protocols.remoting.verbs import table
from tests.protocols.remoting.world import ONEWAY, BrokerWorld, request

MQADMIN = {  # what `updateSubGroup -g g` of 5.5.0 sends
    **{"attributes": {}, "brokerId": 0, "consumeBroadcastEnable": False, "consumeEnable": True},
    **{"consumeFromMinEnable": False, "consumeMessageOrderly": False, "consumeTimeoutMinute": 15, "groupName": "g"},
    **{"groupRetryPolicy": {"type": "CUSTOMIZED"}, "groupSysFlag": 0, "notifyConsumerIdsChangedEnable": True},
    **{"retryMaxTimes": 16, "retryQueueNums": 1, "whichBrokerWhenConsumeSlowly": 1},
}


class Queue:
    """Of a topic queue, what is asked here; `cold`: nothing of it is in memory."""

    def __init__(self, first=0, end=0, cold=False):
        self.min_offset, self.max_offset, self.cold = first, end, cold

    def read(self, offset, count, bytes_max, codes, done):
        return None if self.cold else ([b"record"], 1, 0)


def topic(*queues, write=None):
    return SimpleNamespace(config=SimpleNamespace(read_queues=len(queues), write_queues=write or 0), queues=queues)


@pytest.fixture
def world():
    made = BrokerWorld().boot()
    made.topics = {}
    made.broker.topics = SimpleNamespace(find=made.topics.get, all=lambda: [])
    made.remoting = Remoting(made.broker, table((groups.VERBS, offsets.VERBS)))
    return made


@pytest.fixture
def client(world):
    return world.client()


def put(client, **changes):
    return client.ask(200, body=json.dumps(MQADMIN | changes).encode())[0]["code"]


def test_a_group_is_made_as_mqadmin_says_and_shown_as_it_said(client):
    policy = {"exponentialRetryPolicy": {"initial": 1}, "type": "EXPONENTIAL"}
    assert put(client, groupRetryPolicy=policy, retryMaxTimes=3) == 0
    header, body = client.ask(352, {"group": "g"})
    assert header["code"] == 0
    assert json.loads(body) == MQADMIN | {"groupRetryPolicy": policy, "retryMaxTimes": 3}


def test_making_is_answered_when_it_is_in_the_log(world, client):
    data = bytearray(request(200, body=json.dumps(MQADMIN).encode()))
    assert client.connection.receive(data, 0, len(data)) == len(data)
    client.connection.flush()
    assert client.received() == []
    world.run()
    assert [header["code"] for header, _ in client.received()] == [0]
    world.crash()
    world.boot()
    assert world.broker.groups.config(b"g").retry_max_times == 16


def test_all_groups_are_listed_with_their_version_in_pages_if_asked_for(client):
    assert json.loads(client.ask(201)[1]) == {
        "dataVersion": {"counter": 0, "stateVersion": 0, "timestamp": 0},
        "forbiddenTable": {},
        "subscriptionGroupTable": {},
    }
    for number in range(5):
        put(client, groupName=f"g{number}")
    header, body = client.ask(201)
    found = json.loads(body)
    assert header["extFields"] == {"totalGroupNum": "5"} and found["dataVersion"]["counter"] == 5
    assert found["subscriptionGroupTable"]["g3"] == MQADMIN | {"groupName": "g3"}
    header, body = client.ask(201, {"groupSeq": 3, "maxGroupNum": 1, "dataVersion": "null"})
    assert list(json.loads(body)["subscriptionGroupTable"]) == ["g3"] and header["extFields"]["totalGroupNum"] == "5"


def test_attributes_are_set_and_removed_in_rocketmqs_way(world, client):
    put(client, attributes={"+a": "1", "+b": "2"})
    put(client, attributes={"-a": "", "+b": "3"})
    assert world.broker.groups.config(b"g").attributes == {"b": "3"}
    header, _ = client.ask(200, body=json.dumps(MQADMIN | {"attributes": {"a": "1"}}).encode())
    assert (header["code"], header["remark"]) == (1, "add/alter attribute format is wrong: a")
    assert world.broker.groups.config(b"g").attributes == {"b": "3"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 1),
        (b"{}", 1),
        (b'{"groupName":"a b"}', 29),
        (b'{"groupName":""}', 29),
        (b'{"groupName":"g","retryMaxTimes":2147483648}', 1),
        (b'{"groupName":"g","subscriptionDataSet":"%b"}' % (b"x" * (17 << 10)), 29),
    ],
)
def test_what_is_no_group_is_refused(world, client, body, code):
    assert client.ask(200, body=body)[0]["code"] == code
    assert world.broker.groups.all() == []


def test_a_list_of_groups_is_made_or_nothing_of_it(world, client):
    names = ["a", "b", "no good"]
    body = json.dumps({"groupConfigList": [MQADMIN | {"groupName": name} for name in names]}).encode()
    assert client.ask(225, body=body)[0]["code"] == 29 and world.broker.groups.all() == []
    assert client.ask(225, body=body.replace(b"no good", b"c"))[0]["code"] == 0
    assert [fact.name for fact in world.broker.groups.all()] == ["a", "b", "c"]


def test_a_group_that_is_not_there_is_made_when_shown_unless_that_is_off(world, client):
    assert client.ask(352, {"group": "g"})[0]["code"] == 0
    world.broker.groups.auto_create = False
    header, _ = client.ask(352, {"group": "h"})
    assert (header["code"], header["remark"]) == (26, "No group in this broker. group: h")
    assert client.ask(352, {"group": "CID_RMQ_SYS_X"})[0]["code"] == 0
    assert client.ask(352, {"group": "x" * 121})[0]["code"] == 26


@pytest.mark.parametrize(("clean", "left"), [("true", {}), ("false", {"t": {0: 1}}), (None, {"t": {0: 1}})])
def test_a_group_is_deleted_and_its_offsets_if_asked_for(world, client, clean, left):
    put(client)
    world.broker.groups.commit(b"g", b"t", 0, 1)
    fields = {"groupName": "g"} if clean is None else {"groupName": "g", "cleanOffset": clean}
    assert client.ask(207, fields)[0]["code"] == 0
    assert world.broker.groups.offsets_of(b"g") == left and world.broker.groups.all() == []


def ask_offset(client, queue=0, **more):
    header, _ = client.ask(14, {"consumerGroup": "g", "topic": "t", "queueId": queue, **more})
    return header["code"], header.get("extFields", {}).get("offset", header.get("remark"))


@pytest.mark.parametrize(
    ("queue", "answer"),
    [
        (Queue(), (0, "0")),
        (Queue(0, 9), (0, "0")),
        (Queue(0, 9, cold=True), (22, offsets.NOT_FOUND)),
        (Queue(3, 9), (22, offsets.NOT_FOUND)),
    ],
)
def test_a_group_that_never_came_starts_at_the_beginning_of_what_is_young_and_else_where_its_client_says(
    world, client, queue, answer
):
    world.topics[b"t"] = topic(queue)
    assert ask_offset(client) == answer
    assert ask_offset(client, setZeroIfNotFound="false") == (22, offsets.NOT_ZERO)
    assert ask_offset(client, queue=1) == (22, offsets.NOT_FOUND)


def test_an_offset_that_was_said_is_what_is_asked_later_by_whomever(world, client):
    world.topics[b"t"] = topic(Queue(), Queue())
    world.broker.groups.put(GroupFact(name="g"))
    fields = {"consumerGroup": "g", "topic": "t", "queueId": 1, "commitOffset": 77}
    client.send(request(15, fields, flag=ONEWAY))
    assert client.received() == [] and ask_offset(world.client(), queue=1) == (0, "77")
    assert client.ask(15, fields | {"commitOffset": 5})[0]["code"] == 0
    world.crash()
    world.boot()
    assert world.broker.groups.offset(b"g", b"t", 1) == 5


@pytest.mark.parametrize(
    ("changes", "code", "remark"),
    [
        ({"consumerGroup": "h"}, 26, "Group h not exist!"),
        ({"topic": "u"}, 17, "Topic u not exist!"),
        ({"queueId": 4}, 29, "Topic t has no queue 4"),
        ({"queueId": -1}, 29, "Topic t has no queue -1"),
        ({"commitOffset": -1}, 29, "-1 is no offset: 0..9223372036854775807"),
    ],
)
def test_an_offset_of_what_is_not_there_is_refused(world, client, changes, code, remark):
    world.topics[b"t"] = topic(Queue(), write=4)
    world.broker.groups.put(GroupFact(name="g"))
    header, _ = client.ask(15, {"consumerGroup": "g", "topic": "t", "queueId": 3, "commitOffset": 1} | changes)
    assert (header["code"], header["remark"]) == (code, remark)
