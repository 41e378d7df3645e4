"""Limits of virtual hosts and users, and topic permissions, in RabbitMQ's codes and words (amqp.md S2, S4)."""

import pika
import pytest

from tests.clients.broker import parameters
from tests.clients.test_permissions import permission, user

pytestmark = pytest.mark.ours
TOPIC = "access to topic '{}' in exchange 'amq.topic' in vhost '/' refused for user 'u1'"
DEFINITIONS = {
    "users": [
        {**user("u1", "u1"), "limits": {"max-connections": 2, "max-channels": 2}},
        {**user("u2", "u2"), "limits": {"max-connections": -1}},
        {**user("none", "none"), "limits": {"max-connections": 0}},
        {**user("mute", "mute"), "limits": {"max-channels": 0}},
        user("stranger", "stranger"),
    ],
    "vhosts": [{"name": "/"}, {"name": "lim"}],
    "permissions": [permission(who, "/", ".*", ".*", ".*") for who in ("u1", "u2", "none", "mute")]
    + [permission(who, "lim", ".*", ".*", ".*") for who in ("u1", "u2", "none")],
    "topic_permissions": [
        {"user": "u1", "vhost": "/", "exchange": "amq.topic", "write": r"^{username}\.w", "read": r"^{vhost}\.r"}
    ],
    "parameters": [
        {
            "component": "vhost-limits",
            "vhost": "lim",
            "name": "limits",
            "value": {"max-connections": 1, "max-queues": 2},
        }
    ],
    "queues": [{"name": "given", "vhost": "lim"}],
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    from tests.clients.broker import Broker

    broker = Broker(tmp_path_factory.mktemp("limits"), definitions=DEFINITIONS).start()
    yield broker
    broker.stop()


@pytest.fixture
def login(limited):
    opened = []

    def connect(who, vhost="/"):
        credentials = pika.PlainCredentials(who, who)
        opened.append(pika.BlockingConnection(parameters(limited, credentials=credentials, virtual_host=vhost)))
        return opened[-1]

    yield connect
    for each in opened:
        if each.is_open:
            each.close()


def refusal(action) -> str:
    """Code and text of the close that the action meets."""
    with pytest.raises((pika.exceptions.AMQPConnectionError, pika.exceptions.AMQPChannelError)) as refused:
        action()
    error = refused.value
    if isinstance(error, (pika.exceptions.ConnectionClosed, pika.exceptions.ChannelClosed)):
        return f"{error.reply_code} {error.reply_text}"
    return str(error)


def test_a_user_has_so_many_connections_and_may_open_one_again_when_one_is_closed(login):
    connections = [login("u1"), login("u1")]
    text = "NOT_ALLOWED - connection refused for user 'u1': user connection limit (2) is reached"
    assert text in refusal(lambda: login("u1"))
    connections[0].close()
    login("u1").close()
    for _ in range(4):
        login("u2")
    assert "user connection limit (0) is reached" in refusal(lambda: login("none"))


def test_a_user_has_so_many_channels_over_all_connections(login):
    first, second = login("u1"), login("u1")
    first.channel()
    channel = second.channel()
    text = "530 NOT_ALLOWED - number of channels opened for user 'u1' has reached the maximum allowed user limit of (2)"
    assert refusal(second.channel) == text
    assert not second.is_open and not channel.is_open
    first.channel()
    assert refusal(login("mute").channel).endswith("user limit of (0)")


def test_a_virtual_host_has_so_many_connections_whoever_asks(login):
    first = login("u2", "lim")
    text = "NOT_ALLOWED - access to vhost 'lim' refused for user '{}': connection limit (1) is reached"
    for who in ("u1", "none", "stranger"):
        assert text.format(who) in refusal(lambda who=who: login(who, "lim"))
    first.close()
    assert "access to vhost 'lim' refused for user 'stranger'\"" in refusal(lambda: login("stranger", "lim"))
    login("u2", "lim")


def test_a_virtual_host_has_so_many_queues(login):
    connection = login("u2", "lim")
    channel = connection.channel()
    channel.queue_declare("a", exclusive=True)
    channel.queue_declare("a", exclusive=True)
    text = "406 PRECONDITION_FAILED - cannot declare queue '{}': queue limit in vhost 'lim' (2) is reached"
    assert refusal(lambda: channel.queue_declare("b")) == text.format("b")
    wrong = {"x-message-ttl": -1}
    assert refusal(lambda: connection.channel().queue_declare("c", arguments=wrong)) == text.format("c")
    named = refusal(lambda: connection.channel().queue_declare("", exclusive=True))
    assert named.startswith("406 PRECONDITION_FAILED - cannot declare queue 'amq.gen-")
    channel = connection.channel()
    channel.queue_delete("a")
    channel.queue_declare("b", exclusive=True)


@pytest.mark.parametrize("key", ["u1xw", "a", ""])
def test_a_topic_permission_holds_for_what_is_published(login, key):
    channel = login("u1").channel()
    channel.confirm_delivery()
    channel.basic_publish("amq.topic", "u1.w", b"x")
    channel.basic_publish("amq.direct", key, b"x")
    assert refusal(lambda: channel.basic_publish("amq.topic", key, b"x")) == f"403 ACCESS_REFUSED - {TOPIC.format(key)}"


def test_a_topic_permission_holds_for_who_binds_and_unbinds_queues_and_exchanges(login):
    connection = login("u1")
    refused = f"403 ACCESS_REFUSED - {TOPIC.format('a')}"
    channel = connection.channel()
    channel.exchange_declare("e", "fanout", auto_delete=True)
    channel.queue_declare("t", exclusive=True)
    channel.queue_bind("t", "amq.topic", "/.r")
    channel.exchange_bind("e", "amq.topic", "/.r")
    channel.exchange_bind("amq.topic", "e", "a")  # what comes in by a binding is nobody's publish
    for action in (
        lambda channel: channel.queue_bind("t", "amq.topic", "a"),
        lambda channel: channel.queue_unbind("t", "amq.topic", "a"),
        lambda channel: channel.exchange_bind("e", "amq.topic", "a"),
        lambda channel: channel.exchange_unbind("e", "amq.topic", "a"),
    ):
        assert refusal(lambda action=action: action(connection.channel())) == refused
    channel.queue_unbind("t", "amq.topic", "/.r")
