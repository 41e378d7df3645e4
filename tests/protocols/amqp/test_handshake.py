"""From connection.start to open-ok: who gets in, with which limits, and what the others are told."""

import pytest

from protocols.amqp import methods, tables
from protocols.amqp.methods import (
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
)
from tests.protocols.amqp.world import CAPABILITIES, HEADER, Client

REFUSED = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."


@pytest.fixture
def client(world):
    return Client(world)


def start_ok(mechanism="PLAIN", response=b"\0guest\0guest", capabilities=CAPABILITIES):
    return ConnectionStartOk({"capabilities": capabilities}, mechanism, response, "en_US")


def test_the_whole_way(world, client):
    client.send(HEADER)
    (start,) = client.replies()
    assert type(start) is ConnectionStart and (start.version_major, start.version_minor) == (0, 9)
    assert (start.mechanisms, start.locales) == (b"PLAIN AMQPLAIN", b"en_US")
    assert all(start.server_properties["capabilities"].values())
    client.send(start_ok(), channel=0)
    assert client.replies() == [ConnectionTune(2047, 131072, 60)]
    client.send(ConnectionTuneOk(100, 8192, 30), ConnectionOpen("/"), channel=0)
    assert client.replies() == [ConnectionOpenOk("")]
    connection = client.connection
    assert (connection.channel_max, connection.frame_bytes, connection.heartbeat) == (100, 8192, 30)
    assert connection in world.connections and connection.login is None and connection.user.name == "guest"


@pytest.mark.parametrize(("named", "shown"), [({"connection_name": "mine"}, "mine"), ({}, "10.0.0.9:777")])
def test_a_connection_is_known_by_its_clients_name_or_its_address(client, named, shown):
    client.send(HEADER)
    client.send(ConnectionStartOk(named, "PLAIN", b"\0guest\0guest", ""), channel=0)
    client.send(ConnectionTuneOk(), ConnectionOpen("/"), channel=0)
    assert client.connection.name == shown


def test_amqplain_is_a_table_without_its_size(client):
    response = tables.encode({"LOGIN": "guest", "PASSWORD": "guest"})[4:]
    client.send(HEADER, methods.method_frame(0, start_ok("AMQPLAIN", response)))
    assert type(client.replies()[-1]) is ConnectionTune


@pytest.mark.parametrize(
    "header", [b"AMQP\x00\x00\x08\x00", b"GET / HTTP/1.1\r\n", b"AMQX", b"\x00\x01\x02\x03", b"AMQP\x01\x01\x00\x09"]
)
def test_another_protocol_is_told_ours_and_closed(client, header):
    client.feed(header)
    client.world.run()
    assert bytes(client.transport.data) == HEADER and client.transport.closed


def test_a_slow_header_is_waited_for(client):
    for octet in HEADER[:-1]:
        client.feed(bytes([octet]))
        assert not client.transport.closed
    client.send(HEADER[-1:])
    assert type(client.replies()[0]) is ConnectionStart


def test_zero_asks_for_no_limit_and_gets_ours(client):
    client.login().send(ConnectionTuneOk(0, 0, 0), ConnectionOpen("/"), channel=0)
    connection = client.connection
    assert (connection.channel_max, connection.frame_bytes, connection.heartbeat) == (2047, 131072, 0)


@pytest.mark.parametrize(
    ("tune", "text"),
    [
        (ConnectionTuneOk(0, 131073, 0), "frame_max = 131073 is higher than the maximum allowed value (131072)"),
        (ConnectionTuneOk(0, 4095, 0), "frame_max = 4095 is lower than the minimum allowed value (4096)"),
        (ConnectionTuneOk(2048, 0, 0), "channel_max = 2048 is higher than the maximum allowed value (2047)"),
    ],
)
def test_limits_beyond_ours_are_refused(client, tune, text):
    client.login()
    client.replies()
    client.send(tune, channel=0)
    (close,) = client.replies()
    assert (close.reply_code, close.reply_text) == (530, f"NOT_ALLOWED - negotiated {text}")


def test_a_refused_login_is_told_why_if_the_client_understands(world, client):
    client.login(password=b"wrong")
    assert client.replies()[1:] == [ConnectionClose(403, REFUSED, 0, 0)]
    client.send(ConnectionCloseOk(), channel=0)
    assert client.transport.closed and world.metrics.logins_refused == 1
    assert world.reports == [("login refused", {"user": "guest", "peer": "10.0.0.9:777"})]


def test_a_refused_login_that_would_not_understand_is_closed_after_a_while(world):
    client = Client(world, capabilities={}).login(password=b"wrong")
    client.send(ConnectionTuneOk(), ConnectionOpen("/"), channel=0)
    assert len(client.replies()) == 1 and not client.transport.closed
    client.connection.tick(world.clock.monotonic() + 0.9)
    assert not client.transport.closed
    client.connection.tick(world.clock.monotonic() + 1.1)
    assert client.transport.closed and world.connections == set()


def test_guest_gets_in_from_this_machine_only(world, client):
    client.connection.peer_address = ("10.0.0.9", 777, False)
    client.login()
    assert client.replies()[1:] == [ConnectionClose(403, REFUSED, 0, 0)]


def test_nothing_is_read_while_a_password_is_checked(world, client):
    world.passwords.held = True
    client.login()
    client.send(ConnectionTuneOk(), ConnectionOpen("/"), channel=0)
    assert client.paused and len(client.replies()) == 1
    world.passwords.waiting.pop()(True)
    world.run()
    assert [type(each) for each in client.replies()] == [ConnectionTune, ConnectionOpenOk] and not client.paused


def test_an_answer_for_a_connection_that_is_gone_is_dropped(world, client):
    world.passwords.held = True
    client.login()
    client.connection.lost()
    world.passwords.waiting.pop()(True)
    world.run()
    assert client.connection.login.user is None


def test_who_does_not_log_in_in_time_is_closed(world, client):
    client.send(HEADER)
    client.connection.tick(world.clock.monotonic() + 9)
    assert not client.transport.closed
    client.connection.tick(world.clock.monotonic() + 11)
    assert client.transport.closed and client.connection.close_reason == "handshake timeout"


@pytest.mark.parametrize("sent", [ConnectionTuneOk(), ConnectionOpen("/")])
def test_what_comes_instead_of_a_login_is_refused(client, sent):
    client.send(HEADER)
    client.replies()
    client.send(sent, channel=0)
    assert [each.reply_code for each in client.replies()] == [503]


@pytest.mark.parametrize(
    "sent",
    [
        start_ok("EXTERNAL"),
        start_ok("plain"),
        start_ok(response=b""),
        start_ok(response=b"guest"),
        start_ok(response=b"me\0guest\0guest"),
        start_ok(response=b"\0guest\0guest\0"),
        start_ok("AMQPLAIN", b"\x05LOGINS\0\0\0\1a"),
        start_ok("AMQPLAIN", b"\x05LO"),
    ],
)
def test_what_is_no_login_ends_after_a_while_without_a_word(world, client, sent):
    client.send(HEADER)
    client.replies()
    client.send(sent, ConnectionTuneOk(), channel=0)
    client.connection.tick(world.clock.monotonic() + 0.9)
    assert client.replies() == [] and not client.transport.closed
    client.connection.tick(world.clock.monotonic() + 1.1)
    assert client.replies() == [] and client.transport.closed
    assert world.metrics.logins_refused == 1 and world.reports[0][0] == "login broken off"


@pytest.mark.parametrize("response", [b"\0\xff\0guest", b"\0guest\0" + b"x" * 1024])
def test_a_login_that_nobody_can_have_is_refused_as_any_other(client, response):
    client.send(HEADER)
    client.replies()
    client.send(start_ok(response=response), channel=0)
    assert client.replies() == [ConnectionClose(403, REFUSED, 0, 0)]


def test_a_channel_before_open_and_an_unknown_virtual_host_are_refused(world, client):
    client.login().send(ConnectionTuneOk(), ConnectionOpen("none"), channel=0)
    close = client.replies()[-1]
    assert (close.reply_code, close.reply_text) == (530, "NOT_ALLOWED - vhost none not found")
    assert (close.class_id, close.method_id) == (10, 40)
    early = Client(world).login()
    early.send(methods.ChannelOpen())
    assert early.replies()[-1].reply_code == 504


def test_a_client_may_give_up_amid_the_handshake(client):
    client.login().send(ConnectionClose(200, "", 0, 0), channel=0)
    assert client.replies()[-1] == ConnectionCloseOk() and client.transport.closed
