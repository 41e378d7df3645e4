"""kill -9 under rejects and expiries: each confirmed message is in exactly one of source and dead letter queue."""

import random

import pytest
from pika import spec

from tests.clients.broker import until
from tests.clients.raw import RawConnection, encode_method
from tests.crash.load import Load, Producer, contents, identity

ROUNDS = 4
SECONDS = 30
KEYS = ["work", "short", "both"]  # rejected by a consumer; expires; expires in one, is rejected in the other


class Rejecter(Load):
    """Rejects what it gets, every third time several at once."""

    def __init__(self):
        super().__init__()
        self.rejected = 0

    def work(self):
        self.client.call(spec.Basic.Qos(prefetch_count=30), spec.Basic.QosOk)
        self.client.send_method(spec.Basic.Consume(queue="work", nowait=True), 1)
        while True:
            method = self.next_method()
            self.client.read_content()
            self.rejected += 1
            if method.delivery_tag % 3 == 0:
                nack = spec.Basic.Nack(delivery_tag=method.delivery_tag, multiple=True, requeue=False)
                self.client.send(encode_method(nack, 1))


def set_up(port: int) -> None:
    """work and short, whose dead letters go to queues of their own; `both` reaches the two."""
    client = RawConnection(port).open()

    def declare(queue, **arguments):
        client.call(spec.Queue.Declare(queue=queue, durable=True, arguments=arguments), spec.Queue.DeclareOk)

    for queue, more in (("work", {}), ("short", {"x-message-ttl": 15})):
        to = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{queue}.dead"}
        declare(queue, **to, **more)
        declare(f"{queue}.dead")
    client.call(spec.Exchange.Declare(exchange="x", type="topic", durable=True), spec.Exchange.DeclareOk)
    for queue in ("work", "short"):
        for key in (queue, "both"):
            client.call(spec.Queue.Bind(queue=queue, exchange="x", routing_key=key), spec.Queue.BindOk)
    client.close()


def check(port: int, confirmed: dict[int, int], sent: dict[int, int]) -> int:
    """Hold the four queues against what was confirmed; return how many letters there are."""
    letters = 0
    for queue, producers in (("work", (0, 2)), ("short", (1, 2))):
        dead = [identity(each) for each in contents(port, f"{queue}.dead")]
        found = sorted([identity(each) for each in contents(port, queue)] + dead)
        letters += len(dead)
        assert len(found) == len(set(found)), f"{queue}: in both queues, or twice in one"
        for producer in producers:
            numbers = [number for who, number in found if who == producer]
            assert numbers == list(range(1, len(numbers) + 1)), f"{queue}: a gap, producer {producer}"
            assert confirmed[producer] <= len(numbers) <= sent[producer]
    return letters


@pytest.mark.timeout(240)
def test_a_dead_letter_is_in_exactly_one_place_after_kill_9(broker):
    rng = random.Random("letters")
    broker.start()
    set_up(broker.port)
    letters = 0
    for round_number in range(ROUNDS):
        rejecter = Rejecter()
        producers = [Producer(each, "x", KEYS[each], 1, round_number) for each in range(3)]
        for each in (*producers, rejecter):
            each.attach(broker.port)
        goal = rng.randrange(100, 1500)
        until(
            lambda: rejecter.rejected >= goal and sum(each.confirmed for each in producers) >= 2 * goal,  # noqa: B023
            SECONDS,
            "rejects",
        )
        broker.kill9()
        for each in (*producers, rejecter):
            each.join(10)
            assert not each.is_alive() and each.failure is None, each.failure
        broker.start()
        letters += check(
            broker.port,
            {each.identifier: each.confirmed for each in producers},
            {each.identifier: each.next - 1 for each in producers},
        )
        client = RawConnection(broker.port).open()
        for queue in ("work", "short", "work.dead", "short.dead"):
            client.call(spec.Queue.Purge(queue=queue), spec.Queue.PurgeOk)
        client.close()
    assert letters > 100
