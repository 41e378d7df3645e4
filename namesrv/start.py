"""What the command line, the environment and the files say before the name server starts."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from namesrv.command_line import Option
from namesrv.config import Config
from namesrv.requests import Files

OPTIONS = (
    Option("c", "configFile", True, "Name server config properties file"),
    Option("h", "help", False, "Print help"),
    Option("n", "namesrvAddr", True, "Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'"),
    Option("p", "printConfigItem", False, "Print all config items"),
)
SERIALIZE_TYPES = ("JSON", "ROCKETMQ")  # of the headers that we write, by their kind

log = logging.getLogger("namesrv")


class StartError(Exception):
    """Why it cannot start: one line."""


def configured(file: str | None) -> Config:
    """The configuration, from a file if there is one. Raises StartError, ConfigError."""
    folder = Path.home() / "namesrv"
    paths = {
        "rocketmqHome": os.environ.get("ROCKETMQ_HOME", sys.prefix),
        "kvConfigPath": str(folder / "kvConfig.json"),
        "configStorePath": file or str(folder / "namesrv.properties"),
    }
    text = ""
    if file is not None:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from None
    config = Config(paths, text)
    if file is not None:
        print(f"load config properties file OK, {file}", flush=True)
    if config.without_effect:
        log.warning("keys that have no effect here: %s", ", ".join(config.without_effect))
    return config


def serialize_type(environment: Mapping[str, str]) -> int:
    """The kind of the headers that we write: ROCKETMQ_SERIALIZE_TYPE, as RocketMQ has it. Raises StartError."""
    name = environment.get("ROCKETMQ_SERIALIZE_TYPE", "").strip() or SERIALIZE_TYPES[0]
    if name not in SERIALIZE_TYPES:
        raise StartError(f"ROCKETMQ_SERIALIZE_TYPE: {name!r} is neither JSON nor ROCKETMQ")
    return SERIALIZE_TYPES.index(name)


def files_of(config: Config) -> Files:
    """Where what must last goes."""
    return Files(save_kv=saver(Path(config["kvConfigPath"])), save_config=saver(Path(config["configStorePath"])))


def kv_content(config: Config) -> bytes:
    """What the KV file holds; empty if there is none. Raises StartError."""
    path = Path(config["kvConfigPath"])
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from None


def saver(path: Path) -> Callable[[bytes], None]:
    """A function that replaces the file's content atomically; what was there before stays beside it, as .bak."""

    def save(content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".tmp")
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.replace(path, path.with_name(path.name + ".bak"))
        os.replace(partial, path)

    return save
