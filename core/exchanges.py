"""Exchanges and bindings: declare, delete, bind, unbind, in RabbitMQ's words when that may not be.

Every change is decided here once, becomes one state record with its whole outcome (unless nothing durable changes), and
is carried out by state.apply. Access rights are not asked here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from core.arguments import (
    ALTERNATE,
    ArgumentCodec,
    block_of,
    check_equivalent,
    check_exchange_arguments,
    check_same,
)
from core.errors import AccessRefused, CommandInvalid, LimitReached, NotFound, PreconditionFailed, ResourceLocked
from core.routing.exchange import KINDS
from core.state.apply import Applier
from core.state.model import Model, VirtualHost
from core.state.records import (
    EXCHANGE,
    QUEUE,
    BindingFact,
    BindingRemoved,
    Deletion,
    ExchangeFact,
    ExchangesDeleted,
    Fact,
    encode,
)

RESERVED = "amq."


class Ports(NamedTuple):
    """What the topology works with. append(body) puts a state record into the log and returns its offset;
    deleted(queue) hears of every queue that is gone; random_bytes(n) is where names come from; limits: queues, exchanges,
    bindings."""

    append: Callable[[bytes], int]
    deleted: Callable[[Any], None]
    codec: ArgumentCodec
    random_bytes: Callable[[int], bytes]
    limits: Any


def queue_title(vhost: VirtualHost, name: str) -> str:
    """A queue as error texts name it."""
    return f"queue '{name}' in vhost '{vhost.name}'"


def exchange_title(vhost: VirtualHost, name: str) -> str:
    """An exchange as error texts name it."""
    return f"exchange '{name}' in vhost '{vhost.name}'"


class Exchanges:
    """The half of the topology that publishers see. find_queue(vhost, name) gives a queue or None."""

    def __init__(
        self,
        model: Model,
        applier: Applier,
        ports: Ports,
        find_queue: Callable[[VirtualHost, str], Any],
    ):
        self._model = model
        self._applier = applier
        self._ports = ports
        self._codec = ports.codec
        self._find_queue = find_queue

    def check_exchange(self, vhost: VirtualHost, name: str) -> None:
        """A passive declare. Raises NotFound."""
        name = stripped(name)
        refuse_default(name)
        self._exchange(vhost, name)

    def declare_exchange(
        self,
        vhost: VirtualHost,
        name: str,
        kind: str,
        *,
        durable: bool,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """Make an exchange, or see that the one there is the same."""
        if kind not in KINDS:
            raise CommandInvalid(f"unknown exchange type '{kind}'")
        name = stripped(name)
        arguments = arguments or {}
        refuse_default(name)
        title = exchange_title(vhost, name)
        there = vhost.router.exchanges.get(name)
        if there is not None:
            check_same(title, "type", kind, there.kind)
            check_same(title, "durable", durable, bool(there.durable))
            check_same(title, "auto_delete", auto_delete, bool(there.auto_delete))
            check_same(title, "internal", internal, bool(there.internal))
            check_equivalent(self._codec, title, arguments, there.arguments, (ALTERNATE,))
            return
        if name.startswith(RESERVED):
            raise AccessRefused(f"exchange name '{name}' contains reserved prefix 'amq.*'")
        check_exchange_arguments(self._codec, arguments, title)
        self.check_limit(ExchangeFact, "exchanges", f"declare {title}")
        fact = ExchangeFact(
            vhost=vhost.name,
            name=name,
            kind=kind,
            durable=durable,
            auto_delete=auto_delete,
            internal=internal,
            arguments=block_of(self._codec, arguments),
        )
        self.change(fact, durable=durable)

    def delete_exchange(self, vhost: VirtualHost, name: str, *, if_unused: bool = False) -> None:
        """Delete an exchange and every binding from or to it; one that is not there is no error."""
        name = stripped(name)
        refuse_default(name)
        if name.startswith(RESERVED):
            raise AccessRefused(f"deletion of system {exchange_title(vhost, name)} not allowed")
        exchange = vhost.router.exchanges.get(name)
        if exchange is None:
            return
        if if_unused and exchange.is_used:
            raise PreconditionFailed(f"{exchange_title(vhost, name)} in use")
        going = unused_after(vhost.router, vhost.router.bindings_to(exchange), [exchange])
        record = ExchangesDeleted(vhost=vhost.name, names=[gone.name for gone in going])
        self.change(record, durable=any(gone.durable for gone in going))

    # -- bindings

    def bind(
        self,
        vhost: VirtualHost,
        source: str,
        destination: tuple[str, str],
        key: str,
        arguments: dict[str, Any],
        *,
        owner: Any = None,
    ) -> None:
        """Bind `destination`, (QUEUE or EXCHANGE, name), to the exchange `source`; the same binding twice is one."""
        ends = self._ends(vhost, source, destination, owner, must_exist=True)
        assert ends is not None
        exchange, bound = ends
        exchange.check_arguments(arguments)
        if exchange.find(bound, key, arguments) is not None:
            return
        self.check_limit(BindingFact, "bindings", f"bind to {exchange_title(vhost, exchange.name)}")
        fact = BindingFact(
            vhost=vhost.name,
            source=exchange.name,
            kind=destination[0],
            destination=bound.name,
            key=key.encode("utf-8", "surrogateescape"),
            arguments=block_of(self._codec, arguments),
            durable=bool(exchange.durable and bound.durable),
        )
        self.change(fact, durable=fact.durable)

    def unbind(
        self,
        vhost: VirtualHost,
        source: str,
        destination: tuple[str, str],
        key: str,
        arguments: dict[str, Any],
        *,
        owner: Any = None,
    ) -> None:
        """Undo bind(); a binding, exchange or queue that is not there is no error."""
        ends = self._ends(vhost, source, destination, owner, must_exist=False)
        binding = None if ends is None else ends[0].find(ends[1], key, arguments)
        if ends is None or binding is None:
            return
        exchange, bound = ends
        going = unused_after(vhost.router, [binding], [])
        record = BindingRemoved(
            vhost=vhost.name,
            source=exchange.name,
            kind=destination[0],
            destination=bound.name,
            key=binding.key_bytes,
            arguments=block_of(self._codec, binding.arguments),
            exchanges=[gone.name for gone in going],
        )
        durable = (exchange.durable and bound.durable) or any(gone.durable for gone in going)
        self.change(record, durable=bool(durable))

    def _ends(
        self, vhost: VirtualHost, source: str, destination: tuple[str, str], owner: Any, *, must_exist: bool
    ) -> tuple[Any, Any] | None:
        """The exchange and the queue or exchange that a binding joins; None when one is missing and that is allowed."""
        kind, name = destination[0], stripped(destination[1])
        source = stripped(source)
        if source == "" or (kind == EXCHANGE and name == ""):
            raise AccessRefused("operation not permitted on the default exchange")
        exchange = vhost.router.exchanges.get(source)
        bound = vhost.router.exchanges.get(name) if kind == EXCHANGE else self._find_queue(vhost, name)
        if exchange is None or bound is None:
            if not must_exist:
                return None
            if exchange is None:
                raise NotFound(f"no {exchange_title(vhost, source)}")
            raise NotFound(f"no {exchange_title(vhost, name) if kind == EXCHANGE else queue_title(vhost, name)}")
        if kind == QUEUE:
            check_owner(vhost, bound, owner)
        return exchange, bound

    def change(self, record: Fact | Deletion, *, durable: bool) -> None:
        """Record and apply."""
        offset = self._ports.append(encode(record)) if durable else -1
        self._applier.apply(record, offset)

    def _exchange(self, vhost: VirtualHost, name: str) -> Any:
        exchange = vhost.router.exchanges.get(name)
        if exchange is None:
            raise NotFound(f"no {exchange_title(vhost, name)}")
        return exchange

    def check_limit(self, kind: type, name: str, what: str) -> None:
        limit = getattr(self._ports.limits, name)
        if self._model.facts.counts[kind] >= limit:
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
