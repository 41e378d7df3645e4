"""The marks of a dead letter, as RabbitMQ's clients read them (amqp.md Q4, Q5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.message import Message
from protocols.amqp import tables
from protocols.amqp.death import is_cycle, stamp
from protocols.amqp.properties import decode_properties, encode_properties


def message_of(key=b"k", exchange=b"x", **properties):
    header = encode_properties(properties) if properties else b""
    return Message((b"/", exchange, key), header, b"body", 4, True)


def die(message, queue="q", reason="rejected", seconds=1_700_000_000, exchange="dlx", key=None):
    return stamp(message, queue, reason, seconds, exchange=exchange, key=key)


def headers(dead):
    return decode_properties(dead.message.header)["headers"]


def test_the_first_death_says_all_that_there_is_to_say():
    dead = die(message_of(content_type="text/plain", delivery_mode=2))
    assert headers(dead) == dead.headers == {
        "x-first-death-reason": "rejected",
        "x-first-death-queue": "q",
        "x-first-death-exchange": "x",
        "x-last-death-reason": "rejected",
        "x-last-death-queue": "q",
        "x-last-death-exchange": "x",
        "x-death": [
            {
                "count": 1,
                "reason": "rejected",
                "queue": "q",
                "time": 1_700_000_000,
                "exchange": "x",
                "routing-keys": ["k"],
            }
        ],
    }  # fmt: skip
    death = headers(dead)["x-death"][0]
    assert (tables.type_name(death["count"]), tables.type_name(death["time"])) == ("long", "timestamp")
    message = dead.message
    assert (message.vhost, message.exchange, message.routing_key) == (b"/", b"dlx", b"k")
    assert message.persistent and message.body == b"body" and message.expire_at == 0
    kept = decode_properties(message.header)
    assert (kept["content_type"], kept["delivery_mode"], dead.keys) == ("text/plain", 2, [b"k"])


def test_the_expiration_goes_into_the_death():
    dead = die(message_of(expiration="100"), reason="expired")
    assert headers(dead)["x-death"][0]["original-expiration"] == "100"
    assert "expiration" not in decode_properties(dead.message.header)


def test_a_key_of_the_queue_replaces_the_message_s_and_its_copies():
    dead = die(message_of(headers={"CC": ["c1", "c2"], "mine": 1}), key=b"other")
    assert dead.message.routing_key == b"other" and dead.keys == [b"other"]
    assert headers(dead)["x-death"][0]["routing-keys"] == ["k", "c1", "c2"]
    assert "CC" not in headers(dead) and headers(dead)["mine"] == 1


def test_without_one_the_copies_go_along():
    dead = die(message_of(headers={"CC": ["c1"]}))
    assert dead.keys == [b"k", b"c1"] and headers(dead)["CC"] == ["c1"]


def test_deaths_are_newest_first_and_count_up_by_queue_and_reason():
    first = die(message_of(), "a", "rejected").message
    second = die(first, "b", "expired", exchange="y").message
    third = die(second, "a", "rejected", seconds=1_700_000_009)
    found = headers(third)
    assert [(each["queue"], each["reason"], each["count"], each["exchange"]) for each in found["x-death"]] == [
        ("a", "rejected", 2, "x"),
        ("b", "expired", 1, "dlx"),
    ]
    assert found["x-death"][0]["time"] == 1_700_000_000, "of the first time, as in RabbitMQ"
    assert (found["x-first-death-queue"], found["x-last-death-queue"]) == ("a", "a")
    assert (found["x-first-death-exchange"], found["x-last-death-exchange"]) == ("x", "y")


@pytest.mark.parametrize("junk", ["text", 5, None, {"a": 1}])
def test_what_a_client_made_of_it_is_replaced(junk):
    dead = die(message_of(headers={"x-death": junk}))
    assert [each["count"] for each in headers(dead)["x-death"]] == [1]


def test_members_that_a_client_put_in_stay_and_stop_no_one():
    dead = die(message_of(headers={"x-death": [1, "text", {"queue": "q"}]}))
    assert [each["count"] for each in headers(dead)["x-death"][:1]] == [1]
    assert headers(dead)["x-death"][1:] == [1, "text", {"queue": "q"}]


def test_a_cycle_is_a_way_back_without_a_rejection():
    once = die(message_of(), "a", "expired")
    assert is_cycle(once.headers, "a") and not is_cycle(once.headers, "b")
    twice = die(once.message, "b", "maxlen")
    assert is_cycle(twice.headers, "a") and is_cycle(twice.headers, "b")
    rejected = die(once.message, "b", "rejected")
    assert not is_cycle(rejected.headers, "a") and not is_cycle(rejected.headers, "b")
    assert not is_cycle({}, "a") and not is_cycle({"x-death": "text"}, "a")
    assert not is_cycle({"x-death": [1, {"queue": "a"}]}, "a")


REASONS = st.sampled_from(["rejected", "expired", "maxlen", "delivery_limit"])


@given(st.lists(st.tuples(st.sampled_from("abc"), REASONS), min_size=1, max_size=12))
def test_each_place_is_listed_once_with_its_count(places):
    message = message_of()
    for queue, reason in places:
        message = die(message, queue, reason).message
    deaths = decode_properties(message.header)["headers"]["x-death"]
    latest_first = list(dict.fromkeys(reversed(places)))
    assert [(each["queue"], each["reason"]) for each in deaths] == latest_first
    assert [each["count"] for each in deaths] == [places.count(place) for place in latest_first]
