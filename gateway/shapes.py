"""The shapes of RabbitMQ's definitions JSON: every section and field that is known; others are refused."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal[
    "direct", "fanout", "topic", "headers", "x-consistent-hash", "x-modulus-hash", "x-random", "x-recent-history"
]


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object of the file. A field that is not known is refused: it may mean something."""


class Queue(Item, frozen=True, kw_only=True):
    """A queue to declare."""

    name: str
    vhost: str = ""
    durable: bool = True
    auto_delete: bool = False
    arguments: dict[str, Any] = {}
    type: str = ""  # the same as the argument x-queue-type, which is what counts


class Exchange(Item, frozen=True, kw_only=True):
    """An exchange to declare."""

    name: str
    vhost: str = ""
    type: Kind
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    arguments: dict[str, Any] = {}


class Binding(Item, frozen=True, kw_only=True):
    """A binding to make, of a queue or an exchange to an exchange."""

    source: str
    vhost: str = ""
    destination: str
    destination_type: Literal["queue", "exchange"]
    routing_key: str = ""
    arguments: dict[str, Any] = {}
    properties_key: str = ""  # the management API's own name for the binding


class UserItem(Item, frozen=True, kw_only=True):
    """One of `users`."""

    name: str
    password_hash: str | None = None
    password: str | None = None
    hashing_algorithm: str | None = None
    tags: str | list[str] = []
    limits: Any = None


class VhostItem(Item, frozen=True, kw_only=True):
    """One of `vhosts`."""

    name: str
    description: str | None = None
    tags: Any = None
    metadata: dict[str, Any] | list[Any] = {}
    limits: Any = None
    default_queue_type: str | None = None
    protected_from_deletion: bool = False


class PermissionItem(Item, frozen=True, kw_only=True):
    """One of `permissions`."""

    user: str
    vhost: str = ""
    configure: str
    write: str
    read: str


class TopicPermissionItem(Item, frozen=True, kw_only=True):
    """One of `topic_permissions`."""

    user: str
    vhost: str = ""
    exchange: str
    write: str
    read: str


class PolicyItem(Item, frozen=True, kw_only=True):
    """One of `policies`, or the value of an operator policy."""

    name: str = ""
    vhost: str = ""
    pattern: str
    apply_to: str = msgspec.field(default="all", name="apply-to")
    priority: Any = 0
    definition: dict[str, Any]


class Parameter(Item, frozen=True, kw_only=True):
    """One of `parameters`: what a component of RabbitMQ keeps for a virtual host."""

    component: str
    name: str
    vhost: str = ""
    value: Any


class File(Item, frozen=True, kw_only=True):
    """The whole file, of a cluster or of one virtual host."""

    users: list[UserItem] = []
    vhosts: list[VhostItem] = []
    permissions: list[PermissionItem] = []
    topic_permissions: list[TopicPermissionItem] = []
    queues: list[Queue] = []
    exchanges: list[Exchange] = []
    bindings: list[Binding] = []
    policies: list[PolicyItem] = []
    parameters: list[Parameter] = []
    global_parameters: list[dict[str, Any]] = []
    limits: Any = None
    metadata: dict[str, Any] | list[Any] = {}
    default_queue_type: str | None = None
    original_vhost_name: str | None = None
    original_cluster_name: Any = None
    description: Any = None
    explanation: Any = None
    product_name: Any = None
    product_version: Any = None
    rabbit_version: Any = None
    rabbitmq_version: Any = None
    rabbitmq_definition_format: Any = None
