"""A header added to a block that nobody decoded."""

from hypothesis import given
from hypothesis import strategies as st

from protocols.amqp.headers import with_long
from protocols.amqp.properties import decode_properties, encode_properties

text = st.text(max_size=20)
values = st.one_of(text, st.integers(-(1 << 31), (1 << 31) - 1), st.booleans(), st.just("x-stream-offset"))
blocks = st.fixed_dictionaries(
    {},
    optional={
        "content_type": text,
        "content_encoding": text,
        "headers": st.dictionaries(st.one_of(text, st.just("x-stream-offset")), values, max_size=4),
        "delivery_mode": st.sampled_from((1, 2)),
        "correlation_id": text,
        "timestamp": st.integers(0, 1 << 40),
    },
)


@given(blocks, st.integers(-(1 << 63), (1 << 63) - 1))
def test_it_is_there_and_all_else_as_it_was(properties, value):
    found = decode_properties(with_long(encode_properties(properties), "x-stream-offset", value))
    headers = {**properties.pop("headers", {}), "x-stream-offset": value}
    assert found.pop("headers") == headers
    assert found == properties


def test_a_message_without_properties_gets_this_one():
    assert decode_properties(with_long(b"", "x-stream-offset", 7)) == {"headers": {"x-stream-offset": 7}}
