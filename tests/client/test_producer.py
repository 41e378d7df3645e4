"""Sending, to a real broker and to ones that refuse: where it goes, what is tried again, what comes back."""

import time
from dataclasses import replace

import pytest

from corduroy.client.codes import Request, Response
from corduroy.client.errors import (
    BrokerError,
    ConnectionFailed,
    InvalidMessage,
    MessageIllegal,
    NoRoute,
    RequestTimeout,
)
from corduroy.client.ids import parse_offset_id
from corduroy.client.messages import Message, MessageQueue, SendStatus
from corduroy.client.producer import Producer
from corduroy.client.pull_consumer import PullConsumer
from corduroy.client.records import decode
from tests.client.fake import Fake, refuse, stored


async def view(producer, result):
    """The message that a result speaks of, as its broker has it."""
    host, offset = parse_offset_id(result.offset_message_id)
    answer = await producer.remoting.call(
        host, Request.VIEW_MESSAGE_BY_ID, {"offset": offset, "topic": result.queue.topic}
    )
    return decode(answer.body)[0]


def test_a_sent_message_is_stored_with_all_it_had(broker, name, run):
    async def life():
        async with Producer(name, broker.name_server) as producer:
            sent = Message(name, b"hello", "TagA", ["k1", "k2"], {"mine": "é"}, flag=7)
            result = await producer.send(sent)
            assert result.status is SendStatus.SEND_OK and result.queue_offset == 0
            message = await view(producer, result)
            assert (message.topic, message.body, message.tags, message.keys) == (name, b"hello", "TagA", ["k1", "k2"])
            assert (message.properties["mine"], message.flag, message.queue_id) == ("é", 7, result.queue.queue_id)
            assert message.message_id == result.message_id == result.transaction_id
            assert message.offset_message_id == result.offset_message_id
            assert abs(message.born_ms - time.time() * 1000) < 60_000

    run(life())


@pytest.mark.parametrize("compression", ["zlib", ""])
def test_big_bodies_are_compressed_and_come_back_whole(broker, name, run, compression):
    async def life():
        async with Producer(name, broker.name_server, compression=compression) as producer:
            message = await view(producer, await producer.send(Message(name, b"x" * 5000)))
            assert message.body == b"x" * 5000
            assert message.sys_flag & 0x701 == (0x301 if compression else 0)

    run(life())


def test_a_batch_goes_to_one_queue_in_order(broker, name, run):
    async def life():
        async with Producer(name, broker.name_server) as producer:
            result = await producer.send_batch([Message(name, b"%d" % i, keys=f"k{i}") for i in range(3)])
            ids, places = result.message_id.split(","), result.offset_message_id.split(",")
            assert len(set(ids)) == len(places) == 3
            last = await producer.send(Message(name, b"after"), queue=result.queue)
            assert last.queue_offset == result.queue_offset + 3
            for number, place in enumerate(places):
                host, offset = parse_offset_id(place)
                answer = await producer.remoting.call(
                    host, Request.VIEW_MESSAGE_BY_ID, {"offset": offset, "topic": name}
                )
                message = decode(answer.body)[0]
                assert (message.body, message.keys) == (b"%d" % number, [f"k{number}"])
                assert (message.queue_offset, message.message_id) == (result.queue_offset + number, ids[number])

    run(life())


def test_the_queue_is_yours_to_choose(broker, name, run):
    async def life():
        async with Producer(name, broker.name_server) as producer:
            queues = await producer.queues(name)
            assert len(queues) == 4
            assert (await producer.send(Message(name, b"a"), queue=queues[2])).queue == queues[2]
            assert (await producer.send(Message(name, b"a"), select=lambda queues: queues[-1])).queue == queues[-1]
            for key in ("a", "b", "c"):
                chosen = {(await producer.send(Message(name, b"a", sharding_key=key))).queue for _ in range(3)}
                assert len(chosen) == 1
            in_turn = [(await producer.send(Message(name, b"a"))).queue for _ in range(4)]
            assert sorted(in_turn) == queues

    run(life())


def test_a_one_way_message_arrives(broker, name, run):
    async def life():
        async with Producer(name, broker.name_server) as producer, PullConsumer(name, broker.name_server) as consumer:
            before = await producer.send(Message(name, b"a"))
            await producer.send_one_way(Message(name, b"b"), queue=before.queue)
            next_offset = before.queue_offset + 1
            while not (pulled := await consumer.pull(before.queue, next_offset, wait=1)).messages:
                pass
            assert [message.body for message in pulled.messages] == [b"b"]

    run(life())


def test_a_timer_message_can_be_recalled_once(broker, name, run):
    async def life():
        async with Producer(name, broker.name_server) as producer:
            result = await producer.send(Message(name, b"a", delay_ms=60_000))
            assert await producer.recall(name, result.recall_handle) == result.message_id
            with pytest.raises(BrokerError, match="ILLEGAL_OPERATION"):
                await producer.recall(name, "nonsense")

    run(life())


def test_what_a_broker_refuses_is_told_in_its_words(broker, name, run):
    async def life():
        async with Producer(name, broker.name_server) as producer:
            (there, *_) = await producer.queues(name)
            with pytest.raises(NoRoute):
                await producer.send(Message(name, b"a"), queue=MessageQueue(name, "nobody", 0))
            with pytest.raises(BrokerError) as caught:
                await producer.send(Message(name, b"a"), queue=replace(there, queue_id=999))
            assert caught.value.code == Response.INVALID_PARAMETER

    run(life())


def test_a_batch_holds_messages_of_one_topic_now_to_be_delivered(run):
    async def life():
        async with Fake() as broker, Producer("g", broker.address) as producer:
            for batch in ([], [Message("a", b"x"), Message("b", b"x")], [Message("a", b"x", delay_level=1)]):
                with pytest.raises(InvalidMessage):
                    await producer.send_batch(batch)
            with pytest.raises(InvalidMessage, match="exceeds"):
                await producer.send_batch([Message("a", bytes(3 << 20))] * 2)

    run(life())


def test_a_send_that_one_broker_refuses_goes_to_another_with_the_same_id(run):
    async def life():
        async with Fake() as first, Fake() as second, Producer("g", first.address, retries=1) as producer:
            first.route(("a", first), ("b", second))
            first.answers[310] = refuse(Response.SYSTEM_BUSY)
            second.answers[310] = stored
            for _ in range(4):
                assert (await producer.send(Message("t", b"x"))).queue.broker_name == "b"
            ids = [frame.fields["i"] for frame in first.seen + second.seen if frame.code == 310]
            refused = [frame.fields["i"] for frame in first.seen if frame.code == 310]
            assert refused and all(ids.count(each) == 2 for each in refused)

    run(life())


def test_a_broker_that_cannot_be_reached_is_asked_only_when_the_others_were(run):
    async def life():
        async with Fake() as first, Fake() as gone, Producer("g", first.address, retries=1) as producer:
            first.route(("a", first), ("b", gone))
            await gone.__aexit__()
            first.answers[310] = stored
            results = [await producer.send(Message("t", b"x")) for _ in range(6)]
            assert {result.queue.broker_name for result in results} == {"a"}
            assert first.codes().count(310) == 6 and producer.remoting.failing(gone.address)
            first.answers[310] = refuse(Response.SYSTEM_BUSY)
            with pytest.raises(ConnectionFailed):  # a was tried, so b must be
                await producer.send(Message("t", b"x"))
            assert first.codes().count(310) == 7

    run(life())


def test_retries_end_and_the_last_refusal_is_told(run):
    async def life():
        async with Fake() as broker, Producer("g", broker.address) as producer:
            broker.route(("a", broker))
            for code, sends in ((Response.SYSTEM_ERROR, 3), (Response.MESSAGE_ILLEGAL, 1)):
                broker.seen.clear()
                broker.answers[310] = refuse(code, "too bad")
                with pytest.raises(BrokerError, match="too bad"):
                    await producer.send(Message("t", b"x"))
                assert broker.codes().count(310) == sends
            broker.seen.clear()
            broker.answers[310] = refuse(Response.SYSTEM_ERROR)
            with pytest.raises(BrokerError):
                await producer.send(Message("t", b"x", sharding_key="k"))  # elsewhere it would be out of order
            assert broker.codes().count(310) == 1
            broker.answers[310] = lambda frame: None
            with pytest.raises(RequestTimeout):
                await producer.send(Message("t", b"x"), timeout=0.05)

    run(life())


def test_statuses_that_mean_stored_are_no_errors(run):
    async def life():
        async with Fake() as broker, Producer("g", broker.address) as producer:
            broker.route(("a", broker))
            for status in SendStatus:

                def answer(frame, status=status):
                    made = stored(frame)
                    made.code = status.value
                    return made

                broker.answers[310] = answer
                assert (await producer.send(Message("t", b"x"))).status is status

    run(life())


def test_a_body_beyond_the_brokers_limit_is_refused_by_it(run):
    async def life():
        async with Fake() as broker, Producer("g", broker.address) as producer:
            broker.route(("a", broker))
            broker.answers[310] = refuse(Response.MESSAGE_ILLEGAL, "the message is illegal")
            with pytest.raises(MessageIllegal):
                await producer.send(Message("t", b"x"))

    run(life())
