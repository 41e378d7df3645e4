"""Permissions as RabbitMQ evaluates them; passwords checked, remembered and forgotten."""

import base64
import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import core.access
from core.access import (
    ARGON2ID,
    DECISIONS_MAX,
    FAILED_MAX,
    SHA256,
    SHA512,
    Access,
    CheckedPasswords,
    Snapshot,
    User,
    check_hash,
    compile_pattern,
    default_snapshot,
    hash_password,
    permission,
    topic_permission,
    verify_password,
)
from core.errors import AccessRefused, NotAllowed

# From RabbitMQ's guide to passwords: salt 908DC60A, password test12.
GUIDE_HASH = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


class Seconds:
    """A monotonic clock that stands still until told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def access_with(*, users=(), permissions=(), topics=(), **options) -> Access:
    access = Access(Seconds(), **options)
    access.replace(
        Snapshot(
            users={user.name: user for user in users},
            vhosts=frozenset(["/", "other"]),
            permissions={("/", user): permission(*patterns) for user, *patterns in permissions},
            topic_permissions={("/", user, x): topic_permission(user, "/", w, r) for user, x, w, r in topics},
        )
    )
    return access


def allows(access: Access, name: str, right: str, kind: str = "queue", user: str = "lim") -> bool:
    try:
        access.check(user, "/", kind, name, right)
    except AccessRefused:
        return False
    return True


# Permissions


def test_guest_may_do_everything_in_the_default_virtual_host():
    access = Access(Seconds())
    access.check_vhost("guest", "/")
    for right in ("configure", "write", "read"):
        access.check("guest", "/", "queue", "any", right)
        access.check("guest", "/", "exchange", "", right)
    assert access.snapshot.users["guest"].tags == ("administrator",)


def test_a_refusal_says_what_rabbitmq_says():
    access = access_with(permissions=[("lim", "", "", "")])
    with pytest.raises(AccessRefused) as refused:
        access.check("lim", "/", "queue", "b1", "read")
    assert str(refused.value) == "access to queue 'b1' in vhost '/' refused for user 'lim'"
    with pytest.raises(AccessRefused) as refused:
        access.check("lim", "/", "exchange", "", "write")
    assert str(refused.value) == "access to exchange 'amq.default' in vhost '/' refused for user 'lim'"


def test_the_default_exchange_is_asked_for_by_its_other_name():
    access = access_with(permissions=[("lim", "", r"^amq\.default$", "")])
    assert allows(access, "", "write", "exchange")
    assert not allows(access, "", "write", "queue")


def test_each_right_has_its_own_pattern_and_patterns_are_not_anchored():
    access = access_with(permissions=[("lim", "^a", "b$", "c")])
    assert allows(access, "ax", "configure") and not allows(access, "xa", "configure")
    assert allows(access, "xb", "write") and not allows(access, "bx", "write")
    assert allows(access, "xcx", "read") and not allows(access, "x", "read")


def test_an_empty_pattern_allows_only_the_empty_name():
    access = access_with(permissions=[("lim", "", "", "")])
    assert allows(access, "", "read", "queue")
    assert not allows(access, "x", "read")


def test_names_match_as_their_utf8_bytes():
    access = access_with(permissions=[("lim", "^..$", "^é$", r"^\w+$")])
    assert allows(access, "é", "configure") and not allows(access, "e", "configure")
    assert allows(access, "é", "write")
    assert not allows(access, "é", "read")


def test_who_has_no_permissions_in_a_virtual_host_is_refused_there():
    access = access_with(permissions=[("lim", ".*", ".*", ".*")])
    assert not allows(access, "q", "read", user="else")
    with pytest.raises(NotAllowed) as refused:
        access.check_vhost("lim", "other")
    assert str(refused.value) == "access to vhost 'other' refused for user 'lim'"
    with pytest.raises(NotAllowed) as refused:
        access.check_vhost("lim", "none")
    assert str(refused.value) == "vhost none not found"


def test_a_new_snapshot_decides_at_once_and_raises_the_version():
    access = access_with(permissions=[("lim", ".*", ".*", ".*")])
    assert allows(access, "q", "read")
    before = access.version
    access.replace(msgspec.structs.replace(access.snapshot, permissions={}))
    assert access.version == before + 1
    assert not allows(access, "q", "read")


def test_remembered_decisions_are_bounded():
    access = access_with(permissions=[("lim", "", "", "7$")])
    for number in range(DECISIONS_MAX + 10):
        assert allows(access, str(number), "read") == (number % 10 == 7)
    assert len(access._decisions) <= DECISIONS_MAX


@pytest.mark.parametrize("text", ["(", "*", "[[:alpha:]]", "a{2,1}", r"\z", "a" * 4097])
def test_a_pattern_that_cannot_be_used_is_refused(text):
    with pytest.raises(ValueError, match="pattern of 4097 bytes exceeds 4096|is not a regular expression that can"):
        compile_pattern(text)


ATOMS = st.tuples(st.sampled_from("ab."), st.sampled_from(["", "*", "?"]))
PATTERNS = st.tuples(st.booleans(), st.lists(ATOMS, max_size=5), st.booleans())


def naively_matches(atoms, name: str, to_the_end: bool) -> bool:
    """Whether `atoms` match at the start of `name`: try everything."""
    if not atoms:
        return not (to_the_end and name)
    (symbol, repeat), rest = atoms[0], atoms[1:]
    takes = bool(name) and symbol in (".", name[0])
    if repeat and naively_matches(rest, name, to_the_end):
        return True
    return takes and naively_matches(atoms if repeat == "*" else rest, name[1:], to_the_end)


@given(PATTERNS, st.lists(st.text("abc", max_size=6), min_size=1, max_size=8))
def test_permissions_agree_with_a_naive_evaluation(pattern, names):
    from_start, atoms, to_the_end = pattern
    text = "^" * from_start + "".join(symbol + repeat for symbol, repeat in atoms) + "$" * to_the_end
    access = access_with(permissions=[("lim", text, "", "")])
    for name in [*names, *names]:  # the second time from memory
        starts = range(1 if from_start else len(name) + 1)
        expected = any(naively_matches(atoms, name[at:], to_the_end) for at in starts) if text else not name
        assert allows(access, name, "configure") == expected


def test_topic_permissions_restrict_the_keys_of_their_exchange_only():
    access = access_with(topics=[("lim", "amq.topic", r"^{username}\.", "^{vhost}$")])
    assert access.has_topic_permissions and not Access(Seconds()).has_topic_permissions
    access.check_topic("lim", "/", "amq.topic", b"lim.a", "write")
    access.check_topic("lim", "/", "amq.topic", b"/", "read")
    access.check_topic("lim", "/", "another", b"x", "write")
    access.check_topic("else", "/", "amq.topic", b"x", "write")
    with pytest.raises(AccessRefused) as refused:
        access.check_topic("lim", "/", "amq.topic", b"x\xff", "write")
    expected = "access to topic 'x\ufffd' in exchange 'amq.topic' in vhost '/' refused for user 'lim'"
    assert str(refused.value) == expected


def test_the_client_id_is_filled_in_when_a_client_that_has_one_asks():
    access = access_with(topics=[("lim", "amq.topic", "^{client_id}$", "^a$")])
    access.check_topic("lim", "/", "amq.topic", b"c.1", "write", client_id="c.1")
    access.check_topic("lim", "/", "amq.topic", b"{client_id}", "write")
    access.check_topic("lim", "/", "amq.topic", b"a", "read", client_id="c.1")
    for key, client_id in ((b"cx1", "c.1"), (b"c.1", "c2"), (b"{client_id}", "c2"), (b"c.1", None)):
        with pytest.raises(AccessRefused):
            access.check_topic("lim", "/", "amq.topic", key, "write", client_id=client_id)


def test_a_name_in_a_topic_pattern_stands_for_itself():
    granted = topic_permission("a.b", "(", "^{username}$", "^{vhost}$")
    assert granted.write.search(b"a.b") and not granted.write.search(b"axb")
    assert granted.read.search(b"(")


def test_loopback_users_connect_from_this_machine_only():
    access = Access(Seconds(), loopback_users=("guest", "near"))
    assert access.may_connect("guest", True) and not access.may_connect("guest", False)
    assert not access.may_connect("near", False)
    assert access.may_connect("far", False)
    assert Access(Seconds(), loopback_users=()).may_connect("guest", False)


# Passwords


def test_guest_logs_in_with_the_password_that_everybody_knows():
    access = Access(Seconds())
    assert access.verify("guest", b"guest")
    assert not access.verify("guest", b"Guest")
    assert not access.verify("guest", b"")
    assert not access.verify("nobody", b"guest")


def test_starting_hashes_nothing(monkeypatch):
    monkeypatch.setattr(core.access, "hash_password", None)
    assert default_snapshot().users["guest"].password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_the_hash_of_rabbitmqs_guide_is_understood():
    user = User(name="u", password_hash=GUIDE_HASH, algorithm=SHA256)
    check_hash(user.algorithm, user.password_hash)
    assert verify_password(user, b"test12")
    assert not verify_password(user, b"test13")


def test_sha512_hashes_are_understood():
    salted = b"salt" + hashlib.sha512(b"salt" + b"pw").digest()
    user = User(name="u", password_hash=base64.b64encode(salted).decode(), algorithm=SHA512)
    check_hash(user.algorithm, user.password_hash)
    assert verify_password(user, b"pw") and not verify_password(user, b"p")


def test_our_own_hashes_are_salted_and_verify():
    first, second = hash_password(b"pw"), hash_password(b"pw")
    assert first != second
    check_hash(ARGON2ID, first)
    assert verify_password(User(name="u", password_hash=first), b"pw")
    assert not verify_password(User(name="u", password_hash=first), b"pW")


@pytest.mark.parametrize("user", [None, User(name="u"), User(name="u", password_hash=GUIDE_HASH, algorithm=SHA256)])
def test_every_refusal_costs_one_argon2_so_that_users_cannot_be_told_apart(monkeypatch, user):
    hashes = []
    monkeypatch.setattr(core.access, "_verify_argon2", lambda stored, password: hashes.append(stored) or True)
    assert not verify_password(user, b"wrong")
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("algorithm", "text", "problem"),
    [
        ("rabbit_password_hashing_md5", "x", "is not one of argon2id, rabbit_password_hashing_sha256, rabbit_pass"),
        (ARGON2ID, "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "is not an argon2id hash"),
        (ARGON2ID, "$argon2id$v=19$m=1048577,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFz", "asks for more than m=1048576"),
        (ARGON2ID, "$argon2id$v=19$m=8,t=17,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFz", "asks for more than"),
        (ARGON2ID, "$argon2id$v=19$m=8,t=0,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFz", "asks for more than"),
        (SHA256, "not base64", "is not base64"),
        (SHA256, "QUJD", "decodes to 3 bytes; salt and hash of rabbit_password_hashing_sha256 are 36"),
        (SHA512, GUIDE_HASH, "decodes to 36 bytes; salt and hash of rabbit_password_hashing_sha512 are 68"),
    ],
)
def test_a_hash_that_cannot_be_used_is_refused(algorithm, text, problem):
    with pytest.raises(ValueError) as refused:
        check_hash(algorithm, text)
    assert problem in str(refused.value)


def test_a_hash_that_passes_for_argon2_but_is_none_lets_nobody_in():
    text = "$argon2id$v=19$m=1,t=1,p=9$" + "A" * 22 + "$" + "A" * 43
    check_hash(ARGON2ID, text)
    assert not verify_password(User(name="u", password_hash=text), b"pw")


def test_who_shows_a_user_shows_no_hash():
    assert GUIDE_HASH not in repr(User(name="u", password_hash=GUIDE_HASH))


# Remembering


def test_a_checked_password_is_answered_from_memory_until_it_is_too_old():
    access = Access(Seconds(), password_cache_seconds=300)
    assert access.cached("guest", b"guest") is None
    access.remember("guest", b"guest", access.version, True)
    access.remember("guest", b"wrong", access.version, False)
    assert access.cached("guest", b"guest") is True
    assert access.cached("guest", b"wrong") is False
    assert access.cached("guest", b"other") is None
    assert access.cached("gues", b"tguest") is None
    access._checked._monotonic.now += 300
    assert access.cached("guest", b"guest") is None
    assert access.cached("guest", b"wrong") is None


def test_a_changed_password_is_forgotten_an_unchanged_one_is_not():
    access = access_with(users=[User(name="a", password_hash="1"), User(name="b", password_hash="2")])
    for user in ("a", "b"):
        access.remember(user, b"pw", access.version, True)
    users = {"a": User(name="a", password_hash="1"), "b": User(name="b", password_hash="3")}
    access.replace(msgspec.structs.replace(access.snapshot, users=users))
    assert access.cached("a", b"pw") is True
    assert access.cached("b", b"pw") is None
    access.replace(msgspec.structs.replace(access.snapshot, users={}))
    assert access.cached("a", b"pw") is None


def test_what_was_checked_against_an_older_snapshot_is_not_remembered():
    access = Access(Seconds())
    version = access.version
    access.replace(default_snapshot())
    access.remember("guest", b"guest", version, True)
    assert access.cached("guest", b"guest") is None


def test_remembering_can_be_switched_off():
    access = Access(Seconds(), password_cache_seconds=0)
    access.remember("guest", b"guest", access.version, True)
    assert access.cached("guest", b"guest") is None


def test_guessing_evicts_old_guesses_and_no_right_password(monkeypatch):
    monkeypatch.setattr(core.access, "VERIFIED_MAX", 2)
    checked = CheckedPasswords(Seconds(), 300)
    checked.remember("u", "hash", b"right", True)
    for number in range(FAILED_MAX + 1):
        checked.remember("u", "hash", b"%d" % number, False)
    assert checked.answer("u", "hash", b"right") is True
    assert checked.answer("u", "hash", b"0") is None
    assert checked.answer("u", "hash", b"1") is False
    assert len(checked._wrong) == FAILED_MAX
    for number in range(2):
        checked.remember("u", "hash", b"right%d" % number, True)
    assert checked.answer("u", "hash", b"right") is None


def test_the_password_checked_longest_ago_is_evicted_first(monkeypatch):
    monkeypatch.setattr(core.access, "VERIFIED_MAX", 2)
    checked = CheckedPasswords(Seconds(), 300)
    for password in (b"a", b"b", b"a", b"c"):
        checked.remember("u", "hash", password, True)
    assert [checked.answer("u", "hash", password) for password in (b"a", b"b", b"c")] == [True, None, True]


def test_what_is_remembered_holds_no_password():
    checked = CheckedPasswords(Seconds(), 300)
    checked.remember("u", "hash", b"secret", True)
    (digest,) = checked._right
    assert len(digest) == 32 and digest != hashlib.sha256(b"secret").digest()
    other = CheckedPasswords(Seconds(), 300)
    other.remember("u", "hash", b"secret", True)
    assert list(other._right) != [digest]


def test_an_empty_password_is_wrong_even_where_its_hash_is_kept():
    salt = b"salt"
    kept = base64.b64encode(salt + hashlib.sha256(salt).digest()).decode()
    assert not verify_password(User(name="u", password_hash=kept, algorithm=SHA256), b"")
    other = base64.b64encode(salt + hashlib.sha256(salt + b"x").digest()).decode()
    assert verify_password(User(name="u", password_hash=other, algorithm=SHA256), b"x")
