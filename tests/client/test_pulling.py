"""Pulling and popping at a real broker: offsets, long polls, receipts."""

import asyncio
import time

import pytest

from corduroy.client.errors import InvalidMessage, OffsetIllegal, SubscriptionRefused
from corduroy.client.messages import Message
from corduroy.client.pop_consumer import PopConsumer
from corduroy.client.producer import Producer
from corduroy.client.pull_consumer import PullConsumer
from corduroy.client.pulling import PullStatus
from corduroy.client.subscriptions import SQL92


async def fill(broker, name, *messages):
    """Send to one queue of a topic, and wait until they can be read there; the queue."""
    async with Producer(name, broker.name_server) as producer, PullConsumer(name, broker.name_server) as consumer:
        (queue, *_) = await producer.queues(name)
        for message in messages:
            message = message if isinstance(message, Message) else Message(name, message)
            result = await producer.send(message, queue=queue)
        while await consumer.max_offset(queue) <= result.queue_offset:
            pass
        return queue


async def pull_found(consumer, queue, offset, **how):
    """The messages from there on, once there is one."""
    return (await consumer.pull(queue, offset, wait=10, **how)).messages


def test_a_queue_is_read_from_any_offset_and_its_bounds_are_told(broker, name, run):
    async def life():
        queue = await fill(broker, name, *(b"%d" % i for i in range(5)))
        async with PullConsumer(name, broker.name_server) as consumer:
            assert [each.body for each in await pull_found(consumer, queue, 3)] == [b"3", b"4"]
            result = await consumer.pull(queue, 1, count=2)
            assert [each.queue_offset for each in result.messages] == [1, 2]
            assert (result.next_offset, result.min_offset, result.max_offset) == (3, 0, 5)
            assert (await consumer.min_offset(queue), await consumer.max_offset(queue)) == (0, 5)
            end = await consumer.pull(queue, 5)
            assert (end.status, end.next_offset, end.messages) == (PullStatus.NO_NEW_MESSAGE, 5, [])
            beyond = await consumer.pull(queue, 99)
            assert (beyond.status, beyond.next_offset) == (PullStatus.OFFSET_ILLEGAL, 5)

    run(life())


def test_a_long_poll_ends_with_the_first_message(broker, name, run):
    async def life():
        queue = await fill(broker, name, b"old")
        async with PullConsumer(name, broker.name_server) as consumer:
            waiting = asyncio.create_task(consumer.pull(queue, 1, wait=15))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            await fill(broker, name, b"new")
            assert [each.body for each in (await waiting).messages] == [b"new"]
            assert time.monotonic() - began < 5

    run(life())


def test_what_is_committed_is_known_to_the_whole_group(broker, name, run):
    async def life():
        queue = await fill(broker, name, b"a", b"b")
        async with PullConsumer(name, broker.name_server) as one, PullConsumer(name, broker.name_server) as two:
            await one.pull(queue, 0)
            await one.commit(queue, 2)
            await two.queues(name)
            assert await two.committed(queue) == 2

    run(life())


def test_an_offset_is_found_by_time(broker, name, run):
    async def life():
        queue = await fill(broker, name, b"a")
        await asyncio.sleep(0.02)
        await fill(broker, name, b"b")
        async with PullConsumer(name, broker.name_server) as consumer:
            while len(messages := (await consumer.pull(queue, 0, wait=5)).messages) < 2:
                pass
            assert await consumer.offset_at(queue, messages[1].store_ms) == 1
            assert await consumer.offset_at(queue, messages[0].store_ms) == 0
            assert await consumer.offset_at(queue, messages[1].store_ms + 10_000) == 2

    run(life())


def test_pulls_choose_by_tag_or_sql_and_say_where_to_go_on(broker, name, run):
    async def life():
        sent = [Message(name, b"%d" % i, "odd" if i % 2 else "even", properties={"i": str(i)}) for i in range(6)]
        queue = await fill(broker, name, *sent)
        async with PullConsumer(name, broker.name_server) as consumer:
            odd = await pull_found(consumer, queue, 0, expression="odd")
            assert [each.body for each in odd] == [b"1", b"3", b"5"]
            big = await pull_found(consumer, queue, 0, expression="i > 3", kind=SQL92)
            assert [each.body for each in big] == [b"4", b"5"]
            none = await consumer.pull(queue, 0, expression="nothing")
            assert (none.status, none.next_offset) == (PullStatus.NO_MATCHED_MESSAGE, 6)
            with pytest.raises(SubscriptionRefused):
                await consumer.pull(queue, 0, expression="i >>> 3", kind=SQL92)

    run(life())


async def popped(consumer, topic, count=1, **how):
    """So many messages, in as many pops as it takes."""
    found = []
    while len(found) < count:
        found += await consumer.pop(topic, wait=5, **how)
    return found


def test_a_popped_message_is_hidden_until_its_time_is_over_and_an_acked_one_for_good(broker, name, run):
    async def life():
        await fill(broker, name, b"acked", b"forgotten")
        async with PopConsumer(name, broker.name_server) as consumer:
            first = await popped(consumer, name, 2, invisible=2)
            assert sorted(each.body for each in first) == [b"acked", b"forgotten"]
            await consumer.ack(next(each for each in first if each.body == b"acked"))
            assert await consumer.pop(name) == []
            (again,) = await popped(consumer, name)
            assert (again.body, again.reconsume_times, again.topic) == (b"forgotten", 1, name)
            await consumer.ack(again)

    run(life())


def test_the_time_a_message_is_hidden_can_be_changed(broker, name, run):
    async def life():
        await fill(broker, name, b"x")
        async with PopConsumer(name, broker.name_server) as consumer:
            (message,) = await popped(consumer, name, invisible=60)
            old = message.properties["POP_CK"]
            await consumer.change_invisible(message, 1)
            assert message.properties["POP_CK"] != old
            (again,) = await popped(consumer, name)
            assert again.message_id == message.message_id
            await consumer.ack(again)

    run(life())


def test_only_what_was_popped_can_be_acked(broker, name, run):
    async def life():
        queue = await fill(broker, name, b"x")
        async with PopConsumer(name, broker.name_server) as popper, PullConsumer(name, broker.name_server) as puller:
            (pulled,) = await pull_found(puller, queue, 0)
            with pytest.raises(InvalidMessage):
                await popper.ack(pulled)
            (message,) = await popped(popper, name)
            parts = message.properties["POP_CK"].split(" ")
            message.properties["POP_CK"] = " ".join([*parts[:7], "99"])
            with pytest.raises(OffsetIllegal):
                await popper.ack(message)

    run(life())
