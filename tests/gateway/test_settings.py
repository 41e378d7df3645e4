"""Precedence, origins, and every refusal of the configuration's sources."""

import re
from pathlib import Path

import pytest
import yaml

from core.config import Config
from gateway.settings import KEYS, SettingsError, effective, load, read_file, value_of

SHIPPED = Path(__file__).parents[2] / "conf" / "gateway.yaml"


@pytest.fixture
def write(tmp_path):
    def write(text, name="gateway.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def refusal(**sources) -> str:
    with pytest.raises(SettingsError) as refused:
        load(**sources)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_the_shipped_file_holds_every_key_with_its_default_and_nothing_else():
    entries = {entry.key: entry.value for entry in read_file(str(SHIPPED))}
    assert list(entries) == list(KEYS)
    for key, known in KEYS.items():
        value = tuple(entries[key]) if isinstance(entries[key], list) else entries[key]
        assert value == known.default, key
    assert load(files=[str(SHIPPED)]).config == Config()


def test_the_shipped_file_says_why_for_every_key():
    lines = SHIPPED.read_text().splitlines()
    for key in KEYS:
        name = key.rpartition(".")[2]
        at = next(at for at, line in enumerate(lines) if re.match(rf"\s*{name}:", line))
        assert "  # " in lines[at] or lines[at - 1].startswith("#"), key


def test_without_sources_everything_is_default():
    settings = load()
    assert settings.config == Config()
    assert set(settings.origins.values()) == {"default"}


def test_the_command_line_beats_the_environment_beats_later_files_beat_earlier_ones(write):
    first = write("log: {tail_bytes: 100001, checkpoint_seconds: 1}\namqp: {channel_max: 1, heartbeat_seconds: 1}", "a")
    second = write("log.checkpoint_seconds: 2\namqp: {channel_max: 2, heartbeat_seconds: 2}", "b")
    environment = {"CORDUROY__AMQP__CHANNEL_MAX": "3", "CORDUROY__AMQP__HEARTBEAT_SECONDS": "3"}
    assignments = ["amqp.heartbeat_seconds=7", "amqp.heartbeat_seconds=4"]
    settings = load([first, second], assignments, environment)
    shown = effective(settings)
    assert shown["log.tail_bytes"] == {"value": 100001, "origin": f"{first} line 1"}
    assert shown["log.checkpoint_seconds"] == {"value": 2, "origin": f"{second} line 1"}
    assert shown["amqp.channel_max"] == {"value": 3, "origin": "environment CORDUROY__AMQP__CHANNEL_MAX"}
    assert shown["amqp.heartbeat_seconds"] == {"value": 4, "origin": "--set"}
    assert shown["log.flush"] == {"value": "sync", "origin": "default"}
    assert list(shown) == list(KEYS)


def test_the_data_directory_has_an_option_of_its_own():
    settings = load(data_dir="there", assignments=["data_dir=elsewhere"])
    assert (settings.config.data_dir, settings.origins["data_dir"]) == ("there", "--data-dir")


def test_other_variables_are_not_ours():
    assert load(environment={"CORDUROY_PURE": "1", "CORDUROY": "x", "PATH": "/bin"}).config == Config()


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("log.segment_bytes", "2147479552", 2147479552),
        ("log.flush", "async", "async"),
        ("listeners.amqp", "off", "off"),
        ("listeners.amqp", "unix:a=b", "unix:a=b"),
        ("access.loopback_users", "guest, admin", ("guest", "admin")),
        ("access.loopback_users", "", ()),
        ("definitions.file", "", ""),
        ("data_dir", "1", "1"),
    ],
)
def test_text_takes_the_type_of_its_key(key, text, value):
    variable = "CORDUROY__" + key.upper().replace(".", "__")
    for settings in (load(assignments=[f"{key}={text}"]), load(environment={variable: text})):
        assert value_of(settings.config, key) == value


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("listeners: {amqp: off}", "listeners.amqp", "off"),  # false to YAML 1.1
        ("listeners:\n  amqp: '[::1]:5672'", "listeners.amqp", "[::1]:5672"),
        ("data_dir: 2026-11-21", "data_dir", "2026-11-21"),
        ("access: {loopback_users: []}", "access.loopback_users", ()),
        ("log:\namqp: {channel_max: 0x10}", "amqp.channel_max", 16),
        ("# nothing", "log.flush", "sync"),
        ("---\n~\n", "log.flush", "sync"),
    ],
)
def test_a_file_says_what_it_looks_like(write, text, key, value):
    assert value_of(load(files=[write(text)]).config, key) == value


def test_smaller_segments_lower_the_defaults_that_must_fit_them():
    settings = load(assignments=["log.segment_bytes=1048576"])
    config = settings.config
    assert (config.limits.message_bytes, config.log.batch_bytes, config.log.ahead_bytes) == (524288, 1048576, 1048576)
    assert settings.origins["limits.message_bytes"] == "default, lowered to fit log.segment_bytes"
    text = refusal(assignments=["log.segment_bytes=1048576", "limits.message_bytes=524289"])
    assert text.startswith("--set: limits.message_bytes: 524289 is not allowed; allowed: 1..524288, half of")


def test_an_unknown_key_is_named_with_its_source_the_nearest_match_and_what_is_allowed(write):
    path = write("log:\n  flush: sync\n  segmentbytes: 1\n")
    expected = ": log.segmentbytes: unknown key; did you mean log.segment_bytes? allowed in log: flush, segment_bytes,"
    assert refusal(files=[path]).startswith(f"{path} line 3{expected}")
    variable = "CORDUROY__LOG__SEGMENTBYTES"
    assert refusal(environment={variable: "1"}).startswith(f"environment {variable}{expected}")
    assert refusal(assignments=["log.segmentbytes=1"]).startswith(f"--set{expected}")


def test_an_unknown_group_is_answered_with_the_groups():
    text = refusal(assignments=["zzz=1"])
    assert text == (
        "--set: zzz: unknown key; a key begins with one of: "
        "data_dir, listeners, tls, log, limits, amqp, rocketmq, definitions, access, metrics, logging"
    )
    assert "did you mean limits.queues?" in refusal(assignments=["limit.queues=1"])


def test_a_group_has_no_value(write):
    assert refusal(assignments=["log=1"]).startswith("--set: log: is a group of keys, not a key; its keys: flush, ")
    assert "log: is a group of keys" in refusal(files=[write("log: 5")])
    assert "log: is a group of keys" in refusal(environment={"CORDUROY__LOG": "5"})
    assert refusal(assignments=["log.flush"]) == "--set log.flush: has no value; write --set KEY=VALUE"


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("log.segment_bytes=1G", "log.segment_bytes: '1G' is not allowed; allowed: a whole number"),
        ("log.segment_bytes=1.5", "log.segment_bytes: '1.5' is not allowed; allowed: a whole number"),
        ("log.segment_bytes=", "log.segment_bytes: '' is not allowed; allowed: a whole number"),
        ("log.flush=SYNC", "log.flush: 'SYNC' is not allowed; allowed: sync or async"),
        ("logging.level=loud", "logging.level: 'loud' is not allowed; allowed: debug or info or warning or error"),
        ("amqp.channel_max=65536", "amqp.channel_max: 65536 is not allowed; allowed: 1..65535"),
        ("log.segment_bytes=0", "log.segment_bytes: 0 is not allowed; allowed: 16384..2147479552"),
        ("listeners.http=80", "listeners.http: '80' is not allowed; allowed: HOST:PORT, [v6]:PORT, unix:PATH or off"),
        ("data_dir=", "data_dir: '' is not allowed; allowed: the path of a directory"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(assignment, expected):
    assert refusal(assignments=[assignment]) == f"--set: {expected}"


def test_a_listener_that_is_not_served_yet_may_be_set():
    assert load(assignments=["listeners.mqtt=0.0.0.0:1883"]).config.listeners.mqtt == "0.0.0.0:1883"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log: {batch_bytes: true}", " line 1: log.batch_bytes: True is not allowed; allowed: a whole number"),
        ("log:\n  batch_bytes: '9'", " line 2: log.batch_bytes: '9' is not allowed; allowed: a whole number"),
        ("log:\n  batch_bytes:", " line 2: log.batch_bytes: has no value; allowed: a whole number"),
        (
            "log: {batch_bytes: 2026-99-99}",
            " line 1: log.batch_bytes: '2026-99-99' is not allowed; allowed: a whole num",
        ),
        ("log: {flush: {a: b}}", " line 1: log.flush: {'a': 'b'} is not allowed; allowed: sync or async"),
        (
            "access: {loopback_users: me}",
            " line 1: access.loopback_users: 'me' is not allowed; allowed: a list of texts",
        ),
        (
            "access: {loopback_users: [1]}",
            " line 1: access.loopback_users: [1] is not allowed; allowed: a list of texts",
        ),
        ("log: {flush: sync}\nlog.flush: async", " line 2: log.flush: stands already in "),
        ("amqp:\n  channel_max: 1\n  channel_max: 2", " line 3: amqp.channel_max: stands already in "),
        ("- log", ": holds no keys; a configuration file is a mapping of keys to values"),
        ("log", ": holds no keys; a configuration file is a mapping of keys to values"),
        ("? [a]\n: b", " line 1: ?: unknown key; "),
        ("log: &again {log: *again}", " line 1: log.log: unknown key; "),
        ("log: !!python/object:os.system x", " line 1: log: is a group of keys"),
        ("data_dir: [", " line "),
        ("data_dir: a\n---\ndata_dir: b", " line 2: not valid YAML: "),
        ("access: {loopback_users: !!python/object:os.system [x]}", " line 1: not valid YAML: could not determine"),
        ("access: {loopback_users: " + "[" * 100_000, ": is nested too deeply"),
        (b"data_dir: \xff", ": is not UTF-8 at byte 10"),
        (b"data_dir: \x01", ": not valid YAML: "),
        (b"#" * ((1 << 20) + 1), ": is larger than 1048576 bytes; this is no configuration file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_line(write, text, expected):
    path = write(text)
    assert refusal(files=[path]).startswith(path + expected)


def test_a_missing_file_is_named(tmp_path):
    path = str(tmp_path / "none.yaml")
    assert refusal(files=[path]) == f"{path}: cannot be read: No such file or directory"
    assert refusal(files=[str(tmp_path)]) == f"{tmp_path}: cannot be read: Is a directory"


def test_the_slow_loader_reads_the_same(monkeypatch, write):
    path = write("log: {flush: async}\nlisteners: {amqp: off}")
    monkeypatch.setattr("gateway.settings._Loader", yaml.SafeLoader)
    config = load(files=[path, str(SHIPPED)]).config
    assert config == Config()
    assert load(files=[path]).config.log.flush == "async"
    assert "not valid YAML" in refusal(files=[write("a: [", "broken")])


def test_rocketmqs_keys_have_its_own_names_in_the_environment_too(write):
    key, variable = "rocketmq.autoCreateSubscriptionGroup", "CORDUROY__ROCKETMQ__AUTOCREATESUBSCRIPTIONGROUP"
    file = write("rocketmq:\n  autoCreateSubscriptionGroup: false\n")
    for settings in (load(assignments=[f"{key}=false"]), load(environment={variable: "false"}), load([file])):
        assert settings.config.rocketmq.auto_create_subscription_group is False
        assert effective(settings)[key]["value"] is False
    assert "autoCreateSubscriptionGroup" in refusal(assignments=["rocketmq.auto_create_subscription_group=false"])
