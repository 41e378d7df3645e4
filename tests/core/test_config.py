"""What each group of options refuses, and what its defaults are."""

import pytest

from core.config import (
    GIB,
    KIB,
    MIB,
    SEGMENT_BYTES_MAX,
    SERVED,
    AccessConfig,
    AmqpConfig,
    Config,
    ConfigError,
    Endpoint,
    Limits,
    Listeners,
    LogConfig,
    MetricsConfig,
    RocketmqConfig,
    TlsConfig,
    endpoint,
    server_addresses,
)

NOT_SERVED = [name for name in Listeners.__struct_fields__ if name not in SERVED]


def test_the_defaults_are_those_that_the_contract_names():
    config = Config()
    assert config.data_dir == "./mqgateway-data"
    assert config.listeners.amqp.endswith(":5672") and config.listeners.http.endswith(":15672")
    assert config.listeners.metrics.endswith(":15692") and config.listeners.amqps.endswith(":5671")
    assert config.listeners.remoting.endswith(":10911") and config.listeners.remoting_vip.endswith(":10909")
    assert (config.log.flush, config.log.segment_bytes) == ("sync", GIB)
    assert (config.limits.message_bytes, config.limits.held_bytes) == (128 * MIB, MIB)
    assert (config.amqp.frame_max_bytes, config.amqp.channel_max, config.amqp.heartbeat_seconds) == (131072, 2047, 60)
    assert config.access.loopback_users == ("guest",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:5672", Endpoint("127.0.0.1", 5672, "")),
        ("localhost:0", Endpoint("localhost", 0, "")),
        ("[::1]:65535", Endpoint("::1", 65535, "")),
        ("unix:/run/mq.sock", Endpoint("", 0, "/run/mq.sock")),
        ("off", None),
    ],
)
def test_a_listener_is_an_address_a_socket_path_or_off(text, expected):
    assert endpoint(text) == expected


WRONG_ADDRESSES = [
    "",
    "5672",
    ":5672",
    "::1:5672",
    "[]:1",
    "h:",
    "h:65536",
    "h:-1",
    "h:5x",
    "h:٣",
    "unix:",
    "on",
    "OFF",
]


@pytest.mark.parametrize("text", [*WRONG_ADDRESSES, "unix:" + "p" * 108, "unix:\0p"])
def test_another_text_is_no_address_for_a_listener(text):
    with pytest.raises(ConfigError, match="allowed: HOST:PORT, \\[v6\\]:PORT, unix:PATH or off") as refused:
        Listeners(amqp=text)
    assert refused.value.key == "listeners.amqp"


@pytest.mark.parametrize("name", NOT_SERVED)
def test_a_listener_that_is_not_built_yet_is_off_and_takes_an_address_all_the_same(name):
    assert getattr(Listeners(), name) == "off"
    assert getattr(Listeners(**{name: "127.0.0.1:0"}), name) == "127.0.0.1:0"


OUT_OF_BOUNDS = [
    (LogConfig, "log", "segment_bytes", 16 * KIB, SEGMENT_BYTES_MAX),
    (LogConfig, "log", "batch_bytes", 4096, GIB),
    (LogConfig, "log", "tail_bytes", 64 * KIB, 1 << 50),
    (LogConfig, "log", "cached_bytes", 0, 1 << 50),
    (LogConfig, "log", "ahead_bytes", 4096, GIB),
    (LogConfig, "log", "checkpoint_seconds", 1, 86400),
    (LogConfig, "log", "checkpoint_bytes", 64 * KIB, 1 << 50),
    (LogConfig, "log", "keep_hours", 0, 878_400),
    (LogConfig, "log", "keep_bytes", 0, 1 << 50),
    (LogConfig, "log", "disk_clean_percent", 10, 99),
    (LogConfig, "log", "disk_force_percent", 10, 99),
    (Limits, "limits", "message_bytes", 1, SEGMENT_BYTES_MAX // 2),
    (Limits, "limits", "held_bytes", 4096, 1 << 50),
    (Limits, "limits", "transient_bytes", 0, 1 << 50),
    (Limits, "limits", "transaction_bytes", 4096, 1 << 30),
    (Limits, "limits", "output_bytes", 64 * KIB, 1 << 50),
    (Limits, "limits", "disk_free_bytes", 0, 1 << 50),
    (Limits, "limits", "handshake_seconds", 1, 3600),
    (Limits, "limits", "connections", 1, 1 << 30),
    (Limits, "limits", "queues", 1, 1 << 30),
    (Limits, "limits", "exchanges", 1, 1 << 30),
    (Limits, "limits", "bindings", 1, 1 << 30),
    (Limits, "limits", "groups", 1, 1 << 30),
    (Limits, "limits", "channels_per_connection", 1, 65535),
    (Limits, "limits", "consumers_per_channel", 1, 1 << 30),
    (Limits, "limits", "unacked_per_channel", 1, 1 << 30),
    (Limits, "limits", "replays", 0, 4096),
    (Limits, "limits", "replay_bytes_per_second", 65536, 1 << 50),
    (AmqpConfig, "amqp", "frame_max_bytes", 4096, MIB),
    (AmqpConfig, "amqp", "channel_max", 1, 65535),
    (AmqpConfig, "amqp", "heartbeat_seconds", 0, 65535),
    (AmqpConfig, "amqp", "consumer_timeout", 0, 1 << 50),
    (AccessConfig, "access", "password_cache_seconds", 0, 86400),
    (TlsConfig, "tls", "login_san_index", 0, 1000),
    (MetricsConfig, "metrics", "loop_probe_ms", 0, 10_000),
]


@pytest.mark.parametrize(("group", "prefix", "name", "low", "high"), OUT_OF_BOUNDS)
def test_a_number_is_taken_at_its_bounds_and_refused_beyond_them(group, prefix, name, low, high):
    room = {"batch_bytes": 4096, "ahead_bytes": 4096} if name == "segment_bytes" else {}
    for value in (low, high):
        assert getattr(group(**{name: value, **room}), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError) as refused:
            group(**{name: value, **room})
        assert str(refused.value) == f"{prefix}.{name}: {value} is not allowed; allowed: {low}..{high}"


def test_every_number_of_the_configuration_is_bounded():
    bounded = {f"{prefix}.{name}" for _, prefix, name, _, _ in OUT_OF_BOUNDS} | {"limits.memory_bytes"}
    config = Config()
    groups = ("log", "limits", "amqp", "access", "listeners", "definitions", "logging", "tls", "metrics")
    numbers = {
        f"{group}.{name}"
        for group in groups
        for name in getattr(config, group).__struct_fields__
        if type(getattr(getattr(config, group), name)) is int
    }
    assert numbers == bounded


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"cert": "c"}, "tls.key"),
        ({"key": "k"}, "tls.cert"),
        ({"cert": "c", "key": "k", "verify": "optional"}, "tls.ca"),
        ({"cert": "c", "key": "k", "verify": "required"}, "tls.ca"),
    ],
)
def test_tls_wants_a_certificate_with_its_key_and_a_ca_for_those_of_clients(keys, key):
    with pytest.raises(ConfigError, match=f"^{key}: '' is not allowed; allowed: the path of a PEM file") as refused:
        TlsConfig(**keys)
    assert refused.value.key == key
    TlsConfig(cert="c", key="k", ca="a", verify="required")


def test_memory_is_left_to_the_machine_or_at_least_32_mib():
    assert Limits(memory_bytes=0).memory_bytes == 0
    assert Limits(memory_bytes=32 * MIB).memory_bytes == 32 * MIB
    for value in (-1, 1, 32 * MIB - 1, (1 << 50) + 1):
        with pytest.raises(ConfigError, match="^limits.memory_bytes: .*60 %"):
            Limits(memory_bytes=value)


def test_a_segment_is_whole_pages():
    with pytest.raises(ConfigError, match="^log.segment_bytes: .* a multiple of 4096"):
        LogConfig(segment_bytes=MIB + 1, batch_bytes=4096, ahead_bytes=4096)


def test_a_message_may_fill_half_a_segment_and_no_more():
    log = LogConfig(segment_bytes=64 * MIB)
    assert Config(log=log, limits=Limits(message_bytes=32 * MIB)).limits.message_bytes == 32 * MIB
    with pytest.raises(ConfigError, match="^limits.message_bytes: .* half of log.segment_bytes"):
        Config(log=log, limits=Limits(message_bytes=32 * MIB + 1))


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_the_data_directory_has_a_name(path):
    with pytest.raises(ConfigError, match="^data_dir: "):
        Config(data_dir=path)


@pytest.mark.parametrize("text", ["", "0", "04", "4;16", "0;9;10;23"])
def test_hours_of_the_day(text):
    assert LogConfig(delete_when=text).delete_when == text


@pytest.mark.parametrize("text", ["24", "4,16", "4;", ";4", " 4", "-1", "4:30", "004", "٤"])
def test_other_texts_are_no_hours_of_the_day(text):
    with pytest.raises(ConfigError, match="log.delete_when: .* is not allowed; allowed: hours of the day, 0..23"):
        LogConfig(delete_when=text)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"register_name_server_period": 999}, "rocketmq.registerNameServerPeriod"),
        ({"register_name_server_period": 60_001}, "rocketmq.registerNameServerPeriod"),
        ({"broker_name": "no good"}, "rocketmq.brokerName"),
        ({"broker_cluster_name": ""}, "rocketmq.brokerClusterName"),
        ({"broker_ip1": "a;b"}, "rocketmq.brokerIP1"),
        ({"namesrv_addr": "h:1;h"}, "rocketmq.namesrvAddr"),
        ({"namesrv_addr": "h:0"}, "rocketmq.namesrvAddr"),
        ({"namesrv_addr": "off"}, "rocketmq.namesrvAddr"),
        ({"namesrv_addr": "unix:/p"}, "rocketmq.namesrvAddr"),
    ],
)
def test_what_cannot_be_of_rocketmqs_keys_is_refused_by_its_name(values, key):
    with pytest.raises(ConfigError) as refused:
        RocketmqConfig(**values)
    assert refused.value.key == key


def test_name_servers_are_separated_as_rocketmq_does():
    assert server_addresses(RocketmqConfig(namesrv_addr="a:1; [::1]:2;").namesrv_addr) == ["a:1", "[::1]:2"]
