"""SASL EXTERNAL: who a client is, its certificate says."""

import json
import os
import signal

import pika
import pytest
from cryptography import x509
from cryptography.x509 import NameAttribute
from cryptography.x509.oid import NameOID

from core.access import hash_password
from tests.certificates import Authority
from tests.clients.broker import until
from tests.clients.raw import CAPABILITIES, PROTOCOL_HEADER, RawConnection
from tests.clients.test_handshake import LOGIN_REFUSED
from tests.clients.tls import Secure, tls_settings

pytestmark = pytest.mark.ours
SUBJECT = x509.Name(
    [NameAttribute(NameOID.ORGANIZATION_NAME, "Acme, Inc."), NameAttribute(NameOID.COMMON_NAME, "robot")]
)
DISTINGUISHED = "CN=robot,O=Acme\\, Inc."
GUEST = hash_password(b"guest")
USERS = (DISTINGUISHED, "robot", "robot.example")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def robot(authority):
    sans = [x509.UniformResourceIdentifier("urn:robot"), x509.DNSName("robot.example")]
    return authority.issue("robot", SUBJECT, sans=sans)


def definitions() -> dict:
    """Users that no password lets in, and guest."""
    return {
        "vhosts": [{"name": "/"}],
        "users": [{"name": name, "password_hash": "", "tags": ""} for name in USERS]
        + [{"name": "guest", "password_hash": GUEST, "hashing_algorithm": "argon2id", "tags": "administrator"}],
        "permissions": [
            {"user": name, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"} for name in (*USERS, "guest")
        ],
    }


@pytest.fixture
def secure(start_broker, authority):
    """secure(*options, **tls keys) starts a broker that asks for client certificates."""

    def start(*options, **keys):
        pair = authority.server()
        settings = tls_settings(pair, **({"ca": authority.file, "verify": "optional"} | keys))
        return Secure(start_broker(*options, *settings, definitions=definitions()), authority, pair)

    return start


def answer(here: Secure, pair=None):
    """Log in by EXTERNAL over a bare socket: the mechanisms offered, and tune or (code, text)."""
    client = RawConnection(here.port)
    client.socket = here.context(pair).wrap_socket(client.socket, server_hostname="localhost")
    try:
        client.send(PROTOCOL_HEADER)
        offered = client.expect(pika.spec.Connection.Start, 0).mechanisms
        client.send_method(
            pika.spec.Connection.StartOk(
                client_properties={"capabilities": CAPABILITIES}, mechanism="EXTERNAL", response="", locale="en_US"
            )
        )
        got = client.read_method(0)
        return offered, (got.reply_code, got.reply_text) if isinstance(got, pika.spec.Connection.Close) else got
    finally:
        client.close()


@pytest.mark.parametrize(
    ("keys", "user"),
    [
        ({}, DISTINGUISHED),
        ({"login_from": "common_name"}, "robot"),
        ({"login_from": "subject_alternative_name"}, "robot.example"),
    ],
)
def test_the_user_is_who_the_certificate_names(secure, robot, keys, user):
    here = secure(**keys)
    credentials = pika.credentials.ExternalCredentials()
    channel = pika.BlockingConnection(here.parameters(robot, credentials=credentials)).channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"x", pika.BasicProperties(user_id=user))  # which must be the connection's
    assert channel.basic_get(queue)[2] == b"x"
    channel.connection.close()


def test_it_is_offered_with_tls_only_and_whether_a_certificate_was_shown_or_not(secure, robot):
    here = secure()
    for pair in (robot, None):
        assert answer(here, pair)[0].split() == [b"EXTERNAL", b"PLAIN", b"AMQPLAIN"]
    plain = RawConnection(here.broker.port)
    plain.send(PROTOCOL_HEADER)
    assert plain.expect(pika.spec.Connection.Start, 0).mechanisms.split() == [b"PLAIN", b"AMQPLAIN"]
    plain.send_method(plain.start_ok(mechanism="EXTERNAL"))
    assert plain.closed_with() is None  # as every mechanism that was not offered
    plain.close()


def test_an_unknown_user_no_certificate_and_one_without_such_a_name_are_refused_alike(secure, authority, robot):
    refused = (403, LOGIN_REFUSED.format("EXTERNAL"))
    here = secure()
    assert answer(here, authority.issue("unknown"))[1] == refused
    assert answer(here)[1] == refused
    assert "warning login refused user=CN=unknown peer=127.0.0.1:" in here.broker.log
    assert "warning login refused user=(no certificate with such a name) peer=" in here.broker.log
    assert isinstance(answer(here, robot)[1], pika.spec.Connection.Tune)
    emails = secure(login_from="subject_alternative_name", login_san_type="email")
    assert answer(emails, robot)[1] == refused


def test_pika_tells_it_from_a_broken_connection(secure, authority):
    here = secure()
    credentials = pika.credentials.ExternalCredentials()
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(here.parameters(authority.issue("unknown"), credentials=credentials))


def test_a_password_still_does_beside_a_certificate(secure, robot):
    here = secure()
    pika.BlockingConnection(here.parameters(robot, credentials=pika.PlainCredentials("guest", "guest"))).close()


def test_loopback_users_may_log_in_by_certificate_from_this_machine(secure, authority):
    here = secure(login_from="common_name")
    assert isinstance(answer(here, authority.issue("guest"))[1], pika.spec.Connection.Tune)


def test_users_of_the_definitions_are_not_read_from_certificates_before_they_are_there(secure, authority):
    here = secure(login_from="common_name")
    late = authority.issue("late")
    assert answer(here, late)[1][0] == 403
    wanted = definitions()
    wanted["users"].append({"name": "late", "password_hash": "", "tags": ""})
    (here.broker.folder / "definitions.json").write_text(json.dumps(wanted))
    os.kill(here.broker.pid, signal.SIGHUP)
    until(lambda: "definitions applied" in here.broker.log, what="the reload")
    assert isinstance(answer(here, late)[1], pika.spec.Connection.Tune)
