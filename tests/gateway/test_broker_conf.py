"""broker.conf in our own keys: what is honoured, what is mapped, what has no effect, and what is refused."""

import pytest

from core.config import Config
from gateway import settings
from gateway.broker_conf import MAPPED, Given, shown
from gateway.settings import SettingsError


def configured(*sources):
    given = Given(lambda path: path.replace("~", "/home/one"))
    for number, values in enumerate(sources):
        given.take(values, f"source {number}")
    entries, idle = given.entries()
    return settings.load(first=entries), idle


def test_without_a_word_it_listens_where_rocketmqs_broker_does_and_nowhere_else():
    found, idle = configured()
    on = {name: place for name in Config().listeners.__struct_fields__ if (place := listener(found, name)) != "off"}
    assert on == {"remoting": "0.0.0.0:10911", "remoting_vip": "0.0.0.0:10909"}
    assert found.config.data_dir == "/home/one/store" and idle == []
    assert found.config.log == Config().log  # also where RocketMQ has another default: what is acknowledged is synced


def listener(found, name):
    return getattr(found.config.listeners, name)


def test_keys_that_mean_the_same_here_are_mapped():
    found, idle = configured(
        {
            "listenPort": "20911",
            "bindAddress": "::1",
            "storePathRootDir": "/data",
            "flushDiskType": "ASYNC_FLUSH",
            "mapedFileSizeCommitLog": "67108864",
            "fileReservedTime": "48",
            "deleteWhen": "04;16",
            "diskMaxUsedSpaceRatio": "60",
            "diskSpaceCleanForciblyRatio": " 70 ",
        }
    )
    config = found.config
    assert idle == []
    assert config.listeners.remoting == "[::1]:20911" and config.listeners.remoting_vip == "[::1]:20909"
    assert config.data_dir == "/data" and config.log.flush == "async"
    assert (config.log.segment_bytes, config.log.keep_hours, config.log.delete_when) == (64 << 20, 48, "04;16")
    assert (config.log.disk_clean_percent, config.log.disk_force_percent) == (60, 70)
    assert found.origins["log.segment_bytes"] == "source 0: mapedFileSizeCommitLog"


def test_rocketmqs_own_keys_and_ours_are_honoured_and_what_has_no_effect_is_named():
    found, idle = configured(
        {
            "autoCreateSubscriptionGroup": "false",
            "listeners.amqp": "127.0.0.1:5672",
            "limits.message_bytes": "4194304",
            "sendMessageThreadPoolNums": "4",
            "brokerRole": "ASYNC_MASTER",
        }
    )
    assert not found.config.rocketmq.auto_create_subscription_group
    assert listener(found, "amqp") == "127.0.0.1:5672" and found.config.limits.message_bytes == 4 << 20
    assert idle == ["brokerRole", "sendMessageThreadPoolNums"]


def test_what_is_said_later_counts_in_either_spelling():
    found, _ = configured({"mappedFileSizeCommitLog": "1048576"}, {"mapedFileSizeCommitLog": "2097152"})
    assert found.config.log.segment_bytes == 2 << 20
    found, _ = configured({"listenPort": "20911"}, {"listeners.remoting": "127.0.0.1:1"})
    assert listener(found, "remoting") == "127.0.0.1:1"


def test_port_0_is_any_and_has_no_other_port_beside_it():
    found, _ = configured({"listenPort": "0", "bindAddress": "127.0.0.1"})
    assert (listener(found, "remoting"), listener(found, "remoting_vip")) == ("127.0.0.1:0", "off")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"listenPort": "x"}, "source 0: listenPort: 'x' is not allowed; allowed: 0..65535"),
        ({"listenPort": "65536"}, "source 0: listenPort: '65536' is not allowed; allowed: 0..65535"),
        ({"flushDiskType": "SYNC"}, "source 0: flushDiskType: 'SYNC' is not allowed; allowed: SYNC_FLUSH or ASYNC"),
        ({"fileReservedTime": "long"}, "source 0: fileReservedTime: log.keep_hours: 'long' is not allowed"),
        ({"mapedFileSizeCommitLog": "5"}, "source 0: mapedFileSizeCommitLog: log.segment_bytes: 5 is not allowed"),
        ({"deleteWhen": "25"}, "source 0: deleteWhen: log.delete_when: '25' is not allowed"),
        ({"bindAddress": ""}, "listeners.remoting: ':10911' is not allowed"),
    ],
)
def test_what_cannot_be_is_refused_with_the_place_where_it_was_said(values, said):
    with pytest.raises(SettingsError) as refused:
        configured(values)
    assert said in str(refused.value)


def test_it_is_shown_by_rocketmqs_keys():
    found, _ = configured({"flushDiskType": "ASYNC_FLUSH", "bindAddress": "::", "listenPort": "20911"})
    values = shown(found.config, "broker-a")
    assert (values["flushDiskType"], values["bindAddress"], values["listenPort"]) == ("ASYNC_FLUSH", "::", "20911")
    assert values["brokerName"] == "broker-a"
    assert values.keys() >= {*MAPPED, "autoCreateSubscriptionGroup", "storePathRootDir"}
