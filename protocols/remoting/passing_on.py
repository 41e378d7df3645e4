"""What tools ask of a consumer: passed on to its connection, and its answer back, within a time.

Source: RocketMQ's AdminBrokerProcessor (callConsumer, consumeMessageDirectly) and Broker2Client.getConsumeStatus.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from core.queries import id_of
from protocols.remoting import headers
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.fastjson import BodyError, decode
from protocols.remoting.message_ids import parse_offset_id

CALL_SECONDS, STATUS_SECONDS = 10.0, 5.0  # Broker2Client's


class ToConsumer(headers.Header):
    """GET_CONSUMER_RUNNING_INFO, CONSUME_MESSAGE_DIRECTLY."""

    consumer_group: str
    client_id: str = ""
    msg_id: str = ""
    topic: str = ""


class ConsumerStatus(headers.Header):
    """INVOKE_BROKER_TO_GET_CONSUMER_STATUS. client_addr: the id of one member; empty = all."""

    topic: str
    group: str
    client_addr: str = ""


class Offsets(msgspec.Struct, rename="camel"):
    """GetConsumerStatusBody, as a member answers: a queue -> the offset that it is at."""

    message_queue_table: dict[str, int] | None = None


def _member(connection: Any, asked: ToConsumer) -> Any:
    """The connection of the consumer that is asked. Raises Refused."""
    member = connection.clients.consumer(asked.consumer_group.encode(), asked.client_id)
    if member is None:
        remark = f"The Consumer <{asked.consumer_group}> <{asked.client_id}> not online"
        raise Refused(Response.SYSTEM_ERROR, remark)
    return member


def _call(connection: Any, opaque: int, asked: ToConsumer, request: tuple[int, Mapping[str, str], bytes]) -> None:
    code, said, body = request
    member = _member(connection, asked)
    fields = [(name.encode(), value.encode()) for name, value in said.items()]
    member.send_request(code, partial(_answer, connection, opaque, asked, member), CALL_SECONDS, fields, body)


def _answer(connection: Any, opaque: int, asked: ToConsumer, member: Any, frame: Any) -> None:
    """What the consumer said, as it said it."""
    who = f"consumer <{asked.consumer_group}> <{asked.client_id}>"
    if frame is not None:
        fields = [(name.encode(), value.encode()) for name, value in frame.fields().items()]
        connection.respond(opaque, frame.code, frame.remark, fields, frame.body())
    elif member.finished:
        connection.respond(opaque, Response.SYSTEM_ERROR, f"invoke {who} Exception: its connection ended")
    else:
        remark = f"{who} Timeout: no answer within {CALL_SECONDS:.0f} s"
        connection.respond(opaque, Response.CONSUME_MSG_TIMEOUT, remark)


def running_info(connection: Any, frame: Any) -> None:
    """GET_CONSUMER_RUNNING_INFO."""
    asked = headers.read(ToConsumer, frame)
    _call(connection, frame.opaque, asked, (frame.code, frame.fields(), frame.body()))


def consume_directly(connection: Any, frame: Any) -> None:
    """CONSUME_MESSAGE_DIRECTLY: the consumer is given one message, and says what became of it."""
    asked = headers.read(ToConsumer, frame)
    _member(connection, asked)
    broker, opaque = connection.broker, frame.opaque
    fields = frame.fields() | {"brokerName": connection.remoting.topics.rules.broker}
    topic = broker.topics.find(asked.topic.encode())
    if topic is not None:
        fields["topicSysFlag"] = str(topic.config.sys_flag)
    group = broker.groups.config(asked.consumer_group.encode())
    if group is not None:
        fields["groupSysFlag"] = str(group.group_sys_flag)
    try:
        _, offset = parse_offset_id(asked.msg_id.encode())
    except ValueError as error:
        raise Refused(Response.SYSTEM_ERROR, f"msgId {asked.msg_id[:60]!r}: {error}") from None

    def found(result: Any) -> None:
        record = result[0].message if isinstance(result, list) and result else None
        if not isinstance(record, bytes):
            connection.respond(opaque, Response.SYSTEM_ERROR, f"can not find message by the offset, {offset}")
            return
        try:
            _call(connection, opaque, asked, (Request.CONSUME_MESSAGE_DIRECTLY, fields, record))
        except Refused as error:
            connection.respond(opaque, error.code, error.remark)

    broker.queries.by_id(id_of(offset) if 0 <= offset < 1 << 63 else "", found)


class Statuses:
    """The answers of several members, as one."""

    def __init__(self, connection: Any, opaque: int):
        self._connection = connection
        self._opaque = opaque
        self._missing = 0
        self._rows: list[bytes] = []

    def ask(self, members: Mapping[Any, str], asked: ConsumerStatus) -> None:
        """Ask them: connection -> client id."""
        fields = [(b"topic", asked.topic.encode()), (b"group", asked.group.encode())]
        self._missing = 1 + len(members)
        for member, client_id in members.items():
            take = partial(self._take, client_id)
            member.send_request(Request.GET_CONSUMER_STATUS_FROM_CLIENT, take, STATUS_SECONDS, fields)
        self._took()

    def _take(self, client_id: str, frame: Any) -> None:
        if frame is not None and frame.code == Response.SUCCESS and frame.body_size:
            try:
                table = decode(frame.body(), Offsets).message_queue_table or {}
            except BodyError:  # as one that does not answer
                table = {}
            queues = b",".join(b"%b:%d" % (key.encode(), offset) for key, offset in table.items())
            self._rows.append(b"%b:{%b}" % (msgspec.json.encode(client_id), queues))
        self._took()

    def _took(self) -> None:
        self._missing -= 1
        if not self._missing:
            body = b'{"consumerTable":{%b},"messageQueueTable":{}}' % b",".join(self._rows)
            self._connection.respond(self._opaque, Response.SUCCESS, body=body)


def status(connection: Any, frame: Any) -> None:
    """INVOKE_BROKER_TO_GET_CONSUMER_STATUS: where the members are in a topic's queues; without who does not answer."""
    asked = headers.read(ConsumerStatus, frame)
    group = connection.clients.consumers(asked.group.encode())
    if group is None:
        remark = f"No Any Consumer online in the consumer group: [{asked.group}]"
        raise Refused(Response.SYSTEM_ERROR, remark)
    members = {
        member: each.client_id
        for member, each in group.members.items()
        if not asked.client_addr.strip() or each.client_id == asked.client_addr
    }
    Statuses(connection, frame.opaque).ask(members, asked)


VERBS = {
    Request.GET_CONSUMER_RUNNING_INFO: running_info,
    Request.CONSUME_MESSAGE_DIRECTLY: consume_directly,
    Request.INVOKE_BROKER_TO_GET_CONSUMER_STATUS: status,
}
