"""What serves sends, pulls and topics, put together once the broker has started."""

from __future__ import annotations

from typing import Any

from protocols.remoting import system_topics
from protocols.remoting.configuring import Configuration, Configuring
from protocols.remoting.consumption import Consumption
from protocols.remoting.delivering import Delivering
from protocols.remoting.making import Making
from protocols.remoting.message_ids import UniqueIds
from protocols.remoting.pull import Pulls
from protocols.remoting.queue_verbs import QueueVerbs
from protocols.remoting.resetting import Resetting
from protocols.remoting.rules import Rules
from protocols.remoting.send import Sends
from protocols.remoting.sending_back import SendingBack
from protocols.remoting.statistics import Statistics
from protocols.remoting.status import Status
from protocols.remoting.topic_verbs import TopicVerbs


def serve(remoting: Any, rules: Rules, origin: bytes, configuration: Configuration) -> None:
    """Give the verbs what they work with, make the broker's own topics, and go on with what is delayed. `origin`: see
    UniqueIds."""
    broker = remoting.broker
    making = Making(broker, rules)
    making.locked = remoting.locks.held
    remoting.sends = Sends(broker, rules, making, UniqueIds(origin, lambda: broker.clock.ms))
    remoting.pulls = Pulls(broker, making, remoting.clients)
    remoting.topics = TopicVerbs(broker, rules)
    remoting.topics.forget = broker.groups.topic_deleted
    remoting.queues = QueueVerbs(broker.topics)
    remoting.sending_back = SendingBack(broker, making)
    remoting.delivering = Delivering(broker, making)
    system_topics.ensure(broker.topics, rules)
    remoting.delivering.start()
    remoting.statistics = Statistics(broker, remoting.pulls, rules.cluster)
    remoting.statistics.start()
    remoting.consumption = Consumption(broker, rules, remoting.clients, remoting.statistics)
    remoting.resetting = Resetting(broker, rules, remoting.pulls, remoting.clients)
    remoting.configuring = Configuring(broker.clock, configuration)
    remoting.status = Status(broker, remoting.pulls, f"{broker.config.data_dir}/commitlog")
    remoting.status.start()
