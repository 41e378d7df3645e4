"""Names of topics and groups are refused in RocketMQ's words; subscriptions ask for what RocketMQ reads in them."""

import json
import pathlib

import pytest

from protocols.remoting import expressions, names

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "native.json").read_text())


@pytest.mark.parametrize("row", GOLDEN["names"], ids=lambda row: f"{row['name'][:12]!r}-{len(row['name'])}")
def test_names_are_judged_as_by_rocketmq(row):
    name = row["name"].encode()
    assert (names.topic_refusal(name), names.group_refusal(name)) == (row["topic"], row["group"])


@pytest.mark.parametrize("row", GOLDEN["subscriptions"], ids=lambda row: f"{row['expression']!r} {row['type']}")
def test_expressions_mean_what_they_mean_to_rocketmq(row):
    if "error" in row:
        with pytest.raises(expressions.ExpressionError) as refused:
            expressions.parse(row["expression"], row["type"])
        assert row["error"].endswith(str(refused.value))
        return
    found = expressions.parse(row["expression"], row["type"])
    wants_all = row["kind"] != "TAG" or row["sub"] == "*"
    assert (found.kind, found.text) == (row["kind"], row["sub"])
    assert found.codes == (None if wants_all else frozenset(row["codes"]))


def test_topics_of_the_broker_itself_are_known_by_name():
    assert names.is_system_topic(b"TBW102") and names.is_system_topic(b"rmq_sys_wheel_timer")
    assert not names.is_system_topic(b"orders") and not names.is_system_topic(b"%RETRY%g")
    assert names.retry_topic(b"g") == b"%RETRY%g" and names.dead_letter_topic(b"g") == b"%DLQ%g"
