"""Messages that expire before one in front of them, over restarts and kills: gone for good, or in one place."""

import contextlib
import random
import time

import pika
import pytest
from pika import spec

from tests.clients.broker import parameters, until
from tests.clients.deliveries import depth, drain
from tests.clients.raw import RawConnection, encode_content
from tests.crash.load import Producer, body, declare, identity
from tests.crash.test_restart import ENDINGS

ROUNDS = 4
SECONDS = 30
LIFE_MS_MAX = 400  # so that at a kill some wait, some expire and some have


def publish(broker, queue, lives, **properties):
    """One message for each time to live in ms, None = for ever, whose body is its number; all confirmed."""
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.confirm_delivery()
    for number, ms in enumerate(lives):
        expiration = None if ms is None else str(ms)
        channel.basic_publish(
            "", queue, b"%d" % number, pika.BasicProperties(delivery_mode=2, expiration=expiration, **properties)
        )
    connection.close()


@pytest.mark.parametrize("arguments", [{}, {"x-max-priority": 3}], ids=["plain", "priorities"])
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda each: each.__name__)
def test_what_expired_stays_gone_and_what_did_not_yet_does(broker, ending, arguments):
    broker.start()
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    channel.queue_declare("q", durable=True, arguments=arguments)
    channel.queue_declare("waits", durable=True)
    publish(broker, "q", [None, 100, 6000, None, 100])
    until(lambda: depth(channel, "q") == 3)
    publish(broker, "waits", [None])  # its confirm comes with or after what was settled
    with contextlib.suppress(pika.exceptions.AMQPError):
        connection.close()
    ending(broker)
    broker.start()
    connection = pika.BlockingConnection(parameters(broker))
    channel = connection.channel()
    assert depth(channel, "q") == 3
    until(lambda: depth(channel, "q") == 2, what="the third expires after the start")
    assert [each.body for each in drain(channel, "q")] == [b"0", b"3"]
    connection.close()


class MortalProducer(Producer):
    """Every third message lives for ever, the others for some time."""

    def content(self) -> bytes:
        life = b"%d" % self.rng.randrange(1, LIFE_MS_MAX)
        mortal = b"\x11\x00\x02" + bytes([len(life)]) + life  # persistent, with an expiration
        properties = mortal if self.next % 3 else b"\x10\x00\x02"
        return encode_content(1, body(self.identifier, self.next, self.rng), properties)


def depths(port: int, *queues: str) -> list[int]:
    client = RawConnection(port).open()
    found = [client.call(spec.Queue.Declare(queue=each, passive=True), spec.Queue.DeclareOk) for each in queues]
    client.close()
    return [each.message_count for each in found]


def taken(broker, queue: str) -> list[bytes]:
    """All that is in the queue and has not expired, in order; it is empty then."""
    connection = pika.BlockingConnection(parameters(broker))
    bodies = [each.body for each in drain(connection.channel(), queue)]
    connection.close()
    return bodies


@pytest.mark.timeout(240)
def test_each_confirmed_message_is_in_one_place_after_kill_9(broker):
    rng = random.Random("expiry")
    broker.start()
    declare(broker.port, "dead")
    client = RawConnection(broker.port).open()
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    client.call(spec.Queue.Declare(queue="q", durable=True, arguments=arguments), spec.Queue.DeclareOk)
    client.close()
    died = 0
    for round_number in range(ROUNDS):
        declare(broker.port, f"round {round_number}")  # its commit takes along what was taken in the round before
        producers = [MortalProducer(each, "", "q", 1, round_number) for each in range(2)]
        for each in producers:
            each.attach(broker.port)
        goal = rng.randrange(200, 2000)
        until(lambda: depths(broker.port, "dead")[0] >= goal, SECONDS, "dead letters")  # noqa: B023
        broker.kill9()
        for each in producers:
            each.join(10)
            assert not each.is_alive() and each.failure is None, each.failure
        over = time.monotonic() + LIFE_MS_MAX / 1000 + 0.1
        broker.start()
        there = sum(depths(broker.port, "q", "dead"))
        until(lambda: time.monotonic() > over)  # noqa: B023
        found = [identity(each) for each in taken(broker, "q")]
        until(lambda: depths(broker.port, "dead")[0] >= there - len(found), SECONDS, "all die")  # noqa: B023
        dead = [identity(each) for each in taken(broker, "dead")]
        died += len(dead)
        assert all(number % 3 == 0 for _, number in found) and all(number % 3 for _, number in dead)
        for each in producers:
            alive = [number for who, number in found if who == each.identifier]
            assert alive == sorted(alive)
            numbers = sorted(number for who, number in found + dead if who == each.identifier)
            assert numbers == list(range(1, len(numbers) + 1)), f"lost or twice, producer {each.identifier}"
            assert each.confirmed <= len(numbers) < each.next
    assert died > 500
