"""The queues that a push consumer has: which they are, reading them, and committing how far it is."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from corduroy.client.codes import Request
from corduroy.client.consuming import Consuming
from corduroy.client.errors import ClientError, NoRoute, TopicNotExist
from corduroy.client.lenient_json import loads
from corduroy.client.locks import Locks
from corduroy.client.messages import RETRY_PREFIX, MessageQueue, ReceivedMessage
from corduroy.client.offsets import Offsets
from corduroy.client.process_queue import ProcessQueue
from corduroy.client.properties import RETRY_TOPIC
from corduroy.client.pulling import COUNT, Pull, PullStatus, pull
from corduroy.client.queue_calls import QueueCalls
from corduroy.client.rebalance import Allocate
from corduroy.client.remoting import Remoting
from corduroy.client.routes import MASTER_ID, Route
from corduroy.client.subscriptions import Subscription

log = logging.getLogger("corduroy.client")

REBALANCE_SECONDS = 20.0  # rebalanceService's waitInterval
REBALANCE_SOON_SECONDS = 1.0  # while a topic has no route yet, or a queue is locked by another
AFTER_ERROR_SECONDS = 3.0  # pullTimeDelayMillsWhenException
COMMIT_SECONDS = 5.0  # persistConsumerOffsetInterval
LOCK_SECONDS = 20.0  # rocketmq.client.rebalance.lockInterval


class ConsumeFrom(Enum):
    """Where a group begins in a queue that it never read. In a young queue RocketMQ says 0, whatever is asked."""

    LAST = "CONSUME_FROM_LAST_OFFSET"
    FIRST = "CONSUME_FROM_FIRST_OFFSET"
    TIMESTAMP = "CONSUME_FROM_TIMESTAMP"


@dataclass(slots=True)
class Plan:
    """How the queues are shared and read. `from_ms` is of TIMESTAMP, ms since 1970."""

    group: str
    subscriptions: dict[str, Subscription]
    consume_from: ConsumeFrom
    from_ms: int
    broadcasting: bool
    orderly: bool
    allocate: Allocate
    pull_count: int = COUNT


class Assignment:
    """run() keeps it right; rebalance_soon() when something changed; release() at the end."""

    def __init__(self, remoting: Remoting, plan: Plan, offsets: Offsets, consuming: Consuming):
        self.queues: dict[MessageQueue, ProcessQueue] = {}
        self._remoting = remoting
        self._plan = plan
        self._locking = plan.orderly and not plan.broadcasting
        self._offsets = offsets
        self._consuming = consuming
        self._calls = QueueCalls(remoting)
        self._locks = Locks(remoting, plan.group)
        self._readers: dict[MessageQueue, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def run(self) -> None:
        """Begin to balance and to commit, until the client stops."""
        work = [self._balance(), self._repeat(COMMIT_SECONDS, self.commit)]
        if self._locking:
            work.append(self._repeat(LOCK_SECONDS, lambda: self._locks.renew(self.queues.values())))
        self._tasks = [self._remoting.spawn(each) for each in work]

    def rebalance_soon(self) -> None:
        """Someone joined or left."""
        self._changed.set()

    async def _repeat(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except (ClientError, OSError) as error:
                log.warning("%s", error)

    # ---- who has which queues

    async def _balance(self) -> None:
        soon = REBALANCE_SOON_SECONDS
        while True:
            self._changed.clear()
            settled = [await self._balance_topic(topic) for topic in self._plan.subscriptions]
            soon = REBALANCE_SOON_SECONDS if all(settled) else min(2 * soon, REBALANCE_SECONDS)
            try:
                async with asyncio.timeout(REBALANCE_SECONDS if all(settled) else soon / 2):
                    await self._changed.wait()
                soon = REBALANCE_SOON_SECONDS
            except TimeoutError:
                pass

    async def _balance_topic(self, topic: str) -> bool:
        """Take and leave queues of it; whether that is settled for now."""
        try:
            route = await self._remoting.route(topic)
            wanted = await self._wanted(route)
            if wanted is None:
                return False
            await self._leave([queue for queue in self.queues if queue.topic == topic and queue not in wanted])
            return await self._take([queue for queue in wanted if queue not in self.queues])
        except TopicNotExist:  # a new group's retry topic, or one that its first message makes
            return False
        except (ClientError, OSError) as error:
            log.warning("rebalance of %s: %s", topic, error)
            return False

    async def _wanted(self, route: Route) -> list[MessageQueue] | None:
        """The queues that should be ours; None if the broker does not know us yet."""
        if self._plan.broadcasting:
            return route.read_queues
        members = await self._members(route)
        me = self._remoting.client_id
        return self._plan.allocate(route.read_queues, sorted(members), me) if me in members else None

    async def _members(self, route: Route) -> list[str]:
        masters = [table[MASTER_ID] for table in route.addresses.values() if MASTER_ID in table]
        if not masters:
            raise NoRoute(f"topic {route.topic} has no broker with a master")
        fields = {"consumerGroup": self._plan.group}
        answer = await self._remoting.call(random.choice(masters), Request.GET_CONSUMER_LIST_BY_GROUP, fields)
        return loads(answer.body).get("consumerIdList") or [] if answer.body else []

    async def _take(self, queues: list[MessageQueue]) -> bool:
        granted = await self._locks.lock(queues) if self._locking else set(queues)
        for queue in queues:
            if queue not in granted:
                continue
            held = ProcessQueue(queue, await self._begin_at(queue), ordered=self._plan.orderly)
            held.locked_at = time.monotonic() if self._locking else float("inf")
            self.queues[queue] = held
            self._consuming.add(held)
            self._readers[queue] = self._remoting.spawn(self._read(held))
            log.info("%s reads %s from %d on", self._plan.group, queue, held.next_offset)
        return len(granted) == len(queues)

    async def _begin_at(self, queue: MessageQueue) -> int:
        """Where to begin: after what was committed; else as the plan says."""
        committed = await self._offsets.load(queue)
        if committed is not None and committed >= 0:
            return committed
        is_retry = queue.topic.startswith(RETRY_PREFIX)
        if self._plan.consume_from is ConsumeFrom.FIRST or is_retry:
            return 0
        if self._plan.consume_from is ConsumeFrom.LAST:
            return await self._calls.max_offset(queue)
        return await self._calls.offset_at(queue, self._plan.from_ms)

    async def _leave(self, queues: Iterable[MessageQueue]) -> None:
        left = [self.queues.pop(queue) for queue in queues]
        for held in left:
            self._readers.pop(held.queue).cancel()
            log.info("%s leaves %s at %d", self._plan.group, held.queue, held.committable)
        for held in left:
            held.drop()
        await asyncio.gather(*(self._consuming.rest(held) for held in left))
        await self._save(left)
        if self._locking and left:
            await self._locks.unlock([held.queue for held in left])

    def stop_reading(self) -> None:
        """Balance and read no more; what was read may still be consumed."""
        for task in (*self._tasks, *self._readers.values()):
            task.cancel()

    async def release(self) -> None:
        """Commit, and give every queue away."""
        await self._leave(list(self.queues))

    # ---- reading

    async def _read(self, held: ProcessQueue) -> None:
        while not held.dropped:
            await held.has_room.wait()
            try:
                await self._read_once(held)
            except ClientError as error:
                if held.dropped or not self._remoting.running:
                    return
                log.warning("pull of %s: %s", held.queue, error)
                await asyncio.sleep(AFTER_ERROR_SECONDS)

    async def _read_once(self, held: ProcessQueue) -> None:
        plan, queue = self._plan, held.queue
        commit = None if plan.broadcasting or held.committable == 0 else held.committable
        asked = Pull(
            plan.group, queue, held.next_offset, plan.subscriptions[queue.topic], plan.pull_count, commit=commit
        )
        generation = held.generation
        found = await pull(self._remoting, asked)
        held.pulled_ms = int(time.time() * 1000)
        if held.generation != generation or held.dropped:
            return
        if found.status is PullStatus.OFFSET_ILLEGAL:
            log.warning("%s has no offset %d: going on at %d", queue, held.next_offset, found.next_offset)
            held.reset(found.next_offset)
            await self._save([held])
            return
        for message in found.messages:
            message.topic = original_topic(message, plan.group)
        held.put(found.messages, found.next_offset)
        if found.messages:
            self._consuming.arrived(held, found.messages)

    # ---- offsets

    async def commit(self) -> None:
        """Tell how far each queue is."""
        await self._save(self.queues.values())

    async def _save(self, queues: Iterable[ProcessQueue]) -> None:
        new = {held: held.committable for held in queues if held.committable != held.committed}
        saved = set(await self._offsets.save({held.queue: offset for held, offset in new.items()}))
        for held, offset in new.items():
            if held.queue in saved:
                held.committed = offset

    async def reset(self, offsets: dict[MessageQueue, int]) -> None:
        """Go on elsewhere, from now on."""
        for queue, offset in offsets.items():
            if (held := self.queues.get(queue)) is not None:
                held.reset(offset)
                await self._save([held])


def original_topic(message: ReceivedMessage, group: str) -> str:
    """The topic of a message as its subscriber knows it: one that comes again lies in the group's retry topic."""
    if message.topic == f"{RETRY_PREFIX}{group}":
        return message.properties.get(RETRY_TOPIC, message.topic)
    return message.topic
