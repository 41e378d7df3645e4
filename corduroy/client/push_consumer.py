"""Consuming as a group: members share queues, messages are given to a listener, what fails comes again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self, Unpack

from corduroy.client.assignment import Assignment, ConsumeFrom, Plan
from corduroy.client.codes import Request
from corduroy.client.consuming import Concurrently, Consuming, InOrder
from corduroy.client.errors import Closed
from corduroy.client.ids import local_address
from corduroy.client.listening import Listener, Listening
from corduroy.client.messages import RETRY_PREFIX, ReceivedMessage
from corduroy.client.offsets import BrokerOffsets, FileOffsets, Offsets
from corduroy.client.pulling import COUNT, check_expression
from corduroy.client.queue_calls import QueueCalls
from corduroy.client.rebalance import Allocate, averagely
from corduroy.client.remoting import NAME_SERVERS, ClientOptions, Remoting
from corduroy.client.requests_of_brokers import answer_brokers
from corduroy.client.subscriptions import ALL, TAG, Subscription

THREADS = 20  # consumeThreadMin
STOP_SECONDS = 10.0
HALF_AN_HOUR_MS = 30 * 60 * 1000  # what CONSUME_FROM_TIMESTAMP looks back if no time is given
DEAD_LETTER = -1  # delay levels of CONSUMER_SEND_MSG_BACK
BY_TABLE = 0


class PushConsumerOptions(ClientOptions, total=False):
    """What a push consumer takes besides.

    orderly       each queue's messages one batch after the other; else many at a time
    broadcasting  every member gets every message; its offsets are in `offset_folder`
    consume_from  where the group begins in a queue that it never read: LAST (default), FIRST, TIMESTAMP (with from_ms)
    from_ms       ms since 1970; half an hour ago
    threads       listeners at a time
    batch         messages a listener is given at once, at most
    pull_count    messages asked for at once, 32 at most
    retries       how often a message comes again before it is a dead letter. -1: as the group is configured (16); of an
                  orderly consumer for ever
    allocate      how queues are shared: averagely (default), by_circle, or your own; the same for the whole group
    offset_folder  ~/.rocketmq_offsets
    """

    orderly: bool
    broadcasting: bool
    consume_from: ConsumeFrom
    from_ms: int
    threads: int
    batch: int
    pull_count: int
    retries: int
    allocate: Allocate
    offset_folder: str | Path


class PushConsumer:
    """`consumer = PushConsumer("group", listener); consumer.subscribe("topic"); await consumer.start()`.

    listener(messages) is a coroutine function, or any other, which runs in a thread. None or SUCCESS: they are done.
    LATER, or an exception: they come again. DEAD_LETTER: nobody wants them. Every message is delivered at least once:
    a member that is lost, or a queue that changes hands, may deliver it twice.
    """

    def __init__(
        self, group: str, listener: Listener, name_servers: str = NAME_SERVERS, **options: Unpack[PushConsumerOptions]
    ):
        self.group = group
        self.started_ms = 0
        self.remoting = Remoting(
            name_servers,
            credentials=options.get("credentials"),
            tls=options.get("tls"),
            client_id=options.get("client_id"),
        )
        self.options = options
        self.plan = Plan(
            group,
            {},
            options.get("consume_from", ConsumeFrom.LAST),
            options.get("from_ms") or int(time.time() * 1000) - HALF_AN_HOUR_MS,
            options.get("broadcasting", False),
            options.get("orderly", False),
            options.get("allocate", averagely),
            options.get("pull_count", COUNT),
        )
        self.listening = Listening(listener, options.get("threads", THREADS))
        self.assignment: Assignment | None = None
        self._consuming: Consuming | None = None

    def subscribe(self, topic: str, expression: str = ALL, kind: str = TAG) -> None:
        """Read a topic: `*`, `TagA || TagB`, or with kind SQL92 an expression over properties. Before start()."""
        if self.assignment is not None:
            raise Closed("subscribe before start: all members of a group must subscribe alike")
        self.plan.subscriptions[topic] = Subscription(topic, expression, kind)

    async def start(self) -> Self:
        """Join the group and begin to read. Raises SubscriptionRefused for an expression that a broker does not take,
        ConnectionFailed or RequestTimeout if no name server answers."""
        if not self.plan.broadcasting:
            retry = RETRY_PREFIX + self.group
            self.plan.subscriptions[retry] = Subscription(retry)
        await self.remoting.start()
        try:
            await self._join()
        except BaseException:
            await self.remoting.stop()
            raise
        return self

    async def _join(self) -> None:
        self.started_ms = int(time.time() * 1000)
        for subscription in self.plan.subscriptions.values():
            await check_expression(self.remoting, self.group, subscription)
        self._consuming = self._make_consuming()
        self.assignment = Assignment(self.remoting, self.plan, self._make_offsets(), self._consuming)
        answer_brokers(self)
        self.remoting.heartbeat_body = self.heartbeat
        await self.remoting.heartbeat()
        self.assignment.run()

    def _make_consuming(self) -> Consuming:
        batch = self.options.get("batch", 1)
        if self.plan.orderly:
            retries = self.options.get("retries", -1)
            return InOrder(self.listening, self._send_back, batch=batch, retries=retries, spawn=self.remoting.spawn)
        workers = self.options.get("threads", THREADS)
        return Concurrently(self.listening, self._send_back, workers=workers, batch=batch, spawn=self.remoting.spawn)

    def _make_offsets(self) -> Offsets:
        if not self.plan.broadcasting:
            return BrokerOffsets(QueueCalls(self.remoting), self.group)
        folder = Path(self.options.get("offset_folder") or "~/.rocketmq_offsets").expanduser()
        client = self.options.get("client_id") or ".".join(map(str, local_address())) + "@DEFAULT"
        return FileOffsets(folder, client, self.group)

    async def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Read no more, wait `timeout` seconds at most for listeners that run, commit, and leave the group."""
        if not self.remoting.running:
            return
        if self.assignment is not None and self._consuming is not None:
            self.assignment.stop_reading()
            await self._consuming.finish(timeout)
            await self.assignment.release()
            await self.remoting.leave({"consumerGroup": self.group})
        await self.remoting.stop()
        self.listening.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def heartbeat(self) -> dict[str, Any]:
        """What brokers are told of this member (HeartbeatData)."""
        consumer = {
            "consumeFromWhere": self.plan.consume_from.value,
            "consumeType": "CONSUME_PASSIVELY",
            "groupName": self.group,
            "messageModel": "BROADCASTING" if self.plan.broadcasting else "CLUSTERING",
            "subscriptionDataSet": [each.data() for each in self.plan.subscriptions.values()],
            "unitMode": False,
        }
        return {
            "clientID": self.remoting.client_id,
            "consumerDataSet": [consumer],
            "heartbeatFingerprint": 0,
            "producerDataSet": [],
            "withoutSub": False,
        }

    async def _send_back(self, message: ReceivedMessage, dead: bool) -> None:
        if self.plan.broadcasting:  # nobody would get it again but all members: it is dropped
            return
        fields = {
            "offset": message.commit_log_offset,
            "group": self.group,
            "delayLevel": DEAD_LETTER if dead else BY_TABLE,
            "originMsgId": message.message_id,
            "originTopic": message.topic,
            "unitMode": False,
        }
        if (retries := self.options.get("retries", -1)) >= 0:
            fields["maxReconsumeTimes"] = retries
        address = self.remoting.broker_address(message.broker_name)
        await self.remoting.call(address, Request.CONSUMER_SEND_MSG_BACK, fields)
