"""Calling the program's listener, on the loop or in threads; whatever it does, there is a result."""

from __future__ import annotations

import inspect
import logging
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

from corduroy.client.messages import ReceivedMessage

log = logging.getLogger("corduroy.client")


class ConsumeResult(Enum):
    """What a listener says of its messages: done, to come again later, or not wanted by anybody."""

    SUCCESS = "success"
    LATER = "later"
    DEAD_LETTER = "dead letter"


Listener = Callable[[list[ReceivedMessage]], "ConsumeResult | Awaitable[ConsumeResult | None] | None"]
# None is SUCCESS; an exception is LATER


class Listening:
    """call() the listener; in at most `threads` threads if it is no coroutine function."""

    def __init__(self, listener: Listener, threads: int):
        self._listener = listener
        call = type(listener).__call__  # of an object that is called like a function
        self._is_coroutine = inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(call)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="corduroy-listener")

    async def call(self, messages: list[ReceivedMessage]) -> ConsumeResult:
        """The listener's result."""
        try:
            if self._is_coroutine:
                made = self._listener(messages)
            else:
                made = await get_running_loop().run_in_executor(self._threads, self._listener, messages)
            said = await made if inspect.isawaitable(made) else made
        except Exception:
            log.exception("the listener failed; its %d message(s) will come again", len(messages))
            return ConsumeResult.LATER
        if said is None:
            return ConsumeResult.SUCCESS
        if isinstance(said, ConsumeResult):
            return said
        log.error("the listener returned %r, which is no ConsumeResult; its messages will come again", said)
        return ConsumeResult.LATER

    def close(self) -> None:
        """Take no more; threads end when their listeners do."""
        self._threads.shutdown(wait=False, cancel_futures=True)
