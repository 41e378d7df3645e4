"""The name server's configuration: the keys of RocketMQ's NamesrvConfig and NettyServerConfig, by their own names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from namesrv import properties

INT_MAX = 2**31 - 1
DEFAULTS: dict[str, bool | int | str] = {
    "bindAddress": "0.0.0.0",
    "clientRequestThreadPoolNums": 8,
    "clientRequestThreadPoolQueueCapacity": 50000,
    "clusterTest": False,
    "configBlackList": "configBlackList;configStorePath;kvConfigPath",
    "configStorePath": "",
    "defaultThreadPoolNums": 16,
    "defaultThreadPoolQueueCapacity": 10000,
    "deleteTopicWithBrokerRegistration": False,
    "enableAllTopicList": True,
    "enableControllerInNamesrv": False,
    "enableShutdownGracefully": False,
    "enableTopicList": True,
    "kvConfigPath": "",
    "listenPort": 9876,
    "needWaitForService": False,
    "notifyMinBrokerIdChanged": False,
    "orderMessageEnable": False,
    "productEnvName": "center",
    "returnOrderTopicConfigToBroker": True,
    "rocketmqHome": "",
    "scanNotActiveBrokerInterval": 5000,  # ms
    "serverAsyncSemaphoreValue": 64,
    "serverCallbackExecutorThreads": 0,
    "serverChannelMaxIdleTimeSeconds": 120,
    "serverNettyWorkerGroupEnable": True,
    "serverOnewaySemaphoreValue": 256,
    "serverPooledByteBufAllocatorEnable": True,
    "serverSelectorThreads": 3,
    "serverSocketBacklog": 1024,
    "serverSocketRcvBufSize": 0,
    "serverSocketSndBufSize": 0,
    "serverWorkerThreads": 8,
    "shutdownWaitTimeSeconds": 30,
    "supportActingMaster": False,
    "unRegisterBrokerQueueCapacity": 3000,
    "useEpollNativeSelector": False,
    "waitSecondsForService": 45,
    "writeBufferHighWaterMark": 0,
    "writeBufferLowWaterMark": 0,
}
SERVED = frozenset(
    (
        *("bindAddress", "configBlackList", "configStorePath", "deleteTopicWithBrokerRegistration"),
        *("enableAllTopicList", "enableTopicList", "kvConfigPath", "listenPort", "needWaitForService"),
        *("orderMessageEnable", "returnOrderTopicConfigToBroker", "rocketmqHome", "scanNotActiveBrokerInterval"),
        *("serverChannelMaxIdleTimeSeconds", "serverSocketBacklog", "supportActingMaster", "waitSecondsForService"),
    )
)
NEVER_UPDATED = ("configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome")
LEAST = {"scanNotActiveBrokerInterval": 1, "serverChannelMaxIdleTimeSeconds": 1, "serverSocketBacklog": 1}


class ConfigError(Exception):
    """A value that cannot be, or a key that may not be changed; the text names it."""


class Config:
    """All values, by key. What we do not know is kept, as RocketMQ does, and shown."""

    def __init__(self, paths: dict[str, str], text: str = ""):
        """`paths` are this process's places of files; `text` is a configuration file's. Raises ConfigError."""
        self.values: dict[str, Any] = {**DEFAULTS, **paths}
        self.without_effect: list[str] = []  # keys that were given, and that do nothing here
        given = _parsed(text)
        for key, value in given.items():
            self.values[key] = _typed(key, value)
        self.without_effect = sorted(key for key in given if key not in SERVED)

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def text(self) -> str:
        """Everything, as `key=value` lines."""
        return properties.lines(self.values)

    def update(self, text: str, save: Callable[[bytes], None]) -> list[str]:
        """Change values while running, and the file with them; return the keys that changed. Raises ConfigError.

        Keys that are not there are left alone. What is read at start only, as listenPort, counts from the next start.
        """
        given = _parsed(text)
        listed = (*NEVER_UPDATED, *self["configBlackList"].split(";"))
        if any(key in given for key in listed):
            raise BlackListed("Can not update config in black list.")
        changed = {key: _typed(key, value) for key, value in given.items() if key in self.values}
        changed = {key: value for key, value in changed.items() if self.values[key] != value}
        values = {**self.values, **changed}
        try:
            save(properties.file_text(values).encode())
        except OSError as error:
            raise ConfigError(f"the configuration cannot be written: {error.strerror}") from None
        self.values = values
        return sorted(changed)


class BlackListed(ConfigError):
    """A key that only a file may change."""


def _parsed(text: str) -> dict[str, str]:
    try:
        return properties.parse(text)
    except properties.PropertiesError:
        raise ConfigError("string2Properties error") from None


def _typed(key: str, text: str) -> bool | int | str:
    """A value of its key's type, as Java reads it. Raises ConfigError."""
    default = DEFAULTS.get(key, "")
    if "\n" in text or "\r" in text:
        raise ConfigError(f"{key}: a value has no line breaks")
    if isinstance(default, bool):
        if text.strip().lower() not in ("true", "false"):
            raise ConfigError(f"{key}: {text!r} is neither true nor false")
        return text.strip().lower() == "true"
    if isinstance(default, str):
        return text.strip()
    least = LEAST.get(key, 0)
    most = 65535 if key == "listenPort" else INT_MAX
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not least <= number <= most:
        raise ConfigError(f"{key}: {text!r} is not a number within {least}..{most}")
    return number
