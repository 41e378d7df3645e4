"""The body of a done record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.state.done import DoneWriter, merged, read_done

RUNS = st.lists(
    st.tuples(st.integers(0, 1 << 40), st.integers(1, 1000)).map(lambda run: (run[0], sum(run))), max_size=300
)


def offsets(runs):
    """Runs as the same set, written one way."""
    return merged(runs)


@given(st.lists(st.tuples(st.integers(1, 1 << 50), RUNS), max_size=6), st.sampled_from([2900, 4096, 65536]))
def test_what_was_settled_is_read_back_whatever_the_bound(settled, body_bytes_max):
    writer = DoneWriter(body_bytes_max)
    for queue_id, runs in settled:
        writer.add(queue_id, runs)
    bodies = writer.take()
    assert all(0 < len(body) <= body_bytes_max for body in bodies) and writer.take() == []
    found, wanted = {}, {}
    for body in bodies:
        for queue_id, runs, _ in read_done(body):
            found.setdefault(queue_id, []).extend(runs)
    for queue_id, runs in settled:
        wanted.setdefault(queue_id, []).extend(runs)
    assert {key: offsets(runs) for key, runs in found.items()} == {
        key: offsets(runs) for key, runs in wanted.items() if runs
    }


def test_the_bytes_are_those_of_the_specification():
    writer = DoneWriter()
    writer.add(5, [(20, 21), (0, 3), (3, 4), (300, 310)])
    assert writer.take() == [bytes((5, 3, 0, 4, 16, 1, 0x97, 0x02, 10))]


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body):
    try:
        for _, runs, counts in read_done(body):
            assert all(0 <= start < end for start, end in runs)
            assert all(offset >= 0 < count and due >= 0 for offset, count, due in counts)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "body", [b"\x05", b"\x05\x01\x00\x00", b"\x05\x7f\x00\x01", b"\x05\x01" + b"\xff" * 9 + b"\x01\x01"]
)
def test_nonsense_is_refused(body):
    with pytest.raises(ValueError):
        read_done(body)
