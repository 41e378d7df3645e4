"""Pops that wait: woken one by one, answered when their time is up, bounded; ordered pops; questions about pops."""

import pytest

from protocols.remoting import pop_waiting
from protocols.remoting.codes import Request
from tests.protocols.remoting.pop_world import CHANGE, POP, PopWorld, asked, begin, messages, pop_fields

FOUND, FULL, TIME_IS_UP = 0, 209, 210


@pytest.fixture
def world():
    world = PopWorld().boot()
    world.topic(queues=2)
    return world


def wait(world, client=None, **more):
    """A client whose pop waits 9 s."""
    client = client or world.client()
    assert asked(client, POP, pop_fields(world, pollTime=9000, **more)) == []
    return client


def got(client):
    """What its pop brought: bodies, a code, or None if it waits."""
    answers = client.received()
    if not answers:
        return None
    ((header, body),) = answers
    return [each.body for each in messages(header["extFields"], body)] if body else header["code"]


# --- waiting


def test_a_pop_that_waits_gets_what_comes_and_only_one_of_a_group_does(world):
    first, second, other = wait(world), wait(world), wait(world, consumerGroup="h")
    world.put(b"1", queue=1)
    assert (got(first), got(second), got(other)) == ([b"1"], None, [b"1"])
    world.put(b"2", queue=1)
    assert got(second) == [b"2"]


def test_one_that_leaves_some_wakes_the_next(world):
    clients = [wait(world, maxMsgNums=2) for _ in range(3)]
    world.put(*[b"%d" % number for number in range(5)])
    assert sorted(body for client in clients for body in got(client)) == [b"%d" % number for number in range(5)]


def test_a_pop_of_one_queue_is_not_woken_by_another(world):
    one, zero = wait(world, queueId=1), wait(world, queueId=0)
    world.put(b"0", queue=0)
    assert (got(one), got(zero)) == (None, [b"0"])
    world.put(b"1", queue=1)
    assert got(one) == [b"1"]


def test_who_leaves_some_in_a_queue_wakes_one_that_looks_there(world):
    every, zero, one = wait(world, maxMsgNums=2), wait(world, queueId=0), wait(world, queueId=1)
    world.put(b"1", b"2", b"3", queue=1)
    assert (got(every), got(zero), got(one)) == ([b"1", b"2"], None, [b"3"])


def test_one_that_looks_into_all_queues_is_woken_once_for_all(world):
    for _ in range(2):
        wait(world)
    line = world.remoting.pops.waiting._lines[b"T", b"g"]
    assert line.chosen({None, 0, 1}) == list(line.waiters)[:1]


def test_it_waits_on_when_what_came_is_not_wanted(world):
    client = wait(world, exp="B")
    world.put(b"1", properties=b"TAGS\x01A\x02")
    assert got(client) is None
    world.put(b"2", properties=b"TAGS\x01B\x02")
    assert got(client) == [b"2"]
    assert world.offset() == 1


def test_when_its_time_is_up_it_is_told(world):
    client = wait(world)
    world.run(8.5)
    assert got(client) is None
    world.run(0.7)
    ((header, _),) = client.received()
    assert header["code"] == TIME_IS_UP and {"popTime", "invisibleTime", "reviveQid", "restNum"} <= set(
        header["extFields"]
    )


def test_so_many_wait_at_most(world, monkeypatch):
    monkeypatch.setattr(pop_waiting, "POLLING_MAX", 2)
    clients = [wait(world), wait(world)]
    assert world.pop(pollTime=9000) == FULL
    fields = {"consumerGroup": "g", "topic": "T", "queueId": -1}
    assert asked(world.client(), Request.POLLING_INFO, fields)[0][1]["pollingNum"] == "2"
    world.run(10)
    assert [got(client) for client in clients] == [TIME_IS_UP] * 2
    assert asked(world.client(), Request.POLLING_INFO, fields)[0][1]["pollingNum"] == "0"


def test_who_waits_gets_what_comes_again(world):
    world.put(b"1")
    world.pop(invisibleTime=2000)
    client = wait(world)
    world.run(3)
    assert got(client) == [b"1"]


def test_one_whose_client_went_does_not_keep_others_waiting(world):
    gone, there = wait(world), wait(world)
    gone.connection.lost()
    world.put(b"1")
    assert got(there) == [b"1"]


def test_a_topic_that_goes_takes_nobody_along(world):
    client = wait(world)
    world.broker.topics.delete(b"T")
    world.run()
    assert got(client) == TIME_IS_UP
    assert world.pop() == 17


# --- while a queue is read from the disk


@pytest.fixture
def cold(world):
    """A world of one queue whose messages, most of them wanted by nobody, are not in memory."""
    world.topic(queues=1)
    world.put(*[b"x" + bytes(900)] * 2000, properties=b"TAGS\x01no\x02")
    world.put(b"found", properties=b"TAGS\x01yes\x02")
    world.stop()
    world.boot(clean=True)
    return world


def test_a_pop_that_passed_by_what_another_read_looks_again(cold):
    reader = begin(cold.client(), POP, pop_fields(cold, exp="yes"))
    passed = begin(cold.client(), POP, pop_fields(cold, exp="yes", pollTime=9000))
    cold.run()
    assert (got(reader), got(passed)) == (TIME_IS_UP, [b"found"])


def test_when_the_client_of_one_that_reads_goes_another_looks(cold):
    reader = begin(cold.client(), POP, pop_fields(cold, exp="yes"))
    passed = begin(cold.client(), POP, pop_fields(cold, exp="yes", pollTime=9000))
    reader.connection.lost()
    cold.run()
    assert got(passed) == [b"found"]


def test_a_peek_is_in_nobodys_way(cold):
    assert cold.pop(exp="yes") == TIME_IS_UP
    fields = {"consumerGroup": "g", "topic": "T", "queueId": -1, "maxMsgNums": 3}
    peek = begin(cold.client(), Request.PEEK_MESSAGE, fields)
    passed = begin(cold.client(), POP, pop_fields(cold, exp="yes", pollTime=9000))
    cold.run()
    assert len(peek.received()) == 1 and got(passed) == [b"found"]


# --- in order


def order(world, **more):
    return world.pop(order="true", queueId=0, **more)


def test_an_ordered_pop_locks_its_queue_until_all_is_acked(world):
    world.put(*[b"%d" % number for number in range(4)])
    found = order(world, maxMsgNums=2)
    assert [each.body for each in found] == [b"0", b"1"] and found[0].receipt.split(" ")[3] == "999"
    assert order(world) == TIME_IS_UP
    client = wait(world, order="true", queueId=0)
    assert world.ack(found[1]) == 0 and got(client) is None
    assert world.offset() == 0
    assert world.ack(found[0]) == 0 and got(client) == [b"2", b"3"]
    assert world.offset() == 2


def test_what_was_not_acked_comes_again_in_its_place_and_what_was_does_not(world):
    world.put(*[b"%d" % number for number in range(4)])
    found = order(world, maxMsgNums=3, invisibleTime=2000)
    assert world.ack(found[1]) == 0
    client = wait(world, order="true", queueId=0)
    world.run(2.5)
    ((header, body),) = client.received()
    again = messages(header["extFields"], body)
    assert [each.body for each in again] == [b"0", b"2", b"3"]
    counts = header["extFields"]["orderCountInfo"]
    assert counts == "0 qo0%0 1;0 qo0%2 1;0 0 0"
    assert world.ack(found[0]) == 0 and world.offset() == 0  # the receipt of a delivery that is over
    for each in again:
        assert world.ack(each) in (0,)
    assert world.stored(b"%RETRY%g_T") == 0


def test_a_lost_answer_is_asked_for_once_more(world):
    world.put(b"0", b"1")
    first = order(world, attemptId="a1")
    again = order(world, attemptId="a1")
    assert [each.body for each in again] == [each.body for each in first] == [b"0", b"1"]
    assert order(world, attemptId="a2") == TIME_IS_UP


def test_an_ordered_receipt_stays_while_its_time_is_changed(world):
    world.put(b"0")
    (message,) = order(world, invisibleTime=2000)
    ((code, said, _),) = asked(world.client(), CHANGE, message.fields() | {"invisibleTime": 6000})
    pop_ms = int(message.receipt.split(" ")[1])
    assert (code, int(said["popTime"]), said["reviveQid"]) == (0, pop_ms, "999")
    assert 6000 <= int(said["invisibleTime"]) <= 6500
    world.run(4)
    assert order(world) == TIME_IS_UP
    assert world.ack(message) == 0 and world.offset() == 1


def test_an_ack_of_what_an_ordered_pop_did_not_bring_is_refused(world):
    world.put(b"0", b"1", b"2")
    (message,) = order(world, maxMsgNums=1)
    message.offset = 1
    assert world.ack(message) == 13
    assert world.offset() == 0


def test_an_ack_wakes_who_waits_for_that_queue(world):
    world.put(b"0", b"1", queue=0)
    world.put(b"2", b"3", queue=1)
    world.pop(order="true", queueId=0, maxMsgNums=1)
    (message,) = world.pop(order="true", queueId=1, maxMsgNums=1)
    zero, one = (wait(world, order="true", queueId=number) for number in range(2))
    assert world.ack(message) == 0
    assert (got(zero), got(one)) == (None, [b"3"])


# --- questions


def ask_whether(world, client=None, **more):
    fields = {"consumerGroup": "g", "topic": "T", "queueId": -1, "pollTime": 0, "bornTime": world.clock.ms}
    found = asked(client or world.client(), Request.NOTIFICATION, fields | more)
    return found[0][1]["hasMsg"] == "true" if found else None


def test_who_asks_whether_there_is_something_is_told_or_waits(world):
    assert ask_whether(world) is False
    client = world.client()
    assert ask_whether(world, client, pollTime=9000) is None
    world.put(b"1", queue=1)
    ((header, _),) = client.received()
    assert header["extFields"] == {"hasMsg": "true", "pollingFull": "false"}
    assert ask_whether(world) and ask_whether(world, queueId=1) and not ask_whether(world, queueId=0)
    assert len(world.pop(invisibleTime=2000)) == 1
    assert ask_whether(world) is False
    world.run(2)
    assert ask_whether(world) is True  # in the retry topic


def test_in_order_there_is_nothing_while_the_queue_is_locked(world):
    world.put(b"0", b"1")
    found = order(world, maxMsgNums=1)
    assert ask_whether(world, order="true", queueId=0) is False
    world.ack(found[0])
    assert ask_whether(world, order="true", queueId=0) is True


def test_an_ack_tells_who_asks_about_that_queue(world):
    world.put(b"0", b"1", queue=0)
    world.put(b"2", b"3", queue=1)
    _, (message,) = (world.pop(order="true", queueId=number, maxMsgNums=1) for number in range(2))
    clients = [world.client() for _ in range(2)]
    for number, client in enumerate(clients):
        assert ask_whether(world, client, order="true", queueId=number, pollTime=9000) is None
    assert world.ack(message) == 0
    assert [len(client.received()) for client in clients] == [0, 1]
