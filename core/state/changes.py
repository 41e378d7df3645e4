"""A change of what is declared: refused in RabbitMQ's words, or one state record that is applied at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from core.errors import AccessRefused, LimitReached, ResourceLocked
from core.state.apply import Applier
from core.state.arguments import ArgumentCodec
from core.state.model import Model, VirtualHost
from core.state.records import Deletion, Fact, encode

RESERVED = "amq."


class Ports(NamedTuple):
    """What the topology works with.

    append(body)      puts a state record into the log and returns its offset
    deleted(queue)    hears of every queue that is gone
    random_bytes(n)   is where names come from
    limits            has queues, exchanges, bindings
    policies          say what applies to a queue or exchange (core/policies.py)
    """

    append: Callable[[bytes], int]
    deleted: Callable[[Any], None]
    codec: ArgumentCodec
    random_bytes: Callable[[int], bytes]
    limits: Any
    policies: Any


def queue_title(vhost: VirtualHost, name: str) -> str:
    """A queue as error texts name it."""
    return f"queue '{name}' in vhost '{vhost.name}'"


def exchange_title(vhost: VirtualHost, name: str) -> str:
    """An exchange as error texts name it."""
    return f"exchange '{name}' in vhost '{vhost.name}'"


class Changes:
    """What the parts that declare share. codec: how arguments are encoded."""

    def __init__(self, model: Model, applier: Applier, ports: Ports):
        self.model = model
        self.ports = ports
        self.codec = ports.codec
        self._applier = applier

    def change(self, record: Fact | Deletion, *, durable: bool) -> None:
        """Record and apply."""
        offset = self.ports.append(encode(record)) if durable else -1
        self._applier.apply(record, offset)

    def check_limit(self, kind: type, name: str, what: str) -> None:
        """Raises LimitReached when there are as many facts of that kind as limits.NAME allows."""
        limit = getattr(self.ports.limits, name)
        if self.model.facts.counts[kind] >= limit:
            raise LimitReached(f"cannot {what}: limits.{name} ({limit}) is reached")


def stripped(name: str) -> str:
    """RabbitMQ drops line ends from names."""
    return name.replace("\r", "").replace("\n", "")


def refuse_default(name: str) -> None:
    """Raises AccessRefused for the default exchange, which nobody changes."""
    if name == "":
        raise AccessRefused("operation not permitted on the default exchange")


def check_owner(vhost: VirtualHost, queue: Any, owner: Any) -> None:
    """Raises ResourceLocked when the queue is exclusive to another connection."""
    if queue.owner is not None and queue.owner is not owner:
        raise locked(queue_title(vhost, queue.name))


def locked(title: str) -> ResourceLocked:
    """The refusal for an exclusive queue of another connection."""
    return ResourceLocked(
        f"cannot obtain exclusive access to locked {title}. It could be originally declared on another connection or "
        f"the exclusive property value does not match that of the original declaration."
    )


def unused_after(router: Any, bindings: Iterable[Any], going: list[Any]) -> list[Any]:
    """`going`, and the auto-delete exchanges that are the source of nothing once these bindings and those are gone."""
    gone = dict.fromkeys(going)
    lost: Counter[Any] = Counter()
    work = list(dict.fromkeys(bindings))
    seen = set(work)
    for binding in work:  # grows as we go
        source = binding.source
        lost[source] += 1
        if source.auto_delete and source not in gone and lost[source] == source.binding_count:
            gone[source] = None
            more = [other for other in router.bindings_to(source) if other not in seen]
            seen.update(more)
            work.extend(more)
    return list(gone)
