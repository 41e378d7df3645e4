"""Sends: one message or a batch into a topic's queue, answered when the log has it (architecture rule 8.2).

The checks, their order, codes and remarks are those of RocketMQ's SendMessageProcessor and of the hooks of its store.
What waits for a commit is numbers and bytes in one ring for all connections: nothing that the garbage collector sees.
"""

from __future__ import annotations

from array import array
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
    from cython.cimports.core.log.waiter import Waiter
    from cython.cimports.core.native import Native
    from cython.cimports.protocols.remoting.batch import Batch
    from cython.cimports.protocols.remoting.connection import RemotingConnection
    from cython.cimports.protocols.remoting.frame import Frame
    from cython.cimports.protocols.remoting.frame_writer import FrameWriter
    from cython.cimports.protocols.remoting.message_ids import offset_id
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
    from cython.cimports.protocols.remoting.send_header import SendHeader
else:
    from core.log.waiter import Waiter
    from core.native import Native
    from protocols.remoting.batch import Batch
    from protocols.remoting.connection import RemotingConnection
    from protocols.remoting.frame import Frame
    from protocols.remoting.frame_writer import FrameWriter
    from protocols.remoting.message_ids import offset_id
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
RING = 256  # sends waiting for one commit before the ring grows
OBJECTS = cython.declare(cython.Py_ssize_t, 3)  # per send that waits: connection, message id, transaction id
NUMBERS = cython.declare(cython.Py_ssize_t, 3)  # opaque, queue id, queue offset
BORN_HOSTS_MAX = 4096
BATCHED = cython.declare(cython.int, 0xC0)  # bits of sys flag: a record that holds a batch
TRANSACTION_BITS = cython.declare(cython.int, 0xC)
ONEWAY = cython.declare(cython.int, 2)  # the flag of a request that nobody waits for
HOST_BITS = cython.declare(cython.int, 0x30)
MULTI_TAGS = cython.declare(cython.int, 0x2)
NO_HOST = bytes(8)


def _bits(*which: int) -> int:
    return sum(1 << each for each in which)


OURS = cython.declare(cython.ulonglong, _bits(MSG_REGION, TRACE_ON, CLUSTER, POP_CK))  # not for a sender to say
TIMED = cython.declare(cython.ulonglong, _bits(TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS))
OUR_NAMES = tuple(PROPERTY_NAMES[each] for each in (MSG_REGION, TRACE_ON, CLUSTER, POP_CK))


@cython.final
@cython.cclass
class Sends(Waiter):
    """Takes sends of all native connections of one broker.

    making   the topics that are not there, and those that a message goes to in place of its own (making.py)
    ids      makes the UNIQ_KEY of a message that has none
    """

    def __init__(self, broker: Any, rules: Any, making: Any, ids: Any):
        Waiter.__init__(self)
        self._topics = broker.topics
        self._flow, self._log = broker.flow, broker.log
        self._making, self._ids = making, ids
        self._header = SendHeader()
        self._properties = Properties()
        self._batch = Batch()
        self._store_host = rules.store_host
        self._host_hex = rules.store_host.hex().upper().encode()
        self._region = rules.region.encode()
        self.configure(rules)
        self._born_hosts: dict[tuple, bytes] = {}
        self._objects: list = [None] * (OBJECTS * RING)
        self._numbers = self._memory = array("q", bytes(8 * NUMBERS * RING))
        self._size = RING
        self._first = self._next = self._rotation = 0

    def configure(self, rules: Any) -> None:
        """What of the rules may change."""
        self._body_max, self._writable = rules.body_bytes_max, rules.permission & WRITE != 0
        self._trace = b"true" if rules.trace_on else b"false"
        self._added = entry(b"MSG_REGION", self._region) + entry(b"TRACE_ON", self._trace)
        self._added += entry(b"CLUSTER", rules.cluster.encode())

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
        topic: object = self._topic(connection)
        message: Native = Native(header.topic, self._queue_id(topic), b"", self._text())
        self._fill(message, topic, connection)
        if header.topic.startswith(RETRY_PREFIX):
            topic = self._making.redirected(topic, message, header, frame.version)
        self._check(frame.body_size, len(message.properties))
        found: Properties = self._properties
        found.read(message.properties)
        answered_queue: cython.int = message.queue_id
        level: cython.int = delay_level(found.value(DELAY)) if found.has(DELAY) else 0
        self._refuse_unserved(found, level > 0)
        if level > 0:
            topic = self._making.delayed(message, level)
        else:
            message.tags_code = found.tags_code()
        message.body = frame.body()
        self._topics.append(topic, message)
        self._flow.took(frame.body_size + MESSAGE_BYTES)
        if not frame.flag & ONEWAY:
            self._wait(connection, frame.opaque, answered_queue, message.queue_offset)
            self._describe(offset_id(self._host_hex, message.offset), found.value(UNIQ_KEY))

    @cython.cfunc
    def _send_batch(self, connection: RemotingConnection, frame: Frame):
        header: SendHeader = self._header
        topic: object = self._topic(connection)
        self._check_batch(frame)
        found: Properties = self._properties
        found.read(header.properties)
        transaction_id: object = found.value(UNIQ_KEY)
        batch: Batch = self._batch
        queue_id: cython.int = self._queue_id(topic)
        first: cython.longlong = -1
        ids: list = []
        message: Native
        while batch.next():
            message = Native(header.topic, queue_id, batch.body(), closed(batch.properties()))
            found.read(message.properties)
            message.tags_code = found.tags_code()
            self._fill(message, topic, connection)
            message.flag = batch.flag
            self._topics.append(topic, message)
            if first < 0:
                first = message.queue_offset
            ids.append(offset_id(self._host_hex, message.offset))
        self._flow.took(frame.body_size + MESSAGE_BYTES * len(ids))
        if not frame.flag & ONEWAY:
            self._wait(connection, frame.opaque, queue_id, first)
            self._describe(b",".join(ids), transaction_id)

    # --- checks

    @cython.cfunc
    def _topic(self, connection: RemotingConnection) -> object:
        """The topic that is sent to. Making looks closer wherever something is not as it mostly is."""
        header: SendHeader = self._header
        topic: object = self._topics.find(header.topic)
        if topic is None or not self._writable or header.topic in UNSENDABLE:
            return self._making.topic_for(header, connection)
        if header.queue_id >= topic.config.write_queues and header.queue_id >= topic.config.read_queues:
            return self._making.topic_for(header, connection)
        return topic

    @cython.cfunc
    def _check(self, body_size: cython.Py_ssize_t, properties_size: cython.Py_ssize_t):
        """What RocketMQ's store refuses of one message."""
        flags: cython.int = self._header.sys_flag
        too_big: cython.bint = body_size > self._body_max or properties_size > PROPERTIES_BYTES_MAX
        if body_size == 0 or too_big or flags & BATCHED:
            raise Refused(Response.MESSAGE_ILLEGAL, ILLEGAL.format(self._body_max))

    def _check_batch(self, frame: Frame) -> None:
        """A batch is looked through before anything of it is taken."""
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
            batch.check()
        except BatchError as error:
            raise Refused(Response.MESSAGE_ILLEGAL, f"{ILLEGAL.format(self._body_max)} {error}") from None
        while batch.next():
            if len(batch.properties()) >= PROPERTIES_BYTES_MAX:
                raise Refused(Response.MESSAGE_ILLEGAL, ILLEGAL.format(self._body_max))
        batch.begin(frame.buffer, frame.body_at, frame.body_size)

    @cython.cfunc
    def _refuse_unserved(self, found: Properties, delayed: cython.bint):
        """What a message may ask for and this version does not do."""
        if found.known & TIMED and not delayed:
            remark = "accurate timer message is not enabled, timerWheelEnable is false"
            raise Refused(Response.SYSTEM_ERROR, remark)
        if self._header.sys_flag & TRANSACTION_BITS or (found.has(TRAN_MSG) and found.flag(TRAN_MSG)):
            remark = f"the broker[{self._making.rules.address}] sending transaction message is forbidden"
            raise Refused(Response.NO_PERMISSION, remark)
        if found.has(INNER_NUM):
            raise Refused(Response.MESSAGE_ILLEGAL, ILLEGAL.format(self._body_max))

    # --- the message

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _queue_id(self, topic: object) -> cython.int:
        """The queue that is asked for, or the topic's next one."""
        if self._header.queue_id >= 0:
            return self._header.queue_id
        count: cython.int = topic.config.write_queues
        if count <= 0:
            name = self._header.topic.decode()
            raise Refused(Response.SYSTEM_ERROR, f"topic[{name}] has no queue to write to: writeQueueNums is {count}")
        self._rotation = (self._rotation + 1) & 0x7FFFFFFF
        return self._rotation % count

    @cython.cfunc
    def _text(self) -> bytes:
        """The properties that are stored: the sender's, and ours behind them."""
        text: bytes = self._header.properties
        found: Properties = self._properties
        found.read(text)
        if found.known & OURS:
            text = without(text, *OUR_NAMES)
        text = closed(text)
        if not found.has(UNIQ_KEY):
            text += entry(b"UNIQ_KEY", self._ids.make())
        return text + self._added

    @cython.cfunc
    def _fill(self, message: Native, topic: object, connection: RemotingConnection):
        header: SendHeader = self._header
        message.flag = header.flag
        message.sys_flag = header.sys_flag & ~HOST_BITS
        if topic.config.filter_type == "MULTI_TAG":
            message.sys_flag |= MULTI_TAGS
        message.born_ms = header.born_ms
        message.reconsume_times = header.reconsume_times
        host: object = self._born_hosts.get(connection.peer_address)
        message.born_host = host if host is not None else self._born_host(connection)
        message.store_host = self._store_host

    def _born_host(self, connection: RemotingConnection) -> bytes:
        """The other end's address, as records have it; none for who comes by a Unix socket."""
        if len(self._born_hosts) >= BORN_HOSTS_MAX:
            self._born_hosts.clear()
        try:
            host = host_bytes(connection.peer_address[0], connection.peer_address[1])
        except ValueError:
            host = NO_HOST
        self._born_hosts[connection.peer_address] = host
        return host

    # --- answers

    @cython.cfunc
    def _wait(
        self, connection: RemotingConnection, opaque: cython.longlong, queue_id: cython.int, offset: cython.longlong
    ):
        """The send is answered when the batch that is filling is committed; _describe() says the rest of it."""
        if self._next - self._first == self._size:
            self._grow()
        at: cython.Py_ssize_t = self._next & (self._size - 1)
        self._objects[OBJECTS * at] = connection
        self._numbers[NUMBERS * at] = opaque
        self._numbers[NUMBERS * at + 1] = queue_id
        self._numbers[NUMBERS * at + 2] = offset
        self._next += 1
        if self.batch_no != self._log.batch_no:
            self._log.wait(self)

    @cython.cfunc
    def _describe(self, message_id: bytes, transaction_id: object):
        at: cython.Py_ssize_t = (self._next - 1) & (self._size - 1)
        self._objects[OBJECTS * at + 1] = message_id
        self._objects[OBJECTS * at + 2] = transaction_id

    def _grow(self) -> None:
        """Twice the room. What lies at n lies at n modulo the size."""
        objects: list = [None] * (2 * OBJECTS * self._size)
        memory = array("q", bytes(16 * NUMBERS * self._size))
        for n in range(self._first, self._next):
            old, new = n & (self._size - 1), n & (2 * self._size - 1)
            objects[OBJECTS * new : OBJECTS * new + OBJECTS] = self._objects[OBJECTS * old : OBJECTS * old + OBJECTS]
            memory[NUMBERS * new : NUMBERS * new + NUMBERS] = self._memory[NUMBERS * old : NUMBERS * old + NUMBERS]
        self._objects, self._memory, self._numbers = objects, memory, memory
        self._size *= 2

    @cython.ccall
    @cython.exceptval(-1, check=True)
    def mark(self) -> cython.longlong:
        """The batch closes: the sends that it holds are those up to this one."""
        return self._next

    @cython.ccall
    def committed(self, mark: cython.longlong):
        """Answer all sends up to `mark`."""
        while self._first < mark:
            self._answer(self._first & (self._size - 1))
            self._first += 1

    @cython.cfunc
    def _answer(self, at: cython.Py_ssize_t):
        connection: RemotingConnection = self._objects[OBJECTS * at]
        transaction_id: object = self._objects[OBJECTS * at + 2]
        self._objects[OBJECTS * at] = self._objects[OBJECTS * at + 2] = None
        if connection.finished:
            return
        connection.begin(self._numbers[NUMBERS * at], 0)
        writer: FrameWriter = connection.writer
        writer.number(b"queueId", self._numbers[NUMBERS * at + 1])
        if transaction_id is not None:
            writer.field(b"transactionId", transaction_id)
        writer.field(b"TRACE_ON", self._trace)
        writer.field(b"MSG_REGION", self._region)
        writer.field(b"msgId", self._objects[OBJECTS * at + 1])
        writer.number(b"queueOffset", self._numbers[NUMBERS * at + 2])
        connection.end()


def send(connection: Any, frame: Any) -> None:
    """SEND_MESSAGE."""
    connection.remoting.sends.send(connection, frame, NAMES)


def send_v2(connection: Any, frame: Any) -> None:
    """SEND_MESSAGE_V2, SEND_BATCH_MESSAGE: letters in place of names; the header says whether it is a batch."""
    connection.remoting.sends.send(connection, frame, LETTERS)


VERBS = {Request.SEND_MESSAGE: send, Request.SEND_MESSAGE_V2: send_v2, Request.SEND_BATCH_MESSAGE: send_v2}
