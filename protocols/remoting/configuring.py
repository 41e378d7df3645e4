"""The broker's configuration by request: shown, and changed as far as that can be while it runs. Source: RocketMQ's
AdminBrokerProcessor.getBrokerConfig and updateBrokerConfig.

RocketMQ also writes what was changed into its file. We do not: what is to outlast the process is the operator's to
write where the configuration comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused

BODY_BYTES_MAX = 1 << 16


class Configuration(NamedTuple):
    """shown() = all of it by RocketMQ's keys; change(text) carries out `key=value` lines, all or none. Raises
    BrokerError."""

    shown: Callable[[], Mapping[str, object]]
    change: Callable[[str], None]


class Configuring:
    """The verbs."""

    def __init__(self, clock: Any, configuration: Configuration):
        self._clock = clock
        self._configuration = configuration
        self._version = {"counter": 0, "stateVersion": 0, "timestamp": clock.ms}

    def show(self, connection: Any, frame: Any) -> None:
        """GET_BROKER_CONFIG: `key=value` lines."""
        version = msgspec.json.encode(self._version)
        shown = self._configuration.shown()
        lines = "".join(f"{key}={_java(value)}\n" for key, value in sorted(shown.items()))
        connection.respond(frame.opaque, 0, fields=((b"version", version),), body=lines.encode())

    def update(self, connection: Any, frame: Any) -> None:
        """UPDATE_BROKER_CONFIG."""
        if frame.body_size > BODY_BYTES_MAX:
            raise Refused(Response.SYSTEM_ERROR, f"a body of {frame.body_size} bytes exceeds {BODY_BYTES_MAX}")
        self._configuration.change(frame.body().decode())
        self._version = {**self._version, "counter": self._version["counter"] + 1, "timestamp": self._clock.ms}
        connection.respond(frame.opaque, Response.SUCCESS)


def _java(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def show(connection: Any, frame: Any) -> None:
    """GET_BROKER_CONFIG."""
    connection.remoting.configuring.show(connection, frame)


def update(connection: Any, frame: Any) -> None:
    """UPDATE_BROKER_CONFIG."""
    connection.remoting.configuring.update(connection, frame)


VERBS = {Request.GET_BROKER_CONFIG: show, Request.UPDATE_BROKER_CONFIG: update}
