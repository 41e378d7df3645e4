"""The fields of requests, as typed headers: what must be there, what may, and of which type.

A hot request's verb asks the frame instead (Frame.text, Frame.number). Source: RocketMQ's *RequestHeader classes.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from protocols.remoting.fields import FieldError, missing
from protocols.remoting.frame import Frame


class Header(msgspec.Struct, kw_only=True, rename="camel", gc=False):
    """Field names on the wire are these in camel case. What is not named here is taken and left alone."""


class BrokerAddress(Header):
    """Which broker: UNREGISTER_BROKER, QUERY_DATA_VERSION."""

    broker_name: str
    broker_addr: str
    cluster_name: str
    broker_id: int


class RegisterBroker(BrokerAddress):
    """REGISTER_BROKER. `body_crc32` is CRC-32 & 0x7fffffff of the body as sent; 0 = not checked."""

    ha_server_addr: str
    heartbeat_timeout_millis: int | None = None
    enable_acting_master: bool | None = None  # None: a broker older than acting masters
    compressed: bool = False
    body_crc32: int = 0
    zone_name: str | None = msgspec.field(default=None, name="__ZONE_NAME")


class BrokerHeartbeat(Header):
    """BROKER_HEARTBEAT; what else it carries is for a controller."""

    cluster_name: str
    broker_addr: str
    broker_name: str


class GetRouteInfo(Header):
    """GET_ROUTEINFO_BY_TOPIC."""

    topic: str
    accept_standard_json_only: bool = False
    zone_mode: bool = msgspec.field(default=False, name="__ZONE_MODE")
    zone_name: str = msgspec.field(default="", name="__ZONE_NAME")


class TopicInNamesrv(Header):
    """DELETE_TOPIC_IN_NAMESRV, REGISTER_TOPIC_IN_NAMESRV."""

    topic: str
    cluster_name: str = ""


class BrokerName(Header):
    """WIPE_WRITE_PERM_OF_BROKER, ADD_WRITE_PERM_OF_BROKER."""

    broker_name: str


class BrokerGroup(Header):
    """GET_BROKER_MEMBER_GROUP."""

    cluster_name: str
    broker_name: str


class ClusterTopics(Header):
    """GET_TOPICS_BY_CLUSTER."""

    cluster: str


class KvNamespace(Header):
    """GET_KVLIST_BY_NAMESPACE."""

    namespace: str


class KvKey(KvNamespace):
    """GET_KV_CONFIG, DELETE_KV_CONFIG."""

    key: str


class KvItem(KvKey):
    """PUT_KV_CONFIG."""

    value: str


H = TypeVar("H", bound=Header)


def read(kind: type[H], frame: Frame) -> H:
    """The frame's fields as that header. Raises FieldError, which names the field."""
    fields = frame.fields()
    for field in msgspec.structs.fields(kind):
        if field.required and field.encode_name not in fields:
            raise FieldError(missing(field.encode_name.encode()))
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`")
        raise FieldError(f"the custom field <{name}> cannot be {fields.get(name, '')[:40]!r}: {error}") from None
