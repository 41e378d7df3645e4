"""Policies: which one applies, what comes of it and of arguments, and RabbitMQ's words for what cannot be one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.policies import Policies, Policy, erlang_term, wrong_definition
from core.state.records import QueueFact
from core.state.settings import INERT, SETTINGS, UNSET, QueueSettings, settings_of


def policy(name, pattern, priority=0, apply_to="all", vhost="/", **definition):
    definition = {key.replace("_", "-"): value for key, value in definition.items()}
    return Policy(
        vhost=vhost,
        name=name,
        pattern=re.compile(pattern.encode()),
        apply_to=apply_to,
        priority=priority,
        definition=definition,
    )


def fact(name, queue_type="classic", vhost="/"):
    return QueueFact(id=1, vhost=vhost, name=name, queue_type=queue_type)


def applied(fact, *policies, operator=()):
    made = Policies()
    made.replace(policies, operator)
    found = made.of_queue(fact)
    return [one and one.name for one in found]


def test_the_matching_policy_of_the_highest_priority_applies_and_only_that_one():
    policies = [policy("low", "^a", 1, expires=5), policy("high", "^a", 2, message_ttl=7)]
    policies.append(policy("b", "b$", 3, expires=1))
    assert applied(fact("ab"), *policies) == ["b", None]
    assert applied(fact("ac"), *policies) == ["high", None]
    assert applied(fact("c"), *policies) == [None, None]
    assert applied(fact("ab", vhost="other"), *policies) == [None, None]
    made = Policies()
    made.replace(policies, [])
    assert made.settings(fact("ac"), {}) == QueueSettings(ttl_ms=7)


def test_what_it_applies_to_is_kinds_of_things_and_types_of_queues():
    for apply_to, classic, quorum, exchange in (
        ("all", True, True, True),
        ("queues", True, True, False),
        ("exchanges", False, False, True),
        ("classic_queues", True, False, False),
        ("quorum_queues", False, True, False),
        ("streams", False, False, False),
    ):
        made = Policies()
        made.replace([policy("p", "", apply_to=apply_to, message_ttl=1)], [])
        found = [made.of_queue(fact("q")), made.of_queue(fact("q", "quorum")), made.of_exchange("/", "x")]
        assert [one.policy is not None for one in found] == [classic, quorum, exchange], apply_to


def test_a_policy_that_a_type_of_queue_cannot_carry_out_does_not_match_it():
    policies = [policy("quorum only", "", 9, delivery_limit=3, expires=5), policy("any", "", 1, expires=7)]
    assert applied(fact("q"), *policies) == ["any", None]
    assert applied(fact("q", "quorum"), *policies) == ["quorum only", None]
    assert applied(fact("q", "quorum"), policy("lazy", "", queue_mode="lazy")) == [None, None]


def test_of_two_limits_the_lesser_counts_and_of_anything_else_the_argument():
    for argument, stated, expected in ((5, 7, 5), (7, 5, 5)):
        assert settings_of({"x-message-ttl": argument}, {"message-ttl": stated}).ttl_ms == expected
    definition = {"dead-letter-exchange": "its", "overflow": "reject-publish"}
    names = settings_of({"x-dead-letter-exchange": "mine"}, definition)
    assert (names.dead_letter_exchange, names.overflow) == ("mine", "reject-publish")


def test_an_operator_policy_adds_its_limits_and_lowers_the_policys():
    made = Policies()
    operator = policy("o", "", message_ttl=5, expires=9)
    made.replace([policy("p", "", message_ttl=7, overflow="reject-publish")], [operator])
    assert made.settings(fact("q"), {}) == QueueSettings(ttl_ms=5, expires_ms=9, overflow="reject-publish")
    assert made.settings(fact("q"), {"x-expires": 3}).expires_ms == 3


@given(st.dictionaries(st.sampled_from(sorted(SETTINGS)), st.integers(0, 1 << 70)))
def test_settings_hold_what_was_given_within_what_a_number_may_be(definition):
    settings = settings_of({}, definition)
    for key, setting in SETTINGS.items():
        if setting.field and setting.limit:
            assert getattr(settings, setting.field) == min(definition.get(key, -1), 1 << 53)
    assert settings_of({}, {}) is UNSET


# Measured on RabbitMQ 3.10.8, `PUT /api/policies`.
WRONG = [
    ({"message-ttl": -1}, "-1 is not a valid message TTL"),
    ({"message-ttl": "a"}, '<<"a">> is not a valid message TTL'),
    ({"message-ttl": 1.5}, "1.5 is not a valid message TTL"),
    ({"message-ttl": True}, "true is not a valid message TTL"),
    ({"message-ttl": None}, "null is not a valid message TTL"),
    ({"message-ttl": [1, "x"]}, '[1,<<"x">>] is not a valid message TTL'),
    ({"message-ttl": {"a": 1}}, '#{<<"a">> => 1} is not a valid message TTL'),
    ({"expires": 0}, "0 is not a valid queue expiry"),
    ({"max-length": -1}, "-1 is not a valid maximum length"),
    ({"max-length-bytes": -1}, "-1 is not a valid maximum length in bytes"),
    ({"overflow": "größe"}, "<<103,114,195,182,195,159,101>> is not a valid overflow value"),
    ({"overflow": 1}, "1 is not a valid overflow value"),
    ({"dead-letter-exchange": 1}, "1 is not a valid dead letter exchange name"),
    ({"dead-letter-routing-key": 1}, "1 is not a valid dead letter routing key"),
    ({"dead-letter-strategy": "q"}, '<<"q">> is not a valid dead letter strategy'),
    ({"delivery-limit": -1}, "-1 is not a valid delivery limit"),
    ({"alternate-exchange": 1}, "1 is not a valid alternate exchange name"),
    ({"max-age": "5x"}, '<<"5x">> is not a valid max age'),
    ({"queue-mode": "e"}, '<<"e">> is not a valid queue-mode value'),
    ({"queue-version": 3}, "3 is not a valid queue-version value"),
    ({"queue-leader-locator": "z"}, '<<"z">> is not a valid queue leader locator value'),
    ({"initial-cluster-size": -1}, "-1 is not a valid cluster size"),
    ({"stream-max-segment-size-bytes": -1}, "-1 is not a valid segment size"),
    ({"max-in-memory-length": -1}, "-1 is not a valid maximum memory in bytes"),
    ({"ha-mode": "zz"}, '<<"zz">> is not a valid ha-mode value'),
    # By the source of rabbitmq-message-deduplication, and a bound of our own.
    ({"x-message-deduplication": 1}, '"x-message-deduplication" must be a boolean, got 1'),
    ({"x-cache-size": 0}, '"x-cache-size" must be an integer of 1 to 10000000, got 0'),
    ({"x-cache-ttl": "a"}, '"x-cache-ttl" must be an integer greater than 0, got <<"a">>'),
    ({"x-cache-persistence": 1}, '"x-cache-persistence" must be either "disk" or "memory", got 1'),
    ({"foo": 1, "bar": "x"}, '[{<<"bar">>,<<"x">>},{<<"foo">>,1}] are not recognised policy settings'),
    ({"message-ttl": -1, "foo": 1}, "-1 is not a valid message TTL"),
    ({}, "no policy provided"),
]


@pytest.mark.parametrize(("definition", "text"), WRONG, ids=[text for _, text in WRONG])
def test_a_wrong_definition_is_refused_in_rabbitmqs_words(definition, text):
    assert wrong_definition(definition, operator=False) == text


def test_an_operator_policy_holds_limits_and_few_choices():
    text = '[{<<"dead-letter-exchange">>,<<"x">>}] are not recognised policy settings'
    assert wrong_definition({"dead-letter-exchange": "x"}, operator=True) == text
    limits = {"message-ttl": 0, "expires": 1, "delivery-limit": 3, "max-length": 2, "max-length-bytes": 2}
    choices = {"overflow": "drop-head", "queue-version": 2, "ha-mode": "all"}
    assert wrong_definition({**limits, **choices}, operator=True) is None
    assert wrong_definition({"overflow": "x"}, operator=True) == '<<"x">> is not a valid overflow value'


def test_what_has_no_effect_here_is_known_as_such():
    assert wrong_definition({"queue-mode": "lazy", "ha-mode": "all"}, operator=False) is None
    assert INERT.keys() <= SETTINGS.keys()


def test_terms_are_written_as_rabbitmq_writes_them():
    assert erlang_term('a"b') == '<<"a\\"b">>' and erlang_term([]) == "[]" and erlang_term({}) == "#{}"
