"""Sends: answered when the log has them, stored as they came, refused in RocketMQ's order, codes and words."""

import pytest

from core.flow import BEHIND, DISK, LOG, MEMORY
from core.native import Native
from protocols.remoting import properties
from protocols.remoting.codes import Request
from protocols.remoting.errors import FAQ
from protocols.remoting.rules import READ
from protocols.remoting.send_header import NAMES
from tests.protocols.remoting.native_world import NativeWorld, batch, send_fields, text
from tests.protocols.remoting.world import ONEWAY, request

V1, V2, BATCH = Request.SEND_MESSAGE, Request.SEND_MESSAGE_V2, Request.SEND_BATCH_MESSAGE
LONG_NAMES = dict(
    zip(
        "abcdefghijklm",
        [name.decode() for name in NAMES],
        strict=True,
    )
)
ILLEGAL = (
    "the message is illegal, maybe msg body or properties length not matched. msg body length limit 4194304B, "
    "msg properties length limit 32KB."
)
STORE_HOST_HEX = "7F00000100002A9F"


@pytest.fixture
def world():
    world = NativeWorld()
    world.topic()
    return world


@pytest.fixture
def client(world):
    return world.client("10.1.2.3", 4660)


def refused(client, fields, body=b"hi", code=V2, **more):
    """(code, remark) of the refusal; nothing was stored."""
    world, before = client.world, client.world.log.appended
    header, _ = client.ask(code, fields, body, **more)
    assert world.log.appended == before, "a refused send was stored"
    return header["code"], header["remark"]


def sent(client, fields, body=b"hi", code=V2, **more):
    """The answer's fields after the commit."""
    client.send(request(code, fields, body, **more))
    client.world.commit()
    ((header, rest),) = client.received()
    assert (header["code"], header.get("remark"), header["opaque"], rest) == (0, None, more.get("opaque", 7), b"")
    return header["extFields"]


@pytest.mark.parametrize("code", [V1, V2])
def test_a_send_is_answered_at_the_commit_with_where_it_lies(world, client, code):
    fields = send_fields(e=2)
    if code == V1:
        fields = {LONG_NAMES[name]: value for name, value in fields.items()}
    client.send(request(code, fields, b"hi"))
    assert client.received() == []
    world.commit()
    ((header, _),) = client.received()
    (message,) = world.messages()
    assert (header["code"], header["flag"]) == (0, 1)
    assert header["extFields"] == {
        "queueId": "2",
        "queueOffset": "0",
        "transactionId": "0A",
        "msgId": f"{STORE_HOST_HEX}{message.offset:016X}",
        "MSG_REGION": "DefaultRegion",
        "TRACE_ON": "true",
    }


def test_a_message_is_stored_as_it_came_with_what_the_broker_adds(world, client):
    sent(client, send_fields(e=3, f=1 | 0x300, h=-9, j=2, i=text(KEYS="a b", UNIQ_KEY="0A", TAGS="TagA")), b"\x00\xff")
    (message,) = world.messages()
    assert isinstance(message, Native)
    assert (message.topic, message.queue_id, message.body, message.flag) == (b"T", 3, b"\x00\xff", -9)
    assert (message.sys_flag, message.born_ms, message.reconsume_times) == (0x301, 1234, 2)
    assert (message.born_host, message.store_host) == (b"\x0a\x01\x02\x03\0\0\x12\x34", bytes.fromhex(STORE_HOST_HEX))
    added = text(MSG_REGION="DefaultRegion", TRACE_ON="true", CLUSTER="DefaultCluster")
    assert message.properties.decode() == text(KEYS="a b", UNIQ_KEY="0A", TAGS="TagA") + added


def test_what_only_the_broker_may_say_is_taken_from_a_senders_properties(world, client):
    sent(
        client,
        send_fields(i=text(POP_CK="x", MSG_REGION="mine", a="b", TRACE_ON="no", CLUSTER="c", UNIQ_KEY="0A")[:-1]),
    )
    (message,) = world.messages()
    assert message.properties.decode() == text(
        a="b", UNIQ_KEY="0A", MSG_REGION="DefaultRegion", TRACE_ON="true", CLUSTER="DefaultCluster"
    )


def test_a_message_without_an_id_of_its_own_gets_one(world, client):
    given = [sent(client, send_fields(i=extra))["transactionId"] for extra in (None, "", text(TAGS="t"))]
    assert len(set(given)) == 3 and {len(each) for each in given} == {32}
    stored = [properties.as_dict(message.properties)[b"UNIQ_KEY"].decode() for message in world.messages()]
    assert stored == given


def test_without_a_queue_the_broker_chooses_among_those_for_writing(world, client):
    world.topic(b"T", 4)
    world.topics.put(type(world.topics.find(b"T").config)(name=b"T", read_queues=8, write_queues=3))
    assert [sent(client, send_fields(e=-1))["queueId"] for _ in range(6)] == ["1", "2", "0", "1", "2", "0"]


def test_a_one_way_send_is_stored_and_never_answered(world, client):
    client.send(request(V2, send_fields(), b"hi", flag=ONEWAY))
    client.send(request(V2, send_fields(topic="a b"), b"hi", flag=ONEWAY))
    world.commit()
    assert client.received() == [] and len(world.messages()) == 1


def test_many_sends_of_many_connections_are_answered_each_to_its_own(world):
    clients = [world.client(port=port) for port in range(5)]
    for n in range(1000):
        clients[n % 5].send(request(V2, send_fields(e=n % 4, i=text(UNIQ_KEY=f"{n:X}")), b"hi", opaque=n))
    world.commit()
    for first, client in enumerate(clients):
        answers = [header for header, _ in client.received()]
        assert [each["opaque"] for each in answers] == list(range(first, 1000, 5))
        assert [each["extFields"]["transactionId"] for each in answers] == [f"{n:X}" for n in range(first, 1000, 5)]
        assert [each["extFields"]["queueOffset"] for each in answers] == [str(n // 4) for n in range(first, 1000, 5)]


def test_sends_are_answered_batch_of_the_log_by_batch(world, client):
    client.send(request(V2, send_fields(), b"one", opaque=1))
    world.run()
    client.send(request(V2, send_fields(), b"two", opaque=2))
    world.engine.finish()
    world.run()
    assert [header["opaque"] for header, _ in client.received()] == [1]
    world.commit()
    assert [header["opaque"] for header, _ in client.received()] == [2]


def test_who_is_gone_before_the_commit_keeps_nobody_from_an_answer(world, client):
    other = world.client()
    client.send(request(V2, send_fields(), b"one"))
    other.send(request(V2, send_fields(), b"two"))
    client.connection.lost()
    world.commit()
    assert len(other.received()) == 1 and len(world.messages()) == 2


# --- topics


def test_a_topic_is_made_by_a_send_like_the_default_topic(world, client):
    sent(client, send_fields(topic="New", d=5))
    made = world.topics.find(b"New").config
    assert (made.read_queues, made.write_queues, made.perm, made.sys_flag, made.order) == (5, 5, 6, 0, False)
    sent(client, send_fields(topic="Unit", d=100, k="true"))
    made = world.topics.find(b"Unit").config
    assert (made.write_queues, made.sys_flag) == (8, 1)


@pytest.mark.parametrize("like", ["TBW102", "T", "none"])
def test_no_topic_is_made_where_that_is_not_allowed(like):
    world = NativeWorld(auto_create_topic=like != "TBW102")
    world.topic()
    world.topics.put(type(world.topics.find(b"T").config)(name=b"TBW102", read_queues=8, write_queues=8, perm=7))
    world.commit()
    remark = f"topic[New] not exist, apply first please!{FAQ}"
    assert refused(world.client(), send_fields(topic="New", c=like)) == (17, remark)
    assert FAQ == "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."


def test_retry_topics_are_made_wherever_topics_may_not_be(world, client):
    sent(client, send_fields(topic="%RETRY%g", c="none", k="true"))
    made = world.topics.find(b"%RETRY%g").config
    assert (made.read_queues, made.write_queues, made.perm, made.sys_flag) == (1, 1, 6, 2)


REFUSALS = {
    "blank": ({"topic": " "}, 29, "The specified topic is blank."),
    "characters": (
        {"topic": "a.b"},
        *(29, "The specified topic: a.b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"),
    ),
    "long": ({"topic": "t" * 128}, 29, f"The specified topic: {'t' * 128}, is longer than topic max length: 127"),
    "schedule": (
        {"topic": "SCHEDULE_TOPIC_XXXX"},
        *(16, "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden."),
    ),
    "half": (
        {"topic": "RMQ_SYS_TRANS_HALF_TOPIC"},
        *(16, "Sending message to topic[RMQ_SYS_TRANS_HALF_TOPIC] is forbidden."),
    ),
    "queue": (
        {"e": 4},
        29,
        "request queueId[4] is illegal, TopicConfig [topicName=T, readQueueNums=4, writeQueueNums=4, perm=RW-, "
        "topicFilterType=SINGLE_TAG, topicSysFlag=0, order=false, attributes={}] Producer: 10.1.2.3:4660",
    ),
    "properties": ({"i": text(a="x" * 32_700)}, 13, ILLEGAL),
    "batch flags": ({"f": 0x80}, 13, ILLEGAL),
    "inner batch": ({"i": text(INNER_NUM="2")}, 13, ILLEGAL),
    "transaction": (
        {"f": 4, "i": text(TRAN_MSG="true", PGROUP="g")},
        *(16, "the broker[127.0.0.1] sending transaction message is forbidden"),
    ),
    "timer": (
        {"i": text(TIMER_DELAY_MS="1000")},
        *(1, "accurate timer message is not enabled, timerWheelEnable is false"),
    ),
    "delay": ({"i": text(DELAY="x")}, 1, 'java.lang.NumberFormatException: For input string: "x"'),
    "delay beyond": (
        {"i": text(DELAY=9999999999)},
        1,
        'java.lang.NumberFormatException: For input string: "9999999999"',
    ),
    "delay below": (
        {"i": text(DELAY=-2147483649)},
        1,
        'java.lang.NumberFormatException: For input string: "-2147483649"',
    ),
    "number": ({"e": "one"}, 1, "the custom field <e> is not a number: one"),
    "range": ({"h": 1 << 31}, 1, "the custom field <h> is not a 32-bit number: 2147483648"),
    **{f"no {name}": ({name: None}, 1, f"the custom field <{name}> is null") for name in "abcdefgh" if name != "b"},
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_sent_is_refused_in_rocketmqs_words(world, client, name):
    fields, code, remark = REFUSALS[name]
    assert refused(client, send_fields(**fields)) == (code, remark)


def test_a_body_is_there_and_not_larger_than_configured():
    world = NativeWorld(body_bytes_max=1000)
    world.topic()
    client, illegal = world.client(), ILLEGAL.replace("4194304", "1000")
    assert refused(client, send_fields(), b"") == (13, illegal)
    assert refused(client, send_fields(), bytes(1001)) == (13, illegal)
    assert sent(client, send_fields(), bytes(1000))["queueOffset"] == "0"


def test_properties_may_fill_what_a_record_has_for_them(world, client):
    added = text(MSG_REGION="DefaultRegion", TRACE_ON="true", CLUSTER="DefaultCluster", UNIQ_KEY="0A", a="")
    room = 32_767 - 20 - len(added)
    assert refused(client, send_fields(i=text(UNIQ_KEY="0A", a="x" * (room + 1)))) == (13, ILLEGAL)
    assert sent(client, send_fields(i=text(UNIQ_KEY="0A", a="x" * room)))["queueOffset"] == "0"


def test_a_topic_without_queues_for_writing_takes_nothing(world, client):
    world.topics.put(type(world.topics.find(b"T").config)(name=b"T", read_queues=4, write_queues=0))
    world.commit()
    remark = "topic[T] has no queue to write to: writeQueueNums is 0"
    assert refused(client, send_fields(e=-1)) == (1, remark)


def test_a_broker_that_may_not_be_written_refuses_topics_with_order_only():
    world = NativeWorld(permission=READ)
    world.topic()
    world.topic(b"Ordered", order=True)
    remark = "the broker[127.0.0.1] sending message is forbidden"
    assert refused(world.client(), send_fields(topic="Ordered")) == (16, remark)
    assert sent(world.client(), send_fields())["queueOffset"] == "0"


@pytest.mark.parametrize("alarm", [MEMORY, BEHIND, DISK, LOG])
def test_while_an_alarm_blocks_publishers_each_send_is_told_so(world, client, alarm):
    world.flow.set_alarm(alarm, True)
    code, remark = refused(client, send_fields())
    if alarm in (DISK, LOG):
        assert code == 14 and remark.startswith("service not available now. It may be caused by one of the following")
    else:
        assert (code, remark) == (2, "[REJECTREQUEST]system busy, start flow control for a while")
    world.flow.set_alarm(alarm, False)
    assert sent(client, send_fields())["queueOffset"] == "0"


def test_what_is_sent_is_looked_at_by_flow_control(world, client):
    world.usage[1] = 0
    for _ in range(2):
        client.send(request(V2, send_fields(), bytes(2 << 20)))
    assert world.flow.alarms[DISK]


# --- batches


def test_a_batch_is_stored_message_by_message_and_answered_once(world, client):
    body = batch((b"one", text(TAGS="TagA", UNIQ_KEY="1")), (b"two", text(UNIQ_KEY="2")[:-1]), (b"", ""))
    fields = sent(client, send_fields(e=1, m="true", i=text(UNIQ_KEY="0B")), body, code=BATCH)
    stored = world.messages()
    assert [message.body for message in stored] == [b"one", b"two", b""]
    assert [message.properties.decode() for message in stored] == [
        *(text(TAGS="TagA", UNIQ_KEY="1"), text(UNIQ_KEY="2"), ""),
    ]
    assert {(message.queue_id, message.flag, message.born_ms) for message in stored} == {(1, 5, 1234)}
    assert [message.queue_offset for message in stored] == [0, 1, 2]
    assert fields["msgId"] == ",".join(f"{STORE_HOST_HEX}{message.offset:016X}" for message in stored)
    assert (fields["queueId"], fields["queueOffset"], fields["transactionId"]) == ("1", "0", "0B")


def test_a_batch_with_another_code_is_one_as_well(world, client):
    sent(client, send_fields(m="true"), batch((b"one", ""), (b"two", "")), code=V2)
    assert [message.body for message in world.messages()] == [b"one", b"two"]


WHOLE = batch((b"one", ""), (b"two", ""))
BATCH_REFUSALS = {
    "cut": ({}, WHOLE[:-1], ILLEGAL + " a message of 25 bytes, 3 of them body, where 24 are left of the batch"),
    "empty": ({}, b"", ILLEGAL),
    "delay": ({"i": text(DELAY="1")}, WHOLE, ILLEGAL),
    "transaction": ({"f": 4}, WHOLE, ILLEGAL),
    "retry": ({"topic": "%RETRY%g"}, WHOLE, "batch request does not support retry group %RETRY%g"),
    "properties": ({}, batch((b"one", ""), (b"two", "a\x01" + "x" * 32_750)), ILLEGAL),
}


@pytest.mark.parametrize("name", BATCH_REFUSALS)
def test_a_batch_is_refused_as_a_whole(world, client, name):
    world.topic(b"%RETRY%g", 1)
    fields, body, remark = BATCH_REFUSALS[name]
    assert refused(client, send_fields(m="true", **fields), body, code=BATCH) == (13, remark)


def test_a_batch_larger_than_a_message_may_be_is_refused():
    world = NativeWorld(body_bytes_max=40)
    world.topic()
    illegal = ILLEGAL.replace("4194304", "40")
    assert refused(world.client(), send_fields(m="true"), WHOLE, code=BATCH) == (13, illegal)


# --- delays, retries, dead letters


@pytest.mark.parametrize("level, stored", [("3", 3), ("18", 18), ("99", 18), ("2147483647", 18)])
def test_a_message_with_a_delay_level_waits_in_the_schedule_topic(world, client, level, stored):
    fields = sent(client, send_fields(e=2, i=text(DELAY=level, UNIQ_KEY="0A", TAGS="TagA")))
    assert (fields["queueId"], fields["queueOffset"]) == ("2", "0") and not world.messages()
    (message,) = world.messages(b"SCHEDULE_TOPIC_XXXX")
    said = properties.as_dict(message.properties)
    assert (message.topic, message.queue_id) == (b"SCHEDULE_TOPIC_XXXX", stored - 1)
    assert (said[b"DELAY"], said[b"REAL_TOPIC"], said[b"REAL_QID"]) == (b"%d" % stored, b"T", b"2")


@pytest.mark.parametrize("level", ["0", "-1", "-2147483648"])
def test_no_delay_is_none(world, client, level):
    sent(client, send_fields(i=text(DELAY=level)))
    assert len(world.messages()) == 1


@pytest.mark.parametrize(
    "times, most, version, locked, to",
    [
        (16, None, 479, False, b"%RETRY%g"),
        (17, None, 479, False, b"%DLQ%g"),
        (3, 2, 479, False, b"%DLQ%g"),
        (3, 2, 120, False, b"%RETRY%g"),
        (0, None, 479, True, b"%DLQ%g"),
    ],
)
def test_what_came_back_too_often_becomes_a_dead_letter(world, client, times, most, version, locked, to):
    world.making.locked = lambda group: locked and group == b"g"
    world.topic(b"%RETRY%g", 1)
    sent(client, send_fields(topic="%RETRY%g", j=times, l=most), version=version)
    (message,) = world.messages(to)
    assert message.topic == to and message.reconsume_times == times
    delay = properties.as_dict(message.properties).get(b"DELAY")
    assert delay == (b"-1" if to == b"%DLQ%g" else None)
    made = world.topics.find(to).config
    assert (made.read_queues, made.perm) == (1, 6)


def test_a_retry_of_a_group_that_is_none_is_refused(world, client):
    world.topic(b"%RETRY%g", 1)
    world.groups.auto = False
    remark = f"subscription group not exist, g {FAQ}"
    assert refused(client, send_fields(topic="%RETRY%g")) == (26, remark)
