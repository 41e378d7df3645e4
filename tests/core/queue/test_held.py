"""A transient queue's messages beside a dict."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from core.queue.held import Held
from tests.core.queue.bench import new_message

STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 700), st.integers(0, 1 << 30)), max_size=15)


@given(STEPS)
def test_it_is_a_dict_of_messages(steps):
    held, model, codes, end = Held(), {}, {}, 0
    for adding, count, chosen in steps:
        for step in range(count):
            if adding:
                message = new_message(b"x" * (step % 3))
                code = chosen * (step % 2)
                held.add(message, code)
                model[end], codes[end], end = message, code, end + 1
            elif model:
                offset = sorted(model)[(chosen + step * 7) % len(model)] if step % 5 else min(model)
                held.settle(offset)
                del model[offset]
        assert held.end == end
        assert all(held.get(offset) is message for offset, message in model.items())
        assert all(held.get(offset) and held.code == codes[offset] for offset in model)
        assert held.room.bytes == sum(message.body_size + 256 for message in model.values())


def test_one_message_that_stays_keeps_its_own_chunk_only():
    held = Held()
    held.add(new_message(b"stays"), 0)
    for offset in range(1, 100_000):
        held.add(new_message(), 0)
        held.settle(offset)
    assert held.get(0).body == b"stays" and held.room.bytes == 261
    held.settle(0)
    assert held.room.bytes == 0 and held.end == 100_000


def test_a_settled_message_is_let_go_of_though_others_of_its_chunk_stay():
    held, body = Held(), bytes(1000)
    held.add(new_message(b"stays"), 0)
    held.add(new_message(body), 0)
    references = sys.getrefcount(body)
    held.settle(1)
    assert sys.getrefcount(body) == references - 1
