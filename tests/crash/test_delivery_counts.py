"""kill -9 in the middle of returns: what came back before something that was confirmed has been counted, for good."""

import random
from collections import Counter

import pika
import pytest
from pika import spec

from tests.clients.broker import parameters, until
from tests.clients.raw import encode_content, encode_method
from tests.crash.load import PERSISTENT, Load, declare, publish

ROUNDS = 4
SECONDS = 30
MESSAGES = [b"m%d" % number for number in range(40)]
RETURNS_PER_MARKER = 7


class Returner(Load):
    """Gives back what it gets, and acks one in fifty. A marker that is confirmed makes what went before it safe."""

    def __init__(self):
        super().__init__()
        self.returned: Counter[bytes] = Counter()
        self.safe: Counter[bytes] = Counter()
        self.acked: set[bytes] = set()

    def work(self):
        self.client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
        self.client.call(spec.Basic.Qos(prefetch_count=10), spec.Basic.QosOk)
        self.client.send_method(spec.Basic.Consume(queue="work", nowait=True), 1)
        marker = encode_method(spec.Basic.Publish(exchange="", routing_key="markers"), 1)
        marker += encode_content(1, b"marker", PERSISTENT)
        unsafe: list[list[bytes]] = [[]]
        confirmed = seen = 0
        while True:
            method = self.next_method()
            if isinstance(method, spec.Basic.Ack):
                for _ in range(method.delivery_tag - confirmed):
                    self.safe.update(unsafe.pop(0))
                confirmed = method.delivery_tag
                continue
            _, body = self.client.read_content()
            seen += 1
            if seen % 50 == 0 and len(self.acked) < len(MESSAGES) // 2:
                self.acked.add(body)
                self.client.send_method(spec.Basic.Ack(delivery_tag=method.delivery_tag), 1)
                continue
            self.returned[body] += 1
            unsafe[-1].append(body)
            self.client.send_method(spec.Basic.Nack(delivery_tag=method.delivery_tag), 1)
            if len(unsafe[-1]) == RETURNS_PER_MARKER:
                self.client.send(marker)
                unsafe.append([])


@pytest.mark.timeout(240)
def test_counts_before_a_confirm_survive_kill_9(broker):
    rng = random.Random("counts")
    broker.start()
    with pika.BlockingConnection(parameters(broker)) as connection:
        connection.channel().queue_declare("work", durable=True, arguments={"x-queue-type": "quorum"})
    declare(broker.port, "markers")
    for round_number in range(ROUNDS):
        publish(broker.port, "work", MESSAGES)
        returner = Returner()
        returner.attach(broker.port)
        goal = rng.randrange(200, 4000)
        until(lambda: returner.safe.total() >= goal, SECONDS, "returns")  # noqa: B023
        broker.kill9()
        returner.join(10)
        assert not returner.is_alive() and returner.failure is None, returner.failure
        broker.start()
        found = {}
        with pika.BlockingConnection(parameters(broker)) as connection:
            channel = connection.channel()
            while (answer := channel.basic_get("work", auto_ack=True))[0] is not None:
                assert answer[2] not in found, "twice"
                found[answer[2]] = answer[1].headers["x-delivery-count"]
        assert found.keys() >= set(MESSAGES) - returner.acked
        for body, count in found.items():
            assert returner.safe[body] <= count <= returner.returned[body], f"round {round_number}, {body}"
        assert sum(found.values()) > 0
