"""Replies: pushed to the client that asked, whose word the replier is given; kept in the topic of replies, too."""

import json

import pytest

from core.flow import DISK
from protocols.remoting.codes import Request
from protocols.remoting.stored import record_properties
from tests.protocols.remoting.native_world import send_fields, text
from tests.protocols.remoting.served_world import ServedWorld
from tests.protocols.remoting.world import request

REPLY, PUSH, PULL = Request.SEND_REPLY_MESSAGE_V2, Request.PUSH_REPLY_MESSAGE_TO_CLIENT, 11
TOPIC = "DefaultCluster_REPLY_TOPIC"
ASKED = {"CORRELATION_ID": "c-1", "REPLY_TO_CLIENT": "asker", "TTL": "3000", "MSG_TYPE": "reply", "UNIQ_KEY": "0A"}


@pytest.fixture
def world():
    return ServedWorld(region="r").boot()


@pytest.fixture
def asker(world):
    """A producer that the broker knows."""
    client = world.client(port=1)
    beat = {"clientID": "asker", "consumerDataSet": [], "producerDataSet": [{"groupName": "p"}, {"groupName": "p2"}]}
    client.send(request(34, body=json.dumps(beat).encode()))
    assert client.received()[0][0]["code"] == 0
    return client


def fields(**more):
    return send_fields(TOPIC, **{"i": text(**ASKED), "f": 0x301, "j": 2, "e": 0} | more)


def answered(client, code=0, remark=None):
    """The one answer of the broker: its fields."""
    client.world.run()
    ((header, _),) = client.received()
    assert (header["code"], header.get("remark")) == (code, remark)
    return header["extFields"]


def pushed(asker, code=0):
    """What is pushed to who asked, who takes it with that code."""
    ((header, body),) = asker.received()
    assert header["code"] == PUSH
    asker.send(request(code, flag=1, opaque=header["opaque"]))
    return header["extFields"], body


def stored(world):
    client = world.client(port=9)
    asked = {"consumerGroup": "g", "topic": TOPIC, "queueId": 0, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 4}
    asked |= {"commitOffset": 0, "suspendTimeoutMillis": 0, "subscription": "*", "subVersion": 1}
    header, records = client.ask(PULL, asked)
    return records if header["code"] == 0 else b""


def test_a_reply_reaches_who_asked_and_then_its_sender_is_told_where_it_is_kept(world, asker):
    replier = world.client(port=2)
    replier.send(request(REPLY, fields(), b"yes"))
    assert replier.received() == []
    said, body = pushed(asker)
    assert (body, said["topic"], said["producerGroup"], said["queueId"]) == (b"yes", TOPIC, "group", "0")
    assert (said["sysFlag"], said["bornTimestamp"], said["flag"]) == ("769", "1234", "0")
    assert (said["reconsumeTimes"], said["bornHost"], said["storeHost"]) == ("2", "127.0.0.1:2", "127.0.0.1:10911")
    assert (said["defaultTopic"], said["defaultTopicQueueNums"], said["unitMode"]) == ("TBW102", "4", "false")
    assert said["properties"].startswith(text(**ASKED)) and "PUSH_REPLY_TIME\x01" in said["properties"]
    told = answered(replier)
    assert (told["queueId"], told["queueOffset"], told["MSG_REGION"], told["TRACE_ON"]) == ("0", "0", "r", "true")
    record = stored(world)
    assert record_properties(record) == ASKED and record[88:91] == b"yes"
    assert told["msgId"] == f"7F00000100002A9F{int.from_bytes(record[28:36]):016X}"


def test_the_names_of_the_first_version_are_understood_and_any_queue_is_some_queue(world, asker):
    replier = world.client(port=2)
    long = {"producerGroup": "g", "topic": TOPIC, "defaultTopic": "TBW102", "defaultTopicQueueNums": 4, "queueId": -1}
    long |= {"sysFlag": 0, "bornTimestamp": 5, "flag": 7, "properties": text(**ASKED)}
    replier.send(request(Request.SEND_REPLY_MESSAGE, long, b"yes"))
    said, _ = pushed(asker)
    assert (said["producerGroup"], said["flag"], said["queueId"]) == ("g", "7", "-1")
    assert answered(replier)["queueId"] == "0"


def test_who_asked_may_be_gone_or_refuse_and_the_reply_is_kept_all_the_same(world, asker):
    replier = world.client(port=2)
    replier.send(request(REPLY, fields(), b"1"))
    pushed(asker, code=1)
    answered(replier, 1, "push reply message to askerfail.")
    replier.send(request(REPLY, fields(), b"2"))
    asker.connection.lost()
    answered(replier, 1, "push reply message to askerfail.")
    replier.send(request(REPLY, fields(), b"3"))
    answered(replier, 1, "push reply message fail, channel of <asker> not found.")
    replier.send(request(REPLY, fields(i=text(UNIQ_KEY="0A")), b"4"))
    answered(replier, 1, "reply message properties[REPLY_TO_CLIENT] is null")
    assert stored(world).count(b"__CRC32#") == 4


def test_a_client_is_known_while_it_produces_for_any_group(world, asker):
    known = world.remoting.clients.producer_by_id
    assert known("asker") is asker.connection
    assert asker.ask(35, {"clientID": "asker", "producerGroup": "p"})[0]["code"] == 0
    assert known("asker") is asker.connection
    assert asker.ask(35, {"clientID": "asker", "producerGroup": "p2"})[0]["code"] == 0
    assert known("asker") is None


@pytest.mark.parametrize("why", ["storeReplyMessageEnable", "an alarm", "no body"])
def test_what_is_not_kept_is_delivered(world, asker, why):
    body = b"" if why == "no body" else b"yes"
    world.rules.store_replies = why != "storeReplyMessageEnable"
    world.broker.flow.set_alarm(DISK, why == "an alarm")
    replier = world.client(port=2)
    replier.send(request(REPLY, fields(), body))
    assert pushed(asker)[1] == body
    told = answered(replier)
    assert (told["msgId"], told["queueId"], told["queueOffset"]) == ("0", "0", "0") and stored(world) == b""


def test_a_reply_to_a_topic_that_may_not_be_is_refused_and_nobody_gets_it(world, asker):
    replier = world.client(port=2)
    header, _ = replier.ask(REPLY, fields(b="SCHEDULE_TOPIC_XXXX"))
    assert header["code"] == 16 and "is forbidden" in header["remark"]
    header, _ = replier.ask(REPLY, fields(e=5))
    assert header["code"] == 29 and "request queueId[5] is illegal" in header["remark"]
    assert asker.received() == []
