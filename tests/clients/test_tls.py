"""AMQP over TLS: certificates of both ends, reload, large messages, and handshakes that fail or never end."""

import os
import resource
import shutil
import signal
import socket
import ssl
import struct
import threading
import time

import pika
import pytest

from tests.certificates import Authority
from tests.clients.broker import Broker, until
from tests.clients.raw import PROTOCOL_HEADER, RawConnection, encode_content, encode_method
from tests.clients.tls import Secure, tls_settings

pytestmark = pytest.mark.ours
SHUT_OUT = (ssl.SSLError, OSError, pika.exceptions.AMQPError)  # what a client may see whose handshake is refused


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def secure(start_broker, authority, tmp_path):
    """secure(**tls keys, options=[…]) starts a broker with a TLS listener."""

    def start(*options, **keys):
        pair = keys.pop("pair", None) or authority.server()
        return Secure(start_broker(*options, *tls_settings(pair, **keys)), authority, pair)

    return start


@pytest.fixture(scope="module")
def shared(tmp_path_factory, authority):
    """A broker with server authentication only."""
    broker = Broker(tmp_path_factory.mktemp("tls"), *tls_settings(authority.server("shared"))).start()
    yield Secure(broker, authority, authority.server("unused"))
    broker.stop()


def round_trip(connection: pika.BlockingConnection, body: bytes = b"x", **queue) -> bytes:
    """Publish with a confirm, get it back."""
    channel = connection.channel()
    name = channel.queue_declare("", exclusive=True, **queue).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", name, body)
    return channel.basic_get(name, auto_ack=True)[2]


def works(parameters) -> bool:
    connection = pika.BlockingConnection(parameters)
    try:
        return round_trip(connection) == b"x"
    finally:
        connection.close()


def raw(secure: Secure, pair=None) -> RawConnection:
    """A frame by frame connection over TLS."""
    client = RawConnection(secure.port)
    client.socket = secure.context(pair).wrap_socket(client.socket, server_hostname="localhost")
    return client


def test_a_client_verifies_the_brokers_certificate_and_its_name(shared):
    assert works(shared.parameters())
    wrong_name = pika.SSLOptions(shared.context(), "elsewhere.example")
    with pytest.raises(SHUT_OUT):
        pika.BlockingConnection(shared.parameters(ssl_options=wrong_name))
    stranger = pika.SSLOptions(ssl.create_default_context(), "localhost")
    with pytest.raises(SHUT_OUT):
        pika.BlockingConnection(shared.parameters(ssl_options=stranger))
    until(lambda: "unknown ca" in shared.broker.log, what="the client's alert in the log")
    assert works(shared.parameters())


def test_external_is_not_offered_where_no_client_certificate_is_asked_for(shared):
    client = raw(shared).login()
    assert client.start.mechanisms.split() == [b"PLAIN", b"AMQPLAIN"]
    client.close()


def test_the_plain_listener_and_the_tls_listener_are_two(shared):
    assert shared.port != shared.broker.port
    with pytest.raises(SHUT_OUT):
        pika.BlockingConnection(shared.parameters(port=shared.broker.port))
    with pytest.raises(SHUT_OUT):
        pika.BlockingConnection(shared.parameters(ssl_options=None))


@pytest.mark.parametrize("size", [1 << 20, 20 << 20])
@pytest.mark.parametrize("durable", [False, True])
def test_a_large_message_comes_back_as_it_went(shared, size, durable):
    body = os.urandom(1 << 16) * (size >> 16)
    channel = pika.BlockingConnection(shared.parameters()).channel()
    name = f"large-{size}-{durable}"
    channel.queue_declare(name, durable=durable)
    channel.confirm_delivery()
    channel.basic_publish("", name, body, pika.BasicProperties(delivery_mode=2))
    assert channel.basic_get(name, auto_ack=True)[2] == body
    channel.queue_delete(name)
    channel.connection.close()


def test_many_messages_arrive_in_order_while_the_reader_is_slower(shared):
    count, size = 3000, 4000
    reader = pika.BlockingConnection(shared.parameters()).channel()
    name = reader.queue_declare("", exclusive=True).method.queue
    seen = []
    reader.basic_consume(name, lambda _c, _m, _p, body: seen.append(body), auto_ack=True)
    same = raw(shared).open()  # who publishes without reading on is paused and resumed by TLS's own buffers
    publish = pika.spec.Basic.Publish(exchange="", routing_key=name)
    data = b"".join(
        encode_method(publish, 1) + encode_content(1, struct.pack(">I", n) * (size // 4)) for n in range(count)
    )
    sender = threading.Thread(target=same.send, args=(data,))
    sender.start()
    until(lambda: reader.connection.process_data_events(0.1) or len(seen) == count, 40, "all messages")
    sender.join(10)
    assert [struct.unpack_from(">I", body)[0] for body in seen] == list(range(count))
    assert same.serves()
    same.close()
    reader.connection.close()


def test_deliveries_wait_for_a_client_that_does_not_read_and_its_memory_is_bounded(shared):
    publisher = pika.BlockingConnection(shared.parameters()).channel()
    name = "unread"
    publisher.queue_declare(name, durable=True)
    client = raw(shared).open()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.call(pika.spec.Basic.Consume(queue=name, no_ack=True), pika.spec.Basic.ConsumeOk)
    publisher.confirm_delivery()
    body, before = bytes(1 << 20), shared.broker.rss_anon()
    for _ in range(64):
        publisher.basic_publish("", name, body, pika.BasicProperties(delivery_mode=2))
    assert shared.broker.rss_anon() - before < 48 << 20
    for _ in range(64):
        client.expect(pika.spec.Basic.Deliver)
        assert client.read_content()[1] == body
    client.close()
    publisher.queue_delete(name)
    publisher.connection.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_an_old_tls_version_is_refused_with_an_alert(shared):
    context = shared.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", shared.port), 10) as client,
        pytest.raises(ssl.SSLError, match="(?i)alert.protocol.version"),
    ):
        context.wrap_socket(client, server_hostname="localhost")


@pytest.mark.parametrize(
    "words", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PROTOCOL_HEADER, b"\x00" * 100, b"\x16\x03\x01\x02\x00\x01"]
)
def test_what_is_no_tls_costs_that_connection_only_and_one_line_of_the_log(shared, words):
    lines, failed = len(shared.broker.log.splitlines()), shared.metric("mq_tls_handshakes_failed_total")
    with socket.create_connection(("127.0.0.1", shared.port), 10) as client:
        client.sendall(words)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    until(lambda: shared.metric("mq_tls_handshakes_failed_total") == failed + 1, what="the count")
    said = shared.broker.log.splitlines()[lines:]
    assert len(said) == 1 and " info TLS handshake failed peer=127.0.0.1:" in said[0] and "reason=" in said[0], said
    assert works(shared.parameters())


def test_a_client_that_is_killed_in_the_middle_of_its_handshake_leaves_nothing(shared):
    hello = client_hello(shared)
    files = len(os.listdir(f"/proc/{shared.broker.pid}/fd"))
    failed = shared.metric("mq_tls_handshakes_failed_total")
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", shared.port), 10) as client:
            client.sendall(hello)
            client.recv(1)  # the broker's answer is there: it waits for ours
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    until(lambda: shared.metric("mq_tls_handshakes_failed_total") == failed + 20, what="the count")
    until(lambda: len(os.listdir(f"/proc/{shared.broker.pid}/fd")) <= files, what="closed files")
    assert "Traceback" not in shared.broker.log
    assert works(shared.parameters())


def client_hello(secure: Secure) -> bytes:
    """The first flight of a client."""
    outgoing = ssl.MemoryBIO()
    client = secure.context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_who_never_finishes_the_handshake_is_cut_off_in_time(secure):
    here = secure("limits.handshake_seconds=1")
    hello = client_hello(here)
    for said in (b"", hello[:20], hello):
        with socket.create_connection(("127.0.0.1", here.port), 10) as client:
            began = time.monotonic()
            client.sendall(said)
            try:
                while client.recv(4096):
                    pass
            except ConnectionResetError:
                pass
            assert 0.5 < time.monotonic() - began < 5
    assert "Traceback" not in here.broker.log
    assert works(here.parameters())


def test_the_handshakes_time_counts_for_the_login(secure):
    here = secure("limits.handshake_seconds=2")
    client = raw(here)
    assert client.read_bytes(1) == b""  # it ends, though TLS is up
    client.close()


def test_handshakes_under_way_count_for_the_limit_of_connections(secure):
    here = secure("limits.connections=2")
    with socket.create_connection(("127.0.0.1", here.port), 10) as silent:
        connection = pika.BlockingConnection(here.parameters())
        with pytest.raises(SHUT_OUT):
            pika.BlockingConnection(here.parameters())
        with pytest.raises(SHUT_OUT):
            pika.BlockingConnection(here.parameters(port=here.broker.port, ssl_options=None))
        assert round_trip(connection) == b"x"
        silent.close()
    until(lambda: "TLS handshake failed" in here.broker.log, what="the end of the silent one")
    assert works(here.parameters())
    connection.close()


def test_out_of_files_the_listener_waits_and_goes_on(secure):
    here = secure()
    files = len(os.listdir(f"/proc/{here.broker.pid}/fd"))
    resource.prlimit(here.broker.pid, resource.RLIMIT_NOFILE, (files, 4096))
    with socket.create_connection(("127.0.0.1", here.port), 10):
        until(lambda: "cannot accept connections" in here.broker.log, what="the log line")
    resource.prlimit(here.broker.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    assert works(here.parameters())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_ends_verify_each_other(secure, authority, tmp_path, version):
    here = secure(ca=authority.file, verify="required")
    stranger = Authority(tmp_path, "stranger").issue("me")

    def parameters(pair):
        context = here.context(pair)
        context.maximum_version = version
        return here.parameters(ssl_options=pika.SSLOptions(context, "localhost"))

    assert works(parameters(authority.issue("me")))
    for bad, reason in (
        (None, "peer did not return a certificate"),
        (stranger, "certificate verify failed: unable to get local issuer certificate"),
        (authority.issue("old", days=(-10, -1)), "certificate verify failed: certificate has expired"),
        (authority.issue("new", days=(1, 10)), "certificate verify failed: certificate is not yet valid"),
    ):
        with pytest.raises(SHUT_OUT):
            pika.BlockingConnection(parameters(bad))
        until(lambda reason=reason: reason in here.broker.log, what=reason)
    assert "Traceback" not in here.broker.log
    assert works(parameters(authority.issue("me")))


def test_a_refused_client_certificate_is_told_why(secure, authority, tmp_path):
    here = secure(ca=authority.file, verify="required")
    context = here.context(Authority(tmp_path, "stranger").issue("me"))
    with (
        socket.create_connection(("127.0.0.1", here.port), 10) as plain,
        pytest.raises(ssl.SSLError, match="(?i)alert.unknown.ca"),
    ):
        context.wrap_socket(plain, server_hostname="localhost").recv(1)


def test_an_expired_certificate_of_the_broker_is_served_with_a_warning_and_clients_refuse_it(secure, authority):
    here = secure(pair=authority.server("old", days=(-10, -1)))
    assert "warning the TLS certificate has expired file=" in here.broker.log
    assert here.metric("mq_tls_certificate_expiry_seconds") < -86000
    with pytest.raises(SHUT_OUT):
        pika.BlockingConnection(here.parameters())
    until(lambda: "certificate expired" in here.broker.log, what="the client's alert in the log")


def serial(here: Secure) -> int:
    """The serial number of the certificate that is shown now."""
    with (
        socket.create_connection(("127.0.0.1", here.port), 10) as plain,
        here.context().wrap_socket(plain, server_hostname="localhost") as client,
    ):
        return int(client.getpeercert()["serialNumber"], 16)


def test_sighup_reads_the_files_again_for_new_connections(secure, authority):
    here = secure(pair=authority.server("turn", days=(-1, 3)))
    first, left = serial(here), here.metric("mq_tls_certificate_expiry_seconds")
    assert 2.9 * 86400 < left <= 3 * 86400
    assert "warning the TLS certificate expires soon" in here.broker.log
    connection = pika.BlockingConnection(here.parameters())
    authority.server("turn", days=(-1, 60))
    os.kill(here.broker.pid, signal.SIGHUP)
    until(lambda: "certificates reloaded" in here.broker.log, what="the reload")
    assert serial(here) != first
    assert here.metric("mq_tls_certificate_expiry_seconds") > 59 * 86400
    assert round_trip(connection) == b"x"
    connection.close()


def test_files_that_cannot_be_used_change_nothing_at_sighup(secure, authority):
    here = secure(pair=authority.server("kept"))
    first = serial(here)
    key = here.pair.key
    authority.server("other")
    os.replace(key.replace("kept", "other"), key)  # the key of another certificate
    os.kill(here.broker.pid, signal.SIGHUP)
    until(lambda: "certificates were not reloaded" in here.broker.log, what="the refusal")
    assert f"tls.key: {key}: is not the key of the certificate in" in here.broker.log
    assert serial(here) == first


def test_a_ca_that_is_taken_away_lets_its_clients_in_no_more(secure, authority, tmp_path):
    ca = tmp_path / "clients.pem"
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    old_client, new_client = old.issue("old-client"), new.issue("new-client")
    shutil.copy(old.file, ca)
    here = secure(ca=ca, verify="required")
    assert works(here.parameters(old_client))
    shutil.copy(new.file, ca)
    os.kill(here.broker.pid, signal.SIGHUP)
    until(lambda: "certificates reloaded" in here.broker.log, what="the reload")
    with pytest.raises(SHUT_OUT):
        pika.BlockingConnection(here.parameters(old_client))
    assert works(here.parameters(new_client))


SHUTDOWN = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"


def test_a_stop_says_goodbye_to_tls_clients_and_ends_handshakes(secure):
    here = secure()
    client = raw(here).open()
    with socket.create_connection(("127.0.0.1", here.port), 10) as silent:
        os.kill(here.broker.pid, signal.SIGTERM)
        assert client.closed_with() == (320, SHUTDOWN)
        client.close()
        assert silent.recv(1) == b""
    assert here.broker.process.wait(10) == 0
    assert "Traceback" not in here.broker.log and "ResourceWarning" not in here.broker.log


def test_a_start_names_the_key_and_the_file_that_it_cannot_use(start_broker, authority, tmp_path):
    pair = authority.server()
    wrong = (
        (tls_settings(pair, key=tmp_path / "none"), f"mqgateway: tls.key: {tmp_path / 'none'}: cannot be read"),
        (
            ["tls.cert=x"],
            "mqgateway: default: tls.key: '' is not allowed; allowed: the path of a PEM file, as tls.cert",
        ),
        (["tls.verify=sometimes"], "tls.verify: 'sometimes' is not allowed; allowed: none or optional or required"),
    )
    for number, (options, text) in enumerate(wrong):
        folder = tmp_path / str(number)
        folder.mkdir()
        broker = Broker(folder, *options)
        broker.spawn()
        said = broker.wait_refused()
        assert text in said and "Traceback" not in said and len(said.splitlines()) == 1
        assert broker.process.returncode == 78


def test_without_a_certificate_a_tls_listener_that_was_asked_for_is_off_and_said_so(start_broker):
    broker = start_broker("listeners.amqps=127.0.0.1:0")
    assert "amqps" not in broker.addresses
    assert "warning listener is off until tls.cert and tls.key are set listener=amqps" in broker.log
