"""Who may log in and what they may touch: users, virtual hosts and permissions, as RabbitMQ has them.

All of it is one immutable `Snapshot`; a change replaces the whole and raises `Access.version`: nobody sees half of it.
Patterns are unanchored regular expressions over the UTF-8 bytes of a name, as RabbitMQ matches them; an empty pattern
allows only the empty name. They come from the administrator: a pattern that backtracks without end is not caught here.

Passwords: `verify` takes 30 ms of CPU and only reads a snapshot, so it may run in any thread; all else belongs to the
loop. A login asks `cached` first, then notes `version`, verifies, and gives the answer to `remember` with that version.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal

import msgspec

from core.errors import AccessRefused, NotAllowed

Kind = Literal["queue", "exchange"]
Right = Literal["configure", "write", "read"]

ARGON2ID, SHA256, SHA512 = "argon2id", "rabbit_password_hashing_sha256", "rabbit_password_hashing_sha512"
ALGORITHMS = (ARGON2ID, SHA256, SHA512)
SALT_BYTES = 4  # RabbitMQ's: base64(salt + hash(salt + password))
ARGON2_TIME, ARGON2_MEMORY_KIB, ARGON2_LANES = 2, 19456, 1
ARGON2_TIME_MAX, ARGON2_MEMORY_KIB_MAX, ARGON2_LANES_MAX = 16, 1 << 20, 16  # of a hash that somebody brings
PATTERN_BYTES_MAX = 4096
DECISIONS_MAX = 4096
VERIFIED_MAX = 16384
FAILED_MAX = 1024
CLIENT_ID = b"{client_id}"  # in a topic permission
CLIENT_PATTERNS_MAX = 4096

_ARGON2_FORM = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,9})\$[\w+/]{11,86}\$[\w+/]{16,86}", re.ASCII
)
# guest's password, hashed once and for all: everybody knows it, and starting must not cost a hash. Whoever is not
# known is checked against it too, so that a refusal takes equally long.
_GUEST_HASH = "$argon2id$v=19$m=19456,t=2,p=1$slCYyk6VHAGdGd+5+E+90w$LqeWLHXF+c9RTXGMDrnYvx0FF/4iIMUjh8S61huZwcA"


class UserLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one user may have open, over all connections; -1 = no limit."""

    max_connections: int = -1
    max_channels: int = -1


class VhostLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much there may be in one virtual host; -1 = no limit."""

    max_connections: int = -1
    max_queues: int = -1


NO_USER_LIMITS, NO_LIMITS = UserLimits(), VhostLimits()


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user. An empty `password_hash` lets nobody in by password."""

    name: str
    password_hash: str = ""
    algorithm: str = ARGON2ID
    tags: tuple[str, ...] = ()
    limits: UserLimits = NO_USER_LIMITS

    def __repr__(self) -> str:
        return f"User(name={self.name!r}, tags={self.tags!r})"  # hashes have no place in logs


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """What one user may do in one virtual host: patterns as they were written, and compiled."""

    configure: re.Pattern[bytes]
    write: re.Pattern[bytes]
    read: re.Pattern[bytes]


class TopicPermission(msgspec.Struct, frozen=True, kw_only=True):
    """Which routing keys one user may write and read through one topic exchange."""

    write: re.Pattern[bytes]
    read: re.Pattern[bytes]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All of access control at one instant. Permissions by (virtual host, user), topic ones also by exchange."""

    users: Mapping[str, User]
    vhosts: frozenset[str]
    permissions: Mapping[tuple[str, str], Permission]
    topic_permissions: Mapping[tuple[str, str, str], TopicPermission]


def compile_pattern(text: str) -> re.Pattern[bytes]:
    """Compile a permission's pattern. Raises ValueError, naming the pattern, if it is none, or not one that means here
    what it means to RabbitMQ (POSIX classes as [[:alpha:]])."""
    data = (text or "^$").encode()
    if len(data) > PATTERN_BYTES_MAX:
        raise ValueError(f"pattern of {len(data)} bytes exceeds {PATTERN_BYTES_MAX}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(data)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ValueError(f"{text!r} is not a regular expression that can be used: {error}") from None


def permission(configure: str, write: str, read: str) -> Permission:
    """Compile one user's patterns for one virtual host. Raises ValueError."""
    return Permission(configure=compile_pattern(configure), write=compile_pattern(write), read=compile_pattern(read))


def topic_permission(user: str, vhost: str, write: str, read: str) -> TopicPermission:
    """Compile one user's patterns for one topic exchange, {username} and {vhost} filled in, literally. {client_id} is
    filled in when a client that has one asks; for any other it stands for itself, as in RabbitMQ. ValueError."""
    filled = [
        text.replace("{username}", re.escape(user)).replace("{vhost}", re.escape(vhost)) for text in (write, read)
    ]
    return TopicPermission(write=compile_pattern(filled[0]), read=compile_pattern(filled[1]))


@lru_cache(CLIENT_PATTERNS_MAX)
def _for_client(pattern: bytes, client_id: str) -> re.Pattern[bytes]:
    return compile_pattern(pattern.replace(CLIENT_ID, re.escape(client_id).encode()).decode())


def default_snapshot() -> Snapshot:
    """Return what is there without definitions: guest/guest, an administrator, with all rights in `/`."""
    guest = User(name="guest", password_hash=_GUEST_HASH, tags=("administrator",))
    return Snapshot(
        users={"guest": guest},
        vhosts=frozenset(["/"]),
        permissions={("/", "guest"): permission(".*", ".*", ".*")},
        topic_permissions={},
    )


def _octets(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")  # as the client sent it, UTF-8 or not


class Access:
    """Answers from the current snapshot. Decisions are remembered, up to DECISIONS_MAX, until the next snapshot."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        loopback_users: tuple[str, ...] = ("guest",),
        password_cache_seconds: int = 300,
    ):
        """Start with `default_snapshot()`. `monotonic` gives seconds, for the age of remembered passwords."""
        self.snapshot = default_snapshot()
        self.version = 0  # grows with every snapshot
        self._loopback_users = frozenset(loopback_users)
        self._decisions: dict[tuple[str, str, str, str, str], bool] = {}
        self._checked = CheckedPasswords(monotonic, password_cache_seconds)

    def replace(self, snapshot: Snapshot) -> None:
        """Let `snapshot` decide from now on. Passwords that did not change stay remembered."""
        self.snapshot = snapshot
        self.version += 1
        self._decisions.clear()

    def check_vhost(self, user: str, vhost: str) -> None:
        """Raise NotAllowed unless `vhost` exists and `user` has permissions in it, whatever they are."""
        if vhost not in self.snapshot.vhosts:
            raise NotAllowed(f"vhost {vhost} not found")
        if (vhost, user) not in self.snapshot.permissions:
            raise NotAllowed(f"access to vhost '{vhost}' refused for user '{user}'")

    def check(self, user: str, vhost: str, kind: Kind, name: str, right: Right) -> None:
        """Raise AccessRefused unless `user` has `right` on the queue or exchange, be it there or not.
        The default exchange, whose name is empty, is asked for as `amq.default`."""
        key = (user, vhost, kind, name, right)
        allowed = self._decisions.get(key)
        if allowed is None:
            allowed = self._decide(user, vhost, name or ("amq.default" if kind == "exchange" else ""), right)
            if len(self._decisions) >= DECISIONS_MAX:
                self._decisions.clear()
            self._decisions[key] = allowed
        if not allowed:
            name = name or ("amq.default" if kind == "exchange" else "")
            raise AccessRefused(f"access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'")

    def _decide(self, user: str, vhost: str, name: str, right: Right) -> bool:
        granted = self.snapshot.permissions.get((vhost, user))
        if granted is None:
            return False
        pattern: re.Pattern[bytes] = getattr(granted, right)
        return pattern.search(_octets(name)) is not None

    @property
    def has_topic_permissions(self) -> bool:
        """Whether anybody's routing keys are restricted: if not, `check_topic` need not be asked."""
        return bool(self.snapshot.topic_permissions)

    def check_topic(
        self, user: str, vhost: str, exchange: str, routing_key: bytes, right: Right, *, client_id: str | None = None
    ) -> None:
        """Raise AccessRefused if a topic permission on `exchange` forbids the key: to publish (write), to bind, unbind
        (read). Without one for this user and exchange every key is allowed. Ask only for exchanges of type topic."""
        granted = self.snapshot.topic_permissions.get((vhost, user, exchange))
        if granted is None:
            return
        pattern: re.Pattern[bytes] = getattr(granted, right)
        if client_id is not None and CLIENT_ID in pattern.pattern:
            pattern = _for_client(pattern.pattern, client_id)
        if pattern.search(routing_key) is None:
            key = routing_key.decode("utf-8", "replace")
            where = f"exchange '{exchange}' in vhost '{vhost}'"
            raise AccessRefused(f"access to topic '{key}' in {where} refused for user '{user}'")

    def user_limits(self, user: str) -> UserLimits:
        """How much the user may have open, by the snapshot of now."""
        known = self.snapshot.users.get(user)
        return NO_USER_LIMITS if known is None else known.limits

    def may_connect(self, user: str, from_loopback: bool) -> bool:
        """Whether `user` may log in from there: some users may from this machine only."""
        return from_loopback or user not in self._loopback_users

    def cached(self, user: str, password: bytes) -> bool | None:
        """Return what an earlier check of the same password said; None if there was none lately. In microseconds."""
        return self._checked.answer(user, self._hash_of(user), password)

    def verify(self, user: str, password: bytes) -> bool:
        """Check a password against the snapshot. Takes some 30 ms, for an unknown user too; safe in any thread."""
        return verify_password(self.snapshot.users.get(user), password)

    def remember(self, user: str, password: bytes, version: int, correct: bool) -> None:
        """Keep what `verify` said; `version` is what it was before. Forgotten if a new snapshot came in between."""
        if version == self.version:
            self._checked.remember(user, self._hash_of(user), password, correct)

    def _hash_of(self, user: str) -> str:
        known = self.snapshot.users.get(user)
        return known.password_hash if known else ""


class CheckedPasswords:
    """Checked passwords by an HMAC, under a key of this process, of user, stored hash and password: the password is
    not kept, and an entry dies with the stored hash. Bounded; wrong ones apart: guessing evicts no right one."""

    def __init__(self, monotonic: Callable[[], float], seconds: int):
        self._monotonic, self._seconds = monotonic, seconds
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()  # digest -> when it was checked, oldest first
        self._wrong: OrderedDict[bytes, float] = OrderedDict()

    def answer(self, user: str, password_hash: str, password: bytes) -> bool | None:
        """Return True, False, or None if this password was not checked in the last `seconds`."""
        digest = self._digest(user, password_hash, password)
        for entries, correct in ((self._right, True), (self._wrong, False)):
            checked = entries.get(digest)
            if checked is not None and self._monotonic() - checked < self._seconds:
                return correct
        return None

    def remember(self, user: str, password_hash: str, password: bytes, correct: bool) -> None:
        """Keep one answer; the oldest goes when there are too many."""
        if not self._seconds:
            return
        entries, bound = (self._right, VERIFIED_MAX) if correct else (self._wrong, FAILED_MAX)
        digest = self._digest(user, password_hash, password)
        entries[digest] = self._monotonic()
        entries.move_to_end(digest)
        if len(entries) > bound:
            entries.popitem(last=False)

    def _digest(self, user: str, password_hash: str, password: bytes) -> bytes:
        name, stored = _octets(user), password_hash.encode()
        lengths = len(name).to_bytes(4, "big") + len(stored).to_bytes(4, "big")
        return hmac.digest(self._key, lengths + name + stored + password, "sha256")


def hash_password(password: bytes) -> str:
    """Return an argon2id hash (t=2, 19 MiB, one lane) with a fresh salt. Takes some 30 ms."""
    from argon2.low_level import Type, hash_secret  # a start without logins does not pay for the import

    cost = {"time_cost": ARGON2_TIME, "memory_cost": ARGON2_MEMORY_KIB, "parallelism": ARGON2_LANES}
    return hash_secret(password, secrets.token_bytes(16), hash_len=32, type=Type.ID, **cost).decode()


def check_hash(algorithm: str, password_hash: str) -> None:
    """Raise ValueError unless `password_hash` is one that `verify_password` can use. Empty: nobody gets in by it."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"hashing algorithm {algorithm!r} is not one of {', '.join(ALGORITHMS)}")
    if not password_hash:
        return
    if algorithm == ARGON2ID:
        form = _ARGON2_FORM.fullmatch(password_hash)
        if form is None:
            raise ValueError("is not an argon2id hash ($argon2id$v=19$m=…,t=…,p=…$salt$hash)")
        costs, most = [int(cost) for cost in form.groups()], (ARGON2_MEMORY_KIB_MAX, ARGON2_TIME_MAX, ARGON2_LANES_MAX)
        if any(not 1 <= cost <= bound for cost, bound in zip(costs, most, strict=True)):
            raise ValueError(f"asks for more than m={most[0]},t={most[1]},p={most[2]}")
        return
    size = SALT_BYTES + (32 if algorithm == SHA256 else 64)
    try:
        data = base64.b64decode(password_hash, validate=True)
    except binascii.Error:
        raise ValueError("is not base64") from None
    if len(data) != size:
        raise ValueError(f"decodes to {len(data)} bytes; salt and hash of {algorithm} are {size}")


def verify_password(user: User | None, password: bytes) -> bool:
    """Whether `password` is the user's. Unknown users, and wrong passwords of any algorithm, cost one argon2; an empty
    password is always wrong, as RabbitMQ has it."""
    if not password:
        return False
    if user is not None and user.password_hash:
        if user.algorithm == ARGON2ID:
            return _verify_argon2(user.password_hash, password)
        data = base64.b64decode(user.password_hash)
        digest = hashlib.new("sha256" if user.algorithm == SHA256 else "sha512", data[:SALT_BYTES] + password).digest()
        if hmac.compare_digest(digest, data[SALT_BYTES:]):
            return True
    _verify_argon2(_GUEST_HASH, password)
    return False


def _verify_argon2(password_hash: str, password: bytes) -> bool:
    from argon2.exceptions import InvalidHash, VerificationError
    from argon2.low_level import Type, verify_secret

    try:
        return verify_secret(password_hash.encode(), password, Type.ID)
    except (VerificationError, InvalidHash):
        return False
