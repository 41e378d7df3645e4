"""Leases of queues for orderly consumption: one client of a group at a time. Source: RebalanceLockManager."""

from __future__ import annotations

from collections.abc import Callable, Iterable

LEASE_SECONDS = 60.0
LOCKS_MAX = 1 << 20
Queue = tuple[str, int]  # topic, queue id


class Locks:
    """now() = monotonic seconds. Leases are in memory only: after a restart clients ask anew."""

    def __init__(self, now: Callable[[], float]):
        self._now = now
        self._groups: dict[bytes, dict[Queue, tuple[str, float]]] = {}  # -> client id, until when
        self._count = 0

    def lock(self, group: bytes, client_id: str, queues: Iterable[Queue]) -> set[Queue]:
        """Lease those that no other client of the group has; return those that this one has now."""
        now, got = self._now(), set()
        held = self._groups.setdefault(group, {})
        for queue in queues:
            owner = held.get(queue)
            if owner is not None and owner[0] != client_id and owner[1] > now:
                continue
            if owner is None:
                if self._count >= LOCKS_MAX and not self._drop_expired(now):
                    continue
                self._count += 1
            held[queue] = client_id, now + LEASE_SECONDS
            got.add(queue)
        self._groups[group] = held
        if not held:
            del self._groups[group]
        return got

    def unlock(self, group: bytes, client_id: str, queues: Iterable[Queue]) -> None:
        """Give back those that the client has."""
        held = self._groups.get(group, {})
        for queue in queues:
            if held.get(queue, ("", 0))[0] == client_id:
                del held[queue]
                self._count -= 1
        if not held:
            self._groups.pop(group, None)

    def held(self, group: bytes) -> bool:
        """Whether any of the group's queues is leased."""
        now = self._now()
        return any(until > now for _, until in self._groups.get(group, {}).values())

    def _drop_expired(self, now: float) -> bool:
        """Forget all that ended; whether there is room now."""
        for group, held in list(self._groups.items()):
            for queue in [queue for queue, (_, until) in held.items() if until <= now]:
                del held[queue]
                self._count -= 1
            if not held:
                del self._groups[group]
        return self._count < LOCKS_MAX
