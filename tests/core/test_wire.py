"""Integers, varints and base64, against Python's own."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import wire

UINT64 = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_integers_are_big_endian_and_round_trip(bits):
    read, write = getattr(wire, f"rd{bits}"), getattr(wire, f"wr{bits}")
    for value in (0, 1, 2 ** (bits - 1), 2**bits - 1, 0x0102030405060708 % 2**bits):
        out = bytearray(b"\xaa" * 10)
        write(out, 1, value)
        assert bytes(out) == b"\xaa" + value.to_bytes(bits // 8, "big") + b"\xaa" * (9 - bits // 8)
        assert read(out, 1) == read(bytes(out), 1) == value


def test_take_and_put_copy():
    out = bytearray(8)
    wire.put(out, 2, b"abc")
    assert bytes(out) == b"\0\0abc\0\0\0"
    assert wire.take(out, 2, 3) == b"abc"
    assert wire.take(b"abc", 3, 0) == b""


def test_put_range_copies_a_part():
    out = bytearray(8)
    wire.put_range(out, 1, b"abcdef", 2, 3)
    assert bytes(out) == b"\0cde\0\0\0\0"


def test_same_compares_a_part():
    assert wire.same(b"xabcx", 1, 3, b"abc") and not wire.same(b"xabcx", 1, 2, b"abc")
    assert not wire.same(b"xabcx", 0, 3, b"abc") and wire.same(b"x", 1, 0, b"")


@given(UINT64)
def test_varints_round_trip_in_the_size_foretold(value):
    out = bytearray(12)
    end = wire.put_varint(out, 1, value)
    assert end == 1 + wire.varint_size(value) <= 11
    assert wire.rd_varint(out, 1, end) == value


def test_varints_are_leb128():
    out = bytearray(3)
    assert wire.put_varint(out, 0, 624485) == 3
    assert out == bytes.fromhex("e58e26")  # the example of the DWARF specification


@pytest.mark.parametrize("text", ["", "80", "8080", "ff" * 9 + "02", "ff" * 10 + "01", "8000", "ff" * 9 + "ff01"])
def test_varints_that_do_not_end_are_too_long_or_not_shortest_are_refused(text):
    data = bytes.fromhex(text)
    with pytest.raises(ValueError, match="varint"):
        wire.rd_varint(data, 0, len(data))


@given(st.binary(max_size=80))
def test_base64_is_python_s(data):
    out = bytearray(b"." * 120)
    end = wire.put_base64(out, 3, data, len(data))
    assert end == 3 + wire.base64_size(len(data))
    assert bytes(out[3:end]) == base64.b64encode(data) and out[end:] == b"." * (120 - end)
    assert wire.base64_bytes(out, 3, end - 3) == data


@pytest.mark.parametrize("text", [b"abc", b"ab=c", b"a===", b"ab\xff=", b"abc-", b"=abc"])
def test_base64_of_another_alphabet_is_refused(text):
    with pytest.raises(ValueError):
        wire.base64_bytes(text, 0, len(text))
