"""A connection without its socket: how much it takes at once, and what it says of bytes that are no frame."""

import json

from namesrv.connection import TURN_BYTES, TURN_REQUESTS, NamesrvConnection
from protocols.remoting.frame import JSON, Frame
from protocols.remoting.frame_writer import FrameWriter
from tests.namesrv.world import World, request


def connection(world):
    return NamesrvConnection(world.names, Frame(), FrameWriter(), JSON)


def test_it_takes_so_many_requests_at_once_and_says_that_there_are_more():
    peer, one = connection(World()), request(106)
    read = bytearray(one * (TURN_REQUESTS + 3) + one[:9])
    taken = peer.receive(read, len(read))
    assert (taken.size, taken.more, taken.broken) == (TURN_REQUESTS * len(one), True, "")
    del read[: taken.size]
    taken = peer.receive(read, len(read))
    assert (taken.size, taken.more) == (3 * len(one), False)


def test_it_gathers_so_many_bytes_of_answers_at_once():
    world = World()
    world.register(*[f"topic-{number:05}" for number in range(5000)])
    peer, one = connection(world), request(206)
    read = bytearray(one * 100)
    taken = peer.receive(read, len(read))
    answer = sum(map(len, taken.answers)) // (taken.size // len(one))
    assert taken.more and TURN_BYTES <= sum(map(len, taken.answers)) < TURN_BYTES + answer
    assert len(json.loads(taken.answers[1])["topicList"]) == 5000


def test_what_came_before_a_broken_frame_is_answered():
    peer = connection(World())
    read = bytearray(request(106) + b"\0\0\0\1")
    taken = peer.receive(read, len(read))
    assert (taken.size, len(taken.answers), taken.more) == (len(read) - 4, 2, False)
    assert "no room" in taken.broken


def test_brokers_that_registered_over_it_go_with_it():
    world = World()
    peer = connection(world)
    world.register(channel=peer)
    connection(world).lost()
    assert world.route() is not None
    peer.lost()
    assert world.route() is None and world.events[-1] == "broker's connection is gone"
