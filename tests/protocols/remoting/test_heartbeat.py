"""Clients that come, stay and go: what Java's and Go's heartbeats do, who hears of it, and what tools are shown."""

import json
from types import SimpleNamespace

import pytest

from protocols.remoting.locks import LEASE_SECONDS, Locks
from protocols.remoting.members import EXPIRY_SECONDS
from tests.protocols.remoting.world import ONEWAY, BrokerWorld, request

SUBSCRIPTION = {
    **{"classFilterMode": False, "codeSet": [2598919], "expressionType": "TAG", "subString": "TagA"},
    **{"subVersion": 100, "tagsSet": ["TagA"], "topic": "t"},
}
CONSUMER = {  # as the Java client 5.5.0 sends it
    **{"consumeFromWhere": "CONSUME_FROM_LAST_OFFSET", "consumeType": "CONSUME_PASSIVELY", "groupName": "g"},
    **{"messageModel": "CLUSTERING", "subscriptionDataSet": [SUBSCRIPTION], "unitMode": False},
}


class Topics:
    """Of the broker's topics, what heartbeats need."""

    def __init__(self, world):
        self.world = world
        self.configs = {}

    def find(self, name):
        return self.configs.get(name)

    def put(self, config):
        self.configs[config.name] = config
        self.world.broker.topology.declare_exchange(
            self.world.vhost, config.name.decode(), "fanout", durable=True, arguments={}
        )


@pytest.fixture
def world():
    made = BrokerWorld().boot()
    made.broker.topics = Topics(made)
    return made


def beat(client, *consumers, producers=(), client_id="c1", **more):
    data = {
        "clientID": client_id,
        "consumerDataSet": list(consumers),
        "heartbeatFingerprint": 0,
        "producerDataSet": [{"groupName": name} for name in producers],
        "withoutSub": False,
    }
    client.send(request(34, body=json.dumps(data | more).encode()))
    return client.received()


def codes(frames):
    return [header["code"] for header, _ in frames]


def told(client):
    """The groups whose members it was told to look for."""
    found = [header for header, _ in client.received() if header["code"] == 40]
    assert all(header["flag"] == ONEWAY for header in found)
    return [header["extFields"]["consumerGroup"] for header in found]


def ids(client, group="g"):
    header, body = client.ask(38, {"consumerGroup": group})
    return json.loads(body)["consumerIdList"] if header["code"] == 0 else (header["code"], header["remark"])


def test_the_c_client_says_what_kind_of_consumer_it_is_by_numbers(world):
    client = world.client()
    numbers = {"consumeFromWhere": 4, "consumeType": 1, "messageModel": 0}
    (header, _), *_ = beat(client, CONSUMER | numbers | {"subscriptionDataSet": [SUBSCRIPTION | {"subVersion": "7"}]})
    assert header["code"] == 0
    header, body = client.ask(203, {"consumerGroup": "g"})
    told = json.loads(body)
    assert told["consumeFromWhere"] == "CONSUME_FROM_FIRST_OFFSET"
    assert (told["consumeType"], told["messageModel"]) == ("CONSUME_PASSIVELY", "BROADCASTING")
    assert told["subscriptionTable"]["t"]["subVersion"] == 7
    (header, _), *_ = beat(client, CONSUMER | {"messageModel": 9})
    header, body = client.ask(203, {"consumerGroup": "g"})
    assert json.loads(body)["messageModel"] == ""


def test_a_consumers_first_heartbeat_makes_its_group_and_its_retry_topic_before_it_is_answered(world):
    client = world.client()
    (header, _), *_ = beat(client, CONSUMER)
    assert header["code"] == 0
    assert header["extFields"] == {"IS_SUB_CHANGE": "true", "IS_SUPPORT_HEART_BEAT_V2": "true"}
    assert world.broker.groups.config(b"g") is not None
    topic = world.broker.topics.find(b"%RETRY%g")
    assert (topic.read_queues, topic.write_queues, topic.perm, topic.sys_flag) == (1, 1, 6, 0)
    assert ids(client) == ["c1"]


def test_the_answer_waits_until_what_was_made_is_in_the_log(world):
    client = world.client()
    data = {"clientID": "c1", "consumerDataSet": [CONSUMER]}
    data = bytearray(request(34, body=json.dumps(data).encode()))
    client.connection.receive(data, 0, len(data))
    client.connection.flush()
    assert client.received() == []
    world.run()
    assert 0 in codes(client.received())


def test_members_are_told_of_each_other_at_each_join_and_leave_once(world):
    first, second, third = world.client(), world.client(port=2), world.client(port=3)
    assert codes(beat(first, CONSUMER)) == [0, 40]
    beat(second, CONSUMER, client_id="c2")
    assert told(first) == ["g"]
    beat(second, CONSUMER, client_id="c2")
    assert told(first) == [] == told(second), "nothing changed"
    beat(third, CONSUMER | {"groupName": "other"}, client_id="c3")
    assert told(first) == []
    assert second.ask(35, {"clientID": "c2", "consumerGroup": "g"})[0]["code"] == 0
    assert told(first) == ["g"] and told(second) == [] and ids(first) == ["c1"]
    first.connection.lost()
    world.run()
    assert ids(second) == (1, "no consumer for this group, g")


def test_a_connection_that_ends_leaves_all_of_its_groups(world):
    first, second = world.client(), world.client(port=2)
    beat(first, CONSUMER, CONSUMER | {"groupName": "h"}, producers=["p"])
    beat(second, CONSUMER, CONSUMER | {"groupName": "h"}, client_id="c2", producers=["p"])
    first.received()
    second.connection.lost()
    world.run()
    assert sorted(told(first)) == ["g", "h"] and ids(first) == ids(first, "h") == ["c1"]
    assert world.remoting.clients.producer_by_id("c2") is None
    first.connection.lost()
    clients = world.remoting.clients
    assert (clients.consuming, clients.producing, clients._groups) == ({}, {}, {})


def test_many_that_come_at_once_are_one_round_of_telling(world):
    clients = [world.client(port=number) for number in range(20)]
    for number, client in enumerate(clients):
        data = {"clientID": f"c{number}", "consumerDataSet": [CONSUMER]}
        data = bytearray(request(34, body=json.dumps(data).encode()))
        client.connection.receive(data, 0, len(data))
    world.run()
    assert {tuple(told(client)) for client in clients} == {("g",)}


@pytest.mark.parametrize("quiet", ["broadcasting", "group"])
def test_who_shares_no_queues_or_wants_to_hear_nothing_is_not_told(world, quiet):
    client = world.client()
    consumer = CONSUMER
    if quiet == "group":
        body = b'{"groupName":"g","notifyConsumerIdsChangedEnable":false}'
        assert client.ask(200, body=body)[0]["code"] == 0
    else:
        consumer = CONSUMER | {"messageModel": "BROADCASTING"}
    assert codes(beat(client, consumer)) == [0]
    beat(world.client(port=2), consumer, client_id="c2")
    assert told(client) == []


def test_who_reads_nothing_is_told_nothing(world):
    slow = world.client()
    beat(slow, CONSUMER)
    slow.connection.pause_writing()
    beat(world.client(port=2), CONSUMER, client_id="c2")
    assert told(slow) == []


def test_a_newer_subscription_replaces_an_older_one_never_the_other_way(world):
    client, clients = world.client(), world.remoting.clients

    def subscribed():
        found = clients.consumers(b"g").subscription(b"t")
        return found.version, found.expression.text

    for version, text, expected in (
        (100, "TagA", (100, "TagA")),
        (99, "old", (100, "TagA")),
        (100, "same", (100, "TagA")),
        (101, "TagB || TagC", (101, "TagB || TagC")),
    ):
        beat(client, CONSUMER | {"subscriptionDataSet": [SUBSCRIPTION | {"subVersion": version, "subString": text}]})
        assert subscribed() == expected
    assert len(clients.consumers(b"g").subscription(b"t").expression.codes) == 2


def test_topics_that_come_and_go_are_a_change_that_members_hear_of(world):
    client, other = world.client(), world.client(port=2)
    beat(client, CONSUMER)
    beat(other, CONSUMER, client_id="c2")
    client.received()
    two = CONSUMER | {"subscriptionDataSet": [SUBSCRIPTION, SUBSCRIPTION | {"topic": "u"}]}
    for consumer, topics in ((two, {b"t", b"u"}), (CONSUMER, {b"t"})):
        beat(other, consumer, client_id="c2")
        assert told(client) == ["g"]
        assert world.remoting.clients.consumers(b"g").subscriptions.keys() == topics


def test_a_heartbeat_without_subscriptions_keeps_those_that_are_there(world):
    client = world.client()
    beat(client, CONSUMER)
    bare = CONSUMER | {"subscriptionDataSet": []}
    (header, _), *more = beat(client, bare, heartbeatFingerprint=5, withoutSub=True)
    assert header["extFields"]["IS_SUB_CHANGE"] == "false" and more == []
    assert world.remoting.clients.consumers(b"g").subscription(b"t") is not None
    other = world.client(port=2)
    (header, _), *_ = beat(other, bare | {"groupName": "new"}, heartbeatFingerprint=5, withoutSub=True)
    assert header["extFields"]["IS_SUB_CHANGE"] == "true", "it is to say all of it"


def test_a_client_that_is_not_heard_of_leaves_and_its_connection_ends(world):
    silent, other = world.client(), world.client(port=2)
    beat(silent, CONSUMER, producers=["p"])
    world.run(EXPIRY_SECONDS / 2)
    beat(other, CONSUMER, client_id="c2")
    world.run(EXPIRY_SECONDS / 2 + 1)
    for client in (silent, other):
        client.received()
        client.ask(38, {"consumerGroup": "none"})  # alive, but no heartbeat
    for client in (silent, other):
        client.connection.tick(world.clock.monotonic())
    world.run()
    assert silent.transport.closed and not other.transport.closed
    assert told(other) == ["g"] and ids(other) == ["c2"]
    assert world.remoting.clients.producers(b"p") is None


def test_only_the_group_that_is_not_heard_of_is_left(world):
    client = world.client()
    beat(client, CONSUMER, CONSUMER | {"groupName": "h"})
    world.run(EXPIRY_SECONDS - 1)
    beat(client, CONSUMER)
    world.run(2)
    client.connection.tick(world.clock.monotonic())
    assert not client.transport.closed and ids(client) == ["c1"] and ids(client, "h")[0] == 1


def test_a_group_that_may_not_be_made_is_passed_over(world):
    world.broker.groups.auto_create = False
    client = world.client()
    assert codes(beat(client, CONSUMER, CONSUMER | {"groupName": "no good"}, producers=["p", "no good"])) == [0]
    assert ids(client)[0] == 1 and list(world.remoting.clients.producing) == [b"p"]
    assert world.broker.topics.configs == {}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"clientID":"c","consumerDataSet":5}', bytes(2 << 20)])
def test_what_is_no_heartbeat_is_refused(world, body):
    assert world.client().ask(34, body=body)[0]["code"] == 1


def test_a_heartbeat_as_go_and_older_clients_send_it_is_understood(world):
    client = world.client()
    data = '{"clientID":"c","consumerDataSet":[{"groupName":"g","consumeType":"CONSUME_PASSIVELY","messageModel":'
    data += '"Clustering","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","subscriptionDataSet":[{"classFilterMode":'
    data += 'false,"topic":"t","subString":"*","tagsSet":null,"codeSet":null,"subVersion":7,"expressionType":"TAG"}]'
    data += ',"unitMode":false}],"producerDataSet":null}'
    client.send(request(34, body=data.encode()))
    assert codes(client.received())[0] == 0
    assert world.remoting.clients.consumers(b"g").subscription(b"t").expression.codes is None


# -- what tools see


def test_tools_are_shown_who_is_there(world):
    client = world.client(port=4242)
    beat(client, CONSUMER, producers=["p"])
    row = {"clientAddr": "127.0.0.1:4242", "clientId": "c1", "language": "JAVA", "version": 479}
    _, body = client.ask(203, {"consumerGroup": "g"})
    assert json.loads(body) == {
        "connectionSet": [row],
        "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET",
        "consumeType": "CONSUME_PASSIVELY",
        "messageModel": "CLUSTERING",
        "subscriptionTable": {"t": SUBSCRIPTION},
    }
    assert json.loads(client.ask(204, {"producerGroup": "p"})[1]) == {"connectionSet": [row]}
    ((shown,),) = json.loads(client.ask(328)[1])["data"].values()
    assert shown["remoteIP"] == "/127.0.0.1:4242" and abs(shown["lastUpdateTimestamp"] - world.clock.ms) < 60_000
    for code, field, answer in ((203, "consumerGroup", 206), (204, "producerGroup", 1)):
        header, _ = client.ask(code, {field: "none"})
        assert header["code"] == answer and "group[none] not" in header["remark"]


@pytest.mark.parametrize(
    ("kind", "text", "code"),
    [("TAG", "anything", 0), ("SQL92", "a > 5 AND b = 'x'", 0), ("SQL92", "a >", 23), ("XPATH", "a", 23)],
)
def test_a_subscription_is_checked(world, kind, text, code):
    subscription = SUBSCRIPTION | {"expressionType": kind, "subString": text}
    body = {"clientId": "c", "group": "g", "subscriptionData": subscription}
    header, _ = world.client().ask(46, body=json.dumps(body).encode())
    assert header["code"] == code and (code == 0 or header["remark"])


def test_producers_of_a_group_are_asked_in_turns(world):
    first, second = world.client(), world.client(port=2)
    beat(first, producers=["p"])
    beat(second, client_id="c2", producers=["p"])
    clients = world.remoting.clients
    asked = [clients.producer(b"p") for _ in range(4)]
    assert asked == [first.connection, second.connection] * 2
    first.connection.congested = True
    assert {clients.producer(b"p") for _ in range(3)} == {second.connection} and clients.producer(b"none") is None
    assert clients.producer_by_id("c2") is second.connection


# -- leases


def batch(client, code, *queues, client_id="c1"):
    rows = [{"brokerName": "b", "queueId": queue, "topic": "t"} for queue in queues]
    body = {"clientId": client_id, "consumerGroup": "g", "mqSet": rows, "onlyThisBroker": False}
    header, body = client.ask(code, body=json.dumps(body).encode())
    assert header["code"] == 0
    return [row["queueId"] for row in json.loads(body)["lockOKMQSet"]] if body else []


def test_a_queue_is_leased_to_one_client_until_it_is_given_back_or_the_lease_ends(world):
    client = world.client()
    assert batch(client, 41, 0, 1) == [0, 1]
    assert batch(client, 41, 1, 2, client_id="c2") == [2]
    batch(client, 42, 0, 1, 2, client_id="c2")
    assert batch(client, 41, 0, 1, 2, client_id="c3") == [2], "only what was its own"
    world.run(LEASE_SECONDS - 1)
    assert batch(client, 41, 0) == [0], "renewed"
    world.run(2)
    assert batch(client, 41, 0, 1, client_id="c2") == [1] and world.remoting.locks.held(b"g")
    world.run(LEASE_SECONDS + 1)
    assert not world.remoting.locks.held(b"g")


def test_leases_are_bounded_and_those_that_ended_make_room(monkeypatch):
    monkeypatch.setattr("protocols.remoting.locks.LOCKS_MAX", 4)
    time = SimpleNamespace(now=0.0)
    locks = Locks(lambda: time.now)
    queues = [("t", number) for number in range(6)]
    assert len(locks.lock(b"g", "c", queues)) == 4 and locks.lock(b"h", "c", queues) == set()
    time.now = LEASE_SECONDS + 1
    assert len(locks.lock(b"h", "c", queues)) == 4 and not locks.held(b"g")
    locks.unlock(b"h", "c", queues)
    assert locks._groups == {} and locks._count == 0
