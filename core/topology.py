"""The topology: virtual hosts, queues and their lives here, exchanges and bindings in exchanges.py.

Refusals are RabbitMQ's, to the letter. Access rights are not asked here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from core.errors import AccessRefused, LimitReached, NotFound, NotSupported, PreconditionFailed
from core.state.arguments import (
    QUEUE_TYPE,
    block_of,
    check_consumer_arguments,
    check_equivalent,
    check_queue_arguments,
    check_same,
    table_of,
)
from core.state.changes import RESERVED, Changes, check_owner, locked, queue_title, stripped, unused_after
from core.state.delayed import DELAYED, DELAYED_NAME
from core.state.model import VirtualHost
from core.state.records import QueueFact, QueuesDeleted, VhostFact, VhostRemoved
from core.state.type_arguments import CLASSIC, STREAM, check_properties, check_unnamed

NAME_BYTES = 16  # of randomness in a generated name: 22 characters


def random_name(prefix: str, random_bytes: Callable[[int], bytes]) -> str:
    """A name that nobody else has: the prefix and 22 characters."""
    return prefix + base64.urlsafe_b64encode(random_bytes(NAME_BYTES)).decode().rstrip("=")


class Topology:
    """make_exchanges(find_queue) gives the part for exchanges, make_lifetimes(delete) the one that deletes queues when
    their time has come, by delete(vhost, queues)."""

    def __init__(
        self,
        changes: Changes,
        make_exchanges: Callable[[Callable[[VirtualHost, str], Any]], Any],
        make_lifetimes: Callable[[Callable[[VirtualHost, list[Any]], None]], Any],
    ):
        self._changes = changes
        self._model = changes.model
        self._ports = changes.ports
        self._codec = changes.codec
        self._lifetimes = make_lifetimes(self._delete_queues)
        exchanges = make_exchanges(self._find_queue)
        self.check_exchange = exchanges.check_exchange
        self.declare_exchange = exchanges.declare_exchange
        self.delete_exchange = exchanges.delete_exchange
        self.bind = exchanges.bind
        self.unbind = exchanges.unbind

    def started(self) -> None:
        """After recovery: queues with x-expires count as used now (as in RabbitMQ)."""
        for fact in self._model.facts.of(QueueFact):
            vhost = self._model.vhosts.get(fact.vhost)
            if vhost is not None and fact.queue_type != DELAYED:
                self._watch_expiry(vhost, vhost.queues[fact.name])

    def policies_changed(self) -> None:
        """Let every queue and exchange take on what the policies say now."""
        policies = self._ports.policies
        for vhost in self._model.vhosts.values():
            for queue in vhost.queues.values():
                fact = self._model.fact_of(queue)
                before, settings = queue.settings, policies.settings(fact, table_of(self._codec, fact.arguments))
                if settings != before:
                    queue.configure(settings)
                if settings.expires_ms != before.expires_ms:
                    self._watch_expiry(vhost, queue)
            for exchange in vhost.router.exchanges.values():
                policies.configure_exchange(vhost.name, exchange)
            vhost.router.touch()

    # -- virtual hosts

    def add_vhost(self, name: str) -> VirtualHost:
        """The virtual host of that name, made if it is not there."""
        if name not in self._model.vhosts:
            self._changes.change(VhostFact(name=name), durable=True)
        return self._model.vhosts[name]

    def add_delayed_queue(self, vhost: VirtualHost) -> None:
        """Give the virtual host the hidden queue of its delayed messages."""
        number = self._model.facts.next_id
        fact = QueueFact(id=number, vhost=vhost.name, name=DELAYED_NAME, queue_type=DELAYED)
        self._changes.change(fact, durable=True)

    def remove_vhost(self, name: str) -> None:
        """Delete a virtual host with everything in it. Raises NotFound."""
        vhost = self._model.vhosts.get(name)
        if vhost is None:
            raise NotFound(f"no vhost '{name}'")
        queues = list(vhost.queues.values())
        if vhost.delayed is not None:
            queues.append(vhost.delayed)
        self._changes.change(VhostRemoved(name=name), durable=True)
        for queue in queues:
            self._release(queue)

    # -- queues

    def queue(self, vhost: VirtualHost, name: str, owner: Any) -> Any:
        """The queue of that name, for that connection. Raises NotFound, ResourceLocked."""
        name = stripped(name)
        queue = self._find_queue(vhost, name)
        if queue is None:
            raise NotFound(f"no {queue_title(vhost, name)}")
        check_owner(vhost, queue, owner)
        return queue

    def declare_queue(
        self,
        vhost: VirtualHost,
        name: str,
        *,
        durable: bool,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
        owner: Any = None,
        allowed: Callable[[str], None] | None = None,
    ) -> Any:
        """Make a queue, or see that the one there is the same; return it. An empty name asks for a generated one, which
        allowed(name) may refuse."""
        name = stripped(name)
        arguments = arguments or {}
        queue_type = arguments.get(QUEUE_TYPE, CLASSIC)
        durable = durable and not exclusive
        if not name:
            check_unnamed(queue_type)
            name = random_name("amq.gen-", self._ports.random_bytes)
            if allowed is not None:
                allowed(name)
        else:
            queue = self._find_queue(vhost, name)
            if queue is not None:
                self._check_same_queue(vhost, queue, (durable, auto_delete, arguments), owner if exclusive else None)
                self._lifetimes.used(queue)
                return queue
            if name.startswith(RESERVED):
                raise AccessRefused(f"queue name '{name}' contains reserved prefix 'amq.*'")
        if 0 <= vhost.max_queues <= len(vhost.queues):
            where = f"queue limit in vhost '{vhost.name}' ({vhost.max_queues}) is reached"
            raise LimitReached(f"cannot declare queue '{name}': {where}")
        title = queue_title(vhost, name)
        check_queue_arguments(self._codec, arguments, title)
        check_properties(title, queue_type, (durable, exclusive, auto_delete))
        self._changes.check_limit(QueueFact, "queues", f"declare {title}")
        facts = self._model.facts
        fact = QueueFact(
            id=facts.next_id if durable else facts.next_transient_id,
            vhost=vhost.name,
            name=name,
            durable=durable,
            exclusive=exclusive,
            auto_delete=auto_delete,
            queue_type=queue_type,
            arguments=block_of(self._codec, arguments),
        )
        self._changes.change(fact, durable=durable)
        queue = vhost.queues[name]
        if exclusive:
            self._lifetimes.own(vhost, queue, owner)
        self._watch_expiry(vhost, queue)
        return queue

    def system_queue(self, vhost: VirtualHost, name: str) -> Any:
        """The broker's own durable queue of that reserved name, made if it is not there."""
        if name not in vhost.queues:
            fact = QueueFact(id=self._model.facts.next_id, vhost=vhost.name, name=name)
            self._changes.change(fact, durable=True)
        return vhost.queues[name]

    def _check_same_queue(self, vhost: VirtualHost, queue: Any, received: tuple[Any, ...], owner: Any) -> None:
        """Raises what a redeclare with other properties deserves. owner: None = not declared exclusive."""
        title = queue_title(vhost, queue.name)
        if queue.owner is not owner:
            raise locked(title)
        durable, auto_delete, arguments = received
        fact = self._model.fact_of(queue)
        check_same(title, "durable", durable, fact.durable)
        check_same(title, "auto_delete", auto_delete, fact.auto_delete)
        check_equivalent(self._codec, title, arguments, table_of(self._codec, fact.arguments))

    def delete_queue(
        self, vhost: VirtualHost, name: str, owner: Any, *, if_unused: bool = False, if_empty: bool = False
    ) -> int:
        """Delete a queue and return how many messages were ready; one that is not there is no error."""
        name = stripped(name)
        queue = self._find_queue(vhost, name)
        if queue is None:
            return 0
        check_owner(vhost, queue, owner)
        if if_unused and queue.consumers:
            raise PreconditionFailed(f"{queue_title(vhost, name)} in use")
        of_stream = self._model.fact_of(queue).queue_type == STREAM  # whose messages RabbitMQ does not count here
        if if_empty and queue.ready + queue.delayed and not of_stream:
            raise PreconditionFailed(f"{queue_title(vhost, name)} not empty")
        count: int = queue.ready
        self._delete_queues(vhost, [queue])
        return count

    def purge(self, vhost: VirtualHost, name: str, owner: Any) -> int:
        """Drop everything that is ready and return how many messages that were."""
        queue = self.queue(vhost, name, owner)
        if self._model.fact_of(queue).queue_type == STREAM:
            title = queue_title(vhost, queue.name)
            raise NotSupported(f"queue.purge not supported by stream queues {title}")
        count: int = queue.purge()
        return count

    # -- the life of a queue

    def check_consumer(self, vhost: VirtualHost, queue: Any, arguments: dict[str, Any]) -> None:
        """Raises PreconditionFailed for arguments that a consumer of this queue cannot have."""
        fact = self._model.fact_of(queue)
        check_consumer_arguments(self._codec, arguments, queue_title(vhost, queue.name), fact.queue_type)

    def consumer_added(self, vhost: VirtualHost, queue: Any) -> None:
        """The queue has one more consumer."""
        self._lifetimes.used(queue)

    def consumer_gone(self, vhost: VirtualHost, queue: Any) -> None:
        """The queue has one consumer less: an auto-delete queue goes with its last."""
        if queue.deleted:
            return
        if not queue.consumers and self._model.fact_of(queue).auto_delete:
            self._delete_queues(vhost, [queue])
        else:
            self._lifetimes.used(queue)

    def queue_used(self, vhost: VirtualHost, queue: Any) -> None:
        """Somebody got a message, or declared the queue again."""
        self._lifetimes.used(queue)

    def connection_gone(self, owner: Any, done: Callable[[], None] | None = None) -> None:
        """Delete the connection's exclusive queues: what does not fit one turn in the next ones; then done()."""
        self._lifetimes.owner_gone(owner, done)

    def _watch_expiry(self, vhost: VirtualHost, queue: Any) -> None:
        self._lifetimes.expire_after(vhost, queue, queue.settings.expires_ms)

    def _delete_queues(self, vhost: VirtualHost, queues: list[Any]) -> None:
        """Delete queues of one virtual host, and the exchanges that nothing is bound to any more, as one record."""
        bindings = [binding for queue in queues for binding in vhost.router.bindings_to(queue)]
        going = unused_after(vhost.router, bindings, [])
        record = QueuesDeleted(
            vhost=vhost.name,
            queues=[(queue.id, queue.name) for queue in queues],
            exchanges=[gone.name for gone in going],
        )
        self._changes.change(record, durable=any(thing.durable for thing in (*queues, *going)))
        for queue in queues:
            self._release(queue)

    def _release(self, queue: Any) -> None:
        """The queue is gone: tell its consumers, and whoever waits for a message of it."""
        self._lifetimes.forget(queue)
        for consumer in list(queue.consumers):
            queue.remove_consumer(consumer)
            consumer.gone()
        queue.discard()
        self._ports.deleted(queue)

    def _find_queue(self, vhost: VirtualHost, name: str) -> Any:
        """The queue, or None; one whose owner is gone is deleted now, not when its turn comes."""
        queue = vhost.queues.get(name)
        if queue is not None and queue.owner is not None and self._lifetimes.is_leaving(queue.owner):
            self._delete_queues(vhost, [queue])
            return None
        return queue
