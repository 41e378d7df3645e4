"""The configuration of the native port while it runs: shown by RocketMQ's keys, and changed as far as that can be.

What is changed here counts until the process ends. Source: RocketMQ's AdminBrokerProcessor.updateBrokerConfig.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from core.config import Config
from core.errors import NotAllowed, PreconditionFailed
from core.log.keeping import keep_of
from gateway import settings
from gateway.broker_conf import key_of, shown
from gateway.settings import KEYS, Entry, SettingsError, value_of
from namesrv import properties
from protocols.remoting.rules import Rules

RULES = {  # key -> the rule that it is
    "rocketmq.autoCreateTopicEnable": "auto_create_topic",
    "rocketmq.defaultTopicQueueNums": "default_topic_queues",
    "rocketmq.maxMessageSize": "body_bytes_max",
    "rocketmq.brokerPermission": "permission",
    "rocketmq.enablePropertyFilter": "property_filter",
    "rocketmq.traceOn": "trace_on",
    "rocketmq.useServerSideResetOffset": "server_side_reset",
    "rocketmq.transactionTimeOut": "transaction_timeout_ms",
    "rocketmq.transactionCheckInterval": "transaction_check_interval_ms",
    "rocketmq.transactionCheckMax": "transaction_check_max",
    "rocketmq.rejectTransactionMessage": "reject_transactions",
    "rocketmq.timerWheelEnable": "timers",
    "rocketmq.timerMaxDelaySec": "timer_max_delay_seconds",
    "rocketmq.recallMessageEnable": "recalls",
    "rocketmq.storeReplyMessageEnable": "store_replies",
}
AUTO_CREATE_GROUP = "rocketmq.autoCreateSubscriptionGroup"
KEEPING = ("log.keep_hours", "log.delete_when", "log.disk_clean_percent", "log.disk_force_percent")
CHANGEABLE = {*RULES, AUTO_CREATE_GROUP, *KEEPING}

FIXED = (
    "cannot change while the broker runs: write it into broker.conf (mqbroker) or gateway.yaml (mqgateway), "
    "and start it anew"
)

log = logging.getLogger("gateway")


class LiveConfig:
    """config = as it is now. name = what the broker is called; changed(), once there are rules: they changed."""

    def __init__(self, broker: Any, config: Config, name: str):
        self.config = config
        self._broker = broker
        self._name = name
        self._rules: Rules | None = None
        self._changed: Callable[[], None] = lambda: None

    def follow(self, rules: Rules, changed: Callable[[], None]) -> None:
        """These rules change with it."""
        self._rules, self._changed = rules, changed

    def shown(self) -> dict[str, object]:
        """All of it."""
        return shown(self.config, self._name)

    def change(self, text: str) -> None:
        """Carry out `key=value` lines, all or none. Raises NotAllowed for what cannot change while it runs,
        PreconditionFailed for what cannot be."""
        try:
            values = properties.parse(text)
        except properties.PropertiesError as error:
            raise PreconditionFailed(str(error)) from None
        entries = [Entry(key, value_of(self.config, key), "now", False) for key in KEYS]
        entries += [Entry(self._found(key), value.strip(), key, True) for key, value in values.items()]
        try:
            made = settings.load(first=entries).config
        except SettingsError as error:
            raise PreconditionFailed(str(error)) from None
        changed = {key for key in KEYS if value_of(made, key) != value_of(self.config, key)}
        for key in sorted(changed - CHANGEABLE):
            raise NotAllowed(f"{key} {FIXED}")
        self.config = made
        self._apply()
        for key in sorted(changed):
            extra = {"key": key, "value": value_of(made, key)}
            log.info("configuration changed by a request, until the broker ends", extra=extra)

    def _apply(self) -> None:
        assert self._rules is not None
        for key, rule in RULES.items():
            setattr(self._rules, rule, value_of(self.config, key))
        self._broker.groups.auto_create = value_of(self.config, AUTO_CREATE_GROUP)
        self._broker.retention.keeper.keep = keep_of(self.config)
        self._changed()

    def _found(self, key: str) -> str:
        """Our key for one of RocketMQ's. Raises NotAllowed, PreconditionFailed."""
        ours = key_of(key)
        if ours is not None:
            return ours
        if key in self.shown():
            raise NotAllowed(f"{key} {FIXED}")
        raise PreconditionFailed(f"{key}: no such key, or it has no effect here; getBrokerConfig shows those that do")
