"""kill -9 under confirmed load: nothing confirmed is missing, order is kept, what was settled stays settled."""

import random

import pytest
from pika import spec

from tests.clients.broker import until
from tests.clients.raw import RawConnection
from tests.crash.load import Consumer, Producer, contents, declare, identity

ROUNDS = 5
ROUND_SECONDS = 30
CONFIRMS_BEFORE_KILL = (50, 2500)
KEYS = [("", "q0"), ("", "q1"), ("both", "")]  # producer 2 reaches both queues by one message
READERS = {"q0": (0, 2), "q1": (1, 2)}


def set_up(port: int) -> None:
    """Two durable queues, an exchange that fills both, a queue for markers."""
    declare(port, "q0", "q1", "markers")
    client = RawConnection(port).open()
    client.call(spec.Exchange.Declare(exchange="both", type="fanout", durable=True), spec.Exchange.DeclareOk)
    for queue in READERS:
        client.call(spec.Queue.Bind(queue=queue, exchange="both"), spec.Queue.BindOk)
    client.close()


class Ledger:
    """What was promised over all rounds."""

    def __init__(self):
        self.rounds: list[tuple[int, int, int, int]] = []  # producer, first, highest confirmed, highest sent
        self.acked: set[tuple[int, int]] = set()
        self.safe: set[tuple[int, int]] = set()

    def next(self, producer: int) -> int:
        """The number to go on with."""
        return max((sent + 1 for who, _, _, sent in self.rounds if who == producer), default=1)

    def add(self, producers: list[Producer], consumer: Consumer) -> None:
        """Take in one round."""
        self.rounds += [(each.identifier, each.first, each.confirmed, each.next - 1) for each in producers]
        self.acked |= consumer.acked
        self.safe |= consumer.safe

    def check(self, queue: str, bodies: list[bytes]) -> None:
        """Hold a queue's content against the promises. Only q0 has a consumer."""
        acked, safe = (self.acked, self.safe) if queue == "q0" else (set(), set())
        found = [identity(each) for each in bodies]
        assert not safe.intersection(found), "settled messages came back"
        for producer in READERS[queue]:
            numbers = [number for who, number in found if who == producer]
            assert numbers == sorted(set(numbers)), f"{queue}: producer {producer} out of order or doubled"
        known = acked.union(found)
        for producer, first, confirmed, sent in self.rounds:
            if producer not in READERS[queue]:
                continue
            here = [number for number in range(first, sent + 1) if (producer, number) in known]
            assert len(here) > confirmed - first, f"{queue}: confirmed up to {confirmed} but gone, producer {producer}"
            assert here == list(range(first, first + len(here))), f"{queue}: a gap, producer {producer}"


def wait_for_confirms(broker, producers: list[Producer], count: int) -> None:
    """Until they have had so many confirms in all; the broker must not end by itself meanwhile."""

    def confirmed():
        return sum(each.confirmed - each.first + 1 for each in producers)

    until(lambda: confirmed() >= count or not broker.alive(), ROUND_SECONDS, f"{count} confirms")
    assert broker.alive(), broker.log[-2000:]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("flush", ["sync", "async"])
def test_nothing_confirmed_is_lost_by_kill_9(broker, flush):
    broker.options.append(f"log.flush={flush}")  # the machine stays up, so both must hold
    rng, ledger = random.Random(f"crash {flush}"), Ledger()
    broker.start()
    set_up(broker.port)
    for round_number in range(ROUNDS):
        producers = [
            Producer(each, *KEYS[each], first=ledger.next(each), seed=round_number * 10 + each)
            for each in range(len(KEYS))
        ]
        consumer = Consumer("q0", "markers")
        for each in (*producers, consumer):
            each.attach(broker.port)
        wait_for_confirms(broker, producers, rng.randrange(*CONFIRMS_BEFORE_KILL))
        if round_number == ROUNDS - 1:
            until(lambda: ledger.safe or consumer.safe, ROUND_SECONDS, "acks that a confirm has followed")  # noqa: B023
        broker.kill9()
        for each in (*producers, consumer):
            each.join(10)
            assert not each.is_alive() and each.failure is None, each.failure
        ledger.add(producers, consumer)
        broker.start()
        for queue in READERS:
            ledger.check(queue, contents(broker.port, queue))
    assert ledger.safe and any(confirmed > first for _, first, confirmed, _ in ledger.rounds)


def test_a_kill_at_start_up_loses_nothing(broker):
    broker.start()
    declare(broker.port, "q")
    producer = Producer(0, "", "q", 1, 7)
    producer.attach(broker.port)
    until(lambda: producer.confirmed >= 500, ROUND_SECONDS)
    broker.kill9()
    producer.join(10)
    for _ in range(3):  # killed while it recovers
        ready = broker.spawn()
        until(lambda ready=ready: ready.exists() or broker.log, 10)
        broker.kill9()
    broker.start()
    numbers = [identity(each)[1] for each in contents(broker.port, "q")]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= producer.confirmed


def test_a_stop_under_load_keeps_what_was_confirmed_and_says_goodbye(broker):
    broker.start()
    declare(broker.port, "q")
    producer = Producer(0, "", "q", 1, 8)
    producer.attach(broker.port)
    until(lambda: producer.confirmed >= 500, ROUND_SECONDS)
    idle = RawConnection(broker.port).open()
    broker.stop()
    assert idle.closed_with() == (
        320,
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    )
    producer.join(10)
    assert producer.failure is None
    broker.start()
    numbers = [identity(each)[1] for each in contents(broker.port, "q")]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= producer.confirmed
