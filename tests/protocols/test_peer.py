"""The output that every protocol gathers: one write a turn, in order, with a bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.peer import BUFFER_BYTES, COPIED_BYTES_MAX, Peer
from tests.core.queue.bench import Bench, Taker
from tests.protocols.amqp.world import Transport


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def peer(bench):
    peer = Peer(bench.turn)
    peer.transport = Transport()
    return peer


def test_all_of_a_turn_leaves_in_one_write(bench, peer):
    for piece in (b"a", b"bc", b"", b"d"):
        peer.write(piece)
    assert peer.transport.writes == 0 and peer.gathered == 4
    bench.run()
    assert (bytes(peer.transport.data), peer.transport.writes, peer.bytes_out, peer.gathered) == (b"abcd", 1, 4, 0)


SIZES = st.one_of(st.integers(0, 40), st.sampled_from([COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1, BUFFER_BYTES, 200_000]))


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=30))
def test_whatever_the_pieces_they_leave_in_order(pieces):
    bench, sent = Bench(), b""
    peer = Peer(bench.turn)
    peer.transport = Transport()
    for number, (size, flush) in enumerate(pieces):
        piece = bytes([number]) * size
        peer.write(piece)
        sent += piece
        if flush:
            bench.run()
    bench.run()
    assert bytes(peer.transport.data) == sent and peer.bytes_out == len(sent)


def test_two_peers_never_share_a_buffer(bench):
    peers = [Peer(bench.turn) for _ in range(3)]
    for round_ in range(3):
        for number, peer in enumerate(peers):
            peer.transport = peer.transport or Transport()
            peer.write(b"%d%d" % (number, round_))
        bench.run()
    assert [bytes(peer.transport.data) for peer in peers] == [b"000102", b"101112", b"202122"]


def test_finish_writes_what_is_left_and_closes_once(bench, peer):
    peer.write(b"bye")
    peer.finish()
    peer.finish()
    assert (bytes(peer.transport.data), peer.transport.closed) == (b"bye", True)
    bench.run()


def test_output_of_a_connection_that_is_gone_is_dropped(bench, peer):
    peer.write(b"x" * 100_000)
    peer.write(b"y")
    peer.transport = None
    bench.run()
    peer.transport = Transport()
    peer.write(b"z")
    bench.run()
    assert bytes(peer.transport.data) == b"z"


def test_stalled_consumers_wait_while_the_socket_is_full_and_are_woken_once(bench, peer):
    queue = bench.queue(False)
    taker = Taker(queue)
    queue.consumers.append(taker)
    peer.stalled.append(taker)
    peer.pause_writing()
    peer.write(b"x")
    bench.run()
    assert peer.stalled == [taker] and not taker.available
    peer.resume_writing()
    assert peer.stalled == [] and taker.available and not peer.congested


def test_a_finished_peer_wakes_nobody(bench, peer):
    taker = Taker(bench.queue(False))
    peer.pause_writing()
    peer.stalled.append(taker)
    peer.finish()
    peer.resume_writing()
    assert not taker.available
