"""broker.conf: RocketMQ's properties for a broker, in our own keys.

Each key is honoured by its own name (rocketmq.<key>), mapped to one of ours, or taken and named once as without effect.
The older spelling mapedFile… counts as mappedFile…. Source: RocketMQ's BrokerConfig, MessageStoreConfig,
NettyServerConfig.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from core.config import Config, Listeners
from gateway.settings import KEYS, Entry, SettingsError, value_of

OWN = "rocketmq."
PORT_MAX = 65535
VIP_BELOW = 2  # the port for clients with vipChannelEnabled, below listenPort
DEFAULTS = {"bindAddress": "0.0.0.0", "listenPort": "10911", "storePathRootDir": "~/store"}
FLUSH = {"SYNC_FLUSH": "sync", "ASYNC_FLUSH": "async"}
MAPPED = {
    "mappedFileSizeCommitLog": "log.segment_bytes",
    "fileReservedTime": "log.keep_hours",
    "deleteWhen": "log.delete_when",
    "diskMaxUsedSpaceRatio": "log.disk_clean_percent",
    "diskSpaceCleanForciblyRatio": "log.disk_force_percent",
    "messageIndexEnable": "log.key_blocks",
}
IMPORTANT = ("namesrvAddr", "brokerIP1", "brokerPermission", "defaultTopicQueueNums", "autoCreateTopicEnable")


class Given:
    """Values by RocketMQ's keys and ours, and where each was said."""

    def __init__(self, expand: Callable[[str], str]):
        """expand: os.path.expanduser."""
        self._expand = expand
        self._values: dict[str, tuple[str, str]] = {}

    def take(self, values: Mapping[str, str], origin: str) -> None:
        """Values that count instead of those taken before."""
        for key, value in values.items():
            self._values[_today(key)] = (value.strip(), f"{origin}: {key}")

    def entries(self) -> tuple[list[Entry], list[str]]:
        """What it says in our keys, and the keys that have no effect. Raises SettingsError."""
        found = [Entry(f"listeners.{name}", "off", "mqbroker", True) for name in Listeners.__struct_fields__]
        found += self._places()
        idle = []
        for key, (value, origin) in self._values.items():
            ours = key_of(key)
            if ours is not None:
                found.append(Entry(ours, value, origin, True))
            elif key == "flushDiskType":
                found.append(Entry("log.flush", _flush(value, origin), origin, True))
            elif key not in DEFAULTS:
                idle.append(key)
        return found, sorted(idle)

    def _places(self) -> Iterator[Entry]:
        """Where it listens, and where its data lie."""
        host, _ = self._default("bindAddress")
        host = f"[{host}]" if ":" in host else host
        text, origin = self._default("listenPort")
        if not (text.isascii() and text.isdigit() and int(text) <= PORT_MAX):
            raise SettingsError(f"{origin}: {text!r} is not allowed; allowed: 0..{PORT_MAX}")
        yield Entry("listeners.remoting", f"{host}:{int(text)}", origin, True)
        if int(text) > VIP_BELOW:
            yield Entry("listeners.remoting_vip", f"{host}:{int(text) - VIP_BELOW}", origin, True)
        folder, origin = self._default("storePathRootDir")
        yield Entry("data_dir", self._expand(folder), origin, True)

    def _default(self, key: str) -> tuple[str, str]:
        return self._values.get(key, (DEFAULTS[key], f"mqbroker: {key}"))


def key_of(key: str) -> str | None:
    """Our key for one of RocketMQ's or ours whose value means the same; None if there is none."""
    key = _today(key)
    ours = key if key in KEYS else MAPPED.get(key, OWN + key)
    return ours if ours in KEYS else None


def _today(key: str) -> str:
    return "mapped" + key[len("maped") :] if key.startswith("maped") else key


def _flush(value: str, origin: str) -> str:
    if value not in FLUSH:
        raise SettingsError(f"{origin}: {value!r} is not allowed; allowed: {' or '.join(FLUSH)}")
    return FLUSH[value]


def shown(config: Config, broker_name: str) -> dict[str, object]:
    """The configuration by RocketMQ's keys, as mqbroker -p and mqadmin getBrokerConfig print it. broker_name: what the
    broker is called, set or not."""
    host, _, port = config.listeners.remoting.rpartition(":")
    return {
        **{key[len(OWN) :]: value_of(config, key) for key in KEYS if key.startswith(OWN)},
        **{key: value_of(config, ours) for key, ours in MAPPED.items()},
        "flushDiskType": next(name for name, ours in FLUSH.items() if ours == config.log.flush),
        "storePathRootDir": config.data_dir,
        "bindAddress": host.strip("[]"),
        "listenPort": port,
        "brokerName": broker_name,
    }
