"""The native load driver against a scripted other end: what it counts, what it sends, what ends a run."""

import socket
import struct

import pytest

from corduroy.client.frames import Frame, FrameReader, encode
from tests.bench.native_driver import PacedSender, Puller, Sender
from tests.bench.native_session import OPAQUE_AT, batch_request, pull_request, send_request
from tests.bench.session import LoadError

BODY = bytes(range(64))
SEND, BODY_AT = send_request("topic", 3, BODY)
PULLS = [pull_request("group", "topic", at) for at in range(2)]


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def asked(sock):
    reader, found = FrameReader(), []
    try:
        reader.feed(sock.recv(1 << 20))
    except BlockingIOError:
        return []
    while (frame := reader.next_frame()) is not None:
        found.append(frame)
    return found


def answer(sock, opaque, code=0, body=b"", flag=1):
    sock.sendall(encode(Frame(code, {"queueId": "3"}, body, opaque=opaque, flag=flag)))


def record(offset):
    data = struct.pack(">IIIiiqq", 88 + len(BODY), 0, 0, 0, 0, offset, 0)
    return data.ljust(88, b"\0") + struct.pack(">q", 1000) + BODY[8:]


def test_a_sender_stays_a_window_ahead_of_its_answers_in_whatever_order(ends):
    ours, theirs = ends
    sender = Sender(ours, [SEND], OPAQUE_AT, 3)
    sender.pump(0)
    frames = asked(theirs)
    assert [frame.opaque for frame in frames] == [0, 1, 2]
    assert {frame.body for frame in frames} == {BODY} and frames[0].fields["b"] == "topic"
    for opaque in (2, 0):
        answer(theirs, opaque)
    sender.readable()
    sender.pump(0)
    assert [frame.opaque for frame in asked(theirs)] == [3, 4]
    assert (sender.sent(), sender.confirmed()) == (5, 2)


def test_what_the_broker_is_too_busy_for_is_sent_once_more_and_counted_apart(ends):
    ours, theirs = ends
    sender = Sender(ours, [SEND], OPAQUE_AT, 8)
    sender.stop_at(2)
    sender.pump(0)
    asked(theirs)
    answer(theirs, 0, code=2)
    answer(theirs, 1)
    sender.readable()
    sender.pump(0)
    assert [frame.opaque for frame in asked(theirs)] == [2]
    assert (sender.sent(), sender.confirmed(), sender.blocked) == (2, 1, 1)


@pytest.mark.parametrize(("opaque", "code", "words"), [(0, 1, "refused"), (7, 0, "nobody asked")])
def test_a_refusal_and_an_answer_that_nobody_asked_for_end_the_run(ends, opaque, code, words):
    ours, theirs = ends
    sender = Sender(ours, [SEND], OPAQUE_AT, 2)
    sender.pump(0)
    answer(theirs, opaque, code)
    with pytest.raises(LoadError, match=words):
        sender.readable()


def test_what_the_broker_asks_is_passed_over(ends):
    ours, theirs = ends
    sender = Sender(ours, [SEND], OPAQUE_AT, 2)
    sender.pump(0)
    answer(theirs, 99, code=40, flag=2)
    sender.readable()
    assert sender.confirmed() == 0


def test_a_paced_sender_stamps_each_body_with_when_it_was_due(ends):
    ours, theirs = ends
    sender = PacedSender(ours, [SEND], OPAQUE_AT, (1000, BODY_AT))
    due = sender.next_due
    sender.pump(due + 1500)
    bodies = [frame.body for frame in asked(theirs)]
    assert [struct.unpack(">q", body[:8])[0] for body in bodies] == [due, due + 1000]
    assert {body[8:] for body in bodies} == {BODY[8:]}


def test_a_puller_moves_each_queue_on_by_what_came_and_is_done_where_nothing_does(ends):
    ours, theirs = ends
    puller = Puller(ours, [frame for frame, _ in PULLS], (OPAQUE_AT, PULLS[0][1]), [0, 40])
    puller.begin()
    pulls = asked(theirs)
    assert [(pull.opaque, pull.fields["queueId"], int(pull.fields["queueOffset"])) for pull in pulls] == [
        (0, "0", 0),
        (1, "1", 40),
    ]
    answer(theirs, 1, body=record(40) + record(41))
    answer(theirs, 0, code=19)
    puller.readable()
    assert [int(pull.fields["queueOffset"]) for pull in asked(theirs)] == [42]
    assert (puller.received, puller.empty, puller.live) == (2, 1, 1)


def test_one_pull_ahead_asks_the_queues_in_turn_and_none_twice(ends):
    ours, theirs = ends
    puller = Puller(ours, [frame for frame, _ in PULLS], (OPAQUE_AT, PULLS[0][1]), [0, 0], ahead=1)
    puller.begin()
    order = [pull.opaque for pull in asked(theirs)]
    for _ in range(3):
        answer(theirs, order[-1], body=record(order.count(order[-1]) - 1))
        puller.readable()
        order += [pull.opaque for pull in asked(theirs)]
    assert order == [0, 1, 0, 1]


def test_a_record_of_another_offset_ends_the_run(ends):
    ours, theirs = ends
    puller = Puller(ours, [PULLS[0][0]], (OPAQUE_AT, PULLS[0][1]), [5])
    puller.begin()
    answer(theirs, 0, body=record(6))
    with pytest.raises(LoadError, match="another offset than 5"):
        puller.readable()


def test_a_batch_is_one_that_the_broker_can_take_apart(ends):
    ours, theirs = ends
    ours.setblocking(True)
    ours.sendall(batch_request("topic", 1, [BODY] * 3))
    (frame,) = asked(theirs)
    sizes = []
    while frame.body[sum(sizes) :]:
        sizes.append(struct.unpack_from(">I", frame.body, sum(sizes))[0])
    assert frame.fields["m"] == "true" and len(set(sizes)) == 1 and len(sizes) == 3
