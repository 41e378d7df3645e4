"""Connections: answers find their requests, losses and silence are told, and nobody is asked too often."""

import asyncio
import itertools
import ssl
import time

import pytest

from corduroy.client import connections, remoting
from corduroy.client.codes import Request, Response
from corduroy.client.connections import Connections
from corduroy.client.errors import BrokerError, Closed, ConnectionFailed, NotSupported, RequestTimeout, TopicNotExist
from corduroy.client.frames import Frame
from corduroy.client.remoting import Remoting
from corduroy.client.signing import Credentials
from tests.certificates import Authority
from tests.client.apache import free_ports
from tests.client.fake import Fake, refuse


async def unanswered(address, frame):
    return None


def test_answers_find_their_requests_in_whatever_order_they_come(run):
    async def life():
        async with Fake() as broker:
            held = []

            def hold(frame):
                held.append(frame)
                if len(held) == 3:
                    for each in reversed(held):
                        broker.ask(Frame(0, {"i": each.fields["i"]}, opaque=each.opaque, flag=1))

            broker.answers[7] = hold
            client = Remoting(broker.address)
            await client.start()
            answers = await asyncio.gather(*(client.call(broker.address, 7, {"i": i}) for i in range(3)))
            assert [answer.fields["i"] for answer in answers] == ["0", "1", "2"]
            await client.stop()

    run(life())


def test_a_refusal_has_the_brokers_code_and_words(run):
    async def life():
        async with Fake() as broker:
            client = Remoting(broker.address)
            await client.start()
            broker.answers[7] = refuse(Response.TOPIC_NOT_EXIST, "topic[x] not exist")
            with pytest.raises(TopicNotExist, match="TOPIC_NOT_EXIST .17. from 127.*not exist") as caught:
                await client.call(broker.address, 7)
            assert (caught.value.code, caught.value.remark) == (17, "topic[x] not exist")
            broker.answers[7] = refuse(3)
            with pytest.raises(NotSupported):
                await client.call(broker.address, 7)
            broker.answers[7] = refuse(9999)
            with pytest.raises(BrokerError, match="code .9999."):
                await client.call(broker.address, 7)
            assert (await client.call(broker.address, 7, accept=(9999,))).code == 9999
            await client.stop()

    run(life())


def test_silence_is_a_timeout_and_a_late_answer_is_nobodys(run):
    async def life():
        async with Fake() as broker:
            client = Remoting(broker.address)
            await client.start()
            broker.answers[7] = lambda frame: None
            with pytest.raises(RequestTimeout, match="no answer from 127.* to request 7 in"):
                await client.call(broker.address, 7, timeout=0.05)
            broker.ask(Frame(0, {"late": "1"}, opaque=broker.seen[0].opaque, flag=1))
            assert (await client.call(broker.address, 8)).fields == {}
            await client.stop()

    run(life())


def test_a_lost_connection_fails_its_requests_and_the_next_connects_anew(run):
    async def life():
        async with Fake() as broker:
            client = Remoting(broker.address)
            await client.start()
            broker.answers[7] = lambda frame: broker.hang_up()
            with pytest.raises(ConnectionFailed, match="lost"):
                await client.call(broker.address, 7)
            assert (await client.call(broker.address, 8)).code == 0
            await client.stop()
            with pytest.raises(Closed):
                await client.call(broker.address, 8)

    run(life())


def test_who_does_not_listen_is_tried_less_and_less_often(run, monkeypatch):
    attempts = []

    async def never(address, *_):
        attempts.append(time.monotonic())
        raise ConnectionFailed("refused")

    async def life():
        pool = Connections(unanswered, lambda connection: None)
        for _ in range(6):
            with pytest.raises(ConnectionFailed):
                await pool.get("127.0.0.1:1", 30)
        assert pool.failing("127.0.0.1:1")

    monkeypatch.setattr(connections, "connect", never)
    monkeypatch.setattr(connections, "BACKOFF_SECONDS_MAX", 0.4)
    run(life())
    waits = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    for wait, longest in zip(waits, (0.1, 0.2, 0.4, 0.4, 0.4)):
        assert longest / 2 <= wait + 0.005, (waits, longest)


def test_a_broker_that_comes_back_on_its_port_is_found(run):
    async def life():
        (port,) = free_ports(1)
        pool = Connections(unanswered, lambda connection: None)
        with pytest.raises(ConnectionFailed, match="cannot connect"):
            await pool.get(f"127.0.0.1:{port}")
        async with Fake(port) as broker:
            assert (await pool.get(broker.address)).address == broker.address
            assert not pool.failing(broker.address)
        pool.close()

    run(life())


def test_the_next_name_server_is_asked_when_one_does_not_answer(run):
    async def life():
        async with Fake() as second:
            second.answers[105] = refuse(17)
            (nobody,) = free_ports(1)
            for servers in ([f"127.0.0.1:{nobody}", second.address], [second.address, f"127.0.0.1:{nobody}"]):
                for _ in range(5):  # which comes first is drawn
                    client = Remoting(";".join(servers))
                    await client.start()
                    with pytest.raises(TopicNotExist):
                        await client.route("t")
                    await client.stop()

    run(life())


def test_what_a_server_asks_is_answered_by_whoever_is_there_for_it(run):
    async def life():
        async with Fake() as broker:
            client = Remoting(broker.address)
            await client.start()
            await client.call(broker.address, 8)

            async def answer(address, frame):
                if frame.fields:
                    raise ValueError("what?")
                return Frame(0, {"from": address})

            client.answerers[307] = answer
            for number, (code, fields) in enumerate([(307, {}), (307, {"bad": "1"}), (308, {})]):
                broker.ask(Frame(code, fields, opaque=50 + number))
            while len(answers := {f.opaque: f for f in broker.seen if f.is_response}) < 3:
                await asyncio.sleep(0.01)
            assert answers[50].fields == {"from": broker.address}
            assert (answers[51].code, answers[51].remark) == (1, "ValueError: what?")
            assert answers[52].code == Response.REQUEST_CODE_NOT_SUPPORTED
            await client.stop()

    run(life())


def test_bytes_that_are_no_frame_end_the_connection(run):
    async def life():
        async with Fake() as broker:
            client = Remoting(broker.address)
            await client.start()

            def nonsense(frame):
                broker._writers[0].write(b"HTTP/1.1 400 Bad Request\r\n")

            broker.answers[7] = nonsense
            with pytest.raises(ConnectionFailed):
                await client.call(broker.address, 7)
            await client.stop()

    run(life())


def test_a_broker_is_told_of_the_groups_again_when_it_is_connected_to_anew(run):
    async def life():
        async with Fake() as broker:
            client = Remoting(broker.address)
            broker.route(("a", broker))
            client.heartbeat_body = lambda: {"clientID": "c"}
            await client.start()
            await client.route("t")
            await client.call(broker.address, 8)
            broker.hang_up()
            while broker.codes().count(Request.HEART_BEAT) < 2:
                await asyncio.sleep(0.01)
                try:
                    await client.call(broker.address, 8)
                except ConnectionFailed:
                    pass
            await client.stop()

    run(life())


def test_a_broker_that_answers_no_heartbeat_is_connected_to_anew(run, monkeypatch):
    monkeypatch.setattr(remoting, "HEARTBEAT_TIMEOUT_SECONDS", 0.05)

    async def life():
        async with Fake() as broker:
            broker.route(("a", broker))
            client = Remoting(broker.address)
            client.heartbeat_body = lambda: {"clientID": "c"}
            silent = [True]
            broker.answers[Request.HEART_BEAT] = lambda frame: None if silent[0] else Frame(0)
            await client.start()
            await client.route("t")
            before = await client._connections.get(broker.address)
            await client.heartbeat()
            assert before.lost
            silent[0] = False
            assert await client._connections.get(broker.address) is not before
            await client.stop()

    run(life())


def test_every_request_is_signed_when_there_are_credentials(run):
    async def life():
        async with Fake() as broker:
            client = Remoting(broker.address, credentials=Credentials("rocketmq2", "12345678"))
            await client.start()
            fields = {"consumerGroup": "g", "extraInfo": "x", "offset": 1, "queueId": 0, "topic": "t"}
            await client.call(broker.address, 7, fields, b"body")
            assert broker.seen[0].fields["Signature"] == "y/Jty/Xd41CigOvXZkaP045MqT8="
            await client.stop()

    run(life())


def test_routes_are_asked_for_once_kept_and_refreshed(run, monkeypatch):
    monkeypatch.setattr(remoting, "ROUTE_SECONDS", 0.05)

    async def life():
        async with Fake() as server, Fake() as other:
            server.route(("a", server))
            client = Remoting(server.address)
            await client.start()
            await asyncio.gather(*(client.route("t") for _ in range(5)))
            assert server.codes().count(Request.GET_ROUTEINFO_BY_TOPIC) == 1
            server.route(("a", server), ("b", other))
            while len((await client.route("t")).write_queues) < 2:
                await asyncio.sleep(0.01)
            server.answers[Request.GET_ROUTEINFO_BY_TOPIC] = refuse(17)
            while "t" in client.routes:
                await asyncio.sleep(0.01)
            await client.stop()

    run(life())


def test_connections_are_encrypted_and_the_server_is_checked(run, tmp_path):
    authority = Authority(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*authority.server())

    async def life():
        async with Fake(tls=server) as broker:
            for trusted in (True, False):
                context = ssl.create_default_context(cafile=authority.file if trusted else None)
                client = Remoting(broker.address, tls=context)
                await client.start()
                if trusted:
                    assert (await client.call(broker.address, 7)).code == 0
                else:
                    with pytest.raises(ConnectionFailed, match="certificate"):
                        await client.call(broker.address, 7)
                await client.stop()

    run(life())
