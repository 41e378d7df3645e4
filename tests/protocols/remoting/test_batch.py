"""Batches are taken apart as RocketMQ puts them together; what is none is refused before anything of it is taken."""

import json
import pathlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.remoting import properties
from protocols.remoting.batch import Batch, BatchError

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "native.json").read_text())["batches"]
MESSAGES = st.lists(
    st.tuples(st.integers(-(2**31), 2**31 - 1), st.binary(max_size=40), st.binary(max_size=40)), min_size=1, max_size=9
)


def written(messages):
    """The bytes of a batch of (flag, body, properties)."""
    parts = []
    for flag, body, text in messages:
        head = struct.pack(">IIIiI", 22 + len(body) + len(text), 0, 0, flag, len(body))
        parts += [head, body, struct.pack(">H", len(text)), text]
    return b"".join(parts)


def taken(data, before=b""):
    """(flag, body, properties) of each message."""
    batch, found = Batch(), []
    batch.begin(bytearray(before + data), len(before), len(data))
    count = batch.check()
    while batch.next():
        found.append((batch.flag, batch.body(), batch.properties()))
    assert len(found) == count
    return found


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: str(len(row["messages"])))
def test_batches_of_rocketmq_are_taken_apart(row):
    for (flag, body, text), said in zip(taken(bytes.fromhex(row["bytes"])), row["messages"], strict=True):
        assert (flag, body.hex()) == (said["flag"], said["body"])
        assert properties.as_dict(text) == {k.encode(): v.encode() for k, v in said["properties"].items()}


@given(MESSAGES, st.binary(max_size=9))
def test_what_was_written_is_taken_wherever_it_lies(messages, before):
    assert taken(written(messages), before) == messages


@given(MESSAGES, st.data())
def test_a_batch_that_is_cut_is_refused(messages, data):
    whole = written(messages)
    ends = {len(written(messages[:count])) for count in range(1, len(messages) + 1)}
    size = data.draw(st.integers(0, len(whole) - 1).filter(lambda size: size not in ends))
    with pytest.raises(BatchError):
        taken(whole[:size])


@given(st.binary(max_size=80))
def test_any_bytes_are_a_batch_or_refused(data):
    try:
        found = taken(data)
    except BatchError:
        return
    assert len(written(found)) == len(data)


@pytest.mark.parametrize("at, value", [(0, 23), (0, 21), (0, 2**32 - 1), (16, 2), (16, 2**32 - 1), (16, 2**31 - 1)])
def test_sizes_that_do_not_add_up_are_refused(at, value):
    data = bytearray(written([(0, b"hi", b"a\x01b\x02")]))
    data[at : at + 4] = value.to_bytes(4)
    if value == 2:
        data[20 + 2 : 20 + 4] = (9).to_bytes(2)
    with pytest.raises(BatchError):
        taken(bytes(data))
