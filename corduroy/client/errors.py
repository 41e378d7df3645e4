"""What can go wrong: always a ClientError. What a broker refused is a BrokerError with its code and remark."""

from __future__ import annotations

from corduroy.client.codes import Response


class ClientError(Exception):
    """Whatever this client raises."""


class CodecError(ClientError):
    """Bytes that are not what the protocol says. The text names what is wrong."""


class MissingCodec(CodecError):
    """A body's compression needs a package that is not installed. The text names it."""


class InvalidMessage(ClientError):
    """A message that no broker would take, refused before it is sent."""


class Closed(ClientError):
    """The client was stopped, or not started."""


class ConnectionFailed(ClientError):
    """No connection to that address, or it was lost before the answer. Whether the request was done is not known."""


class RequestTimeout(ClientError):
    """No answer in time. Whether the request was done is not known."""


class NoRoute(ClientError):
    """No broker serves the topic, or none that may be used for this (read, write)."""


class BrokerError(ClientError):
    """What a broker or name server refused: `code` (ResponseCode) and `remark`, its own words."""

    def __init__(self, code: int, remark: str | None, address: str = ""):
        try:
            name = Response(code).name
        except ValueError:
            name = "code"
        super().__init__(f"{name} ({code}) from {address or 'the broker'}: {remark or 'no remark'}")
        self.code = code
        self.remark = remark or ""
        self.address = address


class BrokerSystemError(BrokerError):
    """1: anything that has no code of its own."""


class SystemBusy(BrokerError):
    """2: flow control; try later or elsewhere."""


class NotSupported(BrokerError):
    """3: the broker does not know the request."""


class MessageIllegal(BrokerError):
    """13: too big, or a topic that cannot be."""


class ServiceNotAvailable(BrokerError):
    """14: the disk is full, or the broker shuts down."""


class NoPermission(BrokerError):
    """16: reading or writing is off, or access control refused."""


class TopicNotExist(BrokerError):
    """17."""


class QueryNotFound(BrokerError):
    """22: no such offset, key or message."""


class SubscriptionRefused(BrokerError):
    """23 to 25, 27, 28: an expression that does not parse, or that the broker does not have yet."""


class GroupNotExist(BrokerError):
    """26: and groups are not made on use."""


class InvalidParameter(BrokerError):
    """29."""


class ConsumerNotOnline(BrokerError):
    """206: nobody of the group is connected."""


class OffsetIllegal(BrokerError):
    """208: an acknowledgement for what is not in the queue."""


BY_CODE: dict[int, type[BrokerError]] = {
    Response.SYSTEM_ERROR: BrokerSystemError,
    Response.SYSTEM_BUSY: SystemBusy,
    Response.REQUEST_CODE_NOT_SUPPORTED: NotSupported,
    Response.MESSAGE_ILLEGAL: MessageIllegal,
    Response.SERVICE_NOT_AVAILABLE: ServiceNotAvailable,
    Response.NO_PERMISSION: NoPermission,
    Response.TOPIC_NOT_EXIST: TopicNotExist,
    Response.QUERY_NOT_FOUND: QueryNotFound,
    Response.SUBSCRIPTION_PARSE_FAILED: SubscriptionRefused,
    Response.SUBSCRIPTION_NOT_EXIST: SubscriptionRefused,
    Response.SUBSCRIPTION_NOT_LATEST: SubscriptionRefused,
    Response.FILTER_DATA_NOT_EXIST: SubscriptionRefused,
    Response.FILTER_DATA_NOT_LATEST: SubscriptionRefused,
    Response.SUBSCRIPTION_GROUP_NOT_EXIST: GroupNotExist,
    Response.INVALID_PARAMETER: InvalidParameter,
    Response.CONSUMER_NOT_ONLINE: ConsumerNotOnline,
    Response.NO_MESSAGE: OffsetIllegal,
}


def refusal(code: int, remark: str | None, address: str = "") -> BrokerError:
    """The error for a response's code."""
    return BY_CODE.get(code, BrokerError)(code, remark, address)
