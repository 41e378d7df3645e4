"""Topics that come into being while they are used: by a send, for retries, for dead letters; and what is delayed.

Source: RocketMQ's AbstractSendMessageProcessor.msgCheck, TopicConfigManager, HookUtils.handleScheduleMessage.
"""

from __future__ import annotations

from typing import Any

from core.native import LEVELS_SECONDS, SCHEDULE_TOPIC, Native, tags_code
from core.queue.topic_queue import Topic
from core.state.records import GroupFact, TopicConfig
from protocols.remoting import names, properties
from protocols.remoting.codes import Response
from protocols.remoting.errors import FAQ, Refused
from protocols.remoting.rules import INHERIT, READ, WRITE, Rules

SCHEDULE_QUEUES = len(LEVELS_SECONDS)
TIMER_NAMES = (b"TIMER_DELIVER_MS", b"TIMER_DELAY_SEC", b"TIMER_DELAY_MS")
INT_MAX = (1 << 31) - 1
UNIT, UNIT_SUB = 1, 2  # bits of a topic's sys flag
MAX_TIMES_SINCE = 121  # V3_4_9: from here on a request's maxReconsumeTimes counts


class Making:
    """`locked(group)` tells whether the group's members hold locks on queues: its messages are consumed in order."""

    def __init__(self, broker: Any, rules: Rules):
        self._topics = broker.topics
        self._groups = broker.groups
        self._clock = broker.clock
        self.rules = rules
        self.locked = lambda group: False

    def topic_for(self, header: Any, connection: Any) -> Topic:
        """The topic that a send names, made if need be. Raises Refused."""
        name: bytes = header.topic
        topic = self._topics.find(name)
        if not self.rules.permission & WRITE and topic is not None and topic.config.order:
            remark = f"the broker[{self.rules.address}] sending message is forbidden"
            raise Refused(Response.NO_PERMISSION, remark)
        refusal = names.topic_refusal(name)
        if refusal:
            raise Refused(Response.INVALID_PARAMETER, refusal)
        if name in names.UNSENDABLE:
            raise Refused(Response.NO_PERMISSION, f"Sending message to topic[{name.decode()}] is forbidden.")
        if topic is None:
            topic = self._made_by_send(header)
        if header.queue_id >= max(topic.config.write_queues, topic.config.read_queues):
            host, port, _ = connection.peer_address
            remark = f"request queueId[{header.queue_id}] is illegal, {shown(topic.config)} Producer: {host}:{port}"
            raise Refused(Response.INVALID_PARAMETER, remark)
        return topic

    def _made_by_send(self, header: Any) -> Topic:
        name: bytes = header.topic
        is_retry = name.startswith(names.RETRY_PREFIX)
        sys_flag = (UNIT_SUB if is_retry else UNIT) if header.unit else 0
        like = self._topics.find(header.default_topic)
        inherits = like is not None and like.config.perm & INHERIT
        if header.default_topic == names.DEFAULT_TOPIC and not self.rules.auto_create_topic:
            inherits = False
        if inherits:
            queues = max(0, min(header.default_queues, like.config.write_queues))
            more = {"perm": like.config.perm & ~INHERIT, "filter_type": like.config.filter_type}
            return make_topic(self._topics, name, queues, sys_flag=sys_flag, **more)
        if is_retry:
            return make_topic(self._topics, name, 1, sys_flag=sys_flag)
        remark = f"topic[{name.decode()}] not exist, apply first please!{FAQ}"
        raise Refused(Response.TOPIC_NOT_EXIST, remark)

    def find(self, name: bytes) -> Topic | None:
        """The topic of that name, if it is there."""
        found: Topic | None = self._topics.find(name)
        return found

    def group(self, name: bytes) -> GroupFact | None:
        """See used_group."""
        return used_group(self._groups, name)

    def ensure(self, name: bytes, queues: int, perm: int = READ | WRITE, sys_flag: int = 0) -> Topic:
        """The topic of that name, made if it is not there: retry and dead letter topics."""
        return self._topics.find(name) or make_topic(self._topics, name, queues, perm=perm, sys_flag=sys_flag)

    def redirected(self, topic: Topic, message: Native, header: Any, version: int) -> Topic:
        """What is sent to a group's retry topic goes to its dead letters when it came back too often, or when the
        group consumes in order: then nothing may be tried again behind what follows it. Raises Refused."""
        group = header.topic[len(names.RETRY_PREFIX) :].partition(b"+")[0]
        config = self.group(group)
        if config is None:
            raise Refused(
                Response.SUBSCRIPTION_GROUP_NOT_EXIST, f"subscription group not exist, {group.decode()} {FAQ}"
            )
        most = config.retry_max_times
        if version >= MAX_TIMES_SINCE and header.max_reconsume_times >= 0:
            most = header.max_reconsume_times
        if header.reconsume_times <= most and not self.locked(group):
            return topic
        message.topic, message.queue_id = names.dead_letter_topic(group), 0
        message.properties = properties.put(message.properties, b"DELAY", b"-1")
        return self.ensure(message.topic, 1)

    def delayed(self, message: Native, level: int) -> Topic:
        """A message with a delay level waits in the schedule topic, which says where it goes then: it is changed for
        that, and the topic returned. `level` is what its DELAY says, above 0."""
        text = properties.without(message.properties, *TIMER_NAMES)
        if level > SCHEDULE_QUEUES:
            level = SCHEDULE_QUEUES
            text = properties.put(text, b"DELAY", b"%d" % level)
        text = properties.put(text, b"REAL_TOPIC", message.topic)
        message.properties = properties.put(text, b"REAL_QID", b"%d" % message.queue_id)
        message.topic, message.queue_id = SCHEDULE_TOPIC, level - 1
        message.tags_code = tags_code(SCHEDULE_TOPIC, message.properties, self._clock.ms)
        return self.ensure(SCHEDULE_TOPIC, SCHEDULE_QUEUES)


def used_group(groups: Any, name: bytes) -> GroupFact | None:
    """The group of that name, made if that may be; None if it is not there, or cannot have that name."""
    if names.group_refusal(name):
        return None
    found: GroupFact | None = groups.use(name, system=name.startswith(names.SYSTEM_GROUP_PREFIX))
    return found


def make_topic(topics: Any, name: bytes, queues: int, *, perm: int = READ | WRITE, **more: Any) -> Topic:
    """A topic with as many queues to read as to write; more: see TopicConfig."""
    topic: Topic = topics.put(TopicConfig(name=name, read_queues=queues, write_queues=queues, perm=perm, **more))
    return topic


def delay_level(text: bytes) -> int:
    """What DELAY says, a Java int. Raises Refused."""
    try:
        level = int(text)
    except ValueError:
        level = INT_MAX + 1
    if not -INT_MAX - 1 <= level <= INT_MAX:
        remark = f'java.lang.NumberFormatException: For input string: "{text.decode("utf-8", "replace")}"'
        raise Refused(Response.SYSTEM_ERROR, remark)
    return level


def shown(config: TopicConfig) -> str:
    """A topic's configuration as RocketMQ's remarks have it (TopicConfig.toString)."""
    perm = "".join(letter if config.perm & bit else "-" for letter, bit in (("R", READ), ("W", WRITE), ("X", INHERIT)))
    attributes = ", ".join(f"{key}={value}" for key, value in config.attributes.items())
    return (
        f"TopicConfig [topicName={config.name.decode()}, readQueueNums={config.read_queues}, "
        f"writeQueueNums={config.write_queues}, perm={perm}, topicFilterType={config.filter_type}, "
        f"topicSysFlag={config.sys_flag}, order={str(config.order).lower()}, attributes={{{attributes}}}]"
    )
