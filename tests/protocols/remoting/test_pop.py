"""Popping, over a whole broker on a simulated disk: what is popped is hidden, acked for good, or tried again."""

import pytest

from core.state.records import GroupFact
from protocols.remoting.codes import Request
from protocols.remoting.rules import Rules
from tests.protocols.remoting.pop_world import ACK, CHANGE, POP, PopWorld, asked, begin, messages, pop_fields

STATES = pytest.mark.parametrize("state_lost", [False, True])
RETRY = b"%RETRY%g_T"


@pytest.fixture
def world():
    world = PopWorld().boot()
    world.topic()
    return world


# --- what is handed out


def test_a_pop_says_what_receipts_are_made_of(world):
    world.topic(b"T", queues=3)
    for queue in range(3):
        world.put(b"a%d" % queue, b"b%d" % queue, queue=queue)
    ((code, said, body),) = asked(world.client(), POP, pop_fields(world, maxMsgNums=5, invisibleTime=7000))
    assert code == 0 and len(messages(said, body)) == 5
    assert (said["invisibleTime"], said["reviveQid"], said["restNum"]) == ("7000", "0", "1")
    assert abs(int(said["popTime"]) - world.clock.ms) <= 1000
    starts = sorted(said["startOffsetInfo"].split(";"))
    assert starts == ["0 0 0", "0 1 0", "0 2 0"]
    offsets = sorted(each.split(" ")[2] for each in said["msgOffsetInfo"].split(";"))
    assert offsets == ["0", "0,1", "0,1"]
    assert "orderCountInfo" not in said


def test_what_one_member_was_handed_no_other_gets_and_another_group_does(world):
    world.put(b"1", b"2", b"3")
    first = world.pop(maxMsgNums=2)
    assert [each.body for each in first] == [b"1", b"2"]
    assert world.all() == [b"3"] and world.pop() == 210
    assert world.all(consumerGroup="h") == [b"1", b"2", b"3"]


def test_a_pop_of_one_queue_looks_into_that_one(world):
    world.topic(b"T", queues=2)
    world.put(b"0", queue=0)
    world.put(b"1", queue=1)
    assert [each.body for each in world.pop(queueId=1)] == [b"1"]
    assert world.pop(queueId=1) == 210
    assert [each.body for each in world.pop(queueId=0)] == [b"0"]


def test_a_new_group_begins_at_the_first_message_or_about_the_last(world):
    world.put(b"1", b"2", b"3")
    assert world.all(consumerGroup="young", initMode=1) == [b"1", b"2", b"3"]  # what is all in memory counts as new
    world.broker.topics.find(b"T").queues[0].begin_at(1)
    assert world.all(consumerGroup="late", initMode=1) == [b"3"]
    assert world.all(consumerGroup="early") == [b"2", b"3"]


@pytest.mark.parametrize(
    "exp, kind, expected", [("A || C", "TAG", [b"0", b"1", b"3", b"5"]), ("n > 3", "SQL92", [b"4", b"5"])]
)
def test_what_a_group_does_not_want_is_done(world, exp, kind, expected):
    for number, tag in enumerate("AABCBA"):
        world.put(b"%d" % number, properties=b"TAGS\x01%b\x02n\x01%d\x02" % (tag.encode(), number))
    found = world.pop(exp=exp, expType=kind)
    assert [each.body for each in found] == expected
    for each in found:
        assert world.ack(each) == 0
    assert world.offset() == 6


def test_a_filter_that_passes_much_by_goes_on_until_it_finds_something(world):
    world.put(*[b"x"] * 2000, properties=b"TAGS\x01no\x02")
    world.put(b"found", properties=b"TAGS\x01yes\x02")
    client = world.client()
    answers = asked(client, POP, pop_fields(world, exp="yes", pollTime=5000))
    world.run()
    answers = answers or [(header["code"], header["extFields"], body) for header, body in client.received()]
    assert [code for code, _, _ in answers] == [0]
    assert world.offset() == 2000


def test_messages_that_are_no_longer_in_memory_are_read_from_the_disk(world):
    world.put(*[b"%03d" % number + bytes(900) for number in range(100)])
    world.stop()
    world.boot(clean=True)
    client = world.client()
    found = [each for _ in range(4) for each in world.pop(client)]
    assert [each.body[:3] for each in found] == [b"%03d" % number for number in range(100)]


# --- acks


@STATES
def test_what_was_acked_never_comes_back_and_what_was_not_does(world, state_lost):
    world.put(*[b"%d" % number for number in range(10)])
    found = world.pop()
    for number in (0, 1, 4, 5, 8):
        assert world.ack(found[number]) == 0
    assert world.offset() == 2
    world.crash(state_lost)
    world.boot()
    assert world.offset() == 2
    assert world.all() == [b"2", b"3", b"6", b"7", b"9"]


def test_a_stop_states_what_nobody_waits_for(world, monkeypatch):
    monkeypatch.setattr("core.pop.GATHER_MS", 60_000)
    world.put(b"1", properties=b"TAGS\x01no\x02")
    assert world.pop(exp="yes") == 210
    world.stop()
    world.boot(clean=True)
    assert world.offset() == 1


@STATES
def test_a_clean_stop_keeps_the_same_and_checkpoints_know_it(world, state_lost):
    world.put(*[b"%d" % number for number in range(6)])
    found = world.pop()
    world.ack(found[1])
    world.checkpoint()
    world.ack(found[3])
    world.stop(state_lost)
    world.boot(clean=True)
    assert world.all() == [b"0", b"2", b"4", b"5"]


def test_an_ack_is_answered_when_it_is_safe(world):
    world.put(b"1")
    (message,) = world.pop()
    client = begin(world.client(), ACK, message.fields())
    committed = world.broker.log.committed
    while not client.transport.data:
        assert world.broker.log.committed == committed
        world.loop.run_until(world.loop.now + 0.00001)
    assert world.broker.log.committed > committed
    assert client.received()[0][0]["code"] == 0


def test_a_receipt_is_of_one_delivery(world):
    world.put(b"1")
    (message,) = world.pop(invisibleTime=1000)
    old = message.fields()
    ((code, said, _),) = asked(world.client(), CHANGE, message.fields() | {"invisibleTime": 5000})
    assert code == 0 and said["invisibleTime"] == "5000"
    assert world.client().ask(ACK, old)[0]["code"] == 0  # as in RocketMQ: no error, and nothing happens
    assert world.offset() == 0
    parts = message.receipt.split(" ")
    message.receipt = " ".join([parts[7], said["popTime"], said["invisibleTime"], said["reviveQid"], *parts[4:]])
    assert world.ack(message) == 0 and world.offset() == 1


@STATES
def test_a_receipt_of_an_earlier_life_counts_unless_somebody_else_has_the_message(world, state_lost):
    world.put(b"1", b"2", b"3")
    one, two, _ = world.pop()
    world.crash(state_lost)
    world.boot()
    assert world.ack(two) == 0
    again = world.pop()
    assert [each.body for each in again] == [b"1", b"3"]
    assert world.ack(one) == 0  # too late: it is somebody else's
    world.crash(state_lost)
    world.boot()
    assert world.all() == [b"1", b"3"]


def test_many_are_acked_by_one_request(world):
    world.put(*[b"%d" % number for number in range(12)])
    found = world.pop()
    start, pop_time, invisible, revive = found[0].receipt.split(" ")[:4]
    bits = "7Qk="  # 11101101 00001001: 0, 2, 3, 5, 6, 7, 8, 11
    pop = f'"it":{invisible},"pt":{pop_time},"q":0,"r":"0","rq":{revive},"so":{start},"t":"T"'
    body = f'{{"acks":[{{"b":"{bits}","c":"g",{pop}}}],"brokerName":"broker-a"}}'
    assert asked(world.client(), Request.BATCH_ACK_MESSAGE, {}, body.encode())[0][0] == 0
    assert world.offset() == 1
    world.crash()
    world.boot()
    assert world.all() == sorted(b"%d" % number for number in (1, 4, 9, 10))
    assert asked(world.client(), Request.BATCH_ACK_MESSAGE, {}, b"{}")[0][0] == 208


def test_acks_of_what_cannot_be_are_refused_as_by_rocketmq(world):
    world.put(b"1")
    (message,) = world.pop()
    for changed, code in (
        ({"offset": 2}, 208),
        ({"offset": -1}, 208),
        ({"queueId": 1}, 13),
        ({"queueId": -1}, 13),
        ({"topic": "U"}, 17),
        ({"extraInfo": "0 1 2"}, 1),
        ({"extraInfo": "a b c d"}, 1),
        ({"offset": 1}, 0),
        ({"consumerGroup": "nobody"}, 0),
    ):
        assert world.client().ask(ACK, message.fields() | changed)[0]["code"] == code, changed
        if code:
            fields = message.fields() | {"invisibleTime": 1} | changed
            assert world.client().ask(CHANGE, fields)[0]["code"] == code
    assert world.offset() == 0


def test_who_says_where_a_group_goes_on_is_heard(world):
    world.put(*[b"%d" % number for number in range(4)])
    found = world.pop()
    world.ack(found[2])
    world.broker.groups.commit(b"g", b"T", 0, 1)
    assert world.pop() == 210  # what is popped beyond stays hidden, and what was done stays done
    assert world.ack(found[0]) == 0 and world.ack(found[1]) == 0 and world.offset() == 3
    world.broker.groups.commit(b"g", b"T", 0, 0)
    assert world.all() == [b"0", b"1", b"2", b"3"]  # everything once more
    assert world.ack(found[3]) == 0  # of a delivery that is forgotten
    world.run(61)
    assert world.stored(RETRY) == 4


@STATES
def test_acks_count_whatever_members_that_pull_commit_meanwhile(world, state_lost):
    world.put(*[b"%d" % number for number in range(6)])
    found = world.pop()
    client = begin(world.client(), ACK, found[3].fields())
    world.broker.groups.commit(b"g", b"T", 0, 2)  # in the same turn
    world.run()
    assert client.received()[0][0]["code"] == 0 and world.offset() == 2
    assert world.broker.pops.in_flight == 3
    assert world.pop() == 210 and world.ack(found[5]) == 0
    world.crash(state_lost)
    world.boot()
    assert world.all() == [b"2", b"4"]


def test_a_reset_by_an_operator_sends_a_group_that_pops_back(world):
    world.put(*[b"%d" % number for number in range(4)])
    found = world.pop()
    world.ack(found[2])
    assert world.pop() == 210
    client = world.client()
    assert asked(client, POP, pop_fields(world, pollTime=9000)) == []
    fields = {"topic": "T", "group": "g", "queueId": 0, "offset": 0, "timestamp": -1, "isForce": "true"}
    assert asked(world.client(), Request.INVOKE_BROKER_TO_RESET_OFFSET, fields)[0][0] == 0
    ((header, body),) = client.received()  # also when it is there already, and some of it is hidden
    assert [each.body for each in messages(header["extFields"], body)] == [b"0", b"1", b"2", b"3"]
    assert world.ack(found[0]) == 0 and world.offset() == 0
    world.crash()
    world.boot()
    assert world.all() == [b"0", b"1", b"2", b"3"]


def test_what_is_popped_is_counted_as_given(world):
    world.put(b"1", b"2")
    world.pop()
    traffic = world.broker.topics.find(b"T").reader(b"g")
    assert (traffic.messages, traffic.times, traffic.pulled) == (2, 1, {0: 2})
    assert world.remoting.pulls.messages == 2


# --- limits and refusals


def test_so_many_of_a_queue_are_in_flight_at_most(world):
    world.broker.pops._ports = world.broker.pops._ports._replace(in_flight_max=5)
    world.put(*[b"%d" % number for number in range(9)])
    found = world.pop()
    assert len(found) == 5 and world.pop() == 210
    client = world.client()
    assert asked(client, POP, pop_fields(world, pollTime=9000)) == []
    world.ack(found[3])
    ((header, body),) = client.received()
    assert header["code"] == 0 and len(messages(header["extFields"], body)) == 1


@pytest.mark.parametrize(
    "changed, code",
    [
        ({"maxMsgNums": 33}, 29),
        ({"queueId": 1}, 29),
        ({"topic": "U"}, 17),
        ({"exp": "a >> 3", "expType": "SQL92"}, 23),
        ({"exp": "||", "expType": "TAG"}, 23),
        ({"bornTime": 1, "pollTime": 1}, 210),
        ({"pollTime": None}, 1),
    ],
)
def test_what_cannot_be_popped_is_refused_as_by_rocketmq(world, changed, code):
    world.put(b"1")
    fields = {name: value for name, value in pop_fields(world, **changed).items() if value is not None}
    assert world.client().ask(POP, fields)[0]["code"] == code


def test_without_permission_nothing_is_popped(world):
    world.put(b"1")
    world.broker.groups.put(GroupFact(name="g", consume_enable=False))
    assert world.pop() == 16
    world.crash()
    world.rules = Rules(permission=2)
    world.boot()
    assert world.pop(consumerGroup="h") == 16


def test_a_topic_that_was_made_anew_begins_anew(world):
    world.put(b"1", b"2")
    old = world.pop()
    world.broker.topics.delete(b"T")
    world.broker.groups.topic_deleted(b"T")
    world.run()
    world.topic()
    world.put(b"3")
    assert world.ack(old[0]) == 0
    assert world.all() == [b"3"]
    world.run(120)
    assert world.stored(RETRY) == 1


def test_a_topic_takes_along_what_was_popped_of_it_and_not_acked(world):
    world.put(b"1")
    world.pop(invisibleTime=100)
    world.run(1)
    assert world.stored(RETRY) == 1
    assert asked(world.client(), Request.DELETE_TOPIC_IN_BROKER, {"topic": "T"})[0][0] == 0
    assert world.broker.topics.find(RETRY) is None and world.broker.groups.offsets_of(b"g") == {}
    world.topic()
    assert world.pop() == 210


def test_cursors_that_hold_nothing_are_let_go_of(world, monkeypatch):
    monkeypatch.setattr("core.pop.SWEEP_MIN", 3)
    world.broker.pops._sweep_at = 3
    world.put(b"1")
    holder = world.pop(consumerGroup="holder")
    for number in range(20):
        (message,) = world.pop(consumerGroup=f"g{number}")
        assert world.ack(message, group=f"g{number}") == 0
        assert len(world.broker.pops._cursors) <= 6
    assert world.ack(holder[0], group="holder") == 0 and world.offset(b"holder") == 1
    assert world.pop(consumerGroup="g3") == 210


def test_a_member_that_left_gets_nothing(world):
    client = world.client()
    assert asked(client, POP, pop_fields(world, pollTime=9000)) == []
    client.connection.lost()
    world.put(b"1")
    assert world.all() == [b"1"]


def test_a_peek_of_a_group_that_was_never_there_leaves_no_trace(world):
    world.put(b"1")
    fields = {"consumerGroup": "g", "topic": "T", "queueId": -1, "maxMsgNums": 1}
    assert asked(world.client(), Request.PEEK_MESSAGE, fields)[0][0] == 0
    assert world.offset() == -1 and world.broker.groups.groups_of(b"T") == []


def test_peeking_takes_nothing(world):
    world.put(b"1", b"2")
    fields = {"consumerGroup": "g", "topic": "T", "queueId": -1, "maxMsgNums": 1}
    for _ in range(2):
        ((code, said, body),) = asked(world.client(), Request.PEEK_MESSAGE, fields)
        assert (code, said["restNum"], body.count(b"UNIQ")) == (0, "1", 0) and body
    assert world.all() == [b"1", b"2"]
    assert asked(world.client(), Request.PEEK_MESSAGE, fields)[0][0] == 19
