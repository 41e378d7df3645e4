"""The bytes of every kind of record: checked field by field by a decoder of its own, and against golden files."""

import base64
import struct
import zlib
from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import LimitReached, LogCorrupt
from core.log.decode import decode_message
from core.log.encoder import Encoder, link_body
from core.log.record import DONE, LINK, STATE, STORE, crc_range
from core.log.view import BLANK, CUT_SHORT, INVALID, View
from core.message import Message

GOLDEN = Path(__file__).parents[2] / "golden"
HEAD = struct.Struct(">IIIiiqqiqIIqIIiqI")
NAMES = (
    "size", "magic", "body_crc", "queue_id", "flag", "queue_offset", "offset", "sys_flag", "born_ms", "born_host",
    "born_port", "store_ms", "store_host", "store_port", "reconsume_count", "batch_offset", "body_size",
)  # fmt: skip


def plain_decode(data):
    """RocketMQ's layout read the plain way: no code of ours."""
    fields = dict(zip(NAMES, HEAD.unpack_from(data)))
    at = HEAD.size
    fields["body"] = data[at : at + fields["body_size"]]
    at += fields["body_size"]
    fields["topic"] = data[at + 1 : at + 1 + data[at]].decode()
    at += 1 + data[at]
    (size,) = struct.unpack_from(">h", data, at)
    text = data[at + 2 : at + 2 + size]
    assert len(data) == at + 2 + size == fields["size"] and text.endswith(b"\x02")
    pairs = [pair.split(b"\x01") for pair in text[:-1].split(b"\x02")]
    fields["names"] = [name.decode() for name, _ in pairs]
    fields["properties"] = {name.decode(): value for name, value in pairs}
    stated = int(fields["properties"]["__CRC32#"][::-1])
    assert fields["names"][-1] == "__CRC32#" and len(fields["properties"]["__CRC32#"]) == 10
    assert stated == zlib.crc32(data[:-20]) & 0x7FFFFFFF
    assert fields["body_crc"] == zlib.crc32(fields["body"]) & 0x7FFFFFFF
    return fields


def varints(data):
    out, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            out.append(value)
            value = shift = 0
    return out


def stamp(encoder, offset=4096, queue_offset=9, batch_offset=4000, store_ms=1_700_000_000_123):
    encoder.offset, encoder.queue_offset = offset, queue_offset
    encoder.batch_offset, encoder.store_ms = batch_offset, store_ms


def encoded(encoder, **fields):
    stamp(encoder, **fields)
    page = bytearray(b"\xee" * (encoder.size + 10))
    if encoder.inline():
        end = encoder.write(page, 5)
        return bytes(page[5:end])
    pieces = []
    end = encoder.write_around(page, 5, pieces)
    return bytes(page[5 : 5 + HEAD.size]) + b"".join(pieces) + bytes(page[5 + HEAD.size : end])


def encode_store(message, places, **fields):
    encoder = Encoder()
    size = encoder.plan_store(message, array("q", [n for place in places for n in place]), len(places))
    data = encoded(encoder, **fields)
    assert len(data) == size
    return data


def encode(kind, body, **fields):
    encoder = Encoder()
    encoder.plan(kind, body)
    return encoded(encoder, **fields)


def message_of(body=b"hello0", header=b"\x10\x00\x02", expire_at=1_700_000_060_123, persistent=True):
    size = sum(map(len, body)) if isinstance(body, tuple) else len(body)
    message = Message((b"/", b"amq.topic", b"a.b"), header, body, size, persistent)
    message.expire_at = expire_at
    return message


SAMPLES = {
    "store": lambda: encode_store(message_of(), [(7, 300, 0), (8, 1, -2)]),
    "state": lambda: encode(STATE, b"\x01fact"),
    "done": lambda: encode(DONE, b"\x01ranges"),
    "link": lambda: encode(LINK, link_body(4096, 260, array("q", [5, 6, 0, 7, 8, 9]), 0, 2)),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_record_of_each_kind_has_the_golden_bytes(name):
    assert SAMPLES[name]().hex() == (GOLDEN / f"record_{name}.hex").read_text().replace("\n", "")


@pytest.mark.parametrize(("name", "topic"), [("store", "CORDUROY_MESSAGE"), ("state", "CORDUROY_STATE"),
                                             ("done", "CORDUROY_DONE"), ("link", "CORDUROY_LINK")])  # fmt: skip
def test_the_fixed_fields_are_rocketmq_s(name, topic):
    fields = plain_decode(SAMPLES[name]())
    assert fields["topic"] == topic
    expected = {
        "magic": 0xDAA320A7, "queue_id": 0, "queue_offset": 9, "offset": 4096, "sys_flag": 0, "reconsume_count": 0,
        "born_ms": 1_700_000_000_123, "store_ms": 1_700_000_000_123, "batch_offset": 4000,
        "born_host": 0, "born_port": 0, "store_host": 0, "store_port": 0, "flag": 1 if name == "store" else 0,
    }  # fmt: skip
    assert {key: fields[key] for key in expected} == expected


def test_the_body_crc_is_the_one_observed_from_rocketmq():
    assert plain_decode(SAMPLES["store"]())["body_crc"] == 0x7036E992


def test_a_message_s_properties_hold_places_address_expiry_and_origin():
    fields = plain_decode(SAMPLES["store"]())
    assert fields["names"] == ["__Q", "__ADDRESS", "EXPIRE_AT", "__ORIGIN", "__CRC32#"]
    places = base64.b64decode(fields["properties"]["__Q"])
    assert places == bytes.fromhex("0e ac02 11 01 fffffffffffffffe")
    assert base64.b64decode(fields["properties"]["__ADDRESS"]) == b"\x01/\x09amq.topic\x03a.b"
    assert fields["properties"]["EXPIRE_AT"] == b"1700000060123"
    assert base64.b64decode(fields["properties"]["__ORIGIN"]) == b"\x01\x10\x00\x02"


def test_a_link_names_the_stored_message_and_the_places():
    assert varints(plain_decode(SAMPLES["link"]())["body"][:6]) == [4096, 260, 10, 6]


def test_a_moved_message_names_what_its_record_settles():
    for body, header in ((b"hello0", b"\x10\x00\x02"), (b"b" * 40_000, b"\x20\x00" + bytes(40_000))):
        encoder, message = Encoder(), message_of(body, header)
        encoder.plan_store(message, array("q", [7, 300, 0]), 1)
        size = encoder.plan_from(message, 9, 300)
        data = encoded(encoder)
        assert len(data) == size
        assert varints(base64.b64decode(plain_decode(data)["properties"]["__FROM"])) == [9, 300]
        view = View()
        assert view.parse(data, 0, 4096) == size
        assert (view.places().tolist(), view.moved_from()) == ([7, 300, 0], (9, 300))
        assert view.message().header == header and view.body() == body
        encoder.plan_store(message, array("q", [7, 300, 0]), 1)
        data = encoded(encoder)
        assert view.parse(data, 0, 4096) == len(data) and view.places() and view.moved_from() is None


def test_what_is_not_there_takes_no_property():
    message = Message((b"", b"", b""), b"", b"", 0, False)
    fields = plain_decode(encode_store(message, []))
    assert fields["names"] == ["__ADDRESS", "__CRC32#"] and fields["flag"] == 0


def test_at_most_256_places_ride_in_the_record():
    fields = plain_decode(encode_store(message_of(), [(i, i, 0) for i in range(300)]))
    assert len(varints(base64.b64decode(fields["properties"]["__Q"]))) == 512


@pytest.mark.parametrize("body", [b"b" * 10, b"b" * 20_000, (b"b" * 20_000, b"", b"c")])
def test_a_header_block_too_big_for_the_properties_rides_behind_the_body(body):
    message = message_of(body, header=b"h" * 30_000)
    data = encode_store(message, [(1, 2, 0)])
    fields = plain_decode(data)
    assert fields["properties"]["__ORIGIN_TAIL"] == b"30001" and "__ORIGIN" not in fields["properties"]
    assert fields["body"].endswith(b"\x01" + b"h" * 30_000)
    again = decode_message(data, 0, len(data), 4096)
    assert again.header == message.header and again.body == b"".join(message.fragments())


@pytest.mark.parametrize("unseen", [b"u", b"u" * 300, b"u" * 30_000])
@pytest.mark.parametrize("header", [b"", b"\x10\x00\x02", b"h" * 30_000])
def test_what_nobody_is_shown_stays_with_the_message(header, unseen):
    message = message_of(header=header)
    message.unseen = unseen
    data = encode_store(message, [(1, 2, 0)])
    plain_decode(data)
    again = decode_message(data, 0, len(data), 4096)
    assert (again.header, again.unseen, again.body) == (header, unseen, message.body)


def test_the_biggest_header_block_that_fits_stays_in_the_properties():
    sizes = [encode_store(message_of(header=b"h" * n), [(1, 2, 0)]) for n in range(24_400, 24_600)]
    kinds = ["__ORIGIN" in plain_decode(data)["properties"] for data in sizes]
    assert kinds[0] and not kinds[-1] and kinds == sorted(kinds, reverse=True)


def test_a_large_body_is_not_copied():
    fragments = (b"a" * 20_000, b"b" * 20_000)
    encoder = Encoder()
    encoder.plan_store(message_of(fragments), array("q", [1, 2, 0]), 1)
    stamp(encoder)
    pieces = []
    assert not encoder.inline()
    encoder.write_around(bytearray(1000), 0, pieces)
    assert [id(piece) for piece in pieces] == [id(fragment) for fragment in fragments]


def test_an_address_beyond_the_bound_is_refused_by_name():
    message = Message((b"/", b"", b"k" * 16_000), b"", b"", 0, False)
    with pytest.raises(LimitReached, match="16001 bytes exceed 16000"):
        Encoder().plan_store(message, array("q", [1, 2, 0]), 1)


INT63 = st.integers(0, 2**62 - 1)
PLACES = st.lists(st.tuples(INT63, INT63, st.integers(-(2**63), 2**63 - 1)), max_size=20)
FRAGMENTS = st.one_of(st.binary(max_size=300), st.lists(st.binary(max_size=9000), min_size=2, max_size=4).map(tuple))


@settings(max_examples=60)
@given(FRAGMENTS, st.tuples(st.binary(max_size=50), st.binary(max_size=255), st.binary(max_size=255)),
       st.binary(max_size=200), PLACES, st.booleans(), st.integers(0, 2**50))  # fmt: skip
def test_a_message_comes_back_as_it_was(body, address, header, places, persistent, expire_at):
    message = message_of(body, header, expire_at, persistent)
    message = Message(address, header, body, message.body_size, persistent)
    message.expire_at = expire_at
    data = encode_store(message, places)
    plain_decode(data)
    again = decode_message(b"--" + data, 2, len(data), 4096)
    assert (again.vhost, again.exchange, again.routing_key) == address
    assert again.body == b"".join(message.fragments()) and again.body_size == len(again.body)
    assert (again.header, again.persistent, again.expire_at) == (header, persistent, expire_at)
    assert (again.offset, again.record_size, again.store_ms) == (4096, len(data), 1_700_000_000_123)
    view = View()
    assert view.parse(data, 0, 4096) == len(data) and view.body() == again.body
    assert list(view.places()) == [n for place in places for n in place]


@pytest.mark.parametrize("kind", [STATE, DONE, LINK])
def test_a_system_record_comes_back_as_it_was(kind):
    for body in (b"", b"\x02\x01", b"z" * 20_000):
        view, data = View(), encode(kind, body)
        assert view.parse(data, 0, 4096) == len(data)
        assert (view.kind, view.body(), view.queue_offset, view.batch_offset) == (kind, body, 9, 4000)


def test_a_link_comes_back_as_it_was():
    view, data = View(), SAMPLES["link"]()
    view.parse(data, 0, 4096)
    assert (view.kind, *view.link()) == (LINK, 4096, 260, array("q", [5, 6, 0, 7, 8, 9]))


@given(st.data())
def test_any_changed_bit_is_noticed(data):
    good = SAMPLES["store"]()
    bad = bytearray(good)
    bad[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert View().parse(bytes(bad), 0, 4096) in (INVALID, CUT_SHORT)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_without_a_crash(noise):
    assert View().parse(noise, 0, 0) in (INVALID, CUT_SHORT, BLANK)
    record = SAMPLES["store"]()
    assert View().parse(record[:8] + noise + record[8 + len(noise) :], 0, 4096) in (INVALID, CUT_SHORT, len(record))


def test_a_record_in_another_place_or_of_another_size_is_refused_with_its_offset():
    data = SAMPLES["store"]()
    for offset, size in ((4097, len(data)), (4096, len(data) - 1)):
        with pytest.raises(LogCorrupt, match=f"log offset {offset}"):
            decode_message(data, 0, size, offset)
    with pytest.raises(LogCorrupt, match="log offset 4096"):
        decode_message(SAMPLES["state"](), 0, len(SAMPLES["state"]()), 4096)


def test_every_cut_of_a_record_is_seen():
    data = SAMPLES["store"]()
    assert {View().parse(data[:n], 0, 4096) for n in range(len(data))} == {CUT_SHORT}
    assert View().kind == 0 and STORE == 1


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_the_crc_is_zlib_s(data, start):
    assert crc_range(b"--" + data, 2, len(data), start) == zlib.crc32(data, start)
