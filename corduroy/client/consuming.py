"""How a push consumer's messages reach its listener: many at a time, or each queue's one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from corduroy.client.errors import ClientError
from corduroy.client.listening import ConsumeResult, Listening
from corduroy.client.messages import ReceivedMessage
from corduroy.client.process_queue import ProcessQueue

log = logging.getLogger("corduroy.client")

AGAIN_SECONDS = 5.0  # after a message that could not be sent back
SUSPEND_SECONDS = 1.0  # suspendCurrentQueueTimeMillis: an ordered queue after a failure
LOCK_WAIT_SECONDS = 0.1
REST_SECONDS = 60.0  # rocketmq.broker.rebalance.lockMaxLiveTime

SendBack = Callable[[ReceivedMessage, bool], Awaitable[None]]  # (message, to the dead letters): raises ClientError


class Consuming(Protocol):
    """add() queues that are read, and tell of messages that arrived in them."""

    def add(self, held: ProcessQueue) -> None:
        """A queue is ours from now on."""

    def arrived(self, held: ProcessQueue, messages: list[ReceivedMessage]) -> None:
        """They are in it."""

    async def rest(self, held: ProcessQueue) -> None:
        """Wait until a queue that was dropped may be given to another."""

    async def finish(self, seconds: float) -> None:
        """Begin no more listeners, and wait so long for those that run."""


class Concurrently:
    """`workers` batches at a time, of any queue. What fails is sent back to its broker, which delivers it later."""

    def __init__(self, listening: Listening, send_back: SendBack, *, workers: int, batch: int, spawn):
        self._listening = listening
        self._send_back = send_back
        self._batch = batch
        self._work: asyncio.Queue[tuple[ProcessQueue, list[ReceivedMessage]]] = asyncio.Queue()
        self._busy = 0
        self._finishing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._workers = [spawn(self._run()) for _ in range(workers)]

    def add(self, held: ProcessQueue) -> None:
        """Nothing: its messages come by arrived()."""

    def arrived(self, held: ProcessQueue, messages: list[ReceivedMessage]) -> None:
        """In batches, in order; the queue's own bounds bound them."""
        for at in range(0, len(messages), self._batch):
            self._work.put_nowait((held, messages[at : at + self._batch]))

    async def rest(self, held: ProcessQueue) -> None:
        """At once: what is not committed is delivered to the other, too."""

    async def finish(self, seconds: float) -> None:
        """Begin no more, and wait for those that run."""
        self._finishing = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d listener(s) still run after %g s: their messages will come again", self._busy, seconds)
        for worker in self._workers:
            worker.cancel()

    async def _run(self) -> None:
        while True:
            held, messages = await self._work.get()
            wanted = [message for message in messages if held.holds(message)]
            if not wanted or self._finishing:
                continue
            self._busy += 1
            self._idle.clear()
            try:
                await self._consume(held, wanted)
            finally:
                self._busy -= 1
                if not self._busy:
                    self._idle.set()

    async def _consume(self, held: ProcessQueue, messages: list[ReceivedMessage]) -> None:
        result = await self._listening.call(messages)
        if not held.dropped and result is not ConsumeResult.SUCCESS:
            messages = await self._give_back(held, messages, result is ConsumeResult.DEAD_LETTER)
        held.done(messages)

    async def _give_back(
        self, held: ProcessQueue, messages: list[ReceivedMessage], dead: bool
    ) -> list[ReceivedMessage]:
        """Send them back; which of them are. The others are listened to again in a while."""
        gone, kept = [], []
        for message in filter(held.holds, messages):
            try:
                await self._send_back(message, dead)
                gone.append(message)
            except ClientError as error:
                log.warning("message %s is not sent back: %s", message.message_id, error)
                message.reconsume_times += 1
                kept.append(message)
        if kept:
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._work.put_nowait, (held, kept))
        return gone


class InOrder:
    """Each queue's messages one batch after the other, while the broker has the queue locked for us. What fails
    blocks its queue and is tried again, `retries` times at most (-1: for ever), then becomes a dead letter."""

    def __init__(self, listening: Listening, send_back: SendBack, *, batch: int, retries: int, spawn):
        self._listening = listening
        self._send_back = send_back
        self._batch = batch
        self._retries = retries
        self._spawn = spawn
        self._tasks: set[asyncio.Task[None]] = set()
        self._finishing = False
        self._busy: set[ProcessQueue] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, held: ProcessQueue) -> None:
        """Begin to consume it."""
        task = self._spawn(self._run(held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def arrived(self, held: ProcessQueue, messages: list[ReceivedMessage]) -> None:
        """Nothing: its task waits for them."""

    async def finish(self, seconds: float) -> None:
        """Begin no more, and wait for those that run."""
        self._finishing = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d listener(s) still run after %g s: their messages will come again", len(self._busy), seconds)
        for task in list(self._tasks):
            task.cancel()

    async def rest(self, held: ProcessQueue) -> None:
        """When its listener has ended: until then nobody else may have the queue. The broker's lock ends after 60 s."""
        try:
            async with asyncio.timeout(REST_SECONDS):
                while held in self._busy:
                    await asyncio.sleep(LOCK_WAIT_SECONDS)
        except TimeoutError:
            log.warning("the listener of %s still runs; the queue is given to another", held.queue)

    async def _run(self, held: ProcessQueue) -> None:
        while True:
            await held.arrived.wait()
            if held.dropped or self._finishing:
                return
            if not held.locked:
                await asyncio.sleep(LOCK_WAIT_SECONDS)
                continue
            messages = held.first(self._batch)
            self._busy.add(held)
            self._idle.clear()
            try:
                result = await self._listening.call(messages)
                if result is ConsumeResult.SUCCESS:
                    held.done(messages)
                else:
                    await self._again(held, messages, result is ConsumeResult.DEAD_LETTER)
            finally:
                self._busy.discard(held)
                if not self._busy:
                    self._idle.set()
            if result is not ConsumeResult.SUCCESS:
                await asyncio.sleep(SUSPEND_SECONDS)

    async def _again(self, held: ProcessQueue, messages: list[ReceivedMessage], dead: bool) -> None:
        for message in messages:
            if not held.holds(message):
                continue
            if dead or 0 <= self._retries <= message.reconsume_times:
                try:
                    await self._send_back(message, True)
                    held.done([message])
                    continue
                except ClientError as error:
                    log.warning("message %s is not sent to the dead letters: %s", message.message_id, error)
            message.reconsume_times += 1
