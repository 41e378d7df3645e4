"""How much memory this process may use, and uses: what the machine or its cgroup has, and RssAnon."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

MEMORY_SHARE = 0.6  # of what there is, unless limits.memory_bytes says otherwise
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_limit(configured: int) -> int:
    """Bytes above which publishers are blocked: the configured ones, or 60 % of what there is."""
    if configured:
        return configured
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUP_LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return int(total * MEMORY_SHARE)


def memory_used() -> int:
    """Anonymous memory of this process in bytes (RssAnon; mapped files are the kernel's to drop)."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def give_back_memory() -> None:
    """Have the C library return what is free in its heap, so that an alarm ends when messages are gone."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
