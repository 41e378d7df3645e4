"""Addresses, sockets and the ready file."""

import json
import os
import socket

import pytest

from core.config import Endpoint, Listeners
from gateway.listeners import (
    SEGMENT_BYTES,
    ListenError,
    addresses,
    bound_address,
    local_address,
    open_socket,
    peer_address,
    tune_socket,
    write_ready_file,
)


class Transport:
    """Of an asyncio transport, what is asked here."""

    def __init__(self, **extra):
        self.extra = extra

    def get_extra_info(self, name):
        return self.extra.get(name)


@pytest.fixture
def listening():
    opened = []

    def open_(place):
        opened.append(open_socket("amqp", place))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def test_listeners_that_are_off_are_left_out():
    off = dict.fromkeys(Listeners.__struct_fields__, "off")
    found = addresses(Listeners(**off | {"amqp": "127.0.0.1:0", "metrics": "[::1]:9"}))
    assert found == {"amqp": Endpoint("127.0.0.1", 0, ""), "metrics": Endpoint("::1", 9, "")}


def test_port_zero_is_any_port_and_the_bound_one_is_told(listening):
    opened = listening(Endpoint("127.0.0.1", 0, ""))
    host, _, port = bound_address(opened).rpartition(":")
    assert host == "127.0.0.1" and int(port) > 0 and not opened.getblocking()
    socket.create_connection((host, int(port))).close()


def test_segments_stay_below_the_window_that_a_slow_reader_may_be_left_with(listening):
    opened = listening(Endpoint("127.0.0.1", 0, ""))
    with socket.create_connection(opened.getsockname()) as client:
        opened.setblocking(True)
        accepted = opened.accept()[0]
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= SEGMENT_BYTES
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= SEGMENT_BYTES


def test_a_v6_address_stands_in_brackets(listening):
    try:
        opened = listening(Endpoint("::1", 0, ""))
    except ListenError:
        pytest.skip("no IPv6 here")
    assert bound_address(opened).startswith("[::1]:")


@pytest.mark.parametrize("first", [socket.AF_INET, socket.AF_INET6])
def test_a_name_with_addresses_of_both_kinds_is_bound_at_the_v4_one(listening, monkeypatch, first):
    both = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: sorted(both, key=lambda found: found[0] != first))
    assert listening(Endpoint("localhost", 0, "")).family == socket.AF_INET


def test_a_port_in_use_is_one_line_that_names_listener_and_address(listening):
    port = listening(Endpoint("127.0.0.1", 0, "")).getsockname()[1]
    with pytest.raises(ListenError, match=rf"^listeners\.amqp: cannot listen on 127\.0\.0\.1:{port}: Address already"):
        listening(Endpoint("127.0.0.1", port, ""))


def test_a_host_that_is_none_is_said_so(listening):
    with pytest.raises(ListenError, match=r"listeners\.amqp: cannot listen on no\.such\.host\.invalid:1: "):
        listening(Endpoint("no.such.host.invalid", 1, ""))


def test_a_socket_file_that_nobody_listens_on_is_replaced(listening, tmp_path):
    path = str(tmp_path / "s")
    listening(Endpoint("", 0, path)).close()
    assert os.path.exists(path)
    opened = listening(Endpoint("", 0, path))
    assert bound_address(opened) == f"unix:{path}"


def test_a_socket_file_in_use_and_any_other_file_stay(listening, tmp_path):
    used, file = str(tmp_path / "s"), tmp_path / "f"
    listening(Endpoint("", 0, used))
    file.write_text("precious")
    for path in (used, str(file)):
        with pytest.raises(ListenError, match=f"cannot listen on unix:{path}"):
            listening(Endpoint("", 0, path))
    assert file.read_text() == "precious"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(used)


def test_the_ready_file_appears_whole(tmp_path):
    path = tmp_path / "ready"
    path.write_text("old")
    write_ready_file(str(path), {"amqp": "127.0.0.1:5672"})
    assert json.loads(path.read_text()) == {"amqp": "127.0.0.1:5672", "pid": os.getpid()}
    assert os.listdir(tmp_path) == ["ready"]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("127.0.0.1", 5), ("127.0.0.1", 5, True)),
        (("127.9.9.9", 5), ("127.9.9.9", 5, True)),
        (("10.0.0.1", 5), ("10.0.0.1", 5, False)),
        (("::1", 5, 0, 0), ("::1", 5, True)),
        (("::ffff:127.0.0.1", 5, 0, 0), ("127.0.0.1", 5, True)),
        (("2001:db8::1", 5, 0, 0), ("2001:db8::1", 5, False)),
        ("", ("localhost", 0, True)),
        (None, ("localhost", 0, True)),
    ],
)
def test_where_a_peer_is(name, address):
    assert peer_address(Transport(peername=name)) == address


def test_a_client_is_told_by_the_address_it_came_in_by():
    assert local_address(Transport(sockname=("10.0.0.1", 10911))) == ("10.0.0.1", 10911)
    assert local_address(Transport(sockname=("::ffff:10.0.0.1", 10911, 0, 0))) == ("10.0.0.1", 10911)
    assert local_address(Transport(sockname="/run/mq.sock")) == ("127.0.0.1", 0)


def test_small_writes_are_not_delayed():
    with socket.socket() as accepted:
        tune_socket(Transport(socket=accepted))
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    with socket.socket(socket.AF_UNIX) as accepted:
        tune_socket(Transport(socket=accepted))
    tune_socket(Transport())
