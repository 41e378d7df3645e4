"""The client's frames and the broker's, written independently of each other, say the same; so do RocketMQ's own."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corduroy.client.codes import Request, Response
from corduroy.client.errors import CodecError
from corduroy.client.frames import Frame, FrameReader, encode, texts
from protocols.remoting import codes
from protocols.remoting import frame as broker
from protocols.remoting.frame_writer import FrameWriter

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "remoting.json").read_text())["frames"]
LENIENT = {"JSON: 257 fields", "JSON: too deep"}  # what the client lets pass
BROKERS_OWN = {"unknown members, and one that is not JSON", "an object as a field's value is its text"}
INT32 = st.integers(-(2**31), 2**31 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
FIELDS = st.dictionaries(st.text("abcXYZ_019é", min_size=1, max_size=9), TEXT, max_size=20)
FRAMES = st.builds(
    Frame,
    code=INT32,
    fields=FIELDS,
    body=st.binary(max_size=99),
    opaque=INT32,
    flag=st.integers(0, 3),
    remark=st.none() | TEXT,
)


def rows(key, without=()):
    return [pytest.param(row, id=row["name"]) for row in GOLDEN if key in row and row["name"] not in without]


def read(data):
    """The one frame in `data`."""
    reader = FrameReader()
    reader.feed(data)
    frame = reader.next_frame()
    assert reader.next_frame() is None
    return frame


@pytest.mark.parametrize("row", rows("frame", BROKERS_OWN))
def test_what_peers_send_is_read(row):
    frame, meant = read(bytes.fromhex(row["bytes"])), row["frame"]
    said = {
        name: getattr(frame, name) for name in ("code", "flag", "language", "opaque", "version", "remark", "fields")
    }
    assert {**said, "body": frame.body.hex(), "kind": meant["kind"]} == meant


@pytest.mark.parametrize("row", rows("refused", LENIENT))
def test_what_is_no_frame_is_refused(row):
    with pytest.raises(CodecError):
        read(bytes.fromhex(row["bytes"]))


@given(FRAMES)
def test_the_broker_reads_what_the_client_writes(frame):
    data = encode(frame)
    theirs = broker.Frame()
    assert theirs.take(bytearray(data), 0, len(data)) == len(data)
    assert (theirs.code, theirs.opaque, theirs.flag, theirs.remark) == (
        frame.code, frame.opaque, frame.flag, frame.remark,
    )  # fmt: skip
    assert (theirs.language, theirs.version, theirs.fields(), theirs.body()) == (
        "PYTHON", codes.VERSION, frame.fields, frame.body,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [broker.JSON, broker.ROCKETMQ])
@given(st.integers(-(2**15), 2**15 - 1), INT32, TEXT, FIELDS, st.binary(max_size=99))
def test_the_client_reads_what_the_broker_writes_in_both_kinds(kind, code, opaque, remark, fields, body):
    writer = FrameWriter(codes.VERSION, "JAVA")
    writer.begin(kind, code, opaque, 1, remark.encode() or None)
    for name, value in fields.items():
        writer.field(name.encode(), value.encode())
    frame = read(writer.end(len(body)) + body)
    given_fields = {name: value for name, value in fields.items() if value or kind == broker.JSON}
    assert frame == Frame(code, given_fields, body, opaque, 1, remark or None, "JAVA", codes.VERSION)


@given(st.lists(FRAMES, max_size=5), st.integers(1, 50))
def test_frames_do_not_depend_on_how_their_bytes_arrive(frames, piece):
    wire = b"".join(encode(frame) for frame in frames)
    reader, seen = FrameReader(), []
    for at in range(0, len(wire), piece):
        reader.feed(wire[at : at + piece])
        seen.extend(iter(reader.next_frame, None))
    assert seen == frames


@given(st.binary(max_size=80))
def test_any_bytes_are_a_frame_an_unfinished_one_or_refused(data):
    for prefix in (b"", b"\0\0\0\x40\0\0\0\x20", b"\0\0\0\x40\x01\0\0\x20"):
        reader = FrameReader()
        reader.feed(prefix + data)
        try:
            reader.next_frame()
        except CodecError:
            pass


def test_a_frame_that_no_peer_would_take_is_not_sent():
    with pytest.raises(CodecError, match="exceeds 16777216"):
        encode(Frame(10, body=bytes(16 << 20)))


def test_fields_travel_as_java_writes_them():
    assert texts({"a": True, "b": False, "c": 7, "d": "x", "e": None}) == {
        "a": "true",
        "b": "false",
        "c": "7",
        "d": "x",
    }


def test_codes_are_the_brokers():
    for ours, theirs in ((Request, codes.Request), (Response, codes.Response)):
        assert {each.name: int(each) for each in ours} == {each.name: int(theirs[each.name]) for each in ours}
