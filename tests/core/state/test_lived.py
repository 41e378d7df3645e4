"""Random lives: what comes back from a crash, with or without the store, is what was lived."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import BrokerError
from core.state.checkpoint import Slices
from core.state.records import EXCHANGE, QUEUE
from tests.core.state.world import World

NAMES = st.sampled_from("abc")
EXCHANGES = st.sampled_from(["x", "y", "amq.direct"])
STEPS = st.one_of(
    st.tuples(st.just("declare"), NAMES, st.booleans()),
    st.tuples(st.just("exchange"), st.sampled_from("xy"), st.booleans()),
    st.tuples(st.just("bind"), NAMES, EXCHANGES),
    st.tuples(st.just("unbind"), NAMES, EXCHANGES),
    st.tuples(st.just("link"), st.sampled_from("xy"), EXCHANGES),
    st.tuples(st.just("publish"), NAMES, st.integers(1, 400)),
    st.tuples(st.just("route"), EXCHANGES, st.integers(1, 5)),
    st.tuples(st.just("ack"), NAMES, st.integers(1, 300)),
    st.tuples(st.just("purge"), NAMES),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("delete_exchange"), st.sampled_from("xy")),
    st.tuples(st.just("run")),
    st.tuples(st.just("turn"), st.integers(1, 6)),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("fail")),
    st.tuples(st.just("crash"), st.booleans()),
    st.tuples(st.just("stop"), st.booleans()),
)


class Life:
    """Carries steps out on a World; refusals are part of life."""

    def __init__(self, seed):
        self.world = World(seed, checkpoint_bytes=64 << 10, tail_bytes=64 << 10)
        self.world.slices = Slices(queues=1, chunks=1, facts=1)  # so that life goes on in between
        self.world.boot()

    def step(self, name, *args):
        try:
            getattr(self, name)(*args)
        except BrokerError:
            pass

    def declare(self, name, auto_delete):
        self.world.declare(name, auto_delete=auto_delete)

    def exchange(self, name, auto_delete):
        self.world.topology.declare_exchange(self.world.vhost, name, "direct", durable=True, auto_delete=auto_delete)

    def bind(self, name, exchange):
        self.world.bind(name, exchange, "k", {"n": 1} if name == "b" else {})

    def unbind(self, name, exchange):
        arguments = {"n": 1} if name == "b" else {}
        self.world.topology.unbind(self.world.vhost, exchange, (QUEUE, name), "k", arguments)

    def link(self, name, exchange):
        self.world.topology.bind(self.world.vhost, exchange, (EXCHANGE, name), "k", {})

    def publish(self, name, count):
        for _ in range(count):
            self.world.publish("", name, b"y" * 100)

    def route(self, exchange, count):
        if exchange in self.world.vhost.router.exchanges:
            for _ in range(count):
                self.world.publish(exchange, "k")

    def ack(self, name, count):
        if name in self.world.vhost.queues:
            queue = self.world.queue(name)
            taker = self.world.take(name, count)
            for offset, _, _ in taker.got[::2] + taker.got[1::4]:
                queue.acknowledge(offset)
            for offset, _, _ in taker.got[3::4]:
                queue.give_back(offset)

    def purge(self, name):
        self.world.topology.purge(self.world.vhost, name, None)

    def delete(self, name):
        self.world.topology.delete_queue(self.world.vhost, name, None)

    def delete_exchange(self, name):
        self.world.topology.delete_exchange(self.world.vhost, name)

    def run(self):
        self.world.run(0.01)

    def turn(self, count):
        for _ in range(count):
            self.world.loop.run_once()

    def checkpoint(self):
        self.world.broker.checkpointer.checkpoint()

    def fail(self):
        self.world.store.fail_in = 0

    def crash(self, state_lost):
        self.world.run()
        self._restart(lambda: self.world.crash(state_lost), False)

    def stop(self, state_lost):
        self.world.run()
        self.world.store.fail_in = None
        self._restart(lambda: self.world.stop(state_lost), True)

    def _restart(self, end, clean):
        world = self.world
        before = world.picture()
        held = {name: queue.ready + queue.unacked for name, queue in world.vhost.queues.items()}
        end()
        world.boot(clean)
        assert world.picture() == before
        for name, count in held.items():
            assert world.queue(name).ready == count


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 32), st.lists(STEPS, max_size=40))
def test_replaying_the_log_from_any_checkpoint_gives_the_same_state_as_having_lived_it(seed, steps):
    life = Life(seed)
    for step in steps:
        life.step(*step)
    life.step("crash", False)
    life.step("stop", True)
    life.step("crash", True)
