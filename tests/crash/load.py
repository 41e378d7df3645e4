"""Confirmed load over raw sockets that remembers what was promised, for the checks after a crash."""

import random
import threading

from pika import spec

from tests.clients.raw import Ended, RawConnection, encode_content, encode_method

PERSISTENT = b"\x10\x00\x02"
WINDOW = 200  # publishes on their way without a confirm
ACKS_PER_MARKER = 20
PREFETCH = 50


def body(producer: int, number: int, rng: random.Random) -> bytes:
    """A body that tells who sent it as what, of some length."""
    return b"%d:%d:" % (producer, number) + b"." * rng.randrange(3000)


def identity(data: bytes) -> tuple[int, int]:
    """(producer, number) of a body."""
    producer, number, _ = data.split(b":", 2)
    return int(producer), int(number)


class Load(threading.Thread):
    """A thread with a connection that ends when the broker does; an error of its own is kept for the test."""

    def __init__(self):
        super().__init__(daemon=True)
        self.failure: BaseException | None = None
        self.client: RawConnection | None = None

    def attach(self, port: int) -> None:
        """Connect and start."""
        self.client = RawConnection(port).open()
        self.start()

    def run(self):
        try:
            self.work()
        except (OSError, Ended):
            pass
        except BaseException as failure:
            self.failure = failure
        finally:
            self.client.close()

    def work(self):
        """What the thread does until Ended."""
        raise NotImplementedError

    def next_method(self):
        """The next method, or Ended."""
        frame = self.client.read_frame(30)
        if frame is None:
            raise Ended
        method = spec.methods[int.from_bytes(frame.payload[:4], "big")]().decode(frame.payload, 4)
        if isinstance(method, spec.Connection.Close):
            assert method.reply_code == 320, method
            raise Ended
        return method


class Producer(Load):
    """Publishes numbers in order, a window of them unconfirmed; `confirmed` is the highest with all below confirmed."""

    def __init__(self, identifier: int, exchange: str, key: str, first: int, seed: int):
        super().__init__()
        self.identifier, self.exchange, self.key = identifier, exchange, key
        self.first = self.next = first
        self.confirmed = first - 1
        self.rng = random.Random(seed)

    def content(self) -> bytes:
        """The frames of the next message's content."""
        return encode_content(1, body(self.identifier, self.next, self.rng), PERSISTENT)

    def work(self):
        self.client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
        publish = encode_method(spec.Basic.Publish(exchange=self.exchange, routing_key=self.key), 1)
        early: set[int] = set()
        while True:
            batch = []
            while self.next - self.confirmed <= WINDOW:
                batch.append(publish + self.content())
                self.next += 1
            self.client.send(b"".join(batch))
            ack = self.next_method()
            assert isinstance(ack, spec.Basic.Ack), ack
            number = self.first + ack.delivery_tag - 1
            if ack.multiple:
                self.confirmed = max(self.confirmed, number)
            else:
                early.add(number)
            while self.confirmed + 1 in early:
                self.confirmed += 1
                early.discard(self.confirmed)


class Consumer(Load):
    """Acks what it gets; `safe` holds what was acked before a publish of its own that was then confirmed."""

    def __init__(self, queue: str, marker_queue: str):
        super().__init__()
        self.queue, self.marker_queue = queue, marker_queue
        self.acked: set[tuple[int, int]] = set()
        self.safe: set[tuple[int, int]] = set()

    def work(self):
        self.client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
        self.client.call(spec.Basic.Qos(prefetch_count=PREFETCH), spec.Basic.QosOk)
        self.client.send_method(spec.Basic.Consume(queue=self.queue, nowait=True), 1)
        marker = encode_method(spec.Basic.Publish(exchange="", routing_key=self.marker_queue), 1)
        marker += encode_content(1, b"marker", PERSISTENT)
        unsafe: list[list[tuple[int, int]]] = [[]]  # acked since each marker that is not confirmed yet
        confirmed = 0
        while True:
            method = self.next_method()
            if isinstance(method, spec.Basic.Ack):
                for _ in range(method.delivery_tag - confirmed):
                    self.safe.update(unsafe.pop(0))
                confirmed = method.delivery_tag
                continue
            _, data = self.client.read_content()
            self.acked.add(identity(data))
            self.client.send_method(spec.Basic.Ack(delivery_tag=method.delivery_tag), 1)
            unsafe[-1].append(identity(data))
            if len(unsafe[-1]) == ACKS_PER_MARKER:
                self.client.send(marker)
                unsafe.append([])


def contents(port: int, queue: str) -> list[bytes]:
    """All bodies in the queue, in order, left where they are."""
    client = RawConnection(port).open()
    count = client.call(spec.Queue.Declare(queue=queue, passive=True), spec.Queue.DeclareOk).message_count
    client.call(spec.Basic.Consume(queue=queue), spec.Basic.ConsumeOk)
    bodies = []
    for _ in range(count):
        client.expect(spec.Basic.Deliver, 1)
        bodies.append(client.read_content()[1])
    client.send_method(spec.Connection.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    while not isinstance(client.read_method(), spec.Connection.CloseOk):
        pass
    client.close()
    return bodies


def publish(port: int, queue: str, bodies: list[bytes], exchange: str = "") -> None:
    """Publish persistently, one after the other, each confirmed before the next."""
    client = RawConnection(port).open()
    client.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
    for number, each in enumerate(bodies, 1):
        client.send(encode_method(spec.Basic.Publish(exchange=exchange, routing_key=queue), 1))
        client.send(encode_content(1, each, PERSISTENT))
        assert client.expect(spec.Basic.Ack, 1).delivery_tag == number
    client.close()


def declare(port: int, *queues: str) -> None:
    """Declare durable queues."""
    client = RawConnection(port).open()
    for queue in queues:
        client.call(spec.Queue.Declare(queue=queue, durable=True), spec.Queue.DeclareOk)
    client.close()
