"""The newest messages in memory."""

from hypothesis import given
from hypothesis import strategies as st

from core.log.tail import Tail


def test_messages_are_found_by_offset_and_strangers_are_not(new_message):
    tail = Tail(10_000)
    for offset in range(0, 1000, 100):
        message = new_message()
        message.offset, message.record_size = offset, 100
        tail.add(message)
    assert [tail.get(offset).offset for offset in (0, 100, 900, 300, 400, 0)] == [0, 100, 900, 300, 400, 0]
    assert tail.get(50) is None and tail.get(1000) is None and tail.get(-1) is None


def test_only_what_is_committed_is_dropped(new_message):
    tail = Tail(250)
    for offset in range(0, 500, 100):
        message = new_message()
        message.offset, message.record_size = offset, 100
        tail.add(message)
    assert len(tail) == 5 and tail.bytes_held == 500
    tail.released(200)
    assert len(tail) == 3 and tail.get(100) is None and tail.get(200) is not None
    tail.released(500)
    assert len(tail) == 2 and tail.bytes_held == 200


@given(st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=800))
def test_it_agrees_with_a_plain_list(new_message_steps):
    from core.message import Message

    tail, kept, offset, committed = Tail(5000), [], 0, 0
    for size, commit in new_message_steps:
        message = Message((b"", b"", b""), b"", b"", 0, False)
        message.offset, message.record_size = offset, size
        tail.add(message)
        kept.append((offset, size))
        offset += size
        if commit:
            committed = offset
            tail.released(committed)
        while sum(n for _, n in kept) > 5000 and kept[0][0] < committed:
            kept.pop(0)
        assert len(tail) == len(kept) and tail.bytes_held == sum(n for _, n in kept)
        for place in (kept[:1] + kept[-1:]) if kept else []:
            assert tail.get(place[0]).offset == place[0]
    assert [tail.get(o).offset for o, _ in kept] == [o for o, _ in kept]
