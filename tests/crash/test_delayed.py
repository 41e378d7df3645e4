"""kill -9 while delayed messages wait and fire: each confirmed one is there exactly once, waiting or where it goes."""

import random

import pytest
from pika import spec

from tests.clients.broker import until
from tests.clients.raw import RawConnection, encode_content
from tests.crash.load import Producer, body, contents, declare, identity

ROUNDS = 4
SECONDS = 30
DELAY_MS_MAX = 400  # so that at a kill some wait, some fire and some have arrived
QUEUES = ["one", "two"]  # both of them take every message


def delayed(delay_ms: int) -> bytes:
    """Flags and properties of a persistent message with this x-delay."""
    table = b"\x07x-delayI" + delay_ms.to_bytes(4, "big")
    return b"\x30\x00" + len(table).to_bytes(4, "big") + table + b"\x02"


class DelayingProducer(Producer):
    """Publishes with delays of all lengths."""

    def content(self) -> bytes:
        properties = delayed(self.rng.randrange(1, DELAY_MS_MAX))
        return encode_content(1, body(self.identifier, self.next, self.rng), properties)


def set_up(port: int) -> None:
    """An exchange of the type x-delayed-message in front of both queues."""
    declare(port, *QUEUES)
    client = RawConnection(port).open()
    arguments = {"x-delayed-type": "fanout"}
    exchange = spec.Exchange.Declare(exchange="x", type="x-delayed-message", durable=True, arguments=arguments)
    client.call(exchange, spec.Exchange.DeclareOk)
    for queue in QUEUES:
        client.call(spec.Queue.Bind(queue=queue, exchange="x"), spec.Queue.BindOk)
    client.close()


def depths(port: int) -> list[int]:
    client = RawConnection(port).open()
    found = [client.call(spec.Queue.Declare(queue=each, passive=True), spec.Queue.DeclareOk) for each in QUEUES]
    client.close()
    return [each.message_count for each in found]


def settled(broker, confirmed: int) -> bool:
    """Whether everything that was confirmed may have fired."""
    return broker.metric("mq_messages_delayed") == 0 and min(depths(broker.port)) >= confirmed


@pytest.mark.timeout(240)
def test_each_confirmed_delayed_message_fires_exactly_once_over_kills(broker):
    rng = random.Random("delays")
    broker.start()
    set_up(broker.port)
    waiting = fired = 0
    for round_number in range(ROUNDS):
        producers = [DelayingProducer(each, "x", "", 1, round_number) for each in range(2)]
        for each in producers:
            each.attach(broker.port)
        goal = rng.randrange(200, 2000)
        until(lambda: min(depths(broker.port)) >= goal, SECONDS, "fired")  # noqa: B023
        waiting += broker.metric("mq_messages_delayed")
        fired += broker.metric("mq_delayed_messages_fired_total")
        broker.kill9()
        for each in producers:
            each.join(10)
            assert not each.is_alive() and each.failure is None, each.failure
        broker.start()
        if round_number % 2:  # once more, while what was due fires
            until(lambda: broker.metric("mq_delayed_messages_fired_total") > 0, SECONDS, "fired after a start")
            broker.kill9()
            broker.start()
        confirmed = sum(each.confirmed for each in producers)
        until(lambda: settled(broker, confirmed), SECONDS, "all have fired")  # noqa: B023
        for queue in QUEUES:
            found = sorted(identity(each) for each in contents(broker.port, queue))
            assert len(found) == len(set(found)), f"{queue}: twice"
            for each in producers:
                numbers = [number for who, number in found if who == each.identifier]
                assert numbers == list(range(1, len(numbers) + 1)), f"{queue}: a gap, producer {each.identifier}"
                assert each.confirmed <= len(numbers) < each.next
        client = RawConnection(broker.port).open()
        for queue in QUEUES:
            client.call(spec.Queue.Purge(queue=queue), spec.Queue.PurgeOk)
        client.close()
    assert waiting > 50 and fired > 500
