"""The native listeners over real sockets: both ports, large requests, what is no request, a stop."""

import socket
import struct

import pytest

from tests.clients.broker import until
from tests.clients.native import native
from tests.namesrv.world import request

pytestmark = pytest.mark.ours
UNKNOWN = 4711


@pytest.mark.parametrize("listener", ["remoting", "remoting_vip"])
def test_both_ports_answer(broker, listener):
    client = native(broker, listener)
    header, body = client.ask(UNKNOWN, opaque=-5)
    assert (header["code"], header["opaque"], header["remark"], body) == (
        *(3, -5),
        *(f" request type {UNKNOWN} not supported", b""),
    )
    assert header["version"] >= 413 and header["language"] == "JAVA"
    client.close()


@pytest.mark.parametrize("size", [100_000, 4 << 20, (16 << 20) - 400])
def test_a_request_as_large_as_rocketmq_takes_is_answered(broker, size):
    client = native(broker)
    for opaque in (1, 2):
        assert client.ask(UNKNOWN, {"n": "1"}, bytes(size), opaque=opaque)[0]["opaque"] == opaque
    client.close()


def test_large_and_small_requests_of_many_connections_do_not_mix(broker):
    clients = [native(broker) for _ in range(3)]
    last = request(UNKNOWN, opaque=10)
    data = [request(UNKNOWN, {"n": "1"}, bytes([n]) * 900_000, opaque=n) + last for n in range(3)]
    for at in range(0, len(data[0]), 200_000):
        for client, each in zip(clients, data, strict=True):
            client.send(each[at : at + 200_000])
    assert [[client.answer()[0]["opaque"] for _ in "12"] for client in clients] == [[0, 10], [1, 10], [2, 10]]
    for client in clients:
        client.close()


def test_bytes_that_are_no_request_close_the_connection_and_no_other(broker):
    client, other = native(broker), native(broker)
    client.send(request(UNKNOWN, opaque=1) + struct.pack(">I", 1 << 30))
    assert client.answer()[0]["opaque"] == 1 and client.closed()
    assert other.ask(UNKNOWN)[0]["code"] == 3
    other.close()


def test_a_connection_without_a_request_is_closed_in_time(start_broker):
    broker = start_broker("limits.handshake_seconds=1")
    client = native(broker)
    client.send(request(UNKNOWN)[:30])
    assert client.closed()
    assert "no request within limits.handshake_seconds" in broker.log


def test_who_reads_no_answers_is_not_served_without_end(start_broker):
    broker = start_broker("limits.output_bytes=65536")
    client, other = native(broker), native(broker)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.socket.setblocking(False)
    data, sent = request(UNKNOWN) * 1000, 0

    def stuck():
        nonlocal sent
        try:
            sent += client.socket.send(data)
        except BlockingIOError:
            return True
        return False

    until(lambda: stuck() and other.ask(UNKNOWN) and stuck(), 50, "a socket that takes no more")
    assert sent < 64 << 20
    assert broker.rss_anon() < 256 << 20


def test_a_stop_closes_native_connections_too(start_broker):
    broker = start_broker()
    client = native(broker)
    client.ask(UNKNOWN)
    broker.stop()
    assert client.closed()
