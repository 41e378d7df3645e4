"""One pull: messages of a queue from an offset on, or what the broker says instead."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from corduroy.client.codes import Request, Response
from corduroy.client.errors import CodecError
from corduroy.client.frames import Frame
from corduroy.client.lenient_json import dumps
from corduroy.client.messages import MessageQueue, ReceivedMessage
from corduroy.client.records import decode_all
from corduroy.client.remoting import REQUEST_SECONDS, Remoting
from corduroy.client.subscriptions import SQL92, Subscription

COMMIT, SUSPEND, SUBSCRIPTION = 1, 2, 4  # bits of a pull's sysFlag
COUNT = 32  # brokers give no more
SUSPEND_SECONDS = 15.0  # brokerSuspendMaxTimeMillis
SUSPEND_MARGIN_SECONDS = 15.0  # RocketMQ's broker looks every 5 s for polls that are over


class PullStatus(Enum):
    """What a pull found. The values are response codes."""

    FOUND = int(Response.SUCCESS)
    NO_NEW_MESSAGE = int(Response.PULL_NOT_FOUND)
    NO_MATCHED_MESSAGE = int(Response.PULL_RETRY_IMMEDIATELY)
    OFFSET_ILLEGAL = int(Response.PULL_OFFSET_MOVED)


@dataclass(frozen=True, slots=True)
class PullResult:
    """Go on at next_offset. The queue holds offsets from min_offset on, up to the one before max_offset."""

    status: PullStatus
    messages: list[ReceivedMessage]
    next_offset: int
    min_offset: int
    max_offset: int


@dataclass(slots=True)
class Pull:
    """What is asked for. `wait` seconds if there is no message yet; `commit`: an offset to commit with it."""

    group: str
    queue: MessageQueue
    offset: int
    subscription: Subscription
    count: int = COUNT
    wait: float = SUSPEND_SECONDS
    commit: int | None = None


async def pull(remoting: Remoting, asked: Pull) -> PullResult:
    """Ask the queue's broker. Raises BrokerError, NoRoute, RequestTimeout, ConnectionFailed, CodecError."""
    fields = {
        "consumerGroup": asked.group,
        "topic": asked.queue.topic,
        "queueId": asked.queue.queue_id,
        "queueOffset": asked.offset,
        "maxMsgNums": asked.count,
        "sysFlag": SUBSCRIPTION | (SUSPEND if asked.wait else 0) | (0 if asked.commit is None else COMMIT),
        "commitOffset": asked.commit or 0,
        "suspendTimeoutMillis": int(asked.wait * 1000),
        "subscription": asked.subscription.expression,
        "subVersion": asked.subscription.version,
        "expressionType": asked.subscription.kind,
        "bname": asked.queue.broker_name,
    }
    address = await remoting.address_of(asked.queue)
    timeout = asked.wait + SUSPEND_MARGIN_SECONDS if asked.wait else REQUEST_SECONDS
    accept = tuple(status.value for status in PullStatus)
    answer = await remoting.call(address, Request.PULL_MESSAGE, fields, accept=accept, timeout=timeout)
    return result(answer, asked)


async def check_expression(remoting: Remoting, group: str, subscription: Subscription) -> None:
    """Have every broker of its topic parse an SQL92 expression: RocketMQ's gives a pull with a broken one all messages.
    Nothing to do for tags, or for a topic that is not there. Raises SubscriptionRefused."""
    route = await remoting.route_if_there(subscription.topic)
    if subscription.kind != SQL92 or route is None:
        return
    body = dumps({"clientId": remoting.client_id, "group": group, "subscriptionData": subscription.data()})
    for broker in route.addresses:
        await remoting.call(route.master(broker), Request.CHECK_CLIENT_CONFIG, {}, body)


def result(answer: Frame, asked: Pull) -> PullResult:
    """What the answer says. Raises CodecError."""
    try:
        offsets = [int(answer.fields[name]) for name in ("nextBeginOffset", "minOffset", "maxOffset")]
    except (KeyError, ValueError) as error:
        raise CodecError(f"answer to a pull lacks {error}") from None
    status, messages = PullStatus(answer.code), []
    if status is PullStatus.FOUND:
        found = decode_all(answer.body, asked.queue.broker_name)
        messages = [message for message in found if asked.subscription.wants(message.tags)]
    return PullResult(status, messages, *offsets)
