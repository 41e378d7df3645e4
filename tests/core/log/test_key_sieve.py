"""The keys that a sieve finds in records, by the eyes of AMQP; sorting and searching them."""

from array import array
from random import Random

import pytest

from core.log.key_sieve import KeySieve, search_entries, sort_entries
from core.log.keys import KEYS_MAX, key_hash
from core.log.view import CUT_SHORT
from protocols.amqp.content import Content
from protocols.amqp.message_keys import MessageKeys, keys_of
from protocols.amqp.properties import encode_properties
from tests.core.log.conftest import make_message

PROPERTIES = [
    {},
    {"message_id": "a"},
    {"message_id": "b" * 255, "content_type": "t", "content_encoding": "e", "delivery_mode": 2, "priority": 9},
    {"message_id": "c", "correlation_id": "x", "reply_to": "y", "expiration": "5", "timestamp": 7, "type": "t"},
    {"message_id": "", "headers": {"x-keys": "one two  three "}},
    {"message_id": "d", "headers": {"before": 1, "x-keys": "four", "after": {"deep": "x"}}},
    {"headers": {"x-keys": ""}, "app_id": "a"},
    {"headers": {"other": "x-keys"}, "correlation_id": "no"},
    {"headers": {"x-keys": "é ü"}, "message_id": "ø"},
    {"headers": {"big": "h" * 40000, "x-keys": "tail"}, "message_id": "behind the body"},
]


def stored(bench, headers, **fields):
    """Store messages with these header blocks; returns the log's bytes, and (key, offset) of each key."""
    expected = []
    for header in headers:
        message = bench.store(b"body", header=header, **fields)
        expected += [(key, message.offset) for key in keys_of(Content(header))]
    bench.log.submit()
    bench.engine.finish_all()
    return bench.engine.image(), expected


def pairs(keys):
    return list(zip(keys.entries[::2], keys.entries[1::2], strict=True))


def test_message_ids_and_words_of_x_keys_are_found(new_bench):
    bench = new_bench(segment_bytes=1 << 28)
    headers = [encode_properties(each) if each else b"" for each in PROPERTIES]
    data, expected = stored(bench, headers * 30)
    keys = KeySieve(MessageKeys()).sift(data, 0)
    assert (keys.end, keys.why) == (len(data), CUT_SHORT)
    assert pairs(keys) == [(key_hash(key.encode()), offset) for key, offset in expected]
    assert {key for key, _ in expected} > {"a", "one", "three", "four", "tail", "behind the body", "ü"}


def test_keys_of_what_has_something_unseen_are_found(bench):
    message = make_message(b"x", header=encode_properties({"message_id": "m"}))
    message.unseen = b"\0\0\0\x05unseen"
    bench.log.append_store(message, array("q", (1, 0, 0)), 1)
    bench.log.submit()
    bench.engine.finish_all()
    keys = KeySieve(MessageKeys()).sift(bench.engine.image(), 0)
    assert pairs(keys) == [(key_hash(b"m"), message.offset)]


def test_no_message_has_more_than_its_share_and_none_takes_the_place_of_others(new_bench):
    bench = new_bench(segment_bytes=1 << 28)
    many = encode_properties({"headers": {"x-keys": " ".join(f"k{at}" for at in range(5000))}})
    data, expected = stored(bench, [many, encode_properties({"message_id": "m"})] * 40)
    found, at = [], 0
    while at < len(data):
        keys = KeySieve(MessageKeys()).sift(data[at:], at)
        assert keys.end > at
        found += pairs(keys)
        at = keys.end
    by_message = {}
    for key, offset in expected:
        by_message.setdefault(offset, []).append((key_hash(key.encode()), offset))
    assert found == [pair for group in by_message.values() for pair in group[: KEYS_MAX - 2]]


def test_any_header_block_is_looked_at_and_no_further(bench):
    random = Random(3)
    whole = [encode_properties(each) for each in PROPERTIES if each and "big" not in str(each)]
    headers = []
    for _ in range(1500):
        header = bytearray(random.choice(whole))
        for _ in range(random.randrange(3)):
            header[random.randrange(len(header))] = random.randrange(256)
        headers.append(bytes(header[: random.randrange(len(header) + 1)]))
    sieve = KeySieve(MessageKeys())
    for header in headers:
        bench.store(b"", header=header)
    bench.log.submit()
    bench.engine.finish_all()
    data = bench.engine.image()
    keys = sieve.sift(data, 0)
    assert (keys.end, keys.why) == (len(data), CUT_SHORT)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_pairs_are_sorted_and_searched(count):
    random = Random(count)
    made = [
        (random.choice((0, 5, (1 << 64) - 1, random.getrandbits(64))), random.getrandbits(60)) for _ in range(count)
    ]
    entries = array("Q", [number for pair in made for number in pair])
    for wanted in {value for value, _ in made} | {1, 2}:
        assert search_entries(entries, wanted) == [at for value, at in made if value == wanted]
    ordered = sort_entries(entries[:])
    assert list(zip(ordered[::2], ordered[1::2], strict=True)) == sorted(made)


def test_the_hash_is_fnv_1a():
    assert key_hash(b"") == 0xCBF29CE484222325 and key_hash(b"foobar") == 0x85944171F73967E8
