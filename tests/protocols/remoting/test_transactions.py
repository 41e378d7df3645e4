"""Half messages: seen once when committed, never when rolled back, and asked about until something is said of them."""

import json
import re
from contextlib import suppress

import pytest

from corduroy.client.records import decode
from protocols.remoting import properties
from protocols.remoting.codes import Request
from protocols.remoting.errors import FAQ
from tests.protocols.remoting.native_world import send_fields, text
from tests.protocols.remoting.served_world import ServedWorld
from tests.protocols.remoting.world import ONEWAY, request
from tests.simulation.disk import Crash

COMMIT, ROLLBACK, UNKNOWN = 8, 12, 0
HALF, CHECKED = b"RMQ_SYS_TRANS_HALF_TOPIC", b"TRANS_CHECK_MAX_TIME_TOPIC"
STATES = pytest.mark.parametrize("state_lost", [False, True])


@pytest.fixture
def world():
    return ServedWorld().boot()


@pytest.fixture
def client(world):
    return world.client()


def half(client, body=b"work", **more):
    """Send one; returns the fields of the answer."""
    said = {"UNIQ_KEY": "0A", "TAGS": "TagA", "KEYS": "k", "TRAN_MSG": "true", "PGROUP": "group"} | more
    fields = send_fields(e=2, f=4, h=3, i=text(**{name: value for name, value in said.items() if value is not None}))
    client.send(request(Request.SEND_MESSAGE_V2, fields, body), seconds=0)
    assert client.received() == []  # not before it is on the disk
    client.world.run(0.1)
    ((header, _),) = client.received()
    assert (header["code"], header.get("remark")) == (0, None)
    return header["extFields"]


def end(client, sent, outcome=COMMIT, *, asked=False, **more):
    """END_TRANSACTION; returns (code, remark), or None when there is no answer."""
    fields = {
        "producerGroup": "group",
        "tranStateTableOffset": sent["queueOffset"],
        "commitLogOffset": int(sent["msgId"][16:], 16),
        "commitOrRollback": outcome,
        "fromTransactionCheck": str(asked).lower(),
        "msgId": "0A",
        "transactionId": "0A",
    }
    flag = ONEWAY if more.pop("oneway", False) else 0
    client.send(request(Request.END_TRANSACTION, fields | more, flag=flag), seconds=0)
    client.world.run(0.1)
    answers = client.received()
    return (answers[0][0]["code"], answers[0][0].get("remark")) if answers else None


def beat(client, group="group"):
    """The client produces for that group."""
    data = {"clientID": "me", "producerDataSet": [{"groupName": group}], "consumerDataSet": []}
    client.send(request(Request.HEART_BEAT, {}, json.dumps(data).encode()), seconds=0)
    assert [header["code"] for header, _ in client.received()] == [0]


def questions(client):
    """(fields, message) of each CHECK_TRANSACTION_STATE that came."""
    found = []
    for header, body in client.received():
        assert header["code"] == Request.CHECK_TRANSACTION_STATE and header["flag"] & ONEWAY
        message, size = decode(body)
        assert size == len(body)
        found.append((header["extFields"], message))
    return found


def test_a_half_message_waits_in_its_own_topic_and_is_seen_nowhere_else(world, client):
    sent = half(client)
    assert (sent["queueId"], sent["queueOffset"], sent["transactionId"]) == ("2", "0", "0A")
    (stored,) = world.messages(HALF)
    assert (stored.queue_id, stored.body, stored.sys_flag, stored.flag) == (0, b"work", 0, 3)
    said = properties.as_dict(stored.properties)
    held = {b"REAL_TOPIC": b"T", b"REAL_QID": b"2", b"__transactionId__": b"0A", b"TRAN_MSG": b"true"}
    assert said.items() >= held.items()
    assert sent["msgId"] == f"7F00000100002A9F{stored.offset:016X}"
    assert world.messages(b"T", 2) == [] and world.broker.halves.count == 1


def test_committed_it_is_the_message_that_was_sent(world, client):
    sent = half(client)
    (stored,) = world.messages(HALF)
    assert end(client, sent) == (0, None)
    (real,) = world.messages(b"T", 2)
    assert (real.body, real.sys_flag, real.flag, real.prepared_offset) == (b"work", COMMIT, 3, stored.offset)
    assert (real.born_ms, real.born_host, real.store_host) == (stored.born_ms, stored.born_host, stored.store_host)
    said = properties.as_dict(real.properties)
    assert not said.keys() & {b"TRAN_MSG", b"REAL_TOPIC", b"REAL_QID"}
    assert said.items() >= {b"UNIQ_KEY": b"0A", b"__transactionId__": b"0A", b"TAGS": b"TagA", b"KEYS": b"k"}.items()
    assert world.broker.halves.count == 0
    queue = world.broker.topics.find(b"T").queues[2]
    assert queue.index.find(0) == 1 and queue.index.code == 2598919  # Java's "TagA".hashCode()


def test_rolled_back_it_is_seen_by_nobody(world, client):
    assert end(client, half(client), ROLLBACK) == (0, None)
    world.run(100)
    assert world.messages(b"T", 2) == [] and world.broker.halves.count == 0
    assert world.remoting.transactions.rolled_back == 1


@pytest.mark.parametrize("first", [COMMIT, ROLLBACK])
def test_it_is_ended_once(world, client, first):
    sent = half(client)
    assert end(client, sent, first) == (0, None)
    assert end(client, sent) == (1, "Find prepared transaction message failed")
    assert len(world.messages(b"T", 2)) == (first == COMMIT)


def test_two_ends_at_the_same_time_are_one(world, client):
    sent = half(client)
    fields = {"producerGroup": "group", "tranStateTableOffset": 0, "commitOrRollback": COMMIT}
    fields["commitLogOffset"] = int(sent["msgId"][16:], 16)
    client.send(request(Request.END_TRANSACTION, fields) + request(Request.END_TRANSACTION, fields))
    world.run(0.1)
    assert [header["code"] for header, _ in client.received()] in ([0, 1], [1, 0])
    assert len(world.messages(b"T", 2)) == 1


def test_the_end_is_answered_when_it_is_on_the_disk(world, client):
    sent = half(client)
    fields = {"producerGroup": "group", "tranStateTableOffset": 0, "commitOrRollback": COMMIT}
    fields["commitLogOffset"] = int(sent["msgId"][16:], 16)
    client.send(request(Request.END_TRANSACTION, fields), seconds=0)
    while not client.transport.data:
        assert world.messages(b"T", 2) == []
        world.run(0.00005)
    assert world.broker.log.committed == world.broker.log.appended


def test_who_knows_nothing_yet_is_not_answered(world, client):
    sent = half(client)
    assert end(client, sent, UNKNOWN) is None and end(client, sent, 3) is None
    assert world.broker.halves.count == 1
    assert end(client, sent, COMMIT, oneway=True) is None
    assert len(world.messages(b"T", 2)) == 1


REFUSED = {
    "another group": ({"producerGroup": "other"}, "The producer group wrong"),
    "another place in the log": ({"commitLogOffset": 1}, "The commit log offset wrong"),
    "no such half": ({"tranStateTableOffset": 7}, "Find prepared transaction message failed"),
    "below all": ({"tranStateTableOffset": -1}, "Find prepared transaction message failed"),
}


@pytest.mark.parametrize(("fields", "remark"), REFUSED.values(), ids=REFUSED)
def test_an_end_that_names_another_half_changes_nothing(world, client, fields, remark):
    assert end(client, half(client), **fields) == (1, remark)
    assert world.broker.halves.count == 1 and world.messages(b"T", 2) == []


def test_when_its_topic_is_gone_it_cannot_be_committed_but_rolled_back(world, client):
    sent = half(client)
    world.broker.topics.delete(b"T")
    assert end(client, sent) == (17, f"topic[T] not exist, apply first please!{FAQ}")
    assert end(client, sent, ROLLBACK) == (0, None)


def test_its_sender_is_asked_after_six_seconds_and_then_every_thirty(world, client):
    beat(client)
    sent = half(client)
    (stored,) = world.messages(HALF)
    world.run(5.8)
    assert questions(client) == []
    world.run(0.2)
    ((fields, message),) = questions(client)
    assert fields == {
        "topic": HALF.decode(),
        "tranStateTableOffset": "0",
        "commitLogOffset": str(stored.offset),
        "msgId": "0A",
        "transactionId": "0A",
        "offsetMsgId": sent["msgId"],
        "bname": "broker-a",
    }
    assert (message.topic, message.queue_id, message.body) == ("T", 2, b"work")
    assert message.properties["TRANSACTION_CHECK_TIMES"] == "1" and message.properties["PGROUP"] == "group"
    world.run(29.8)
    assert questions(client) == []
    world.run(0.3)
    assert [message.properties["TRANSACTION_CHECK_TIMES"] for _, message in questions(client)] == ["2"]
    assert end(client, sent, asked=True) == (0, None)
    world.run(60)
    assert questions(client) == [] and len(world.messages(b"T", 2)) == 1


def test_any_producer_of_the_group_is_asked_and_nobody_else(world):
    others = [world.client(port=50000 + number) for number in range(3)]
    beat(others[0])
    beat(others[1])
    beat(others[2], "other")
    half(others[0])
    others[0].received()
    world.run(70)
    asked = [len(questions(client)) for client in others]
    assert sorted(asked[:2]) == [1, 2] and asked[2] == 0


def test_after_fifteen_questions_it_goes_where_operators_find_it(world, client):
    half(client)
    world.run(6 + 15 * 30 - 1)
    assert world.broker.halves.count == 1 and world.broker.topics.find(CHECKED) is None
    world.run(2)
    (given_up,) = world.messages(CHECKED)
    said = properties.as_dict(given_up.properties)
    assert (given_up.body, said[b"REAL_TOPIC"], said[b"TRANSACTION_CHECK_TIMES"]) == (b"work", b"T", b"15")
    assert world.broker.halves.count == 0
    report = ("half message of which nothing was said is given up", {"topic": "T", "moved_to": CHECKED.decode()})
    assert world.reports == [report]


def test_one_whose_properties_have_no_room_is_asked_about_and_given_up_as_others_are(world, client):
    beat(client)
    half(client, PADDING="p" * (32747 - 172))
    (stored,) = world.messages(HALF)
    assert 32747 - 26 < len(stored.properties) <= 32747
    half(client)
    world.run(6 + 15 * 30 + 1)
    assert len(questions(client)) == 30 and len(world.messages(CHECKED)) == 2 and world.broker.halves.count == 0


def test_a_message_may_ask_for_more_time_before_it_is_asked_about(world, client):
    beat(client)
    sent = half(client, CHECK_IMMUNITY_TIME_IN_SECONDS="20")
    half(client, CHECK_IMMUNITY_TIME_IN_SECONDS="1")  # less than the broker's own: that counts
    half(client, CHECK_IMMUNITY_TIME_IN_SECONDS="soon")
    world.run(7)
    assert [fields["tranStateTableOffset"] for fields, _ in questions(client)] == ["1", "2"]
    world.run(14)
    assert [fields["tranStateTableOffset"] for fields, _ in questions(client)] == ["0"]
    assert end(client, sent) == (604, None)  # what the question is answered with counts
    assert end(client, sent, asked=True) == (0, None)


def test_what_is_configured_counts():
    rules = {"transaction_timeout_ms": 1000, "transaction_check_interval_ms": 2000, "transaction_check_max": 2}
    world = ServedWorld(**rules).boot()
    client = world.client()
    beat(client)
    half(client)
    world.run(4.5)
    assert len(questions(client)) == 2
    world.run(2)
    assert len(world.messages(CHECKED)) == 1


def test_transactions_can_be_forbidden():
    world = ServedWorld(reject_transactions=True).boot()
    fields = send_fields(i=text(TRAN_MSG="true", PGROUP="group"))
    header, _ = world.client().ask(Request.SEND_MESSAGE_V2, fields, b"x")
    remark = "the broker[127.0.0.1] sending transaction message is forbidden"
    assert (header["code"], header["remark"]) == (16, remark)


ILLEGAL = {
    "delayed": (text(TRAN_MSG="true", DELAY="1"), 0, "a transaction's message cannot be delayed"),
    "timed": (text(TRAN_MSG="true", TIMER_DELAY_SEC="1"), 0, "a transaction's message cannot be delayed"),
    "prepared without the property": (text(PGROUP="group"), 4, "only a message with the property TRAN_MSG=true"),
    "committed": (text(PGROUP="group"), 8, "only a message with the property TRAN_MSG=true"),
}


@pytest.mark.parametrize(("said", "flags", "remark"), ILLEGAL.values(), ids=ILLEGAL)
def test_what_no_half_message_can_be_is_refused(world, client, said, flags, remark):
    header, _ = client.ask(Request.SEND_MESSAGE_V2, send_fields(f=flags, i=said), b"x")
    assert header["code"] == 13 and re.match(re.escape(remark), header["remark"])


def test_what_comes_back_to_be_tried_again_is_no_half_message_any_more(world, client):
    """Clients before 4.6.1 send it with the properties of the first time."""
    said = text(UNIQ_KEY="0A", TRAN_MSG="true", DELAY="3")
    client.send(request(Request.SEND_MESSAGE_V2, send_fields(topic="%RETRY%g", f=4, j=1, i=said), b"x"))
    world.run(11)
    assert [message.body for message in world.messages(b"%RETRY%g")] == [b"x"] and world.broker.halves.count == 0


@STATES
@pytest.mark.parametrize("checkpoint", [False, True])
def test_half_messages_and_how_often_they_were_asked_about_survive_a_crash(world, client, checkpoint, state_lost):
    sent = [half(client, b"%d" % number, UNIQ_KEY=f"0{number}") for number in range(4)]
    assert end(client, sent[0]) == (0, None) and end(client, sent[1], ROLLBACK) == (0, None)
    world.run(37)
    if checkpoint:
        world.checkpoint()
    world.crash(state_lost=state_lost)
    world.boot()
    client = world.client()
    beat(client)
    assert [message.body for message in world.messages(b"T", 2)] == [b"0"]
    world.run(30)
    found = questions(client)
    assert [message.properties["TRANSACTION_CHECK_TIMES"] for _, message in found] == ["3", "3"]
    assert {message.body for _, message in found} == {b"2", b"3"}
    assert end(client, sent[2], asked=True) == (0, None) and end(client, sent[0]) is not None
    assert [message.body for message in world.messages(b"T", 2)] == [b"0", b"2"]
    assert half(client)["queueOffset"] == "4"


def test_an_end_that_was_answered_survives_a_crash_and_one_that_was_not_is_there_wholly_or_not_at_all():
    outcomes = set()
    for cut in range(24):
        world = ServedWorld(seed=cut).boot()
        client = world.client()
        sent = half(client)
        fields = {"producerGroup": "group", "tranStateTableOffset": 0, "commitOrRollback": COMMIT}
        fields["commitLogOffset"] = int(sent["msgId"][16:], 16)
        world.disk.crash_in = cut % 3
        with suppress(Crash):
            client.send(request(Request.END_TRANSACTION, fields), seconds=0.01)
        answered = bool(client.transport.data)
        world.crash()
        world.boot()
        outcome = len(world.messages(b"T", 2)), world.broker.halves.count
        assert outcome in ((1, 0), (0, 1)) and (outcome == (1, 0) or not answered)
        outcomes.add((*outcome, answered))
    assert len(outcomes) == 3
