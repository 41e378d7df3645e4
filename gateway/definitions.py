"""RabbitMQ's definitions JSON: users, virtual hosts, permissions, policies, limits, queues, exchanges and bindings.

Takes what `rabbitmqctl export_definitions` and the management API write, of a whole cluster or of one virtual host
(then the items name none), and our own argon2id hashes. What has no effect here is told by name (`inert`), what this
version is still to serve is refused by name. What says only where the file came from is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeVar, get_args

import msgspec

from core.access import (
    ARGON2ID,
    NO_LIMITS,
    SHA256,
    Permission,
    Snapshot,
    TopicPermission,
    User,
    VhostLimits,
    check_hash,
    default_snapshot,
    hash_password,
    permission,
    topic_permission,
)
from core.policies import Policy
from core.state.settings import INERT
from gateway.parameters import (
    OPERATOR_POLICY,
    VHOST_LIMITS,
    operator_policy,
    policy,
    user_limits,
    vhost_limits,
)
from gateway.shapes import (
    Binding,
    Exchange,
    File,
    PermissionItem,
    Queue,
    TopicPermissionItem,
    UserItem,
    VhostItem,
)

FILE_BYTES_MAX = 64 << 20
NAME_BYTES_MAX = 255  # a short string of AMQP
CLUSTER_IDENTITY = ("cluster_name", "cluster_tags", "internal_cluster_id")  # global parameters without an effect here
ALL_RIGHTS = permission(".*", ".*", ".*")


class DefinitionsError(Exception):
    """The file cannot be used. One line: file, JSON path, what is wrong."""


class Definitions(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds, every item with its virtual host. `vhosts` are all there are with this file."""

    users: tuple[User, ...] = ()
    vhosts: tuple[str, ...] = ("/",)
    permissions: dict[tuple[str, str], Permission] = {}  # by (virtual host, user)
    topic_permissions: dict[tuple[str, str, str], TopicPermission] = {}  # by (virtual host, user, exchange)
    queues: tuple[Queue, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    bindings: tuple[Binding, ...] = ()
    policies: tuple[Policy, ...] = ()
    operator_policies: tuple[Policy, ...] = ()
    vhost_limits: dict[str, VhostLimits] = {}
    inert: tuple[str, ...] = ()  # what has no effect here, for the log


def load(path: str) -> Definitions:
    """Read a definitions file. Raises DefinitionsError. Takes 30 ms for every password that is given in clear."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise DefinitionsError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        raise DefinitionsError(f"{path}: is larger than {FILE_BYTES_MAX} bytes")
    return parse(data, path)


def parse(data: bytes, source: str) -> Definitions:
    """Read definitions from their JSON; `source` names them in a DefinitionsError."""
    try:
        file = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=File)
        return _Reader(source, file).read()
    except msgspec.ValidationError as error:
        problem, _, path = str(error).rpartition(" - at ")
        if not problem:
            problem, path = path, "$"
        if problem.startswith("Invalid enum value"):
            problem += f"; allowed: {_choices(path.strip('`'))}"
        raise DefinitionsError(f"{source}: {path.strip('`')}: {problem}") from None
    except msgspec.DecodeError as error:
        raise DefinitionsError(f"{source}: {error}") from None
    except RecursionError:
        raise DefinitionsError(f"{source}: is nested too deeply") from None


def _choices(path: str) -> str:
    kind = Binding if path.endswith(".destination_type") else Exchange
    field = next(field for field in msgspec.structs.fields(kind) if path.endswith(f".{field.name}"))
    return ", ".join(get_args(field.type))


def apply_access(definitions: Definitions) -> Snapshot:
    """Return the access control that the definitions describe. If they bring no users, guest stays, with all rights in
    every virtual host where they give it no others; if they bring any, there is no guest but theirs."""
    permissions = dict(definitions.permissions)
    users = {user.name: user for user in definitions.users}
    if not users:
        users = dict(default_snapshot().users)
        for vhost in definitions.vhosts:
            permissions.setdefault((vhost, "guest"), ALL_RIGHTS)
    return Snapshot(
        users=users,
        vhosts=frozenset(definitions.vhosts),
        permissions=permissions,
        topic_permissions=dict(definitions.topic_permissions),
    )


T = TypeVar("T", Queue, Exchange, Binding)


class _Reader:
    """Checks one decoded file, section by section, and names the place of what is wrong."""

    def __init__(self, source: str, file: File):
        self._source, self._file = source, file
        self._default_vhost = file.original_vhost_name or "/"
        self._vhosts: list[str] = []
        self._users: tuple[User, ...] = ()
        self._policies: list[Policy] = []
        self._operator_policies: list[Policy] = []
        self._limits: dict[str, VhostLimits] = {}
        self._inert: list[str] = []

    def read(self) -> Definitions:
        """Return what the file holds, or raise DefinitionsError."""
        self._vhosts = self._read_vhosts()
        self._read_policies()
        self._read_parameters()
        self._users = tuple(self._read_user(user, f"$.users[{at}]") for at, user in enumerate(self._file.users))
        self._refuse_doubles("users", [user.name for user in self._users])
        permissions = {}
        for at, item in enumerate(self._file.permissions):
            vhost = self._grantee(item, f"$.permissions[{at}]")
            permissions[vhost, item.user] = self._compile(
                f"$.permissions[{at}]", permission, item.configure, item.write, item.read
            )
        topics = {}
        for at, topic in enumerate(self._file.topic_permissions):
            vhost = self._grantee(topic, f"$.topic_permissions[{at}]")
            topics[vhost, topic.user, topic.exchange] = self._compile(
                f"$.topic_permissions[{at}]", topic_permission, topic.user, vhost, topic.write, topic.read
            )
        return Definitions(
            users=self._users,
            vhosts=tuple(self._vhosts),
            permissions=permissions,
            topic_permissions=topics,
            queues=self._read_queues(),
            exchanges=self._read_exchanges(),
            bindings=self._read_bindings(),
            policies=tuple(self._policies),
            operator_policies=tuple(self._operator_policies),
            vhost_limits=self._limits,
            inert=tuple(self._inert),
        )

    def _fail(self, path: str, problem: str) -> NoReturn:
        raise DefinitionsError(f"{self._source}: {path}: {problem}")

    def _compile(self, path: str, compiler: Callable[..., Any], *patterns: str) -> Any:
        try:
            return compiler(*patterns)
        except ValueError as error:
            self._fail(path, str(error))

    def _read_policies(self) -> None:
        for at, item in enumerate(self._file.policies):
            path = f"$.policies[{at}]"
            self._check_name(f"{path}.name", item.name)
            self._add_policy(path, self._policies, policy, item)
        self._refuse_doubles("policies", [(one.vhost, one.name) for one in self._policies])

    def _add_policy(self, path: str, policies: list[Policy], read: Callable[..., Policy], item: Any) -> None:
        made = self._compile(path, read, item, self._vhost_of(item, path))
        policies.append(made)
        without = sorted(INERT.keys() & made.definition.keys())
        if without:
            self._inert.append(f"policy '{made.name}' in vhost '{made.vhost}': {', '.join(without)}")

    def _read_parameters(self) -> None:
        for at, item in enumerate(self._file.parameters):
            path = f"$.parameters[{at}]"
            if item.component == OPERATOR_POLICY:
                self._add_policy(path, self._operator_policies, operator_policy, item)
            elif item.component == VHOST_LIMITS:
                self._limits[self._vhost_of(item, path)] = self._compile(path, vhost_limits, item.value)
            else:
                where = item.vhost or self._default_vhost
                self._inert.append(f"parameter '{item.name}' of component '{item.component}' in vhost '{where}'")
        names = [each.get("name") for each in self._file.global_parameters]
        self._inert += [f"global parameter '{name}'" for name in names if name not in CLUSTER_IDENTITY]

    def _check_vhost_extras(self, path: str, name: str, vhost: VhostItem | File) -> None:
        limits = self._compile(f"{path}.limits", vhost_limits, vhost.limits)
        if limits != NO_LIMITS:
            self._limits[name] = limits
        metadata = vhost.metadata if isinstance(vhost.metadata, dict) else {}
        for where, kind in (
            (f"{path}.default_queue_type", vhost.default_queue_type),
            (f"{path}.metadata.default_queue_type", metadata.get("default_queue_type")),
        ):
            if kind not in (None, "", "undefined", "classic"):
                self._fail(where, f"this version does not serve a default queue type of {kind!r} yet; allowed: classic")

    def _read_vhosts(self) -> list[str]:
        for at, vhost in enumerate(self._file.vhosts):
            self._check_name(f"$.vhosts[{at}].name", vhost.name)
            self._check_vhost_extras(f"$.vhosts[{at}]", vhost.name, vhost)
        self._check_vhost_extras("$", self._default_vhost, self._file)
        names = [vhost.name for vhost in self._file.vhosts]
        self._refuse_doubles("vhosts", names)
        if self._file.original_vhost_name is not None:
            self._check_name("$.original_vhost_name", self._default_vhost)
            names.append(self._default_vhost)
        if not names or not self._file.users:
            names.append("/")  # guest's
        return list(dict.fromkeys(names))

    def _read_user(self, user: UserItem, path: str) -> User:
        self._check_name(f"{path}.name", user.name)
        limits = self._compile(f"{path}.limits", user_limits, user.limits)
        split = user.tags.split(",") if isinstance(user.tags, str) else user.tags
        tags = tuple(tag.strip() for tag in split if tag.strip())
        if user.password is not None:
            if user.password_hash is not None:
                self._fail(path, "has both password and password_hash; give one")
            if not user.password:
                self._fail(f"{path}.password", "is empty: nobody could log in with it")
            hashed = hash_password(user.password.encode())
            return User(name=user.name, password_hash=hashed, tags=tags, limits=limits)
        hashed = user.password_hash or ""
        algorithm = user.hashing_algorithm or (ARGON2ID if hashed.startswith("$argon2id$") else SHA256)
        try:
            check_hash(algorithm, hashed)
        except ValueError as error:
            self._fail(f"{path}.password_hash", str(error))
        return User(name=user.name, password_hash=hashed, algorithm=algorithm, tags=tags, limits=limits)

    def _grantee(self, item: PermissionItem | TopicPermissionItem, path: str) -> str:
        known = [user.name for user in self._users] or ["guest"]
        if item.user not in known:
            self._fail(f"{path}.user", f"{item.user!r} is not among the users")
        return self._vhost_of(item, path)

    def _vhost_of(self, item: Any, path: str) -> str:
        vhost: str = item.vhost or self._default_vhost
        if vhost not in self._vhosts:
            self._fail(f"{path}.vhost", f"{vhost!r} is not among the vhosts")
        return vhost

    def _check_name(self, path: str, name: str) -> None:
        size = len(name.encode())
        if not 1 <= size <= NAME_BYTES_MAX:
            self._fail(path, f"is {size} bytes long; allowed: 1..{NAME_BYTES_MAX}")

    def _refuse_doubles(self, section: str, names: Sequence[object]) -> None:
        seen = set()
        for at, name in enumerate(names):
            if name in seen:
                self._fail(f"$.{section}[{at}]", f"{name!r} stands there already")
            seen.add(name)

    def _placed(self, section: str, items: Iterable[T]) -> list[T]:
        placed = []
        for at, item in enumerate(items):
            path = f"$.{section}[{at}]"
            self._check_arguments(f"{path}.arguments", item.arguments)
            placed.append(msgspec.structs.replace(item, vhost=self._vhost_of(item, path)))
        return placed

    def _check_arguments(self, path: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                self._check_name(f"{path}: the name {name!r}", name)
                self._check_arguments(f"{path}[{name!r}]", inner)
        elif isinstance(value, list):
            for at, inner in enumerate(value):
                self._check_arguments(f"{path}[{at}]", inner)
        elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            self._fail(path, f"{value} is no 64-bit number")

    def _read_queues(self) -> tuple[Queue, ...]:
        queues = self._placed("queues", self._file.queues)
        for at, queue in enumerate(queues):
            path = f"$.queues[{at}]"
            self._check_name(f"{path}.name", queue.name)
            stated = queue.arguments.get("x-queue-type", queue.type or "classic")
            if queue.type not in ("", stated):
                self._fail(f"{path}.type", f"{queue.type!r} contradicts the argument x-queue-type {stated!r}")
            if queue.type not in ("", "classic"):
                queues[at] = msgspec.structs.replace(queue, arguments={**queue.arguments, "x-queue-type": stated})
        self._refuse_doubles("queues", [(queue.vhost, queue.name) for queue in queues])
        return tuple(queues)

    def _read_exchanges(self) -> tuple[Exchange, ...]:
        exchanges = self._placed("exchanges", self._file.exchanges)
        for at, exchange in enumerate(exchanges):
            self._check_name(f"$.exchanges[{at}].name", exchange.name)
        self._refuse_doubles("exchanges", [(exchange.vhost, exchange.name) for exchange in exchanges])
        return tuple(exchanges)

    def _read_bindings(self) -> tuple[Binding, ...]:
        bindings = []
        for at, binding in enumerate(self._placed("bindings", self._file.bindings)):
            path = f"$.bindings[{at}]"
            self._check_name(f"{path}.destination", binding.destination)
            if len(binding.routing_key.encode()) > NAME_BYTES_MAX:
                self._fail(f"{path}.routing_key", f"is longer than {NAME_BYTES_MAX} bytes")
            if binding.source:
                self._check_name(f"{path}.source", binding.source)
                bindings.append(binding)
            elif (binding.destination_type, binding.destination) != ("queue", binding.routing_key):
                self._fail(f"{path}.source", "nothing can be bound to the default exchange")
        return tuple(bindings)
