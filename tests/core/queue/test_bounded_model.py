"""A queue within limits under random use: each message that is dropped or refused is judged when it happens."""

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from core.publish import REFUSED
from core.queue.delivery import Queue
from core.queue.expiry import EXPIRED
from core.routing.router import Route
from core.state.settings import DROP_HEAD, REJECT_PUBLISH, QueueSettings
from tests.core.queue.bench import new_message
from tests.core.queue.test_delivery_model import EXPIRIES, PRIORITIES, QueueUse, cases_of


class NotingQueue(Queue):
    """Tells the machine what enters and what is given up, as it happens."""

    machine = None

    def push(self, message, code):
        self.machine.entered(message)
        super().push(message, code)

    def drop(self, offset, reason):
        self.machine.given_up(offset, reason)
        super().drop(offset, reason)


class BoundedUse(QueueUse):
    """length, size: the limits, -1 = none; late: they changed, and no turn has been since."""

    def __init__(self):
        super().__init__()
        self.length = self.size = -1
        self.refusing = self.late = self.publishing = False
        self.refused = 0

    def make_queue(self):
        queue = self.bench.queue(self.durable, kind=NotingQueue)
        queue.machine = self
        return queue

    def ready_bytes(self):
        return sum(self.all[offset].body_size for offset in self.ready)

    def exceeded(self, count=0, size=0):
        """Whether so many more, of so many bytes, are too much."""
        if 0 <= self.length < len(self.ready) + count:
            return True
        return 0 <= self.size < self.ready_bytes() + size

    def nobody_can_take(self):
        takers = [self.active()] if self.single and self.consumers else self.consumers
        return self.queue.reading or all(self.blocked(taker, self.gate.unacked) for taker in takers)

    def first(self):
        """Expired ones are told of by given_up()."""
        return next(iter(self.order()), None)

    def entered(self, message):
        assert not self.refusing or not self.exceeded(1, message.body_size) or self.late
        offset = len(self.all)
        self.all[offset] = message
        self.expiries[offset] = message.expire_at
        self.levels[offset] = min(len(message.header), self.top)
        self.ready.add(offset)

    def given_up(self, offset, reason):
        if reason == EXPIRED:
            assert self.is_late(offset)
            self.expired += 1
        else:
            assert offset == self.first()
            assert reason == "maxlen" and not self.refusing and self.exceeded()
            assert not self.publishing or self.nobody_can_take()
            self.dropped += 1
        self.ready.remove(offset)

    def expire(self, offset):
        raise AssertionError(f"message {offset} expired, and the queue did not say that it goes")

    @rule(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=4), expiry=EXPIRIES, priority=PRIORITIES)
    def publish(self, sizes, expiry, priority):
        self.publishing = True
        route = Route((self.queue,), (self.queue,) if self.durable else ())
        for size in sizes:
            due = self.bench.clock.ms + expiry if expiry else 0
            message = new_message(bytes(size), expire_at=due, header=bytes(priority))
            if self.bench.publisher.publish(message, route) == REFUSED:
                assert self.refusing and self.exceeded(1, size) and (not self.ready or self.nobody_can_take())
                self.refused += 1
        self.publishing = False

    @rule(
        length=st.sampled_from([-1, -1, -1, 0, 1, 3, 6]),
        size=st.sampled_from([-1, 0, 2, 5, 20, 20]),
        overflow=st.sampled_from([DROP_HEAD, DROP_HEAD, REJECT_PUBLISH]),
    )
    def set_limits(self, length, size, overflow):
        self.length, self.size, self.refusing = length, size, overflow == REJECT_PUBLISH
        self.late = True
        self.queue.configure(QueueSettings(max_length=length, max_length_bytes=size, overflow=overflow))

    @rule()
    def run_turns(self):
        self.bench.run()
        self.late = False
        self.check_idle()

    @invariant()
    def limits_hold(self):
        queue = self.queue
        assert (queue.ready, queue.dropped, queue.refused) == (len(self.ready), self.dropped, self.refused)
        assert self.late or self.refusing or not self.exceeded()
        if not self.late and self.size >= 0:
            assert queue.limits.ready_bytes == self.ready_bytes()

    def teardown(self):
        self.length = self.size = -1
        self.queue.configure(QueueSettings())
        super().teardown()


globals().update(cases_of(BoundedUse, examples=150))
