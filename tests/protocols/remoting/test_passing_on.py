"""What tools ask of a consumer reaches it, and its answer them; who does not answer keeps nobody waiting."""

import pytest

from protocols.remoting.codes import Request
from tests.protocols.remoting.served_world import ServedWorld
from tests.protocols.remoting.world import frames, request

INFO, DIRECT, STATUS = (
    Request.GET_CONSUMER_RUNNING_INFO,
    Request.CONSUME_MESSAGE_DIRECTLY,
    Request.INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
)
RESPONSE = 1
WHO = {"consumerGroup": "g", "clientId": "c1"}


@pytest.fixture
def world():
    made = ServedWorld().boot()
    made.topic()
    return made


@pytest.fixture
def member(world):
    client = world.client()
    world.join(client, "g", "T")
    return client


@pytest.fixture
def tool(world):
    return world.client(port=50002)


def asked(client):
    """The one request that the client has not answered."""
    data, client.transport.data = bytes(client.transport.data), bytearray()
    ((header, body),) = [each for each in frames(data) if not each[0]["flag"] & 2]
    return header, body


def answer(client, header, code=0, body=b"", **fields):
    client.send(request(code, fields, body, flag=RESPONSE, opaque=header["opaque"]))


def test_what_a_consumer_says_of_itself_comes_back_as_it_said_it(world, member, tool):
    tool.send(request(INFO, WHO | {"jstackEnable": "false"}, opaque=11))
    assert tool.received() == []
    header, _ = asked(member)
    assert header["code"] == INFO and header["extFields"] == WHO | {"jstackEnable": "false"}
    answer(member, header, 0, b'{"mqTable":{}}')
    ((header, body),) = tool.received()
    assert (header["code"], header["opaque"], body) == (0, 11, b'{"mqTable":{}}')


@pytest.mark.parametrize("who", [{"clientId": "c2"}, {"consumerGroup": "h"}])
def test_a_consumer_that_is_not_there_is_named(world, member, tool, who):
    who = WHO | who
    refusal = (1, f"The Consumer <{who['consumerGroup']}> <{who['clientId']}> not online", None)
    assert world.told(tool, INFO, who) == refusal
    assert world.told(tool, DIRECT, who | {"msgId": "0" * 32}) == refusal


def test_a_consumer_that_does_not_answer_is_waited_for_ten_seconds(world, member, tool):
    tool.send(request(INFO, WHO))
    world.run(9)
    member.connection.tick(world.clock.monotonic())
    assert tool.received() == []
    world.run(2)
    member.connection.tick(world.clock.monotonic())
    ((header, _),) = tool.received()
    assert (header["code"], header["remark"]) == (207, "consumer <g> <c1> Timeout: no answer within 10 s")


def test_a_consumer_that_goes_is_not_waited_for(world, member, tool):
    tool.send(request(INFO, WHO))
    member.connection.lost()
    world.run(0.1)
    ((header, _),) = tool.received()
    assert (header["code"], header["remark"]) == (1, "invoke consumer <g> <c1> Exception: its connection ended")


def test_a_tool_that_goes_does_not_matter(world, member, tool):
    tool.send(request(INFO, WHO))
    tool.connection.lost()
    header, _ = asked(member)
    answer(member, header)
    assert tool.received() == []


def test_a_message_is_given_to_one_consumer_and_it_says_what_became_of_it(world, member, tool):
    world.put(b"hello")
    queue = world.broker.topics.find(b"T").queues[0]
    assert queue.index.find(0) == 1
    message_id = world.rules.store_host.hex().upper() + f"{queue.index.log_offset:016X}"
    tool.send(request(DIRECT, WHO | {"msgId": message_id, "topic": "T"}))
    world.run(0.1)
    header, body = asked(member)
    assert header["code"] == DIRECT and b"hello" in body and len(body) == queue.index.size
    said = {"brokerName": "broker-a", "topicSysFlag": "0", "groupSysFlag": "0", "msgId": message_id, "topic": "T"}
    assert header["extFields"] == WHO | said
    answer(member, header, 0, b'{"consumeResult":"CR_SUCCESS"}')
    ((header, body),) = tool.received()
    assert (header["code"], body) == (0, b'{"consumeResult":"CR_SUCCESS"}')


@pytest.mark.parametrize(
    ("message_id", "remark"),
    [
        ("7F000001" + "00002A9F" + "0" * 12 + "7FFF", "can not find message by the offset, 32767"),
        ("nonsense", "msgId 'nonsense': an offsetMsgId has 32 or 56 digits, not 8"),
    ],
)
def test_a_message_that_is_not_there_is_given_to_nobody(world, member, tool, message_id, remark):
    assert world.told(tool, DIRECT, WHO | {"msgId": message_id}) == (1, remark, None)
    assert member.received() == []


def test_where_all_members_are_is_put_together(world, member, tool):
    second, silent = world.client(port=50003), world.client(port=50004)
    world.join(second, "g", "T", client_id="c2")
    world.join(silent, "g", "T", client_id="c3")
    tool.send(request(STATUS, {"topic": "T", "group": "g"}))
    for number, client in enumerate((member, second)):
        header, _ = asked(client)
        assert header["code"] == Request.GET_CONSUMER_STATUS_FROM_CLIENT
        assert header["extFields"] == {"topic": "T", "group": "g"}
        table = b'{{"brokerName":"broker-a","queueId":%d,"topic":"T"}:%d}' % (number, 5 + number)
        answer(client, header, 0, b'{"messageQueueTable":%b}' % table)
    assert tool.received() == []
    world.run(6)
    silent.connection.tick(world.clock.monotonic())
    world.run(0.1)
    ((header, body),) = tool.received()
    rows = [b'"c%d":{{"brokerName":"broker-a","queueId":%d,"topic":"T"}:%d}' % (n + 1, n, 5 + n) for n in (0, 1)]
    assert body == b'{"consumerTable":{%b},"messageQueueTable":{}}' % b",".join(rows)


def test_one_member_is_asked_if_one_is_named_and_a_group_without_members_is_refused(world, member, tool):
    other = world.client(port=50003)
    world.join(other, "g", "T", client_id="c2")
    member.received(), other.received()
    tool.send(request(STATUS, {"topic": "T", "group": "g", "clientAddr": "c2"}))
    header, _ = asked(other)
    answer(other, header, 1)
    ((header, body),) = tool.received()
    assert (header["code"], body) == (0, b'{"consumerTable":{},"messageQueueTable":{}}')
    refused = world.told(tool, STATUS, {"topic": "T", "group": "h"})
    assert refused == (1, "No Any Consumer online in the consumer group: [h]", None)
