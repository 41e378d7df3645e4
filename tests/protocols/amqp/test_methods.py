"""Methods: the table agrees with the clients' own, each goes there and back, any payload is decoded or refused."""

import json
import pathlib

import pamqp.commands
import pika.frame
import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.amqp import methods, tables
from protocols.amqp.errors import SyntaxViolation, TableError, UnknownMethod
from protocols.amqp.methods import (
    BY_IDS,
    METHODS,
    BasicDeliver,
    BasicNack,
    ConnectionClose,
    ExchangeDeclare,
    QueueBind,
    QueueBindOk,
    QueueDeclare,
    QueueDeclareOk,
    QueueUnbindOk,
)

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "amqp.json").read_text())
CLASS_IDS = {10, 20, 40, 50, 60, 85, 90}

SHORT_TEXT = st.text(max_size=60)
WIRE_VALUES = {
    "bit": st.booleans(),
    "octet": st.integers(0, 255),
    "short": st.integers(0, 65535),
    "long": st.integers(0, 2**32 - 1),
    "longlong": st.integers(0, 2**64 - 1),
    "shortstr": SHORT_TEXT,
    "shortbytes": st.binary(max_size=255),
    "longstr": st.binary(max_size=300),
    "table": st.dictionaries(SHORT_TEXT, st.booleans() | st.integers(-9, 9) | SHORT_TEXT, max_size=3),
}


def decode(payload):
    return methods.decode(payload, 0, len(payload))


@st.composite
def any_method(draw):
    kind = draw(st.sampled_from(METHODS))
    return kind(*(draw(WIRE_VALUES[wire]) for _, wire in kind.wire))


def pamqp_commands():
    for value in pamqp.commands.INDEX_MAPPING.values():
        yield divmod(value.index, 1 << 16), value


def test_the_table_has_every_method_of_pamqps_and_pikas_tables():
    ours = {ids for ids in BY_IDS if ids[0] in CLASS_IDS}
    assert ours == BY_IDS.keys()
    assert {ids for ids, _ in pamqp_commands() if ids[0] in CLASS_IDS} <= ours
    pikas = {divmod(index, 1 << 16) for index in pika.spec.methods}
    assert {ids for ids in pikas if ids[0] in CLASS_IDS} <= ours
    assert len(METHODS) == len(BY_IDS) == 64


@pytest.mark.parametrize(
    ("ids", "theirs"), [pytest.param(i, c, id=c.name) for i, c in pamqp_commands() if i[0] in CLASS_IDS]
)
def test_fields_have_pamqps_order_and_types(ids, theirs):
    ours = BY_IDS[ids]
    assert ours.name.title().replace("-", "") == theirs.name.replace("-", "")
    wires = ["shortstr" if wire == "shortbytes" else wire for _, wire in ours.wire]
    assert wires == [theirs.amqp_type(name) for name in theirs.attributes()]
    assert ours.synchronous == theirs.synchronous


@pytest.mark.parametrize("index", sorted(pika.spec.methods))
def test_methods_encode_as_pika_does_and_back(index):
    ids = divmod(index, 1 << 16)
    if ids[0] not in CLASS_IDS:
        return
    kind = pika.spec.methods[index]
    ours, theirs = BY_IDS[ids], kind("", "") if kind is pika.spec.Connection.UpdateSecret else kind()
    assert ours.content == (theirs.NAME in {"Basic.Publish", "Basic.Return", "Basic.Deliver", "Basic.GetOk"})
    given_values = {"bit": True, "table": {"k": 1}, "shortstr": "text", "shortbytes": "text", "longstr": "long"}
    values = [given_values.get(wire, 7) for _, wire in ours.wire]
    for (field, _), value in zip(ours.wire, values, strict=True):
        setattr(theirs, "global_qos" if field == "global_" else field, value)
    payload = index.to_bytes(4, "big") + b"".join(theirs.encode())
    assert methods.encode(ours(*values)) == payload
    again = methods.encode(decode(payload))
    assert again == payload


@given(any_method(), st.binary(max_size=5), st.binary(max_size=5))
def test_every_method_comes_back_as_it_was(method, before, after):
    payload = methods.encode(method)
    assert decode(payload) == method
    wire = before + payload + after
    assert methods.decode(memoryview(wire), len(before), len(before) + len(payload)) == method


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.name)
def test_every_method_has_defaults_and_its_payload_cannot_be_shorter_or_longer(kind):
    payload = methods.encode(kind())
    assert decode(payload) == kind()
    for wrong in [payload[:size] for size in range(4, len(payload))] + [payload + b"\0"]:
        with pytest.raises(SyntaxViolation, match=kind.name) as refusal:
            decode(wrong)
        assert (refusal.value.code, refusal.value.class_id, refusal.value.method_id) == (502, *kind.ids)


@pytest.mark.parametrize("name", sorted(GOLDEN["frames"]))
def test_frames_of_clients_go_back_byte_for_byte(name):
    frame = bytes.fromhex(GOLDEN["frames"][name])
    method = methods.decode(frame, 7, len(frame) - 1)
    assert method.name == name.split()[1]
    assert methods.method_frame(7, method) == frame


def test_a_client_reads_our_frames():
    size, frame = pika.frame.decode_frame(methods.method_frame(3, QueueDeclareOk("q", message_count=5)))
    assert (frame.channel_number, frame.method.queue, frame.method.message_count) == (3, "q", 5)
    assert size == len(methods.method_frame(3, QueueDeclareOk("q", message_count=5)))


def test_fields_are_read_into_their_names():
    frame = bytes.fromhex(GOLDEN["frames"]["py-amqp queue.declare"])
    assert methods.decode(frame, 7, len(frame) - 1) == QueueDeclare(
        0, "celeryev.1f", auto_delete=True, arguments={"x-expires": 60000, "x-message-ttl": 5000}
    )
    frame = bytes.fromhex(GOLDEN["frames"]["pika basic.nack"])
    assert methods.decode(frame, 7, len(frame) - 1) == BasicNack(1 << 33, multiple=True)


def test_methods_of_equal_fields_differ():
    assert QueueBindOk() != QueueUnbindOk()
    assert QueueBindOk() == QueueBindOk()


def test_routing_keys_of_content_are_bytes_and_names_are_text():
    method = BasicDeliver("tag", 1, False, "x", b"\xff\xfe")
    assert decode(methods.encode(method)) == method
    assert decode(methods.encode(BasicDeliver(b"tag", 1, False, b"x", "key"))) == BasicDeliver(
        "tag", 1, False, "x", b"key"
    )


@pytest.mark.parametrize(
    "method", [QueueDeclare(queue=b"\xff"), QueueBind(routing_key=b"\xc3"), ExchangeDeclare(type=b"\xff")]
)
def test_a_name_that_is_not_utf8_is_a_syntax_error(method):
    with pytest.raises(SyntaxViolation, match="is not UTF-8"):
        decode(methods.encode(method))


def test_a_broken_table_names_method_field_and_place():
    payload = methods.encode(QueueDeclare(queue="q", arguments={"x-odd": None})).replace(b"x-oddV", b"x-oddZ")
    with pytest.raises(TableError) as refusal:
        decode(payload)
    assert refusal.value.reply_text == "SYNTAX_ERROR - queue.declare: field 'x-odd', byte 10: unknown type 'Z'"
    assert (refusal.value.class_id, refusal.value.method_id) == (50, 10)


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ((60, 999), "COMMAND_INVALID - unknown method: class 60, method 999"),
        ((61, 10), "COMMAND_INVALID - unknown class: class 61, method 10"),
    ],
)
def test_an_unknown_method_is_named(ids, text):
    with pytest.raises(UnknownMethod) as refusal:
        decode(ids[0].to_bytes(2, "big") + ids[1].to_bytes(2, "big") + b"rest")
    assert refusal.value.reply_text == text
    assert (refusal.value.class_id, refusal.value.method_id) == ids


def test_a_payload_without_ids_is_a_syntax_error():
    for payload in (b"", b"\0", b"\0\x3c\0"):
        with pytest.raises(SyntaxViolation):
            decode(payload)


@given(st.sampled_from(METHODS), st.binary(max_size=120))
def test_any_payload_is_decoded_or_refused(kind, rest):
    payload = kind.ids[0].to_bytes(2, "big") + kind.ids[1].to_bytes(2, "big") + rest
    try:
        method = decode(payload)
    except SyntaxViolation:
        return
    assert decode(methods.encode(method)) == method


@pytest.mark.parametrize(
    "method",
    [
        ConnectionClose(1 << 16),
        ConnectionClose(200, "x" * 256),
        QueueDeclareOk("q", -1),
        QueueDeclare(arguments={"k": 1 << 70}),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_fields_name(method):
    with pytest.raises(ValueError, match=method.name):
        methods.encode(method)


def test_a_wrong_name_of_a_method_is_an_error():
    with pytest.raises(AttributeError, match="NoSuchThing"):
        _ = methods.NoSuchThing


def test_eight_bits_share_an_octet():
    wire = methods.encode(ExchangeDeclare(0, "e", "fanout", durable=True, nowait=True))
    assert wire.endswith(bytes([0b10010]) + tables.encode({}))
