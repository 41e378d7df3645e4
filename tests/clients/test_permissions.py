"""Users, virtual hosts and permissions from RabbitMQ's definitions JSON (amqp.md C8, S2, S3)."""

import base64
import hashlib
import json
import urllib.request

import pika
import pytest
from pika import spec

from tests.clients.broker import External, parameters
from tests.clients.raw import RawConnection
from tests.clients.test_policies import reload

SALT = b"\x90\x8d\xc6\x0a"


def user(name: str, password: str, tags="") -> dict:
    """A user as RabbitMQ exports it: base64 of four octets of salt and sha256 of salt and password."""
    digest = base64.b64encode(SALT + hashlib.sha256(SALT + password.encode()).digest()).decode()
    algorithm = "rabbit_password_hashing_sha256"
    return {"name": name, "password_hash": digest, "hashing_algorithm": algorithm, "tags": tags}


def permission(who: str, vhost: str, configure: str, write: str, read: str) -> dict:
    """One row of `permissions`."""
    return {"user": who, "vhost": vhost, "configure": configure, "write": write, "read": read}


DEFINITIONS = {
    "rabbit_version": "3.10.8",
    "users": [
        user("guest", "guest", "administrator"),
        user("limited", "s3cret"),
        user("tagged", "pässword", ["monitoring", "policymaker"]),
        user("nobody", "x"),
    ],
    "vhosts": [{"name": "/"}, {"name": "other"}, {"name": "größe/2"}],
    "permissions": [
        permission("guest", "/", ".*", ".*", ".*"),
        permission("guest", "other", ".*", ".*", ".*"),
        permission("guest", "größe/2", ".*", ".*", ".*"),
        permission("limited", "/", "^conf-", "^write-|^conf-write-|^amq\\.default$", "^read-|^conf-read-"),
        permission("tagged", "other", "", "", ""),
    ],
    "topic_permissions": [],
    "parameters": [],
    "global_parameters": [],
    "policies": [],
    "queues": [
        {"name": "read-queue", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}},
        {"name": "b1", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {"x-message-ttl": 60000}},
    ],
    "exchanges": [
        {
            "name": "write-exchange",
            "vhost": "/",
            "type": "topic",
            "durable": True,
            "auto_delete": False,
            "internal": False,
            "arguments": {},
        },
        {
            "name": "read-exchange",
            "vhost": "/",
            "type": "fanout",
            "durable": True,
            "auto_delete": False,
            "internal": False,
            "arguments": {},
        },
    ],
    "bindings": [
        {
            "source": "write-exchange",
            "vhost": "/",
            "destination": "read-queue",
            "destination_type": "queue",
            "routing_key": "a.#",
            "arguments": {},
        }
    ],
}


@pytest.fixture(scope="module")
def guarded(broker, tmp_path_factory):
    """A broker that knows these users."""
    if isinstance(broker, External):
        if not broker.http:
            pytest.skip("needs CORDUROY_TEST_HTTP to load definitions")
        request = urllib.request.Request(f"http://{broker.http}/api/definitions", json.dumps(DEFINITIONS).encode())
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request, timeout=20).close()
        yield broker
        return
    ours = type(broker)(tmp_path_factory.mktemp("guarded"), definitions=DEFINITIONS).start()
    yield ours
    ours.stop()


@pytest.fixture
def login(guarded):
    """login(user, password, vhost): a pika connection, closed after the test."""
    opened = []

    def open_connection(who="limited", password="s3cret", vhost="/"):
        credentials = pika.PlainCredentials(who, password)
        opened.append(pika.BlockingConnection(parameters(guarded, credentials=credentials, virtual_host=vhost)))
        return opened[-1]

    yield open_connection
    for each in opened:
        if each.is_open:
            each.close()


def open_refused(guarded, who, password, vhost) -> tuple[int, str] | None:
    """Log in and open a virtual host; the reason of the refusal."""
    client = RawConnection(guarded.port).login(user=who, password=password)
    client.send_method(spec.Connection.TuneOk(channel_max=10, frame_max=4096, heartbeat=0))
    client.send_method(spec.Connection.Open(virtual_host=vhost))
    reason = client.closed_with()
    client.close()
    return reason


def test_a_hashed_password_logs_in_and_another_does_not(login):
    assert login().is_open
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        login(password="S3cret")


def test_a_password_beyond_ascii_logs_in(login):
    assert login("tagged", "pässword", "other").is_open


def test_virtual_hosts_of_any_name_are_worlds_of_their_own(login, name):
    one, two = login("guest", "guest", "other").channel(), login("guest", "guest", "größe/2").channel()
    for channel in (one, two):
        channel.queue_declare(name, exclusive=True)
        channel.confirm_delivery()
    one.basic_publish("", name, b"1")
    assert two.basic_get(name)[0] is None
    assert one.basic_get(name)[2] == b"1"
    two.exchange_declare("amq.topic", passive=True)


def test_a_vhost_without_permission_is_refused(guarded):
    expected = (530, "NOT_ALLOWED - access to vhost 'other' refused for user 'limited'")
    assert open_refused(guarded, "limited", "s3cret", "other") == expected
    expected = (530, "NOT_ALLOWED - access to vhost '/' refused for user 'nobody'")
    assert open_refused(guarded, "nobody", "x", "/") == expected


def test_an_error_names_the_vhost_it_happened_in(login, name):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        login("guest", "guest", "größe/2").channel().queue_declare(name, passive=True)
    assert refusal.value.reply_text == f"NOT_FOUND - no queue '{name}' in vhost 'größe/2'"


def test_defined_queues_exchanges_and_bindings_are_there(login):
    channel = login("guest", "guest").channel()
    channel.queue_declare("b1", durable=True, arguments={"x-message-ttl": 60000})
    channel.exchange_declare("write-exchange", "topic", durable=True)
    channel.queue_purge("read-queue")
    channel.confirm_delivery()
    channel.basic_publish("write-exchange", "a.b", b"1", mandatory=True)
    assert channel.basic_get("read-queue", auto_ack=True)[2] == b"1"


def bind_own(channel, exchange: str) -> None:
    """Bind a queue that may be written to."""
    channel.queue_declare("conf-write-q", auto_delete=True)
    channel.queue_bind("conf-write-q", exchange)


ALLOWED = {
    "declare": lambda c: c.queue_declare("conf-q", auto_delete=True),
    "delete": lambda c: c.queue_delete("conf-q"),
    "declare an exchange": lambda c: c.exchange_declare("conf-x", "fanout"),
    "delete an exchange": lambda c: c.exchange_delete("conf-x"),
    "passive declare of anything": lambda c: c.queue_declare("b1", passive=True),
    "passive declare of any exchange": lambda c: c.exchange_declare("amq.direct", passive=True),
    "publish": lambda c: c.basic_publish("write-exchange", "k", b"x"),
    "get": lambda c: c.basic_get("read-queue"),
    "consume": lambda c: c.basic_consume("read-queue", print),
    "purge": lambda c: c.queue_purge("read-queue"),
    "bind": lambda c: (
        c.queue_declare("conf-write-q", auto_delete=True),
        c.queue_bind("conf-write-q", "read-exchange"),
    ),
}
QUEUE = "queue 'b1'"
REFUSED = {
    "configure: declare": (lambda c: c.queue_declare("b1", durable=True), QUEUE),
    "configure: declare a new one": (lambda c: c.queue_declare("new"), "queue 'new'"),
    "configure: delete": (lambda c: c.queue_delete("b1"), QUEUE),
    "configure: declare an exchange": (lambda c: c.exchange_declare("new", "fanout"), "exchange 'new'"),
    "configure: delete an exchange": (lambda c: c.exchange_delete("read-exchange"), "exchange 'read-exchange'"),
    "write: publish": (lambda c: c.basic_publish("read-exchange", "k", b""), "exchange 'read-exchange'"),
    "write: bind into a queue": (lambda c: c.queue_bind("b1", "read-exchange"), QUEUE),
    "write: unbind from a queue": (lambda c: c.queue_unbind("b1", "read-exchange"), QUEUE),
    "write: bind into an exchange": (
        lambda c: c.exchange_bind("read-exchange", "read-exchange"),
        "exchange 'read-exchange'",
    ),
    "read: get": (lambda c: c.basic_get("b1"), QUEUE),
    "read: consume": (lambda c: c.basic_consume("b1", print), QUEUE),
    "read: purge": (lambda c: c.queue_purge("b1"), QUEUE),
    "read: bind from an exchange": (
        lambda c: bind_own(c, "write-exchange"),
        "exchange 'write-exchange'",
    ),
    "read: bind between exchanges": (
        lambda c: c.exchange_bind("write-exchange", "write-exchange"),
        "exchange 'write-exchange'",
    ),
    "alternate exchange: needs read and write": (
        lambda c: c.exchange_declare("conf-a", "fanout", arguments={"alternate-exchange": "read-exchange"}),
        "exchange 'conf-a'",
    ),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_the_patterns_allow_goes_through(login, case):
    channel = login().channel()
    ALLOWED[case](channel)
    channel.queue_declare("b1", passive=True)
    assert channel.is_open


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_pattern_allows_is_refused_by_name(login, case):
    act, thing = REFUSED[case]
    channel = login().channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        act(channel)
        channel.queue_declare("b1", passive=True)
    text = f"ACCESS_REFUSED - access to {thing} in vhost '/' refused for user 'limited'"
    assert (refusal.value.reply_code, refusal.value.reply_text) == (403, text)


def test_server_named_queues_are_subject_to_the_patterns_too(login):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        login().channel().queue_declare("", exclusive=True)
    assert refusal.value.reply_code == 403
    assert refusal.value.reply_text.startswith("ACCESS_REFUSED - access to queue 'amq.gen-")


def test_the_default_exchange_is_written_as_amq_default(login):
    channel = login().channel()
    channel.confirm_delivery()
    channel.queue_declare("read-queue", passive=True)
    channel.basic_publish("", "read-queue", b"1", mandatory=True)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        login("tagged", "pässword", "other").channel().exchange_declare("amq.default", passive=True)
    assert refusal.value.reply_code == 404


def test_an_empty_pattern_allows_nothing_but_what_has_no_name(login):
    channel = login("tagged", "pässword", "other").channel()
    channel.basic_publish("", "anywhere", b"x")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.queue_declare("q", passive=False)
    assert refusal.value.reply_code == 403


@pytest.mark.ours
def test_a_right_that_is_taken_away_is_gone_for_who_is_publishing_already(start_broker):
    right = permission("limited", "/", "", "^amq\\.fanout$", "")
    given = {"users": [user("limited", "s3cret")], "permissions": [right]}
    broker = start_broker(definitions=given)
    credentials = pika.PlainCredentials("limited", "s3cret")
    with pika.BlockingConnection(parameters(broker, credentials=credentials)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for _ in range(2):  # the second finds what the first was allowed
            channel.basic_publish("amq.fanout", "k", b"x")
        reload(broker, **(given | {"permissions": [right | {"write": ""}]}))
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
            channel.basic_publish("amq.fanout", "k", b"x")
    text = "ACCESS_REFUSED - access to exchange 'amq.fanout' in vhost '/' refused for user 'limited'"
    assert (refusal.value.reply_code, refusal.value.reply_text) == (403, text)
