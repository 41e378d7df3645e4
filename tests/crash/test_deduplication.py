"""Deduplication under kill -9: a key that was confirmed is known afterwards, and no key without its message."""

import os
import random
import shutil

import pika
import pytest

from tests.clients.broker import parameters, until
from tests.clients.deliveries import drain
from tests.crash.segments import records
from tests.crash.test_verify import SMALL, verify

KEY, KIND = "x-deduplication-header", "x-message-deduplication"
DISK = {"x-cache-size": 1000, "x-cache-persistence": "disk"}


def properties(key):
    return pika.BasicProperties(delivery_mode=2, headers={KEY: key})


def channel_of(broker):
    channel = pika.BlockingConnection(parameters(broker)).channel()
    channel.confirm_delivery()
    return channel


def declare(channel):
    channel.exchange_declare("disk", KIND, durable=True, arguments=DISK)
    channel.exchange_declare("memory", KIND, durable=True, arguments={"x-cache-size": 1000})
    for name in ("disk", "memory"):
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, name)
    channel.queue_declare("once", durable=True, arguments={KIND: True})


def read(channel, queue):
    return [each.body.decode() for each in drain(channel, queue)]


@pytest.mark.parametrize("lost", ["nothing", "state"])
def test_a_confirmed_key_is_known_after_a_kill(broker, lost):
    broker.start()
    channel = channel_of(broker)
    declare(channel)
    for number in range(300):
        for exchange, key in (("disk", ""), ("memory", ""), ("", "once")):
            channel.basic_publish(exchange, key, b"%d" % number, properties(number))
    assert len(read(channel, "disk")) == 300
    channel.queue_declare("later", durable=True)  # its commit takes these acks along
    for number in range(0, 300, 3):
        method, _, body = channel.basic_get("once")
        assert int(body) == number // 3
        channel.basic_ack(method.delivery_tag)
    channel.close()  # the acks are on their way
    broker.kill9()
    if lost == "state":
        shutil.rmtree(broker.data / "state")
    broker.start()
    channel = channel_of(broker)
    held = set(read_held(channel))
    for number in range(310):
        for exchange, key in (("disk", ""), ("memory", ""), ("", "once")):
            channel.basic_publish(exchange, key, b"again %d" % number, properties(number))
    assert read(channel, "disk") == [f"again {number}" for number in range(300, 310)]
    assert len(read(channel, "memory")) == 300 + 310
    assert set(read(channel, "once")) == {str(number) for number in held} | {
        f"again {number}" for number in range(310) if number not in held
    }


def read_held(channel):
    """The numbers in `once`, which stay there."""
    numbers = []
    while (answer := channel.basic_get("once"))[0] is not None:
        numbers.append(int(answer[2]))
    channel.basic_nack(0, multiple=True)
    assert set(range(100, 300)) <= set(numbers)
    return numbers


def test_what_was_not_confirmed_can_be_sent_again_and_arrives_once(broker):
    broker.start()
    channel = channel_of(broker)
    declare(channel)
    channel.connection.close()
    chance = random.Random(7)
    for life in range(4):
        flood = pika.BlockingConnection(parameters(broker)).channel()
        for number in range(chance.randrange(200, 600)):
            flood.basic_publish("disk", "", f"{life} {number}".encode(), properties(f"{life} {number}"))
        broker.kill9()
        broker.start()
        channel = channel_of(broker)
        for number in range(600):  # what a publisher does that got no confirms
            channel.basic_publish("disk", "", f"{life} {number}".encode(), properties(f"{life} {number}"))
        assert sorted(read(channel, "disk")) == sorted(f"{life} {number}" for number in range(600))
        channel.queue_declare(f"later {life}", durable=True)  # its commit takes the acks along
        channel.connection.close()


def test_keys_outlive_the_segments_that_their_messages_were_in(broker):
    broker.options += ["log.segment_bytes=1048576", "log.checkpoint_bytes=262144", "log.keep_bytes=0"]
    broker.options += ["log.ahead_bytes=65536", "log.batch_bytes=65536"]
    broker.start()
    channel = channel_of(broker)
    declare(channel)
    for number in range(100):
        channel.basic_publish("disk", "", os.urandom(60_000), properties(number))
        channel.basic_get("disk", auto_ack=True)
    channel.queue_declare("later", durable=True)  # its commit takes the last ack along
    until(lambda: int(records(broker.data)[0].file.name) > 2 << 20, 20, "segments are freed")
    broker.kill9()
    shutil.rmtree(broker.data / "state")
    broker.start()
    channel = channel_of(broker)
    for number in range(101):
        channel.basic_publish("disk", "", b"%d" % number, properties(number))
    assert read(channel, "disk") == ["100"]


def test_verify_finds_the_keys_that_the_log_says(broker):
    broker.options += [*SMALL, "log.checkpoint_seconds=1"]
    broker.start()
    channel = channel_of(broker)
    declare(channel)
    for number in range(1500):  # the exchange remembers 1000
        channel.basic_publish("disk", "", b"x" * 100, properties(number))
    channel.connection.close()
    assert verify(broker.data)[0] == 0  # beside the running broker
    broker.kill9()
    assert verify(broker.data)[0] == 0
    broker.start()
    broker.stop()
    assert verify(broker.data)[0] == 0
