"""Pulls: what RocketMQ's store says of each offset, what lies in the log as it lies there, and waits for what comes."""

from types import SimpleNamespace

import msgspec
import pytest

from core.state.records import TopicConfig
from protocols.remoting.codes import Request
from protocols.remoting.errors import FAQ
from protocols.remoting.rules import WRITE
from tests.protocols.remoting.native_world import NativeWorld, pull_fields, record, send_fields, text
from tests.protocols.remoting.world import request

PULL, LITE, SEND = Request.PULL_MESSAGE, Request.LITE_PULL_MESSAGE, Request.SEND_MESSAGE_V2
COMMIT, SUSPEND, SUBSCRIPTION = 1, 2, 4
FOUND, NOT_FOUND, RETRY, MOVED = 0, 19, 20, 21


@pytest.fixture
def world():
    world = NativeWorld()
    world.topic()
    return world


@pytest.fixture
def client(world):
    return world.client()


def put(world, *bodies, tag="TagA", queue=0, topic="T"):
    """Messages that are committed."""
    sender = world.client(port=60000)
    for body in bodies:
        sender.send(request(SEND, send_fields(topic=topic, e=queue, i=text(UNIQ_KEY="1", TAGS=tag)), body))
    world.commit()


def said(answer):
    """(code, status, next, least and most offset, body) of a pull's answer."""
    header, body = answer
    fields = header["extFields"]
    assert fields["suggestWhichBrokerId"] == "0"
    offsets = (int(fields[name]) for name in ("nextBeginOffset", "minOffset", "maxOffset"))
    return (header["code"], header["remark"], *offsets, body)


def expire(world, upto):
    world.topics.find(b"T").queues[0].min_offset = upto


# --- what is there


@pytest.mark.parametrize("code", [PULL, LITE])
def test_messages_come_as_they_lie_in_the_log(world, client, code):
    put(world, b"one", b"two")
    header, body = client.ask(code, pull_fields())
    assert said((header, body)) == (FOUND, "FOUND", 2, 0, 2, b"RoneRtwo")
    assert (header["extFields"]["topicSysFlag"], header["extFields"]["groupSysFlag"]) == ("0", "0")
    assert said(client.ask(code, pull_fields(queueOffset=1))) == (FOUND, "FOUND", 2, 0, 2, b"Rtwo")


@pytest.mark.parametrize("asked, got", [(1, 1), (0, 1), (-1, 1), (5, 5), (32, 32), (1000, 32)])
def test_a_pull_brings_at_most_what_was_asked_for_and_32(world, client, asked, got):
    put(world, *[b"x"] * 40)
    assert said(client.ask(PULL, pull_fields(maxMsgNums=asked))) == (FOUND, "FOUND", got, 0, 40, b"Rx" * got)


@pytest.mark.parametrize("size", [100, 5000])  # below and above what is copied into the output
def test_pulls_of_one_turn_bring_each_its_own(world, client, size):
    bodies = [bytes([65 + at]) * size for at in range(8)]
    put(world, *bodies)
    asks = [request(PULL, pull_fields(queueOffset=at), opaque=at) for at in (0, 4, 2)]
    client.send(b"".join(asks))
    found = [(header["opaque"], body) for header, body in client.received()]
    assert found == [(at, b"".join(b"R" + body for body in bodies[at:])) for at in (0, 4, 2)]


def test_what_is_not_committed_is_not_there(world, client):
    world.client().send(request(SEND, send_fields(), b"one"))
    assert said(client.ask(PULL, pull_fields())) == (NOT_FOUND, "NO_MESSAGE_IN_QUEUE", 0, 0, 0, b"")


@pytest.mark.parametrize(
    "offset, answer",
    [
        (0, (MOVED, "OFFSET_TOO_SMALL", 2)),
        (-5, (MOVED, "OFFSET_TOO_SMALL", 2)),
        (2, (FOUND, "FOUND", 4)),
        (4, (NOT_FOUND, "OFFSET_OVERFLOW_ONE", 4)),
        (5, (MOVED, "OFFSET_OVERFLOW_BADLY", 4)),
    ],
)
def test_every_offset_is_answered_as_by_rocketmqs_store(world, client, offset, answer):
    put(world, b"0", b"1", b"2", b"3")
    expire(world, 2)
    found = said(client.ask(PULL, pull_fields(queueOffset=offset)))
    assert found[:5] == (*answer, 2, 4)


@pytest.mark.parametrize("offset, code", [(0, NOT_FOUND), (7, MOVED), (-1, MOVED)])
def test_in_a_queue_that_never_had_a_message_all_begin_at_0(world, client, offset, code):
    assert said(client.ask(PULL, pull_fields(queueOffset=offset)))[:5] == (code, "NO_MESSAGE_IN_QUEUE", 0, 0, 0)


def test_a_pull_can_say_how_far_its_group_has_come(world, client):
    client.ask(PULL, pull_fields(sysFlag=SUBSCRIPTION, commitOffset=3))
    assert not world.groups.offsets
    client.ask(PULL, pull_fields(sysFlag=SUBSCRIPTION | COMMIT, commitOffset=3, queueId=2))
    assert world.groups.offsets == {(b"g", b"T", 2): 3}
    client.ask(PULL, pull_fields(sysFlag=SUBSCRIPTION | COMMIT, commitOffset=-1, queueId=2))
    assert world.groups.offsets == {(b"g", b"T", 2): 3}


# --- tags


def test_tags_choose(world, client):
    for tag in "ABAC":
        put(world, tag.encode(), tag=tag)
    assert said(client.ask(PULL, pull_fields(subscription="A || C"))) == (FOUND, "FOUND", 4, 0, 4, b"RARARC")
    assert said(client.ask(PULL, pull_fields(subscription="X"))) == (RETRY, "NO_MATCHED_MESSAGE", 4, 0, 4, b"")
    assert said(client.ask(PULL, pull_fields(subscription="X", queueOffset=4)))[0] == NOT_FOUND


def members(version=5, text="TagB", kind="TAG", broadcasting=False):
    subscription = SimpleNamespace(version=version, sub_string=text, expression_type=kind)
    return SimpleNamespace(broadcasting=broadcasting, subscription=lambda topic: {b"T": subscription}.get(topic))


def test_without_a_subscription_of_its_own_a_pull_has_that_of_the_last_heartbeat(world, client):
    put(world, b"A", tag="TagA")
    put(world, b"B", tag="TagB")
    world.members.groups[b"g"] = members()
    assert said(client.ask(PULL, pull_fields(sysFlag=0, subVersion=5))) == (FOUND, "FOUND", 2, 0, 2, b"RB")


def refused(client, **fields):
    header, body = client.ask(PULL, pull_fields(**fields))
    assert body == b""
    return header["code"], header["remark"], header.get("extFields")


SUBSCRIPTIONS = {
    "no members": (None, {}, 24, "the consumer's group info not exist" + FAQ),
    "other topic": (members(), {"topic": "U"}, 24, "the consumer's subscription not exist" + FAQ),
    "older": (members(4), {}, 25, "the consumer's subscription not latest"),
    "sql": (members(text="a >", kind="SQL92"), {}, 23, "parse the consumer's subscription failed"),
    "kind": (members(text="a > 1", kind="X"), {}, 23, "parse the consumer's subscription failed"),
}


@pytest.mark.parametrize("name", SUBSCRIPTIONS)
def test_a_subscription_that_the_broker_does_not_have_is_refused(world, client, name):
    world.topic(b"U")
    group, fields, code, remark = SUBSCRIPTIONS[name]
    if group:
        world.members.groups[b"g"] = group
    assert refused(client, sysFlag=0, subVersion=5, **fields) == (code, remark, None)


def test_a_subscription_that_says_nothing_is_refused(world, client):
    answer = (23, "parse the consumer's subscription failed", None)
    assert refused(client, subscription="a >", expressionType="SQL92") == answer
    assert refused(client, subscription="||") == answer
    assert refused(client, subscription="", expressionType="SQL92") == answer


def test_sql_chooses_by_properties(world, client):
    for n in range(300):
        extra = text(UNIQ_KEY="1", n=n)
        world.client(port=60000).send(request(SEND, send_fields(i=extra), b"%d" % n))
    world.commit()
    world.topics.find(b"T").queues[0].whole = True
    sql = {"expressionType": "SQL92", "subscription": "n BETWEEN 5 AND 6 OR n = 270"}
    header, body = client.ask(PULL, pull_fields(**sql))
    found = world.messages()[5:7]
    assert (header["code"], header["extFields"]["nextBeginOffset"]) == (FOUND, "32")
    assert body == b"".join(record(message) for message in found)
    header, body = client.ask(PULL, pull_fields(queueOffset=10, **sql))
    assert (header["code"], header["remark"], header["extFields"]["nextBeginOffset"]) == (
        RETRY,
        "NO_MATCHED_MESSAGE",
        "266",
    )
    header, body = client.ask(PULL, pull_fields(queueOffset=266, **sql))
    assert (header["code"], body) == (FOUND, record(world.messages()[270]))


def test_sql_is_refused_where_it_is_off():
    world = NativeWorld(property_filter=False)
    world.topic()
    remark = "The broker does not support consumer to filter message by SQL92"
    assert refused(world.client(), subscription="a > 1", expressionType="SQL92") == (1, remark, None)


# --- refusals


def test_who_may_not_read_is_told_what_is_forbidden(world, client):
    world.topics.put(TopicConfig(name=b"T", perm=WRITE))
    assert refused(client) == (16, "the topic[T] pulling message is forbidden", {"forbiddenType": "3"})
    world.groups.table[b"g"] = msgspec.structs.replace(world.groups.use(b"g"), consume_enable=False)
    assert refused(client) == (16, "subscription group no permission, g", {"forbiddenType": "2"})


def test_a_group_that_may_not_broadcast_reads_nothing_that_way(world, client):
    world.members.groups[b"g"] = members(broadcasting=True)
    assert refused(client, sysFlag=0, subVersion=5)[0] == NOT_FOUND
    world.groups.table[b"g"] = msgspec.structs.replace(world.groups.use(b"g"), consume_broadcast_enable=False)
    remark = "the consumer group[g] can not consume by broadcast way"
    assert refused(client, sysFlag=0, subVersion=5) == (16, remark, {"forbiddenType": "4"})


def test_a_broker_that_may_not_be_read_says_so():
    world = NativeWorld(permission=WRITE)
    world.topic()
    remark = "the broker[127.0.0.1] pulling message is forbidden"
    assert refused(world.client()) == (16, remark, {"forbiddenType": "1"})


@pytest.mark.parametrize("queue", [4, -1, 100])
def test_a_queue_that_is_not_there_is_named(world, client, queue):
    remark = f"queueId[{queue}] is illegal, topic:[T] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:50000]"
    assert refused(client, queueId=queue) == (29, remark, None)


def test_groups_and_topics_that_are_not_there_are_named(world, client):
    assert refused(client, topic="U") == (17, f"topic[U] not exist, apply first please! {FAQ}", None)
    long = "g" * 121
    assert refused(client, consumerGroup=long) == (26, f"subscription group [{long}] does not exist, {FAQ}", None)
    world.groups.auto = False
    assert refused(client, consumerGroup="h") == (26, f"subscription group [h] does not exist, {FAQ}", None)


@pytest.mark.parametrize("name", ["consumerGroup", "topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag",
                                  "commitOffset", "suspendTimeoutMillis"])  # fmt: skip
def test_a_missing_field_is_named(client, name):
    fields = pull_fields()
    del fields[name]
    header, _ = client.ask(PULL, fields)
    assert (header["code"], header["remark"]) == (1, f"the custom field <{name}> is null")


# --- waiting


def wait(client, opaque=7, **fields):
    """A pull that waits."""
    client.send(request(PULL, pull_fields(**({"sysFlag": SUSPEND | SUBSCRIPTION} | fields)), opaque=opaque))
    assert client.received() == []


def test_a_pull_waits_for_the_commit_of_the_next_message(world, client):
    wait(client)
    world.client().send(request(SEND, send_fields(), b"one"))
    world.run()
    assert client.received() == []
    world.commit()
    (answer,) = client.received()
    assert said(answer) == (FOUND, "FOUND", 1, 0, 1, b"Rone")
    assert world.remoting.pulls.polling.waiting == 0


def test_a_pull_waits_no_longer_than_its_client_wants(world, client):
    put(world, b"one")
    wait(client, queueOffset=1, suspendTimeoutMillis=2000)
    world.later(1999)
    assert client.received() == []
    world.later(101)
    (answer,) = client.received()
    assert said(answer) == (NOT_FOUND, "OFFSET_OVERFLOW_ONE", 1, 0, 1, b"")
    put(world, b"two")
    assert client.received() == [] and not world.topics.find(b"T").queues[0].callbacks


def test_nobody_waits_longer_than_a_connection_may_be_idle(world, client):
    wait(client, suspendTimeoutMillis=10**12)
    world.later(120_000 + 100)
    assert said(client.received()[0])[0] == NOT_FOUND


def test_messages_of_other_queues_wake_nobody(world, client):
    wait(client, queueId=1)
    put(world, b"one", queue=0)
    assert client.received() == []
    put(world, b"two", queue=1)
    assert said(client.received()[0])[5] == b"Rtwo"


def test_a_message_without_a_wanted_tag_wakes_nobody_but_is_told_within_5_seconds(world, client):
    wait(client, subscription="TagB")
    put(world, b"A", tag="TagA")
    assert client.received() == []
    world.later(4999)
    assert client.received() == []
    put(world, b"A", tag="TagA")
    world.later(102)
    (answer,) = client.received()
    assert said(answer) == (RETRY, "NO_MATCHED_MESSAGE", 2, 0, 2, b"")


def test_a_wanted_message_behind_unwanted_ones_comes_at_once(world, client):
    wait(client, subscription="TagB")
    put(world, b"A", tag="TagA")
    put(world, b"B", tag="TagB")
    (answer,) = client.received()
    assert said(answer) == (FOUND, "FOUND", 2, 0, 2, b"RB")
    world.later(200_000)
    assert client.received() == []


def test_all_who_wait_are_answered_in_their_order(world, client):
    for opaque in range(5):
        wait(client, opaque=opaque, consumerGroup=f"g{opaque}")
    assert world.remoting.pulls.polling.waiting == 5
    put(world, b"one")
    answers = client.received()
    assert [header["opaque"] for header, _ in answers] == [0, 1, 2, 3, 4]
    assert {said(answer)[5] for answer in answers} == {b"Rone"}


def test_what_is_read_from_the_disk_comes_later_and_only_once(world, client):
    wait(client, suspendTimeoutMillis=1000)
    queue = world.topics.find(b"T").queues[0]
    queue.cold = []
    put(world, b"one")
    world.later(5000)
    assert client.received() == []
    (read,) = queue.cold
    read()
    world.run()
    assert said(client.received()[0])[5] == b"Rone"


def test_a_message_that_cannot_be_read_is_told(world, client):
    put(world, b"one")
    queue = world.topics.find(b"T").queues[0]
    queue.read = lambda offset, count, bytes_max, codes, done: world.soon.append(
        lambda: done(OSError("no such sector"))
    )
    header, _ = client.ask(PULL, pull_fields())
    assert (header["code"], header["remark"]) == (1, "the message cannot be read: no such sector")


def test_who_waits_in_a_topic_that_changes_asks_again(world, client):
    wait(client)
    wait(client, queueId=1)
    world.topic(b"Other")
    assert client.received() == []
    world.topics.delete(b"T")
    world.run()
    assert [said(answer)[0] for answer in client.received()] == [NOT_FOUND] * 2
    assert world.remoting.pulls.polling.waiting == 0


def test_more_than_may_wait_are_told_that_the_broker_is_busy():
    world = NativeWorld(parked_max=2)
    world.topic()
    client = world.client()
    wait(client)
    wait(client)
    header, _ = client.ask(PULL, pull_fields(sysFlag=SUSPEND | SUBSCRIPTION))
    assert (header["code"], header["remark"]) == (2, "[OVERLOAD]system busy, start flow control for a while")
    world.later(15_100)
    assert len(client.received()) == 2
    wait(client)


def test_who_is_gone_keeps_nobody_waiting(world, client):
    other = world.client()
    wait(client)
    wait(other)
    client.connection.lost()
    put(world, b"one")
    assert said(other.received()[0])[5] == b"Rone"
    assert world.remoting.pulls.polling.waiting == 0
