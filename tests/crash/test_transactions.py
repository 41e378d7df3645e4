"""kill -9 under transactional load: a transaction is whole or absent, and a committed one is there."""

import pytest
from pika import spec

from tests.clients.broker import until
from tests.clients.raw import RawConnection, encode_content, encode_method
from tests.crash.load import PERSISTENT, Load, contents, declare

ROUNDS = 4
ROUND_SECONDS = 30
COMMITS_BEFORE_KILL = (3, 40, 90, 150)
PAD = bytes(9000)  # so that a transaction is some pages long


class Mover(Load):
    """Takes one message from `inbox` and publishes to `left` and `right` three times each, per transaction.

    committed, sent  the highest number of a transaction that was answered, and that was asked for
    """

    def __init__(self, identifier: int, first: int):
        super().__init__()
        self.identifier = identifier
        self.committed, self.sent = first - 1, first - 1

    def work(self):
        self.client.call(spec.Tx.Select(), spec.Tx.SelectOk)
        while True:
            self.client.send_method(spec.Basic.Get(queue="inbox"), 1)
            got = self.next_method()
            self.client.read_content()
            self.sent += 1
            body = b"%d:%d:" % (self.identifier, self.sent) + PAD
            content = encode_content(1, body, PERSISTENT)
            frames = [
                encode_method(spec.Basic.Publish(exchange="", routing_key=queue), 1) + content
                for queue in ("left", "right") * 3
            ]
            frames.append(encode_method(spec.Basic.Ack(delivery_tag=got.delivery_tag), 1))
            frames.append(encode_method(spec.Tx.Commit(), 1))
            self.client.send(b"".join(frames))
            assert isinstance(self.next_method(), spec.Tx.CommitOk)
            self.committed = self.sent


def fill_inbox(port: int, count: int) -> None:
    """One transaction that puts `count` messages into the inbox."""
    client = RawConnection(port).open()
    client.call(spec.Tx.Select(), spec.Tx.SelectOk)
    one = encode_method(spec.Basic.Publish(exchange="", routing_key="inbox"), 1) + encode_content(1, b"x", PERSISTENT)
    client.send(one * count)
    client.call(spec.Tx.Commit(), spec.Tx.CommitOk)
    client.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("flush", ["sync", "async"])
def test_a_transaction_is_whole_or_absent_after_kill_9(broker, flush):
    broker.options.append(f"log.flush={flush}")
    broker.start()
    declare(broker.port, "inbox", "left", "right")
    stock = 2000
    fill_inbox(broker.port, stock)
    rounds: list[tuple[int, int, int]] = []  # mover, highest committed, highest sent
    for number in range(ROUNDS):
        movers = [Mover(number * 10 + each, 1) for each in range(3)]
        for each in movers:
            each.attach(broker.port)
        wanted = COMMITS_BEFORE_KILL[number]
        until(lambda: sum(each.committed for each in movers) >= wanted, ROUND_SECONDS)  # noqa: B023
        broker.kill9()
        for each in movers:
            each.join(10)
            assert not each.is_alive() and each.failure is None, each.failure
        rounds += [(each.identifier, each.committed, each.sent) for each in movers]
        broker.start()
        left, right = (
            [tuple(map(int, body.split(b":")[:2])) for body in contents(broker.port, queue)]
            for queue in ("left", "right")
        )
        for which in (left, right):
            for mover, committed, sent in rounds:
                numbers = [number for who, number in which if who == mover]
                done = len(numbers) // 3
                assert numbers == [number for number in range(1, done + 1) for _ in range(3)], "cut, or out of order"
                assert committed <= done <= sent
        assert sorted(left) == sorted(right), "one queue has what the other has not"
        assert len(contents(broker.port, "inbox")) == stock - len(left) // 3, "acked without its publishes, or reverse"
