"""AMQP 0-9-1 refusals: what the core refuses, or a peer's bytes break, as a reply code, a scope and a text.

A *channel* error closes one channel (channel.close); a *connection* error, and any error on channel 0, closes the
connection (connection.close on channel 0). Source: spec 1.1 (constants) and RabbitMQ's choice of code per case.
"""

from __future__ import annotations

from core import errors as core_errors
from core.errors import BrokerError

CODE_NAMES = {
    200: "REPLY_SUCCESS",
    311: "CONTENT_TOO_LARGE",
    312: "NO_ROUTE",
    313: "NO_CONSUMERS",
    320: "CONNECTION_FORCED",
    402: "INVALID_PATH",
    403: "ACCESS_REFUSED",
    404: "NOT_FOUND",
    405: "RESOURCE_LOCKED",
    406: "PRECONDITION_FAILED",
    501: "FRAME_ERROR",
    502: "SYNTAX_ERROR",
    503: "COMMAND_INVALID",
    504: "CHANNEL_ERROR",
    505: "UNEXPECTED_FRAME",
    506: "RESOURCE_ERROR",
    530: "NOT_ALLOWED",
    540: "NOT_IMPLEMENTED",
    541: "INTERNAL_ERROR",
}
SOFT_CODES = frozenset({311, 312, 313, 403, 404, 405, 406})  # spec 1.1: soft errors close the channel only
INTERNAL_ERROR = 541
REPLY_TEXT_BYTES_MAX = 255  # a short string

CHANNEL = "channel"
CONNECTION = "connection"

CHANNEL_CLOSE: dict[type[BrokerError], int] = {
    core_errors.NotFound: 404,
    core_errors.AccessRefused: 403,
    core_errors.ResourceLocked: 405,
    core_errors.PreconditionFailed: 406,
    core_errors.LimitReached: 406,
}
CONNECTION_CLOSE: dict[type[BrokerError], int] = {
    core_errors.NotAllowed: 530,
    core_errors.CommandInvalid: 503,
    core_errors.NotSupported: 540,
    core_errors.LoginRefused: 403,
    core_errors.LimitReached: 530,  # on channel 0: a limit of connections or channels
}


def reply_text(code: int, text: str) -> str:
    """`NOT_FOUND - no queue 'q' in vhost '/'`, cut to a short string of whole UTF-8 characters."""
    whole = f"{CODE_NAMES[code]} - {text}" if text else CODE_NAMES[code]
    return whole.encode("utf-8", "backslashreplace")[:REPLY_TEXT_BYTES_MAX].decode("utf-8", "ignore")


class AmqpError(Exception):
    """A refusal on its way to the peer.

    code, text           the reply code, and the text without the code's name (`reply_text` has it)
    class_id, method_id  the method that failed, 0 and 0 if none did
    scope                CHANNEL or CONNECTION; by the code, unless given
    """

    def __init__(self, code: int, text: str, class_id: int = 0, method_id: int = 0, *, scope: str | None = None):
        assert code in CODE_NAMES
        super().__init__(reply_text(code, text))
        self.code = code
        self.text = text
        self.class_id = class_id
        self.method_id = method_id
        self.scope = scope or (CHANNEL if code in SOFT_CODES else CONNECTION)

    @property
    def reply_text(self) -> str:
        """The text as it goes out: with the code's name, at most 255 bytes."""
        return reply_text(self.code, self.text)


class ConnectionFault(AmqpError):
    """What a peer must never send; it closes the connection. Each subclass is one reply code."""

    reply_code = INTERNAL_ERROR

    def __init__(self, text: str, class_id: int = 0, method_id: int = 0):
        super().__init__(self.reply_code, text, class_id, method_id, scope=CONNECTION)


class FrameError(ConnectionFault):
    """The bytes break the framing."""

    reply_code = 501


class SyntaxViolation(ConnectionFault):
    """A method or content header whose fields do not fill its bytes exactly, or hold illegal values."""

    reply_code = 502


class TableError(SyntaxViolation):
    """A field table that is truncated, too deep, or holds an unknown type."""


class UnknownMethod(ConnectionFault):
    """A class and method id that AMQP 0-9-1 does not define, or that only a server may send."""

    reply_code = 503


class ChannelError(ConnectionFault):
    """A channel that is not open, or is open already."""

    reply_code = 504


class UnexpectedFrame(ConnectionFault):
    """A frame out of its turn: a body without a header, a method amid a content."""

    reply_code = 505


def translate(error: BrokerError, channel: int, class_id: int = 0, method_id: int = 0) -> AmqpError:
    """The AMQP form of a core refusal met on `channel` by the method with these ids."""
    tables = (CONNECTION_CLOSE, CHANNEL_CLOSE) if channel == 0 else (CHANNEL_CLOSE, CONNECTION_CLOSE)
    for table in tables:
        for kind in type(error).__mro__:
            code = table.get(kind)
            if code is not None:
                scope = CHANNEL if channel and table is CHANNEL_CLOSE else CONNECTION
                return AmqpError(code, str(error), class_id, method_id, scope=scope)
    return AmqpError(INTERNAL_ERROR, str(error), class_id, method_id)
