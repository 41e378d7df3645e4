"""Property text is read as RocketMQ's own classes read it, and hashed as Java hashes; ids are written as theirs."""

import datetime
import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.native import java_hash, property_of, tags_code
from protocols.remoting import message_ids, properties
from protocols.remoting.properties import NAMES, Properties

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "native.json").read_text())
VALUES = st.sampled_from([b"", b"x", b"y", "é".encode()])
TEXTS = st.lists(st.sampled_from([*NAMES, b"\x01", b"\x02", b"x", "é".encode(), b"true", b"13"])).map(b"".join)


def read(text):
    """All known properties in the text, as one pass finds them."""
    found = Properties()
    found.read(text)
    return {name: found.value(number) for number, name in enumerate(NAMES) if found.has(number)}


@pytest.mark.parametrize("row", GOLDEN["hashes"], ids=lambda row: row["text"] or "empty")
def test_tags_are_hashed_as_java_hashes_strings(row):
    assert java_hash(row["text"].encode()) == row["hash"]


@given(st.text(st.characters(codec="utf-8")))
def test_the_hash_is_that_of_utf16_units(text):
    units = text.encode("utf-16-be")
    total = 0
    for at in range(0, len(units), 2):
        total = (31 * total + int.from_bytes(units[at : at + 2])) % (1 << 32)
    assert java_hash(text.encode()) == (total if total < 1 << 31 else total - (1 << 32))


ENTRIES = st.tuples(st.sampled_from([b"TAGS", b"KEYS", b""]), st.sampled_from([b"\x01", b"\x01\x01", b""]), VALUES)


@given(st.one_of(TEXTS, st.lists(ENTRIES).map(lambda entries: b"\x02".join(map(b"".join, entries)))))
def test_what_a_send_says_of_its_tags_is_what_a_start_finds_in_its_record(text):
    found = Properties()
    found.read(text)
    assert tags_code(b"T", text, 0) == found.tags_code()
    assert {name: value for name in NAMES if (value := property_of(text, name)) is not None} == read(text)


def test_bytes_that_are_no_utf8_count_as_the_character_that_java_puts_there():
    assert java_hash(b"\xff") == 0xFFFD and java_hash(b"a\xffb") == (97 * 31 + 0xFFFD) * 31 + 98


@pytest.mark.parametrize("row", GOLDEN["properties"], ids=lambda row: row["text"] or "empty")
def test_texts_say_what_rocketmq_reads_in_them(row):
    text, said = bytes.fromhex(row["text"]), {k.encode(): v.encode() for k, v in row["properties"].items()}
    assert properties.as_dict(text) == said
    assert read(text) == {name: value for name, value in said.items() if name in NAMES}
    left = {k.encode(): v.encode() for k, v in row["without_TAGS"].items()}
    assert properties.as_dict(properties.without(text, b"TAGS")) == left
    assert properties.as_dict(properties.put(text, b"TAGS", b"new")) == {**left, b"TAGS": b"new"}


@given(TEXTS | st.binary(max_size=60))
def test_one_pass_finds_what_reading_all_of_it_finds(text):
    assert read(text) == {name: value for name, value in properties.as_dict(text).items() if name in NAMES}


@given(TEXTS)
def test_another_entry_may_follow_a_closed_text(text):
    more = properties.closed(text) + properties.entry(b"last", b"one")
    assert properties.as_dict(more) == {**properties.as_dict(text), b"last": b"one"}


def test_one_reader_serves_one_message_after_another():
    found = Properties()
    found.read(b"TAGS\x01TagA\x02TRAN_MSG\x01TRUE\x02")
    assert found.tags_code() == 2598919 and found.flag(properties.TRAN_MSG)
    found.read(b"TRAN_MSG\x01yes\x02")
    assert found.tags_code() == 0 and not found.flag(properties.TRAN_MSG) and not found.flag(properties.POP_CK)
    assert found.value(properties.TAGS) is None


@pytest.mark.parametrize("row", GOLDEN["ids"], ids=lambda row: row["id"])
def test_ids_name_host_port_and_place(row):
    host = message_ids.host_bytes(row["address"], row["port"])
    made = message_ids.offset_id(host.hex().upper().encode(), row["offset"])
    assert made.decode() == row["id"]
    assert message_ids.parse_offset_id(made) == (host, row["offset"])


@pytest.mark.parametrize("text", [b"", b"7F", b"x" * 32, b"0" * 33, "\N{FULLWIDTH DIGIT SEVEN}".encode() * 11])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(ValueError):
        message_ids.parse_offset_id(text)


def test_ids_made_here_have_a_clients_form_and_are_all_different():
    now = [1_700_000_000_123]  # 14 November 2023, 22:13:20 UTC
    ids = message_ids.UniqueIds(bytes(range(10)), lambda: now[0])
    made = [ids.make() for _ in range(70_000)]
    since_month = ((13 * 24 + 22) * 60 + 13) * 60_000 + 20_123
    assert made[0].decode() == f"00010203040506070809{since_month:08X}0001"
    assert len(set(made[:65_536])) == 65_536 and {len(each) for each in made} == {32}


@given(st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2199, 12, 31)))
def test_ids_tell_the_time_since_the_month_began(when):
    ms = (when - datetime.datetime(1970, 1, 1)) // datetime.timedelta(milliseconds=1)
    since = (when - datetime.datetime(when.year, when.month, 1)) // datetime.timedelta(milliseconds=1)
    assert message_ids.UniqueIds(bytes(10), lambda: ms).make() == f"{'0' * 20}{since:08X}0001".encode()
