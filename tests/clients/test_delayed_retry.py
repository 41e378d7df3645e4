"""Delayed retry of quorum queues, by the names of RabbitMQ 4.3: what is given back comes again later, and later."""

import itertools
import time

import pika
import pytest

from tests.clients.broker import until
from tests.clients.deliveries import Inbox, depth, fill, pump
from tests.clients.test_policies import policy, ready, reload

pytestmark = pytest.mark.ours  # RabbitMQ has it from 4.3 on
SLACK_SECONDS = 0.7  # a busy machine's


@pytest.fixture
def queue(connection, channel, name):
    """queue(**arguments) declares a quorum queue of the test's own, and returns its name."""

    def declare(kind="failed", least=300, **arguments):
        table = {"x-queue-type": "quorum", "x-delayed-retry-type": kind, "x-delayed-retry-min": least}
        table |= {key.replace("_", "-"): value for key, value in arguments.items()}
        channel.queue_declare(name, durable=True, arguments=table)
        return name

    yield declare
    connection.channel().queue_delete(name)


NACK, REJECT = (lambda channel, tag: channel.basic_nack(tag)), (lambda channel, tag: channel.basic_reject(tag))


@pytest.mark.parametrize("give_back", [NACK, REJECT], ids=["nack", "reject"])
def test_each_wait_is_longer_up_to_the_most(connection, channel, queue, give_back):
    name = queue(x_delayed_retry_max=700)
    inbox, times = Inbox(), []
    channel.basic_consume(name, lambda *delivery: (times.append(time.monotonic()), inbox(*delivery)))
    fill(channel, name, [b"x"], delivery_mode=2)
    for count in range(1, 5):
        inbox.wait(connection, count)
        give_back(channel, inbox.tags[-1])
    waits = [after - before for before, after in itertools.pairwise(times)]
    for wait, expected in zip(waits, (0.3, 0.6, 0.7), strict=True):
        assert expected - 0.01 <= wait < expected + SLACK_SECONDS
    assert [(each.properties.headers or {}).get("x-delivery-count") for each in inbox.got] == [None, 1, 2, 3]
    assert [each.method.redelivered for each in inbox.got] == [False, True, True, True]


def test_others_are_served_meanwhile_and_it_is_neither_ready_nor_unacknowledged(broker, connection, channel, queue):
    name = queue(least=60_000)
    fill(channel, name, [b"0", b"1", b"2"], delivery_mode=2)
    before = broker.metric("mq_messages_waiting_for_retry")
    channel.basic_nack(channel.basic_get(name)[0].delivery_tag)
    until(lambda: broker.metric("mq_messages_waiting_for_retry") == before + 1)
    assert depth(channel, name) == 2
    assert [channel.basic_get(name, auto_ack=True)[2] for _ in range(2)] == [b"1", b"2"]
    assert channel.basic_get(name)[0] is None
    assert channel.queue_purge(name).method.message_count == 0
    assert broker.metric("mq_messages_waiting_for_retry") == before + 1


@pytest.mark.parametrize(
    ("kind", "asked", "left"), [("disabled", 1, 1), ("all", 0, 0), ("failed", 0, 1), ("returned", 1, 0)]
)
def test_which_of_those_that_come_back_wait(connect, channel, queue, kind, asked, left):
    name = queue(kind, least=60_000)
    fill(channel, name, [b"x"], delivery_mode=2)
    channel.basic_reject(channel.basic_get(name)[0].delivery_tag)
    assert depth(channel, name) == asked
    fill(channel, name, [b"y"], delivery_mode=2)
    other = connect()
    bodies = [other.channel().basic_get(name)[2] for _ in range(asked + 1)]
    other.close()
    assert bodies[-1] == b"y"
    until(lambda: depth(channel, name) == (asked + 1) * left)


def test_recover_is_no_failure(channel, queue):
    name = queue("failed", least=60_000)
    fill(channel, name, [b"x"], delivery_mode=2)
    assert channel.basic_get(name)[2] == b"x"
    channel.basic_recover(requeue=True)
    assert depth(channel, name) == 1


def test_the_delivery_limit_ends_it_with_a_dead_letter(connection, channel, queue, name):
    channel.queue_declare(name + ".dead", exclusive=True)
    queue(least=50, x_delivery_limit=2, x_dead_letter_exchange="", x_dead_letter_routing_key=name + ".dead")
    inbox, dead = Inbox(), Inbox()
    channel.basic_consume(name, lambda *delivery: (inbox(*delivery), channel.basic_nack(inbox.tags[-1])))
    channel.basic_consume(name + ".dead", dead, auto_ack=True)
    fill(channel, name, [b"x"], delivery_mode=2)
    assert dead.wait(connection, 1) == [b"x"]
    assert len(inbox.got) == 3
    assert dead.got[0].properties.headers["x-death"][0]["reason"] == "delivery_limit"


def test_a_rolled_back_reject_does_not_wait_and_a_committed_one_does(connection, channel, queue):
    name = queue(least=60_000)
    fill(channel, name, [b"x"], delivery_mode=2)
    other = connection.channel()
    other.tx_select()
    tag = other.basic_get(name)[0].delivery_tag
    other.basic_reject(tag)
    other.tx_rollback()
    other.basic_reject(tag)
    assert depth(channel, name) == 0
    other.tx_commit()
    other.close()
    pump(connection, lambda: channel.basic_get(name)[0] is None)


def test_an_expiration_meets_it_when_its_wait_is_over(channel, queue):
    name = queue(least=300)
    fill(channel, name, [b"x"], delivery_mode=2, expiration="100")
    fill(channel, name, [b"y"], delivery_mode=2)
    channel.basic_nack(channel.basic_get(name)[0].delivery_tag)
    deadline = time.monotonic() + 0.5
    pump(channel.connection, lambda: time.monotonic() > deadline)
    assert depth(channel, name) == 1 and channel.basic_get(name, auto_ack=True)[2] == b"y"


@pytest.mark.parametrize(
    ("name_of", "value", "text"),
    [
        ("x-delayed-retry-type", "sometimes", ": invalid_delayed_retry_type"),
        ("x-delayed-retry-type", 1, ": {{unacceptable_type,signedint}}"),
        ("x-delayed-retry-min", -1, ": {{value_negative,-1}}"),
        ("x-delayed-retry-min", 0, ": {{value_zero,0}}"),
        ("x-delayed-retry-max", "1", ': "expected integer, got longstr"'),
    ],
)
def test_values_that_cannot_be_are_refused(channel, name, name_of, value, text):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum", name_of: value})
    assert refusal.value.reply_code == 406
    assert refusal.value.reply_text == (
        f"PRECONDITION_FAILED - invalid arg '{name_of}' for queue '{name}' in vhost '/'" + text.format()
    )


@pytest.mark.parametrize("argument", ["x-delayed-retry-type", "x-delayed-retry-min", "x-delayed-retry-max"])
def test_a_classic_queue_has_none(channel, name, argument):
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refusal:
        channel.queue_declare(name, durable=True, arguments={argument: 1})
    assert refusal.value.reply_text.endswith(f"invalid arg '{argument}' for queue '{name}' in vhost '/' of queue type "
                                             "rabbit_classic_queue")  # fmt: skip


def test_a_policy_begins_and_ends_it(start_broker, open_channel):
    waits = {"delayed-retry-type": "all", "delayed-retry-min": 60_000, "delayed-retry-max": 90_000}
    broker = start_broker(definitions={"policies": [policy("p", "^q$", waits, "quorum_queues")]})
    channel = open_channel(broker)
    channel.queue_declare("q", durable=True, arguments={"x-queue-type": "quorum"})
    for body in (b"0", b"1"):
        channel.basic_publish("", "q", body, pika.BasicProperties(delivery_mode=2))
    until(lambda: ready(channel, "q") == 2)
    channel.basic_nack(channel.basic_get("q")[0].delivery_tag)
    assert ready(channel, "q") == 1
    reload(broker)
    channel.basic_nack(channel.basic_get("q")[0].delivery_tag)
    assert ready(channel, "q") == 1
    assert broker.metric("mq_messages_waiting_for_retry") == 1
