"""Exchanges and bindings: declare, delete, bind, unbind, in RabbitMQ's words when that may not be.

Every change is decided here once, becomes one state record with its whole outcome (unless nothing durable changes), and
is carried out by state.apply. Access rights are not asked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.errors import AccessRefused, CommandInvalid, NotFound, PreconditionFailed
from core.routing.exchange import KINDS
from core.routing.history import History
from core.state.arguments import ALTERNATE, block_of, check_equivalent, check_same
from core.state.changes import (
    RESERVED,
    Changes,
    check_owner,
    exchange_title,
    queue_title,
    refuse_default,
    stripped,
    unused_after,
)
from core.state.exchange_arguments import check_exchange_arguments
from core.state.model import VirtualHost
from core.state.records import EXCHANGE, QUEUE, BindingFact, BindingRemoved, ExchangeFact, ExchangesDeleted


class Exchanges:
    """The half of the topology that publishers see. find_queue(vhost, name) gives a queue or None;
    replay(vhost, history, destination) hears of each new binding from an exchange that remembers messages."""

    def __init__(
        self,
        changes: Changes,
        replay: Callable[[VirtualHost, History, Any], None],
        find_queue: Callable[[VirtualHost, str], Any],
    ):
        self._changes = changes
        self._codec = changes.codec
        self._replay = replay
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
        check_exchange_arguments(self._codec, kind, arguments, title)
        self._changes.check_limit(ExchangeFact, "exchanges", f"declare {title}")
        fact = ExchangeFact(
            vhost=vhost.name,
            name=name,
            kind=kind,
            durable=durable,
            auto_delete=auto_delete,
            internal=internal,
            arguments=block_of(self._codec, arguments),
        )
        self._changes.change(fact, durable=durable)

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
        self._changes.change(record, durable=any(gone.durable for gone in going))

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
        exchange.check_binding(key, arguments)
        if exchange.find(bound, key, arguments) is not None:
            return
        self._changes.check_limit(BindingFact, "bindings", f"bind to {exchange_title(vhost, exchange.name)}")
        fact = BindingFact(
            vhost=vhost.name,
            source=exchange.name,
            kind=destination[0],
            destination=bound.name,
            key=key.encode("utf-8", "surrogateescape"),
            arguments=block_of(self._codec, arguments),
            durable=bool(exchange.durable and bound.durable),
        )
        self._changes.change(fact, durable=fact.durable)
        if exchange.history is not None and len(exchange.history):
            self._replay(vhost, exchange.history, bound)

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
        self._changes.change(record, durable=bool(durable))

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

    def _exchange(self, vhost: VirtualHost, name: str) -> Any:
        exchange = vhost.router.exchanges.get(name)
        if exchange is None:
            raise NotFound(f"no {exchange_title(vhost, name)}")
        return exchange
