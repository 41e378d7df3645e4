"""The command `mqbroker`: the same server as `mqgateway`, with the options, the files and the first line of RocketMQ's
broker, and with nothing else listening unless the file says so.

    mqbroker [-c broker.conf] [-n NAMESRV] [key=value ...]

A key is RocketMQ's, or one of ours (listeners.amqp=0.0.0.0:5672). A later source wins: NAMESRV_ADDR, the file, -n, the
words behind. Exit codes as of mqgateway; 1 for a command line that is not understood.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from pathlib import Path

from core.config import Config
from gateway import broker_conf, logs, settings
from gateway.cli.errors import EX_CONFIG
from gateway.main import fail, run
from namesrv import properties
from namesrv.command_line import Option, UsageError, parse, usage
from namesrv.start import SERIALIZE_TYPES, StartError, serialize_type

EX_USAGE = 1
OPTIONS = (
    Option("c", "configFile", True, "Broker config properties file"),
    Option("h", "help", False, "Print help"),
    Option("m", "printImportantConfig", False, "Print important config item"),
    Option("n", "namesrvAddr", True, "Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'"),
    Option("p", "printConfigItem", False, "Print all config item"),
)
IMPORTANT = ("namesrvAddr", "brokerIP1", "brokerPermission", "defaultTopicQueueNums", "autoCreateTopicEnable")


def main() -> None:
    """The command."""
    try:
        options, words = parse(sys.argv[1:], OPTIONS)
    except UsageError as error:
        print(error, file=sys.stderr)
        print(usage("mqbroker", OPTIONS))
        sys.exit(EX_USAGE)
    if "h" in options:
        print(usage("mqbroker", OPTIONS))
        sys.exit()
    try:
        kind = SERIALIZE_TYPES[serialize_type(os.environ)]
        given = _given(options, words)
        entries, idle = given.entries()
        config = settings.load((), (), os.environ, None, entries).config
    except (settings.SettingsError, StartError) as error:
        fail(str(error), EX_CONFIG)
    if "p" in options or "m" in options:
        from gateway.native import broker_name

        shown = broker_conf.shown(config, broker_name(config))
        print(properties.lines({key: shown[key] for key in shown if "p" in options or key in IMPORTANT}), end="")
        sys.exit()
    logs.set_up(config.logging.level, config.logging.format)
    if idle:
        logging.getLogger("gateway").warning("keys that have no effect here: %s", ", ".join(idle))
    run(config, None, partial(boot_line, config, kind))


def _given(options: dict[str, str], words: list[str]) -> broker_conf.Given:
    given = broker_conf.Given(os.path.expanduser)
    if os.environ.get("NAMESRV_ADDR"):
        given.take({"namesrvAddr": os.environ["NAMESRV_ADDR"]}, "environment NAMESRV_ADDR")
    if "c" in options:
        given.take(_file(options["c"]), options["c"])
    if "n" in options:
        given.take({"namesrvAddr": options["n"]}, "-n")
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise settings.SettingsError(f"{word}: has no value; write KEY=VALUE")
        given.take({key: value}, "command line")
    return given


def _file(path: str) -> dict[str, str]:
    try:
        return properties.parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise settings.SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, properties.PropertiesError) as error:
        raise settings.SettingsError(f"{path}: {error}") from None


def boot_line(config: Config, serialize_type: str, bound: dict[str, str]) -> str:
    """What RocketMQ's broker prints when it serves."""
    from gateway.native import broker_name

    host, _, port = bound["remoting"].rpartition(":")
    address = f"{config.rocketmq.broker_ip1 or host}:{port}"
    line = f"The broker[{broker_name(config)}, {address}] boot success. serializeType={serialize_type}"
    names = config.rocketmq.namesrv_addr
    return f"{line} and name server is {names}" if names else line
