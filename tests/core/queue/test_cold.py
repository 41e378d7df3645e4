"""Reading what is no longer in memory, with a reader and a worker that answer when told to."""

import pytest

from core.queue.ahead import AHEAD_BYTES, AHEAD_UNITS
from core.queue.cold import ColdReads
from core.queue.cursor import Cursor
from core.queue.index import Index


class Tail:
    def __init__(self):
        self.held = set()

    def get(self, offset):
        return "message" if offset in self.held else None


class Asked:
    """A reader and a worker: keeps what it was asked, answers when told to."""

    def __init__(self):
        self.fetches = []
        self.jobs = []

    def fetch(self, units, done):
        self.fetches.append((units, done))

    def submit(self, job, done):
        self.jobs.append((job, done))


class Queue:
    durable, name, vhost = True, "q", b"/"

    def __init__(self, units, size=100):
        self.id = 7
        self.index = Index()
        self.cursor = Cursor()
        self.deleted = self.stopped = False
        self.next = 0
        self.ready = units
        self.finished = []
        self.expires = 0
        for n in range(units):
            self.index.put(n, n * 1000, size, 0, 0)

    def read_finished(self, messages):
        self.finished.append(messages)

    def expire(self):
        self.expires += 1

    def stop(self):
        self.stopped = True

    def head(self):
        return self.next

    def upcoming(self, offset):
        return range(offset, self.index.end)


@pytest.fixture
def asked():
    return Asked()


@pytest.fixture
def chunks():
    return {}


@pytest.fixture
def cold(asked, chunks):
    return ColdReads(asked, asked, lambda queue_id, number: chunks.get(number), Tail())


def unload(queue, number, chunks):
    chunks[number] = queue.index.chunk_bytes(number)
    queue.index.unstored.discard(number)
    queue.index.stored.add(number)
    queue.index.unload(number)


def answer(asked):
    """The worker does its oldest job."""
    job, done = asked.jobs.pop(0)
    done(job())


def test_one_call_reads_ahead_in_order_without_what_is_done(cold, asked):
    queue = Queue(10)
    queue.cursor.settle_range(0, 2)
    queue.cursor.settle(5)
    cold(queue, 2)
    units, done = asked.fetches.pop()
    assert units == [(n * 1000, 100) for n in (2, 3, 4, 6, 7, 8, 9)]
    done([f"m{n}" for n in range(7)])
    assert queue.finished == [{2: "m0", 3: "m1", 4: "m2", 6: "m3", 7: "m4", 8: "m5", 9: "m6"}]


@pytest.mark.parametrize(("size", "count"), [(100, AHEAD_UNITS), (AHEAD_BYTES // 4, 4), (8 * AHEAD_BYTES, 1)])
def test_what_is_read_ahead_is_bounded_in_messages_and_bytes(cold, asked, size, count):
    cold(Queue(2000, size), 0)
    assert len(asked.fetches[0][0]) == count


def test_it_stops_where_the_tail_begins(cold, asked):
    cold._tail.held = {4000, 5000}
    cold(Queue(10), 0)
    assert [offset for offset, _ in asked.fetches[0][0]] == [0, 1000, 2000, 3000]


def test_a_missing_chunk_is_loaded_first(cold, asked, chunks):
    queue = Queue(1100)
    unload(queue, 0, chunks)
    cold(queue, 3)
    assert asked.fetches == []
    answer(asked)
    assert asked.fetches[0][0][0] == (3000, 100) and cold.chunks == 1


def test_what_was_settled_meanwhile_wakes_the_queue_with_nothing(cold, asked, chunks):
    queue = Queue(1100)
    unload(queue, 0, chunks)
    cold(queue, 3)
    queue.index.trim(600)
    answer(asked)
    assert queue.finished == [{}] and asked.fetches == []


def test_a_queue_deleted_meanwhile_is_harmless(cold, asked, chunks):
    queue = Queue(1100)
    unload(queue, 0, chunks)
    cold(queue, 600)
    cold(queue, 3)
    queue.deleted = True
    asked.fetches.pop()[1](["m"])
    answer(asked)
    cold(queue, 3)
    assert asked.fetches == [] and asked.jobs == [] and cold.failed == 0


@pytest.mark.parametrize("lost", ["record", "chunk"])
def test_what_cannot_be_read_stops_that_queue_loudly(cold, asked, chunks, caplog, lost):
    queue = Queue(1100)
    unload(queue, 0, chunks)
    if lost == "chunk":
        chunks.clear()
        cold(queue, 3)
        answer(asked)
    else:
        cold(queue, 600)
        units, done = asked.fetches.pop()
        done(OSError("bad sector"))
        assert len(units) > 1 and not queue.stopped  # it may be another that is bad
        assert asked.fetches[0][0] == units[:1]
        asked.fetches.pop()[1](OSError("bad sector"))
    assert cold.failed == 1 and queue.stopped and queue.finished == []
    assert [record.getMessage() for record in caplog.records] == ["queue stopped: a message cannot be read"]


def test_expiry_goes_on_when_the_chunk_at_the_head_is_there(cold, asked, chunks):
    queue = Queue(1100)
    unload(queue, 0, chunks)
    cold.expire(queue)
    assert queue.expires == 1
    answer(asked)
    assert queue.expires == 2 and asked.jobs == []


@pytest.mark.parametrize("end", ["it is there", "deleted", "lost", "broken"])
def test_whoever_waits_for_a_chunk_is_told_once_whatever_became_of_it(cold, asked, chunks, end):
    queue, told = Queue(1100), []
    unload(queue, 0, chunks)
    cold.load(queue, 0, lambda: told.append(queue.index.loaded(3)))
    queue.deleted = end == "deleted"
    if end == "lost":
        chunks.clear()
    job, done = asked.jobs.pop(0)
    done(OSError("bad sector") if end == "broken" else job())
    assert told == [end == "it is there"] and queue.stopped == (end in ("lost", "broken"))
    assert cold.failed == queue.stopped and queue.finished == [] and asked.jobs == []


def test_a_chunk_that_cannot_be_read_is_not_asked_for_again_and_again(cold, asked, chunks, caplog):
    queue = Queue(1100)
    unload(queue, 0, chunks)
    chunks.clear()
    cold.expire(queue)
    cold(queue, 3)
    answer(asked)
    answer(asked)
    assert asked.jobs == asked.fetches == [] and cold.failed == len(caplog.records) == 1
