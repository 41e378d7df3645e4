"""What the queue's tests share: a clock that is set, a loop and engine that go on when told to, consumers."""

from core.clock import Clock
from core.log.commit_log import CommitLog
from core.message import Message
from core.publish import Publisher
from core.queue.consumer import Consumer, Gate
from core.queue.delivery import Queue
from core.routing.router import Route
from core.state.settings import QueueSettings
from core.turn import Turn
from tests.core.log.conftest import HeldEngine

START_MS = 1_700_000_000_000


def new_message(body=b"x", expire_at=0, persistent=True, header=b""):
    message = Message((b"/", b"", b"q"), header, body, len(body), persistent)
    message.expire_at = expire_at
    return message


class Bench:
    """A log, a turn and queues on them. `wakes` = queue -> when expire() was asked for; `cold` = reads under way."""

    def __init__(self, **log_options):
        self.seconds = 0.0
        self.clock = Clock(lambda: START_MS / 1000 + self.seconds, lambda: self.seconds)
        self.soon = []
        self.turn = Turn(self.clock, self.soon.append)
        self.engine = HeldEngine()
        log_options.setdefault("segment_bytes", 1 << 20)
        self.log = CommitLog(self.engine, self.clock, self.soon.append, self.fail, **log_options)
        self.turn.submit = self.submit
        self.publisher = Publisher(self.log, self.turn)
        self.settled = []
        self.wakes = {}
        self.cold = []

    def fail(self, error):
        raise error

    def submit(self):
        for queue in self.turn.settled:
            queue.settled = False
            self.settled.append((queue, queue.cursor.take_runs()))
        self.turn.settled = []
        self.log.submit()

    def queue(self, durable=True, ttl_ms=-1, name="q", kind=Queue):
        queue = kind((7, b"/", name), durable, self.turn, self.log.tail)
        queue.configure(QueueSettings(ttl_ms=ttl_ms))
        queue.wake_at = self.wake_at
        queue.cold = lambda queue, offset: self.cold.append((queue, offset))
        return queue

    def wake_at(self, queue, ms):
        self.wakes[queue] = min(ms, self.wakes.get(queue, ms))

    def publish(self, queue, body=b"x", **fields):
        message = new_message(body, **fields)
        self.publisher.publish(message, Route((queue,), (queue,) if queue.durable else ()))
        return message

    def run(self):
        """Turns of the loop until nothing is left to do, with what became due."""
        while self.soon or self.due():
            waiting, self.soon[:] = list(self.soon), []
            for callback in waiting:
                callback()
            for queue in self.due():
                del self.wakes[queue]
                queue.expire()

    def due(self):
        return [queue for queue, ms in self.wakes.items() if ms <= self.clock.ms and not queue.deleted]

    def pass_ms(self, ms):
        self.seconds += ms / 1000
        self.clock.tick()


def bytes_held(queue):
    """Of the bodies of messages that the transient queue has in memory."""
    chunks = () if queue.held is None else queue.held.resident.values()
    return sum(message.body_size for chunk in chunks for message in chunk.messages if message is not None)


class Taker(Consumer):
    """Notes what it gets: (body, offset, redelivered)."""

    def __init__(self, queue, gate=None, *, prefetch=0, no_ack=False, priority=0):
        super().__init__(queue, gate or Gate())
        self.prefetch = prefetch
        self.priority = priority
        self.no_ack = no_ack
        self.got = []

    def deliver(self, message, offset, redelivered):
        self.got.append((message.body, offset, bool(redelivered)))

    def settle(self, offset, requeue=False):
        (self.queue.give_back if requeue else self.queue.acknowledge)(offset)
        self.queue.all_back()
        self.release()

    @property
    def bodies(self):
        return [body for body, _, _ in self.got]


class OneShot(Taker):
    """Is parked, not added: gets one message, or is told that there is none."""

    def __init__(self, queue, **options):
        super().__init__(queue, **options)
        self.empty = 0

    def nothing(self):
        self.empty += 1

    def release(self):
        self.unacked -= 1
