"""Replays beside a simple model: whatever is published, consumed, copied, freed and restarted meanwhile, a replay gives
what is still there, each message once and in order."""

from random import Random

import pytest

from core.state.queue_past import FIRST, LAST, OFFSET, TIME
from tests.core.state.world import Taker, World

NAMES = ("a", "b", "c")


class Model:
    """What was published to each queue, when, and where its record was first."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.world = World(seed, checkpoint_seconds=86400).boot()
        self.published = {name: [] for name in NAMES}  # name -> [(body, ms, log offset)]
        self.done = {name: set() for name in NAMES}
        for name in NAMES:
            self.world.declare(name)
        self.following = []

    def publish(self):
        world, name = self.world, self.random.choice(NAMES)
        for _ in range(self.random.randrange(1, 60)):
            body = b"%d.%d" % (NAMES.index(name), len(self.published[name]))
            at = world.broker.log.appended
            world.publish("", name, body + b"." * self.random.choice((1, 300, 3000)), self.random.random() < 0.7)
            self.published[name].append((body, world.broker.clock.ms, at))
        world.run(self.random.choice((0.0, 0.01, 3.0)))

    def consume(self):
        name = self.random.choice(NAMES)
        queue = self.world.queue(name)
        for offset, *_ in self.world.take(name, self.random.randrange(200)).got:
            if self.random.random() < 0.98:
                queue.acknowledge(offset)
                self.done[name].add(offset)
            else:
                queue.give_back(offset)

    def checkpoint(self):
        self.world.checkpoint()
        self.world.run(3)

    def restart(self):
        self.following = []
        self.world.run(0.1)  # what was settled is in the log
        self.world.stop(self.random.random() < 0.5)
        self.world.boot(clean=True)

    def follow(self):
        """A replay that stays, slow or not, while the rest goes on."""
        if len(self.following) < 6:
            name = self.random.choice(NAMES)
            taker = self.begin(name, FIRST, 0, self.random.choice((1 << 30, 5)))
            self.following.append((name, taker))

    def look(self):
        name, random = self.random.choice(NAMES), self.random
        published = self.published[name]
        kind = random.choice((FIRST, LAST, OFFSET, TIME))
        offset = random.randrange(len(published) + 1)
        value = offset
        if kind == TIME:
            value = published[offset][1] if offset < len(published) else self.world.broker.clock.ms + 1
            offset = next((at for at, (_, ms, _) in enumerate(published) if ms >= value), len(published))
        start = {FIRST: 0, LAST: max(len(published) - 1, 0), OFFSET: offset, TIME: offset}[kind]
        taker = self.begin(name, kind, value)
        self.world.run(3)
        self.check(name, taker, start)
        taker.queue.close()

    def begin(self, name, kind, value, limit=1 << 30):
        replay = self.world.broker.past.of_queue(self.world.queue(name), kind, value)
        taker = Taker(replay, limit)
        replay.begin(taker)
        return taker

    def check(self, name, taker, start):
        got = [offset for offset, *_ in taker.got]
        published = self.published[name]
        assert got == sorted(set(got)), "each once, in order"
        assert all(data.rstrip(b".") == published[offset][0] for offset, data, _ in taker.got)
        first = self.world.broker.retention.first
        expected = {
            offset
            for offset in range(start, len(published))
            if offset not in self.done[name] or published[offset][2] >= first
        }
        assert expected <= set(got) <= set(range(start, len(published))), sorted(expected - set(got))[:5]

    def end(self):
        """Those that stay get to the end."""
        for _, taker in self.following:
            taker.limit = 1 << 30
            taker.queue.wake(taker)
        self.world.run(5)
        for name, taker in self.following:
            got = [offset for offset, *_ in taker.got]
            assert got == sorted(set(got))
            assert not got or got[-1] == len(self.published[name]) - 1
            live = set(range(len(self.published[name]))) - self.done[name]
            assert live <= set(got)
            assert all(data.rstrip(b".") == self.published[name][offset][0] for offset, data, _ in taker.got)


@pytest.mark.parametrize("seed", range(25))
def test_a_replay_gives_what_is_there_once_and_in_order(seed):
    model = Model(seed)
    steps = (
        [model.publish] * 6 + [model.consume] * 4 + [model.look] * 3 + [model.checkpoint, model.follow, model.restart]
    )
    for _ in range(60):
        model.random.choice(steps)()
    model.end()
