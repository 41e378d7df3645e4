"""What brokers ask of a push consumer: to balance, to go on elsewhere, to tell how it is, to consume one message."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from corduroy.client.codes import Request, Response
from corduroy.client.frames import Frame
from corduroy.client.lenient_json import dumps, loads
from corduroy.client.listening import ConsumeResult
from corduroy.client.messages import MessageQueue
from corduroy.client.offsets import key_of, queue_of
from corduroy.client.process_queue import ProcessQueue
from corduroy.client.records import decode

if TYPE_CHECKING:
    from corduroy.client.push_consumer import PushConsumer

RESULTS = {
    ConsumeResult.SUCCESS: "CR_SUCCESS",
    ConsumeResult.LATER: "CR_LATER",
    ConsumeResult.DEAD_LETTER: "CR_LATER",
}


def answer_brokers(consumer: PushConsumer) -> None:
    """Answer them from now on."""
    assert consumer.assignment is not None
    assignment = consumer.assignment

    async def members_changed(address: str, frame: Frame) -> None:
        if frame.fields.get("consumerGroup") == consumer.group:
            assignment.rebalance_soon()

    async def reset(address: str, frame: Frame) -> None:
        if frame.fields.get("group") == consumer.group:
            await assignment.reset(offsets_in(frame.body))

    async def offsets(address: str, frame: Frame) -> Frame:
        table = {key_of(queue): held.committable for queue, held in assignment.queues.items()}
        return Frame(Response.SUCCESS, body=dumps({"messageQueueTable": table}))

    async def running(address: str, frame: Frame) -> Frame:
        return Frame(Response.SUCCESS, body=dumps(running_info(consumer)))

    async def consume(address: str, frame: Frame) -> Frame:
        message, _ = decode(frame.body, 0, frame.fields.get("brokerName", ""), check_crc=False)
        began = time.monotonic()
        result = await consumer.listening.call([message])
        said = {
            "autoCommit": True,
            "consumeResult": RESULTS[result],
            "order": consumer.plan.orderly,
            "spentTimeMills": int((time.monotonic() - began) * 1000),
        }
        return Frame(Response.SUCCESS, body=dumps(said))

    consumer.remoting.answerers.update(
        {
            Request.NOTIFY_CONSUMER_IDS_CHANGED: members_changed,
            Request.RESET_CONSUMER_CLIENT_OFFSET: reset,
            Request.GET_CONSUMER_STATUS_FROM_CLIENT: offsets,
            Request.GET_CONSUMER_RUNNING_INFO: running,
            Request.CONSUME_MESSAGE_DIRECTLY: consume,
        }
    )


def offsets_in(body: bytes) -> dict[MessageQueue, int]:
    """The offsets of a ResetOffsetBody: a map keyed by queues, or a list, as C++ clients get it. Raises CodecError."""
    table = loads(body).get("offsetTable") or {}
    if isinstance(table, list):
        return {MessageQueue(each["topic"], each["brokerName"], each["queueId"]): each["offset"] for each in table}
    return {queue_of(key): int(offset) for key, offset in table.items()}


def running_info(consumer: PushConsumer) -> dict[str, Any]:
    """How it is (ConsumerRunningInfo). What is not counted here is not in it."""
    assert consumer.assignment is not None
    return {
        "properties": {
            "PROP_NAMESERVER_ADDR": ";".join(consumer.remoting.name_servers),
            "PROP_CONSUMEORDERLY": str(consumer.plan.orderly).lower(),
            "PROP_CONSUME_TYPE": "CONSUME_PASSIVELY",
            "PROP_CLIENT_VERSION": "V5_3_3",
            "PROP_CONSUMER_START_TIMESTAMP": str(consumer.started_ms),
        },
        "subscriptionSet": [each.data() for each in consumer.plan.subscriptions.values()],
        "mqTable": {key_of(queue): queue_info(held) for queue, held in consumer.assignment.queues.items()},
        "mqPopTable": {},
        "statusTable": {},
        "userConsumerInfo": {},
    }


def queue_info(held: ProcessQueue) -> dict[str, Any]:
    """One queue of it (ProcessQueueInfo)."""
    return {
        "cachedMsgCount": len(held),
        "cachedMsgMinOffset": held.committable if len(held) else 0,
        "cachedMsgMaxOffset": held.next_offset - 1 if len(held) else 0,
        "cachedMsgSizeInMiB": held.bytes >> 20,
        "commitOffset": held.committable,
        "droped": held.dropped,
        "lastConsumeTimestamp": held.consumed_ms,
        "lastPullTimestamp": held.pulled_ms,
        "locked": held.ordered and held.locked,
    }
