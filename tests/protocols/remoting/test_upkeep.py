"""What an operator has done at once: old segments go whatever the hour; and units of an index are shown."""

import pytest

from protocols.remoting.codes import Request
from tests.protocols.remoting.served_world import ServedWorld

HOUR_MS = 3_600_000


@pytest.fixture
def world():
    made = ServedWorld().boot()
    made.topic()
    return made


@pytest.fixture
def client(world):
    return world.client()


def test_what_is_too_old_goes_whatever_the_hour(world, client):
    keeper = world.broker.retention.keeper
    now = world.clock.hour()
    keeper.keep = keeper.keep._replace(bytes=1 << 30, ms=HOUR_MS, hours=frozenset({(now + 12) % 24}))
    world.put(*[bytes(3000)] * 60)
    world.checkpoint()
    world.run(2 * 3600)
    world.put(b"new")
    world.checkpoint()
    assert world.broker.retention.first == 0
    assert world.told(client, Request.DELETE_EXPIRED_COMMITLOG) == (0, None, None)
    world.run(5)
    assert world.broker.retention.first > 0
    assert world.broker.topics.find(b"T").queues[0].min_offset > 0
    assert world.told(client, Request.CLEAN_EXPIRED_CONSUMEQUEUE)[0] == 0
    assert world.told(client, Request.CLEAN_UNUSED_TOPIC)[0] == 0


def test_only_what_is_too_old_goes_and_only_for_a_while(world, client):
    keeper = world.broker.retention.keeper
    keeper.keep = keeper.keep._replace(bytes=1 << 30, ms=HOUR_MS, hours=frozenset({(world.clock.hour() + 12) % 24}))
    world.put(*[bytes(3000)] * 60)
    world.checkpoint()
    world.told(client, Request.DELETE_EXPIRED_COMMITLOG)
    world.run(201)
    world.run(2 * 3600)
    world.checkpoint()
    assert world.broker.retention.first == 0


def test_a_master_without_slaves(world, client):
    code, _, body = world.told(client, Request.GET_BROKER_HA_STATUS)
    assert code == 0 and body["master"] and body["haConnectionInfo"] == []
    assert body["masterCommitLogMaxOffset"] == world.broker.log.committed


def units(world, client, index=0, count=10, **more):
    fields = {"topic": "T", "queueId": 0, "index": index, "count": count}
    return world.told(client, Request.QUERY_CONSUME_QUEUE, fields | more)


def test_units_of_an_index_are_shown_from_one_on(world, client):
    world.put(*[b"x"] * 600)
    queue = world.broker.topics.find(b"T").queues[0]
    code, _, body = units(world, client, 598)
    assert code == 0 and (body["minQueueIndex"], body["maxQueueIndex"]) == (0, 600)
    assert queue.index.find(598) == 1
    first = {"physicOffset": queue.index.log_offset, "physicSize": queue.index.size, "tagsCode": queue.index.code}
    assert body["queueData"][0] == first | {"eval": False} and len(body["queueData"]) == 2
    assert len(units(world, client, 3, 4)[2]["queueData"]) == 4
    world.stop()
    world.boot(clean=True)
    world.broker.topics.find(b"T").queues[0].index.unload(0)
    client = world.client()
    assert len(units(world, client, 500, 99)[2]["queueData"]) == 99  # chunks are read


def test_what_has_no_units_is_said(world, client):
    world.put(b"x")
    assert units(world, client, queueId=5)[:2] == (1, "5@T is not exist!")
    assert units(world, client, 1) == (0, "Index 1 of 0@T is not exist!", None)
    told = units(world, client, consumerGroup="g")[2]
    assert told["filterData"] == "g@T is not online!" and told["subscriptionData"] is None
    world.join(client, "g", "T")
    told = units(world, client, consumerGroup="g")[2]
    assert told["filterData"] == "null" and told["subscriptionData"]["subString"] == "*"
