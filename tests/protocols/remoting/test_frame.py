"""Remoting frames: what real peers send is read and written byte for byte, and what is none is refused by name."""

import json
import pathlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.remoting.codes import LANGUAGES, VERSION
from protocols.remoting.fields import FieldError, FrameError
from protocols.remoting.frame import FRAME_BYTES_MAX, JSON, ROCKETMQ, Frame
from protocols.remoting.frame_writer import FrameWriter

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "remoting.json").read_text())["frames"]
HEADER = ("kind", "code", "flag", "language", "opaque", "version", "remark")
INT32 = st.integers(-(2**31), 2**31 - 1)
INT16 = st.integers(-(2**15), 2**15 - 1)
INT64 = st.integers(-(2**63) + 2, 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
NAMES = st.text("abcXYZ_019é", max_size=9)
FIELDS = st.dictionaries(TEXT, TEXT, max_size=20)


def named(key):
    return [pytest.param(row, id=row["name"]) for row in GOLDEN if row.get(key)]


def read(data, frame=None):
    """The frame in `data`, which is all of it."""
    frame = frame or Frame()
    assert frame.take(bytearray(data), 0, len(data)) == len(data)
    return frame


def said(frame):
    """What a frame says, as the golden table has it."""
    header = {name: getattr(frame, name) for name in HEADER}
    return {**header, "fields": frame.fields(), "body": frame.body().hex()}


def written(writer, kind, frame):
    """The bytes of a frame with those values."""
    remark = None if frame["remark"] is None else frame["remark"].encode()
    writer.begin(kind, frame["code"], frame["opaque"], frame["flag"], remark)
    for name, value in frame["fields"].items():
        writer.field(name.encode(), value.encode())
    body = bytes.fromhex(frame["body"])
    return writer.end(len(body)) + body


def json_frame(header, body=b""):
    text = json.dumps(header).encode()
    return struct.pack(">II", 4 + len(text) + len(body), len(text)) + text + body


@pytest.mark.parametrize("row", named("frame"))
def test_what_peers_send_is_read(row):
    assert said(read(bytes.fromhex(row["bytes"]))) == row["frame"]


@pytest.mark.parametrize("row", named("written"))
def test_our_frames_are_theirs_byte_for_byte(row):
    frame = row["frame"]
    writer = FrameWriter(frame["version"], frame["language"])
    ordered = dict.fromkeys(read(bytes.fromhex(row["bytes"])).fields())
    frame = {**frame, "fields": {name: frame["fields"][name] for name in ordered}}
    assert written(writer, frame["kind"], frame).hex() == row["bytes"]


@pytest.mark.parametrize("row", named("refused"))
def test_what_is_no_frame_is_refused_by_name(row):
    data = bytes.fromhex(row["bytes"])
    with pytest.raises(FrameError, match=row["refused"]):
        Frame().take(bytearray(data), 0, len(data))


@pytest.mark.parametrize("row", named("frame"))
def test_a_frame_is_taken_when_its_last_byte_is_there_wherever_it_lies(row):
    data = bytes.fromhex(row["bytes"])
    buffer = bytearray(b"\xff" * 3 + data + b"\xff" * 9)
    frame = Frame()
    for cut in range(len(data)):
        assert frame.take(buffer, 3, 3 + cut) == 0
    assert frame.take(buffer, 3, len(buffer)) == len(data)
    assert said(frame) == row["frame"]


@pytest.mark.parametrize("row", named("refused"))
def test_an_absurd_length_is_refused_before_the_rest_comes(row):
    if "exceeds" in row["refused"]:
        with pytest.raises(FrameError, match="exceeds"):
            Frame().take(bytearray.fromhex(row["bytes"]), 0, 4)


def test_sixteen_mebibytes_are_the_limit_and_it_can_be_less():
    longest = bytearray(struct.pack(">II", FRAME_BYTES_MAX - 4, 2) + b"{}")
    assert Frame().take(longest, 0, len(longest)) == 0
    with pytest.raises(FrameError, match="exceeds 1000"):
        Frame(1000).take(longest, 0, len(longest))


def test_nothing_of_the_frame_before_is_left():
    frame = read(json_frame({"code": 1, "flag": 3, "language": "GO", "remark": "r", "extFields": {"a": "b"}}, b"body"))
    assert (frame.is_response, frame.is_oneway, frame.remark, frame.get(b"a")) == (True, True, "r", b"b")
    read(json_frame({}), frame)
    assert said(frame) == {
        **dict.fromkeys(("kind", "code", "flag", "opaque", "version"), 0),
        **{"language": "", "remark": None, "fields": {}, "body": ""},
    }
    assert frame.get(b"a") is None and not frame.is_response and not frame.is_oneway


def test_fields_are_read_as_texts_and_numbers():
    frame = read(json_frame({"extFields": {"topic": "T\u00e9\n", "queueId": "-3", "offset": 2**63 - 1, "none": None}}))
    assert frame.text(b"topic") == "T\u00e9\n".encode()
    assert (frame.number(b"queueId"), frame.number(b"offset")) == (-3, 2**63 - 1)
    assert (frame.number_or(b"gone", 7), frame.number_or(b"none", 8), frame.number_or(b"queueId", 9)) == (7, 8, -3)
    for ask in (frame.text, frame.number):
        with pytest.raises(FieldError, match="the custom field <gone> is null"):
            ask(b"gone")
    with pytest.raises(FieldError, match="the custom field <none> is null"):
        frame.number(b"none")


@pytest.mark.parametrize("value", ["", "-", "x", "1x", "1.5", str(2**63), "9" * 20, " 1", "0x1", "true"])
def test_a_field_that_is_no_number_is_named_with_its_value(value):
    frame = read(json_frame({"extFields": {"queueId": value}}))
    with pytest.raises(FieldError, match=f"the custom field <queueId> is not a number: {value}"):
        frame.number(b"queueId")
    with pytest.raises(FieldError, match="queueId"):
        frame.number_or(b"queueId", 1)


@pytest.mark.parametrize("escape", ["\\x", "\\u12", "\\u12g4", "\\"])
def test_an_escape_that_is_none_is_found_when_its_field_is_asked_for(escape):
    text = b'{"extFields":{"bad":"%b","good":"1"},"opaque":5}' % (escape + " ").encode()
    frame = read(struct.pack(">II", 4 + len(text), len(text)) + text)
    assert frame.opaque == 5 and frame.number(b"good") == 1
    with pytest.raises(FieldError, match="string of the header"):
        frame.get(b"bad")
    with pytest.raises(FieldError, match="string of the header"):
        frame.fields()


def test_a_binary_field_that_is_not_utf8_is_found_when_its_text_is_asked_for():
    fields = b"\x00\x01a\x00\x00\x00\x02\xff\xfe"
    header = struct.pack(">hBhiiii", 105, 0, 479, 1, 0, 0, len(fields)) + fields
    frame = read(struct.pack(">II", 4 + len(header), 1 << 24 | len(header)) + header)
    assert frame.text(b"a") == b"\xff\xfe"
    with pytest.raises(FieldError, match="not UTF-8"):
        frame.fields()


@given(
    st.sampled_from([JSON, ROCKETMQ]), INT32, INT32, INT32, st.none() | TEXT, FIELDS, st.binary(max_size=99),
    st.sampled_from(LANGUAGES),
)  # fmt: skip
def test_what_is_written_is_read(kind, code, opaque, flag, remark, fields, body, language):
    if kind == ROCKETMQ:  # has 16 bits for a code, and no empty texts
        code = code % 65536 - 32768
        remark = remark or None
    frame = {"code": code, "opaque": opaque, "flag": flag, "remark": remark, "fields": fields, "body": body.hex()}
    got = said(read(written(FrameWriter(VERSION, language), kind, frame)))
    if kind == ROCKETMQ:
        frame["fields"] = {name: value for name, value in fields.items() if value}
    assert got == {**frame, "kind": kind, "language": language, "version": VERSION}


@given(st.sampled_from([JSON, ROCKETMQ]), st.dictionaries(NAMES, INT64, max_size=5))
def test_numbers_are_written_as_text(kind, pairs):
    writer = FrameWriter()
    writer.begin(kind, 0, 1, 1)
    for name, value in pairs.items():
        writer.number(name.encode(), value)
    frame = read(writer.end(0))
    assert frame.fields() == {name: str(value) for name, value in pairs.items()}
    assert {name: frame.number(name.encode()) for name in pairs} == pairs


@given(FIELDS, TEXT, st.booleans())
def test_any_json_encoder_will_do(fields, remark, ascii_only):
    header = {"extFields": fields, "remark": remark, "code": 9}
    text = json.dumps(header, ensure_ascii=ascii_only, indent=1).encode()
    frame = read(struct.pack(">II", 4 + len(text), len(text)) + text)
    assert (frame.code, frame.remark, frame.fields()) == (9, remark, fields)


@given(st.binary(max_size=60), st.sampled_from([JSON, ROCKETMQ]), st.booleans())
def test_any_bytes_are_a_frame_or_refused(header, kind, braces):
    header = b"{" + header + b"}" if braces else header
    data = struct.pack(">II", 4 + len(header), kind << 24 | len(header)) + header
    frame = Frame()
    try:
        assert frame.take(bytearray(data), 0, len(data)) == len(data)
        said(frame)
    except (FrameError, FieldError):
        pass


MUTATED = bytes.fromhex(GOLDEN[0]["bytes"]), bytes.fromhex(GOLDEN[1]["bytes"])


@given(st.sampled_from(MUTATED), st.integers(4, 120), st.integers(1, 255))
def test_a_damaged_frame_is_read_or_refused_and_never_beyond_its_end(data, at, bits):
    damaged = bytearray(data)
    damaged[min(at, len(data) - 1)] ^= bits
    frame = Frame()
    try:
        frame.take(damaged, 0, len(damaged))
        said(frame)
    except (FrameError, FieldError):
        pass


def test_a_long_head_is_written_whole():
    writer = FrameWriter()
    for kind in (JSON, ROCKETMQ):
        for size in (1, 100_000):
            writer.begin(kind, 0, 1, 1, b"\x01" * size)
            writer.field(b"properties", b'"' * size)
            frame = read(writer.end(5) + b"12345")
            assert (frame.remark, frame.get(b"properties")) == ("\x01" * size, b'"' * size)
            assert (frame.body(), frame.body_size) == (b"12345", 5)
