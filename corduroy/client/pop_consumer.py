"""Popping: the broker hands messages out and hides them for a while; who acks a message in time is its only reader."""

from __future__ import annotations

import itertools
import time
from typing import Any, Self, Unpack

from corduroy.client import properties as names
from corduroy.client.codes import Request, Response
from corduroy.client.errors import CodecError, InvalidMessage, NoRoute
from corduroy.client.frames import Frame
from corduroy.client.messages import RETRY_PREFIX, ReceivedMessage
from corduroy.client.pulling import COUNT
from corduroy.client.records import decode_all
from corduroy.client.remoting import NAME_SERVERS, ClientOptions, Remoting
from corduroy.client.subscriptions import ALL, TAG, Subscription

INVISIBLE_SECONDS = 60.0
MARGIN_SECONDS = 10.0  # a broker ends a poll later than it was asked to
FROM_MIN, FROM_MAX = 0, 1  # initMode: where a new group begins
ANY_QUEUE = -1
RETRY_NONE, RETRY_V1, RETRY_V2 = "0", "1", "2"


class PopConsumer:
    """`async with PopConsumer("group") as consumer: messages = await consumer.pop("topic")`, then ack() each.

    A message that is not acked comes again, with reconsume_times one more, when its time is over. Queues are shared
    by all members of the group; there is no balance to wait for.
    """

    def __init__(
        self, group: str, name_servers: str = NAME_SERVERS, from_max: bool = False, **options: Unpack[ClientOptions]
    ):
        self.group = group
        self.remoting = Remoting(name_servers, **options)
        self._init_mode = FROM_MAX if from_max else FROM_MIN
        self._turn = itertools.count()

    async def start(self) -> Self:
        """Begin; connections are made when they are needed."""
        await self.remoting.start()
        return self

    async def stop(self) -> None:
        """End the connections; what was popped and not acked comes again when its time is over."""
        await self.remoting.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def pop(
        self,
        topic: str,
        *,
        count: int = COUNT,
        invisible: float = INVISIBLE_SECONDS,
        wait: float = 0.0,
        expression: str = ALL,
        kind: str = TAG,
    ) -> list[ReceivedMessage]:
        """Up to `count` messages (32 at most), hidden from others for `invisible` seconds; [] after `wait` seconds.

        Brokers are asked in turn, one at each call. Raises BrokerError, NoRoute, RequestTimeout, ConnectionFailed.
        """
        route = await self.remoting.route(topic)
        brokers = sorted({queue.broker_name for queue in route.read_queues})
        if not brokers:
            raise NoRoute(f"topic {topic} has no queue that may be read")
        broker = brokers[next(self._turn) % len(brokers)]
        fields = {
            "consumerGroup": self.group,
            "topic": topic,
            "queueId": ANY_QUEUE,
            "maxMsgNums": count,
            "invisibleTime": int(invisible * 1000),
            "pollTime": int(wait * 1000),
            "bornTime": int(time.time() * 1000),
            "initMode": self._init_mode,
            "exp": expression,
            "expType": kind,
            "order": False,
            "bname": broker,
        }
        nothing = (Response.POLLING_TIMEOUT, Response.POLLING_FULL, Response.PULL_NOT_FOUND)
        answer = await self.remoting.call(
            route.master(broker), Request.POP_MESSAGE, fields, accept=nothing, timeout=wait + MARGIN_SECONDS
        )
        if answer.code != Response.SUCCESS:
            return []
        wanted = Subscription(topic, expression, kind)
        return [message for message in popped(answer, broker) if wanted.wants(message.tags)]

    async def ack(self, message: ReceivedMessage) -> None:
        """It is done. Raises OffsetIllegal for what is not in its queue; acking too late or twice is no error."""
        address, fields = self._receipt(message)
        await self.remoting.call(address, Request.ACK_MESSAGE, fields)

    async def change_invisible(self, message: ReceivedMessage, seconds: float) -> None:
        """From now on it is hidden for so long; 0 gives it back. The message's receipt changes with it."""
        address, fields = self._receipt(message)
        fields["invisibleTime"] = int(seconds * 1000)
        answer = await self.remoting.call(address, Request.CHANGE_MESSAGE_INVISIBLETIME, fields)
        old, new = message.properties[names.POP_CK].split(" "), answer.fields
        offset, retry, broker, queue_id = old[7], old[4], old[5], old[6]
        parts = [
            offset,
            new.get("popTime"),
            new.get("invisibleTime"),
            new.get("reviveQid"),
            retry,
            broker,
            queue_id,
            offset,
        ]
        message.properties[names.POP_CK] = " ".join(map(str, parts))

    def _receipt(self, message: ReceivedMessage) -> tuple[str, dict[str, Any]]:
        """(the broker's address, what names the delivery there)."""
        receipt = message.properties.get(names.POP_CK, "")
        parts = receipt.split(" ")
        if len(parts) != 8:
            raise InvalidMessage("the message was not popped: it has no receipt")
        retry, broker, queue_id, offset = parts[4:]
        topic = message.topic
        if not topic.startswith(RETRY_PREFIX) and retry != RETRY_NONE:
            topic = f"{RETRY_PREFIX}{self.group}{'_' if retry == RETRY_V1 else '+'}{topic}"
        fields = {"consumerGroup": self.group, "topic": topic, "queueId": queue_id, "offset": offset}
        return self.remoting.broker_address(broker), {**fields, "extraInfo": receipt, "bname": broker}


def popped(answer: Frame, broker: str) -> list[ReceivedMessage]:
    """The messages of a pop's answer, each with its receipt. Raises CodecError."""
    said = answer.fields
    try:
        starts = start_offsets(said.get("startOffsetInfo", ""))
        common = [said["popTime"], said["invisibleTime"], said["reviveQid"]]
        messages = decode_all(answer.body, broker)
        for message in messages:
            if names.POP_CK not in message.properties:  # else the broker made it: a message that comes again
                retry = RETRY_V1 if message.topic.startswith(RETRY_PREFIX) else RETRY_NONE
                start = starts[retry, str(message.queue_id)]
                where = [retry, broker, str(message.queue_id), str(message.queue_offset)]
                message.properties[names.POP_CK] = " ".join([start, *common, *where])
    except (KeyError, ValueError) as error:
        raise CodecError(f"answer to a pop lacks or misspells {error}") from None
    return messages


def start_offsets(text: str) -> dict[tuple[str, str], str]:
    """{(retry flag, queue id): offset} of `0 1 40;0 2 7`. Raises ValueError."""
    found = {}
    for item in filter(None, text.split(";")):
        retry, queue_id, offset = item.split(" ")
        found[retry, queue_id] = offset
    return found
