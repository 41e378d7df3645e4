"""The asyncio side: one shared buffer, what is left over, pauses, and an error that ends one connection only."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import Clock
from core.turn import Turn
from gateway.connection import Connection, Room
from protocols.peer import Peer


class Lines(Peer):
    """Takes whole lines; `stop` = stops reading after that many, until resume()."""

    def __init__(self, turn):
        super().__init__(turn)
        self.lines, self.stop, self.ended, self.congestion = [], None, 0, []

    def receive(self, buffer, start, end):
        while self.stop is None or len(self.lines) < self.stop:
            at = buffer.find(b"\n", start, end)
            if at < 0:
                break
            self.lines.append(bytes(buffer[start:at]))
            start = at + 1
            if self.lines[-1] == b"boom":
                raise ZeroDivisionError
            if self.lines[-1] == b"end":
                self.finished = True
            if len(self.lines) == self.stop:
                self.reader.pause()
        return start

    def lost(self):
        self.ended += 1


class Blocks(Peer):
    """Takes blocks: their size in 4 bytes, then so many; `wanted` tells of one that is not whole."""

    def __init__(self, turn):
        super().__init__(turn)
        self.blocks, self.calls, self.stop = [], 0, False

    def receive(self, buffer, start, end):
        self.calls += 1
        self.wanted = 0
        while end - start >= 4 and not self.stop:
            size = 4 + int.from_bytes(buffer[start : start + 4], "big")
            if end - start < size:
                self.wanted = size
                break
            self.blocks.append(bytes(buffer[start + 4 : start + size]))
            start += size
        return start

    def lost(self):
        pass


class Transport:
    def __init__(self):
        self.calls, self.closing = [], False

    def __getattr__(self, name):
        return lambda *args: self.calls.append(name)

    def is_closing(self):
        return self.closing


class Ends:
    """A connection between a fake transport and a peer."""

    def __init__(self, kind=Lines):
        clock = Clock(lambda: 0.0, lambda: 0.0)
        self.peer = kind(Turn(clock, lambda callback: None))
        self.lost = []
        self.connection = Connection(self.peer, clock, self.lost.append)
        self.transport = Transport()
        self.connection.connection_made(self.transport)

    def read(self, data):
        """What the loop does when the socket has something."""
        while data:
            view = self.connection.get_buffer(-1)
            size = min(len(data), len(view))
            view[:size] = data[:size]
            self.connection.buffer_updated(size)  # with the view still held, as uvloop does
            data = data[size:]


@pytest.fixture
def ends():
    return Ends()


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=20), st.integers(1, 40))
def test_what_is_not_used_yet_comes_before_what_is_read_next(lines, size):
    lines = [line for line in lines if line not in (b"boom", b"end")]
    first, second = Ends(), Ends()
    data = b"".join(line + b"\n" for line in lines)
    for at in range(0, len(data), size):
        first.read(data[at : at + size])
        second.read(b"x\n")  # the buffer is shared
    assert first.peer.lines == lines


def test_a_unit_may_be_as_large_as_the_largest_frame(ends):
    line = bytes(range(11, 211)) * 5200
    for at in range(0, len(line), 65536):
        ends.read(line[at : at + 65536])
    ends.read(b"\n")
    assert ends.peer.lines == [line]


def test_a_pause_keeps_what_was_read_and_resume_takes_it_first():
    async def scenario():
        ends = Ends()
        ends.peer.stop = 1
        ends.read(b"1\n2\n3\n4")
        assert ends.peer.lines == [b"1"] and ends.transport.calls == ["pause_reading"]
        ends.peer.stop = 2
        ends.connection.resume()
        assert ends.peer.lines == [b"1"], "in a turn of its own"
        await asyncio.sleep(0)
        assert ends.peer.lines == [b"1", b"2"] and ends.transport.calls == ["pause_reading"] * 2
        ends.peer.stop = None
        ends.connection.resume()
        await asyncio.sleep(0)
        assert ends.peer.lines == [b"1", b"2", b"3"] and ends.transport.calls[-1] == "resume_reading"
        ends.read(b"\n")
        assert ends.peer.lines[-1] == b"4"

    asyncio.run(scenario())


def test_a_pause_right_after_a_resume_wins():
    async def scenario():
        ends = Ends()
        ends.connection.pause()
        ends.connection.resume()
        ends.connection.pause()
        await asyncio.sleep(0)
        assert "resume_reading" not in ends.transport.calls
        ends.connection.resume()
        await asyncio.sleep(0)
        assert ends.transport.calls[-1] == "resume_reading"

    asyncio.run(scenario())


def test_a_resume_of_a_connection_that_is_gone_does_nothing():
    async def scenario():
        ends = Ends()
        ends.peer.stop = 1
        ends.read(b"1\n2\n")
        ends.connection.resume()
        ends.connection.connection_lost(None)
        await asyncio.sleep(0)
        assert ends.peer.lines == [b"1"] and "resume_reading" not in ends.transport.calls

    asyncio.run(scenario())


def test_an_unexpected_error_ends_this_connection_only_and_is_told_once():
    async def scenario():
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
        broken, other = Ends(), Ends()
        broken.read(b"boom\nmore\n")
        other.read(b"fine\n")
        assert [type(each) for each in told] == [ZeroDivisionError]
        assert broken.transport.calls == ["abort"] and other.transport.calls == []
        assert other.peer.lines == [b"fine"]

    asyncio.run(scenario())


def test_nothing_is_kept_for_a_peer_that_has_finished(ends):
    ends.read(b"end\nhalf")
    ends.read(b"x\n")
    assert ends.peer.lines == [b"end", b"x"]


def test_the_end_is_told_once_to_peer_and_owner(ends):
    assert ends.connection.eof_received() is False
    ends.connection.connection_lost(None)
    ends.connection.connection_lost(None)
    assert ends.peer.ended == 1 and ends.lost == [ends.connection]


def test_the_owner_learns_of_the_end_although_the_peer_fails(ends):
    class Fails(Lines):
        def lost(self):
            raise ZeroDivisionError

    clock, lost = Clock(lambda: 0.0, lambda: 0.0), []
    connection = Connection(Fails(Turn(clock, lambda callback: None)), clock, lost.append)
    connection.connection_made(Transport())
    with pytest.raises(ZeroDivisionError):
        connection.connection_lost(None)
    assert lost == [connection]


def test_a_full_socket_is_passed_on(ends):
    ends.connection.pause_writing()
    assert ends.peer.congested
    ends.connection.resume_writing()
    assert not ends.peer.congested


class TestPace:
    """Small pieces of a stream make the loop linger; who waits for an answer is never kept waiting."""

    @pytest.fixture
    def paced(self):
        now = [0.0]
        ends = Ends()
        clock = Clock(lambda: 0.0, lambda: now[0])
        ends.connection = Connection(ends.peer, clock, ends.lost.append)
        ends.connection.connection_made(ends.transport)
        ends.now = now
        return ends

    def reads(self, ends, count, *, seconds=0.0001, answered=False, size=50):
        lingers = []
        for _ in range(count):
            ends.now[0] += seconds
            ends.read(b"x" * (size - 1) + b"\n")
            lingers.append(ends.peer.turn.linger)
            ends.peer.turn.linger = False
            ends.peer.answered = answered
        return lingers

    def test_a_publisher_that_waits_for_nothing_streams(self, paced):
        assert self.reads(paced, 6)[3:] == [True] * 3

    def test_a_client_that_is_answered_between_its_reads_does_not(self, paced):
        assert not any(self.reads(paced, 50, answered=True))

    def test_a_client_that_has_more_to_send_than_it_waits_for_streams_though_answered(self, paced):
        def receive(buffer, start, end):
            paced.peer.pipelined = True
            return end

        class Acks(Lines):
            def receive(self, buffer, start, end):
                return receive(buffer, start, end)

        paced.peer = Acks(Turn(Clock(lambda: 0.0, lambda: 0.0), lambda callback: None))
        paced.connection = Connection(paced.peer, Clock(lambda: 0.0, lambda: paced.now[0]), paced.lost.append)
        paced.connection.connection_made(paced.transport)
        assert self.reads(paced, 6, answered=True)[3:] == [True] * 3

    def test_a_trickle_does_not(self, paced):
        assert not any(self.reads(paced, 50, seconds=0.001))

    def test_large_reads_do_not(self, paced):
        assert not any(self.reads(paced, 50, size=20000))


def test_a_full_read_is_the_connections_share_of_a_turn():
    turns = []
    ends = Ends()
    ends.peer = Lines(Turn(Clock(lambda: 0.0, lambda: 0.0), turns.append))
    ends.connection = Connection(ends.peer, Clock(lambda: 0.0, lambda: 0.0), ends.lost.append)
    ends.connection.connection_made(ends.transport)
    ends.read(b"x" * 100)
    assert "pause_reading" not in ends.transport.calls
    ends.read(b"x" * 65536)
    assert ends.transport.calls.count("pause_reading") == 1 and "resume_reading" not in ends.transport.calls
    turns.pop()()
    assert ends.transport.calls[-1] == "resume_reading"


def test_a_pause_that_the_peer_asked_for_outlasts_the_turn():
    turns = []
    ends = Ends()
    ends.peer = Lines(Turn(Clock(lambda: 0.0, lambda: 0.0), turns.append))
    ends.connection = Connection(ends.peer, Clock(lambda: 0.0, lambda: 0.0), ends.lost.append)
    ends.connection.connection_made(ends.transport)
    ends.read(b"x" * 65536)
    ends.connection.pause()
    turns.pop()()
    assert "resume_reading" not in ends.transport.calls


def block(size, value):
    return size.to_bytes(4, "big") + bytes([value]) * size


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 60_000, 262_140, 262_145, 700_000, 3 << 20]), max_size=5),
    st.lists(st.integers(1, 65_536), min_size=1, max_size=20),
)
def test_units_of_any_size_arrive_whole_and_in_order_however_they_are_read(sizes, pieces):
    ends, other = Ends(Blocks), Ends()
    ends.connection.room = room = Room()
    data = b"".join(block(size, number) for number, size in enumerate(sizes))
    at = number = 0
    while at < len(data):
        piece = pieces[number % len(pieces)] + 50_000 * (number >= len(pieces))
        ends.read(data[at : at + piece])
        other.read(b"x\n")  # the buffer is shared
        at, number = at + piece, number + 1
    assert ends.peer.blocks == [bytes([number]) * size for number, size in enumerate(sizes)]
    assert room.used == 0 and ends.peer.bytes_in == len(data)


def test_a_large_unit_is_offered_to_its_peer_once_not_at_every_read():
    ends = Ends(Blocks)
    ends.read(block(16 << 20, 1))
    assert len(ends.peer.blocks) == 1 and ends.peer.calls == 2


def test_a_large_unit_that_met_a_pause_comes_after_it():
    async def scenario():
        ends = Ends(Blocks)
        data = block(1 << 20, 1) + block(5, 2)
        ends.read(data[:500_000])
        ends.peer.stop = True
        ends.read(data[500_000 : 4 + (1 << 20)])
        assert ends.peer.blocks == []
        ends.connection.pause()
        ends.peer.stop = False
        ends.connection.resume()
        await asyncio.sleep(0)
        ends.read(data[4 + (1 << 20) :])
        assert [len(each) for each in ends.peer.blocks] == [1 << 20, 5]

    asyncio.run(scenario())


def test_what_unfinished_units_take_in_all_is_bounded_and_given_back():
    room, ends = Room(2 << 20), [Ends(Blocks) for _ in range(3)]
    for each in ends:
        each.connection.room = room
        each.read(block(16 << 20, 1)[:600_000])
    assert "abort" not in ends[0].transport.calls + ends[1].transport.calls
    ends[0].read(bytes(700_000))
    assert "abort" in ends[0].transport.calls and room.used > room.limit
    for each in ends:
        each.connection.connection_lost(None)
    assert room.used == 0
