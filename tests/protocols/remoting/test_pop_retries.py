"""Popped messages whose time is over are tried again, in their group's retry topic, and end among its dead letters."""

import base64
from types import SimpleNamespace

import pytest

from core.native import Native
from core.state.records import GroupFact, TopicConfig
from protocols.remoting.codes import Request
from protocols.remoting.rules import Rules
from tests.protocols.remoting.pop_world import CHANGE, PopWorld, asked

RETRY, DLQ = b"%RETRY%g_T", b"%DLQ%g"


@pytest.fixture
def world():
    world = PopWorld().boot()
    world.topic()
    return world


def test_what_is_not_acked_in_time_comes_again_from_the_retry_topic(world):
    world.put(b"1", properties=b"TAGS\x01A\x02KEYS\x01k\x02")
    (first,) = world.pop(invisibleTime=2000)
    world.run(1.5)
    assert world.pop() == 210 and world.stored(RETRY) == 0
    world.run(0.5)
    assert (world.stored(RETRY), world.offset()) == (1, 1)
    (again,) = world.pop()
    assert (again.body, again.topic, again.times) == (b"1", "T", 1)
    assert again.receipt.split(" ")[4:] == ["1", "broker-a", "0", "0"]
    first_pop = first.receipt.split(" ")[1]
    assert again.properties["1ST_POP_TIME"] == first_pop and again.properties["KEYS"] == "k"
    assert world.ack(first) == 0  # too late
    assert world.ack(again) == 0
    world.run(120)
    assert world.pop() == 210 and world.offset(topic=RETRY) == 1


def test_retry_topics_by_their_second_naming_and_those_that_were_made_before():
    world = PopWorld()
    world.boot()
    world.topic()
    world.put(b"1", b"2")
    world.pop(maxMsgNums=1, invisibleTime=100)
    world.run(1)
    world.crash()
    world.rules = Rules(broker="broker-a", retry_v2=True)
    world.boot()
    (second,) = [each for each in world.pop(invisibleTime=5000) if each.body == b"2"]
    world.run(6)
    again = world.pop()
    assert sorted((each.body, each.receipt.split(" ")[4]) for each in again) == [(b"1", "1"), (b"2", "2")]
    assert world.stored(b"%RETRY%g+T") == 1 and second.offset == 1
    batches = []
    for each in again:
        start, pop_time, invisible, revive, how, _, _, offset = each.receipt.split(" ")
        batch = f'"c":"g","t":"T","r":"{how}","so":{start},"q":0,"pt":{pop_time},"it":{invisible},"rq":{revive}'
        batches.append(f'{{{batch},"b":"{base64.b64encode(bytes([1 << int(offset) - int(start)])).decode()}"}}')
    body = f'{{"acks":[{",".join(batches)}],"brokerName":"broker-a"}}'.encode()
    assert asked(world.client(), Request.BATCH_ACK_MESSAGE, {}, body)[0][0] == 0
    assert world.offset(topic=b"%RETRY%g+T") == 1 and world.offset(topic=RETRY) == 2
    world.run(61)
    assert world.pop() == 210


def test_what_comes_back_too_often_is_a_dead_letter(world):
    world.broker.groups.put(GroupFact(name="g", retry_max_times=2))
    world.put(b"1")
    for times in range(3):
        (message,) = world.pop(invisibleTime=100)
        assert message.times == times
        world.run(0.3)
    assert world.pop() == 210
    (dead,) = world.pop(topic=DLQ.decode(), consumerGroup="undertaker")
    assert (dead.body, dead.times) == (b"1", 3)
    assert dead.properties["RETRY_TOPIC"] == RETRY.decode() and "ORIGIN_MESSAGE_ID" in dead.properties


@pytest.mark.parametrize("seed", range(25))
def test_a_crash_while_it_is_moved_leaves_one_of_it(seed):
    """In its queue or in the retry topic: never in both, never in neither."""
    world = PopWorld()
    world.random.seed(seed)
    world.boot()
    world.topic()
    world.put(b"1")
    world.pop(invisibleTime=1000)
    world.run(0.899)
    while not world.stored(RETRY):
        world.loop.run_until(world.loop.now + 0.0001)
    world.loop.run_until(world.loop.now + seed * 0.0002)
    world.now = world.loop.now
    world.crash(state_lost=seed % 2 == 0)
    world.boot()
    assert world.all() == [b"1"]
    world.run(61)
    assert world.all() == [b"1"]


@pytest.mark.parametrize("padding", range(30_800, 31_800, 100))
def test_both_records_of_a_move_are_in_one_batch(world, padding):
    """Also when the batch that fills is full between them: a batch holds 32 KiB here."""
    world.put(b"1")
    world.pop(invisibleTime=1000)
    cursor = world.broker.pops.find(b"g", world.broker.topics.find(b"T").queues[0])
    flow, world.broker.flow = world.broker.flow, SimpleNamespace(blocked=True)
    world.run(1.5)
    world.broker.flow = flow
    topic = world.broker.topics.put(TopicConfig(name=b"other", read_queues=1, write_queues=1))
    for size in (4000,) * (padding // 4000) + (padding % 4000,):
        world.broker.topics.append(topic, Native(b"other", 0, bytes(size)))
    world.remoting.pop_retries.take(cursor, [0])
    assert world.stored(RETRY) == 1
    batches = world.broker.log.batches
    while world.broker.log.batches == batches:
        world.loop.run_until(world.loop.now + 0.00002)
    world.now = world.loop.now
    world.crash()
    world.boot()
    assert world.all() == [b"1"]


def test_what_is_hidden_for_longer_meanwhile_is_not_moved(world):
    world.put(b"1")
    world.pop(invisibleTime=1000)
    cursor = world.broker.pops.find(b"g", world.broker.topics.find(b"T").queues[0])
    world.remoting.pop_retries.take(cursor, [0])  # as if read from the disk when its time was over
    assert world.stored(RETRY) == 0


def test_nothing_is_moved_while_publishers_are_held_back(world):
    world.put(b"1")
    world.pop(invisibleTime=1000)
    flow, world.broker.flow = world.broker.flow, SimpleNamespace(blocked=True)
    world.run(5)
    assert world.stored(RETRY) == 0 and world.pop() == 210
    world.broker.flow = flow
    world.run(1)
    assert world.stored(RETRY) == 1


def test_a_longer_hiding_counts_and_a_shorter_one_too(world):
    world.put(b"1", b"2")
    one, two = world.pop(invisibleTime=2000)
    asked(world.client(), CHANGE, one.fields() | {"invisibleTime": 10_000})
    asked(world.client(), CHANGE, two.fields() | {"invisibleTime": 0})
    world.run(0.1)
    assert [each.body for each in world.pop()] == [b"2"]
    world.run(5)
    assert world.pop() == 210
    world.run(5)
    assert [each.body for each in world.pop()] == [b"1"]
