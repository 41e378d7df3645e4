"""`mqnamesrv` over sockets: its first lines, its exit codes, and the bounds of its connections."""

import json
import os
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from namesrv import main
from tests.clients.broker import until
from tests.namesrv.process import Client, Namesrv
from tests.namesrv.world import BROKER, SLAVE, registering, request

COMMAND = str(Path(sys.executable).with_name("mqnamesrv"))


def command(*words, **environment):
    return subprocess.run(
        [COMMAND, *words], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


def test_the_first_lines_are_rocketmqs_and_sigterm_ends_it_with_0(start):
    server = start()
    assert server.output == (
        f"load config properties file OK, {server.conf}\n"
        f"The Name Server boot success. serializeType=JSON, address 127.0.0.1:{server.port}\n"
    )
    assert server.stop() == 0


def test_a_connection_asks_and_is_answered_in_order(start):
    client = start().client()
    header, _ = client.ask(103, BROKER, registering("T", "U"))
    assert (header["code"], header["flag"], header["opaque"], header["language"]) == (0, 1, 7, "JAVA")
    client.send(b"".join(request(code, {"topic": "T"}, opaque=code) for code in (105, 106, 9999, 206)))
    answers = [client.answer() for _ in range(4)]
    assert [header["opaque"] for header, _ in answers] == [105, 106, 9999, 206]
    assert answers[2][0]["remark"] == " request type 9999 not supported"
    assert json.loads(answers[0][1])["queueDatas"][0]["brokerName"] == "b"


def test_a_request_may_come_byte_by_byte(start):
    client = start().client()
    for byte in request(206):
        client.send(bytes([byte]))
    assert client.answer()[1] == b'{"topicList":[]}'


def test_a_one_way_request_is_done_and_never_answered_nor_is_an_answer(start):
    client = start().client()
    client.send(request(103, BROKER, registering("T", "U"), flag=2) + request(9999, flag=2) + request(0, flag=1))
    header, body = client.ask(206, opaque=99)
    assert header["opaque"] == 99 and json.loads(body)["topicList"] == ["T", "U"]


def test_a_broker_goes_with_its_connection(start):
    server = start()
    client, broker = server.client(), server.client()
    broker.ask(103, BROKER, registering("T", "U"))
    assert client.ask(105, {"topic": "T"})[0]["code"] == 0
    broker.close()
    until(lambda: client.ask(105, {"topic": "T"})[0]["code"] == 17, what="the route's end")


def test_a_broker_that_is_silent_for_too_long_loses_its_connection(start):
    server = start("scanNotActiveBrokerInterval=10")
    broker, client = server.client(), server.client()
    broker.ask(103, {**BROKER, "heartbeatTimeoutMillis": "1"}, registering("T", "U"))
    assert broker.closed()
    assert client.ask(106)[1] == b'{"brokerAddrTable":{},"clusterAddrTable":{}}'
    assert "broker was not heard of for too long broker=127.0.0.1:1 cluster=c" in server.log


def test_an_idle_connection_is_closed(start):
    server = start("serverChannelMaxIdleTimeSeconds=1")
    assert server.client().closed()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">II", 2, 0), request(206)[:4] + b"\7\0\0\0"])
def test_what_is_no_frame_closes_its_connection_only_after_what_came_before(start, data):
    server = start()
    other, client = server.client(), server.client()
    client.send(request(206) + data)
    assert client.answer()[1] == b'{"topicList":[]}'
    assert client.closed()
    assert other.ask(206)[0]["code"] == 0
    until(lambda: "connection closed peer=127.0.0.1:" in server.log, what="a line of the log")


def test_a_client_that_does_not_read_its_answers_is_not_served_further(start):
    server = start()
    client, greedy = server.client(), server.client()
    client.ask(103, BROKER, registering(*[f"topic-{number:05}" for number in range(20_000)]))
    asked = 0
    greedy.socket.settimeout(1)
    with pytest.raises(TimeoutError):  # 300 KB each: what is not read stays here when the sockets are full
        while asked < 200_000:
            greedy.send(request(206, opaque=asked))
            asked += 1
    for _ in range(2000):  # each a turn in which a server that goes on would have another answer for the other
        assert client.ask(106)[0]["code"] == 0
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    held = int(status.split("RssAnon:")[1].split()[0]) * 1024
    assert held < 150_000_000 < asked * 300_000
    greedy.socket.settimeout(20)
    for opaque in range(20):
        assert greedy.answer()[0]["opaque"] == opaque
    assert client.ask(206)[0]["code"] == 0


def test_many_requests_at_once_are_all_answered_in_order(start):
    client = start().client()
    count = 5 * 256
    client.send(b"".join(request(106, opaque=number) for number in range(count)))
    assert [client.answer()[0]["opaque"] for _ in range(count)] == list(range(count))


def test_a_long_request_is_taken_whole(start):
    client = start().client()
    body = registering(*[f"topic-{number:06}" for number in range(50_000)])
    assert len(body) > 5_000_000
    assert client.ask(103, BROKER, body)[0]["code"] == 0
    assert len(json.loads(client.ask(206)[1])["topicList"]) == 50_000


def test_kv_items_are_there_after_a_restart(start):
    first = start()
    assert first.client().ask(100, {"namespace": "n", "key": "k", "value": "v"})[0]["code"] == 0
    assert json.loads(first.kv.read_text()) == {"configTable": {"n": {"k": "v"}}}
    assert first.client().ask(100, {"namespace": "n", "key": "k", "value": "w"})[0]["code"] == 0
    assert json.loads(first.kv.with_name("kvConfig.json.bak").read_text()) == {"configTable": {"n": {"k": "v"}}}
    first.stop()
    second = start(f"kvConfigPath={first.kv}")
    assert second.client().ask(101, {"namespace": "n", "key": "k"})[0]["extFields"] == {"value": "w"}


def test_an_update_of_the_configuration_is_in_its_file_and_holds_after_a_restart(start):
    server = start()
    server.client().ask(318, None, b"orderMessageEnable=true")
    assert "orderMessageEnable=true\n" in server.conf.read_text()
    again = start(*server.conf.read_text().splitlines(), "listenPort=0")
    assert b"orderMessageEnable=true\n" in again.client().ask(319)[1]


def test_headers_are_written_in_the_form_that_the_environment_says(start):
    server = start(environment={**os.environ, "ROCKETMQ_SERIALIZE_TYPE": "ROCKETMQ"})
    assert "serializeType=ROCKETMQ" in server.output
    client = server.client()
    client.send(request(206, opaque=5))
    size, head = struct.unpack(">II", client._exactly(8))
    data = client._exactly(size - 4)
    assert head >> 24 == 1 and struct.unpack_from(">hBhii", data) == (0, 0, 479, 5, 1)
    assert data.endswith(b'{"topicList":[]}')


def test_several_name_servers_know_nothing_of_each_other(start):
    one, two = start().client(), start().client()
    one.ask(103, BROKER, registering("T", "U"))
    two.ask(103, SLAVE, registering("T", "U"))
    assert [client.ask(105, {"topic": "T"})[0]["code"] for client in (one, two)] == [0, 17]


def test_help_is_printed_and_is_no_failure():
    done = command("-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: mqnamesrv [-c <arg>] [-h] [-n <arg>] [-p]\n -c,--configFile <arg>")


def test_a_command_line_that_is_not_understood_ends_with_1():
    done = command("--bogus")
    assert (done.returncode, done.stderr) == (1, "Unrecognized option: --bogus\n")
    assert done.stdout.startswith("usage: mqnamesrv")


def test_the_configuration_is_printed_with_keys_that_have_no_effect_reported_once(tmp_path):
    file = tmp_path / "namesrv.conf"
    file.write_text("listenPort=1234\nserverWorkerThreads=3\nnobodyKnows=x\nscanNotActiveBrokerInterval = 7000\n")
    done = command("-p", "-c", str(file), ROCKETMQ_HOME="/rocketmq")
    assert done.returncode == 0
    assert {"listenPort=1234", "serverWorkerThreads=3", "nobodyKnows=x", "rocketmqHome=/rocketmq"} <= set(
        done.stdout.splitlines()
    )
    assert done.stderr.count("\n") == 1
    assert "keys that have no effect here: nobodyKnows, serverWorkerThreads" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listenPort=x", "mqnamesrv: listenPort: 'x' is not a number within 0..65535\n"),
        ("kvConfigPath=/proc/self/nothing/kv\nlistenPort=-1", "listenPort"),
        ("a=\\u1", "mqnamesrv: string2Properties error\n"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_one_line(tmp_path, text, said):
    file = tmp_path / "namesrv.conf"
    file.write_text(text)
    done = command("-c", str(file))
    assert done.returncode == 255 and said in done.stderr and done.stderr.count("\n") == 1


def test_what_cannot_start_says_why_and_ends_with_255(tmp_path):
    done = command("-c", str(tmp_path / "none"))
    assert (done.returncode, done.stderr) == (
        255,
        f"mqnamesrv: cannot read {tmp_path}/none: No such file or directory\n",
    )
    kv = tmp_path / "kv.json"
    kv.write_text("{")
    file = tmp_path / "namesrv.conf"
    file.write_text(f"kvConfigPath={kv}\nlistenPort=0\nbindAddress=127.0.0.1")
    done = command("-c", str(file))
    assert done.returncode == 255 and f"mqnamesrv: {kv} holds no KV configuration" in done.stderr
    done = command(ROCKETMQ_SERIALIZE_TYPE="XML")
    assert done.returncode == 255 and "ROCKETMQ_SERIALIZE_TYPE: 'XML' is neither JSON nor ROCKETMQ" in done.stderr


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Namesrv(tmp_path, port=port)
        assert server.process.wait(30) == 255
    assert server.log.endswith("\n") and f"mqnamesrv: Failed to bind to 127.0.0.1:{port}: " in server.log


def test_connections_beyond_the_limit_are_turned_away(start):
    assert main.DESCRIPTORS_RESERVED == 64, "so there is room for 6 connections"
    server = start(before="import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (70, 70))")
    clients = [server.client() for _ in range(6)]
    assert all(client.ask(206)[0]["code"] == 0 for client in clients)
    assert server.client().closed()
    assert all(client.ask(206)[0]["code"] == 0 for client in clients)
    clients.pop().close()
    until(lambda: _serves(server.port), what="room for one more")


def test_unfinished_requests_have_a_bound_in_all_and_who_exceeds_it_is_closed(start):
    server = start(before="import namesrv.main; namesrv.main.HELD_BYTES_MAX = 3_000_000")
    begin = struct.pack(">II", 2_500_000, 2) + b"{}" + bytes(2_000_000)
    rest = bytes(2_500_004 - len(begin))
    small, *greedy = [server.client() for _ in range(3)]
    small.send(request(206)[:-1])
    for client in greedy:
        client.send(begin)
    readable, _, _ = select.select([client.socket for client in greedy], [], [], 20)
    (closed,) = [client for client in greedy if client.socket in readable]
    assert closed.closed()
    assert "unfinished requests of all connections exceed 3000000 bytes" in server.log
    small.send(request(206)[-1:])
    assert small.answer()[1] == b'{"topicList":[]}'
    for _ in range(2):
        (other,) = [client for client in greedy if client is not closed]
        other.send(rest)
        assert other.answer()[0]["remark"] == " request type 0 not supported"
        other.send(begin)


def _serves(port):
    client = Client(port)
    try:
        return client.ask(206)[0]["code"] == 0
    except (EOFError, ConnectionError):
        return False
    finally:
        client.close()
