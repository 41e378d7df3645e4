"""Transient queues that page out at every chance, under random use: as if all stayed in memory."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from core.queue.spill import Bounds
from tests.core.queue.spilling import SpillBench
from tests.core.queue.test_delivery_model import QueueUse

EAGER = Bounds(hot=((1, 1), (1, 1)), least_bytes=(1, 1), kept_ms=0)  # one message stays, any number is written


class SpillUse(QueueUse):
    """look() and work() say when messages leave memory, and when they come back."""

    durable = False

    def make_queue(self):
        self.bench = SpillBench()
        self.bench.spill.bounds = EAGER
        self.bench.eager = False
        return self.bench.queue()

    def check_idle(self):
        """While something is on its way others may have expired, or not yet."""
        self.see_expired()
        if not self.bench.jobs:
            super().check_idle()

    def see_expired(self):
        for offset in [each for each in self.ready if self.is_late(each) and self.queue.cursor.is_done(each)]:
            self.expire(offset)

    @rule(count=st.sampled_from([200, 520]), expiry=st.sampled_from([0, 0, 5]))
    @precondition(lambda self: len(self.all) < 3000)
    def publish_many(self, count, expiry):
        for _ in range(count // 4):
            self.publish(4, expiry, 0)

    @rule()
    def look(self):
        self.bench.spill.look()

    @rule(which=st.integers(0, 1), count=st.sampled_from([1, 2, 9]))
    @precondition(lambda self: self.bench.jobs)
    def work(self, which, count):
        for _ in range(count):
            self.bench.work(which)
            self.see_expired()  # what tells it may have come back

    def teardown(self):
        self.bench.eager = True
        super().teardown()
        self.bench.run()
        assert self.bench.is_empty()


class SpillLevelsUse(SpillUse):
    top = 3


SpillUse.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
SpillLevelsUse.TestCase.settings = SpillUse.TestCase.settings
TestSpillingQueue = SpillUse.TestCase
TestSpillingQueueWithPriorities = SpillLevelsUse.TestCase
