"""Which queues a member gets when the broker decides, and whether it pulls or pops them."""

import json

import pytest

from protocols.remoting.assignment import averagely, by_circle, popped
from protocols.remoting.codes import Request
from protocols.remoting.members import ConsumerData, Member
from tests.protocols.remoting.pop_world import PopWorld, asked

QUERY, SET = Request.QUERY_ASSIGNMENT, Request.SET_MESSAGE_REQUEST_MODE


@pytest.fixture
def world():
    world = PopWorld().boot()
    world.topic(queues=4)
    return world


def join(world, *clients, group=b"g"):
    for client in clients:
        data = ConsumerData(group_name=group.decode())
        world.remoting.clients.consume(group, world.client().connection, Member(client, "JAVA", 0, 0.0), data)


def query(world, client="a", strategy="AVG", model="CLUSTERING", topic="T"):
    """(queue id, mode) each; None: the broker does not say."""
    body = {"topic": topic, "consumerGroup": "g", "clientId": client, "strategyName": strategy, "messageModel": model}
    ((code, _, answer),) = asked(world.client(), QUERY, {}, json.dumps(body).encode())
    assert code == 0
    found = json.loads(answer).get("messageQueueAssignments")
    if found is None:
        return None
    assert all(each["messageQueue"]["topic"] == topic for each in found)
    assert {each["messageQueue"]["brokerName"] for each in found} <= {"broker-a"}
    return [(each["messageQueue"]["queueId"], each["mode"]) for each in found]


def set_mode(world, mode="POP", share=0, topic="T", group="g"):
    body = {"topic": topic, "consumerGroup": group, "mode": mode, "popShareQueueNum": share}
    return asked(world.client(), SET, {}, json.dumps(body).encode())[0][0]


@pytest.mark.parametrize(
    "queues, members, shares",
    [(8, 3, [3, 3, 2]), (4, 2, [2, 2]), (3, 4, [1, 1, 1, 0]), (1, 1, [1]), (7, 7, [1] * 7)],
)
def test_each_queue_has_one_member(queues, members, shares):
    every = [("b", number) for number in range(queues)]
    for strategy in (averagely, by_circle):
        found = [strategy(index, members, every) for index in range(members)]
        assert [len(each) for each in found] == shares
        assert sorted(queue for each in found for queue in each) == every
    assert averagely(1, members, every)[:1] == every[shares[0] :][:1]


def test_members_that_pop_share_with_those_behind_them():
    every = [("b", number) for number in range(4)]
    assert popped(0, 3, every, 0, averagely) == popped(0, 3, every, 2, averagely) == [("b", -1)] * 4
    assert popped(3, 4, every, 1, averagely) == [("b", 3), ("b", 0)]
    assert popped(5, 9, every, 1, averagely) == [("b", 1)]


def test_members_that_pull_share_the_queues(world):
    join(world, "b", "a")
    assert query(world, "a") == [(0, "PULL"), (1, "PULL")]
    assert query(world, "b", "AVG_BY_CIRCLE") == [(1, "PULL"), (3, "PULL")]
    assert query(world, "a", model="BROADCASTING") == [(number, "PULL") for number in range(4)]
    assert query(world, "stranger") == []


def test_what_the_broker_cannot_say_it_does_not(world):
    assert query(world) is None  # nobody is there
    join(world, "a")
    assert query(world, strategy="CONSISTENT_HASH") is None
    assert query(world, topic="U") is None


@pytest.mark.parametrize("state_lost", [False, True])
def test_a_group_that_pops_does_so_after_a_restart(world, state_lost):
    join(world, "a")
    assert set_mode(world) == 0
    assert query(world) == [(-1, "POP")]
    world.checkpoint()
    world.crash(state_lost)
    world.boot()
    join(world, "a", "b", "c", "d")
    assert query(world) == [(-1, "POP")]
    assert set_mode(world, share=1) == 0
    assert query(world, "d") == [(3, "POP"), (0, "POP")]
    assert set_mode(world, "PULL") == 0
    assert query(world) == [(0, "PULL")]


def test_modes_that_cannot_be_set_are_refused(world):
    assert set_mode(world, topic="U") == 17
    assert set_mode(world, topic="%RETRY%g") == 16
    assert set_mode(world, group="no group") == 26
    assert set_mode(world, mode="PUSH") == 1


def test_queues_of_other_brokers_are_shared_as_well(world):
    world.remoting.assignments.routed = lambda topic: {"broker-b": 2}
    join(world, "a", "b")
    body = {"topic": "T", "consumerGroup": "g", "clientId": "b", "strategyName": "AVG", "messageModel": "CLUSTERING"}
    ((_, _, answer),) = asked(world.client(), QUERY, {}, json.dumps(body).encode())
    found = [each["messageQueue"] for each in json.loads(answer)["messageQueueAssignments"]]
    assert [(each["brokerName"], each["queueId"]) for each in found] == [
        ("broker-a", 3),
        ("broker-b", 0),
        ("broker-b", 1),
    ]
