"""One native connection: frames in, verbs carried out, answers out, and what ends it."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import NotFound
from protocols.remoting.connection import CLOSE_SECONDS, IDLE_SECONDS
from protocols.remoting.errors import Refused
from protocols.remoting.frame import FRAME_BYTES_MAX
from protocols.remoting.verbs import FAMILIES, table
from tests.protocols.remoting.world import ONEWAY, World, request

ECHO, LATER, REFUSE, MISSING, CORE, ASK, TELL, BEYOND = range(900, 908)


def echo(connection, frame):
    size = [(b"size", frame.body_size), (b"n", frame.text(b"n"))]
    connection.respond(frame.opaque, 0, None, size, [frame.body(), b"!"])


def later(connection, frame):
    connection.broker.waiting.append((connection, frame.opaque))


def refuse(connection, frame):
    raise Refused(25, "not the latest")


def missing(connection, frame):
    frame.number(b"n")


def core(connection, frame):
    raise NotFound("no such thing")


def ask(connection, frame):
    def answered(answer):
        connection.broker.heard.append(None if answer is None else (answer.code, answer.body()))

    connection.send_request(307, answered, 10.0, [(b"clientId", b"c")], b"?")


def tell(connection, frame):
    connection.one_way(40, [(b"consumerGroup", b"g")])


def beyond(connection, frame):
    raise OverflowError("value too large to convert to int")


VERBS = {ECHO: echo, LATER: later, REFUSE: refuse, MISSING: missing, CORE: core, ASK: ask, TELL: tell, BEYOND: beyond}


@pytest.fixture
def world():
    made = World(VERBS)
    made.waiting, made.heard = [], []
    return made


@pytest.fixture
def client(world):
    return world.client()


def test_an_answer_has_the_requests_opaque_its_fields_and_its_body(client):
    header, body = client.ask(ECHO, {"n": 12}, b"body", opaque=-3)
    assert (header["code"], header["opaque"], header["flag"], body) == (0, -3, 1, b"body!")
    assert header["extFields"] == {"size": "4", "n": "12"} and "remark" not in header


def test_a_number_beyond_its_field_is_answered_and_the_connection_goes_on(client):
    header, _ = client.ask(BEYOND)
    assert (header["code"], header["remark"]) == (1, "value too large to convert to int")
    assert client.ask(ECHO, {"n": 1}, b"body")[1] == b"body!" and not client.transport.closed


def test_a_one_way_request_is_carried_out_and_never_answered_not_even_with_an_error(world, client):
    for code in (ECHO, REFUSE, MISSING, CORE, LATER, 4711):
        client.send(request(code, {"n": "1"}, flag=ONEWAY))
    for connection, opaque in world.waiting:
        connection.respond(opaque, 0)
    world.run()
    assert client.received() == [] and len(world.waiting) == 1 and not client.transport.closed


def test_a_request_that_is_not_known_is_answered_in_rocketmqs_words(client):
    header, _ = client.ask(4711)
    assert (header["code"], header["remark"]) == (3, " request type 4711 not supported")


@pytest.mark.parametrize(
    ("code", "answer", "remark"),
    [
        (REFUSE, 25, "not the latest"),
        (CORE, 17, "no such thing"),
        (MISSING, 1, "the custom field <n> is null"),
    ],
)
def test_a_refusal_is_an_answer_and_the_connection_goes_on(client, code, answer, remark):
    header, _ = client.ask(code)
    assert (header["code"], header["remark"]) == (answer, remark)
    assert client.ask(ECHO, {"n": 1})[0]["code"] == 0


def test_answers_leave_in_the_order_in_which_they_are_ready(world, client):
    client.send(request(LATER, opaque=1) + request(LATER, opaque=2) + request(ECHO, {"n": 1}, opaque=3))
    assert [header["opaque"] for header, _ in client.received()] == [3]
    for connection, opaque in reversed(world.waiting):
        connection.respond(opaque, 0)
    world.run()
    assert [header["opaque"] for header, _ in client.received()] == [2, 1]


def test_nothing_is_written_to_a_client_that_is_gone(world, client):
    client.send(request(LATER))
    client.connection.lost()
    for connection, opaque in world.waiting:
        connection.respond(opaque, 0, None, (), b"late")
        connection.one_way(40)
    world.run()
    assert client.received() == []


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8), st.integers(1, 400))
def test_requests_do_not_depend_on_how_their_bytes_arrive(bodies, size):
    client = World(VERBS).client()
    data = b"".join(request(ECHO, {"n": i}, body, opaque=i) for i, body in enumerate(bodies))
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
    answers = client.received()
    assert [(header["opaque"], body) for header, body in answers] == [(i, b + b"!") for i, b in enumerate(bodies)]


@given(st.binary(min_size=8, max_size=200))
def test_any_bytes_are_taken_or_end_the_connection(data):
    world = World(VERBS)
    client = world.client()
    client.send(data)
    assert client.transport.closed == bool(world.reports)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", FRAME_BYTES_MAX) + bytes(20),  # one byte too many, with the length itself
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"AMQP\x00\x00\x09\x01",
        struct.pack(">II", 8, 2 << 24) + b"{}xx",  # a header of no kind
        struct.pack(">II", 6, 100) + b"{}",  # longer than its frame
        struct.pack(">II", 6, 2) + b"{!",
    ],
)
def test_bytes_that_are_no_frame_end_the_connection_after_what_came_before_them(world, client, data):
    client.send(request(ECHO, {"n": 1}) + data)
    assert len(client.received()) == 1 and client.transport.closed
    ((event, fields),) = world.reports
    assert event == "native connection closed" and fields["peer"] == "127.0.0.1:50000" and fields["because"]
    client.send(request(ECHO, {"n": 1}))
    assert client.received() == []


def test_the_gateway_is_told_how_long_an_unfinished_frame_will_be(client):
    data = request(ECHO, {"n": 1}, bytes(5 << 20))
    client.send(data[:3])
    assert client.connection.wanted == 0
    client.send(data[3:100])
    assert client.connection.wanted == len(data)
    client.send(data[100:])
    assert client.connection.wanted == 0 and len(client.received()[0][1]) == 1 + (5 << 20)


def test_a_request_of_ours_is_answered_once_or_given_up(world, client):
    for _ in range(3):
        client.send(request(ASK, flag=ONEWAY))
    asked = client.received()
    assert [(header["code"], header["flag"], body) for header, body in asked] == [(307, 0, b"?")] * 3
    answer = json.dumps({"code": 5, "flag": 1, "opaque": asked[1][0]["opaque"]}).encode()
    frame = struct.pack(">II", 4 + len(answer) + 2, len(answer)) + answer + b"ok"
    client.send(frame + frame)  # the second is nobody's
    assert world.heard == [(5, b"ok")] and client.received() == []
    world.seconds = 11
    client.connection.tick(world.clock.monotonic())
    assert world.heard[1:] == [None, None]


def test_who_waits_for_a_client_that_goes_hears_of_it(world, client):
    client.send(request(ASK))
    client.connection.lost()
    assert world.heard == [None]


def test_a_one_way_request_of_ours_says_so(client):
    client.send(request(TELL))
    ((header, _),) = client.received()
    assert (header["code"], header["flag"], header["extFields"]) == (40, ONEWAY, {"consumerGroup": "g"})


def test_who_reads_no_answers_is_not_heard_until_it_does(world, client):
    client.send(request(ECHO, {"n": 1}))
    client.received()
    client.connection.pause_writing()
    client.transport.unsent = 2 * world.config.limits.output_bytes + 1
    client.send(request(ECHO, {"n": 1}))
    assert client.reader.paused
    client.send(request(ECHO, {"n": 1}))
    assert len(client.received()) == 1, "the first; the second waits"
    client.transport.unsent = 0
    client.connection.resume_writing()
    assert not client.reader.paused
    client.send(b"")
    assert len(client.received()) == 1


def test_who_sends_no_request_in_time_is_closed(world, client):
    other = world.client()
    client.send(request(ECHO, {"n": 1}))
    other.send(request(ECHO, {"n": 1})[:20])
    world.seconds = world.config.limits.handshake_seconds
    for each in (client, other):
        each.connection.tick(world.clock.monotonic())
    assert other.transport.closed and not client.transport.closed


def test_a_connection_on_which_nothing_moves_is_closed(world, client):
    client.send(request(ECHO, {"n": 1}))
    client.connection.tick(0.0)
    client.connection.tick(IDLE_SECONDS)
    assert not client.transport.closed
    client.connection.tick(IDLE_SECONDS + 1)
    assert client.transport.closed and client.transport.aborted
    assert "120 s" in world.reports[0][1]["because"]


def test_who_does_not_take_the_rest_is_cut_off(world, client):
    client.connection.shut_down()
    client.connection.tick(1.0)
    assert client.transport.closed and not client.transport.aborted
    client.connection.tick(1.0 + CLOSE_SECONDS)
    assert client.transport.aborted


def test_without_credentials_only_this_machine_is_served_as_guest_is(world):
    header, _ = world.client("10.0.0.9").ask(ECHO, {"n": 1})
    assert (header["code"], header["remark"]) == (16, "guest may only connect from the broker's own machine")
    assert world.client("127.0.0.2").ask(ECHO, {"n": 1})[0]["code"] == 0


def test_no_two_families_of_verbs_claim_one_code():
    assert table() == {code: verb for family in FAMILIES for code, verb in family.items()}
    with pytest.raises(AssertionError):
        table(({1: echo}, {1: later}))
