"""The load driver against a scripted other end: what it counts, what it sends, what ends a run."""

import socket
import struct
import time

import pytest

from tests.bench.driver import Consumer, PacedPublisher, Publisher
from tests.bench.session import LoadError, frame, publish_frames, short

MESSAGE, BODY_AT = publish_frames("", "q", bytes(16), persistent=True)


def ack(tag, *, multiple=False):
    return frame(1, 1, struct.pack(">HHQB", 60, 80, tag, multiple))


def delivery(tag, body):
    method = struct.pack(">HH", 60, 60) + short("c") + struct.pack(">QB", tag, 0) + short("") + short("q")
    header = struct.pack(">HHQH", 60, 0, len(body), 0)
    return frame(1, 1, method) + frame(2, 1, header) + (frame(3, 1, body) if body else b"")


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def received(sock):
    try:
        return sock.recv(1 << 20)
    except BlockingIOError:
        return b""


def test_a_publisher_stays_a_window_ahead_of_its_confirms(ends):
    ours, theirs = ends
    publisher = Publisher(ours, b"", [MESSAGE], 10)
    publisher.pump(0)
    publisher.pump(0)
    assert received(theirs) == MESSAGE * 10
    theirs.sendall(ack(3, multiple=True))
    publisher.readable()
    publisher.pump(0)
    assert received(theirs) == MESSAGE * 3
    assert (publisher.sent(), publisher.confirmed()) == (13, 3)


def test_confirms_out_of_turn_are_counted_once(ends):
    ours, theirs = ends
    publisher = Publisher(ours, b"", [MESSAGE], 10)
    publisher.pump(0)
    for answer, confirmed in ((ack(2), 1), (ack(4), 2), (ack(1), 3), (ack(6), 4), (ack(6, multiple=True), 6)):
        theirs.sendall(answer)
        publisher.readable()
        assert publisher.confirmed() == confirmed
    assert publisher.confirm_ns.total == 6


@pytest.mark.parametrize("answers", [ack(11), ack(2) + ack(2), ack(1) + ack(1), ack(3, multiple=True) * 2])
def test_a_confirm_that_cannot_be_ends_the_run(ends, answers):
    ours, theirs = ends
    publisher = Publisher(ours, b"", [MESSAGE], 10)
    publisher.pump(0)
    theirs.sendall(answers)
    with pytest.raises(LoadError, match="a confirm of"):
        publisher.readable()


def test_a_publisher_without_confirms_finishes_the_message_it_is_in_when_stopped(ends):
    ours, theirs = ends
    publisher = Publisher(ours, b"", [MESSAGE], 0)
    publisher.pump(0)
    publisher.stop_at(0)
    wire = received(theirs)
    while publisher.writing():
        publisher.pump(0)
        wire += received(theirs)
    wire += received(theirs)
    assert wire == MESSAGE * publisher.sent()


def test_messages_take_turns_whatever_the_socket_takes(ends):
    ours, theirs = ends
    levels = [publish_frames("", "q", bytes(16), persistent=True, priority=level)[0] for level in range(3)]
    publisher = Publisher(ours, b"", levels, 4)
    publisher.pump(0)
    theirs.sendall(ack(2, multiple=True))
    publisher.readable()
    publisher.pump(0)
    assert received(theirs) == b"".join(levels) * 2
    with pytest.raises(ValueError, match="same length"):
        Publisher(ours, b"", [MESSAGE, MESSAGE + MESSAGE], 4)


def test_a_commit_ok_confirms_one_transaction(ends):
    ours, theirs = ends
    commit = frame(1, 1, struct.pack(">HH", 90, 20))
    publisher = Publisher(ours, b"", [MESSAGE * 3 + commit], 2)
    publisher.pump(0)
    theirs.sendall(frame(1, 1, struct.pack(">HH", 90, 21)))
    publisher.readable()
    publisher.pump(0)
    assert received(theirs) == (MESSAGE * 3 + commit) * 3
    assert (publisher.sent(), publisher.confirmed()) == (3, 1)


def test_a_consumer_that_rejects_sends_nacks_that_do_not_queue_again(ends):
    ours, theirs = ends
    consumer = Consumer(ours, b"", 16, 2, rejects=True)
    theirs.sendall(delivery(1, bytes(16)) + delivery(2, bytes(16)))
    consumer.readable()
    assert list(split(received(theirs))) == [struct.pack(">HHQB", 60, 120, 2, 1)]


def test_a_paced_message_carries_the_moment_it_was_due(ends):
    ours, theirs = ends
    publisher = PacedPublisher(ours, b"", MESSAGE, 100, (1_000_000, BODY_AT, 5_000))
    first = publisher.next_due
    publisher.pump(first - 1)
    assert received(theirs) == b""
    publisher.pump(first + 1_500_000)
    wire = received(theirs)
    stamps = [wire[at + BODY_AT : at + BODY_AT + 8] for at in (0, len(MESSAGE))]
    assert stamps == [(due + 5_000).to_bytes(8, "big") for due in (first, first + 1_000_000)]
    assert len(wire) == 2 * len(MESSAGE)
    assert publisher.late_ns.percentile(100) == 1_500_000


@pytest.mark.parametrize("read_bytes", [1, 7, 64, 1000])
def test_deliveries_do_not_depend_on_how_their_bytes_arrive(ends, read_bytes):
    ours, theirs = ends
    consumer = Consumer(ours, b"", 16, 2)
    wire = b"".join(delivery(tag, bytes(16)) for tag in range(1, 6))
    for at in range(0, len(wire), read_bytes):
        theirs.sendall(wire[at : at + read_bytes])
        consumer.readable()
    assert consumer.received == 5
    tags = [struct.unpack_from(">QB", received_ack, 4) for received_ack in split(received(theirs))]
    assert tags == [(2, 1), (4, 1)]


def split(wire):
    while wire:
        size = int.from_bytes(wire[3:7], "big")
        yield wire[7 : 7 + size]
        wire = wire[8 + size :]


def test_a_stamped_delivery_is_timed_from_when_it_was_due(ends):
    ours, theirs = ends
    consumer = Consumer(ours, b"", 16, 0, stamped=True)
    due = time.monotonic_ns() - 5_000_000
    theirs.sendall(delivery(1, due.to_bytes(8, "big") + bytes(8)))
    consumer.readable()
    assert consumer.latency_ns.percentile(50) >= 5_000_000


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        (delivery(2, bytes(16)), "delivery 2 came after 0"),
        (delivery(1, bytes(15)), "a body of 15 bytes"),
        (frame(1, 1, struct.pack(">HHH", 20, 40, 404) + short("NOT_FOUND") + bytes(4)), "404 NOT_FOUND"),
        (frame(1, 1, struct.pack(">HH", 90, 1)), "method 90.1"),
        (frame(5, 1, b""), "type 5"),
        (frame(8, 0, b"")[:-1] + b"x", "a frame ends with"),
    ],
)
def test_what_is_not_expected_ends_the_run(ends, wire, words):
    ours, theirs = ends
    consumer = Consumer(ours, b"", 16, 0)
    theirs.sendall(wire)
    with pytest.raises(LoadError, match=words):
        consumer.readable()


def test_a_connection_that_ends_ends_the_run(ends):
    ours, theirs = ends
    theirs.close()
    with pytest.raises(LoadError, match="closed"):
        Consumer(ours, b"", 16, 0).readable()
