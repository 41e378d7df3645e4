"""Carrying out definitions: who may do what, which policies and limits hold, and what must be there."""

from __future__ import annotations

from typing import Any

from core.access import NO_LIMITS
from gateway.definitions import Definitions, apply_access


def define(broker: Any, wanted: Definitions) -> None:
    """Take users, virtual hosts, permissions, policies and limits from the definitions, and declare what they list. The
    limit of queues holds for clients, not for the file (as in RabbitMQ)."""
    broker.access.replace(apply_access(wanted))
    for name in wanted.vhosts:
        broker.topology.add_vhost(name)
    broker.policies.replace(wanted.policies, wanted.operator_policies)
    broker.topology.policies_changed()  # and nobody remembers a route, or a permission
    vhosts = broker.model.vhosts.values()
    for vhost in vhosts:
        vhost.max_queues = -1
    try:
        _declare(broker, wanted)
    finally:
        for vhost in vhosts:
            limits = wanted.vhost_limits.get(vhost.name, NO_LIMITS)
            vhost.max_connections, vhost.max_queues = limits.max_connections, limits.max_queues


def _declare(broker: Any, wanted: Definitions) -> None:
    topology = broker.topology
    for item in wanted.exchanges:
        topology.declare_exchange(
            broker.virtual_host(item.vhost), item.name, item.type, durable=item.durable,
            auto_delete=item.auto_delete, internal=item.internal, arguments=item.arguments,
        )  # fmt: skip
    for queue in wanted.queues:
        topology.declare_queue(
            broker.virtual_host(queue.vhost), queue.name, durable=queue.durable,
            auto_delete=queue.auto_delete, arguments=queue.arguments,
        )  # fmt: skip
    for binding in wanted.bindings:
        topology.bind(
            broker.virtual_host(binding.vhost), binding.source, (binding.destination_type, binding.destination),
            binding.routing_key, binding.arguments,
        )  # fmt: skip
