"""Request and reply: a message that asks, and the answer to it, which its broker pushes to whoever asked.

The request says who asked and what it is called (REPLY_TO_CLIENT, CORRELATION_ID); the reply says it back. Source:
DefaultMQProducerImpl.request, MessageUtil.createReplyMessage, ClientRemotingProcessor.receiveReplyMessage.
"""

from __future__ import annotations

import asyncio
import time
import uuid

from corduroy.client import properties as names
from corduroy.client.codes import Request, Response
from corduroy.client.compression import decompress
from corduroy.client.errors import CodecError, InvalidMessage, RequestTimeout
from corduroy.client.frames import Frame
from corduroy.client.messages import ReceivedMessage
from corduroy.client.remoting import Remoting


class Requests:
    """The requests of one producer that wait for their replies."""

    def __init__(self, remoting: Remoting):
        self._remoting = remoting
        self._waiting: dict[str, asyncio.Future[ReceivedMessage]] = {}
        remoting.answerers[Request.PUSH_REPLY_MESSAGE_TO_CLIENT] = self._take

    def begin(self, seconds: float) -> dict[str, str]:
        """The properties that make a message a request."""
        correlation_id = str(uuid.uuid4())
        self._waiting[correlation_id] = asyncio.get_running_loop().create_future()
        return {
            names.CORRELATION_ID: correlation_id,
            names.REPLY_TO_CLIENT: self._remoting.client_id,
            names.TTL: str(int(seconds * 1000)),
        }

    async def reply(self, asked: dict[str, str], seconds: float) -> ReceivedMessage:
        """What is replied to the request of these properties. Raises RequestTimeout."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                return await self._waiting[asked[names.CORRELATION_ID]]
        except TimeoutError:
            raise RequestTimeout(f"no reply within {asked[names.TTL]} ms") from None

    def end(self, asked: dict[str, str]) -> None:
        """Nobody waits for it any more."""
        self._waiting.pop(asked[names.CORRELATION_ID], None)

    async def _take(self, address: str, frame: Frame) -> Frame:
        """A broker pushes a reply: who asked for it has it, if that still waits."""
        try:
            message = pushed(frame)
        except (CodecError, KeyError, ValueError) as error:
            return Frame(Response.SYSTEM_ERROR, remark=f"process reply message fail: {error}")
        waiting = self._waiting.get(message.properties.get(names.CORRELATION_ID, ""))
        if waiting is not None and not waiting.done():
            waiting.set_result(message)
        return Frame(Response.SUCCESS)


def pushed(frame: Frame) -> ReceivedMessage:
    """The message in a push of a reply; where it lies in the log it does not say. Raises CodecError, KeyError,
    ValueError."""
    said = frame.fields
    sys_flag = int(said["sysFlag"])
    properties = names.decode(said.get("properties") or "") | {"ARRIVE_TIME": str(int(time.time() * 1000))}
    numbers = (int(said["queueId"]), -1, -1, int(said["flag"]), sys_flag, int(said["bornTimestamp"]))
    hosts = (said.get("bornHost", ""), int(said["storeTimestamp"]), said.get("storeHost", ""))
    times = int(said.get("reconsumeTimes") or 0)
    return ReceivedMessage(said["topic"], decompress(frame.body, sys_flag), properties, *numbers, *hosts, times, 0)


def reply_properties(request: ReceivedMessage) -> tuple[str, dict[str, str]]:
    """(topic, properties of RocketMQ's own) of the reply to a request. Raises InvalidMessage."""
    said = request.properties
    for name in ("CLUSTER", names.CORRELATION_ID, names.REPLY_TO_CLIENT):
        if not said.get(name):
            raise InvalidMessage(f"the message asks for no reply: it has no property {name}")
    kept = {name: said[name] for name in (names.CORRELATION_ID, names.REPLY_TO_CLIENT, names.TTL) if said.get(name)}
    return f"{said['CLUSTER']}_REPLY_TOPIC", {names.MSG_TYPE: "reply", **kept}
