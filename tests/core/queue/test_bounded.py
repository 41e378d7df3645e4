"""A queue within limits: what goes and what is refused, and that bytes are counted right, whatever comes or changes."""

import pytest

from core.publish import ACCEPTED, AT_COMMIT, REFUSED
from core.queue.index import NOT_LOADED
from core.queue.levels import Levels
from core.quorum import QuorumQueue
from core.routing.router import Route
from core.state.settings import DROP_HEAD, REJECT_PUBLISH, REJECT_PUBLISH_DLX, QueueSettings
from tests.core.queue.bench import Bench, Taker, new_message

AT_ONCE = 1000  # dropped in one turn


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture(params=[True, False], ids=["durable", "transient"])
def queue(bench, request):
    return bench.queue(request.param)


class Shelf:
    """Chunks that left memory; bring() has one come back when finish() is called."""

    def __init__(self, queue):
        self.queue, self.chunks, self.asked = queue, {}, []
        queue.cold = self

    def __call__(self, queue, offset):
        raise AssertionError(f"message {offset} is asked for")

    def put_away(self):
        index = self.queue.index
        for number in sorted(index.unstored):
            self.chunks[number] = index.chunk_bytes(number)
            index.unstored.discard(number)
            index.stored.add(number)
            index.unload(number)

    def bring(self, queue, offset, done):
        self.asked.append((offset // 512, done))

    def finish(self):
        number, done = self.asked.pop(0)
        self.queue.index.load(number, self.chunks[number])
        done()


class Letters:
    """A dead letter exchange that keeps what it gets until it is told to let go."""

    def __init__(self, queue):
        self.queue, self.got, self.refused = queue, [], []
        queue.letters = self

    def bury(self, queue, offset, reason):
        self.got.append((offset, reason))

    def bury_refused(self, queue, message):
        self.refused.append(message.body)

    def take(self, count):
        for offset, _ in self.got[:count]:
            self.queue.settle(offset)
            self.queue.buried()
        del self.got[:count]


def limit(queue, length=-1, size=-1, overflow=DROP_HEAD, **more):
    queue.configure(QueueSettings(max_length=length, max_length_bytes=size, overflow=overflow, **more))


def fill(bench, queue, count, size=1, **fields):
    return [bench.publish(queue, bytes(size), **fields) for _ in range(count)]


def ready_offsets(queue):
    """By delivery to a consumer that takes all; it gives all back."""
    taker = Taker(queue)
    queue.add_consumer(taker)
    queue.serve(100_000)
    queue.remove_consumer(taker)
    offsets = [offset for _, offset, _ in taker.got]
    for offset in offsets:
        taker.settle(offset, requeue=True)
    return offsets


@pytest.mark.parametrize("limits", [(3, -1), (-1, 3)], ids=["messages", "bytes"])
def test_the_head_goes_when_one_more_comes(bench, queue, limits):
    limit(queue, *limits)
    fill(bench, queue, 5)
    assert (queue.ready, queue.dropped, queue.refused, queue.cursor.floor) == (3, 2, 0, 2)
    assert ready_offsets(queue) == [2, 3, 4]


def test_a_message_that_is_refused_enters_nowhere(bench, queue):
    limit(queue, 1, overflow=REJECT_PUBLISH)
    other = bench.queue(queue.durable, name="other")
    fill(bench, queue, 1)
    written = bench.log.records
    durable = (queue, other) if queue.durable else ()
    assert bench.publisher.publish(new_message(), Route((queue,), durable[:1])) == REFUSED
    assert (bench.log.records, queue.end(), queue.refused) == (written, 1, 1)
    assert bench.publisher.publish(new_message(), Route((queue, other), durable)) == REFUSED
    assert (queue.end(), other.end(), bench.log.records) == (1, 1, written + queue.durable)
    assert bench.publisher.publish(new_message(), Route((other,), durable[1:])) == (
        AT_COMMIT if queue.durable else ACCEPTED
    )


def test_a_limit_that_comes_later_drops_in_slices(bench, queue):
    fill(bench, queue, 2500)
    bench.run()
    limit(queue, 100)
    assert queue.ready == 2500, "not in the midst of whatever changed it"
    counts = []
    while bench.soon:
        bench.soon.pop(0)()
        counts.append(queue.ready)
    assert [first - then for first, then in zip([2500, *counts], counts, strict=False) if first != then] == [
        AT_ONCE,
        AT_ONCE,
        400,
    ]
    assert ready_offsets(queue)[0] == 2400


def test_without_the_limit_everything_stays(bench, queue):
    limit(queue, 2)
    fill(bench, queue, 3)
    limit(queue)
    fill(bench, queue, 3)
    bench.run()
    assert queue.limits is None and queue.ready == 5


def test_bytes_count_what_is_ready_and_nothing_else(bench, queue):
    limit(queue, size=100)
    taker = Taker(queue, prefetch=2)
    queue.add_consumer(taker)
    for size in (10, 20, 30):
        fill(bench, queue, 1, size)
    bench.run()
    assert queue.limits.ready_bytes == 30
    taker.settle(0, requeue=True)
    assert queue.limits.ready_bytes == 40
    taker.settle(1)
    queue.remove_consumer(taker)
    assert queue.limits.ready_bytes == 40
    queue.purge()
    assert (queue.limits.ready_bytes, queue.ready) == (0, 0)


def test_a_limit_of_bytes_that_comes_later_counts_what_is_there_and_what_comes_back(bench, queue):
    taker = Taker(queue, prefetch=3)
    queue.add_consumer(taker)
    for size in range(10):
        fill(bench, queue, 1, size)
    bench.run()
    taker.settle(1)
    taker.settle(0, requeue=True)
    limit(queue, size=1000)
    taker.settle(2, requeue=True)
    bench.run()
    assert queue.ready == 6 and queue.limits.ready_bytes == sum(range(4, 10))
    queue.remove_consumer(taker)
    for offset in (0, 2, 3):
        taker.settle(offset, requeue=True)
    assert queue.limits.ready_bytes == sum(range(10)) - 1
    limit(queue, size=20)
    bench.run()
    assert ready_offsets(queue) == [8, 9] and queue.limits.ready_bytes == 17


def test_a_limit_of_bytes_that_comes_to_an_empty_queue_counts_what_comes_then(bench, queue):
    fill(bench, queue, 3)
    queue.purge()
    limit(queue, size=20)
    bench.run()
    fill(bench, queue, 3, 10)
    assert (queue.ready, queue.limits.ready_bytes) == (2, 20)


def test_what_comes_while_the_bytes_are_added_up_counts_once(bench, queue):
    fill(bench, queue, 40_000)
    limit(queue, size=1 << 40)
    bench.soon.pop(0)()
    assert 0 < queue.limits.ready_bytes < 40_000
    fill(bench, queue, 1000)
    bench.run()
    assert queue.limits.ready_bytes == 41_000


def test_what_was_settled_before_its_turn_came_is_not_counted(bench):
    queue = bench.queue()
    shelf = Shelf(queue)
    fill(bench, queue, 600)
    shelf.put_away()
    limit(queue, size=1 << 40)
    bench.run()
    assert [number for number, _ in shelf.asked] == [0] and queue.limits.ready_bytes == 0
    queue.purge()
    fill(bench, queue, 600)
    queue.purge()
    fill(bench, queue, 5, 10)
    bench.run()
    assert queue.cursor.floor > 1024 and queue.limits.ready_bytes == 50
    shelf.asked[0][1]()
    bench.run()
    assert queue.limits.ready_bytes == 50


def test_a_chunk_that_cannot_be_read_is_not_asked_for_until_a_purge(bench):
    queue = bench.queue()
    shelf = Shelf(queue)
    fill(bench, queue, 1100, 1)
    shelf.put_away()
    limit(queue, size=1)
    bench.run()
    (_, done), shelf.asked = shelf.asked[0], []
    queue.stop()
    done()
    bench.run()
    bench.publish(queue, b"x")
    bench.run()
    assert shelf.asked == []


def test_chunks_on_the_disk_are_brought_back_one_at_a_time_to_be_counted(bench):
    queue = bench.queue()
    shelf = Shelf(queue)
    fill(bench, queue, 5 * 512, 3)
    shelf.put_away()
    limit(queue, size=1 << 40)
    bench.run()
    for number in range(5):
        assert [asked for asked, _ in shelf.asked] == [number]
        assert queue.index.loaded_chunks() == []
        shelf.finish()
        bench.run()
    assert queue.limits.ready_bytes == 5 * 512 * 3
    assert shelf.asked == [] and queue.index.loaded_chunks() == []


def test_heads_on_the_disk_are_dropped_once_their_size_is_known(bench):
    queue = bench.queue()
    shelf = Shelf(queue)
    limit(queue, size=1 << 40)
    fill(bench, queue, 3 * 512)
    shelf.put_away()
    limit(queue, size=700)
    bench.run()
    while shelf.asked:
        shelf.finish()
        bench.run()
    assert (queue.ready, queue.limits.ready_bytes, queue.cursor.floor) == (700, 700, 3 * 512 - 700)
    fill(bench, queue, 100)
    bench.run()
    assert queue.index.find(queue.cursor.floor) != NOT_LOADED
    assert (queue.ready, queue.limits.ready_bytes) == (700, 700)


def test_what_expires_in_the_middle_counts_no_more(bench, queue):
    limit(queue, size=100)
    for size, ms in ((10, 0), (20, 40), (30, 0)):
        fill(bench, queue, 1, size, expire_at=ms and bench.clock.ms + ms)
    bench.pass_ms(50)
    bench.run()
    assert (queue.ready, queue.expired, queue.limits.ready_bytes) == (2, 1, 40)
    fill(bench, queue, 1, 70)
    assert ready_offsets(queue) == [2, 3] and queue.limits.ready_bytes == 100


def test_what_expires_in_the_middle_and_on_the_disk_goes_once_its_size_is_known(bench):
    queue = bench.queue()
    shelf = Shelf(queue)
    limit(queue, size=1 << 40)
    for number in range(1536):
        fill(bench, queue, 1, 3, expire_at=0 if number % 3 else bench.clock.ms + 40)
    shelf.put_away()
    bench.pass_ms(50)
    bench.run()
    assert (queue.ready, queue.limits.ready_bytes) == (1536 - queue.expired, 3 * (1536 - queue.expired))
    while shelf.asked:
        shelf.finish()
        bench.run()
    assert (queue.ready, queue.expired, queue.limits.ready_bytes) == (1024, 512, 3072)


def test_a_limit_of_bytes_that_comes_later_does_not_count_what_is_leaving_from_the_middle(bench, queue):
    limit(queue, dead_letter_exchange="dlx")
    letters = Letters(queue)
    for size, ms in ((10, 0), (20, 40), (30, 0)):
        fill(bench, queue, 1, size, expire_at=ms and bench.clock.ms + ms)
    bench.pass_ms(50)
    bench.run()
    assert letters.got == [(1, "expired")]
    limit(queue, size=100, dead_letter_exchange="dlx")
    bench.run()
    assert (queue.ready, queue.limits.ready_bytes) == (2, 40)
    letters.take(1)
    assert queue.limits.ready_bytes == 40


def test_more_than_the_limit_are_never_on_their_way_to_the_dead_letter_exchange(bench, queue):
    limit(queue, 10, dead_letter_exchange="dlx")
    letters = Letters(queue)
    fill(bench, queue, 3000)
    bench.run()
    assert len(letters.got) == 2000 and queue.ready == 1000
    assert letters.got[:2] == [(0, "maxlen"), (1, "maxlen")]
    letters.take(1500)
    bench.run()
    assert len(letters.got) == 1490 and queue.ready == 10
    letters.take(1490)
    assert queue.cursor.floor == 2990


def test_what_is_refused_goes_to_the_dead_letter_exchange_if_that_is_asked_for(bench, queue):
    for overflow, expected in ((REJECT_PUBLISH, []), (REJECT_PUBLISH_DLX, [b"\0"])):
        queue.purge()
        limit(queue, 1, overflow=overflow, dead_letter_exchange="dlx")
        letters = Letters(queue)
        fill(bench, queue, 2)
        assert (letters.refused, letters.got, queue.ready) == (expected, [], 1)


def test_the_next_head_expires_though_the_one_before_it_did_not(bench, queue):
    limit(queue, 2)
    fill(bench, queue, 1)
    fill(bench, queue, 2, expire_at=bench.clock.ms + 50)
    bench.run()
    assert (queue.ready, queue.dropped) == (2, 1)
    bench.pass_ms(60)
    bench.run()
    assert (queue.ready, queue.expired) == (0, 2)


def test_of_several_priorities_the_highest_goes_and_all_count(bench, queue):
    queue.levels = Levels(3, len)
    limit(queue, size=20)
    for priority, size in ((0, 9), (3, 5), (1, 6), (3, 4), (2, 8)):
        fill(bench, queue, 1, size, header=bytes(priority))
    assert ready_offsets(queue) == [2, 0] and queue.limits.ready_bytes == 15
    limit(queue)
    limit(queue, size=14)
    bench.run()
    assert ready_offsets(queue) == [0] and queue.limits.ready_bytes == 9


def test_what_came_back_too_often_counts_no_more(bench):
    queue = QuorumQueue((7, b"/", "q"), True, bench.turn, bench.log.tail)
    limit(queue, size=100, delivery_limit=1)
    fill(bench, queue, 2, 10)
    for size in (10, 0):
        taker = Taker(queue)
        queue.add_consumer(taker)
        bench.run()
        queue.remove_consumer(taker)
        assert queue.limits.ready_bytes == 0
        taker.settle(0, requeue=True)
        assert queue.limits.ready_bytes == size
    assert (queue.ready, queue.unacked, queue.cursor.floor) == (0, 1, 1)
    taker.settle(1, requeue=True)
    assert (queue.ready, queue.unacked, queue.limits.ready_bytes) == (1, 0, 10)


def test_a_quorum_queue_drops_its_head_where_it_should_refuse_with_dead_letters(bench, caplog):
    queue = QuorumQueue((7, b"/", "q"), True, bench.turn, bench.log.tail)
    limit(queue, 2, overflow=REJECT_PUBLISH_DLX)
    fill(bench, queue, 3)
    assert (queue.ready, queue.dropped, queue.refused) == (2, 1, 0)
    assert "reject-publish-dlx" in caplog.text


def test_a_deleted_queue_keeps_nothing_within_limits(bench, queue):
    fill(bench, queue, 3)
    limit(queue, 1, 1)
    queue.discard()
    bench.run()
    assert queue.limits is None and queue.dropped == 0


def test_a_queue_that_comes_back_over_its_limit_drops_what_is_too_much(bench):
    queue = bench.queue()
    fill(bench, queue, 5, 10)
    limit(queue, size=25)
    queue.restored()
    assert queue.ready == 5
    bench.run()
    assert (queue.ready, queue.limits.ready_bytes, queue.cursor.floor) == (2, 20, 3)

