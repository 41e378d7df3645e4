"""Native messages over real sockets: sent, pulled, waited for, delayed, sent back, and there after kill -9."""

import struct

import pytest

from tests.clients.broker import until
from tests.clients.native import native
from tests.namesrv.world import request
from tests.protocols.remoting.native_world import batch, pull_fields, send_fields, text

pytestmark = pytest.mark.ours
SEND, BATCH, PULL, BACK, VIEW, MAX, QUERY = 310, 320, 11, 36, 33, 30, 12
SUSPEND, SUBSCRIPTION = 2, 4


def bodies(data):
    """The body of each record."""
    found = []
    while data:
        (size,) = struct.unpack_from(">I", data)
        (body_size,) = struct.unpack_from(">I", data, 84)
        found.append(data[88 : 88 + body_size])
        data = data[size:]
    return found


def sent(client, body, **fields):
    header, _ = client.ask(SEND, send_fields(**fields), body)
    assert header["code"] == 0, header
    return header["extFields"]


def pulled(client, **fields):
    header, data = client.ask(PULL, pull_fields(**fields))
    assert header["code"] == 0, header
    return bodies(data), int(header["extFields"]["nextBeginOffset"])


def test_what_is_sent_is_pulled_by_tag_and_found_by_its_id(broker):
    client = native(broker)
    first = sent(client, b"one")
    sent(client, b"two", i=text(UNIQ_KEY="0B", TAGS="TagB"))
    header, _ = client.ask(BATCH, send_fields(m="true"), batch((b"three", text(TAGS="TagA")), (b"four", "")))
    assert header["extFields"]["queueOffset"] == "2" and len(header["extFields"]["msgId"].split(",")) == 2
    assert pulled(client) == ([b"one", b"two", b"three", b"four"], 4)
    assert pulled(client, subscription="TagA") == ([b"one", b"three"], 4)
    assert pulled(client, subscription="TAGS = 'TagB'", expressionType="SQL92") == ([b"two"], 4)
    assert client.ask(MAX, {"topic": "T", "queueId": 0})[0]["extFields"]["offset"] == "4"
    header, record = client.ask(VIEW, {"offset": int(first["msgId"][16:], 16)})
    assert header["code"] == 0 and bodies(record) == [b"one"]
    assert client.ask(VIEW, {"offset": 5})[0]["remark"] == "can not find message by the offset, 5"
    client.close()


def test_messages_are_queried_by_their_keys_in_a_span_of_time(broker):
    client = native(broker)
    for n in range(70):
        properties = text(UNIQ_KEY=f"0{n:02X}", KEYS=f"all n{n}", TAGS="odd" if n % 2 else "even")
        last = sent(client, b"%d" % n, topic="Q", i=properties)
    asked = {"topic": "Q", "key": "all", "maxNum": 3, "beginTimestamp": 0, "endTimestamp": (1 << 63) - 1}

    def queried(**fields):
        header, data = client.ask(QUERY, asked | fields)
        return header["code"], bodies(data), header.get("extFields"), header.get("remark")

    code, found, fields, _ = queried()
    assert (code, found) == (0, [b"67", b"68", b"69"])
    assert fields["indexLastUpdatePhyoffset"] == str(int(last["msgId"][16:], 16))
    now = int(fields["indexLastUpdateTimestamp"])
    assert queried(key="n5")[1] == queried(key="005", _UNIQUE_KEY_QUERY="true", maxNum=0)[1] == [b"5"]
    assert queried(key="005", indexType="U")[1] == queried(key="n5", indexType="K", lastKey="x")[1] == [b"5"]
    assert queried(key="odd", indexType="T")[1] == [b"65", b"67", b"69"]
    assert len(queried(maxNum=1000)[1]) == 64 and len(queried(endTimestamp=now)[1]) == 3
    missing = (22, [], fields, "can not find message, maybe time range not correct")
    for wrong in ({"key": "odd"}, {"topic": "R"}, {"beginTimestamp": now + 1}, {"endTimestamp": 0}, {"maxNum": -1}):
        assert queried(**wrong) == missing, wrong
    assert "<maxNum>" in client.ask(QUERY, {**asked, "maxNum": "x"})[0]["remark"]
    client.close()


def test_a_waiting_pull_is_answered_by_the_next_message(broker):
    waiting, sender = native(broker), native(broker)
    sent(sender, b"zero", topic="W")
    waiting.send(request(PULL, pull_fields("W", sysFlag=SUSPEND | SUBSCRIPTION, queueOffset=1), opaque=5))
    sent(sender, b"one", topic="W")
    header, data = waiting.answer()
    assert (header["opaque"], header["code"], bodies(data)) == (5, 0, [b"one"])
    waiting.close()
    sender.close()


def test_what_was_acknowledged_is_there_after_kill_9_and_delays_go_on(start_broker):
    broker = start_broker()
    client = native(broker)
    for n in range(200):
        sent(client, b"%d" % n, topic="K", e=n % 4)
    sent(client, b"late", topic="K", i=text(DELAY=2))
    broker.kill9()
    broker.start()
    client = native(broker)
    found = []
    for queue in range(4):
        offset, most = 0, int(client.ask(MAX, {"topic": "K", "queueId": queue})[0]["extFields"]["offset"])
        while offset < most:
            more, offset = pulled(client, topic="K", queueId=queue, queueOffset=offset)
            found += more
    assert sorted(map(int, [each for each in found if each != b"late"])) == list(range(200))
    _, data = client.ask(PULL, pull_fields("K", sysFlag=SUSPEND | SUBSCRIPTION, queueOffset=50))
    assert b"late" in found or bodies(data) == [b"late"]
    client.close()


def test_what_a_consumer_sends_back_comes_again_in_its_retry_topic(broker):
    client = native(broker)
    place = int(sent(client, b"again", topic="B")["msgId"][16:], 16)
    back = {"offset": place, "group": "bg", "delayLevel": 1, "originTopic": "B", "maxReconsumeTimes": 16}
    assert client.ask(BACK, back)[0]["code"] == 0
    asked = pull_fields("%RETRY%bg", consumerGroup="bg", sysFlag=SUSPEND | SUBSCRIPTION)
    header, data = client.ask(PULL, asked)
    assert header["code"] == 0 and bodies(data) == [b"again"]
    until(lambda: client.ask(BACK, back | {"delayLevel": -1})[0]["code"] == 0, 10, "a dead letter")
    assert pulled(client, topic="%DLQ%bg", consumerGroup="bg")[0] == [b"again"]
    client.close()
