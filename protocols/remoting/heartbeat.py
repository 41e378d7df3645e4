"""Verbs of clients that come, stay and go, and what tools ask of them; leases of queues.

A consumer's first heartbeat makes its group and its retry topic, which its next route look-up must find. Source:
RocketMQ's ClientManageProcessor, ConsumerManageProcessor, AdminBrokerProcessor.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec

from core.routing.selector import SelectorError
from core.routing.selector import parse as parse_selector
from core.state.records import GroupFact
from protocols.remoting import names
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.fastjson import decode
from protocols.remoting.fields import as_text
from protocols.remoting.groups import find
from protocols.remoting.making import UNIT_SUB, make_topic
from protocols.remoting.members import TAG, Clients, ConsumerData, Member, Subscription

BODY_BYTES_MAX = 1 << 20
GROUPS_MAX = 1024  # that one client is in
QUEUES_MAX = 10_000  # leased by one request
NAME_MAX = 255


class ProducerData(msgspec.Struct, rename="camel"):
    """A group that a client produces for."""

    group_name: str


class Heartbeat(msgspec.Struct, rename="camel", kw_only=True):
    """RocketMQ's HeartbeatData. A fingerprint that is not 0 is version 2's: it may leave subscriptions out."""

    client_id: str = msgspec.field(name="clientID")
    consumer_data_set: Annotated[list[ConsumerData], msgspec.Meta(max_length=GROUPS_MAX)] | None = None
    producer_data_set: Annotated[list[ProducerData], msgspec.Meta(max_length=GROUPS_MAX)] | None = None
    without_sub: bool = False


class Check(msgspec.Struct, rename="camel"):
    """RocketMQ's CheckClientRequestBody."""

    subscription_data: Subscription | None = None


class QueueName(msgspec.Struct, rename="camel"):
    """RocketMQ's MessageQueue."""

    broker_name: str
    queue_id: int
    topic: str


class LockBatch(msgspec.Struct, rename="camel"):
    """RocketMQ's LockBatchRequestBody, and UnlockBatchRequestBody."""

    consumer_group: str
    client_id: str
    mq_set: Annotated[list[QueueName], msgspec.Meta(max_length=QUEUES_MAX)]


def _decoded(frame: Any, kind: Any) -> Any:
    if frame.body_size > BODY_BYTES_MAX:
        raise Refused(Response.SYSTEM_ERROR, f"a body of {frame.body_size} bytes exceeds {BODY_BYTES_MAX}")
    return decode(frame.body(), kind)


def _heartbeat(connection: Any, frame: Any) -> None:
    beat = _decoded(frame, Heartbeat)
    clients: Clients = connection.clients
    member = Member(beat.client_id[:NAME_MAX], frame.language, frame.version, connection.remoting.now())
    changed = made = False
    for consumer in beat.consumer_data_set or ():
        name = consumer.group_name.encode()
        try:
            group = find(connection, name)
        except Refused:  # it may not be made: RocketMQ passes it over, and its pulls are told
            continue
        made |= _make_retry_topic(connection.broker, group, unit=consumer.unit_mode)
        data = None if beat.without_sub else consumer
        notifies = group.notify_consumer_ids_changed_enable
        changed |= clients.consume(name, connection, member, data, notifies=notifies)
    for producer in beat.producer_data_set or ():
        if not names.group_refusal(producer.group_name.encode()):
            clients.produce(producer.group_name.encode(), connection, member)
    fields = [(b"IS_SUB_CHANGE", b"true" if changed else b"false"), (b"IS_SUPPORT_HEART_BEAT_V2", b"true")]
    answer = partial(connection.respond, frame.opaque, Response.SUCCESS, None, fields)
    if made:
        connection.broker.log.when_committed(answer)
    else:
        answer()


def _make_retry_topic(broker: Any, group: GroupFact, *, unit: bool) -> bool:
    """Whether it was not there."""
    name = names.retry_topic(group.name.encode())
    if group.retry_queue_nums <= 0 or broker.topics.find(name) is not None:
        return False
    make_topic(broker.topics, name, group.retry_queue_nums, sys_flag=UNIT_SUB if unit else 0)
    return True


def _unregister(connection: Any, frame: Any) -> None:
    frame.text(b"clientID")
    for field, consumes in ((b"producerGroup", False), (b"consumerGroup", True)):
        group = frame.get(field)
        if group is not None:
            connection.clients.leave(connection, group, consumes=consumes)
    connection.respond(frame.opaque, Response.SUCCESS)


def _consumer_ids(connection: Any, frame: Any) -> None:
    group = frame.text(b"consumerGroup")
    found = connection.clients.consumers(group)
    if found is None:
        raise Refused(Response.SYSTEM_ERROR, f"no consumer for this group, {as_text(group)}")
    body = msgspec.json.encode({"consumerIdList": found.client_ids()})
    connection.respond(frame.opaque, Response.SUCCESS, None, (), body)


def _check(connection: Any, frame: Any) -> None:
    """Whether a subscription can be understood; tags always can."""
    asked = _decoded(frame, Check).subscription_data
    if asked is not None and (asked.expression_type or TAG) != TAG:
        if asked.expression_type != "SQL92":
            raise Refused(Response.SUBSCRIPTION_PARSE_FAILED, f"no filter of type {asked.expression_type!r:.100}")
        try:
            parse_selector(asked.sub_string or "")
        except SelectorError as error:
            raise Refused(Response.SUBSCRIPTION_PARSE_FAILED, str(error)) from None
    connection.respond(frame.opaque, Response.SUCCESS)


# -- what tools ask


def _connection_row(connection: Any, member: Member) -> dict[str, Any]:
    return {
        "clientAddr": "{}:{}".format(*connection.peer_address[:2]),
        "clientId": member.client_id,
        "language": member.language or "OTHER",
        "version": member.version,
    }


def _consumer_connections(connection: Any, frame: Any) -> None:
    name = frame.text(b"consumerGroup")
    group = connection.clients.consumers(name)
    if group is None:
        raise Refused(Response.CONSUMER_NOT_ONLINE, f"the consumer group[{as_text(name)}] not online")
    body = {
        "connectionSet": [_connection_row(*each) for each in group.members.items()],
        "consumeFromWhere": group.consume_from_where,
        "consumeType": group.consume_type,
        "messageModel": group.message_model,
        "subscriptionTable": {topic.decode(): each for topic, each in group.subscriptions.items()},
    }
    connection.respond(frame.opaque, Response.SUCCESS, None, (), msgspec.json.encode(body))


def _producer_connections(connection: Any, frame: Any) -> None:
    name = frame.text(b"producerGroup")
    members = connection.clients.producers(name)
    if members is None:
        raise Refused(Response.SYSTEM_ERROR, f"the producer group[{as_text(name)}] not exist")
    body = {"connectionSet": [_connection_row(*each) for each in members.items()]}
    connection.respond(frame.opaque, Response.SUCCESS, None, (), msgspec.json.encode(body))


def _all_producers(connection: Any, frame: Any) -> None:
    remoting = connection.remoting
    ago = remoting.broker.clock.ms - remoting.now() * 1000

    def row(each: Any, member: Member) -> dict[str, Any]:
        shown = _connection_row(each, member)
        shown["remoteIP"] = "/" + shown.pop("clientAddr")
        return shown | {"lastUpdateTimestamp": int(ago + member.heard * 1000)}

    producers = connection.clients.producing.items()
    data = {group.decode(): [row(*each) for each in members.items()] for group, members in producers}
    connection.respond(frame.opaque, Response.SUCCESS, None, (), msgspec.json.encode({"data": data}))


# -- leases


def _lock(connection: Any, frame: Any) -> None:
    asked = _decoded(frame, LockBatch)
    queues = {(each.topic, each.queue_id): each for each in asked.mq_set}
    got = connection.remoting.locks.lock(asked.consumer_group.encode(), asked.client_id, queues)
    body = msgspec.json.encode({"lockOKMQSet": [each for key, each in queues.items() if key in got]})
    connection.respond(frame.opaque, Response.SUCCESS, None, (), body)


def _unlock(connection: Any, frame: Any) -> None:
    asked = _decoded(frame, LockBatch)
    queues = [(each.topic, each.queue_id) for each in asked.mq_set]
    connection.remoting.locks.unlock(asked.consumer_group.encode(), asked.client_id, queues)
    connection.respond(frame.opaque, Response.SUCCESS)


VERBS = {
    Request.HEART_BEAT: _heartbeat,
    Request.UNREGISTER_CLIENT: _unregister,
    Request.GET_CONSUMER_LIST_BY_GROUP: _consumer_ids,
    Request.CHECK_CLIENT_CONFIG: _check,
    Request.GET_CONSUMER_CONNECTION_LIST: _consumer_connections,
    Request.GET_PRODUCER_CONNECTION_LIST: _producer_connections,
    Request.GET_ALL_PRODUCER_INFO: _all_producers,
    Request.LOCK_BATCH_MQ: _lock,
    Request.UNLOCK_BATCH_MQ: _unlock,
}
