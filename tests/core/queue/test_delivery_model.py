"""A queue under random use, beside a dict of what is ready and one of what is held."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.queue.consumer import Gate
from core.queue.levels import Levels
from tests.core.queue.bench import Bench, OneShot, Taker, bytes_held

EXPIRIES = st.sampled_from([0, 0, 0, 3, 9])  # ms, 0 = never
PRIORITIES = st.sampled_from([0, 0, 1, 2, 3, 9])


class Noting(Taker):
    """Tells the machine of each delivery as it happens."""

    def __init__(self, machine, gate=None, **options):
        super().__init__(machine.queue, gate, **options)
        self.machine = machine

    def deliver(self, message, offset, redelivered):
        super().deliver(message, offset, redelivered)
        self.machine.delivered(self, message, offset, redelivered)


class NotingOneShot(OneShot):
    def __init__(self, machine, no_ack):
        super().__init__(machine.queue, no_ack=no_ack)
        self.machine = machine

    def deliver(self, message, offset, redelivered):
        super().deliver(message, offset, redelivered)
        self.machine.delivered(self, message, offset, redelivered)

    def nothing(self):
        super().nothing()
        assert self.machine.first() is None, "an empty answer although something was ready"


class QueueUse(RuleBasedStateMachine):
    """ready, held: offset -> body, offset -> (consumer, body). Clock times are even and expiries odd: no ties."""

    durable = True
    single = False
    top = 0  # the highest level; a message's priority is its header's length
    tail_bytes = 16 << 20

    def __init__(self):
        super().__init__()
        self.bench = Bench(tail_bytes=self.tail_bytes)
        self.queue = self.make_queue()
        self.queue.ring.single = self.single
        self.holder = None
        self.levels = {}
        if self.top:
            self.queue.levels = Levels(self.top, len)
        self.gate = Gate()
        self.all, self.expiries = {}, {}
        self.ready, self.held, self.returned = set(), {}, set()
        self.consumers, self.gone, self.parked = [], [], []
        self.expired = self.acked = self.dropped = 0

    def make_queue(self):
        return self.bench.queue(self.durable)

    def order(self):
        """What is ready, in the order of delivery."""
        return sorted(self.ready, key=self.place)

    def first(self):
        """The first ready offset, after dropping expired ones before it as the queue does."""
        while self.ready:
            offset = min(self.ready, key=self.place) if self.top else min(self.ready)
            if not self.is_late(offset):
                return offset
            self.expire(offset)
        return None

    def place(self, offset):
        """What is less goes first."""
        return -self.levels[offset], offset

    def is_late(self, offset):
        return 0 < self.expiries[offset] < self.bench.clock.ms

    def expire(self, offset):
        self.ready.remove(offset)
        self.expired += 1

    def delivered(self, taker, message, offset, redelivered):
        assert offset == self.first() and message.body == self.all[offset].body
        assert redelivered == (offset in self.returned)
        assert not taker.cancelled
        if taker in self.consumers:
            self.check_turn(taker)
        self.ready.remove(offset)
        if taker.no_ack:
            self.acked += 1
        else:
            self.held[offset] = taker
            held = list(self.held.values())
            assert not taker.prefetch or held.count(taker) <= taker.prefetch
            shared = sum(each.gate is self.gate for each in held)
            assert taker.gate is not self.gate or not self.gate.limit or shared <= self.gate.limit

    def check_turn(self, taker):
        """Nobody of a higher priority could have taken what `taker` got; a single active consumer is alone."""
        if self.single:
            assert taker is self.active() and self.queue.ring.active is taker
            return
        shared = self.gate.unacked - (taker.gate is self.gate and not taker.no_ack)  # before this one
        assert all(each.priority <= taker.priority or self.blocked(each, shared) for each in self.consumers)

    def blocked(self, taker, shared):
        """Whether it could take none, with that many unacknowledged under the shared gate."""
        if taker.no_ack:
            return False
        if taker.prefetch and taker.unacked >= taker.prefetch:
            return True
        return bool(taker.gate is self.gate and self.gate.limit and shared >= self.gate.limit)

    def active(self):
        """Who is the single active consumer: it stays until it goes, then the highest, the first of equals."""
        if self.holder not in self.consumers:
            self.holder = max(self.consumers, key=lambda each: each.priority, default=None)
        return self.holder

    @rule(count=st.integers(1, 4), expiry=EXPIRIES, priority=PRIORITIES)
    def publish(self, count, expiry, priority):
        for _ in range(count):
            offset = len(self.all)
            self.expiries[offset] = self.bench.clock.ms + expiry if expiry else 0
            self.ready.add(offset)
            self.levels[offset] = min(priority, self.top)
            self.all[offset] = self.bench.publish(
                self.queue, b"%d" % offset, expire_at=self.expiries[offset], header=bytes(priority)
            )

    @rule(
        prefetch=st.sampled_from([0, 1, 2, 5]),
        shared=st.booleans(),
        no_ack=st.booleans(),
        priority=st.sampled_from([0, 0, 0, -1, 7]),
    )
    def consume(self, prefetch, shared, no_ack, priority):
        if len(self.consumers) < 4:
            gate = self.gate if shared else None
            prefetch = 0 if no_ack else prefetch
            taker = Noting(self, gate, prefetch=prefetch, no_ack=no_ack, priority=priority)
            self.consumers.append(taker)
            self.active()
            self.queue.add_consumer(taker)

    @rule(no_ack=st.booleans())
    def get(self, no_ack):
        taker = NotingOneShot(self, no_ack)
        self.parked.append(taker)
        self.queue.park(taker)

    @precondition(lambda self: self.consumers)
    @rule(which=st.integers(0, 3))
    def cancel(self, which):
        self.queue.remove_consumer(self.consumers.pop(which % len(self.consumers)))
        self.active()

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), requeue=st.booleans())
    def settle(self, which, requeue):
        offset = sorted(self.held)[which % len(self.held)]
        taker = self.held.pop(offset)
        if requeue:
            self.ready.add(offset)
            self.returned.add(offset)
        else:
            self.acked += 1
        taker.settle(offset, requeue)

    @rule(limit=st.sampled_from([0, 1, 3]))
    def set_gate(self, limit):
        self.gate.limit = limit
        self.gate.open()

    @rule()
    def purge(self):
        assert self.queue.purge() == len(self.ready)
        self.acked += len(self.ready)
        self.ready.clear()

    @rule(steps=st.integers(1, 3))
    def pass_time(self, steps):
        self.bench.pass_ms(2 * steps)

    @rule()
    def run_turns(self):
        self.bench.run()
        self.check_idle()

    @precondition(lambda self: self.bench.cold)
    @rule(count=st.integers(1, 4))
    def finish_reading(self, count):
        _, offset = self.bench.cold.pop()
        assert self.queue.reading and self.bench.cold == []
        self.queue.read_finished({each: self.all[each] for each in range(offset, offset + count) if each in self.all})

    @rule()
    def commit(self):
        self.bench.engine.finish_all()

    def check_idle(self):
        """Nothing is left to do: whoever could take a message has it, what expired is gone, gets are answered."""
        for offset in [offset for offset in self.ready if self.is_late(offset)]:
            self.expire(offset)
        first = self.first()
        assert self.queue.ready == len(self.ready)
        assert self.queue.expired == self.expired
        if self.queue.reading:
            return
        assert all(len(taker.got) + taker.empty == 1 for taker in self.parked)
        for taker in [self.active()] if self.single and self.consumers else self.consumers:
            assert first is None or self.blocked(taker, self.gate.unacked)

    @invariant()
    def counts_agree(self):
        assert self.queue.unacked == len(self.held)
        assert self.gate.unacked == sum(taker.gate is self.gate for taker in self.held.values())
        assert self.queue.end() == len(self.all)
        assert len(self.gate.closed_out) == len(set(self.gate.closed_out)) <= len(self.consumers)

    def teardown(self):
        """Take everything: each message is accounted for once."""
        self.gate.limit = 0
        leaving, self.consumers = self.consumers, []
        for taker in leaving:
            self.queue.remove_consumer(taker)
        self.consumers = [Noting(self, no_ack=True)]
        self.queue.add_consumer(self.consumers[0])
        self.bench.run()
        while self.bench.cold:
            self.finish_reading(4)
            self.bench.run()
        self.check_idle()
        for offset, taker in list(self.held.items()):
            taker.settle(offset)
            self.acked += 1
        self.held.clear()
        assert self.ready == set() and self.acked + self.expired + self.dropped == len(self.all)
        assert (self.queue.cursor.floor, self.queue.cursor.done_above) == (len(self.all), 0)
        assert bytes_held(self.queue) == 0
        assert not self.queue.aside
        assert self.queue.overtaking is None or not self.queue.overtaking.late


KINDS = {  # of queue: what of QueueUse is otherwise
    "Durable": {},
    "Transient": {"durable": False},
    "OnDisk": {"tail_bytes": 1},
    "SingleActiveConsumer": {"single": True},
    "Priorities": {"top": 3},
    "TransientPriorities": {"top": 3, "durable": False},
    "PrioritiesOnDisk": {"top": 3, "tail_bytes": 1},
}


def cases_of(use, examples):
    """One TestCase for each kind of queue, by its name."""
    found = {}
    for kind, attributes in KINDS.items():
        test = type(f"{use.__name__}{kind}", (use,), attributes).TestCase
        test.settings = settings(max_examples=examples, stateful_step_count=40)
        found[f"Test{kind}Queue"] = test
    return found


globals().update(cases_of(QueueUse, examples=60))
