"""AMQP handshake (amqp.md C1-C9): protocol header, start, login, tune, open, and the way out."""

import urllib.request

import pika
import pytest
from pika import spec

from tests.clients.broker import LISTENERS
from tests.clients.conftest import EXTERNAL
from tests.clients.raw import PROTOCOL_HEADER, RawConnection, encode_method

LOGIN_REFUSED = (
    "ACCESS_REFUSED - Login was refused using authentication mechanism {}. For details see the broker logfile."
)
CAPABILITY_NAMES = {
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
}


def text(value: str | bytes) -> str:
    """A long string, which pika leaves as bytes in methods."""
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    "header",
    [b"AMQP\x00\x01\x00\x00", b"AMQP\x00\x00\x08\x00", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 8],
    ids=["amqp-1.0", "amqp-0-8", "http", "zeros"],
)
def test_a_wrong_protocol_header_is_answered_with_the_right_one_and_the_end(raw, header):
    client = raw()
    client.send(header)
    assert client.read_bytes(9) == PROTOCOL_HEADER  # eight bytes, then the end


def test_start_announces_version_mechanisms_and_what_clients_branch_on(raw):
    start = raw().login().start
    assert (start.version_major, start.version_minor) == (0, 9)
    assert (set(text(start.mechanisms).split()), text(start.locales)) == ({"PLAIN", "AMQPLAIN"}, "en_US")
    properties = start.server_properties
    announced = {name for name, value in properties["capabilities"].items() if value is True}
    assert announced == CAPABILITY_NAMES
    for key in ("product", "version", "platform", "information", "copyright", "cluster_name"):
        assert properties[key], key
    if not EXTERNAL:
        assert "CorduroyMQ" in properties["information"]
    assert properties["product"] == "RabbitMQ"
    assert all(part.isdigit() for part in properties["version"].split(".")), properties["version"]
    assert len(properties["version"].split(".")) == 3


def test_tune_offers_the_limits_that_clients_know(raw):
    tune = raw().login().tune
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)


def test_login_by_amqplain_takes_a_table_without_its_size(raw):
    client = raw()
    client.send(PROTOCOL_HEADER)
    client.expect(spec.Connection.Start, 0)
    response = b"\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x05guest"
    client.send_method(
        spec.Connection.StartOk(client_properties={}, mechanism="AMQPLAIN", response=response, locale="en_US")
    )
    client.expect(spec.Connection.Tune, 0)


def test_a_wrong_password_is_told_to_a_client_that_understands_it(raw):
    client = raw()
    client.send(PROTOCOL_HEADER)
    client.expect(spec.Connection.Start, 0)
    client.send_method(client.start_ok(password="wrong"))
    assert client.closed_with() == (403, LOGIN_REFUSED.format("PLAIN"))


def test_an_unknown_user_is_refused_in_the_same_words_as_a_wrong_password(raw):
    client = raw()
    client.send(PROTOCOL_HEADER)
    client.expect(spec.Connection.Start, 0)
    client.send_method(client.start_ok(user="nobody"))
    assert client.closed_with() == (403, LOGIN_REFUSED.format("PLAIN"))


def test_a_wrong_password_just_ends_the_socket_of_an_old_client(raw):
    client = raw()
    client.send(PROTOCOL_HEADER)
    client.expect(spec.Connection.Start, 0)
    client.send_method(client.start_ok(password="wrong", capabilities={}))
    assert client.closed_with() is None


def test_pika_tells_a_wrong_password_from_a_broken_connection(connect):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connect(credentials=pika.PlainCredentials("guest", "wrong"))


@pytest.mark.parametrize("response", ["", "guest", "\0guest", "\0a\0b\0c"], ids=["empty", "bare", "short", "long"])
def test_a_malformed_plain_response_ends_that_connection_only_and_without_a_word(raw, response):
    client = raw()
    client.send(PROTOCOL_HEADER)
    client.expect(spec.Connection.Start, 0)
    login = client.start_ok()
    login.response = response
    client.send_method(login)
    assert client.closed_with() is None
    assert raw().open().serves()


@pytest.mark.parametrize("mechanism", ["SCRAM-9", "plain", ""])
def test_an_unknown_mechanism_ends_the_connection_without_a_word(raw, mechanism):
    client = raw()
    client.send(PROTOCOL_HEADER)
    client.expect(spec.Connection.Start, 0)
    client.send_method(client.start_ok(mechanism=mechanism))
    assert client.closed_with() is None


def test_an_unknown_vhost_is_named_in_the_refusal(raw):
    client = raw().login()
    client.send_method(spec.Connection.TuneOk(channel_max=2047, frame_max=131072, heartbeat=0))
    client.send_method(spec.Connection.Open(virtual_host="no-such"))
    assert client.closed_with() == (530, "NOT_ALLOWED - vhost no-such not found")


def test_a_client_may_send_its_whole_opening_without_waiting(raw):
    client = raw()
    opening = [
        client.start_ok(),
        spec.Connection.TuneOk(channel_max=10, frame_max=8192, heartbeat=0),
        spec.Connection.Open(),
    ]
    client.send(PROTOCOL_HEADER + b"".join(encode_method(each) for each in opening))
    client.send_method(spec.Channel.Open(), 1)
    client.expect(spec.Connection.Start, 0)
    client.expect(spec.Connection.Tune, 0)
    client.expect(spec.Connection.OpenOk, 0)
    client.expect(spec.Channel.OpenOk, 1)


def test_the_opening_may_arrive_octet_by_octet(raw):
    client = raw()
    for octet in PROTOCOL_HEADER + encode_method(client.start_ok()):
        client.send(bytes([octet]))
    client.expect(spec.Connection.Start, 0)
    client.expect(spec.Connection.Tune, 0)


def test_limits_above_the_offer_are_refused(raw):
    client = raw().login()
    client.send_method(spec.Connection.TuneOk(channel_max=2047, frame_max=131073, heartbeat=0))
    client.send_method(spec.Connection.Open())
    reason = client.closed_with()
    assert reason is None or reason[0] == 530


def test_a_frame_max_below_the_protocols_minimum_is_refused(raw):
    client = raw().login()
    client.send_method(spec.Connection.TuneOk(channel_max=2047, frame_max=4095, heartbeat=0))
    client.send_method(spec.Connection.Open())
    reason = client.closed_with()
    assert reason is None or reason[0] == 530


def test_the_smallest_frame_max_works(raw):
    assert raw().open(frame_max=4096).serves()


def test_channel_max_bounds_the_channels_of_a_connection(raw):
    client = raw().open(channel_max=2)
    client.open_channel(2)
    client.send_method(spec.Channel.Open(), 3)
    code, text = client.closed_with()
    assert (code, text) == (
        530,
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)",
    )


def test_the_highest_channel_number_is_usable(raw):
    client = raw().open()
    client.open_channel(2047)
    assert client.serves(2047)


def test_a_client_that_leaves_gets_close_ok(raw):
    client = raw().open()
    client.send_method(spec.Connection.Close(reply_code=200, reply_text="bye", class_id=0, method_id=0))
    client.expect(spec.Connection.CloseOk, 0)


@pytest.mark.ours
def test_a_client_that_never_speaks_is_sent_away(start_broker):
    broker = start_broker("limits.handshake_seconds=1")
    silent, half = RawConnection(broker.port), RawConnection(broker.port)
    half.send(PROTOCOL_HEADER)
    assert silent.read_frame() is None
    half.expect(spec.Connection.Start, 0)
    half.closed_with()


@pytest.mark.ours
def test_health_and_metrics_answer_from_the_first_day(broker):
    for key, path in (("http", "/healthz/ready"), ("http", "/healthz/live"), ("metrics", "/metrics")):
        with urllib.request.urlopen(f"http://{broker.addresses[key]}{path}", timeout=5) as answer:
            assert answer.status == 200, path


@pytest.mark.ours
def test_the_ready_file_names_only_what_listens(broker):
    assert set(broker.addresses) == {*LISTENERS, "pid"}
