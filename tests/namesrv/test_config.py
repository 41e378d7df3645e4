"""The configuration: its example file is true, and what was given without effect is known."""

from pathlib import Path

import pytest

from namesrv.config import DEFAULTS, SERVED, Config, ConfigError
from namesrv.properties import parse
from namesrv.start import serialize_type

EXAMPLE = Path(__file__).parents[2] / "conf" / "namesrv.conf"
PATHS = {"kvConfigPath", "configStorePath", "rocketmqHome"}


def test_the_example_holds_every_key_that_has_an_effect_with_its_default():
    text = EXAMPLE.read_text()
    assert set(parse(text)) == SERVED - PATHS
    config = Config({}, text)
    assert config.values == DEFAULTS and config.without_effect == []


def test_a_key_without_effect_is_kept_and_named():
    config = Config({}, "serverWorkerThreads=3\nnobodyKnows=x\nlistenPort=1")
    assert config.without_effect == ["nobodyKnows", "serverWorkerThreads"]
    assert (config["serverWorkerThreads"], config["nobodyKnows"], config["listenPort"]) == (3, "x", 1)


def test_values_have_the_type_of_their_key():
    config = Config({}, "orderMessageEnable = TRUE \nbindAddress= ::1 ")
    assert (config["orderMessageEnable"], config["bindAddress"]) == (True, "::1")
    for text in ("orderMessageEnable=1", "listenPort=65536", "waitSecondsForService=-1"):
        with pytest.raises(ConfigError, match=text.partition("=")[0]):
            Config({}, text)


def test_the_environment_says_how_headers_are_written():
    assert [serialize_type({"ROCKETMQ_SERIALIZE_TYPE": name}) for name in ("JSON", " ", "ROCKETMQ")] == [0, 0, 1]
