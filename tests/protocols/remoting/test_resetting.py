"""Groups that are sent elsewhere: by the broker, or by their members; and offsets that another group goes on with."""

import pytest

from protocols.remoting.codes import Request
from tests.protocols.remoting.native_world import pull_fields
from tests.protocols.remoting.served_world import ServedWorld
from tests.protocols.remoting.test_consumption import key
from tests.protocols.remoting.world import frames, request

RESET, CLONE, QUERY = Request.INVOKE_BROKER_TO_RESET_OFFSET, Request.CLONE_GROUP_OFFSET, Request.QUERY_CONSUMER_OFFSET
MOVED = 21


def made(**rules):
    world = ServedWorld(**rules).boot()
    world.topic()
    world.put(b"one", b"two")
    world.run(500)
    world.put(b"three", b"four")
    return world


@pytest.fixture
def world():
    return made()


@pytest.fixture
def client(world):
    client = world.client()
    world.join(client, "g", "T")
    world.commit(client, 0, 4)
    return client


def reset(world, client, **more):
    fields = {"group": "g", "topic": "T", "timestamp": 0, "isForce": "true", "queueId": -1}
    return world.told(client, RESET, fields | more)


def offset(world, client, queue=0, group="g"):
    client.send(request(QUERY, {"consumerGroup": group, "topic": "T", "queueId": queue, "setZeroIfNotFound": "false"}))
    ((header, _),) = client.received()
    return int(header["extFields"]["offset"]) if header["code"] == 0 else None


def pull(client, at, suspend=0):
    fields = pull_fields(consumerGroup="g", queueOffset=at, sysFlag=4 | 1 | (2 if suspend else 0), commitOffset=4)
    client.send(request(Request.PULL_MESSAGE, fields | {"suspendTimeoutMillis": suspend}, opaque=99))
    return [(header["code"], int(header["extFields"]["nextBeginOffset"])) for header, _ in client.received()]


def test_to_a_time_every_queue_goes_and_the_answer_says_where(world, client):
    code, _, body = reset(world, client, timestamp=world.clock.ms - 250_000)
    assert code == 0 and body == {"offsetTable": {key(0): 2, key(1): 0}}
    assert offset(world, client) == 2
    assert reset(world, client, timestamp=-1)[2] == {"offsetTable": {key(0): 4, key(1): 0}}
    assert reset(world, client, timestamp=0)[2] == {"offsetTable": {key(0): 0, key(1): 0}}


def test_the_member_hears_it_with_its_next_pull_and_only_once_and_commits_nothing_before(world, client):
    reset(world, client)
    assert world.commit(client, 0, 4) == (0, "Offset has been previously reset")
    assert offset(world, client) == 0
    assert pull(client, 4) == [(MOVED, 0)]
    assert offset(world, client) == 0  # what that pull brought along does not count either
    assert world.commit(client, 0, 1) == (0, None)
    assert pull(client, 0) == [(0, 4)]


def test_a_pull_that_waits_is_answered_at_once(world, client):
    assert pull(client, 4, suspend=15000) == []
    other = world.client(port=50001)
    fields = pull_fields(consumerGroup="h", queueOffset=4, sysFlag=6, suspendTimeoutMillis=15000)
    other.send(request(Request.PULL_MESSAGE, fields))
    tool = world.client(port=50002)
    assert reset(world, tool)[0] == 0
    ((header, _),) = client.received()
    assert (header["code"], header["opaque"], header["extFields"]["nextBeginOffset"]) == (MOVED, 99, "0")
    assert other.received() == []
    assert world.commit(client, 0, 1) == (0, None)
    world.put(b"five")
    assert client.received() == [] and [header["code"] for header, _ in other.received()] == [0]


def test_one_queue_to_an_offset(world, client):
    assert reset(world, client, queueId=0, offset=1, timestamp=-1)[2] == {"offsetTable": {key(0): 1}}
    assert offset(world, client) == 1
    refused = reset(world, client, queueId=0, offset=7, timestamp=-1)
    assert refused[:2] == (1, "Target offset 7 not in consume queue range [0-4]")
    assert reset(world, client, queueId=2, offset=0)[:2] == (29, "Topic T has no queue 2")
    assert reset(world, client, queueId=0, timestamp=world.clock.ms - 250_000)[2] == {"offsetTable": {key(0): 2}}


@pytest.mark.parametrize(
    ("fields", "code", "remark"),
    [
        ({"topic": "x"}, 17, "Topic x does not exist"),
        ({"group": "x"}, 26, "Group x does not exist"),
    ],
)
def test_who_is_not_there_is_named(world, client, fields, code, remark):
    assert reset(world, client, **fields)[:2] == (code, remark)


def test_it_survives_a_crash_once_it_is_answered(world, client):
    fields = {"group": "g", "topic": "T", "timestamp": 0, "isForce": "true"}
    data = bytearray(request(RESET, fields))
    client.connection.receive(data, 0, len(data))
    while not client.received():
        world.run(0.001)
    world.crash()
    world.boot()
    assert world.broker.groups.offset(b"g", b"T", 0) == 0


def test_resets_that_nobody_asks_for_are_bounded_and_go_with_their_topic_or_group(world, client, monkeypatch):
    monkeypatch.setattr("core.groups.RESETS_MAX", 2)
    reset(world, client)
    world.topic("U", queues=1)
    assert reset(world, client, topic="U")[:2] == (
        1,
        "2 queues were reset and nobody has asked for them: reset fewer at once",
    )
    assert reset(world, client)[0] == 0
    world.told(client, Request.DELETE_TOPIC_IN_BROKER, {"topic": "T"})
    assert world.broker.groups.resets == {}
    reset(world, client, topic="U")
    world.told(client, Request.DELETE_SUBSCRIPTIONGROUP, {"groupName": "g"})
    assert world.broker.groups.resets == {}


def test_a_group_that_pops_goes_on_there_and_its_commits_count_again(world, client):
    reset(world, client, timestamp=0)
    fields = {"consumerGroup": "g", "topic": "T", "queueId": 0, "maxMsgNums": 32, "invisibleTime": 60_000}
    fields |= {"pollTime": 0, "bornTime": world.clock.ms, "initMode": 0, "exp": "*", "expType": "TAG", "order": "false"}
    client.send(request(Request.POP_MESSAGE, fields))
    ((header, body),) = client.received()
    assert header["code"] == 0 and b"one" in body and b"four" in body
    assert (b"g", b"T", 0) not in world.broker.groups.resets


# -- the members


def told(client):
    return [(header["code"], header["extFields"], body) for header, body in frames(bytes(client.transport.data))]


def test_members_are_told_when_the_broker_is_not_to_do_it():
    world = made(server_side_reset=False)
    client, tool = world.client(), world.client(port=50002)
    world.join(client, "g", "T")
    fields = {"timestamp": world.clock.ms - 250_000}
    assert reset(world, tool, **fields)[:2] == (1, "THe consumer group <g> not exist")
    world.commit(client, 0, 1)
    world.commit(client, 1, 0)
    code, _, body = reset(world, tool, **fields)
    assert code == 0 and body == {"offsetTable": {key(0): 2, key(1): 0}}
    ((asked, said, sent),) = told(client)
    assert asked == Request.RESET_CONSUMER_CLIENT_OFFSET
    assert said == {"topic": "T", "group": "g", "timestamp": str(fields["timestamp"])}
    assert sent.startswith(b'{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:2,')
    assert offset(world, tool) == 1  # they commit it themselves
    assert reset(world, tool, isForce="false", **fields)[2] == {"offsetTable": {key(0): 1, key(1): 0}}
    client.connection.lost()
    code, remark, _ = reset(world, tool, timestamp=-1)
    assert (code, remark) == (206, "Consumer not online, so can not reset offset, Group: g Topic: T Timestamp: -1")


# -- clones


def test_a_group_goes_on_where_another_is(world, client):
    world.commit(client, 1, 0)
    other = world.client(port=50001)
    world.join(other, "h", "T")
    world.topic("U")
    world.commit(client, 0, 0, topic="U")
    world.commit(other, 1, 0, group="h")
    world.commit(other, 0, 1, group="h")
    assert world.told(client, CLONE, {"srcGroup": "g", "destGroup": "h", "topic": "T", "offline": "false"})[0] == 0
    assert [offset(world, client, queue, "h") for queue in (0, 1)] == [4, 0]
    assert world.broker.groups.offsets_of(b"h").keys() == {"T"}
    assert world.told(client, CLONE, {"srcGroup": "g", "destGroup": "h", "topic": "", "offline": "false"})[0] == 0
    assert world.broker.groups.offsets_of(b"h").keys() == {"T"}  # nobody subscribes to U
    assert world.told(client, CLONE, {"srcGroup": "g", "destGroup": "h", "offline": "true"})[0] == 0
    assert world.broker.groups.offsets_of(b"h").keys() == {"T", "U"}
    assert world.told(client, CLONE, {"srcGroup": "g", "destGroup": "x"})[:2] == (26, "Group x does not exist")
