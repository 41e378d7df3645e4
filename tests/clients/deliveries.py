"""What arrives at a pika blocking channel, gathered until it is enough or too late."""

import time
from typing import NamedTuple

import pika

GATHER_SECONDS = 10


class Delivery(NamedTuple):
    """One delivery as pika's callback gets it, without the channel."""

    method: object
    properties: object
    body: bytes


class Inbox:
    """A consumer's callback that keeps what it gets, in order."""

    def __init__(self, ack: bool = False):
        self.got: list[Delivery] = []
        self._ack = ack

    def __call__(self, channel, method, properties, body):
        self.got.append(Delivery(method, properties, body))
        if self._ack:
            channel.basic_ack(method.delivery_tag)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies in order."""
        return [each.body for each in self.got]

    @property
    def tags(self) -> list[int]:
        """The delivery tags in order."""
        return [each.method.delivery_tag for each in self.got]

    def wait(self, connection, count: int, seconds: float = GATHER_SECONDS) -> list[bytes]:
        """Let the connection work until `count` deliveries are here; return all bodies."""
        pump(connection, lambda: len(self.got) >= count, seconds, lambda: f"{len(self.got)} of {count} deliveries")
        return self.bodies


def pump(connection, condition, seconds: float = GATHER_SECONDS, what=lambda: "condition") -> None:
    """Run a blocking connection's events until `condition()`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what()} within {seconds} s"
        connection.process_data_events(0.05)


def depth(channel, queue: str) -> int:
    """Messages ready in the queue, as a passive declare tells."""
    return channel.queue_declare(queue, passive=True).method.message_count


def fill(channel, queue: str, bodies, **properties) -> None:
    """Publish each body to the queue, each confirmed before the next."""
    confirming = channel.connection.channel()
    confirming.confirm_delivery()
    for body in bodies:
        confirming.basic_publish("", queue, body, pika.BasicProperties(**properties))
    confirming.close()


def pour(channel, queue: str, bodies: list[bytes], **properties) -> None:
    """Publish all to the queue and wait for the last one's confirm: what a queue takes it takes in order."""
    confirming = channel.connection.channel()
    for body in bodies[:-1]:
        confirming.basic_publish("", queue, body, pika.BasicProperties(**properties))
    confirming.confirm_delivery()
    confirming.basic_publish("", queue, bodies[-1], pika.BasicProperties(**properties))
    confirming.close()


def drain(channel, queue: str) -> list[Delivery]:
    """Take everything that is ready, by basic.get without acks."""
    got = []
    while (answer := channel.basic_get(queue, auto_ack=True))[0] is not None:
        got.append(Delivery(*answer))
    return got
