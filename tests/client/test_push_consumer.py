"""Push consumers at a real broker: everything is delivered, shared, ordered, filtered, retried and committed."""

import asyncio
import threading
from collections import defaultdict

import pytest

from corduroy.client.errors import ClientError, SubscriptionRefused
from corduroy.client.listening import ConsumeResult
from corduroy.client.messages import Message
from corduroy.client.producer import Producer
from corduroy.client.pull_consumer import PullConsumer
from corduroy.client.subscriptions import SQL92
from tests.client.listeners import Seen, consumer, send


def test_everything_sent_before_and_after_is_delivered_once(broker, name, run):
    async def life():
        await send(broker, name, *(b"a%d" % i for i in range(10)))
        seen = Seen()
        async with consumer(broker, name, name, seen):
            await send(broker, name, *(b"b%d" % i for i in range(10)))
            await seen.until(lambda seen: len(seen.bodies) >= 20)
        assert sorted(seen.bodies) == sorted([b"a%d" % i for i in range(10)] + [b"b%d" % i for i in range(10)])
        assert {message.topic for message in seen.messages} == {name}

    run(life())


def test_a_group_goes_on_where_it_stopped(broker, name, run):
    async def life():
        await send(broker, name, b"1", b"2", b"3")
        first, second = Seen(), Seen()
        async with consumer(broker, name, name, first):
            await first.until(lambda seen: len(seen.bodies) == 3)
        await send(broker, name, b"4")
        async with consumer(broker, name, name, second):
            await second.until(lambda seen: seen.bodies)
        assert second.bodies == [b"4"]
        async with PullConsumer(name, broker.name_server) as puller:
            done = [await puller.committed(queue) or 0 for queue in await puller.queues(name)]
            assert sum(done) == 4

    run(life())


def test_a_listener_that_is_no_coroutine_runs_in_threads(broker, name, run):
    async def life():
        names, enough = [], asyncio.Event()
        loop = asyncio.get_running_loop()

        def listener(messages):
            names.append(threading.current_thread().name)
            loop.call_soon_threadsafe(enough.set)

        await send(broker, name, b"1")
        async with consumer(broker, name, name, listener):
            await enough.wait()
        assert names[0].startswith("corduroy-listener")

    run(life())


def test_what_fails_comes_again_later_by_its_own_topic_and_then_is_a_dead_letter(broker, name, run):
    async def life():
        await send(broker, name, b"bad", b"good")
        seen = Seen(lambda message: ConsumeResult.LATER if message.body == b"bad" else None)
        dead = Seen()
        async with consumer(broker, name, name, seen, retries=1):
            await seen.until(lambda seen: seen.bodies.count(b"bad") == 2)
            again = [message for message in seen.messages if message.body == b"bad"]
            assert [message.reconsume_times for message in again] == [0, 1]
            assert {message.topic for message in again} == {name} and seen.bodies.count(b"good") == 1
            async with consumer(broker, f"{name}-dead", f"%DLQ%{name}", dead):
                await dead.until(lambda seen: seen.bodies)
                assert dead.bodies == [b"bad"] and dead.messages[0].properties["RETRY_TOPIC"] == name

    run(life())


def test_an_exception_is_a_retry_and_a_dead_letter_may_be_asked_for(broker, name, run):
    def answer(message):
        if message.body == b"raise" and not message.reconsume_times:
            raise ZeroDivisionError
        return ConsumeResult.DEAD_LETTER if message.body == b"dead" else None

    async def life():
        await send(broker, name, b"raise", b"dead")
        seen, dead = Seen(answer), Seen()
        async with consumer(broker, name, name, seen):
            await seen.until(lambda seen: seen.bodies.count(b"raise") == 2)
            async with consumer(broker, f"{name}-dead", f"%DLQ%{name}", dead):
                await dead.until(lambda seen: seen.bodies == [b"dead"])

    run(life())


def test_two_members_share_the_queues_and_one_takes_over_when_the_other_leaves(broker, name, run):
    async def life():
        await send(broker, name, b"warm")
        one, two = Seen(), Seen()
        async with consumer(broker, name, name, one) as first:
            await one.until(lambda seen: seen.bodies)
            async with consumer(broker, name, name, two) as second:

                def shares():
                    return [sum(queue.topic == name for queue in each.assignment.queues) for each in (first, second)]

                while shares() != [2, 2]:
                    await asyncio.sleep(0.05)
                await send(broker, name, *(b"%d" % i for i in range(8)))

                def numbers(seen):  # "warm" may come twice: its queue changed hands before it was committed
                    return [body for body in seen.bodies if body.isdigit()]

                while len(numbers(one)) + len(numbers(two)) < 8:
                    await asyncio.sleep(0.05)
                assert len(numbers(two)) == 4
            while shares()[0] != 4:
                await asyncio.sleep(0.05)
            await send(broker, name, *(b"x%d" % i for i in range(4)))
            await one.until(lambda seen: sum(body.startswith(b"x") for body in seen.bodies) == 4)

    run(life())


def test_an_orderly_consumer_keeps_the_order_of_each_key_through_failures(broker, name, run):
    async def life():
        failed = set()

        def answer(message):
            if message.body == b"k1-3" and "k1-3" not in failed:
                failed.add("k1-3")
                return ConsumeResult.LATER
            return None

        sent = [
            Message(name, b"%s-%d" % (key, i), sharding_key=key.decode()) for i in range(6) for key in (b"k1", b"k2")
        ]
        await send(broker, name, *sent)
        seen = Seen(answer)
        async with consumer(broker, name, name, seen, orderly=True):
            await seen.until(lambda seen: len(seen.bodies) == 13)
        by_key = defaultdict(list)
        for message in seen.messages:
            by_key[message.sharding_key].append(int(message.body[-1:]))
        assert by_key == {"k1": [0, 1, 2, 3, 3, 4, 5], "k2": [0, 1, 2, 3, 4, 5]}

    run(life())


def test_an_ordered_message_that_fails_too_often_becomes_a_dead_letter_and_the_next_goes_on(broker, name, run):
    async def life():
        seen = Seen(lambda message: ConsumeResult.LATER if message.body == b"1" else None)
        dead = Seen()
        await send(broker, name, *(Message(name, body, sharding_key="k") for body in (b"1", b"2")))
        async with consumer(broker, name, name, seen, orderly=True, retries=1):
            await seen.until(lambda seen: b"2" in seen.bodies)
            assert seen.bodies == [b"1", b"1", b"2"]
            async with consumer(broker, f"{name}-dead", f"%DLQ%{name}", dead):
                await dead.until(lambda seen: seen.bodies == [b"1"])

    run(life())


def test_an_ordered_queue_waits_until_its_owner_lets_it_go(broker, name, run):
    async def life():
        await send(broker, name, b"warm")
        one, two = Seen(), Seen()
        async with consumer(broker, name, name, one, orderly=True) as first:
            await one.until(lambda seen: seen.bodies)
            async with consumer(broker, name, name, two, orderly=True) as second:
                while len(first.assignment.queues) + len(second.assignment.queues) != 5 or not second.assignment.queues:
                    await asyncio.sleep(0.05)
            while len(first.assignment.queues) != 5:  # unlocked at its stop, not 60 s later
                await asyncio.sleep(0.05)

    run(life())


def test_a_queue_changes_hands_only_when_its_listener_has_ended(broker, name, run):
    async def life():
        active, go_on, overlaps = set(), asyncio.Event(), []

        async def listener(messages):
            queue_id = messages[0].queue_id
            overlaps.extend({queue_id} & active)
            active.add(queue_id)
            await go_on.wait()
            active.discard(queue_id)

        async with Producer(name, broker.name_server) as producer:
            for queue in await producer.queues(name):
                await producer.send(Message(name, b"x"), queue=queue)
        async with consumer(broker, name, name, listener, orderly=True) as first:
            while len(active) < 4:
                await asyncio.sleep(0.05)
            async with consumer(broker, name, name, listener, orderly=True) as second:
                while sum(queue.topic == name for queue in first.assignment.queues) != 2:
                    await asyncio.sleep(0.05)
                for _ in range(3):  # each asks for the locks at once
                    second.assignment.rebalance_soon()
                    await asyncio.sleep(0.1)
                assert not [queue for queue in second.assignment.queues if queue.topic == name]
                go_on.set()
                while sum(queue.topic == name for queue in second.assignment.queues) != 2:
                    await asyncio.sleep(0.05)
        assert overlaps == []

    run(life())


def test_every_member_of_a_broadcasting_group_gets_everything_and_goes_on_by_its_file(broker, name, run, tmp_path):
    async def life():
        await send(broker, name, b"1")
        options = {"broadcasting": True, "offset_folder": tmp_path}
        one, two, later = Seen(), Seen(), Seen()
        first = consumer(broker, name, name, one, client_id=f"{name}-1", **options)
        async with first, consumer(broker, name, name, two, client_id=f"{name}-2", **options):
            for each in (one, two):
                await each.until(lambda seen: seen.bodies == [b"1"])
        await send(broker, name, b"2")
        async with consumer(broker, name, name, later, client_id=f"{name}-1", **options):
            await later.until(lambda seen: seen.bodies)
        assert later.bodies == [b"2"] and (tmp_path / f"{name}-1" / name / "offsets.json").exists()

    run(life())


@pytest.mark.parametrize(
    ("subscription", "wanted"),
    [
        (("TagA || TagB",), [b"A1", b"B2"]),
        (("TagC",), [b"C3"]),
        (("price > 1 AND TAGS <> 'TagC'", SQL92), [b"B2"]),
        (("*",), [b"A1", b"B2", b"C3", b"none"]),
    ],
)
def test_subscriptions_choose_by_tags_or_sql(broker, name, run, subscription, wanted):
    async def life():
        tagged = [(b"A1", "TagA", "1"), (b"B2", "TagB", "2"), (b"C3", "TagC", "3"), (b"none", "", "0")]
        sent = [Message(name, body, tag, properties={"price": price}) for body, tag, price in tagged]
        await send(broker, name, *sent)
        seen = Seen()
        async with consumer(broker, name, name, seen, *subscription):
            await seen.until(lambda seen: len(seen.bodies) == len(wanted))
        assert sorted(seen.bodies) == wanted

    run(life())


def test_an_expression_that_does_not_parse_is_refused_at_the_start(broker, name, run):
    async def life():
        await send(broker, name, b"1")
        with pytest.raises(SubscriptionRefused):
            await consumer(broker, name, name, Seen(), "price >>> 1", SQL92).start()

    run(life())


def test_a_producer_and_a_consumer_go_on_when_their_broker_was_killed_and_is_back(broker, name, run):
    if broker.kind != "apache":
        pytest.skip("only a broker that the tests started here is killed")

    async def life():
        seen = Seen()
        async with Producer(name, broker.name_server) as producer:
            await producer.send(Message(name, b"before"))
            async with consumer(broker, name, name, seen):
                await seen.until(lambda seen: b"before" in seen.bodies)
                broker.kill_broker()
                with pytest.raises(ClientError):
                    await producer.send(Message(name, b"lost"), timeout=0.5)
                await asyncio.to_thread(broker.start_broker)
                await producer.send(Message(name, b"after"), timeout=20)
                await seen.until(lambda seen: b"after" in seen.bodies)

    run(life())


def test_delayed_messages_come_when_they_are_due(broker, name, run):
    async def life():
        sent = [Message(name, b"level", delay_level=1), Message(name, b"timer", delay_ms=1500), Message(name, b"now")]
        await send(broker, name, *sent)
        seen = Seen()
        async with consumer(broker, name, name, seen):
            await seen.until(lambda seen: len(seen.bodies) == 3)
        assert seen.bodies[0] == b"now"
        for message in seen.messages:
            if message.body != b"now":
                assert message.store_ms - message.born_ms >= 400

    run(life())


def test_listeners_that_run_are_waited_for_at_a_stop_and_their_offsets_are_kept(broker, name, run):
    async def life():
        await send(broker, name, b"slow")
        began, done = asyncio.Event(), []

        async def listener(messages):
            began.set()
            await asyncio.sleep(0.3)
            done.append(messages)

        async with consumer(broker, name, name, listener):
            await began.wait()
        assert done
        async with PullConsumer(name, broker.name_server) as puller:
            assert sum([await puller.committed(queue) or 0 for queue in await puller.queues(name)]) == 1

    run(life())
