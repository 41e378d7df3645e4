"""One run's publishers and consumers on one epoll, in one thread."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any


class Load:
    """All endpoints of one run on one epoll. After each run() their counters tell what happened."""

    def __init__(self, endpoints: list[Any]) -> None:
        self._endpoints = {endpoint.fd: endpoint for endpoint in endpoints}
        self._publishers = [endpoint for endpoint in endpoints if hasattr(endpoint, "confirm_ns")]
        self._paced = [endpoint for endpoint in endpoints if hasattr(endpoint, "next_due")]
        self._events = dict.fromkeys(self._endpoints, select.EPOLLIN)
        self._epoll = select.epoll()
        for fd in self._endpoints:
            self._epoll.register(fd, select.EPOLLIN)

    def run(self, seconds: float, done: Callable[[], bool] | None = None) -> bool:
        """Move messages for that long, or until done() is true, which it is asked after each round; was it?"""
        end = time.monotonic_ns() + int(seconds * 1e9)
        while True:
            now = time.monotonic_ns()
            for publisher in self._publishers:
                publisher.pump(now)
            if done is not None and done():
                return True
            if now >= end:
                return False
            self._watch()
            for fd, event in self._wait(end - now):
                if event != select.EPOLLOUT:
                    self._endpoints[fd].readable()
                else:
                    self._endpoints[fd].pump(now)

    def close(self) -> None:
        """Let go of all sockets."""
        self._epoll.close()
        for endpoint in self._endpoints.values():
            endpoint.sock.close()

    def _watch(self) -> None:
        for fd, endpoint in self._endpoints.items():
            events = select.EPOLLIN | select.EPOLLOUT if endpoint.writing() else select.EPOLLIN
            if events != self._events[fd]:
                self._epoll.modify(fd, events)
                self._events[fd] = events

    def _wait(self, nanoseconds: int) -> list[tuple[int, int]]:
        if not self._paced:
            return self._epoll.poll(nanoseconds / 1e9)
        # epoll counts in milliseconds, select in microseconds: enough to be in time for the next message
        nanoseconds = min(nanoseconds, max(0, self._paced[0].next_due - time.monotonic_ns()))
        select.select([self._epoll.fileno()], [], [], nanoseconds / 1e9)
        return self._epoll.poll(0)
