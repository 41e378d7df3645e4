"""Worker threads: jobs go in by a queue, results come back on the event loop.

A job is a callable without arguments; it touches files and fresh buffers only, never the broker's state.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol


class Loop(Protocol):
    """Of asyncio's loop, what is needed here."""

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> Any:
        """Run callback(*args) in the loop's thread."""


class Worker:
    """`count` threads that share one queue of jobs; with one, jobs run in the order of submit()."""

    def __init__(self, name: str, loop: Loop, count: int = 1):
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = SimpleQueue()
        self._loop = loop
        self._threads = [Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run job() in a thread, then done(result) in the loop; result is what it returned or the Exception raised."""
        self._jobs.put((job, done))

    def stop(self) -> None:
        """Let the jobs submitted so far finish, then end the threads. Blocks until then."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            try:
                result = job()
            except Exception as error:  # it belongs to whoever submitted the job
                result = error
            try:
                self._loop.call_soon_threadsafe(done, result)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                return
            del item, job, done, result  # an idle thread holds no buffers
