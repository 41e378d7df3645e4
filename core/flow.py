"""Flow control: when memory or disk run short, publishers are held back and told why; everything else goes on.

The watermarks are checked by a timer that the gateway owns; the commit log raises `disk` by itself when it cannot make
space ahead. Listeners are the connections that have published.
"""

from __future__ import annotations

import cython

MEMORY, DISK, LOG, BEHIND = "memory", "disk", "log", "behind"
REASONS = {MEMORY: "low on memory", DISK: "low on disk", LOG: "low on disk", BEHIND: "disk is behind"}
LOOK_BYTES = cython.declare(cython.longlong, 4 << 20)
MESSAGE_BYTES = 256  # what a message takes beside its body, roughly
HEADROOM_BYTES, HEADROOM_SHARE = 16 << 20, 0.1  # for what is on its way when the alarm begins
RELEASE_SHARE = 0.95  # an alarm ends when use is this far below the limit, so that it does not flap


def _nothing() -> None:
    """Nothing to make room with."""


@cython.cclass
class Flow:
    """Which alarms are on. relieve() is called before each look, to make room; `usage()` returns (memory bytes used by
    this process, bytes free on the data disk)."""

    def __init__(self, memory_limit: int, disk_limit: int, usage: object):
        self.memory_limit = memory_limit
        self.disk_limit = disk_limit
        self._usage = usage
        self._listeners = {}  # a dict for its order: they are told in the order they came
        self.relieve = _nothing
        self.alarms = dict.fromkeys(REASONS, False)
        self.blocked = False
        self.reason = ""
        self.memory_used = self.disk_free = self.blocked_count = self._since_look = 0

    @cython.ccall
    def took(self, size: cython.Py_ssize_t):
        """A publish of `size` bytes was taken in: a flood is looked at every LOOK_BYTES, not once a second."""
        self._since_look += size
        if self._since_look >= LOOK_BYTES:
            self.check()

    def check(self) -> None:
        """Compare use with the limits; called about once a second, and by took()."""
        self._since_look = 0
        self.relieve()
        self.memory_used, self.disk_free = self._usage()
        memory_mark = self.memory_limit - min(HEADROOM_BYTES, self.memory_limit * HEADROOM_SHARE)
        if self.alarms[MEMORY]:
            memory_mark *= RELEASE_SHARE
        disk_mark = self.disk_limit / RELEASE_SHARE if self.alarms[DISK] else self.disk_limit
        self.set_alarm(MEMORY, self.memory_used > memory_mark)
        self.set_alarm(DISK, self.disk_free < disk_mark)

    def set_alarm(self, name: str, on: bool) -> None:
        """Turn one alarm on or off and tell the listeners when the outcome changed."""
        self.alarms[name] = on
        first = next((name for name, is_on in self.alarms.items() if is_on), None)
        was, self.blocked = self.blocked, first is not None
        self.reason = REASONS[first] if first else ""
        if self.blocked and not was:
            self.blocked_count += 1
        if self.blocked != was:
            for listener in list(self._listeners):
                listener.flow_changed()

    def listen(self, listener: object) -> None:
        """Have listener.flow_changed() called when publishers are blocked, and when no longer."""
        self._listeners[listener] = None

    def forget(self, listener: object) -> None:
        """The listener is gone."""
        self._listeners.pop(listener, None)
