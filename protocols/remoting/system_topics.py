"""Topics that a broker has from its first start on, as RocketMQ's TopicConfigManager makes them."""

from __future__ import annotations

from typing import Any

from core.state.records import TopicConfig
from protocols.remoting import names
from protocols.remoting.rules import Rules

READ_WRITE, INHERITED = 6, 7
SCHEDULE_QUEUES = 18  # delay levels


def configs(rules: Rules) -> list[TopicConfig]:
    """All of them. TBW102 is what a topic that comes into being by a send is made like."""
    cluster, broker = rules.cluster, rules.broker
    made = [
        (b"SELF_TEST_TOPIC", 1, READ_WRITE),
        (b"BenchmarkTest", 1024, READ_WRITE),
        (cluster.encode(), 16, INHERITED),
        (broker.encode(), 1, INHERITED),
        (b"OFFSET_MOVED_EVENT", 1, READ_WRITE),
        (names.SCHEDULE_TOPIC, SCHEDULE_QUEUES, READ_WRITE),
        (names.TRACE_TOPIC, 1, READ_WRITE),
        (cluster.encode() + b"_REPLY_TOPIC", 1, READ_WRITE),
        (names.HALF_TOPIC, 1, READ_WRITE),
        (names.OP_TOPIC, 1, READ_WRITE),
        (names.TIMER_TOPIC, 1, READ_WRITE),
    ]
    if rules.auto_create_topic:
        made.append((names.DEFAULT_TOPIC, rules.default_topic_queues, INHERITED))
    return [TopicConfig(name=name, read_queues=count, write_queues=count, perm=perm) for name, count, perm in made]


def all_names(rules: Rules) -> set[bytes]:
    """All of them, and those that RocketMQ has elsewhere: nobody else makes, changes or deletes one."""
    return {config.name for config in configs(rules)} | names.SYSTEM_TOPICS


def ensure(topics: Any, rules: Rules) -> None:
    """Make those that are not there. What an operator changed stays; how many queues a topic that a send makes has, the
    configuration says."""
    for config in configs(rules):
        there = topics.find(config.name)
        if there is None or (config.name == names.DEFAULT_TOPIC and there.config.write_queues != config.write_queues):
            topics.put(config)
