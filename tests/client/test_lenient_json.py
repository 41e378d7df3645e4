"""What Java's fastjson writes is understood; strict JSON stays what it is; it agrees with the broker's reader."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corduroy.client.errors import CodecError
from corduroy.client.lenient_json import ObjectKey, dumps, loads, strict
from protocols.remoting import fastjson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=9,
)
SENT = [
    (b'{0:"127.0.0.1:10911",1:"a"}', {"0": "127.0.0.1:10911", "1": "a"}),
    (b'{ -1 : {2:[{3:4}]} , "x":5}', {"-1": {"2": [{"3": 4}]}, "x": 5}),
    (b'{{"queueId":0}:5,{"queueId":1}:6}', {'{"queueId":0}': 5, '{"queueId":1}': 6}),
    (b'{{"topic":"a}b","queueId":0}:{"x":{1:2}}}', {'{"topic":"a}b","queueId":0}': {"x": {"1": 2}}}),
    (b"{'a':'b\\'\"c','d':1}", {"a": "b'\"c", "d": 1}),
    (b'{name:true,"o":[1,2,{}]}', {"name": True, "o": [1, 2, {}]}),
    (b'{"a{0:":"{0:1}",2:"\\"{3:"}', {"a{0:": "{0:1}", "2": '"{3:'}),
    (b"{}", {}),
]


@pytest.mark.parametrize(("sent", "meant"), SENT)
def test_what_java_sends_is_understood_as_the_broker_does(sent, meant):
    assert loads(sent) == meant == fastjson.decode(sent, dict)


@given(VALUES)
def test_strict_json_stays_what_it_is(value):
    assert loads(dumps(value)) == value == json.loads(strict(json.dumps(value)))


@pytest.mark.parametrize("broken", [b"", b"{", b'{"a"', b"{0:}", b"{{:1}", b'{"a":"b', b"\xff", b"[" * 999, b"'"])
def test_what_is_broken_is_refused(broken):
    with pytest.raises(CodecError):
        loads(broken)


@given(st.text("{}[]:,\"'\\ a0", max_size=12))
def test_any_text_is_a_value_or_refused(text):
    try:
        loads(text)
    except CodecError:
        pass


def test_keys_that_are_objects_are_written_as_fastjson_has_them():
    value = {"mqTable": {ObjectKey('{"queueId":0,"topic":"ü"}'): {"n": [1, True, None, "x"]}}, "e": {}, 5: ()}
    text = dumps(value).decode()
    assert text == '{"mqTable":{{"queueId":0,"topic":"ü"}:{"n":[1,true,null,"x"]}},"e":{},"5":[]}'
    assert loads(text) == {"mqTable": {'{"queueId":0,"topic":"ü"}': {"n": [1, True, None, "x"]}}, "e": {}, "5": []}
