"""Transactions: messages that nobody sees until their sender's own work is done; silent senders are asked about it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, TypeVar, Unpack

from corduroy.client import properties as names
from corduroy.client.codes import Request, SysFlag
from corduroy.client.errors import ClientError, InvalidMessage
from corduroy.client.frames import Frame
from corduroy.client.ids import parse_offset_id
from corduroy.client.messages import Message, ReceivedMessage, SendResult, SendStatus
from corduroy.client.producer import Producer, ProducerOptions
from corduroy.client.records import decode
from corduroy.client.remoting import NAME_SERVERS

log = logging.getLogger("corduroy.client")

T = TypeVar("T")


class TransactionState(Enum):
    """What became of the sender's own work. UNKNOWN: ask again later. The values are bits of sysFlag."""

    COMMIT = int(SysFlag.COMMIT)
    ROLLBACK = int(SysFlag.ROLLBACK)
    UNKNOWN = 0


Execute = Callable[[Message], "TransactionState | Awaitable[TransactionState]"]
Check = Callable[[ReceivedMessage], "TransactionState | Awaitable[TransactionState]"]


async def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns: a coroutine function runs here, any other in a thread."""
    if inspect.iscoroutinefunction(function):
        return await function(*arguments)
    made = await asyncio.to_thread(function, *arguments)
    return await made if inspect.isawaitable(made) else made


class TransactionProducer(Producer):
    """A producer whose group answers for its transactions: any member of it may be asked about any of them.

    check(message) says what became of the work of a message that the broker asks about; may be a coroutine function,
    else it runs in a thread. The broker asks after 6 s first, then every 30 s, 15 times (transactionTimeOut,
    transactionCheckInterval, transactionCheckMax).
    """

    def __init__(self, group: str, check: Check, name_servers: str = NAME_SERVERS, **options: Unpack[ProducerOptions]):
        super().__init__(group, name_servers, **options)
        self._check = check
        self.remoting.answerers[Request.CHECK_TRANSACTION_STATE] = self._asked

    async def send_transaction(self, message: Message, execute: Execute) -> tuple[SendResult, TransactionState]:
        """Store the message unseen, run execute(message), and let it be seen (COMMIT) or not (ROLLBACK).

        execute may be a coroutine function, else it runs in a thread. It does not run if the message was not stored
        safely: then the state is ROLLBACK. What it raises is raised here; the broker asks check() later, as after
        UNKNOWN. Raises as send() does, and if the broker could not be told: then it asks check() later.
        """
        if message.is_delayed:
            raise InvalidMessage("a transaction's message cannot be delayed")
        parcel = self._packer.pack(message, {names.TRAN_MSG: "true", names.PGROUP: self.group})
        result = await self._send(parcel, self._choice(message, None, None), None)
        if result.status is SendStatus.SEND_OK:
            state: TransactionState = await outcome(execute, message)
        else:
            state = TransactionState.ROLLBACK
        address = await self.remoting.address_of(result.queue)
        _, log_offset = parse_offset_id(result.offset_message_id)
        ends = {
            "topic": message.topic,
            "tranStateTableOffset": result.queue_offset,
            "commitLogOffset": log_offset,
            "msgId": result.message_id,
            "transactionId": result.transaction_id,
            "bname": result.queue.broker_name,
        }
        await self._end(address, state, ends)
        return result, state

    async def _end(self, address: str, state: TransactionState, fields: dict[str, Any]) -> None:
        fields = {"producerGroup": self.group, "commitOrRollback": state.value, **fields}
        if state is TransactionState.UNKNOWN:  # a broker does not answer that
            await self.remoting.one_way(address, self.remoting.signed(Request.END_TRANSACTION, fields))
        else:
            await self.remoting.call(address, Request.END_TRANSACTION, fields)

    async def _asked(self, address: str, frame: Frame) -> None:
        """CHECK_TRANSACTION_STATE: the answer is a request of its own, with the offsets of the question."""
        message, _ = decode(frame.body, check_crc=False)
        try:
            state = await outcome(self._check, message)
        except Exception:
            log.exception("check of transaction %s failed; the broker asks again", message.message_id)
            state = TransactionState.UNKNOWN
        asked = frame.fields
        fields = {
            "topic": asked.get("topic"),
            "tranStateTableOffset": asked.get("tranStateTableOffset"),
            "commitLogOffset": asked.get("commitLogOffset"),
            "msgId": message.properties.get(names.UNIQ_KEY) or asked.get("msgId"),
            "transactionId": asked.get("transactionId"),
            "bname": asked.get("bname"),
            "fromTransactionCheck": True,
        }
        try:
            await self._end(address, state, fields)
        except ClientError as error:
            log.warning("transaction %s: %s", fields["msgId"], error)
