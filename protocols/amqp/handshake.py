"""From connection.start to connection.open-ok (spec 1.4): who logs in, to which virtual host, with which limits."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from platform import python_implementation, python_version
from typing import Any

from core.errors import NotAllowed
from protocols.amqp import methods, tables
from protocols.amqp.errors import AmqpError, TableError, UnknownMethod
from protocols.amqp.frames import FRAME_BYTES_MIN

PASSWORD = 1  # why the connection's input is paused
MECHANISMS = ("PLAIN", "AMQPLAIN")  # and on TLS where clients are asked for a certificate:
EXTERNAL = "EXTERNAL"
CAPABILITIES = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
)
REFUSED_DELAY_SECONDS = 1.0  # before the socket of a refused login is closed, so that guessing is slow
CREDENTIAL_BYTES_MAX = 1024


def _product_version() -> str:
    try:
        return version("corduroy-mq")
    except PackageNotFoundError:
        return "0.0.0"


PRODUCT_VERSION = _product_version()
# Clients ask these two which dialect is spoken: kombu changes a Celery worker's prefetch (basic.qos) in the way that
# works here only for a RabbitMQ of 3.3 to 3.x, and a task with a countdown would hold up all others.
SPOKEN_PRODUCT, SPOKEN_VERSION = "RabbitMQ", "3.12.0"


class Handshake:
    """The part of a connection that speaks until the virtual host is open."""

    def __init__(self, connection, broker):
        self.connection = connection
        self.broker = broker
        self.step = self._start_ok
        self.user: Any = None
        self.agreed = (0, 0)

    def start(self) -> None:
        """Send connection.start."""
        properties = {
            "capabilities": dict.fromkeys(CAPABILITIES, True),
            "cluster_name": self.broker.cluster_name,
            "copyright": "Licensed under the Apache License, Version 2.0",
            "information": f"CorduroyMQ {PRODUCT_VERSION}: one log for AMQP, MQTT, STOMP and RocketMQ",
            "platform": f"{python_implementation()} {python_version()}",
            "product": SPOKEN_PRODUCT,
            "version": SPOKEN_VERSION,
        }
        self._send(methods.ConnectionStart(0, 9, properties, " ".join(self._mechanisms()).encode(), b"en_US"))

    def _mechanisms(self) -> tuple[str, ...]:
        """EXTERNAL is offered whether this client has shown a certificate or not, as RabbitMQ does."""
        tls = self.connection.tls
        return (EXTERNAL, *MECHANISMS) if tls is not None and tls.external else MECHANISMS

    def take(self, method) -> None:
        """The client's next method; each step says which it expects."""
        self.step(method)

    def _send(self, method) -> None:
        self.connection.method(0, methods.encode(method))

    def _expect(self, method, kind) -> None:
        if not isinstance(method, kind):
            raise UnknownMethod(f"expected {kind.name}, got {method.name}", *method.ids)

    def _start_ok(self, method) -> None:
        self._expect(method, methods.ConnectionStartOk)
        self.connection.set_client_properties(method.client_properties)
        if method.mechanism not in self._mechanisms():
            self._break_off(f"unknown authentication mechanism '{method.mechanism}'")
            return
        if method.mechanism == EXTERNAL:
            self._log_in_by_certificate()
            return
        if len(method.response) > CREDENTIAL_BYTES_MAX:
            self._refuse(method.mechanism, "(longer than any)")
            return
        found = credentials(method)
        if found is None:
            self._break_off(f"malformed {method.mechanism} response")
            return
        name, password = found
        user = self.broker.access.snapshot.users.get(name)
        if not self.broker.access.may_connect(name, self.connection.peer_address[2]):
            self._refuse(method.mechanism, name)
            return
        self.step = self._waiting
        self.connection.pause_input(PASSWORD)

        def checked(correct: bool) -> None:
            if self.connection.finished:
                return
            if correct and user is not None:
                self._logged_in(user)
            else:
                self._refuse(method.mechanism, name)
            self.connection.resume_input(PASSWORD)

        self.broker.passwords.check(name, password, checked)

    def _log_in_by_certificate(self) -> None:
        """SASL EXTERNAL: the user is who the client's certificate says. The response (a name to act as) is not read."""
        name = self.connection.tls.login_name
        user = self.broker.access.snapshot.users.get(name)
        if user is None or not self.broker.access.may_connect(name, self.connection.peer_address[2]):
            self._refuse(EXTERNAL, "(no certificate with such a name)" if name is None else name)
        else:
            self._logged_in(user)

    def _logged_in(self, user) -> None:
        self.user = user
        self.step = self._tune_ok
        amqp = self.broker.config.amqp
        self._send(methods.ConnectionTune(amqp.channel_max, amqp.frame_max_bytes, amqp.heartbeat_seconds))

    def _waiting(self, method) -> None:
        raise AssertionError("input is not read while a password is checked")

    def _refuse(self, mechanism: str, name: str) -> None:
        """A refused login is told why only if the client understands; otherwise its socket is closed."""
        self.broker.metrics.logins_refused += 1
        self.step = self._nothing
        text = f"Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
        self.broker.report("login refused", user=name, peer="{}:{}".format(*self.connection.peer_address[:2]))
        if self.connection.understands("authentication_failure_close"):
            error = AmqpError(403, text, scope="connection")
            self.connection.close(403, error.reply_text)
        else:
            self.connection.finish_after(REFUSED_DELAY_SECONDS)

    def _break_off(self, reason: str) -> None:
        """What is no login at all: as with RabbitMQ, the socket ends after a while, without a close."""
        self.broker.metrics.logins_refused += 1
        self.step = self._nothing
        self.broker.report("login broken off", reason=reason, peer="{}:{}".format(*self.connection.peer_address[:2]))
        self.connection.finish_after(REFUSED_DELAY_SECONDS)

    def _nothing(self, method) -> None:
        """The login was refused: nothing is heard any more."""

    def _tune_ok(self, method) -> None:
        self._expect(method, methods.ConnectionTuneOk)
        amqp = self.broker.config.amqp
        frame_max = lower(method.frame_max, amqp.frame_max_bytes)
        if amqp.frame_max_bytes and (method.frame_max > amqp.frame_max_bytes or method.frame_max == 0):
            if method.frame_max:
                raise NotAllowed(
                    f"negotiated frame_max = {method.frame_max} is higher than the maximum allowed value "
                    f"({amqp.frame_max_bytes})"
                )
            frame_max = amqp.frame_max_bytes
        if frame_max < FRAME_BYTES_MIN:
            raise NotAllowed(
                f"negotiated frame_max = {frame_max} is lower than the minimum allowed value ({FRAME_BYTES_MIN})"
            )
        if amqp.channel_max and method.channel_max > amqp.channel_max:
            raise NotAllowed(
                f"negotiated channel_max = {method.channel_max} is higher than the maximum allowed value "
                f"({amqp.channel_max})"
            )
        self.connection.frame_bytes = frame_max
        self.agreed = (lower(method.channel_max, amqp.channel_max), method.heartbeat)
        self.step = self._open

    def _open(self, method) -> None:
        self._expect(method, methods.ConnectionOpen)
        name = method.virtual_host
        access, connections, user = self.broker.access, self.broker.connections, self.user.name
        if name in access.snapshot.vhosts:
            connections.check_vhost(self.broker.virtual_host(name), user)
        access.check_vhost(user, name)
        connections.check_user(user, access.user_limits(user).max_connections)
        self.connection.opened(self.broker.virtual_host(name), self.user, self.agreed)
        self._send(methods.ConnectionOpenOk(""))


def lower(asked: int, ours: int) -> int:
    """The smaller of two limits of which 0 means none."""
    return min(asked, ours) if asked and ours else asked or ours


def credentials(method) -> tuple[str, bytes] | None:
    """User name and password of a PLAIN or AMQPLAIN connection.start-ok; None when there are none in it."""
    response = method.response
    if method.mechanism == "PLAIN":
        parts = response.split(b"\0")
        if len(parts) != 3 or parts[0]:
            return None
        name, password = parts[1], parts[2]
    else:
        sized = len(response).to_bytes(4, "big") + response
        try:
            fields, _ = tables.decode(sized, 0, len(sized))
        except TableError:
            return None
        values = [fields.get(key) for key in ("LOGIN", "PASSWORD")]
        name, password = (value.encode() if isinstance(value, str) else value for value in values)
        if not isinstance(name, bytes) or not isinstance(password, bytes):
            return None
    return name.decode("utf-8", "backslashreplace"), password
