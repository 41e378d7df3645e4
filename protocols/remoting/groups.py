"""Verbs about consumer groups' configuration: make, change, delete, show. Source: AdminBrokerProcessor."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec

from core.state.records import GroupFact
from protocols.remoting import names
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import FAQ, Refused
from protocols.remoting.fastjson import decode
from protocols.remoting.fields import as_text
from protocols.remoting.making import used_group

NO_GROUP = "subscription group [{}] does not exist, " + FAQ
PAGE_GROUPS = 10_000  # in one answer at most
Int = Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)]


class GroupConfig(msgspec.Struct, rename="camel", kw_only=True):
    """RocketMQ's SubscriptionGroupConfig."""

    group_name: str
    consume_enable: bool = True
    consume_from_min_enable: bool = True
    consume_broadcast_enable: bool = True
    consume_message_orderly: bool = False
    retry_queue_nums: Int = 1
    retry_max_times: Int = 16
    broker_id: Int = 0
    which_broker_when_consume_slowly: Int = 1
    notify_consumer_ids_changed_enable: bool = True
    group_sys_flag: Int = 0
    consume_timeout_minute: Int = 15
    attributes: dict[str, str] | None = None
    group_retry_policy: Any = None
    subscription_data_set: Any = None


SHARED = [name for name in GroupConfig.__struct_fields__ if name in GroupFact.__struct_fields__]


class GroupConfigs(msgspec.Struct, rename="camel"):
    """The body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST."""

    group_config_list: Annotated[list[GroupConfig], msgspec.Meta(max_length=PAGE_GROUPS)]


def find(connection: Any, group: bytes) -> GroupFact:
    """The group, made when that may be. Raises Refused."""
    config = used_group(connection.broker.groups, group)
    if config is None:
        raise Refused(Response.SUBSCRIPTION_GROUP_NOT_EXIST, NO_GROUP.format(as_text(group)))
    return config


def answer_when_committed(connection: Any, opaque: int) -> None:
    """SUCCESS, as soon as what was appended is safe."""
    connection.broker.turn.schedule()
    connection.broker.log.when_committed(partial(connection.respond, opaque, Response.SUCCESS))


def _update(connection: Any, frame: Any) -> None:
    _put(connection, decode(frame.body(), GroupConfig))
    answer_when_committed(connection, frame.opaque)


def _update_list(connection: Any, frame: Any) -> None:
    configs = decode(frame.body(), GroupConfigs).group_config_list
    for config in configs:
        _check(config)
    for config in configs:
        _put(connection, config)
    answer_when_committed(connection, frame.opaque)


def _check(config: GroupConfig) -> None:
    refusal = names.group_refusal(config.group_name.encode())
    if refusal:
        raise Refused(Response.INVALID_PARAMETER, refusal)


def _put(connection: Any, config: GroupConfig) -> None:
    _check(config)
    groups = connection.broker.groups
    known = groups.config(config.group_name.encode())
    attributes = _altered({} if known is None else known.attributes, config.attributes or {})
    more = {"groupRetryPolicy": config.group_retry_policy, "subscriptionDataSet": config.subscription_data_set}
    more = {name: value for name, value in more.items() if value is not None}
    shared = {name: getattr(config, name) for name in SHARED} | {"attributes": attributes}
    groups.put(GroupFact(name=config.group_name, more=msgspec.json.encode(more) if more else b"", **shared))


def _altered(attributes: dict[str, str], changes: dict[str, str]) -> dict[str, str]:
    """RocketMQ's way to change attributes: +NAME sets one, -NAME removes it. Raises Refused."""
    made = dict(attributes)
    for name, value in changes.items():
        if name[:1] not in ("+", "-") or not name[1:]:
            raise Refused(Response.SYSTEM_ERROR, f"add/alter attribute format is wrong: {name[:100]}")
        if name[0] == "+":
            made[name[1:]] = value
        else:
            made.pop(name[1:], None)
    return made


def shown(fact: GroupFact) -> dict[str, Any]:
    """The group as RocketMQ's JSON has it."""
    found: dict[str, Any] = {"groupName": fact.name, "groupRetryPolicy": {"type": "CUSTOMIZED"}}
    fields = {field.name: field.encode_name for field in msgspec.structs.fields(GroupConfig)}
    found |= {fields[name]: getattr(fact, name) for name in SHARED}
    if fact.more:
        found |= msgspec.json.decode(fact.more)
    return found


def _all(connection: Any, frame: Any) -> None:
    groups = connection.broker.groups
    found = groups.all()
    first = max(0, frame.number_or(b"groupSeq", 0))
    count = min(max(1, frame.number_or(b"maxGroupNum", PAGE_GROUPS)), PAGE_GROUPS)
    version = groups.version
    body = {
        "dataVersion": {"counter": version.counter, "stateVersion": 0, "timestamp": version.ms},
        "forbiddenTable": {},
        "subscriptionGroupTable": {fact.name: shown(fact) for fact in found[first : first + count]},
    }
    fields = [(b"totalGroupNum", len(found))]
    connection.respond(frame.opaque, Response.SUCCESS, None, fields, msgspec.json.encode(body))


def _one(connection: Any, frame: Any) -> None:
    group = frame.text(b"group")
    try:
        fact = find(connection, group)
    except Refused as error:
        raise Refused(error.code, f"No group in this broker. group: {as_text(group)}") from None
    connection.respond(frame.opaque, Response.SUCCESS, None, (), msgspec.json.encode(shown(fact)))


def _delete(connection: Any, frame: Any) -> None:
    clean, group = frame.get(b"cleanOffset") == b"true", frame.text(b"groupName")
    connection.broker.groups.delete(group, clean_offsets=clean)
    for topic in connection.broker.topics.all():
        topic.readers.pop(group, None)
    answer_when_committed(connection, frame.opaque)


VERBS = {
    Request.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP: _update,
    Request.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST: _update_list,
    Request.GET_ALL_SUBSCRIPTIONGROUP_CONFIG: _all,
    Request.GET_SUBSCRIPTIONGROUP_CONFIG: _one,
    Request.DELETE_SUBSCRIPTIONGROUP: _delete,
}
