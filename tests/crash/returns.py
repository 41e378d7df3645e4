"""A consumer that gives nearly everything back until the broker is killed, and what must be left of it then."""

from collections import Counter

from pika import spec

from tests.clients.broker import until
from tests.clients.raw import encode_content, encode_method
from tests.crash.load import PERSISTENT, Load, publish

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

    def check(self, counts: dict[bytes, int]) -> None:
        """What is there after the kill, body -> how often it came back: nothing is lost, and counted is at least what
        was safe, at most what was given back."""
        assert counts.keys() >= set(MESSAGES) - self.acked, "lost"
        for body, count in counts.items():
            assert self.safe[body] <= count <= self.returned[body], body


def killed_during_returns(broker, goal: int) -> Returner:
    """Publish MESSAGES to the queue `work`, kill the broker when so many returns are safe, and start it again. The
    queue `markers` must be there."""
    publish(broker.port, "work", MESSAGES)
    returner = Returner()
    returner.attach(broker.port)
    until(lambda: returner.safe.total() >= goal, SECONDS, "returns")
    broker.kill9()
    returner.join(10)
    assert not returner.is_alive() and returner.failure is None, returner.failure
    broker.start()
    return returner
