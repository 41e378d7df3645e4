"""Transactions: half messages, which nobody sees until their sender has said what becomes of them.

    END_TRANSACTION   commit: the real message is stored, and the half settled, in one; roll back: only that
    CHECK_TRANSACTION_STATE   asks a producer of the group about what it said nothing of: after transactionTimeOut, then
                      every transactionCheckInterval, transactionCheckMax times; then it goes to a topic of its own

A half message is called by its offset in the queue in which it waits (core/waits.py), RocketMQ's tranStateTableOffset.
It stays one and the same record however often it is asked about. Source: RocketMQ's EndTransactionProcessor,
TransactionalMessageServiceImpl.check, AbstractTransactionalMessageCheckListener.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from core.native import COMMIT, ROLLBACK, TRANSACTION, Native, java_hash
from protocols.remoting import names, properties
from protocols.remoting.codes import Request, Response
from protocols.remoting.errors import FAQ
from protocols.remoting.holding import becoming, immune_ms
from protocols.remoting.making import Making
from protocols.remoting.message_ids import offset_id
from protocols.remoting.send_header import is_true, number
from protocols.remoting.stored import encoded, stored_message

CHECK_TIMES = b"TRANSACTION_CHECK_TIMES"
PROPERTIES_BYTES_MAX = properties.TEXT_BYTES_MAX - 20  # a record's checksum is one of them
NOT_FOUND = "Find prepared transaction message failed"
OWN_PROPERTIES = (b"TRAN_MSG", b"REAL_TOPIC", b"REAL_QID", CHECK_TIMES)  # of a half message


class Ending(NamedTuple):
    """An END_TRANSACTION. asked: it answers a CHECK_TRANSACTION_STATE."""

    connection: Any
    opaque: int
    group: bytes
    offset: int
    log_offset: int
    commits: bool
    asked: bool

    def answer(self, code: int, remark: str | None = None) -> None:
        """Tell the sender."""
        self.connection.respond(self.opaque, code, remark)


class Transactions:
    """start() it once. Since then: committed, rolled_back, checks = questions that were sent, discarded = half messages
    that nobody said anything of in the end."""

    def __init__(self, broker: Any, making: Making, clients: Any):
        self._broker = broker
        self._halves = broker.halves
        self._making = making
        self._clients = clients
        self.committed = self.rolled_back = self.checks = self.discarded = 0

    def start(self) -> None:
        """Ask about what is due, and from now on about what will be."""
        self._halves.start(self._check)

    # -- what becomes of it

    def end(self, connection: Any, frame: Any) -> None:
        """END_TRANSACTION. Who does not know yet says so, and is asked again: that is not answered."""
        outcome = number(frame, b"commitOrRollback")
        group, offset = frame.text(b"producerGroup"), frame.number(b"tranStateTableOffset")
        log_offset, asked = frame.number(b"commitLogOffset"), is_true(frame, b"fromTransactionCheck")
        if outcome in (COMMIT, ROLLBACK):
            ending = Ending(connection, frame.opaque, group, offset, log_offset, outcome == COMMIT, asked)
            self._halves.read(offset, partial(self._found, ending))

    def _found(self, ending: Ending, record: bytes | Exception | None) -> None:
        """Its half message, if that still waits."""
        if isinstance(record, Exception):
            ending.answer(Response.SYSTEM_ERROR, f"{NOT_FOUND}: {record}")
            return
        if record is None:
            ending.answer(Response.SYSTEM_ERROR, NOT_FOUND)
            return
        was = stored_message(record)
        said = properties.as_dict(was.properties)
        timeout_ms = self._making.rules.transaction_timeout_ms
        late = self._broker.clock.ms - was.store_ms > immune_ms(said, timeout_ms)
        if b"CHECK_IMMUNITY_TIME_IN_SECONDS" in said and late and not ending.asked:
            ending.answer(Response.ILLEGAL_OPERATION)  # it is being asked about: that answer counts
        elif said.get(b"PGROUP") != ending.group:
            ending.answer(Response.SYSTEM_ERROR, "The producer group wrong")
        elif was.offset != ending.log_offset:
            ending.answer(Response.SYSTEM_ERROR, "The commit log offset wrong")
        else:
            self._end(ending, was, said)

    def _end(self, ending: Ending, was: Native, said: dict[bytes, bytes]) -> None:
        becomes = []
        if ending.commits:
            found = becoming(was, said, self._making)
            if found is None:
                topic = said.get(b"REAL_TOPIC", b"").decode("utf-8", "replace")
                ending.answer(Response.TOPIC_NOT_EXIST, f"topic[{topic}] not exist, apply first please!{FAQ}")
                return
            message = found[1]
            message.sys_flag = message.sys_flag & ~TRANSACTION | COMMIT
            message.prepared_offset = ending.log_offset
            message.properties = properties.without(was.properties, *OWN_PROPERTIES)
            becomes.append(found)
        self._halves.settle(ending.offset, becomes)
        if ending.commits:
            self.committed += 1
        else:
            self.rolled_back += 1
        self._broker.log.when_committed(partial(ending.answer, Response.SUCCESS))

    # -- asking

    def _check(self, offset: int, record: bytes) -> None:
        """Nothing was said of it for so long."""
        rules, times = self._making.rules, self._halves.times(offset)
        was = stored_message(record)
        if times >= rules.transaction_check_max:
            self._discard(offset, was, times)
            return
        self._halves.again(offset, self._broker.clock.ms + rules.transaction_check_interval_ms)
        said = properties.as_dict(was.properties)
        connection = self._clients.producer(said.get(b"PGROUP", b""))
        if connection is not None:
            self.checks += 1
            fields, body = self._question(offset, was, said, times + 1)
            connection.one_way(Request.CHECK_TRANSACTION_STATE, fields, body)

    def _question(
        self, offset: int, was: Native, said: dict[bytes, bytes], times: int
    ) -> tuple[list[tuple[bytes, bytes | int]], bytes]:
        """The fields of CHECK_TRANSACTION_STATE, and its body: the message as its sender knows it."""
        unique_id = said.get(b"UNIQ_KEY", b"")
        fields: list[tuple[bytes, bytes | int]] = [
            (b"topic", was.topic),
            (b"tranStateTableOffset", offset),
            (b"commitLogOffset", was.offset),
            (b"msgId", unique_id),
            (b"transactionId", unique_id),
            (b"offsetMsgId", offset_id(was.store_host.hex().upper().encode(), was.offset)),
            (b"bname", self._making.rules.broker.encode()),
        ]
        number_text = said.get(b"REAL_QID", b"0")
        was.topic, was.queue_id = said.get(b"REAL_TOPIC", b""), int(number_text) if number_text.isdigit() else 0
        was.properties = asked(was.properties, times)
        return fields, encoded(was)

    def _discard(self, offset: int, was: Native, times: int) -> None:
        """Asked often enough: it goes where operators find it."""
        self.discarded += 1
        topic = self._making.ensure(names.CHECKED_TOPIC, 1)
        message = Native(names.CHECKED_TOPIC, 0, was.body, asked(was.properties, times))
        message.flag, message.sys_flag, message.born_ms = was.flag, was.sys_flag, was.born_ms
        message.born_host, message.store_host = was.born_host, was.store_host
        message.reconsume_times = was.reconsume_times
        said = properties.as_dict(was.properties)
        message.tags_code = java_hash(said.get(b"TAGS", b""))
        self._halves.settle(offset, [(topic, message)])
        name = said.get(b"REAL_TOPIC", b"").decode("utf-8", "replace")
        moved = names.CHECKED_TOPIC.decode()
        self._broker.report("half message of which nothing was said is given up", topic=name, moved_to=moved)


def asked(text: bytes, times: int) -> bytes:
    """The properties, and how often was asked, if there is room for that."""
    said = properties.put(text, CHECK_TIMES, b"%d" % times)
    return said if len(said) <= PROPERTIES_BYTES_MAX else text


def end_transaction(connection: Any, frame: Any) -> None:
    """END_TRANSACTION."""
    connection.remoting.transactions.end(connection, frame)


VERBS = {Request.END_TRANSACTION: end_transaction}
