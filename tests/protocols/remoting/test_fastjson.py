"""JSON bodies: Java's own form of it is understood, strict JSON is taken as it is, and our maps look like Java's."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.remoting.fastjson import BodyError, bare_keys, decode, strict

QUEUE = {"brokerName": "b", "queueId": 0, "topic": 'T"'}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=9,
)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (b'{0:"127.0.0.1:10911",1:"a"}', {"0": "127.0.0.1:10911", "1": "a"}),
        (b'{ -1 : {2:[{3:4}]} , "x":5}', {"-1": {"2": [{"3": 4}]}, "x": 5}),
        (b'{{"queueId":0}:5,{"queueId":1}:6}', {'{"queueId":0}': 5, '{"queueId":1}': 6}),
        (b"{'a':'b\\'\"c','d':1}", {"a": "b'\"c", "d": 1}),
        (b'{name:true,"o":[1,2,{}]}', {"name": True, "o": [1, 2, {}]}),
        (b'{"a{0:":"{0:1}",2:"\\"{3:"}', {"a{0:": "{0:1}", "2": '"{3:'}),
        (b"{}", {}),
    ],
)
def test_what_java_sends_is_understood(sent, meant):
    assert json.loads(strict(sent)) == meant
    assert decode(sent, dict) == meant


def test_a_map_keyed_by_queues_gives_their_text():
    text = json.dumps(QUEUE)
    table = decode(b"{" + text.encode() + b":5}", dict[str, int])
    assert [(json.loads(key), value) for key, value in table.items()] == [(QUEUE, 5)]


def test_numbers_are_taken_from_strings_where_they_are_expected():
    assert decode(b'{0:"7"}', dict[int, int]) == {0: 7}


@given(VALUES)
def test_strict_json_stays_what_it_is(value):
    text = json.dumps(value).encode()
    assert json.loads(strict(text)) == value
    assert decode(text, object) == value


@given(st.dictionaries(st.integers(-(2**63), 2**63), st.text(max_size=9), max_size=5))
def test_bare_keys_are_read_back(table):
    text = msgspec.json.encode(bare_keys(table))
    assert decode(text, dict[int, str]) == table
    assert text.startswith(b"{}" if not table else b"{%d:" % min(table))


@pytest.mark.parametrize(
    "broken", [b"", b"{", b"{x", b"{0", b"{0:", b"{{:1}", b"'", b"{'", b"{0:1]", b"\xff", b"[" * 5000]
)
def test_what_is_broken_is_refused(broken):
    with pytest.raises(BodyError):
        decode(broken, dict)


def test_a_value_of_another_type_is_named():
    with pytest.raises(BodyError, match=r"Expected `int`, got `str` - at `\$\[...\]`"):
        decode(b'{"a":"x"}', dict[str, int])


@given(st.binary(max_size=80) | st.text("{}[]:,'\"\\0a ", max_size=60).map(str.encode))
def test_any_bytes_are_rewritten_within_their_bound(data):
    assert len(strict(data)) <= 2 * len(data) + 2
    try:
        decode(data, object)
    except BodyError:
        pass
