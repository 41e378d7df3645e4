"""Batches, commits, roll-over, pages."""

import struct

import pytest

from core.log.commit_log import SPACE_RESERVED
from core.log.record import DONE, LINK, STATE, STORE
from core.log.view import View
from core.log.waiter import Waiter


class Confirms(Waiter):
    """A channel: `seen` messages published, `confirmed` told."""

    def __init__(self):
        super().__init__()
        self.seen = 0
        self.confirmed = []

    def mark(self):
        return self.seen

    def committed(self, mark):
        self.confirmed.append(mark)


def records(bench, first=0):
    """(kind, queue offset, batch offset, offset) of every record handed over, in order."""
    out = []
    for offset in sorted(bench.engine.disk):
        data, at = bench.engine.disk[offset], 0
        while at < len(data):
            view = View()
            size = view.parse(data, at, offset + at)
            if size <= 0:
                out.append("blank")
                break
            out.append((view.kind, view.queue_offset, view.batch_offset, view.offset))
            at += size
    return out


def test_records_of_one_turn_leave_together_and_the_next_batch_grows_while_one_is_under_way(bench):
    bench.store(b"a")
    bench.log.submit()
    bench.store(b"b")
    bench.log.submit()
    bench.store(b"c")
    bench.log.submit()
    assert len(bench.engine.batches) == 1
    bench.engine.finish()
    assert len(bench.engine.batches) == 2
    bench.engine.finish()
    starts = [parts[0][0] for parts in bench.engine.batches]
    assert [r[2] for r in records(bench)] == [starts[0], starts[1], starts[1]]
    assert bench.log.committed == bench.log.appended == bench.engine.end and bench.log.pending_bytes == 0


def test_offsets_are_bytes_and_each_kind_counts_for_itself(bench):
    first, second = bench.store(b"a"), bench.store(b"bb")
    assert (first.offset, second.offset) == (0, first.record_size)
    assert first.store_ms == 1_700_000_000_000
    for kind in (STATE, DONE, STATE):
        bench.log.append(kind, b"fact")
    bench.log.submit()
    assert [r[:2] for r in records(bench)] == [(STORE, 0), (STORE, 1), (STATE, 0), (DONE, 0), (STATE, 1)]
    assert bench.log.counters() == (0, 2, 2, 1, 0)


def test_counting_goes_on_where_recovery_left_it(new_bench):
    bench = new_bench(tail=5000, counters=(0, 7, 8, 9, 1))
    bench.store()
    bench.log.submit()
    assert records(bench) == [(STORE, 7, 5000, 5000)]


def test_a_waiter_is_marked_when_its_batch_closes_and_told_when_it_is_committed(bench):
    channel = Confirms()
    for channel.seen in (1, 2):
        bench.store()
        bench.log.wait(channel)
    bench.log.submit()
    channel.seen = 3
    bench.store()
    bench.log.wait(channel)
    bench.log.submit()
    assert channel.confirmed == []
    bench.engine.finish()
    assert channel.confirmed == [2]
    bench.engine.finish()
    assert channel.confirmed == [2, 3]


def test_callbacks_run_in_order_when_all_appended_before_them_is_committed(bench):
    told = []
    bench.store()
    bench.log.when_committed(lambda: told.append("first"))
    bench.log.submit()
    bench.store()
    bench.log.when_committed(lambda: told.append("second"))
    bench.engine.finish()
    assert told == ["first"]
    bench.engine.finish()
    assert told == ["first", "second"]
    bench.log.when_committed(lambda: told.append("idle"))
    assert told == ["first", "second"]
    bench.turn()
    assert told[-1] == "idle"


def test_what_a_callback_appends_is_committed_with_the_next_batch(bench):
    told = []

    def again():
        bench.store(b"caused")
        bench.log.when_committed(lambda: told.append(bench.log.committed))

    bench.store()
    bench.log.when_committed(again)
    bench.log.submit()
    bench.engine.finish()
    assert told == []
    bench.engine.finish()
    assert told == [bench.log.appended]


def test_a_waiter_without_records_is_told_in_the_next_turn(bench):
    channel = Confirms()
    channel.seen = 5
    bench.log.wait(channel)
    bench.log.submit()
    assert channel.confirmed == []
    bench.turn()
    assert channel.confirmed == [5]


def test_a_batch_holds_its_bound_or_one_bigger_record(new_bench):
    bench = new_bench(batch_bytes_max=4096)
    channel = Confirms()
    for body in (1000, 1000, 1000, 1000, 9000, 10):
        bench.store(b"x" * body)
        channel.seen += 1
        bench.log.wait(channel)
    bench.log.submit()
    bench.engine.finish_all()
    sizes = [sum(len(data) for _, data in parts) for parts in bench.engine.batches]
    assert [size <= 4096 for size in sizes] == [True, True, False, True]
    assert channel.confirmed == [6], "marked once, at the end of the turn"
    assert bench.log.committed == bench.log.appended


def test_a_full_batch_is_closed_although_one_is_under_way(new_bench):
    bench = new_bench(batch_bytes_max=2048)
    bench.store()
    bench.log.submit()
    number = bench.log.batch_no
    channel = Confirms()
    bench.store(b"x" * 2048)
    bench.log.wait(channel)
    bench.log.submit()
    assert bench.log.batch_no == number + 1
    bench.engine.finish()
    assert channel.confirmed == []
    bench.engine.finish()
    assert channel.confirmed == [0]


def test_a_record_that_does_not_fit_rolls_over_behind_a_blank(new_bench):
    bench = new_bench(segment_bytes=4096)
    while bench.log.appended < 4096:
        bench.store(b"x" * 300)
    bench.log.submit()
    bench.engine.finish()
    (first, data), (second, more) = bench.engine.batches[0]
    assert (first, second) == (0, 4096) and len(data) <= 4096
    size, magic = struct.unpack_from(">II", data, len(data) - 8)
    assert magic == 0xCBD43194 and len(data) - 8 + size == 4096
    view = View()
    assert view.parse(more, 0, 4096) == len(more) and view.batch_offset == 0


def test_a_record_may_leave_exactly_eight_bytes_and_not_less(new_bench):
    spare = new_bench(segment_bytes=4096)
    spare.store(b"")
    empty = spare.log.appended
    for left, starts in ((8, 0), (7, 4096)):
        bench = new_bench(segment_bytes=4096)
        bench.store(b"x" * (1000 - empty))
        assert bench.log.appended == 1000
        message = bench.store(b"y" * (4096 - 1000 - left - empty))
        assert message.offset == (1000 if starts == 0 else 4096)
        following = bench.store(b"z")
        assert following.offset == (4096 if starts == 0 else message.offset + message.record_size)


def test_a_record_beyond_a_segment_is_our_bug(new_bench):
    bench = new_bench(segment_bytes=4096)
    with pytest.raises(AssertionError, match="exceeds a segment"):
        bench.store(b"x" * 4096)


def test_more_than_256_places_follow_in_links_of_the_same_batch(new_bench):
    bench = new_bench(batch_bytes_max=20_000)
    bench.store(b"x" * 6000)
    places = [(i, i * 3, i % 2) for i in range(5000)]
    message = bench.store(b"fan-out", places)
    bench.log.submit()
    bench.engine.finish_all()
    (data,) = (d for o, d in bench.engine.disk.items() if o == message.offset)
    view, at, found = View(), 0, []
    while at < len(data):
        at += view.parse(data, at, message.offset + at)
        assert view.batch_offset == message.offset
        if view.kind == STORE:
            found += view.places()
        else:
            assert view.kind == LINK and view.link()[:2] == (message.offset, message.record_size)
            found += view.link()[2]
    assert found == [n for place in places for n in place]


def test_a_large_body_goes_by_reference_and_reads_back(bench):
    fragments = (b"a" * 100_000, b"b" * 50_000)
    message = bench.store(fragments)
    small = bench.store(b"after")
    bench.log.submit()
    data = bench.engine.disk[0]
    view = View()
    assert view.parse(data, 0, 0) == message.record_size and view.body() == b"".join(fragments)
    assert view.parse(data, small.offset, small.offset) == small.record_size
    assert bench.log.memory_bytes == 256 << 10


def test_after_an_error_nothing_more_is_committed_or_written(bench):
    channel = Confirms()
    bench.store()
    bench.log.wait(channel)
    bench.log.when_committed(lambda: channel.confirmed.append("never"))
    bench.log.submit()
    bench.store()
    error = OSError(5, "Input/output error")
    bench.engine.finish(error)
    bench.log.submit()
    assert bench.failures == [error] and channel.confirmed == [] and bench.log.committed == 0
    assert len(bench.engine.batches) == 1


def test_pages_are_used_again_and_given_back_after_a_burst(new_bench):
    bench = new_bench(segment_bytes=1 << 30)
    for _ in range(6000):
        bench.store(b"x" * 1024)
    bench.log.submit()
    peak = bench.log.memory_bytes
    bench.engine.finish_all()
    assert peak >= 6 << 20 and bench.log.memory_bytes <= 2 << 20
    steady = set()
    for _ in range(30):
        bench.store(b"x" * 1024)
        bench.log.submit()
        bench.store(b"y" * 1024)
        bench.engine.finish_all()
        steady.add(bench.log.memory_bytes)
    assert len(steady) == 1


def test_space_left_keeps_a_reserve(bench, new_bench):
    bench.store()
    assert bench.log.space_left == bench.engine.space() - (1 << 17) - bench.log.appended
    bench = new_bench(segment_bytes=1 << 30)
    assert bench.log.space_left == bench.engine.space() - SPACE_RESERVED


def test_close_commits_first(bench):
    told = []
    bench.store()
    bench.log.close(lambda: told.append("closed"))
    assert not bench.engine.closed
    bench.engine.finish()
    assert bench.engine.closed and told == ["closed"]
