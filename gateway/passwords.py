"""Passwords are checked off the loop, by a small pool of threads, and remembered for a while."""

from __future__ import annotations

from collections.abc import Callable

from core.access import Access
from core.disk.threads import Worker

THREADS = 2
WAITING_MAX = 4096  # logins that wait for a thread; more are refused at once


class Passwords:
    """check() answers at once when it can: the same password was checked lately."""

    def __init__(self, access: Access, worker: Worker):
        self._access = access
        self._worker = worker
        self.waiting = 0

    def check(self, user: str, password: bytes, done: Callable[[bool], None]) -> None:
        """done(correct) now or later, in the loop."""
        known = self._access.cached(user, password)
        if known is not None or self.waiting >= WAITING_MAX:
            done(bool(known))
            return
        version = self._access.version
        self.waiting += 1

        def checked(result: bool | Exception) -> None:
            self.waiting -= 1
            correct = result is True
            if not isinstance(result, Exception):
                self._access.remember(user, password, version, correct)
            done(correct)

        self._worker.submit(lambda: self._access.verify(user, password), checked)
