"""Pulls: what lies in a topic's queue from an offset on, as it lies in the log; or a wait until something does.

The checks, their order, codes and remarks are those of RocketMQ's PullMessageProcessor, the cases of an offset those of
DefaultMessageStore.getMessage. A pull that finds nothing waits (long_polling.py) if its client asked for it.
"""

from __future__ import annotations

from typing import Any

import cython

from core.routing import selector
from protocols.remoting import expressions
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import FAQ, Refused
from protocols.remoting.long_polling import LongPolling
from protocols.remoting.rules import READ
from protocols.remoting.stored import record_properties

if cython.compiled:
    from cython.cimports.protocols.remoting.connection import RemotingConnection
    from cython.cimports.protocols.remoting.frame import Frame
    from cython.cimports.protocols.remoting.frame_writer import FrameWriter
    from cython.cimports.protocols.remoting.send_header import number
else:
    from protocols.remoting.connection import RemotingConnection
    from protocols.remoting.frame import Frame
    from protocols.remoting.frame_writer import FrameWriter
    from protocols.remoting.send_header import number

COMMIT_OFFSET, SUSPEND, SUBSCRIPTION = 1, 2, 4  # bits of a pull's sysFlag
MESSAGES_MAX, BYTES_MAX = 32, 256 << 10  # RocketMQ's maxTransferCountOnMessageInMemory, maxTransferBytes...
NO_TYPE, BROKER, GROUP, TOPIC, BROADCASTING, PAIR = range(6)  # what is forbidden (RocketMQ's ForbiddenType)
EXPRESSIONS_MAX = 1024  # remembered, of those that come with pulls
SQL92 = "SQL92"
SELECTED_MAX = 256  # messages whose properties are looked at for one answer
UNREADABLE = "parse the consumer's subscription failed"
OVERLOAD = "[OVERLOAD]system busy, start flow control for a while"
OFFSET_RESET = "OFFSET_RESET"
NOT_FOUND, RETRY, MOVED = Response.PULL_NOT_FOUND, Response.PULL_RETRY_IMMEDIATELY, Response.PULL_OFFSET_MOVED


class Forbidden(Exception):
    """NO_PERMISSION, and what it is that may not be read."""

    def __init__(self, kind: int, remark: str):
        super().__init__(remark)
        self.kind = kind


@cython.final
@cython.cclass
class Pull:
    """One pull on its way: it reads, waits, and is answered once.

    offset    where it reads on: what was looked at before had no tag that is wanted
    asked     where the client asked to begin
    due_ms    since it began to wait: when it is answered whatever there is; bucket is long_polling's
    suspend_ms  how long it may wait; 0 = it may not
    codes     the hashes of the tags that are wanted; None = all
    selector  says by a message's properties whether it is wanted; None = as far as tags tell
    traffic   counts what is given to its group
    began_ms  since when it waits for the disk; 0 = it does not
    """

    def __init__(self, pulls: Pulls, connection: RemotingConnection, opaque: int):
        self.pulls = pulls
        self.connection = connection
        self.opaque = opaque
        self.topic = self.queue = self.codes = self.selector = None
        self.offset = self.asked = self.due_ms = 0
        self.count = MESSAGES_MAX
        self.group_flag = 0
        self.suspend_ms = self.bucket = self.began_ms = 0
        self.traffic = None

    @cython.ccall
    def go(self):
        """Read, or say why there is nothing to read. Called when it came, and when there is more in its queue."""
        queue: object = self.queue
        least: cython.longlong = queue.min_offset
        most: cython.longlong = queue.max_offset
        if most == 0:
            self._nothing("NO_MESSAGE_IN_QUEUE", 0, self.asked == 0)
        elif self.offset < least:
            self._nothing("OFFSET_TOO_SMALL", least, False)
        elif self.offset > most:
            self._nothing("OFFSET_OVERFLOW_BADLY", most, False)
        elif self.offset == most:
            self._nothing("OFFSET_OVERFLOW_ONE", most, True)
        else:
            self.began_ms = 0
            found = queue.read(self.offset, self.count, BYTES_MAX, self.codes, self.read)
            if found is not None:
                self.read(found)
            else:
                self.began_ms = self.pulls.clock.tick()

    @cython.ccall
    def read(self, found):
        """What a read found: messages, none that are wanted, or an error of the disk."""
        if isinstance(found, Exception):
            self.connection.respond(self.opaque, Response.SYSTEM_ERROR, f"the message cannot be read: {found}")
            return
        records, next_offset, _ = found
        if self.selector is not None and records:
            records = [each for each in records if self.selector.matches(record_properties(each).get)]
        if records:
            self._count(records, next_offset)
            self.answer(Response.SUCCESS, "FOUND", next_offset, records)
        elif self.selector is not None and next_offset < min(self.queue.max_offset, self.asked + SELECTED_MAX):
            self.offset = next_offset
            self.go()
        elif self.due_ms:  # it waited, and what came is not for it: it waits on, behind that
            self.offset = next_offset
            self.pulls.polling.park_behind(self)
        else:
            self.answer(RETRY, "NO_MATCHED_MESSAGE", next_offset)

    @cython.cfunc
    def _count(self, records: list, next_offset: cython.longlong):
        pulls: Pulls = self.pulls
        pulls.messages += len(records)
        pulls.found += 1
        took: cython.longlong = pulls.clock.tick() - self.began_ms if self.began_ms else 0
        if took > pulls.longest_ms:
            pulls.longest_ms = took
        self.traffic.give(records, took, self.queue.queue_id, next_offset)

    @cython.cfunc
    def _nothing(self, status: str, next_offset: cython.longlong, may_wait: cython.bint):
        if not self.due_ms:
            self.pulls.missed += 1
        if may_wait and self.suspend_ms:
            if not self.pulls.polling.park(self, self.suspend_ms):
                self.connection.respond(self.opaque, Response.SYSTEM_BUSY, OVERLOAD)
            return
        self.answer(NOT_FOUND if may_wait else MOVED, status, next_offset)

    @cython.ccall
    def time_is_up(self):
        """It waited as long as its client wanted."""
        if self.offset > self.asked:
            self.answer(RETRY, "NO_MATCHED_MESSAGE", self.offset)
        else:
            status = "OFFSET_OVERFLOW_ONE" if self.queue.max_offset else "NO_MESSAGE_IN_QUEUE"
            self.answer(NOT_FOUND, status, self.offset)

    @cython.ccall
    def answer(self, code: cython.int, status: str, next_offset: cython.longlong, records: object = b""):
        """Answer it; `records` go out as they lie in the log."""
        connection: RemotingConnection = self.connection
        if connection.finished:
            return
        connection.begin(self.opaque, code, status)
        writer: FrameWriter = connection.writer
        writer.number(b"suggestWhichBrokerId", 0)
        writer.number(b"nextBeginOffset", next_offset)
        writer.number(b"minOffset", self.queue.min_offset)
        writer.number(b"maxOffset", self.queue.max_offset)
        writer.number(b"topicSysFlag", self.topic.config.sys_flag)
        writer.number(b"groupSysFlag", self.group_flag)
        connection.end(records)


@cython.final
@cython.cclass
class Pulls:
    """Takes pulls of all native connections of one broker. `clients` = the members of its groups.

    Since start: messages = how many were given, found = in how many answers, missed = pulls that came when there was
    nothing, longest_ms = the longest that one waited for the disk."""

    def __init__(self, broker: Any, making: Any, clients: Any):
        self._topics = broker.topics
        self._groups = broker.groups
        self._clients = clients
        self.clock = broker.clock
        self.messages = self.found = self.missed = self.longest_ms = 0
        self._making = making
        self._rules = making.rules
        self._expressions: dict[tuple, expressions.Expression] = {}
        self.polling = LongPolling(broker.schedule, broker.clock, making.rules.parked_max)
        broker.topics.changed.append(self.polling.topic_changed)

    @cython.ccall
    def take(self, connection: RemotingConnection, frame: Frame):
        """PULL_MESSAGE, LITE_PULL_MESSAGE."""
        try:
            self._take(connection, frame)
        except Forbidden as error:
            fields = ((b"forbiddenType", error.kind),)
            connection.respond(frame.opaque, Response.NO_PERMISSION, str(error), fields)

    @cython.cfunc
    def _take(self, connection: RemotingConnection, frame: Frame):
        group: bytes = frame.text(b"consumerGroup")
        name: bytes = frame.text(b"topic")
        queue_id: cython.int = number(frame, b"queueId")
        offset: cython.longlong = frame.number(b"queueOffset")
        flags: cython.int = number(frame, b"sysFlag")
        commit_offset: cython.longlong = frame.number(b"commitOffset")
        suspend_ms: cython.longlong = frame.number(b"suspendTimeoutMillis")
        pull: Pull = Pull(self, connection, frame.opaque)
        pull.count = min(MESSAGES_MAX, max(1, number(frame, b"maxMsgNums")))
        config = self._group(group)
        pull.topic = self._topic(name, queue_id, connection)
        expression = self._expression(frame, flags, name, config)
        pull.codes = expression.codes
        if expression.kind != expressions.TAG:
            pull.selector = self._selector(expression)
        pull.queue = pull.topic.queues[queue_id]
        pull.traffic = pull.topic.reader(group)
        pull.offset = pull.asked = offset
        pull.group_flag = config.group_sys_flag
        pull.suspend_ms = suspend_ms if flags & SUSPEND and suspend_ms > 0 else 0
        if self._groups.resets:
            reset: cython.longlong = self._groups.take_reset(group, name, queue_id)
            if reset >= 0:
                pull.answer(MOVED, OFFSET_RESET, reset)
                return
        if flags & COMMIT_OFFSET and commit_offset >= 0:
            self._groups.commit(group, name, queue_id, commit_offset)
        pull.go()

    def reset(self, group: bytes, topic: Any, queue_id: int) -> None:
        """Where the group goes on in that queue was said by an operator: its pulls that wait there hear it at once."""
        for pull in self.polling.take(topic.queues[queue_id], topic.reader(group)):
            pull.answer(MOVED, OFFSET_RESET, self._groups.offset(group, topic.config.name, queue_id))
            self._groups.take_reset(group, topic.config.name, queue_id)

    def _group(self, group: bytes) -> Any:
        """The group, which may read here. Raises Refused, Forbidden."""
        if not self._rules.permission & READ:
            raise Forbidden(BROKER, f"the broker[{self._rules.address}] pulling message is forbidden")
        config = self._making.group(group)
        if config is None:
            remark = f"subscription group [{group.decode()}] does not exist, {FAQ}"
            raise Refused(Response.SUBSCRIPTION_GROUP_NOT_EXIST, remark)
        if not config.consume_enable:
            raise Forbidden(GROUP, f"subscription group no permission, {group.decode()}")
        return config

    def _topic(self, name: bytes, queue_id: int, connection: Any) -> Any:
        """The topic, which has that queue and may be read. Raises Refused, Forbidden."""
        topic = self._topics.find(name)
        if topic is None:
            raise Refused(Response.TOPIC_NOT_EXIST, f"topic[{name.decode()}] not exist, apply first please! {FAQ}")
        if not topic.config.perm & READ:
            raise Forbidden(TOPIC, f"the topic[{name.decode()}] pulling message is forbidden")
        if not 0 <= queue_id < topic.config.read_queues:
            host, port, _ = connection.peer_address
            queues = f"topic:[{name.decode()}] topicConfig.readQueueNums:[{topic.config.read_queues}]"
            remark = f"queueId[{queue_id}] is illegal, {queues} consumer:[/{host}:{port}]"
            raise Refused(Response.INVALID_PARAMETER, remark)
        return topic

    def _expression(self, frame: Any, flags: int, name: bytes, config: Any) -> expressions.Expression:
        """What is wanted: what the pull says, or what the group's last heartbeat said."""
        if flags & SUBSCRIPTION:
            return self._parsed(_decoded(frame.get(b"subscription")), _decoded(frame.get(b"expressionType")))
        return self._subscribed(frame, name, config)

    def _selector(self, expression: expressions.Expression) -> selector.Selector:
        """What chooses by properties. Raises Refused."""
        if not self._rules.property_filter:
            remark = f"The broker does not support consumer to filter message by {expression.kind}"
            raise Refused(Response.SYSTEM_ERROR, remark)
        try:
            if expression.kind == SQL92:
                return selector.parse(expression.text)
        except selector.SelectorError:
            pass
        raise Refused(Response.SUBSCRIPTION_PARSE_FAILED, UNREADABLE)

    def _parsed(self, text: str | None, kind: str | None) -> expressions.Expression:
        found = self._expressions.get((text, kind))
        if found is None:
            try:
                found = expressions.parse(text, kind)
            except expressions.ExpressionError:
                raise Refused(Response.SUBSCRIPTION_PARSE_FAILED, UNREADABLE) from None
            if len(self._expressions) >= EXPRESSIONS_MAX:
                self._expressions.clear()
            self._expressions[text, kind] = found
        return found

    def _subscribed(self, frame: Any, name: bytes, config: Any) -> expressions.Expression:
        members = self._clients.consumers(config.name.encode())
        if members is None:
            raise Refused(Response.SUBSCRIPTION_NOT_EXIST, f"the consumer's group info not exist{FAQ}")
        group = config.name
        if members.broadcasting and not config.consume_broadcast_enable:
            raise Forbidden(BROADCASTING, f"the consumer group[{group}] can not consume by broadcast way")
        subscription = members.subscription(name)
        if subscription is None:
            raise Refused(Response.SUBSCRIPTION_NOT_EXIST, f"the consumer's subscription not exist{FAQ}")
        if subscription.version < frame.number_or(b"subVersion", 0):
            raise Refused(Response.SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest")
        return self._parsed(subscription.sub_string, subscription.expression_type)


def _decoded(text: bytes | None) -> str | None:
    return None if text is None else text.decode("utf-8", "replace")


def pull(connection: Any, frame: Any) -> None:
    """PULL_MESSAGE, LITE_PULL_MESSAGE."""
    connection.remoting.pulls.take(connection, frame)


VERBS = {Request.PULL_MESSAGE: pull, Request.LITE_PULL_MESSAGE: pull}
