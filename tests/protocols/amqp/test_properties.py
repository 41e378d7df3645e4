"""Basic properties: what the scan finds is what the decoder decodes, and clients' header blocks go back unchanged."""

import json
import pathlib

import pika
import pytest
from amqp.basic_message import Message
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PreconditionFailed
from protocols.amqp import tables
from protocols.amqp.copies import unseen_keys, without_bcc
from protocols.amqp.errors import SyntaxViolation, TableError
from protocols.amqp.properties import (
    EXPIRATION_MS_MAX,
    NAMES,
    Scan,
    decode_properties,
    encode_properties,
    fields_of,
    read_expiration,
    scan,
    scan_properties,
)

CAPTURED = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "amqp.json").read_text())
GOLDEN = CAPTURED["properties"]

TEXT = st.text(max_size=60)
HEADERS = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT | st.binary(max_size=9).map(tables.Binary),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
VALUES = {"headers": HEADERS, "delivery_mode": st.integers(0, 255), "priority": st.integers(0, 255)} | {
    "timestamp": st.integers(0, 2**64 - 1)
}
PROPERTIES = st.fixed_dictionaries({}, optional={name: VALUES.get(name, TEXT) for name in NAMES})


@given(PROPERTIES)
def test_any_properties_come_back_as_they_were(properties):
    header = encode_properties(properties)
    assert decode_properties(header) == properties
    assert encode_properties(decode_properties(header)) == header


@given(PROPERTIES, st.binary(max_size=4), st.binary(max_size=4))
def test_a_scan_finds_what_is_in_the_properties(properties, before, after):
    header = encode_properties(properties)
    wire, start = before + header + after, len(before)
    found = Scan()
    scan_properties(b"\xa0\0\x01t\0\0\0\0", 0, 8, found)  # what the one before left must not show
    assert scan_properties(wire, start, start + len(header), found) == int.from_bytes(header[:2], "big")
    assert found.origin == start
    assert found.delivery_mode == properties.get("delivery_mode", 0)
    assert found.priority == properties.get("priority", 0)
    for name in ("expiration", "user_id", "reply_to"):
        at, size = getattr(found, f"{name}_at"), getattr(found, f"{name}_size")
        assert (wire[at : at + size].decode() if at >= 0 else None) == properties.get(name)
    if "headers" in properties:
        assert tables.decode(wire, found.headers_at, found.headers_end) == (properties["headers"], found.headers_end)
    else:
        assert found.headers_at == found.headers_end == -1


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_header_blocks_of_clients_go_back_byte_for_byte(name):
    header = bytes.fromhex(GOLDEN[name])
    assert encode_properties(decode_properties(header)) == header
    assert scan(header).delivery_mode == 2


def test_pika_reads_all_fourteen_and_so_do_we():
    header = bytes.fromhex(GOLDEN["pika all"])
    ours = decode_properties(header)
    assert tuple(ours) == NAMES
    theirs = pika.BasicProperties()
    theirs.decode(encode_properties(ours))
    assert {name: getattr(theirs, name) for name in NAMES} == ours


def test_py_amqp_reads_our_properties():
    ours = {"content_type": "text/plain", "headers": {"k": [1, "x"]}, "delivery_mode": 2, "timestamp": 5}
    message = Message()
    message._load_properties(60, encode_properties(ours), 0)
    assert message.properties["application_headers"] == ours["headers"]
    assert (message.properties["content_type"], message.properties["delivery_mode"]) == ("text/plain", 2)


def test_a_celery_tasks_header_block_is_found_through():
    header = bytes.fromhex(GOLDEN["py-amqp celery task"])
    found = scan(header)
    assert header[found.reply_to_at : found.reply_to_at + found.reply_to_size] == b"r"
    assert tables.decode(header, found.headers_at, found.headers_end)[0]["timelimit"] == [None, None]
    assert found.expiration_at == found.user_id_at == -1


def test_a_string_that_is_not_utf8_stays_bytes():
    header = b"\x80\x00\x01\xff"
    assert decode_properties(header) == {"content_type": b"\xff"}
    assert encode_properties(decode_properties(header)) == header


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"", "without their flags"),
        (b"\x80", "without their flags"),
        (b"\x00\x01\x00\x00", "flags 0x0001"),
        (b"\x00\x02", "flags 0x0002"),
        (b"\x80\x00", "content_type needs 1 bytes where 0 are left"),
        (b"\x80\x00\x05abcd", "content_type needs 6 bytes where 5 are left"),
        (b"\x10\x00", "delivery_mode needs 1 bytes where 0 are left"),
        (b"\x00\x40\0\0\0", "timestamp needs 8 bytes where 3 are left"),
        (b"\x00\x00x", "1 bytes follow"),
        (b"\x20\x00\0\0\0\x09\x01k", "headers: table, byte 0: table of 9 bytes where 2 are left"),
        (b"\x20\x00\0\0\0\x03\x01kZ", "headers: field 'k', byte 6: unknown type 'Z'"),
        (b"\x20\x00\0\0\0\x03\x01\xffV", "headers: table, byte 4: key is not UTF-8"),
    ],
)
def test_a_broken_header_block_is_refused_by_scan_and_decoder_alike(header, says):
    for read in (scan, decode_properties):
        with pytest.raises(SyntaxViolation) as refusal:
            read(header)
        assert says in refusal.value.text
        assert refusal.value.code == 502


@pytest.mark.parametrize("wire", [bytes.fromhex(row[1]) for row in CAPTURED["types"]])
def test_the_scan_knows_the_size_of_every_type_in_tables_and_arrays(wire):
    array = b"\x01kA" + len(wire).to_bytes(4, "big") + wire
    for content in (b"\x01k" + wire, array):
        header = b"\x20\x00" + len(content).to_bytes(4, "big") + content
        assert scan(header).headers_end == len(header)
    for size in range(1, len(wire)):
        cut = b"\x20\x00" + (2 + size).to_bytes(4, "big") + b"\x01k" + wire[:size]
        with pytest.raises(TableError):
            scan(cut)


def test_nested_headers_have_a_bound():
    def header(levels):
        wire = b""
        for _ in range(levels):
            wire = b"A" + len(wire).to_bytes(4, "big") + wire
        return b"\x20\x00" + (2 + len(wire)).to_bytes(4, "big") + b"\x01k" + wire

    assert scan(header(tables.DEPTH_MAX - 1)).headers_at == 2
    for levels in (tables.DEPTH_MAX, 20_000):
        with pytest.raises(TableError, match="64 levels"):
            scan(header(levels))


FLAGS = st.integers(0, 65535).map(lambda flags: flags & 0xFFFC) | st.sampled_from([0x2000, 0x3000, 0, 1, 2])
PIECES = st.lists(
    st.sampled_from([bytes([tag]) for tag in b"tbBsuIilLfdDTSxFAVZ"] + [b"\0\0\0\x01", b"\0\0\0\x05", b"\x01k", b"\0"])
    | st.binary(max_size=6),
    max_size=20,
).map(b"".join)


@given(FLAGS, PIECES | st.binary(max_size=60), st.booleans())
def test_the_scan_accepts_exactly_what_the_decoder_decodes(flags, rest, headers_only):
    if headers_only:
        flags, rest = 0x2000, len(rest).to_bytes(4, "big") + rest
    header = flags.to_bytes(2, "big") + rest
    try:
        found = scan(header)
    except SyntaxViolation as refusal:
        with pytest.raises(SyntaxViolation) as other:
            decode_properties(header)
        assert other.value.text == refusal.text
    else:
        properties = decode_properties(header)
        assert found.priority == properties.get("priority", 0)


@given(st.binary(max_size=80))
def test_any_bytes_are_decoded_or_refused(header):
    try:
        properties = decode_properties(header)
    except SyntaxViolation:
        return
    assert decode_properties(encode_properties(properties)).keys() == properties.keys()


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({"delivery-mode": 2}, "no basic property is called delivery-mode"),
        ({"priority": 256}, "priority 256 is not within 0..255"),
        ({"timestamp": -1}, "timestamp -1"),
        ({"reply_to": "x" * 256}, "reply_to of 256 bytes is longer than 255"),
    ],
)
def test_properties_that_do_not_fit_are_refused(properties, says):
    with pytest.raises(ValueError, match=says):
        encode_properties(properties)


def test_none_counts_as_absent():
    assert encode_properties({"priority": None, "delivery_mode": 2}) == b"\x10\x00\x02"


def test_an_expiration_is_whole_milliseconds():
    assert read_expiration(b"0") == 0
    assert read_expiration(b"+60000") == 60000
    assert read_expiration(str(EXPIRATION_MS_MAX).encode()) == EXPIRATION_MS_MAX


@pytest.mark.parametrize(
    ("expiration", "reason"),
    [
        (b"abc", "'abc': no_integer"),
        (b"", "'': no_integer"),
        (b" 5", "' 5': no_integer"),
        (b"-1", "'-1': {value_negative,-1}"),
        (b"12ms", "'12ms': {leftover_string,\"ms\"}"),
        (b"315360000001", "'315360000001': {value_too_large,315360000001}"),
        (b"\xff", "'\\xff': no_integer"),
        ("٣".encode(), "'٣': no_integer"),
    ],
)
def test_another_expiration_is_refused_in_rabbitmqs_words(expiration, reason):
    with pytest.raises(PreconditionFailed) as refusal:
        read_expiration(expiration)
    assert str(refusal.value) == f"invalid expiration {reason}"


@given(st.lists(st.sampled_from(["CC", "BCC", "CCC", "cc", "BC", "C", ""]), unique=True, max_size=5), st.booleans())
def test_cc_and_bcc_are_seen_at_the_top_of_the_headers_only(names, nested):
    headers = {key: ["k"] for key in names}
    if nested:
        headers["inner"] = {"CC": ["k"], "BCC": ["k"]}
    block = encode_properties({"headers": headers, "reply_to": "r"})
    found = scan(block)
    assert found.copies == bool({"CC", "BCC"} & set(names))
    left, unseen = without_bcc(block, found)
    without = decode_properties(left)
    headers.pop("BCC", None)
    assert without == {"headers": headers, "reply_to": "r"}
    assert unseen_keys(unseen) == ([b"k"] if "BCC" in names else [])
    assert [name.decode() for name, _, _ in fields_of(left, scan(left))] == [*headers]
