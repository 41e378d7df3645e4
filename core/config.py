"""Every option and limit of the broker: its type, its default, and what cannot work.

The groups are the first part of a dotted key (`log.segment_bytes`), the fields the second; `data_dir` stands alone.
Units end the names. `gateway/settings` fills these from files, environment and command line; `conf/gateway.yaml`
says why each key is there. 1 KiB = 1024 bytes throughout.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import msgspec

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAGE_BYTES = 4096
SEGMENT_BYTES_MAX = (1 << 31) - PAGE_BYTES  # RocketMQ keeps a position in a segment as a signed 32-bit number
SIZE_MAX = 1 << 50
COUNT_MAX = 1 << 30
HOURS_MAX = 24 * 366 * 100
DELETE_WHEN = re.compile(r"(HOUR(;HOUR)*)?".replace("HOUR", "([01]?[0-9]|2[0-3])"), re.ASCII)
UNIX_PATH_BYTES_MAX = 107  # sockaddr_un, less the final zero

# Defaults that shrink with a smaller segment: key -> the share of the segment that it may be at most.
SHARES_OF_SEGMENT = {"limits.message_bytes": 2, "log.batch_bytes": 1, "log.ahead_bytes": 1}


class ConfigError(ValueError):
    """A value that cannot work. The text names the dotted key, the value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str):
        super().__init__(f"{key}: {value!r} is not allowed; allowed: {allowed}")
        self.key, self.value, self.allowed = key, value, allowed


class Endpoint(NamedTuple):
    """Where a listener binds: host and port, or the path of a Unix socket (then host is empty)."""

    host: str
    port: int
    path: str


def endpoint(text: str) -> Endpoint | None:
    """Read `HOST:PORT`, `[v6]:PORT` or `unix:PATH`; None for `off`. Port 0 is any free port.
    Raises ValueError, without a text for users, if it is none of these."""
    if text == "off":
        return None
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        if not path or "\0" in path or len(path.encode()) > UNIX_PATH_BYTES_MAX:
            raise ValueError("bad socket path")
        return Endpoint("", 0, path)
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("a v6 address stands in brackets")
    if not colon or not host or not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError("not an address")
    return Endpoint(host, int(port), "")


def _within(group: str, values: msgspec.Struct, bounds: dict[str, tuple[int, int]]) -> None:
    keys = dict(zip(values.__struct_fields__, values.__struct_encode_fields__, strict=True))
    for name, (low, high) in bounds.items():
        value = getattr(values, name)
        if not low <= value <= high:
            raise ConfigError(f"{group}.{keys[name]}", value, f"{low}..{high}")


class Listeners(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys `listeners.*`: HOST:PORT, [v6]:PORT, unix:PATH, or off. Those of TLS_LISTENERS wait for `tls.cert`."""

    amqp: str = "127.0.0.1:5672"
    http: str = "127.0.0.1:15672"
    metrics: str = "127.0.0.1:15692"
    amqps: str = "127.0.0.1:5671"
    remoting: str = "127.0.0.1:10911"
    remoting_vip: str = "127.0.0.1:10909"
    namesrv: str = "127.0.0.1:9876"
    mqtt: str = "off"
    mqtts: str = "off"
    stomp: str = "off"
    stomps: str = "off"
    https: str = "off"
    grpc: str = "off"

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            key = f"listeners.{name}"
            try:
                endpoint(value)
            except ValueError:
                raise ConfigError(key, value, "HOST:PORT, [v6]:PORT, unix:PATH or off") from None


SERVED = ("amqp", "amqps", "http", "metrics", "remoting", "remoting_vip", "namesrv")
TLS_LISTENERS = ("amqps", "mqtts", "stomps", "https")  # off until there is a certificate


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys `tls.*`: the certificate that TLS listeners show, and what they ask of a client's."""

    cert: str = ""
    key: str = ""
    ca: str = ""
    verify: Literal["none", "optional", "required"] = "none"
    login_from: Literal["distinguished_name", "common_name", "subject_alternative_name"] = "distinguished_name"
    login_san_type: Literal["dns", "ip", "email", "uri", "other_name"] = "dns"
    login_san_index: int = 0

    def __post_init__(self) -> None:
        _within("tls", self, {"login_san_index": (0, 1000)})
        for name, other in (("key", "cert"), ("cert", "key")):
            if getattr(self, other) and not getattr(self, name):
                raise ConfigError(f"tls.{name}", "", f"the path of a PEM file, as tls.{other} is set")
        if self.verify != "none" and not self.ca:
            allowed = f"the path of a PEM file with the CAs of clients, as tls.verify is {self.verify}"
            raise ConfigError("tls.ca", "", allowed)


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys `log.*`: the commit log, its batches, its checkpoints, and how long it is kept."""

    flush: Literal["sync", "async"] = "sync"
    segment_bytes: int = GIB
    batch_bytes: int = 8 * MIB
    tail_bytes: int = 16 * MIB
    ahead_bytes: int = 64 * MIB
    cached_bytes: int = 256 * MIB
    checkpoint_seconds: int = 60
    checkpoint_bytes: int = 256 * MIB
    keep_hours: int = 72
    keep_bytes: int = 8 * GIB
    delete_when: str = ""
    disk_clean_percent: int = 75
    disk_force_percent: int = 85
    key_blocks: bool = True

    def __post_init__(self) -> None:
        bounds = {
            "segment_bytes": (4 * PAGE_BYTES, SEGMENT_BYTES_MAX),
            "batch_bytes": (PAGE_BYTES, self.segment_bytes),
            "tail_bytes": (64 * KIB, SIZE_MAX),
            "ahead_bytes": (PAGE_BYTES, self.segment_bytes),
            "cached_bytes": (0, SIZE_MAX),
            "checkpoint_seconds": (1, 86400),
            "checkpoint_bytes": (64 * KIB, SIZE_MAX),
            "keep_hours": (0, HOURS_MAX),
            "keep_bytes": (0, SIZE_MAX),
            "disk_clean_percent": (10, 99),
            "disk_force_percent": (10, 99),
        }
        _within("log", self, bounds)
        if not DELETE_WHEN.fullmatch(self.delete_when):
            allowed = "hours of the day, 0..23, separated by ; (04, for one), or nothing: at any hour"
            raise ConfigError("log.delete_when", self.delete_when, allowed)
        if self.segment_bytes % PAGE_BYTES:
            raise ConfigError("log.segment_bytes", self.segment_bytes, f"a multiple of {PAGE_BYTES}")


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys `limits.*`: what one client, and all of them, may take."""

    message_bytes: int = 128 * MIB
    held_bytes: int = MIB
    transaction_bytes: int = 128 * MIB
    output_bytes: int = MIB
    memory_bytes: int = 0
    transient_bytes: int = 0
    disk_free_bytes: int = GIB
    handshake_seconds: int = 10
    connections: int = 65535
    queues: int = 200_000
    exchanges: int = 100_000
    bindings: int = 1_000_000
    groups: int = 100_000
    channels_per_connection: int = 2047
    consumers_per_channel: int = 10_000
    unacked_per_channel: int = 1 << 18
    replays: int = 64
    replay_bytes_per_second: int = 64 * MIB

    def __post_init__(self) -> None:
        bounds = {
            "message_bytes": (1, SEGMENT_BYTES_MAX // 2),
            "held_bytes": (PAGE_BYTES, SIZE_MAX),
            "transaction_bytes": (PAGE_BYTES, GIB),
            "transient_bytes": (0, SIZE_MAX),
            "output_bytes": (64 * KIB, SIZE_MAX),
            "disk_free_bytes": (0, SIZE_MAX),
            "handshake_seconds": (1, 3600),
            "connections": (1, COUNT_MAX),
            "queues": (1, COUNT_MAX),
            "exchanges": (1, COUNT_MAX),
            "bindings": (1, COUNT_MAX),
            "groups": (1, COUNT_MAX),
            "channels_per_connection": (1, 65535),
            "consumers_per_channel": (1, COUNT_MAX),
            "unacked_per_channel": (1, COUNT_MAX),
            "replays": (0, 4096),
            "replay_bytes_per_second": (64 * KIB, SIZE_MAX),
        }
        _within("limits", self, bounds)
        if self.memory_bytes and not 32 * MIB <= self.memory_bytes <= SIZE_MAX:
            allowed = f"0 (60 % of what the machine or its cgroup has) or {32 * MIB}..{SIZE_MAX}"
            raise ConfigError("limits.memory_bytes", self.memory_bytes, allowed)


class AmqpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys `amqp.*`: what connection.tune offers (a client may lower each), and extensions."""

    frame_max_bytes: int = 128 * KIB
    channel_max: int = 2047
    heartbeat_seconds: int = 60
    delay_anywhere: bool = True
    consumer_timeout: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "frame_max_bytes": (4096, MIB),
            "channel_max": (1, 65535),
            "heartbeat_seconds": (0, 65535),
            "consumer_timeout": (0, SIZE_MAX),
        }
        _within("amqp", self, bounds)


NATIVE_NAME = re.compile(r"[%|a-zA-Z0-9_-]{1,127}", re.ASCII)


def server_addresses(text: str) -> list[str]:
    """HOST:PORT each, separated by semicolons, as RocketMQ writes them. Raises ValueError, without a text for users."""
    found = [part.strip() for part in text.split(";") if part.strip()]
    for each in found:
        where = endpoint(each)
        if where is None or where.path or not where.port:
            raise ValueError("not an address to connect to")
    return found


class RocketmqConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Keys `rocketmq.*`: RocketMQ's own, by its own names. An empty brokerName is the machine's."""

    broker_cluster_name: str = "DefaultCluster"
    broker_name: str = ""
    broker_ip1: str = msgspec.field(default="", name="brokerIP1")
    namesrv_addr: str = ""
    register_name_server_period: int = 30_000
    auto_create_subscription_group: bool = True
    auto_create_topic_enable: bool = True
    default_topic_queue_nums: int = 8
    max_message_size: int = 4 * MIB
    broker_permission: int = 6
    enable_property_filter: bool = True
    use_server_side_reset_offset: bool = True
    trace_on: bool = True
    transaction_time_out: int = 6000
    transaction_check_interval: int = 30_000
    transaction_check_max: int = 15
    reject_transaction_message: bool = False
    timer_wheel_enable: bool = True
    timer_max_delay_sec: int = 259_200
    recall_message_enable: bool = True
    region_id: str = "DefaultRegion"
    pop_inflight_message_threshold: int = 10_000
    enable_retry_topic_v2: bool = False
    store_reply_message_enable: bool = True

    def __post_init__(self) -> None:
        bounds = {
            "register_name_server_period": (1000, 60_000),
            "default_topic_queue_nums": (1, 65_536),
            "max_message_size": (1, 16 * MIB),
            "broker_permission": (0, 7),
            "pop_inflight_message_threshold": (1, 100_000),
            "transaction_time_out": (1, 86_400_000),
            "transaction_check_interval": (1, 86_400_000),
            "transaction_check_max": (0, 10_000),
            "timer_max_delay_sec": (0, 315_360_000),
        }
        _within("rocketmq", self, bounds)
        if not NATIVE_NAME.fullmatch(self.region_id):
            raise ConfigError("rocketmq.regionId", self.region_id, "1..127 letters, digits, -, _, % or |")
        for key, value in (("brokerClusterName", self.broker_cluster_name), ("brokerName", self.broker_name or "x")):
            if not NATIVE_NAME.fullmatch(value):
                raise ConfigError(f"rocketmq.{key}", value, "1..127 letters, digits, -, _, % or |")
        if not re.fullmatch(r"[\w.:-]*", self.broker_ip1, re.ASCII):
            raise ConfigError("rocketmq.brokerIP1", self.broker_ip1, "an address or a name of this machine, or nothing")
        try:
            server_addresses(self.namesrv_addr)
        except ValueError:
            allowed = "HOST:PORT of each name server, separated by semicolons, or nothing"
            raise ConfigError("rocketmq.namesrvAddr", self.namesrv_addr, allowed) from None


class DefinitionsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys `definitions.*`: users, virtual hosts, permissions and topology from RabbitMQ's JSON."""

    file: str = ""


class AccessConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys `access.*`: who may connect from where, and how long a checked password is remembered."""

    loopback_users: tuple[str, ...] = ("guest",)
    password_cache_seconds: int = 300

    def __post_init__(self) -> None:
        _within("access", self, {"password_cache_seconds": (0, 86400)})


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys `metrics.*`: what is measured beside what is counted anyway."""

    loop_probe_ms: int = 10

    def __post_init__(self) -> None:
        _within("metrics", self, {"loop_probe_ms": (0, 10_000)})


class LoggingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys `logging.*`: the operator's log on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. Raises ConfigError where two keys contradict each other."""

    data_dir: str = "./mqgateway-data"
    listeners: Listeners = Listeners()
    tls: TlsConfig = TlsConfig()
    log: LogConfig = LogConfig()
    limits: Limits = Limits()
    amqp: AmqpConfig = AmqpConfig()
    rocketmq: RocketmqConfig = RocketmqConfig()
    definitions: DefinitionsConfig = DefinitionsConfig()
    access: AccessConfig = AccessConfig()
    metrics: MetricsConfig = MetricsConfig()
    logging: LoggingConfig = LoggingConfig()

    def __post_init__(self) -> None:
        if not self.data_dir or "\0" in self.data_dir:
            raise ConfigError("data_dir", self.data_dir, "the path of a directory")
        half = self.log.segment_bytes // SHARES_OF_SEGMENT["limits.message_bytes"]
        if self.limits.message_bytes > half:
            allowed = f"1..{half}, half of log.segment_bytes: one message is one record in one segment"
            raise ConfigError("limits.message_bytes", self.limits.message_bytes, allowed)
