"""How many file descriptors this process may have, and so how many connections: the log must never lack one."""

from __future__ import annotations

import resource

RESERVED = 256  # for the log's segments, the store, HTTP and ourselves


def connection_limit(wanted: int) -> int:
    """Raise the soft limit (ulimit -n) for `wanted` connections, as far as the hard limit lets; return how many fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    needed = wanted + RESERVED
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, max(1, soft - RESERVED))
