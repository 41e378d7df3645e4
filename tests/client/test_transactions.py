"""Transactions at a real broker: seen when committed, never when rolled back, asked about when nothing was said."""

import asyncio

import pytest

from corduroy.client.codes import Request
from corduroy.client.errors import InvalidMessage
from corduroy.client.messages import Message
from corduroy.client.transactions import TransactionProducer, TransactionState


async def count(producer, topic):
    """How many messages its queues hold."""
    route = await producer.remoting.route(topic, fresh=True)
    total = 0
    for queue in route.read_queues:
        fields = {"topic": topic, "queueId": queue.queue_id}
        answer = await producer.remoting.call(route.master(queue.broker_name), Request.GET_MAX_OFFSET, fields)
        total += int(answer.fields["offset"])
    return total


async def becomes(producer, topic, wanted):
    while await count(producer, topic) != wanted:
        await asyncio.sleep(0.05)


async def unknown(message):
    return TransactionState.UNKNOWN


def test_a_committed_message_is_seen_and_one_rolled_back_is_not(broker, name, run):
    async def life():
        async with TransactionProducer(name, unknown, broker.name_server) as producer:
            await producer.send(Message(name, b"plain"))
            order = []

            def commit(message):
                order.append(message.body)
                return TransactionState.COMMIT

            async def roll_back(message):
                return TransactionState.ROLLBACK

            _, state = await producer.send_transaction(Message(name, b"no"), roll_back)
            assert state is TransactionState.ROLLBACK
            result, state = await producer.send_transaction(Message(name, b"yes"), commit)
            assert (state, order) == (TransactionState.COMMIT, [b"yes"]) and result.transaction_id == result.message_id
            await becomes(producer, name, 2)

    run(life())


def test_the_broker_asks_what_became_of_it_when_nothing_was_said(broker, name, run):
    async def life():
        asked = asyncio.Event()
        seen = []

        async def check(message):
            seen.append((message.topic, message.body, message.properties["UNIQ_KEY"]))
            asked.set()
            return TransactionState.COMMIT

        async with TransactionProducer(name, check, broker.name_server) as producer:
            await producer.send(Message(name, b"plain"))
            result, _ = await producer.send_transaction(Message(name, b"later"), unknown)
            await asked.wait()
            assert seen[0] == (name, b"later", result.message_id)
            await becomes(producer, name, 2)

    run(life())


def test_what_the_work_raises_is_raised_and_the_broker_asks_later(broker, name, run):
    async def life():
        asked = asyncio.Event()

        def check(message):
            loop.call_soon_threadsafe(asked.set)
            return TransactionState.ROLLBACK

        loop = asyncio.get_running_loop()
        async with TransactionProducer(name, check, broker.name_server) as producer:

            def fail(message):
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await producer.send_transaction(Message(name, b"x"), fail)
            await asked.wait()
            with pytest.raises(InvalidMessage):
                await producer.send_transaction(Message(name, b"x", delay_level=1), fail)

    run(life())
