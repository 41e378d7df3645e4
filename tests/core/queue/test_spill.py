"""What leaves memory, when, at what cost on the disk; and a disk that fails."""

import msgspec
import pytest

from core.queue import spill
from core.routing.router import Route
from tests.core.queue.bench import Taker, bytes_held, new_message
from tests.core.queue.spilling import SpillBench

CHUNK_BYTES = 512 * (256 + 100)
LIMIT = 3 * CHUNK_BYTES


@pytest.fixture
def bench():
    return SpillBench(LIMIT, file_bytes=1 << 20)


def fill(bench, queue, count=10 * 512, size=100):
    for number in range(count):
        bench.publish(queue, b"%0*d" % (size, number))
        if number % 512 == 0:
            bench.run()
    bench.run()


def drain(bench, queue):
    """Everything, to a consumer that acknowledges at once; the numbers in the bodies."""
    taker = Taker(queue, no_ack=True)
    queue.add_consumer(taker)
    bench.run()
    queue.remove_consumer(taker)
    return [int(body) for body in taker.bodies]


def test_below_the_limit_nothing_is_written(bench):
    queue = bench.queue()
    fill(bench, queue, 2 * 512)
    assert bench.spill.room.bytes == 2 * CHUNK_BYTES and bench.spill.written == 0 and bench.files_there() == []


def test_above_it_the_last_that_came_go_and_memory_stays_within_it(bench):
    queue = bench.queue()
    fill(bench, queue, 20 * 512)
    assert bench.spill.room.bytes <= LIMIT + CHUNK_BYTES
    assert queue.held.holds(0) and queue.held.holds(511) and not queue.held.holds(10 * 512)
    assert bench.spill.room.away == bench.spill.written == 20 * 512 - bench.spill.room.bytes // 356
    assert drain(bench, queue) == list(range(20 * 512))
    assert bench.is_empty()


def test_a_consumer_does_not_wait_for_the_disk_again_and_again(bench):
    queue = bench.queue()
    fill(bench, queue, 30 * 512)
    asked = []
    cold = queue.cold
    queue.cold = lambda queue, offset: (asked.append(offset), cold(queue, offset))
    taker = Taker(queue, prefetch=256)
    queue.add_consumer(taker)
    bench.run()
    while queue.unacked:
        for offset in range(taker.got[-1][1] + 1 - queue.unacked, taker.got[-1][1] + 1):
            taker.settle(offset)
        bench.run()
    assert [int(body) for body in taker.bodies] == list(range(30 * 512))
    assert asked == []  # all was read ahead
    assert bench.spill.reads <= 30 and bench.is_empty()


def test_messages_of_several_queues_are_written_once_and_stay_until_the_last_has_them(bench):
    queues = [bench.queue(name=name) for name in "abc"]
    for number in range(20 * 512):
        bench.publisher.publish(new_message(b"%0100d" % number), Route(tuple(queues), ()))
        if number % 512 == 0:
            bench.run()
    bench.run()
    assert bench.spill.written < 20 * 512
    assert bench.spill.room.away > 2 * bench.spill.written
    for queue in queues:
        assert drain(bench, queue) == list(range(20 * 512))
    assert bench.is_empty()


def test_what_is_shared_in_too_many_parts_is_written_again(bench):
    every, odd = bench.queue(name="every"), bench.queue(name="odd")
    for number in range(20 * 512):
        queues = (every, odd) if number % 2 else (every,)
        bench.publisher.publish(new_message(b"%0100d" % number), Route(queues, ()))
        if number % 512 == 0:
            bench.run()
    bench.run()
    assert drain(bench, odd) == list(range(1, 20 * 512, 2)) and drain(bench, every) == list(range(20 * 512))
    assert bench.is_empty()


def test_what_is_unacknowledged_leaves_memory_too_and_comes_back_to_its_place(bench):
    queue = bench.queue()
    fill(bench, queue)
    taker = Taker(queue)
    queue.add_consumer(taker)
    bench.run()
    assert len(taker.got) == 10 * 512
    bench.pass_ms(1000)
    bench.spill.look()
    bench.run()
    assert bench.spill.room.bytes <= LIMIT + CHUNK_BYTES and queue.unacked == 10 * 512
    queue.remove_consumer(taker)
    for offset in range(0, 10 * 512, 2):
        taker.settle(offset)
    for offset in range(1, 10 * 512, 2):
        taker.settle(offset, requeue=True)
    assert drain(bench, queue) == list(range(1, 10 * 512, 2))
    assert bench.is_empty()


def test_what_came_back_goes_again_without_being_written(bench):
    queue = bench.queue()
    fill(bench, queue)
    taker = Taker(queue)
    queue.add_consumer(taker)
    bench.run()
    bench.pass_ms(1000)
    for _ in range(3):
        bench.spill.look()
        bench.run()
    assert bench.spill.written <= 10 * 512


def test_small_queues_go_when_large_ones_have_nothing_to_spare():
    bench = SpillBench(1 << 20, file_bytes=1 << 20)
    queues = [bench.queue(name=str(number)) for number in range(100)]
    for queue in queues:
        for number in range(100):
            bench.publish(queue, b"%0500d" % number)
    for _ in range(20):
        bench.spill.look()
        bench.run()
    assert bench.spill.room.bytes <= (1 << 20) + 100 * bench.spill.bounds.least_bytes[1]
    for queue in queues:
        assert drain(bench, queue) == list(range(100))
    assert bench.is_empty()


def test_big_messages_are_bounded_within_a_chunk():
    bench = SpillBench(4 << 20, file_bytes=16 << 20)
    queue = bench.queue()
    bodies = [bytes([number]) * (1 << 20) for number in range(30)]
    for body in bodies:
        bench.publish(queue, body)
        bench.spill.look()
        bench.run()
    assert bytes_held(queue) <= 5 << 20
    taker = Taker(queue, prefetch=1)
    queue.add_consumer(taker)
    for number in range(30):
        bench.run()
        assert len(taker.got) == number + 1 and bytes_held(queue) <= 8 << 20
        taker.settle(number)
        bench.pass_ms(300)
        bench.spill.look()
    assert taker.bodies == bodies
    bench.run()
    assert bench.is_empty()


def test_a_deleted_queue_frees_its_blocks_also_those_being_written_and_read(bench):
    queue = bench.queue()
    bench.eager = False
    fill(bench, queue)
    bench.work()
    taker = Taker(queue, no_ack=True)
    queue.add_consumer(taker)
    bench.run()
    assert bench.jobs
    queue.discard()
    bench.eager = True
    bench.run()
    assert bench.is_empty()


def test_a_chunk_that_was_emptied_while_it_was_written_goes_on_without_that():
    bench = SpillBench(0, file_bytes=1 << 20)
    bench.eager = False
    queue = bench.queue()
    for number in range(300):
        bench.publish(queue, b"%01000d" % number)
    bench.spill.look()
    assert len(bench.jobs) == 1
    for number in range(300, 350):
        bench.publish(queue, b"%01000d" % number)
    assert drain(bench, queue) == list(range(350))
    for number in range(100):
        bench.publish(queue, b"%01000d" % number)
    bench.eager = True
    bench.run()
    for _ in range(3):
        bench.spill.look()
        bench.run()
    assert bench.spill.room.away > 80
    assert drain(bench, queue) == list(range(100))
    assert bench.is_empty()


class Keeping(Taker):
    """Keeps the messages themselves."""

    messages = ()

    def deliver(self, message, offset, redelivered):
        super().deliver(message, offset, redelivered)
        self.messages = [*self.messages[-1500:], message]


def test_what_is_read_as_fast_as_it_comes_is_not_written_though_others_hold_all_the_room(bench):
    idle, busy = bench.queue(name="idle"), bench.queue(name="busy")
    fill(bench, idle)
    taker = Keeping(busy, prefetch=300)
    busy.add_consumer(taker)
    for number in range(20 * 512):
        bench.publish(busy, b"%0100d" % number)
        if number % 100 == 99:
            bench.run()
            if number >= 900:  # 700 behind
                for offset in range(number - 799, number - 699):
                    taker.settle(offset)
            bench.run()
            assert busy.held.away == 0 and not any(message.spilled for message in taker.messages)


def test_header_blocks_count(bench):
    queue = bench.queue()
    for _ in range(1000):
        bench.publish(queue, b"", header=bytes(5000))
        bench.spill.look()
    bench.run()
    assert bench.spill.room.bytes <= LIMIT + 2 * 512 * 1024 and bench.spill.written > 500


def test_a_full_disk_keeps_what_is_there_in_memory_says_so_once_and_is_tried_again(caplog):
    bench = SpillBench(LIMIT, capacity=3 * CHUNK_BYTES, file_bytes=1 << 20)
    queue = bench.queue()
    fill(bench, queue, 20 * 512)
    assert bench.spill.room.bytes > 10 * CHUNK_BYTES
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.message for record in errors] == ["spill/ cannot be written: transient messages stay in memory"]
    assert "No space left" in errors[0].error
    bench.disk.capacity = 1 << 30
    bench.pass_ms(spill.RETRY_MS)
    for _ in range(3):
        bench.spill.look()
        bench.run()
    assert bench.spill.room.bytes <= LIMIT + CHUNK_BYTES
    assert drain(bench, queue) == list(range(20 * 512))
    assert bench.is_empty()


def test_while_the_disk_is_not_to_be_written_to_nothing_is(bench):
    bench.spill.allowed = lambda: False
    queue = bench.queue()
    fill(bench, queue)
    assert bench.spill.written == 0 and bench.spill.room.bytes == 10 * CHUNK_BYTES
    assert drain(bench, queue) == list(range(10 * 512))


def test_what_waits_for_the_thread_when_that_begins_is_given_back():
    bench = SpillBench(LIMIT, file_bytes=1 << 20)
    bench.eager = False
    queue = bench.queue()
    fill(bench, queue, 20 * 512)
    assert bench.spill._encoded and len(bench.jobs) == 1, "some are being written, others are encoded"
    bench.spill.allowed = lambda: False
    bench.work()
    assert (bench.spill._encoded, bench.spill._encoded_bytes, bench.spill._coming) == ([], 0, 0)
    assert {block.place is None for block in bench.spill._blocks.values()} == {False}
    bench.spill.allowed = lambda: True
    bench.eager = True
    bench.spill.look()
    bench.run()
    assert bench.spill.room.bytes <= LIMIT + CHUNK_BYTES
    assert drain(bench, queue) == list(range(20 * 512))
    assert bench.is_empty()


def damage(bench):
    """Every byte of every block of now."""
    for path in bench.files_there():
        data = bench.disk._files[path].data
        data[:] = bytes(byte ^ 0x55 for byte in data)


@pytest.mark.parametrize("limits", [{}, {"max_length": 1 << 20, "max_length_bytes": 1 << 40}])
def test_what_cannot_be_read_is_lost_and_told_and_the_queue_goes_on(bench, caplog, limits):
    queue = bench.queue()
    queue.configure(msgspec.structs.replace(queue.settings, **limits))
    fill(bench, queue)
    away = bench.spill.room.away
    damage(bench)
    got = drain(bench, queue)
    assert got == sorted(got) and len(got) == 10 * 512 - away and queue.lost == away and queue.ready == 0
    lost = [record.messages for record in caplog.records if "are lost" in record.message]
    assert sum(lost) == away
    assert queue.limits is None or queue.limits.ready_bytes == 0
    fill(bench, queue, 100)
    assert drain(bench, queue) == list(range(100))
    assert bench.is_empty()


def test_lost_messages_do_not_stop_what_expires(bench):
    queue = bench.queue(ttl_ms=1000)
    fill(bench, queue)
    damage(bench)
    bench.pass_ms(2000)
    for _ in range(20):
        bench.run()
        bench.pass_ms(1)
    assert (queue.ready, queue.expired + queue.lost) == (0, 10 * 512)
    assert bench.is_empty()


def test_a_block_that_lies_where_another_did_is_not_taken_for_it(bench):
    queue = bench.queue()
    fill(bench, queue)
    path = bench.files_there()[0]
    data = bench.disk._files[path].data
    size = int.from_bytes(data[:4], "big")
    data[:size] = data[size : 2 * size]
    got = drain(bench, queue)
    assert queue.lost > 0 and got == sorted(got)


def test_all_that_a_message_has_comes_back():
    bench = SpillBench(0, file_bytes=1 << 20)
    queue = bench.queue(ttl_ms=5000)
    wanted = []
    for number in range(600):
        message = new_message(
            b"x" * number * 60, expire_at=bench.clock.ms + 10_000 if number % 2 else 0, persistent=number % 3 == 0,
            header=bytes(number % 200) if number % 100 else bytes(40_000),
        )  # fmt: skip
        message.unseen = bytes(number % 11)
        bench.publisher.publish(message, Route((queue,), ()))
        wanted.append([getattr(message, field) for field in FIELDS])
    for _ in range(5):
        bench.spill.look()
        bench.run()
    assert bench.spill.room.away > 500
    for offset in range(600):
        if queue.held.get(offset) is None:
            bench.spill.fetch(queue.held, offset, lambda: None)
            bench.run()
        message = queue.held.get(offset)
        assert [getattr(message, field) for field in FIELDS] == wanted[offset]
        assert (message.offset, message.record_size) == (-1, 0)
        assert queue.held.code == bench.clock.ms + 5000


FIELDS = (
    *("vhost", "exchange", "routing_key", "header", "unseen", "body", "body_size", "store_ms", "expire_at"),
    "persistent",
)
