"""Field tables: every type goes back as it came, clients' encoders agree, and any bytes are decoded or refused."""

import datetime
import decimal
import json
import pathlib
import struct

import amqp.serialization
import pamqp.encode
import pika.data
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.amqp import tables
from protocols.amqp.errors import TableError
from protocols.amqp.tables import (
    Binary,
    Float32,
    Int8,
    Int16,
    Int64,
    Int64L,
    ScaledDecimal,
    Timestamp,
    UInt8,
    UInt16,
    UInt32,
)

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "amqp.json").read_text())


def decode(wire):
    table, end = tables.decode(wire, 0, len(wire))
    assert end == len(wire)
    return table


def typed(value):
    """The value with its type's name at every level, so that 1 and Int8(1) differ."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value), repr(value)


def integers(kind, bits, signed):
    low = -(1 << bits - 1) if signed else 0
    return st.integers(low, low + (1 << bits) - 1).map(kind)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        integers(Int8, 8, True),
        integers(UInt8, 8, False),
        integers(Int16, 16, True),
        integers(UInt16, 16, False),
        integers(int, 32, True),
        integers(UInt32, 32, False),
        integers(Int64, 64, True),
        integers(Int64L, 64, True),
        integers(Timestamp, 64, False),
        st.floats(),
        st.floats(width=32).map(Float32),
        st.builds(ScaledDecimal, st.integers(0, 255), st.integers(0, 2**32 - 1)),
        st.text(max_size=20),
        st.binary(max_size=20).filter(lambda data: isinstance(tables.text_or_bytes(data), bytes)),
        st.binary(max_size=20).map(Binary),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
TABLES = st.dictionaries(st.text(max_size=63), VALUES, max_size=6)


def field(tag_and_payload, key=b"k"):
    """A table of one field, put together by hand."""
    content = bytes([len(key)]) + key + tag_and_payload
    return len(content).to_bytes(4, "big") + content


@given(TABLES)
def test_any_table_comes_back_with_its_values_and_types(table):
    wire = tables.encode(table)
    assert typed(decode(wire)) == typed(table)
    assert tables.encode(decode(wire)) == wire


@pytest.mark.parametrize("type_name, wire, value", [(row[0], bytes.fromhex(row[1]), row[2]) for row in GOLDEN["types"]])
def test_every_type_is_read_as_rabbitmq_reads_it_and_written_back_unchanged(type_name, wire, value):
    decoded = decode(field(wire))["k"]
    assert tables.type_name(decoded) == type_name
    assert repr(decoded) == value
    assert tables.encode({"k": decoded}) == field(wire)


def test_the_golden_types_are_all_there_are():
    assert {chr(bytes.fromhex(row[1])[0]) for row in GOLDEN["types"]} == set("tbBsuIilLfdDTSxFAV")


@pytest.mark.parametrize("name", sorted(GOLDEN["tables"]))
def test_tables_captured_from_clients_go_back_byte_for_byte(name):
    wire = bytes.fromhex(GOLDEN["tables"][name])
    assert tables.encode(decode(wire)) == wire


PLAIN = {
    "flag": True,
    "count": 7,
    "big": 1 << 40,
    "low": -(1 << 40),
    "text": "čau",
    "nested": {"list": [1, "two", None, {"deep": False}]},
    "void": None,
    "empty": {},
    "nothing": [],
}


def test_pika_and_py_amqp_tables_are_read_as_they_meant_them():
    pieces: list = []
    pika.data.encode_table(pieces, PLAIN)
    assert decode(b"".join(pieces)) == PLAIN
    assert decode(amqp.serialization.dumps("F", [PLAIN])) == PLAIN
    assert decode(pamqp.encode.field_table(PLAIN)) == PLAIN


def test_client_libraries_read_our_tables():
    wire = tables.encode(PLAIN)
    assert pika.data.decode_table(wire, 0) == (PLAIN, len(wire))
    assert amqp.serialization.loads("F", wire, 0)[0] == [PLAIN]


def test_clients_dates_and_decimals_keep_their_type():
    table = {"when": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC), "price": decimal.Decimal("3.14")}
    pieces: list = []
    pika.data.encode_table(pieces, table)
    wire = b"".join(pieces)
    assert typed(decode(wire)) == typed({"when": Timestamp(1577923200), "price": ScaledDecimal(2, 314)})
    assert tables.encode(decode(wire)) == wire


def test_a_plain_integer_takes_the_smaller_of_two_widths():
    assert tables.encode({"k": 2**31 - 1}) == field(b"I\x7f\xff\xff\xff")
    assert tables.encode({"k": 2**31}) == field(b"l" + (2**31).to_bytes(8, "big"))


def test_a_string_that_is_not_utf8_stays_bytes():
    wire = field(b"S\0\0\0\x02\xff\xfe")
    assert decode(wire) == {"k": b"\xff\xfe"}
    assert tables.encode(decode(wire)) == wire


def test_what_is_illegal_but_harmless_is_read_as_rabbitmq_reads_it():
    assert decode(field(b"t\x02")) == {"k": True}
    two = b"\x01kI\0\0\0\x01" + b"\x01kI\0\0\0\x02"
    assert decode(len(two).to_bytes(4, "big") + two) == {"k": 1}  # the first of equal keys counts


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        (b"\0\0", "truncated table"),
        (b"\0\0\0\x05\x01k", "table of 5 bytes where 2 are left"),
        (b"\0\0\0\x02\x09k", "key goes beyond its table"),
        (b"\0\0\0\x02\x01k", "type and value are missing"),
        (field(b"Z", b"odd"), "field 'odd', byte 8: unknown type 'Z'"),
        (field(b"I\0\0"), "field 'k', byte 7: truncated signedint"),
        (field(b"D\0\0\0\0"), "truncated decimal"),
        (field(b"S\0\0\0\x09abc"), "longstr of 9 bytes where 3 are left"),
        (field(b"x\xff\xff\xff\xff"), "binary of 4294967295 bytes where 0 are left"),
        (field(b"A\0\0\0\x01"), "array of 1 bytes where 0 are left"),
        (field(b"F\0\0\0\x03\x01kt"), "truncated bool"),
        (field(b"V", b"\xff"), "key is not UTF-8"),
    ],
)
def test_a_broken_table_is_refused_with_the_field_the_type_and_the_place(wire, says):
    with pytest.raises(TableError) as refusal:
        tables.decode(wire, 0, len(wire))
    assert says in refusal.value.text
    assert refusal.value.code == 502


def test_a_table_never_reads_beyond_the_given_end():
    wire = tables.encode({"k": "value"})
    padded = b"\xff" * 3 + wire + b"\xff" * 9
    assert tables.decode(padded, 3, len(padded)) == ({"k": "value"}, 3 + len(wire))
    with pytest.raises(TableError):
        tables.decode(padded, 3, 3 + len(wire) - 1)


def nested_array(levels):
    wire = b""
    for _ in range(levels):
        wire = b"A" + len(wire).to_bytes(4, "big") + wire
    return field(wire)


def test_nesting_has_a_bound_in_both_directions():
    value = decode(nested_array(tables.DEPTH_MAX - 1))  # the table itself is a level
    assert tables.encode(value) == nested_array(tables.DEPTH_MAX - 1)
    with pytest.raises(TableError, match="64 levels"):
        decode(nested_array(tables.DEPTH_MAX))
    with pytest.raises(TableError):
        decode(nested_array(20_000))
    endless: list = []
    endless.append(endless)
    with pytest.raises(TableError, match="64 levels"):
        tables.encode({"k": endless})


@pytest.mark.parametrize(
    "value",
    [
        1 << 63,
        pytest.param(10**5000, id="huge"),
        Int8(300),
        UInt32(-1),
        Float32(1e300),
        ScaledDecimal(0, 1 << 32),
        object(),
        "\ud800",
    ],
)
def test_what_no_type_can_hold_is_refused(value):
    with pytest.raises(TableError):
        tables.encode({"k": value})


def test_a_key_has_at_most_255_bytes():
    assert decode(tables.encode({"k" * 255: 1})) == {"k" * 255: 1}
    with pytest.raises(TableError, match="longer than 255"):
        tables.encode({"é" * 128: 1})


FRAGMENTS = st.lists(
    st.sampled_from([bytes([tag]) for tag in b"tbBsuIilLfdDTSxFAVZ"] + [b"\0\0\0\x01", b"\0\0\0\x09", b"\x01k", b"\0"])
    | st.binary(max_size=5),
    max_size=30,
).map(b"".join)


@given(FRAGMENTS | st.binary(max_size=200), st.booleans())
def test_any_bytes_are_decoded_or_refused(content, sized):
    wire = len(content).to_bytes(4, "big") + content if sized else content
    try:
        table, end = tables.decode(wire, 0, len(wire))
    except TableError:
        return
    assert end <= len(wire)
    again = tables.encode(table)
    assert tables.encode(decode(again)) == again


@given(TABLES)
def test_any_buffer_will_do(table):
    wire = tables.encode(table)
    for kind in (bytearray, memoryview):
        assert typed(tables.decode(kind(wire), 0, len(wire))[0]) == typed(table)


def test_types_have_rabbitmqs_names():
    values = [True, 5, 1 << 31, Int8(1), 1.5, "s", b"\xff", Binary(b""), {}, [], None, Timestamp(1)]
    names = ["bool", "signedint", "long", "byte", "double", "longstr", "longstr", "binary", "table", "array", "void"]
    assert list(map(tables.type_name, values)) == [*names, "timestamp"]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (Int8(5), 5, True),
        (UInt16(5), Int64(5), True),
        (5, 6, False),
        (5, "5", False),
        (1, True, False),
        (5, 5.0, False),
        (Float32(0.5), 0.5, True),
        (Timestamp(5), 5, False),
        ("a", Binary(b"a"), False),
        (None, None, True),
        ({"a": [Int8(1), "x"]}, {"a": [1, "x"]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1], [1, 2], False),
    ],
)
def test_arguments_are_equivalent_by_type_class_and_value(a, b, same):
    assert tables.equivalent(a, b) is same
    assert tables.equivalent(b, a) is same


@given(TABLES)
def test_a_table_is_equivalent_to_itself_after_a_round_trip(table):
    if "nan" not in repr(table):
        assert tables.equivalent(table, decode(tables.encode(table)))


def test_float32_holds_what_the_wire_held():
    assert decode(field(b"f" + struct.pack(">f", 0.1)))["k"] == pytest.approx(0.1)
