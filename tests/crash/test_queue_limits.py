"""Queues within limits after a restart and after kill -9: nothing confirmed is gone but what a limit dropped."""

import contextlib
import random

import pika
import pytest
from pika import spec

from tests.clients.broker import parameters, until
from tests.clients.deliveries import depth
from tests.clients.raw import encode_method
from tests.crash.load import WINDOW, Producer, contents, identity

ROUNDS = 4
SECONDS = 30
LENGTH, SIZE = 60, 40_000
DEAD = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
QUEUES = {  # name -> arguments
    "drops": {"x-max-length": LENGTH},
    "moves": {"x-max-length-bytes": SIZE, **DEAD},
    "refuses": {"x-max-length": LENGTH, "x-overflow": "reject-publish"},
    "refuses-bytes": {"x-max-length-bytes": SIZE, "x-overflow": "reject-publish"},
    "dead": {},
}


class Sender(Producer):
    """A producer that is nacked now and then. acked, nacked: numbers of its messages."""

    def __init__(self, identifier, queue, seed):
        super().__init__(identifier, "", queue, 1, seed)
        self.queue = queue
        self.acked, self.nacked = set(), set()

    @property
    def told(self):
        """How many messages were answered."""
        return len(self.acked) + len(self.nacked)

    def work(self):
        self.client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
        publish = encode_method(spec.Basic.Publish(exchange="", routing_key=self.queue), 1)
        waiting = []
        while True:
            batch = []
            while len(waiting) < WINDOW:
                batch.append(publish + self.content())
                waiting.append(self.next)
                self.next += 1
            self.client.send(b"".join(batch))
            answer = self.next_method()
            assert isinstance(answer, (spec.Basic.Ack, spec.Basic.Nack)), answer
            told = [number for number in waiting if number < answer.delivery_tag] if answer.multiple else []
            told += [number for number in waiting if number == answer.delivery_tag]
            assert told, f"{answer}, {waiting[:3]} is waited for"
            (self.acked if isinstance(answer, spec.Basic.Ack) else self.nacked).update(told)
            waiting = [number for number in waiting if number not in set(told)]


@pytest.fixture
def channel(broker):
    """channel() connects anew, as after a start."""
    opened = []

    def connect():
        opened.append(pika.BlockingConnection(parameters(broker)))
        return opened[-1].channel()

    yield connect
    for each in opened:
        with contextlib.suppress(pika.exceptions.AMQPConnectionError):  # it may have met its broker's end
            each.close()


def found_in(port, queue):
    return [identity(each)[1] for each in contents(port, queue)]


def check(port, senders):
    """Hold each queue against its limit and against what its sender was told."""
    drops, moves, refuses, refuses_bytes = senders
    kept = found_in(port, "drops")
    assert kept == list(range(kept[0], kept[0] + len(kept))), "a gap among those that a limit keeps"
    assert len(kept) == LENGTH and kept[-1] >= max(drops.acked) and kept[-1] < drops.next
    bodies, dead = contents(port, "moves"), found_in(port, "dead")
    assert sum(map(len, bodies)) <= SIZE
    everywhere = dead + [identity(each)[1] for each in bodies]
    assert everywhere == list(range(1, len(everywhere) + 1)), "each is in one of the two, in order"
    assert max(moves.acked) <= len(everywhere) < moves.next
    for sender in (refuses, refuses_bytes):
        bodies = contents(port, sender.queue)
        kept = [identity(each)[1] for each in bodies]
        assert set(kept) >= sender.acked and sender.nacked.isdisjoint(kept) and kept == sorted(set(kept))
        assert len(kept) <= LENGTH if sender is refuses else sum(map(len, bodies)) <= SIZE


@pytest.mark.timeout(240)
def test_limits_hold_and_nothing_else_is_lost_after_kill_9(broker, channel):
    rng = random.Random("limits")
    broker.start()
    for queue, arguments in QUEUES.items():
        channel().queue_declare(queue, durable=True, arguments=arguments)
    letters = 0
    for round_number in range(ROUNDS):
        senders = [Sender(each, queue, round_number) for each, queue in enumerate(list(QUEUES)[:4])]
        for each in senders:
            each.attach(broker.port)
        goal = rng.randrange(300, 1500)
        until(lambda: min(each.told for each in senders) >= goal, SECONDS, "answers")  # noqa: B023
        broker.kill9()
        for each in senders:
            each.join(10)
            assert not each.is_alive() and each.failure is None, each.failure
        assert senders[2].nacked and senders[3].nacked
        broker.start()
        asking = channel()
        until(lambda: depth(asking, "drops") == LENGTH, what="a queue within its length")  # noqa: B023
        check(broker.port, senders)
        letters += depth(asking, "dead")
        for queue in QUEUES:
            asking.queue_purge(queue)
    assert letters > 100


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_what_was_counted_is_counted_again(broker, channel, end):
    """Bytes too, of what was acked, requeued or never delivered, in the tail and in chunks that a checkpoint stored."""
    broker.start()
    first = channel()
    first.confirm_delivery()
    arguments = {"x-max-length-bytes": 30_000, "x-overflow": "reject-publish"}
    first.queue_declare("q", durable=True, arguments=arguments)
    persistent = pika.BasicProperties(delivery_mode=2)
    for number in range(1500):
        first.basic_publish("", "q", b"%020d" % number, persistent)
    with pytest.raises(pika.exceptions.NackError):
        first.basic_publish("", "q", b"x", persistent)
    tags = [first.basic_get("q")[0].delivery_tag for _ in range(100)]
    first.basic_ack(tags[59], multiple=True)
    first.basic_nack(tags[79], multiple=True)
    first.basic_publish("", "q", b"x" * 1600, persistent)  # it fits while 20 are held; the acks before it are safe now
    getattr(broker, end)()
    broker.start()
    again = channel()
    again.confirm_delivery()
    told = []
    for size in (1, 30_000):  # 1440 of 20 bytes and one of 1600 are ready
        with pytest.raises(pika.exceptions.NackError):
            again.basic_publish("", "q", b"x" * size, persistent)
    for _ in range(21):
        again.basic_get("q", auto_ack=True)
    for size in (21, 20, 1):
        try:
            again.basic_publish("", "q", b"y" * size, persistent)
            told.append(True)
        except pika.exceptions.NackError:
            told.append(False)
    assert told == [False, True, False]
    assert again.queue_declare("q", passive=True).method.message_count == 1440 + 1 - 21 + 1
