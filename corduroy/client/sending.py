"""What a send looks like on the wire, and what its answer means (SEND_MESSAGE_V2, SEND_BATCH_MESSAGE)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corduroy.client import properties as names
from corduroy.client.codes import Request, Response, SysFlag
from corduroy.client.compression import compress
from corduroy.client.errors import CodecError, InvalidMessage
from corduroy.client.frames import Frame
from corduroy.client.ids import UniqueIds
from corduroy.client.messages import BODY_BYTES_MAX, RETRY_PREFIX, Message, MessageQueue, SendResult, SendStatus
from corduroy.client.records import encode_batch
from corduroy.client.subscriptions import java_hash

STORED = frozenset(status.value for status in SendStatus)
RETRIED = frozenset(
    (
        Response.SYSTEM_ERROR,
        Response.SYSTEM_BUSY,
        Response.SERVICE_NOT_AVAILABLE,
        Response.NO_PERMISSION,
        Response.TOPIC_NOT_EXIST,
        Response.NO_BUYER_ID,
        Response.NOT_IN_CURRENT_UNIT,
        Response.GO_AWAY,
    )
)  # refusals after which another broker is tried (DefaultMQProducer.retryResponseCodes)


@dataclass(slots=True)
class Parcel:
    """A message, a batch, or the reply to a request, ready to be sent to any queue."""

    topic: str
    message_id: str
    body: bytes
    properties: str
    sys_flag: int = 0
    flag: int = 0
    is_batch: bool = False
    is_reply: bool = False

    def request(
        self, group: str, queue: MessageQueue, default_topic: str, new_queues: int
    ) -> tuple[int, dict[str, Any]]:
        """(request code, header fields) of sending it there."""
        fields = {
            "a": group,
            "b": self.topic,
            "c": default_topic,
            "d": new_queues,
            "e": queue.queue_id,
            "f": self.sys_flag,
            "g": int(time.time() * 1000),
            "h": self.flag,
            "i": self.properties,
            "j": 0,
            "k": False,
            "m": self.is_batch,
            "n": queue.broker_name,
        }
        code = Request.SEND_REPLY_MESSAGE_V2 if self.is_reply else Request.SEND_MESSAGE_V2
        return (Request.SEND_BATCH_MESSAGE if self.is_batch else code), fields

    def result(self, answer: Frame, queue: MessageQueue) -> SendResult:
        """What the broker's answer says. Raises CodecError."""
        said = answer.fields
        try:
            stored_in = MessageQueue(queue.topic, queue.broker_name, int(said["queueId"]))
            offset = int(said["queueOffset"])
        except (KeyError, ValueError) as error:
            raise CodecError(f"answer to a send lacks {error}") from None
        return SendResult(
            SendStatus(answer.code),
            self.message_id,
            said.get("msgId", ""),
            stored_in,
            offset,
            said.get("transactionId", ""),
            said.get("recallHandle", ""),
            said.get("MSG_REGION", ""),
        )


class Packer:
    """Makes parcels: gives ids, compresses bodies of `compress_above` bytes and more."""

    def __init__(self, compression: str, compress_above: int):
        self._compression = compression
        self._compress_above = compress_above
        self._ids = UniqueIds()

    def pack(self, message: Message, extra: dict[str, str] | None = None) -> Parcel:
        """One message; `extra` are properties of RocketMQ's own. Raises InvalidMessage."""
        message.check()
        unique_id = self._ids.next()
        properties = {**message.wire_properties(), **(extra or {}), names.UNIQ_KEY: unique_id, names.WAIT: "true"}
        body, sys_flag = bytes(message.body), 0
        if self._compression and len(body) >= self._compress_above:
            body, sys_flag = compress(body, self._compression)
        if properties.get(names.TRAN_MSG):
            sys_flag |= SysFlag.PREPARED
        reply = names.MSG_TYPE in properties
        text = names.encode(properties)
        return Parcel(message.topic, unique_id, body, text, sys_flag, message.flag, is_reply=reply)

    def pack_batch(self, messages: Sequence[Message]) -> Parcel:
        """Several messages of one topic, not compressed. Raises InvalidMessage."""
        if not messages or len({message.topic for message in messages}) > 1:
            raise InvalidMessage("a batch has messages of one topic, at least one")
        topic, items, ids = messages[0].topic, [], []
        if topic.startswith(RETRY_PREFIX):
            raise InvalidMessage("a batch cannot go to a retry topic")
        for message in messages:
            message.check()
            if message.is_delayed:
                raise InvalidMessage("a delayed message cannot be in a batch")
            ids.append(self._ids.next())
            properties = {**message.wire_properties(), names.UNIQ_KEY: ids[-1], names.WAIT: "true"}
            items.append((bytes(message.body), message.flag, names.encode(properties)))
        body = encode_batch(items)
        if len(body) > BODY_BYTES_MAX:
            raise InvalidMessage(f"batch of {len(body)} bytes exceeds {BODY_BYTES_MAX}")
        own = names.encode({names.UNIQ_KEY: self._ids.next(), names.WAIT: "true"})
        return Parcel(topic, ",".join(ids), body, own, is_batch=True)


def by_hash(key: str, queues: Sequence[MessageQueue]) -> MessageQueue:
    """Always the same queue for the same key, while there are the same queues: the one that Java's
    SelectMessageQueueByHash chooses, so that programs in both languages keep one order."""
    return queues[abs(java_hash(key)) % len(queues)]
