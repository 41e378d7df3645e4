"""exchange.* and queue.*: permissions as RabbitMQ asks for them, then the topology, then the reply."""

from __future__ import annotations

from typing import Any

from core.errors import AccessRefused, NotFound, PreconditionFailed
from core.state.arguments import DEAD_LETTER_EXCHANGE, text_of
from core.state.changes import queue_title
from core.state.records import EXCHANGE, QUEUE
from protocols.amqp import methods, tables

DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"


class Declaring:
    """One channel's declarations. Each method returns its reply; the channel sends it when it is safe."""

    def __init__(self, channel, connection, broker):
        self._channel = channel
        self._connection = connection
        self._vhost = connection.vhost
        self._user = connection.user.name
        self._access = broker.access
        self._topology = broker.topology
        self._replies = broker.replies

    def _check(self, kind: str, name: str, right: str) -> None:
        self._access.check(self._user, self._vhost.name, kind, name, right)

    def exchange_declare(self, method):
        """exchange.declare (40, 10)."""
        if method.passive:
            self._topology.check_exchange(self._vhost, method.exchange)
            return methods.ExchangeDeclareOk()
        self._check("exchange", method.exchange, "configure")
        alternate = method.arguments.get("alternate-exchange")
        if isinstance(alternate, str):
            self._check("exchange", method.exchange, "read")
            self._check("exchange", alternate, "write")
        self._topology.declare_exchange(
            self._vhost,
            method.exchange,
            method.type,
            durable=method.durable,
            auto_delete=method.auto_delete,
            internal=method.internal,
            arguments=method.arguments,
        )
        return methods.ExchangeDeclareOk()

    def exchange_delete(self, method):
        """exchange.delete (40, 20)."""
        self._check("exchange", method.exchange, "configure")
        self._topology.delete_exchange(self._vhost, method.exchange, if_unused=method.if_unused)
        return methods.ExchangeDeleteOk()

    def exchange_bind(self, method):
        """exchange.bind (40, 30)."""
        self._bind(method, EXCHANGE, method.source, method.destination)
        return methods.ExchangeBindOk()

    def exchange_unbind(self, method):
        """exchange.unbind (40, 40)."""
        self._unbind(method, EXCHANGE, method.source, method.destination)
        return methods.ExchangeUnbindOk()

    def queue_declare(self, method):
        """queue.declare (50, 10)."""
        if method.queue.startswith(DIRECT_REPLY_TO):
            return self._probe(method.queue)
        if method.passive:
            name = self._channel.queue_name(method.queue)
            queue = self._topology.queue(self._vhost, name, self._connection)
        else:
            if method.queue:
                self._may_declare(method.queue, method.arguments)
            queue = self._topology.declare_queue(
                self._vhost,
                method.queue,
                durable=method.durable,
                exclusive=method.exclusive,
                auto_delete=method.auto_delete,
                arguments=method.arguments,
                owner=self._connection,
                allowed=lambda name: self._may_declare(name, method.arguments),
            )
        self._channel.last_queue = queue.name
        self._topology.queue_used(self._vhost, queue)
        return methods.QueueDeclareOk(queue.name, queue.ready, len(queue.consumers))

    def _probe(self, name: str):
        """A declaration of a reply-to token, passive or not, asks whether somebody still waits for replies there."""
        if name != DIRECT_REPLY_TO and not self._replies.knows(self._vhost, name):
            raise NotFound(f"no queue '{name}' in vhost '{self._vhost.name}'")
        return methods.QueueDeclareOk(name, 0, 1)

    def _may_declare(self, name: str, arguments: dict[str, Any]) -> None:
        """A new queue reads from itself and writes to its dead letter exchange."""
        self._check("queue", name, "configure")
        exchange = arguments.get(DEAD_LETTER_EXCHANGE)
        if exchange is None or name in self._vhost.queues:
            return
        kind = tables.type_name(exchange)
        if kind != "longstr":
            title = queue_title(self._vhost, name)
            raise PreconditionFailed(f"invalid type '{kind}' for arg '{DEAD_LETTER_EXCHANGE}' in {title}")
        self._check("queue", name, "read")
        self._check("exchange", text_of(exchange), "write")

    def queue_bind(self, method):
        """queue.bind (50, 20)."""
        self._bind(method, QUEUE, method.exchange, self._channel.queue_name(method.queue))
        return methods.QueueBindOk()

    def queue_unbind(self, method):
        """queue.unbind (50, 50)."""
        self._unbind(method, QUEUE, method.exchange, self._channel.queue_name(method.queue))
        return methods.QueueUnbindOk()

    def _rights(self, method, kind: str, source: str, destination: str) -> None:
        """A binding writes to its destination and reads from its source, a topic exchange's by its routing key."""
        if "" in (source, destination if kind == EXCHANGE else source):
            raise AccessRefused("operation not permitted on the default exchange")
        self._check(kind, destination, "write")
        self._check("exchange", source, "read")
        if self._access.has_topic_permissions:
            exchange = self._vhost.router.exchanges.get(source)
            if exchange is not None and exchange.kind == "topic":
                key = method.routing_key.encode("utf-8", "surrogateescape")
                self._access.check_topic(self._user, self._vhost.name, source, key, "read")

    def _bind(self, method, kind: str, source: str, destination: str) -> None:
        self._rights(method, kind, source, destination)
        self._topology.bind(
            self._vhost, source, (kind, destination), method.routing_key, method.arguments, owner=self._connection
        )

    def _unbind(self, method, kind: str, source: str, destination: str) -> None:
        self._rights(method, kind, source, destination)
        self._topology.unbind(
            self._vhost, source, (kind, destination), method.routing_key, method.arguments, owner=self._connection
        )

    def queue_purge(self, method):
        """queue.purge (50, 30)."""
        name = self._channel.queue_name(method.queue)
        self._check("queue", name, "read")
        return methods.QueuePurgeOk(self._topology.purge(self._vhost, name, self._connection))

    def queue_delete(self, method):
        """queue.delete (50, 40)."""
        name = self._channel.queue_name(method.queue)
        self._check("queue", name, "configure")
        count = self._topology.delete_queue(
            self._vhost, name, self._connection, if_unused=method.if_unused, if_empty=method.if_empty
        )
        return methods.QueueDeleteOk(count)
