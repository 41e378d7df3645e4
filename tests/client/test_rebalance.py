"""Sharing queues as RocketMQ does, what a queue's bounds hold back, and what a subscription means."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corduroy.client import process_queue
from corduroy.client.admin import has_key
from corduroy.client.consuming import InOrder
from corduroy.client.errors import ClientError, CodecError
from corduroy.client.listening import Listening
from corduroy.client.messages import MessageQueue, ReceivedMessage
from corduroy.client.offsets import key_of, queue_of
from corduroy.client.pop_consumer import start_offsets
from corduroy.client.process_queue import ProcessQueue
from corduroy.client.rebalance import averagely, by_circle
from corduroy.client.subscriptions import SQL92, Subscription, java_hash
from tests.client.listeners import Seen

QUEUES = [MessageQueue("t", "b", number) for number in range(20)]
QUEUE = QUEUES[0]


@pytest.mark.parametrize(
    ("queues", "clients", "shares"),
    [
        (8, 3, [[0, 1, 2], [3, 4, 5], [6, 7]]),
        (4, 2, [[0, 1], [2, 3]]),
        (2, 3, [[0], [1], []]),
        (5, 1, [[0, 1, 2, 3, 4]]),
    ],
)
def test_shares_are_those_of_rocketmqs_avg(queues, clients, shares):
    members = [f"c{number}" for number in range(clients)]
    found = [[queue.queue_id for queue in averagely(QUEUES[:queues], members, me)] for me in members]
    assert found == shares


@pytest.mark.parametrize("allocate", [averagely, by_circle])
@given(st.integers(0, 20), st.integers(1, 9))
def test_every_queue_has_one_reader_and_shares_differ_by_one_at_most(allocate, queues, clients):
    members = [f"c{number}" for number in range(clients)]
    shares = [allocate(QUEUES[:queues], members, me) for me in members]
    assert sorted(queue for share in shares for queue in share) == QUEUES[:queues]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert allocate(QUEUES, members, "stranger") == []


def message(offset, size=1):
    return ReceivedMessage("t", bytes(size), {}, 0, offset, offset, 0, 0, 0, "1.1.1.1:1", 0, "1.1.1.1:1", 0, 0, "b")


@given(st.lists(st.integers(1, 5), max_size=9), st.randoms())
def test_what_may_be_committed_never_passes_a_message_that_is_not_done(gaps, random):
    held, offset, messages = ProcessQueue(QUEUE, 0), 0, []
    for gap in gaps:
        offset += gap
        messages.append(message(offset))
    held.put(messages, offset + 3)
    random.shuffle(messages)
    while messages:
        assert held.committable == min(each.queue_offset for each in messages)
        held.done([messages.pop()])
    assert (held.committable, held.bytes) == (offset + 3 if gaps else 3, 0)


@pytest.mark.parametrize(("limit", "value"), [("COUNT_MAX", 3), ("BYTES_MAX", 30), ("SPAN_MAX", 2)])
def test_reading_waits_while_a_queue_holds_too_much(monkeypatch, limit, value):
    monkeypatch.setattr(process_queue, limit, value)
    held = ProcessQueue(QUEUE, 0)
    messages = [message(offset, 10) for offset in range(3)]
    held.put(messages[:2], 2)
    assert held.has_room.is_set()
    held.put(messages[2:], 3)
    assert not held.has_room.is_set()
    held.done([messages[1]])
    assert held.has_room.is_set() == (limit != "SPAN_MAX")  # the first of them holds everything back
    held.done([messages[0]])
    assert held.has_room.is_set()


def test_after_a_reset_nothing_of_before_counts():
    held = ProcessQueue(QUEUE, 0)
    old, new = message(0), message(0)
    held.put([old], 1)
    held.reset(0)
    assert not held.holds(old) and held.committable == 0 and held.bytes == 0
    held.put([new], 1)
    held.done([old])
    assert held.committable == 0 and held.holds(new)
    held.drop()
    assert not held.holds(new) and held.arrived.is_set()


def test_tags_are_hashed_as_java_does():
    assert java_hash("TagA") == 2598919
    assert java_hash("") == 0 and java_hash("中文") == 646394 and java_hash("polygenelubricants") == -(2**31)


def test_a_subscription_names_tags_or_an_expression():
    data = Subscription("t", " TagA || TagB ", version=5).data()
    assert data["tagsSet"] == ["TagA", "TagB"] and data["codeSet"] == [2598919, 2598920]
    assert (data["subString"], data["expressionType"], data["subVersion"]) == (" TagA || TagB ", "TAG", 5)
    assert Subscription("t", "TagA").wants("TagA") and not Subscription("t", "TagA").wants("TagB")
    assert Subscription("t").wants("") and Subscription("t", "a > 1", SQL92).wants("TagB")
    for wrong in (("t", "||"), ("t", "a", "XPATH")):
        with pytest.raises(ClientError):
            Subscription(*wrong)


def test_queues_are_keys_of_maps_as_java_writes_them():
    assert key_of(QUEUE) == '{"brokerName":"b","queueId":0,"topic":"t"}'
    assert queue_of(key_of(QUEUE)) == QUEUE
    with pytest.raises(CodecError):
        queue_of("x")


def test_start_offsets_of_a_pop_are_by_retry_flag_and_queue():
    assert start_offsets("0 1 40;1 0 7") == {("0", "1"): "40", ("1", "0"): "7"}
    assert start_offsets("") == {}


def test_an_ordered_queue_is_not_consumed_while_another_may_have_it(run):
    async def life():
        listener = Seen()
        consuming = InOrder(Listening(listener, 1), None, batch=1, retries=-1, spawn=asyncio.create_task)
        held = ProcessQueue(QUEUE, 0, ordered=True)
        held.put([message(0)], 1)
        consuming.add(held)
        await asyncio.sleep(0.3)
        assert listener.bodies == []
        held.locked_at = time.monotonic()
        await listener.until(lambda seen: seen.bodies)
        await consuming.finish(1)

    run(life())


def test_what_was_found_by_its_hash_is_looked_at():
    found = message(0)
    found.properties.update({"KEYS": "a b", "UNIQ_KEY": "7F"})
    assert has_key(found, "b", False) and not has_key(found, "c", False) and not has_key(found, "7F", False)
    assert has_key(found, "7F", True) and not has_key(found, "a", True)
