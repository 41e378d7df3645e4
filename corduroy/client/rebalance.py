"""Who reads which queues: worked out by every member of a group alike, from the same sorted lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from corduroy.client.messages import MessageQueue

Allocate = Callable[[Sequence[MessageQueue], Sequence[str], str], list[MessageQueue]]


def averagely(queues: Sequence[MessageQueue], clients: Sequence[str], me: str) -> list[MessageQueue]:
    """AVG: neighbours stay together; the first clients have one more. Nothing for who is not in the list."""
    if me not in clients:
        return []
    share, more = divmod(len(queues), len(clients))
    index = clients.index(me)
    first = index * share + min(index, more)
    return list(queues[first : first + share + (index < more)])


def by_circle(queues: Sequence[MessageQueue], clients: Sequence[str], me: str) -> list[MessageQueue]:
    """AVG_BY_CIRCLE: one queue each in turn."""
    return list(queues[clients.index(me) :: len(clients)]) if me in clients else []
