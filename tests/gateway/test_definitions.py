"""RabbitMQ's definitions files: what is read, what is refused, and with which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.access import Access, UserLimits, VhostLimits, verify_password
from core.errors import AccessRefused
from gateway.definitions import Binding, Definitions, DefinitionsError, Exchange, Queue, apply_access, load, parse

HASH = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"  # test12, from RabbitMQ's guide to passwords

# The shape of an export by RabbitMQ 3.10.
EXPORT = {
    "rabbit_version": "3.10.8",
    "rabbitmq_version": "3.10.8",
    "product_name": "RabbitMQ",
    "product_version": "3.10.8",
    "users": [
        {
            "name": "app",
            "password_hash": HASH,
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": ["monitoring", "management"],
            "limits": {},
        },
        {"name": "old", "password_hash": "", "tags": "administrator"},
    ],
    "vhosts": [{"name": "/"}, {"name": "dev", "limits": [], "metadata": {"description": "", "tags": []}}],
    "permissions": [{"user": "app", "vhost": "dev", "configure": "", "write": "^out", "read": ".*"}],
    "topic_permissions": [{"user": "app", "vhost": "dev", "exchange": "amq.topic", "write": "^a", "read": "^b"}],
    "parameters": [],
    "global_parameters": [{"name": "internal_cluster_id", "value": "rabbitmq-cluster-id-x"}],
    "policies": [],
    "queues": [{"name": "q", "vhost": "dev", "durable": True, "auto_delete": False, "arguments": {"x-expires": 5}}],
    "exchanges": [
        {
            "name": "x",
            "vhost": "dev",
            "type": "topic",
            "durable": False,
            "auto_delete": True,
            "internal": True,
            "arguments": {},
        }
    ],
    "bindings": [
        {
            "source": "x",
            "vhost": "dev",
            "destination": "q",
            "destination_type": "queue",
            "routing_key": "a.#",
            "arguments": {"n": 1},
        }
    ],
}


def read(content) -> Definitions:
    return parse(json.dumps(content).encode(), "defs.json")


def refusal(content) -> str:
    with pytest.raises(DefinitionsError) as refused:
        parse(content if isinstance(content, bytes) else json.dumps(content).encode(), "defs.json")
    text = str(refused.value)
    assert "\n" not in text and text.startswith("defs.json: ")
    return text.removeprefix("defs.json: ")


def test_an_export_of_rabbitmq_is_read_whole():
    definitions = read(EXPORT)
    assert definitions.vhosts == ("/", "dev")
    assert definitions.queues == (Queue(name="q", vhost="dev", arguments={"x-expires": 5}),)
    exchange = Exchange(name="x", vhost="dev", type="topic", durable=False, auto_delete=True, internal=True)
    assert definitions.exchanges == (exchange,)
    assert definitions.bindings == (
        Binding(
            source="x",
            vhost="dev",
            destination="q",
            destination_type="queue",
            routing_key="a.#",
            arguments={"n": 1},
        ),
    )
    app, old = definitions.users
    assert app.tags == ("monitoring", "management") and old.tags == ("administrator",)
    assert verify_password(app, b"test12") and not verify_password(old, b"")


def test_its_users_and_permissions_decide():
    access = Access(lambda: 0.0)
    access.replace(apply_access(read(EXPORT)))
    assert set(access.snapshot.users) == {"app", "old"}
    access.check_vhost("app", "dev")
    access.check("app", "dev", "exchange", "out", "write")
    access.check_topic("app", "dev", "amq.topic", b"a", "write")
    for refused in (
        lambda: access.check("app", "dev", "exchange", "in", "write"),
        lambda: access.check("app", "dev", "queue", "q", "configure"),
        lambda: access.check_topic("app", "dev", "amq.topic", b"b", "write"),
        lambda: access.check("guest", "/", "queue", "q", "read"),
    ):
        with pytest.raises(AccessRefused):
            refused()


def test_without_users_guest_stays_with_all_rights_that_are_not_stated_otherwise():
    content = {
        "vhosts": [{"name": "a"}, {"name": "b"}],
        "permissions": [{"user": "guest", "vhost": "a", "configure": "", "write": "", "read": ""}],
    }
    snapshot = apply_access(read(content))
    assert snapshot.vhosts == {"/", "a", "b"}
    assert list(snapshot.users) == ["guest"]
    assert snapshot.permissions["b", "guest"].read.pattern == b".*"
    assert snapshot.permissions["/", "guest"].read.pattern == b".*"
    assert snapshot.permissions["a", "guest"].read.pattern == b"^$"


def test_with_users_and_vhosts_there_are_only_those():
    content = {"users": [{"name": "u"}], "vhosts": [{"name": "v"}]}
    snapshot = apply_access(read(content))
    assert (set(snapshot.users), snapshot.vhosts) == ({"u"}, {"v"})
    assert read({"users": [{"name": "u"}]}).vhosts == ("/",)


def test_an_empty_object_changes_nothing():
    assert read({}) == Definitions()
    assert parse(b"\xef\xbb\xbf{}", "defs.json") == Definitions()


@pytest.mark.parametrize(("name", "vhost"), [(None, "/"), ("dev", "dev")])
def test_the_export_of_one_virtual_host_names_it_once_or_not_at_all(name, vhost):
    content = {
        "rabbit_version": "3.13.0",
        "rabbitmq_definition_format": "single_virtual_host",
        "explanation": "Definitions of one virtual host",
        "metadata": {"default_queue_type": "classic"},
        "description": "",
        "limits": [],
        "default_queue_type": "undefined",
        "queues": [{"name": "q", "durable": True, "auto_delete": False, "arguments": {}}],
        "exchanges": [{"name": "x", "type": "fanout"}],
        "bindings": [{"source": "x", "destination": "q", "destination_type": "queue", "properties_key": "~"}],
    }
    if name:
        content["original_vhost_name"] = name
    definitions = read(content)
    for items in (definitions.queues, definitions.exchanges, definitions.bindings):
        assert [item.vhost for item in items] == [vhost]
    assert (vhost, "guest") in apply_access(definitions).permissions


def test_a_password_in_clear_is_hashed():
    (user,) = read({"users": [{"name": "u", "password": "pä", "tags": "a, b,"}]}).users
    assert user.password_hash.startswith("$argon2id$") and user.tags == ("a", "b")
    assert verify_password(user, "pä".encode())


def test_our_own_hash_needs_no_algorithm():
    (hashed,) = read({"users": [{"name": "u", "password": "pw"}]}).users
    (user,) = read({"users": [{"name": "u", "password_hash": hashed.password_hash}]}).users
    assert user == hashed


def test_the_type_of_a_queue_becomes_its_argument():
    queues = [{"name": "a", "type": "classic"}, {"name": "b", "type": "quorum", "arguments": {"x-expires": 1}}]
    plain, quorum = read({"queues": queues}).queues
    assert plain.arguments == {}
    assert quorum.arguments == {"x-expires": 1, "x-queue-type": "quorum"}
    wrong = {"name": "c", "type": "classic", "arguments": {"x-queue-type": "quorum"}}
    assert refusal({"queues": [wrong]}).startswith("$.queues[0].type: 'classic' contradicts the argument")


def test_the_bindings_that_every_queue_has_need_no_making():
    binding = {"source": "", "destination": "q", "destination_type": "queue", "routing_key": "q"}
    assert read({"bindings": [binding]}).bindings == ()
    binding["routing_key"] = "other"
    assert refusal({"bindings": [binding]}) == "$.bindings[0].source: nothing can be bound to the default exchange"


PERMISSION = {"user": "guest", "vhost": "/", "configure": "", "write": "", "read": ""}
BINDING = {"source": "x", "destination": "q", "destination_type": "queue"}
NOT_SERVED = "this version does not serve "
POLICY = {"vhost": "/", "name": "p", "pattern": "^a", "apply-to": "all", "priority": 1, "definition": {"expires": 5}}
OPERATOR = {
    "component": "operator_policy",
    "name": "o",
    "vhost": "/",
    "value": {"pattern": "", "definition": {"expires": 3}, "priority": 1, "apply-to": "all"},
}
REFUSED = [
    ({"policies": [{"name": "ha"}]}, "$.policies[0]: Object missing required field `pattern`"),
    (
        {"policies": [{**POLICY, "definition": {"message-ttl": -1}}]},
        "$.policies[0]: policy 'p' in vhost '/': -1 is not a valid message TTL",
    ),
    (
        {"policies": [{**POLICY, "definition": {"federation-upstream-set": "all"}}]},
        "$.policies[0]: policy 'p' in vhost '/': "
        '[{<<"federation-upstream-set">>,<<"all">>}] are not recognised policy settings',
    ),
    ({"policies": [{**POLICY, "pattern": "("}]}, "$.policies[0]: policy 'p' in vhost '/': '(' is not a regular expr"),
    ({"policies": [{**POLICY, "apply-to": "x"}]}, "$.policies[0]: policy 'p' in vhost '/': apply-to 'x' unrecognised;"),
    (
        {"policies": [{**POLICY, "priority": "x"}]},
        "$.policies[0]: policy 'p' in vhost '/': priority should be a number, actually was <<\"x\">>",
    ),
    ({"policies": [{**POLICY, "vhost": "v"}]}, "$.policies[0].vhost: 'v' is not among the vhosts"),
    ({"policies": [POLICY, POLICY]}, "$.policies[1]: ('/', 'p') stands there already"),
    (
        {"parameters": [{"component": "operator_policy", "name": "p", "value": {}}]},
        "$.parameters[0]: operator policy 'p' in vhost '/': Object missing required field `pattern`",
    ),
    (
        {"parameters": [{**OPERATOR, "value": {"pattern": "", "definition": {"max-age": "1D"}}}]},
        "$.parameters[0]: operator policy 'o' in vhost '/': "
        '[{<<"max-age">>,<<"1D">>}] are not recognised policy settings',
    ),
    (
        {"parameters": [{"component": "vhost-limits", "name": "limits", "value": {"max-queues": "x"}}]},
        '$.parameters[0]: max-queues should be a number, actually was <<"x">>',
    ),
    ({"limits": {"foo": 1}}, '$.limits: Unrecognised terms [{<<"foo">>,1}] in limits'),
    (
        {"users": [{"name": "u", "limits": {"max-queues": 1}}]},
        '$.users[0].limits: Unrecognised terms [{<<"max-queues">>,1}] in user-limits',
    ),
    (
        {"vhosts": [{"name": "v", "limits": [{"name": "max-queues"}]}]},
        '$.vhosts[0].limits: limits not a list [#{<<"name">> => <<"max-queues">>}]',
    ),
    (
        {"vhosts": [{"name": "v", "default_queue_type": "quorum"}]},
        f"$.vhosts[0].default_queue_type: {NOT_SERVED}a default queue type of 'quorum' yet; allowed: classic",
    ),
    (
        {"metadata": {"default_queue_type": "stream"}},
        f"$.metadata.default_queue_type: {NOT_SERVED}a default queue type of 'stream' yet; allowed: classic",
    ),
    ({"foo": []}, "$: Object contains unknown field `foo`"),
    ({"queues": [{"name": "q", "mode": "lazy"}]}, "$.queues[0]: Object contains unknown field `mode`"),
    ({"queues": [{}]}, "$.queues[0]: Object missing required field `name`"),
    ({"users": [{"name": 1}]}, "$.users[0].name: Expected `str`, got `int`"),
    ({"users": {}}, "$.users: Expected `array`, got `object`"),
    ([], "$: Expected `object`, got `array`"),
    (b"{", "Input data was truncated"),
    (b"{]", "JSON is malformed"),
    (b'{"queues":[{"name":"q","arguments":{"x":' + b"[" * 100_000, "is nested too deeply"),
    (
        {"exchanges": [{"name": "x", "type": "x-local"}]},
        "$.exchanges[0].type: Invalid enum value 'x-local'; allowed: direct, fanout, topic, headers",
    ),
    (
        {"bindings": [{**BINDING, "destination_type": "topic"}]},
        "$.bindings[0].destination_type: Invalid enum value 'topic'; allowed: queue, exchange",
    ),
    ({"users": [{"name": ""}]}, "$.users[0].name: is 0 bytes long; allowed: 1..255"),
    ({"vhosts": [{"name": "é" * 128}]}, "$.vhosts[0].name: is 256 bytes long; allowed: 1..255"),
    ({"original_vhost_name": "v" * 256}, "$.original_vhost_name: is 256 bytes long; allowed: 1..255"),
    ({"queues": [{"name": ""}]}, "$.queues[0].name: is 0 bytes long; allowed: 1..255"),
    ({"exchanges": [{"name": "", "type": "direct"}]}, "$.exchanges[0].name: is 0 bytes long; allowed: 1..255"),
    ({"bindings": [{**BINDING, "source": "x" * 256}]}, "$.bindings[0].source: is 256 bytes long; allowed: 1..255"),
    ({"bindings": [{**BINDING, "destination": ""}]}, "$.bindings[0].destination: is 0 bytes long; allowed: 1..255"),
    ({"bindings": [{**BINDING, "routing_key": "k" * 256}]}, "$.bindings[0].routing_key: is longer than 255 bytes"),
    ({"users": [{"name": "u"}, {"name": "u"}]}, "$.users[1]: 'u' stands there already"),
    ({"vhosts": [{"name": "v"}, {"name": "v"}]}, "$.vhosts[1]: 'v' stands there already"),
    ({"queues": [{"name": "q"}, {"name": "q"}]}, "$.queues[1]: ('/', 'q') stands there already"),
    ({"exchanges": [{"name": "x", "type": "fanout"}] * 2}, "$.exchanges[1]: ('/', 'x') stands there already"),
    ({"permissions": [{**PERMISSION, "user": "who"}]}, "$.permissions[0].user: 'who' is not among the users"),
    ({"permissions": [{**PERMISSION, "vhost": "v"}]}, "$.permissions[0].vhost: 'v' is not among the vhosts"),
    ({"permissions": [{**PERMISSION, "read": "("}]}, "$.permissions[0]: '(' is not a regular expression that can be"),
    (
        {"topic_permissions": [{"user": "guest", "exchange": "x", "write": "[[:a:]]", "read": ""}]},
        "$.topic_permissions[0]: '[[:a:]]' is not a regular expression that can be",
    ),
    (
        {"topic_permissions": [{"user": "who", "exchange": "x", "write": "", "read": ""}]},
        "$.topic_permissions[0].user: 'who' is not among the users",
    ),
    ({"queues": [{"name": "q", "vhost": "v"}]}, "$.queues[0].vhost: 'v' is not among the vhosts"),
    ({"exchanges": [{"name": "x", "type": "fanout", "vhost": "v"}]}, "$.exchanges[0].vhost: 'v' is not among the vho"),
    ({"bindings": [{**BINDING, "vhost": "v"}]}, "$.bindings[0].vhost: 'v' is not among the vhosts"),
    (
        {"queues": [{"name": "q", "arguments": {"a": [{"b": 1 << 63}]}}]},
        "$.queues[0].arguments['a'][0]['b']: 9223372036854775808 is no 64-bit number",
    ),
    (
        {"queues": [{"name": "q", "arguments": {"a" * 256: 1}}]},
        f"$.queues[0].arguments: the name '{'a' * 256}': is 256 bytes long; allowed: 1..255",
    ),
    ({"users": [{"name": "u", "password": ""}]}, "$.users[0].password: is empty: nobody could log in with it"),
    (
        {"users": [{"name": "u", "password": "p", "password_hash": HASH}]},
        "$.users[0]: has both password and password_hash; give one",
    ),
    ({"users": [{"name": "u", "password_hash": "?"}]}, "$.users[0].password_hash: is not base64"),
    (
        {"users": [{"name": "u", "password_hash": HASH, "hashing_algorithm": "rabbit_password_hashing_md5"}]},
        "$.users[0].password_hash: hashing algorithm 'rabbit_password_hashing_md5' is not one of argon2id,",
    ),
]


@pytest.mark.parametrize(("content", "expected"), REFUSED, ids=[expected[:60] for _, expected in REFUSED])
def test_what_cannot_be_used_is_refused_with_its_place(content, expected):
    assert refusal(content).startswith(expected)


def test_policies_and_operator_policies_are_read_as_rabbitmq_exports_them():
    definitions = read({"policies": [POLICY], "parameters": [OPERATOR]})
    (policy,), (operator,) = definitions.policies, definitions.operator_policies
    assert (policy.name, policy.priority, policy.definition) == ("p", 1, {"expires": 5})
    assert policy.pattern.search(b"ab") and not policy.pattern.search(b"b")
    assert (operator.name, operator.vhost, operator.definition) == ("o", "/", {"expires": 3})
    assert operator.pattern.search(b"anything")  # an empty pattern of a policy matches every name


def test_limits_are_read_from_all_the_places_where_rabbitmq_has_them():
    parameter = {"component": "vhost-limits", "name": "limits", "vhost": "a", "value": {"max-connections": 5}}
    content = {
        "vhosts": [{"name": "/"}, {"name": "a"}, {"name": "b", "limits": {"max-queues": 7}}],
        "users": [{"name": "u", "limits": {"max-channels": 2, "max-connections": -1}}, {"name": "v", "limits": []}],
        "parameters": [parameter],
    }
    definitions = read(content)
    assert definitions.vhost_limits == {"a": VhostLimits(max_connections=5), "b": VhostLimits(max_queues=7)}
    assert [user.limits for user in definitions.users] == [UserLimits(max_channels=2), UserLimits()]
    assert read({"limits": {"max-queues": 1}}).vhost_limits == {"/": VhostLimits(max_queues=1)}


def test_what_has_no_effect_here_is_named():
    content = {
        "policies": [{**POLICY, "definition": {"ha-mode": "all", "queue-mode": "lazy", "expires": 1}}],
        "parameters": [{"component": "shovel", "name": "s", "vhost": "/", "value": {}}],
        "global_parameters": [{"name": "cluster_name"}, {"name": "mqtt_port_to_vhost_mapping"}],
    }
    assert read(content).inert == (
        "policy 'p' in vhost '/': ha-mode, queue-mode",
        "parameter 's' of component 'shovel' in vhost '/'",
        "global parameter 'mqtt_port_to_vhost_mapping'",
    )


def test_a_refusal_shows_no_password():
    for user in ({"name": "u", "password": "secret", "limits": {"a": 1}}, {"name": "", "password": "secret"}):
        assert "secret" not in refusal({"users": [user]})


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_any_value_in_any_section_is_read_or_refused_in_one_line(value):
    sections = ("users", "vhosts", "permissions", "queues", "exchanges", "bindings", "policies", "parameters", "limits")
    for section in sections:
        try:
            read({section: value})
        except DefinitionsError as error:
            assert "\n" not in str(error)


def test_a_file_is_loaded_by_its_path(tmp_path):
    path = tmp_path / "defs.json"
    path.write_text(json.dumps(EXPORT))
    assert load(str(path)) == read(EXPORT)
    path.write_bytes(b"[1")
    with pytest.raises(DefinitionsError, match=f"^{path}: "):
        load(str(path))
    with pytest.raises(DefinitionsError, match="none: cannot be read: No such file or directory$"):
        load(str(tmp_path / "none"))


def test_a_file_has_a_largest_size(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.definitions.FILE_BYTES_MAX", 3)
    path = tmp_path / "defs.json"
    path.write_bytes(b"{ }")
    assert load(str(path)) == Definitions()
    path.write_bytes(b"{  }")
    with pytest.raises(DefinitionsError, match="is larger than 3 bytes$"):
        load(str(path))
