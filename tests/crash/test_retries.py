"""Delayed retry over restarts and kills: who waits goes on waiting, for as long as it was to, and is there once."""

import contextlib
import random

import pika
import pytest

from tests.clients.broker import parameters, until
from tests.clients.deliveries import depth, drain, fill
from tests.crash.load import declare, publish
from tests.crash.returns import MESSAGES, SECONDS, killed_during_returns
from tests.crash.test_restart import ENDINGS

ROUNDS = 3
WAIT_MS = 5000  # longer than a restart takes


def queue_with_retries(broker, queue: str, least_ms: int, most_ms: int) -> None:
    """A quorum queue of that name."""
    arguments = {"x-queue-type": "quorum", "x-delayed-retry-type": "all"}
    arguments |= {"x-delayed-retry-min": least_ms, "x-delayed-retry-max": most_ms}
    with pika.BlockingConnection(parameters(broker)) as connection:
        connection.channel().queue_declare(queue, durable=True, arguments=arguments)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda each: each.__name__)
def test_who_waits_goes_on_waiting_after_a_restart(broker, ending):
    broker.start()
    queue_with_retries(broker, "q", WAIT_MS, WAIT_MS)
    declare(broker.port, "other")
    publish(broker.port, "q", [b"0", b"1", b"2"])
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.basic_get("q")
    channel.basic_nack(channel.basic_get("q")[0].delivery_tag)
    channel.basic_ack(1)
    fill(channel, "other", [b"x"], delivery_mode=2)  # its confirm comes with what was said before
    with contextlib.suppress(pika.exceptions.AMQPError):
        connection.close()
    ending(broker)
    broker.start()
    with pika.BlockingConnection(parameters(broker)) as connection:
        channel = connection.channel()
        assert depth(channel, "q") == 1 and broker.metric("mq_messages_waiting_for_retry") == 1
        until(lambda: depth(channel, "q") == 2, 2 * WAIT_MS / 1000, "the wait is over")
        got = drain(channel, "q")
        assert [(each.body, each.properties.headers) for each in got] == [
            (b"1", {"x-delivery-count": 1}), (b"2", {"x-delivery-count": 0})
        ]  # fmt: skip


@pytest.mark.timeout(240)
def test_each_message_is_there_once_after_kill_9_and_comes_again(broker):
    rng = random.Random("retries")
    broker.start()
    queue_with_retries(broker, "work", 2000, 2500)
    declare(broker.port, "markers")
    waited = 0
    for _ in range(ROUNDS):
        returner = killed_during_returns(broker, rng.randrange(30, 110))
        waited += broker.metric("mq_messages_waiting_for_retry")
        until(lambda: broker.metric("mq_messages_waiting_for_retry") == 0, SECONDS, "all waits are over")
        with pika.BlockingConnection(parameters(broker)) as connection:
            got = drain(connection.channel(), "work")
        found = {each.body: each.properties.headers["x-delivery-count"] for each in got}
        assert len(found) == len(got), "twice"
        returner.check(found)
        assert [each.body for each in got] == sorted(found, key=MESSAGES.index), "not in their places"
    assert waited > 10
