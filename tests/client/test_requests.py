"""Request and reply: what a consumer answers reaches who asked, and nobody else."""

import asyncio

import pytest

from corduroy.client import BrokerError, ConsumeFrom, InvalidMessage, Message, Producer, RequestTimeout, blocking
from corduroy.client.admin import Admin
from tests.client.listeners import Seen, consumer


def test_each_asker_gets_the_reply_to_its_own_request(broker, name, run):
    async def life():
        async with Admin(broker.name_server) as admin:
            await admin.create_topic(name, queues=2)
        async with Producer(name, broker.name_server) as one, Producer(f"{name}-2", broker.name_server) as other:

            async def answer(messages):
                for message in messages:
                    more = {"tags": "t", "properties": {"mine": "x"}}
                    sent = await other.reply(message, b"re: " + message.body * 2000, **more)
                    assert sent.queue.topic == "DefaultCluster_REPLY_TOPIC"

            async with consumer(broker, name, name, answer):
                asked = [each.request(Message(name, b"%d" % n), timeout=20) for n, each in enumerate((one, other) * 5)]
                replies = await asyncio.gather(*asked)
        assert [reply.body for reply in replies] == [b"re: " + b"%d" % n * 2000 for n in range(10)]
        assert {(reply.tags, reply.properties["mine"]) for reply in replies} == {("t", "x")}
        assert replies[0].born_ms > 0 and int(replies[0].properties["PUSH_REPLY_TIME"]) > 0

    run(life())


def test_a_request_that_nobody_answers_ends_and_a_reply_to_it_is_told_so(broker, name, run):
    async def life():
        seen = Seen()
        async with Producer(name, broker.name_server) as replier, consumer(broker, name, name, seen):
            async with Producer(f"{name}-2", broker.name_server) as producer:
                with pytest.raises(RequestTimeout, match="no reply within"):
                    await producer.request(Message(name, b"?"), timeout=1)
                await seen.until(lambda seen: seen.messages)
                await replier.reply(seen.messages[0], b"too late")  # the client is there, and takes it
            with pytest.raises(BrokerError, match="channel of <.*> not found"):
                await replier.reply(seen.messages[0], b"gone")
            sent = await replier.send(Message(name, b"no request"))
            await seen.until(lambda seen: len(seen.messages) == 2)
            assert sent.message_id == seen.messages[1].message_id
            with pytest.raises(InvalidMessage, match="asks for no reply: it has no property CORRELATION_ID"):
                await replier.reply(seen.messages[1], b"x")

    run(life())


def test_without_asyncio_too(broker, name):
    with blocking.Producer(name, broker.name_server) as producer:
        replier = blocking.PushConsumer(
            name, lambda messages: answer(messages), broker.name_server, consume_from=ConsumeFrom.FIRST
        )
        replier.subscribe(name)

        def answer(messages):
            for message in messages:
                if message.body == b"abc":
                    producer.reply(message, message.body[::-1])

        producer.send(Message(name, b"there is the topic"))
        with replier:
            assert producer.request(Message(name, b"abc"), timeout=20).body == b"cba"
