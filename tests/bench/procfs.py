"""What a process and its children have used so far, from Linux's /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass
class Usage:
    """user_s, system_s: CPU seconds in ticks (ended threads too); threads: nanoseconds of each living one, exactly.

    rss_mb: resident memory, rss_anon_mb: what of it is no file's. MiB, summed over the process and its children.
    """

    user_s: float = 0.0
    system_s: float = 0.0
    rss_mb: float = 0.0
    rss_anon_mb: float = 0.0
    threads: dict[int, int] = field(default_factory=dict)

    def cpu_s_since(self, before: Usage) -> float:
        """CPU seconds since then: the scheduler's nanoseconds, or ticks when a thread has ended in between."""
        if before.threads and before.threads.keys() <= self.threads.keys():
            return sum(ns - before.threads.get(thread, 0) for thread, ns in self.threads.items()) / 1e9
        return self.user_s + self.system_s - before.user_s - before.system_s


def family(pid: int) -> Iterator[int]:
    """The process and all its descendants that are alive."""
    parents: dict[int, list[int]] = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        parents.setdefault(parent, []).append(int(folder.name))
    waiting = [pid]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += parents.get(pid, [])


def usage(pid: int) -> Usage:
    """What the process and its descendants have used; what has ended meanwhile is left out."""
    total = Usage()
    for member in family(pid):
        try:
            _add(total, PROC / str(member))
        except OSError:
            continue
    return total


def _add(total: Usage, folder: Path) -> None:
    words = (folder / "stat").read_text().rpartition(")")[2].split()
    total.user_s += int(words[11]) * TICK_SECONDS
    total.system_s += int(words[12]) * TICK_SECONDS
    for line in (folder / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            total.rss_mb += int(value.split()[0]) / 1024
        elif name == "RssAnon":
            total.rss_anon_mb += int(value.split()[0]) / 1024
    for task in (folder / "task").iterdir():
        try:
            total.threads[int(task.name)] = int((task / "schedstat").read_text().split()[0])
        except OSError:  # ended meanwhile, or a kernel without schedstat: then the ticks count
            continue
