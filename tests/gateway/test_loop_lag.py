"""How late the loop is: what holds it up is seen, in its bucket; nobody looks often while nothing happens."""

from gateway import loop_lag
from gateway.loop_lag import BOUNDS, REST_SECONDS, RESTING_AFTER, LoopLag


class Loop:
    """Its time is the test's."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        self.asked = []
        monkeypatch.setattr(loop_lag, "monotonic", lambda: self.now)

    def call_later(self, seconds, callback):
        self.asked.append((seconds, callback))

    def fire(self, late=0.0):
        """The timer is due, and called so much later; returns what it had asked for."""
        seconds, callback = self.asked.pop()
        self.now += seconds + late
        callback()
        return seconds


def test_what_holds_the_loop_up_is_in_its_bucket_and_the_longest_is_remembered(monkeypatch):
    loop = Loop(monkeypatch)
    lag = LoopLag(loop, 10, lambda: loop.now)
    lag.start()
    for late in (0.0, 0.0005, 0.012, 7.0, 0.03):
        assert loop.fire(late) == 0.01
    assert [lag.counts[n] for n, bound in enumerate((*BOUNDS, None)) if bound in (0.001, 0.015, None)] == [2, 1, 1]
    assert round(lag.seconds, 4) == 7.0425 and round(lag.longest, 4) == 7
    assert dict(lag.buckets())["0.01"] == 2 and list(lag.buckets())[-1] == ("+Inf", 5)


def test_without_turns_the_looks_are_rare_until_there_is_one(monkeypatch):
    loop, turns = Loop(monkeypatch), [7]
    lag = LoopLag(loop, 10, lambda: turns[0])
    lag.start()
    asked = [loop.fire() for _ in range(RESTING_AFTER + 3)]
    assert asked[:RESTING_AFTER] == [0.01] * RESTING_AFTER and asked[-1] == REST_SECONDS
    turns[0] += 1
    assert [loop.fire(), loop.fire()] == [REST_SECONDS, 0.01]


def test_it_may_be_off(monkeypatch):
    loop = Loop(monkeypatch)
    LoopLag(loop, 0, lambda: 0).start()
    assert loop.asked == []
