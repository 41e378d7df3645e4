"""What serves sends, pulls and topics, put together once the broker has started."""

from __future__ import annotations

from typing import Any

from protocols.remoting import system_topics
from protocols.remoting.assignment import Assignments
from protocols.remoting.configuring import Configuration, Configuring
from protocols.remoting.consumption import Consumption
from protocols.remoting.delivering import Delivering
from protocols.remoting.holding import Holding
from protocols.remoting.lags import Lags
from protocols.remoting.making import Making
from protocols.remoting.message_ids import UniqueIds
from protocols.remoting.offsets import is_young
from protocols.remoting.pop import PopVerbs
from protocols.remoting.pop_acks import PopAcks
from protocols.remoting.pop_checks import PopChecks
from protocols.remoting.pop_questions import PopQuestions
from protocols.remoting.pop_retries import PopRetries
from protocols.remoting.pull import Pulls
from protocols.remoting.queue_verbs import QueueVerbs
from protocols.remoting.replying import Replying
from protocols.remoting.resetting import Resetting
from protocols.remoting.rules import Rules
from protocols.remoting.send import Sends
from protocols.remoting.sending_back import SendingBack
from protocols.remoting.statistics import Statistics
from protocols.remoting.status import Status
from protocols.remoting.timers import Timers
from protocols.remoting.topic_verbs import TopicVerbs
from protocols.remoting.transactions import Transactions


def serve(remoting: Any, rules: Rules, origin: bytes, configuration: Configuration) -> None:
    """Give the verbs what they work with, make the broker's own topics, and go on with what is delayed. `origin`: see
    UniqueIds."""
    broker = remoting.broker
    making = Making(broker, rules)
    making.locked = remoting.locks.held
    holding = Holding(broker, making)
    remoting.sends = Sends(broker, rules, making, holding, UniqueIds(origin, lambda: broker.clock.ms))
    remoting.pulls = Pulls(broker, making, remoting.clients)
    _serve_pops(remoting, making)
    remoting.topics = TopicVerbs(broker, rules)
    remoting.topics.forget = broker.groups.topic_deleted
    remoting.topics.retries = remoting.pops.retries_of
    remoting.queues = QueueVerbs(broker.topics)
    remoting.sending_back = SendingBack(broker, making)
    remoting.replying = Replying(broker, making, remoting.clients)
    remoting.delivering = Delivering(broker, making)
    remoting.transactions = Transactions(broker, making, remoting.clients)
    remoting.timers = Timers(broker, making)
    system_topics.ensure(broker.topics, rules)
    for each in (remoting.delivering, remoting.transactions, remoting.timers):
        each.start()
    remoting.statistics = Statistics(broker, remoting.pulls, rules.cluster)
    remoting.statistics.start()
    remoting.consumption = Consumption(broker, rules, remoting.clients, remoting.statistics)
    remoting.resetting = Resetting(broker, rules, remoting.pulls, remoting.clients)
    remoting.lags = Lags(broker, remoting.clients)
    remoting.configuring = Configuring(broker.clock, configuration)
    remoting.status = Status(broker, remoting.pulls, f"{broker.config.data_dir}/commitlog")
    remoting.status.start()


def _serve_pops(remoting: Any, making: Making) -> None:
    broker = remoting.broker
    checks = PopChecks(broker, making)
    remoting.pops = pops = PopVerbs(broker, checks, remoting.pulls, is_young)
    remoting.pop_acks = PopAcks(broker, checks)
    remoting.pop_questions = questions = PopQuestions(broker, checks, pops)
    remoting.pop_retries = retries = PopRetries(broker, making)
    remoting.assignments = Assignments(broker, making.rules.broker, remoting.clients)
    broker.pops.expired = retries.take

    def freed(cursor: Any) -> None:
        pops.freed(cursor)
        questions.freed(cursor)

    def all_freed() -> None:
        pops.waiting.wake_all_soon()
        questions.waiting.wake_all_soon()

    broker.pops.freed, broker.pops.all_freed = freed, all_freed
