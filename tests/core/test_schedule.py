"""One heap, one timer, exact."""

from core.clock import Clock
from core.schedule import DEAD_MIN, DUE_AT_ONCE, SLEEP_MS_MAX, Schedule


class Timer:
    def __init__(self, ms, callback):
        self.ms, self.callback, self.cancelled = ms, callback, False

    def cancel(self):
        self.cancelled = True


class Loop:
    """Its one clock is in milliseconds; advance() fires the timers that are due, at their own time."""

    def __init__(self):
        self.now = 0
        self.timers = []
        self.clock = Clock(lambda: self.now / 1000, lambda: self.now / 1000)
        self.schedule = Schedule(self.call_at, self.clock)
        self.fired = []

    def call_at(self, ms, callback):
        self.timers.append(Timer(ms, callback))
        return self.timers[-1]

    def live(self):
        return [timer for timer in self.timers if not timer.cancelled]

    def advance(self, ms):
        until = self.now + ms
        while due := [timer for timer in self.live() if timer.ms <= until]:
            timer = min(due, key=lambda timer: timer.ms)
            self.timers.remove(timer)
            self.now = max(self.now, timer.ms)
            timer.callback()
        self.now = until

    def note(self, name):
        return lambda: self.fired.append((name, self.now))


class Queue:
    deleted = False

    def __init__(self, loop):
        self.loop = loop
        self.expired = []

    def expire(self):
        self.expired.append(self.loop.now)


def test_things_are_called_in_order_at_their_millisecond_by_one_timer():
    loop = Loop()
    for name, ms in (("b", 200), ("a", 100), ("c", 200)):
        loop.schedule.at(ms, loop.note(name))
    assert len(loop.live()) == 1
    loop.advance(1000)
    assert loop.fired == [("a", 100), ("b", 200), ("c", 200)] and loop.live() == [] and len(loop.schedule) == 0


def test_what_is_cancelled_is_not_called_and_takes_no_room_for_long():
    loop = Loop()
    kept = loop.schedule.at(50, loop.note("kept"))
    entries = [loop.schedule.at(100 + n, loop.note(n)) for n in range(3 * DEAD_MIN)]
    for entry in entries:
        loop.schedule.cancel(entry)
        loop.schedule.cancel(entry)
    assert len(loop.schedule) == 1 and len(loop.schedule._heap) <= DEAD_MIN + 1
    loop.advance(10_000)
    loop.schedule.cancel(kept)
    assert loop.fired == [("kept", 50)] and len(loop.schedule) == 0


def test_what_is_past_is_called_in_a_turn_to_come_and_a_crowd_in_several():
    loop = Loop()
    loop.advance(5000)
    loop.clock.tick()
    for n in range(DUE_AT_ONCE + 5):
        loop.schedule.at(10, loop.note(n))
    assert loop.fired == []
    timer = loop.live()[0]
    loop.timers.remove(timer)
    timer.callback()
    assert len(loop.fired) == DUE_AT_ONCE and len(loop.live()) == 1
    loop.advance(0)
    assert len(loop.fired) == DUE_AT_ONCE + 5


def test_a_far_time_is_slept_towards_in_hours():
    loop = Loop()
    loop.schedule.at(3 * SLEEP_MS_MAX + 7, loop.note("far"))
    assert loop.live()[0].ms == SLEEP_MS_MAX
    loop.advance(4 * SLEEP_MS_MAX)
    assert loop.fired == [("far", 3 * SLEEP_MS_MAX + 7)]


def test_a_queue_has_one_pending_wake_the_earliest():
    loop = Loop()
    queue, gone = Queue(loop), Queue(loop)
    for ms in (300, 100, 200):
        loop.schedule.wake_at(queue, ms)
    loop.schedule.wake_at(gone, 50)
    loop.schedule.forget(gone)
    loop.schedule.forget(gone)
    assert len(loop.schedule) == 1
    loop.advance(1000)
    assert queue.expired == [100] and gone.expired == []
    loop.schedule.wake_at(queue, 1500)
    queue.deleted = True
    loop.advance(1000)
    assert queue.expired == [100]


def test_after_close_nothing_is_called():
    loop = Loop()
    loop.schedule.at(100, loop.note("a"))
    loop.schedule.close()
    loop.schedule.at(50, loop.note("b"))
    loop.advance(1000)
    assert loop.fired == [] and loop.live() == []
