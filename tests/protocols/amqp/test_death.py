"""The marks of a dead letter, as RabbitMQ's clients read them (amqp.md Q4, Q5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.message import Message
from protocols.amqp import tables
from protocols.amqp.death import Deaths
from protocols.amqp.properties import decode_properties, encode_properties
from tests.protocols.amqp.test_properties import HEADERS, PROPERTIES

DEATHS = Deaths()  # one for all: what it remembers of one death must not show in another


def message_of(key=b"k", exchange=b"x", **properties):
    header = encode_properties(properties) if properties else b""
    return Message((b"/", exchange, key), header, b"body", 4, True)


def die(message, queue="q", reason="rejected", seconds=1_700_000_000, exchange="dlx", key=None):
    return DEATHS.stamp(message, queue, reason, seconds, (exchange, key))


def headers(dead):
    return decode_properties(dead.message.header)["headers"]


def test_the_first_death_says_all_that_there_is_to_say():
    dead = die(message_of(content_type="text/plain", delivery_mode=2))
    assert headers(dead) == {
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
    assert (kept["content_type"], kept["delivery_mode"], dead.keys) == ("text/plain", 2, (b"k",))


def test_the_expiration_goes_into_the_death():
    dead = die(message_of(expiration="100"), reason="expired")
    assert headers(dead)["x-death"][0]["original-expiration"] == "100"
    assert "expiration" not in decode_properties(dead.message.header)


def test_a_key_of_the_queue_replaces_the_message_s_and_its_copies():
    dead = die(message_of(headers={"CC": ["c1", "c2"], "mine": 1}), key=b"other")
    assert dead.message.routing_key == b"other" and dead.keys == (b"other",)
    assert headers(dead)["x-death"][0]["routing-keys"] == ["k", "c1", "c2"]
    assert "CC" not in headers(dead) and headers(dead)["mine"] == 1


def test_without_one_the_copies_go_along():
    dead = die(message_of(headers={"CC": ["c1"]}))
    assert dead.keys == (b"k", b"c1") and headers(dead)["CC"] == ["c1"]


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
    assert once.passed == ("a",)
    twice = die(once.message, "b", "maxlen")
    assert twice.passed == ("b", "a")
    again = die(twice.message, "a", "expired")
    assert again.passed == ("a", "b")
    rejected = die(once.message, "b", "rejected")
    assert rejected.passed == ()
    assert die(rejected.message, "c", "expired").passed == ("c",)


@pytest.mark.parametrize("junk", ["text", [1, {"queue": "a"}], [{"queue": "a", "reason": "rejected"}]])
def test_what_a_client_put_there_is_as_good_as_a_rejection(junk):
    assert die(message_of(headers={"x-death": junk}), "b", "expired").passed == ("b",)


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


class Model:
    """The same on decoded headers, as rabbit_dead_letter.erl goes about it."""

    def __init__(self, properties, exchange, key):
        self.properties, self.exchange, self.key = dict(properties), exchange, key
        self.headers = dict(properties.get("headers", {}))

    def die(self, queue, reason, target):
        copies = self.headers.get("CC")
        keys = [self.key, *(copies if isinstance(copies, list) else [])]
        where = {"reason": reason, "queue": queue, "exchange": self.exchange}
        death = where | {"count": 1, "time": 5, "routing-keys": keys}
        if "expiration" in self.properties:
            death["original-expiration"] = self.properties.pop("expiration")
        if "x-death" not in self.headers:
            self.headers |= {f"x-first-death-{name}": value for name, value in where.items()}
        self.headers |= {f"x-last-death-{name}": value for name, value in where.items()}
        known = self.headers.get("x-death")
        known = known if isinstance(known, list) else []
        here = [each for each in known if self.place(each) == (queue, reason)]
        if here:
            count = here[0].get("count", len(here))
            death = here[0] | {"count": count + 1 if isinstance(count, int) else 1}
        self.headers["x-death"] = [death, *(each for each in known if self.place(each) != (queue, reason))]
        self.exchange = target[0]
        if target[1] is not None:
            self.key = target[1]
            self.headers.pop("CC", None)

    @staticmethod
    def place(death):
        return (death.get("queue"), death.get("reason")) if isinstance(death, dict) else None


TEXT = st.text(max_size=9)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers(0, 2**40) | st.booleans() | TEXT | st.integers(0, 9).map(tables.Int64),
        "queue": st.sampled_from(["a", "b", tables.Binary(b"a"), 7]),
        "reason": REASONS | st.just(tables.Binary(b"rejected")),
        "routing-keys": st.lists(TEXT, max_size=2),
    },
)
FORGED = st.fixed_dictionaries(
    {},
    optional={
        "x-death": st.lists(ENTRIES | TEXT, max_size=4) | TEXT,
        "x-first-death-queue": TEXT,
        "x-last-death-reason": TEXT,
        "x-last-death-other": TEXT,
        "CC": st.lists(TEXT, max_size=2) | TEXT,
    },
)
PLACES = st.tuples(st.sampled_from("ab"), REASONS, st.sampled_from([None, "k2"]))


@given(PROPERTIES, HEADERS, FORGED, st.lists(PLACES, min_size=1, max_size=4))
def test_whatever_the_headers_the_marks_are_the_model_s_and_the_rest_stays(properties, headers, forged, deaths):
    properties = properties | {"headers": headers | forged} if headers or forged else properties
    model, message = Model(properties, "x", "k"), message_of(b"k", b"x", **properties)
    for queue, reason, key in deaths:
        target = ("dlx" + queue, key and key.encode())
        message = DEATHS.stamp(message, queue, reason, 5, target).message
        model.die(queue, reason, (target[0], key))
        found = decode_properties(message.header)
        assert found == model.properties | {"headers": model.headers}


def test_a_count_that_no_number_can_hold_begins_anew():
    entry = {"queue": "q", "reason": "rejected", "count": tables.Timestamp(2**64 - 1)}
    assert [each["count"] for each in headers(die(message_of(headers={"x-death": [entry]})))["x-death"]] == [1]


def test_of_several_entries_for_one_place_the_first_counts_and_the_others_go():
    entries = [
        {"queue": "q", "reason": "rejected", "count": count, "n": n}
        for n, count in enumerate([tables.Int64L(7), tables.Int64(1)])
    ]
    (death,) = headers(die(message_of(headers={"x-death": entries})))["x-death"]
    assert (death["count"], death["n"], type(death["count"])) == (8, 0, tables.Int64)
