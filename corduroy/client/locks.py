"""Locks of queues at their brokers, so that one client at a time consumes an ordered queue. They last 60 s there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from corduroy.client.codes import Request
from corduroy.client.errors import ClientError
from corduroy.client.lenient_json import dumps, loads
from corduroy.client.messages import MessageQueue
from corduroy.client.offsets import queue_data
from corduroy.client.process_queue import ProcessQueue
from corduroy.client.remoting import Remoting

log = logging.getLogger("corduroy.client")


class Locks:
    """lock(), renew() and unlock() queues for a group's member."""

    def __init__(self, remoting: Remoting, group: str):
        self._remoting = remoting
        self._group = group

    async def lock(self, queues: Iterable[MessageQueue]) -> set[MessageQueue]:
        """Ask for them; which of them are ours. A broker that cannot be asked grants none."""
        granted: set[MessageQueue] = set()
        for broker, asked in by_broker(queues).items():
            try:
                answer = await self._call(Request.LOCK_BATCH_MQ, broker, asked)
            except ClientError as error:
                log.warning("no locks from %s: %s", broker, error)
                continue
            for each in loads(answer.body).get("lockOKMQSet") or ():
                granted.add(MessageQueue(each["topic"], each["brokerName"], each["queueId"]))
        return granted

    async def renew(self, held: Iterable[ProcessQueue]) -> None:
        """Ask again for those that we have."""
        asked = {each.queue: each for each in held}
        for queue in await self.lock(asked):
            if queue in asked:
                asked[queue].locked_at = time.monotonic()

    async def unlock(self, queues: Iterable[MessageQueue]) -> None:
        """Let others have them at once. A broker that cannot be told lets them go after 60 s."""
        for broker, asked in by_broker(queues).items():
            try:
                await self._call(Request.UNLOCK_BATCH_MQ, broker, asked)
            except ClientError as error:
                log.info("%s was not told to unlock: %s", broker, error)

    async def _call(self, code: int, broker: str, queues: list[MessageQueue]):
        body = {
            "clientId": self._remoting.client_id,
            "consumerGroup": self._group,
            "mqSet": [queue_data(queue) for queue in queues],
            "onlyThisBroker": False,
        }
        return await self._remoting.call(self._remoting.broker_address(broker), code, {}, dumps(body))


def by_broker(queues: Iterable[MessageQueue]) -> dict[str, list[MessageQueue]]:
    """The queues of each broker."""
    found: dict[str, list[MessageQueue]] = {}
    for queue in queues:
        found.setdefault(queue.broker_name, []).append(queue)
    return found
