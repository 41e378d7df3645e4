"""Prometheus families of the native port, by the names and labels of rocketmq-exporter: of topics, of groups in them,
of the broker. Each is there when it has no samples, too.

Rates and sums are those of the last minute (protocols/remoting/statistics.py). Source: rocketmq-exporter's
RMQMetricsCollector, MetricsCollectTask and BrokerTopicStatsMetricTaskRunnable. What it asks consumers about themselves
(rocketmq_client_*) only the exporter has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from protocols.remoting import names
from protocols.remoting.statistics import BY_GROUP, BY_TOPIC

BY_BROKER = ("cluster", "brokerIP", "broker")
IN_TOPIC = ("cluster", "broker", "topic")
IN_GROUP = ("cluster", "broker", "topic", "group")
DIFF = ("group", "topic", "countOfOnlineConsumers", "msgModel")
CLUSTERING = "1"  # RocketMQ's MessageModel by its ordinal
FAMILIES = {
    "rocketmq_broker_tps": ("Messages put, per second of the last minute", BY_BROKER),
    "rocketmq_broker_qps": ("Messages given to consumers, per second of the last minute", BY_BROKER),
    "rocketmq_producer_count": ("Connections of a producer group", ("cluster", "broker", "group")),
    "rocketmq_group_count": ("Connections of a consumer group", ("caddr", "localaddr", "group")),
    "rocketmq_producer_offset": ("Offsets given in a topic, of all queues", IN_TOPIC),
    "rocketmq_topic_retry_offset": ("Offsets given in a retry topic, of all queues", IN_TOPIC),
    "rocketmq_topic_dlq_offset": ("Dead letters of a group", ("cluster", "broker", "group")),
    "rocketmq_producer_tps": ("Messages put into a topic in the last minute", IN_TOPIC),
    "rocketmq_producer_message_size": ("Bytes put into a topic in the last minute", IN_TOPIC),
    "rocketmq_consumer_tps": ("Messages given to a group, per second of the last minute", IN_GROUP),
    "rocketmq_consumer_message_size": ("Bytes given to a group, per second of the last minute", IN_GROUP),
    "rocketmq_send_back_nums": ("Messages that a group gave back in the last minute", IN_GROUP),
    "rocketmq_consumer_offset": ("Messages that a group has consumed, of all queues", IN_GROUP),
    "rocketmq_group_get_latency_by_storetime": ("How long the next message has been waiting for a group, ms", IN_GROUP),
    "rocketmq_group_diff": ("Messages that a group has still to consume", DIFF),
    "rocketmq_group_retrydiff": ("Messages of a retry topic that a group has still to consume", DIFF),
    "rocketmq_group_dlqdiff": ("Dead letters that a group has still to consume", DIFF),
}
PUT, PUT_SIZE = BY_TOPIC["TOPIC_PUT_NUMS"], BY_TOPIC["TOPIC_PUT_SIZE"]
GET, GET_SIZE, BACK = BY_GROUP["GROUP_GET_NUMS"], BY_GROUP["GROUP_GET_SIZE"], BY_GROUP["SNDBCK_PUT_NUMS"]


class NativeCollector:
    """collect() for prometheus_client. remoting: what native connections share."""

    def __init__(self, remoting: Any):
        self._remoting = remoting
        self._families: dict[str, GaugeMetricFamily] = {}

    def collect(self) -> Iterator[Metric]:
        """The families of this scrape."""
        self._families = {
            name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in FAMILIES.items()
        }
        if self._remoting.statistics is not None:  # else the port is off
            rules = self._remoting.topics.rules
            self._broker(rules)
            for topic in self._remoting.broker.topics.all():
                self._topic(rules, topic)
            self._members(rules)
            self._lags(rules)
        yield from self._families.values()

    def _add(self, name: str, labels: tuple[str, ...], value: float) -> None:
        self._families[name].add_metric(labels, value)

    def _broker(self, rules: Any) -> None:
        where = rules.cluster, rules.place, rules.broker
        statistics = self._remoting.statistics
        self._add("rocketmq_broker_tps", where, statistics.whole("BROKER_PUT_NUMS").tps)
        self._add("rocketmq_broker_qps", where, statistics.whole("BROKER_GET_NUMS").tps)

    def _topic(self, rules: Any, topic: Any) -> None:
        name, where = topic.config.name, (rules.cluster, rules.broker)
        there = *where, name.decode()
        ends = sum(queue.max_offset for queue in topic.queues.made.values())
        if name.startswith(names.RETRY_PREFIX):
            self._add("rocketmq_topic_retry_offset", there, ends)
            return
        if name.startswith(names.DLQ_PREFIX):
            self._add("rocketmq_topic_dlq_offset", (*where, there[-1].removeprefix("%DLQ%")), ends)
            return
        rate = self._remoting.statistics.rate
        self._add("rocketmq_producer_offset", there, ends)
        if topic.traffic.messages:
            self._add("rocketmq_producer_tps", there, rate(topic.traffic, PUT).sum)
            self._add("rocketmq_producer_message_size", there, rate(topic.traffic, PUT_SIZE).sum)
        for group, traffic in topic.readers.items():
            reader = *there, group.decode()
            self._add("rocketmq_consumer_tps", reader, rate(traffic, GET).tps)
            self._add("rocketmq_consumer_message_size", reader, rate(traffic, GET_SIZE).tps)
            if traffic.sent_back:
                self._add("rocketmq_send_back_nums", reader, rate(traffic, BACK).sum)

    def _members(self, rules: Any) -> None:
        clients = self._remoting.clients
        for group, members in clients.producing.items():
            self._add("rocketmq_producer_count", (rules.cluster, rules.broker, group.decode()), len(members))
        for group, found in clients.consuming.items():
            places = sorted("{}:{}".format(*connection.peer_address[:2]) for connection in found.members)
            hosts = sorted({place.rpartition(":")[0] for place in places})
            self._add("rocketmq_group_count", (",".join(places), ",".join(hosts), group.decode()), len(places))

    def _lags(self, rules: Any) -> None:
        now = self._remoting.broker.clock.tick()
        for (group, name), lag in self._remoting.lags.ask().items():
            members = self._remoting.clients.consumers(group.encode())
            if members is not None and members.broadcasting:
                continue  # each member keeps its own offsets
            there = rules.cluster, rules.broker, name.decode(), group
            self._add("rocketmq_consumer_offset", there, lag.offset)
            late = max(0, now - lag.oldest_ms) if lag.oldest_ms else 0
            self._add("rocketmq_group_get_latency_by_storetime", there, late)
            count = str(len(members.members) if members else 0)
            self._add(_diff(name), (group, name.decode(), count, CLUSTERING), lag.behind)


def _diff(name: bytes) -> str:
    if name.startswith(names.RETRY_PREFIX):
        return "rocketmq_group_retrydiff"
    return "rocketmq_group_dlqdiff" if name.startswith(names.DLQ_PREFIX) else "rocketmq_group_diff"
