"""What pops are bounded by, and numbers that cannot be."""

import base64
import json

import pytest

from core.state.records import GroupFact
from protocols.remoting import pop_acks, pop_waiting
from protocols.remoting.codes import Request
from tests.protocols.remoting.pop_world import ACK, CHANGE, POP, PopWorld, asked, messages, pop_fields

FULL, TIME_IS_UP = 209, 210
LONG = 10**23


@pytest.fixture
def world():
    world = PopWorld().boot()
    world.topic()
    return world


def wait(world, client=None, ms=9000, **more):
    """A client whose pop waits."""
    client = client or world.client()
    assert asked(client, POP, pop_fields(world, pollTime=ms, **more)) == []
    return client


def got(client):
    """What its pop brought: bodies, a code, or None if it waits."""
    for header, body in client.received():
        return [each.body for each in messages(header["extFields"], body)] if body else header["code"]
    return None


# --- in flight


@pytest.mark.parametrize("code", [POP, Request.NOTIFICATION])
def test_who_waits_for_room_of_all_queues_hears_of_an_ack_in_another(world, monkeypatch, code):
    world.topic(b"U")
    world.put(b"1", b"2", b"3")
    world.put(b"other", topic=b"U")
    found = world.pop()
    monkeypatch.setattr("core.pop.IN_FLIGHT_MAX", 3)
    client, fields = world.client(), pop_fields(world, topic="U", consumerGroup="h", pollTime=9000)
    assert world.pop(topic="U", consumerGroup="h") == TIME_IS_UP
    assert asked(client, code, fields) == []
    assert world.ack(found[1]) == 0
    assert len(client.received()) == 1


def test_who_waits_for_room_hears_of_what_became_a_dead_letter(world):
    world.broker.groups.put(GroupFact(name="g", retry_max_times=0))
    world.broker.pops._ports = world.broker.pops._ports._replace(in_flight_max=2)
    world.put(b"1", b"2", b"3")
    assert len(world.pop(invisibleTime=1000)) == 2
    client = wait(world)
    world.run(2)
    assert got(client) == [b"3"] and world.stored(b"%DLQ%g") == 2


def test_what_fails_while_time_is_up_is_told_again(world):
    def fails(cursor, offsets):
        raise RuntimeError("a mistake")

    pops = world.broker.pops
    take, pops.expired = pops.expired, fails
    world.put(b"1")
    world.pop(invisibleTime=1000)
    with pytest.raises(RuntimeError):
        world.run(2)
    pops.expired = take
    world.run(11)
    assert world.stored(b"%RETRY%g_T") == 1


# --- waiting


def test_nobody_waits_for_more_than_so_long(world):
    client = wait(world, ms=1 << 40)
    world.run(pop_waiting.POLL_MS_MAX / 1000 + 1)
    assert got(client) == TIME_IS_UP


def test_those_of_all_queues_are_counted_together(world, monkeypatch):
    monkeypatch.setattr(pop_waiting, "POLLING_MAX", 2)
    wait(world, queueId=-1)
    wait(world, queueId=-2)
    assert world.pop(queueId=-3, pollTime=9000) == FULL
    fields = {"consumerGroup": "g", "topic": "T", "queueId": -5}
    assert asked(world.client(), Request.POLLING_INFO, fields)[0][1]["pollingNum"] == "2"


def test_those_whose_clients_went_take_nobodys_place(world, monkeypatch):
    monkeypatch.setattr(pop_waiting, "POLLING_MAX", 2)
    for _ in range(2):
        wait(world).connection.lost()
    client = wait(world)
    assert world.remoting.pops.waiting.waiting == 1
    world.put(b"1")
    assert got(client) == [b"1"]


def test_a_line_in_which_nobody_waits_is_let_go_of(world):
    client = wait(world)
    world.put(b"1")
    assert got(client) == [b"1"]
    assert world.remoting.pops.waiting._lines == {}


# --- acks of many


def batch(world, *entries):
    """The code that acks of (first offset, bits) are answered with."""
    pop_ms, bits = int(world.popped.receipt.split(" ")[1]), base64.b64encode
    acks = [{"c": "g", "t": "T", "q": 0, "pt": pop_ms, "so": so, "b": bits(some).decode()} for so, some in entries]
    return asked(world.client(), Request.BATCH_ACK_MESSAGE, {}, json.dumps({"acks": acks}).encode())[0][0]


@pytest.fixture
def many(world):
    world.put(*[b"%d" % number for number in range(20)])
    world.popped = world.pop()[0]
    return world


def test_what_lies_before_and_behind_the_queue_is_not_looked_at(many):
    class Bits(bytes):
        looked = 0

        def __getitem__(self, at):
            Bits.looked += 1
            return super().__getitem__(at)

    each = pop_acks.BatchAck("g", "T", -80, 0, 0, b=Bits(bytes([255]) * 1000))
    assert list(pop_acks.offsets_of(each, 3, 20)) == list(range(3, 20)) and Bits.looked == 3
    for so in (-9000, 20, LONG, -LONG):
        each.so = so
        assert list(pop_acks.offsets_of(each, 3, 20)) == []
    assert batch(many, (-80, bytes(10) + b"\xff\xff\x0f"), (LONG, b"\xff")) == 0
    assert many.offset() == 20


def test_one_request_acks_so_many_at_most(many):
    most = pop_acks.MESSAGES_MAX // 8
    assert batch(many, (0, bytes(most - 2)), (0, b"\xff")) == 0 and many.offset() == 8
    assert batch(many, (0, b"\xff" * most), (0, b"\xff")) == 29
    assert batch(many, *[(0, bytes(8000))] * 9) == 29
    assert many.offset() == 8


# --- numbers that cannot be


@pytest.mark.parametrize("receipt", [f"0 {LONG} 1 0", f"0 1 {LONG} 0", "0 1 1 2147483648", "0 -1 1 999", "0 1 -1 0"])
def test_receipts_that_cannot_be_are_refused(world, receipt):
    world.put(b"1")
    (message,) = world.pop()
    client = world.client()
    fields = message.fields() | {"extraInfo": receipt}
    assert client.ask(ACK, fields)[0]["code"] == 1
    assert client.ask(CHANGE, fields | {"invisibleTime": 1})[0]["code"] == 1
    assert world.ack(message, client) == 0 and world.offset() == 1


def test_shares_that_cannot_be_are_refused(world):
    body = {"topic": "T", "consumerGroup": "g", "mode": "POP", "popShareQueueNum": LONG}
    client = world.client()
    for share, code in ((LONG, 1), (1 << 31, 1), (1, 0)):
        body["popShareQueueNum"] = share
        ((found, _, _),) = asked(client, Request.SET_MESSAGE_REQUEST_MODE, {}, json.dumps(body).encode())
        assert found == code, share
