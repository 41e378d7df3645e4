"""Sends: one message or a batch into a topic's queue, answered when the log has it (architecture rule 8.2).

The checks, their order, codes and remarks are those of RocketMQ's SendMessageProcessor and of the hooks of its store.
One message serves all sends, one after the other: the log copies what it is given. See send_answers.py for the answers.
"""

from __future__ import annotations

from typing import Any

import cython

from core.flow import DISK, LOG
from protocols.remoting.batch import BatchError
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import Refused
from protocols.remoting.making import delay_level
from protocols.remoting.message_ids import host_bytes
from protocols.remoting.names import RETRY_PREFIX, TOPIC_MAX, UNSENDABLE
from protocols.remoting.properties import NAMES as PROPERTY_NAMES
from protocols.remoting.properties import entry, without
from protocols.remoting.rules import WRITE
from protocols.remoting.send_header import LETTERS, NAMES

if cython.compiled:
    from cython.cimports.core.native import Native
    from cython.cimports.core.queue.topic_queue import Topic
    from cython.cimports.core.wire import take
    from cython.cimports.protocols.remoting.batch import Batch
    from cython.cimports.protocols.remoting.connection import RemotingConnection
    from cython.cimports.protocols.remoting.frame import Frame
    from cython.cimports.protocols.remoting.message_ids import put_offset_id
    from cython.cimports.protocols.remoting.properties import (
        CLUSTER,
        DELAY,
        INNER_NUM,
        MSG_REGION,
        POP_CK,
        TIMER_DELAY_MS,
        TIMER_DELAY_SEC,
        TIMER_DELIVER_MS,
        TRACE_ON,
        TRAN_MSG,
        UNIQ_KEY,
        Properties,
        closed,
    )
    from cython.cimports.protocols.remoting.send_answers import SendAnswers
    from cython.cimports.protocols.remoting.send_header import SendHeader
else:
    from core.native import Native
    from core.queue.topic_queue import Topic
    from core.wire import take
    from protocols.remoting.batch import Batch
    from protocols.remoting.connection import RemotingConnection
    from protocols.remoting.frame import Frame
    from protocols.remoting.message_ids import put_offset_id
    from protocols.remoting.properties import (
        CLUSTER,
        DELAY,
        INNER_NUM,
        MSG_REGION,
        POP_CK,
        TIMER_DELAY_MS,
        TIMER_DELAY_SEC,
        TIMER_DELIVER_MS,
        TRACE_ON,
        TRAN_MSG,
        UNIQ_KEY,
        Properties,
        closed,
    )
    from protocols.remoting.send_answers import SendAnswers
    from protocols.remoting.send_header import SendHeader

BUSY = "[REJECTREQUEST]system busy, start flow control for a while"
NO_SPACE = (
    "service not available now. It may be caused by one of the following reasons: the broker's disk is full "
    "[{} bytes are free], messages are put to the slave, message store has been shut down, etc."
)
ILLEGAL = (
    "the message is illegal, maybe msg body or properties length not matched. msg body length limit {}B, "
    "msg properties length limit 32KB."
)
CRC_BYTES = 20  # of a record's properties: its own checksum
PROPERTIES_BYTES_MAX = cython.declare(cython.Py_ssize_t, 32767 - CRC_BYTES)
MESSAGE_BYTES = cython.declare(cython.Py_ssize_t, 256)  # what a message costs beside its body, about
ID_BYTES = cython.declare(cython.Py_ssize_t, 57)  # of a message id, and a comma
RETRY_SIGN = cython.declare(cython.uchar, 0x25)  # %: how the name of a retry topic begins
BATCHED = cython.declare(cython.int, 0xC0)  # bits of sys flag: a record that holds a batch
TRANSACTION_BITS = cython.declare(cython.int, 0xC)
ONEWAY = cython.declare(cython.int, 2)  # the flag of a request that nobody waits for
HOST_BITS = cython.declare(cython.int, 0x30)
MULTI_TAGS = cython.declare(cython.int, 0x2)
NO_HOST = bytes(8)
VALUE_END = b"\x02"
VALUE_END_BYTE = cython.declare(cython.uchar, 2)
COMMA = cython.declare(cython.int, 0x2C)


def _bits(*which: int) -> int:
    return sum(1 << each for each in which)


OURS = cython.declare(cython.ulonglong, _bits(MSG_REGION, TRACE_ON, CLUSTER, POP_CK))  # not for a sender to say
WAITS = cython.declare(cython.ulonglong, _bits(TRAN_MSG, TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS))
OUR_NAMES = tuple(PROPERTY_NAMES[each] for each in (MSG_REGION, TRACE_ON, CLUSTER, POP_CK))


@cython.final
@cython.cclass
class Sends:
    """Takes sends of all native connections of one broker.

    making   the topics that are not there, and those that a message goes to in place of its own (making.py)
    holding  takes half messages and timed ones (holding.py)
    ids      makes the UNIQ_KEY of a message that has none
    """

    def __init__(self, broker: Any, rules: Any, making: Any, holding: Any, ids: Any):
        self._topics = broker.topics.by_name
        self._flow = broker.flow
        self._making, self._holding, self._ids = making, holding, ids
        self._header = SendHeader()
        self._properties = Properties()
        self._batch = Batch()
        self._message = Native(b"", 0, b"")
        self._rotation = 0
        broker.topics.changed.append(self._topic_changed)
        self._store_host = rules.store_host
        self._host_hex = rules.store_host.hex().upper().encode()
        self._region = rules.region.encode()
        self._answers = SendAnswers(broker.log, self._host_hex)
        self.configure(rules)

    def configure(self, rules: Any) -> None:
        """What of the rules may change."""
        self._body_max, self._writable = rules.body_bytes_max, rules.permission & WRITE != 0
        self._topic_name, self._topic_found = b"", None
        trace = b"true" if rules.trace_on else b"false"
        self._added = entry(b"MSG_REGION", self._region) + entry(b"TRACE_ON", trace)
        self._added += entry(b"CLUSTER", rules.cluster.encode())
        self._added_behind = VALUE_END + self._added
        self._answers.say(((b"TRACE_ON", trace), (b"MSG_REGION", self._region)))

    # --- requests

    @cython.ccall
    def send(self, connection: RemotingConnection, frame: Frame, names: tuple):
        """SEND_MESSAGE, SEND_MESSAGE_V2."""
        if self._flow.blocked:
            self._refuse_for_now()
        header: SendHeader = self._header
        header.read(frame, names)
        if header.batch:
            self._send_batch(connection, frame)
        else:
            self._send_one(connection, frame)

    def _refuse_for_now(self) -> None:
        """An alarm holds publishers back: native ones are told, and try another broker or later."""
        if self._flow.alarms[DISK] or self._flow.alarms[LOG]:
            raise Refused(Response.SERVICE_NOT_AVAILABLE, NO_SPACE.format(self._flow.disk_free))
        raise Refused(Response.SYSTEM_BUSY, BUSY)

    @cython.cfunc
    def _send_one(self, connection: RemotingConnection, frame: Frame):
        header: SendHeader = self._header
        topic: Topic = self._topic(connection)
        text: bytes = self._text()
        message: Native = self._new_message(topic, self._queue_id(topic), text, connection)
        name: cython.p_uchar = message.topic
        if name[0] == RETRY_SIGN and message.topic.startswith(RETRY_PREFIX):
            topic = self._making.redirected(topic, message, header, frame.version)
        self._check(frame.body_size, len(message.properties))
        found: Properties = self._properties
        if message.properties is not text:
            found.read(message.properties)
        answered_queue: cython.int = message.queue_id
        level: cython.int = delay_level(found.value(DELAY)) if found.has(DELAY) else 0
        if found.has(INNER_NUM):
            raise Refused(Response.MESSAGE_ILLEGAL, ILLEGAL.format(self._body_max))
        message.body = frame.body()
        if found.known & WAITS or header.sys_flag & TRANSACTION_BITS:
            held = self._holding.take(message, level)
            if held is not None:
                self._flow.took(frame.body_size + MESSAGE_BYTES)
                self._holding.answer(connection, frame.opaque, answered_queue, held)
                message.body = b""
                return
        if level > 0:
            topic = self._making.delayed(message, level)
        else:
            message.tags_code = found.tags_code()
        topic.queue(message.queue_id).append(message)
        self._flow.took(frame.body_size + MESSAGE_BYTES)
        if not frame.flag & ONEWAY:
            self._answers.wait(
                connection,
                frame.opaque,
                answered_queue,
                message.queue_offset,
                message.offset,
                found.value(UNIQ_KEY),
            )
        message.body = b""

    @cython.cfunc
    def _send_batch(self, connection: RemotingConnection, frame: Frame):
        header: SendHeader = self._header
        topic: Topic = self._topic(connection)
        count: cython.Py_ssize_t = self._check_batch(frame)
        found: Properties = self._properties
        found.read(header.properties)
        transaction_id: object = found.value(UNIQ_KEY)
        batch: Batch = self._batch
        message: Native = self._new_message(topic, self._queue_id(topic), b"", connection)
        queue: object = topic.queue(message.queue_id)
        first: cython.longlong = -1
        ids: bytearray = bytearray(count * ID_BYTES)
        to: cython.Py_ssize_t = 0
        while batch.next():
            message.body = batch.body()
            message.properties = closed(batch.properties())
            message.flag = batch.flag
            found.read(message.properties)
            message.tags_code = found.tags_code()
            queue.append(message)
            if first < 0:
                first = message.queue_offset
            to = put_offset_id(ids, to, self._host_hex, message.offset)
            ids[to] = COMMA
            to += 1
        message.body = b""
        self._flow.took(frame.body_size + MESSAGE_BYTES * count)
        if not frame.flag & ONEWAY:
            listed: bytes = take(ids, 0, to - 1)
            self._answers.wait(connection, frame.opaque, message.queue_id, first, -1, transaction_id, listed)

    # --- checks

    @cython.cfunc
    def _topic(self, connection: RemotingConnection) -> Topic:
        """The topic that is sent to. Making looks closer wherever something is not as it mostly is."""
        header: SendHeader = self._header
        topic: Topic = self._topic_found
        if header.topic is not self._topic_name:
            topic = self._topics.get(header.topic)
            if topic is None or not self._writable or header.topic in UNSENDABLE:
                return self._making.topic_for(header, connection)
            self._topic_name, self._topic_found = header.topic, topic
        if header.queue_id >= topic.write_queues and header.queue_id >= topic.read_queues:
            return self._making.topic_for(header, connection)
        return topic

    def _topic_changed(self, name: bytes) -> None:
        self._topic_name, self._topic_found = b"", None

    @cython.cfunc
    def _check(self, body_size: cython.Py_ssize_t, properties_size: cython.Py_ssize_t):
        """What RocketMQ's store refuses of one message."""
        flags: cython.int = self._header.sys_flag
        too_big: cython.bint = body_size > self._body_max or properties_size > PROPERTIES_BYTES_MAX
        if body_size == 0 or too_big or flags & BATCHED:
            raise Refused(Response.MESSAGE_ILLEGAL, ILLEGAL.format(self._body_max))

    def _check_batch(self, frame: Frame) -> int:
        """A batch is looked through before anything of it is taken; how many messages there are."""
        header: SendHeader = self._header
        if len(header.topic) > TOPIC_MAX:
            raise Refused(Response.MESSAGE_ILLEGAL, f"message topic length too long {len(header.topic)}")
        if header.topic.startswith(RETRY_PREFIX):
            remark = f"batch request does not support retry group {header.topic.decode()}"
            raise Refused(Response.MESSAGE_ILLEGAL, remark)
        self._check(frame.body_size, 0)
        self._properties.read(header.properties)
        if header.sys_flag & TRANSACTION_BITS or self._properties.has(DELAY):
            raise Refused(Response.MESSAGE_ILLEGAL, ILLEGAL.format(self._body_max))
        batch: Batch = self._batch
        batch.begin(frame.buffer, frame.body_at, frame.body_size)
        try:
            count: int = batch.check()
        except BatchError as error:
            raise Refused(Response.MESSAGE_ILLEGAL, f"{ILLEGAL.format(self._body_max)} {error}") from None
        while batch.next():
            if batch.properties_size >= PROPERTIES_BYTES_MAX:
                raise Refused(Response.MESSAGE_ILLEGAL, ILLEGAL.format(self._body_max))
        batch.begin(frame.buffer, frame.body_at, frame.body_size)
        return count

    # --- the message

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _queue_id(self, topic: Topic) -> cython.int:
        """The queue that is asked for, or the topic's next one."""
        if self._header.queue_id >= 0:
            return self._header.queue_id
        count: cython.int = topic.write_queues
        if count <= 0:
            name = self._header.topic.decode()
            raise Refused(Response.SYSTEM_ERROR, f"topic[{name}] has no queue to write to: writeQueueNums is {count}")
        self._rotation = (self._rotation + 1) & 0x7FFFFFFF
        return self._rotation % count

    @cython.cfunc
    def _text(self) -> bytes:
        """The properties that are stored: the sender's, and ours behind them. The known ones are then where they are in
        what comes first, the sender's, so that one look is enough."""
        text: bytes = self._header.properties
        found: Properties = self._properties
        found.read(text)
        if found.known & OURS or not found.has(UNIQ_KEY):
            text = closed(without(text, *OUR_NAMES))
            if not found.has(UNIQ_KEY):
                text += entry(b"UNIQ_KEY", self._ids.make())
            found.read(text)
        last: cython.p_uchar = text
        return text + (self._added if last[len(text) - 1] == VALUE_END_BYTE else self._added_behind)

    @cython.cfunc
    def _new_message(self, topic: Topic, queue_id: cython.int, text: bytes, connection: RemotingConnection) -> Native:
        """The message with all that its header says of it, and no body yet."""
        header: SendHeader = self._header
        message: Native = self._message
        message.topic = header.topic
        message.queue_id = queue_id
        message.properties = text
        message.flag = header.flag
        message.sys_flag = header.sys_flag & ~HOST_BITS
        if topic.multi_tags:
            message.sys_flag |= MULTI_TAGS
        message.born_ms = header.born_ms
        message.reconsume_times = header.reconsume_times
        message.prepared_offset = message.tags_code = 0
        if not connection.born_host:
            self._meet(connection)
        message.born_host = connection.born_host
        message.store_host = self._store_host
        return message

    def _meet(self, connection: RemotingConnection) -> None:
        """The other end's address, as records have it; none for who comes by a Unix socket."""
        try:
            connection.born_host = host_bytes(connection.peer_address[0], connection.peer_address[1])
        except ValueError:
            connection.born_host = NO_HOST


def send(connection: Any, frame: Any) -> None:
    """SEND_MESSAGE."""
    connection.remoting.sends.send(connection, frame, NAMES)


def send_v2(connection: Any, frame: Any) -> None:
    """SEND_MESSAGE_V2, SEND_BATCH_MESSAGE: letters in place of names; the header says whether it is a batch."""
    connection.remoting.sends.send(connection, frame, LETTERS)


VERBS = {Request.SEND_MESSAGE: send, Request.SEND_MESSAGE_V2: send_v2, Request.SEND_BATCH_MESSAGE: send_v2}
