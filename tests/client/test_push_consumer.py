"""Push consumers at a real broker: everything is delivered, shared, ordered, filtered, retried and committed."""

import asyncio
import threading
from collections import defaultdict
from contextlib import asynccontextmanager

import pytest

from corduroy.client.assignment import ConsumeFrom
from corduroy.client.codes import Request, Response
from corduroy.client.errors import SubscriptionRefused
from corduroy.client.frames import Frame
from corduroy.client.listening import ConsumeResult
from corduroy.client.messages import Message
from corduroy.client.producer import Producer
from corduroy.client.pull_consumer import PullConsumer
from corduroy.client.push_consumer import PushConsumer
from corduroy.client.subscriptions import SQL92
from tests.client.fake import Fake, refuse


class Seen:
    """A listener that keeps what it gets; `fail` says what to answer."""

    def __init__(self, answer=lambda message: None):
        self.messages = []
        self.answer = answer
        self.changed = asyncio.Event()

    async def __call__(self, messages):
        self.messages += messages
        self.changed.set()
        answers = [self.answer(message) for message in messages]
        return next((each for each in answers if each is not None), None)

    @property
    def bodies(self):
        return [message.body for message in self.messages]

    async def until(self, condition):
        while not condition(self):
            self.changed.clear()
            await self.changed.wait()


def consumer(broker, group, topic, listener, *subscription, **options):
    """A push consumer of one topic."""
    options.setdefault("consume_from", ConsumeFrom.FIRST)
    made = PushConsumer(group, listener, broker.name_server, **options)
    made.subscribe(topic, *subscription)
    return made


async def send(broker, topic, *messages):
    """Send bodies or messages to it."""
    async with Producer(topic, broker.name_server) as producer:
        return [await producer.send(each if isinstance(each, Message) else Message(topic, each)) for each in messages]


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


@pytest.mark.parametrize(
    ("consume_from", "first"), [(ConsumeFrom.LAST, 50), (ConsumeFrom.FIRST, 0), (ConsumeFrom.TIMESTAMP, 7)]
)
def test_a_new_group_begins_where_it_is_told(run, consume_from, first):
    async def life():
        async with fake_broker() as (fake, pulls):
            options = {"consume_from": consume_from, "from_ms": 1234}
            async with consumer(fake, "g", "t", Seen(), client_id="me", **options):
                assert (await pulls.get()).fields["queueOffset"] == str(first)
            asked = [frame for frame in fake.seen if frame.code == Request.SEARCH_OFFSET_BY_TIMESTAMP]
            assert [frame.fields["timestamp"] for frame in asked] == ["1234"] * (first == 7)

    run(life())


def test_an_offset_that_is_not_there_is_replaced_by_the_brokers(run):
    async def life():
        async with fake_broker() as (fake, pulls):
            said = {"nextBeginOffset": "20", "minOffset": "20", "maxOffset": "50"}
            fake.answers[Request.PULL_MESSAGE] = lambda frame: (
                pulls.put_nowait(frame)
                or (Frame(Response.PULL_OFFSET_MOVED, dict(said)) if frame.fields["queueOffset"] == "0" else None)
            )
            async with consumer(fake, "g", "t", Seen(), client_id="me"):
                assert [(await pulls.get()).fields["queueOffset"] for _ in range(2)] == ["0", "20"]
                committed = [f.fields for f in fake.seen if f.code == Request.UPDATE_CONSUMER_OFFSET]
                assert [fields["commitOffset"] for fields in committed] == ["20"]

    run(life())


def test_a_broker_may_send_a_group_back_while_it_reads(run):
    async def life():
        async with fake_broker() as (fake, pulls):
            reader = consumer(fake, "g", "t", Seen(), client_id="me", consume_from=ConsumeFrom.LAST)
            async with reader:
                parked = await pulls.get()
                assert parked.fields["queueOffset"] == "50"
                queue = '{"brokerName":"a","queueId":0,"topic":"t"}'
                fake.ask(Frame(220, {"group": "g", "topic": "t"}, b'{"offsetTable":{%s:33}}' % queue.encode(), flag=2))
                while not [f for f in fake.seen if f.fields.get("commitOffset") == "33"]:
                    await asyncio.sleep(0.01)
                said = {"nextBeginOffset": "50", "minOffset": "0", "maxOffset": "50"}
                fake.ask(Frame(Response.PULL_NOT_FOUND, said, opaque=parked.opaque, flag=1))  # of before: not wanted
                assert (await pulls.get()).fields["queueOffset"] == "33"

    run(life())


@asynccontextmanager
async def fake_broker():
    """(a broker whose one queue has 50 messages and nothing to give, the pulls that it gets)."""
    pulls = asyncio.Queue()
    async with Fake() as fake:
        fake.name_server = fake.address
        fake.route(("a", fake))
        offsets = {Request.GET_MAX_OFFSET: "50", Request.SEARCH_OFFSET_BY_TIMESTAMP: "7"}
        for code, offset in offsets.items():
            fake.answers[code] = lambda frame, offset=offset: Frame(0, {"offset": offset})
        fake.answers[Request.QUERY_CONSUMER_OFFSET] = refuse(Response.QUERY_NOT_FOUND)
        fake.answers[Request.GET_CONSUMER_LIST_BY_GROUP] = lambda frame: Frame(0, body=b'{"consumerIdList":["me"]}')

        def parked(frame):
            if frame.fields["topic"] == "t":
                pulls.put_nowait(frame)

        fake.answers[Request.PULL_MESSAGE] = parked
        yield fake, pulls


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
