"""What a request is refused with: a code that clients decide by, and a remark for people.

A verb raises Refused for what RocketMQ has a code of its own for; what the core refuses is said in the code next to it.
"""

from __future__ import annotations

from core import errors as core_errors
from core.errors import BrokerError
from protocols.remoting.codes import Response

FAQ = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."  # FAQUrl.suggestTodo, 5.5.0
REMARK_BYTES_MAX = 4096

RESPONSES: dict[type[BrokerError], Response] = {
    core_errors.NotFound: Response.TOPIC_NOT_EXIST,
    core_errors.AccessRefused: Response.NO_PERMISSION,
    core_errors.LoginRefused: Response.NO_PERMISSION,
    core_errors.NotAllowed: Response.NO_PERMISSION,
    core_errors.ResourceLocked: Response.NO_PERMISSION,
    core_errors.PreconditionFailed: Response.INVALID_PARAMETER,
    core_errors.CommandInvalid: Response.INVALID_PARAMETER,
    core_errors.NotSupported: Response.REQUEST_CODE_NOT_SUPPORTED,
    core_errors.LimitReached: Response.SYSTEM_ERROR,  # clients try another broker, which may have room
}


class Refused(Exception):
    """A verb's refusal: the code, and the remark without more around it."""

    def __init__(self, code: int, remark: str):
        super().__init__(remark)
        self.code = code
        self.remark = remark


def not_supported(code: int) -> Refused:
    """What RocketMQ says of a request that it does not know, the blank in front included."""
    return Refused(Response.REQUEST_CODE_NOT_SUPPORTED, f" request type {code} not supported")


def translate(error: BrokerError) -> Refused:
    """The native form of what the core refuses."""
    for kind in type(error).__mro__:
        code = RESPONSES.get(kind)
        if code is not None:
            return Refused(code, str(error))
    return Refused(Response.SYSTEM_ERROR, str(error))


def remark_bytes(text: str) -> bytes:
    """The remark as it goes out: at most REMARK_BYTES_MAX of whole UTF-8 characters."""
    return text.encode("utf-8", "backslashreplace")[:REMARK_BYTES_MAX].decode("utf-8", "ignore").encode()
