"""Frames that wait come out as they went in, and the memory they take is bounded by what waits."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from protocols.amqp.waiting import WaitingFrames

STEPS = st.lists(st.one_of(st.integers(0, 30_000), st.none()), max_size=60)  # a frame of so many bytes, or pop()


def first_of(waiting):
    return waiting.kind, bytes(waiting.buffer[waiting.start : waiting.stop])


@given(STEPS, st.binary(min_size=1, max_size=7))
def test_they_come_out_in_their_order_whatever_their_sizes(steps, pattern):
    waiting, model = WaitingFrames(), deque()
    for number, size in enumerate(steps):
        if size is not None:
            payload = (pattern * (size // len(pattern) + 1))[:size]
            waiting.add(number % 3 + 1, bytearray(b"<<" + payload + b">>"), 2, 2 + size)
            model.append((number % 3 + 1, payload))
        elif model:
            expected = model.popleft()
            assert first_of(waiting) == expected
            buffer, start, stop = waiting.buffer, waiting.start, waiting.stop
            waiting.pop()
            assert bytes(buffer[start:stop]) == expected[1], "it is executed after it was taken out"
        assert waiting.count == len(model)
        assert waiting.size == sum(5 + len(payload) for _, payload in model)
    waiting.release()


def test_what_was_taken_out_makes_room_for_what_comes():
    waiting = WaitingFrames()
    room = max(len(waiting.buffer), 64 << 10)
    frame = bytearray(1000)
    for number in range(2000):
        waiting.add(2, frame, 0, 1000)
        if number >= 10:
            waiting.pop()
    assert waiting.count == 10 and len(waiting.buffer) <= room


def test_a_buffer_serves_the_next_when_nothing_waits():
    waiting = WaitingFrames()
    waiting.add(3, bytearray(b"x" * 100_000), 0, 100_000)
    waiting.pop()
    buffer = waiting.buffer
    waiting.release()
    following = WaitingFrames()
    assert following.buffer is buffer and (following.count, following.size) == (0, 0)
    following.add(1, bytearray(b"abc"), 0, 3)
    assert first_of(following) == (1, b"abc")
