"""What a sieve finds in a block of records, and where it stops."""

from array import array
from random import Random

import pytest

from core.log.record import DONE, STATE
from core.log.sieve import Sieve, exchange_prefix
from core.log.view import BLANK, CUT_SHORT, INVALID


@pytest.fixture
def block(new_bench):
    """Records of all kinds, and what each stored message is: (offset, size, places, address, ms)."""
    bench, random, stored = new_bench(segment_bytes=1 << 28), Random(7), []
    bench.log.append(STATE, b"fact")
    for number in range(300):
        places = [(random.choice((1, 2, 3, 1 << 33, (1 << 60) + number)), number, random.choice((0, 0, 7, -1)))]
        places += [(random.randrange(4, 200) << 7, 1 << 40, random.choice((0, 1 << 62)))] * random.randrange(20)
        random.shuffle(places)
        address = (b"/", random.choice((b"x", b"xy", b"", b"e" * 200)), random.choice((b"", b"x", b"k" * 50)))
        header = random.choice((b"", b"\0\0", b"h" * 40000))
        body = random.choice((b"", b"__Q\x01AAAA\x02", b"b" * 3000, (b"c" * 20000, b"d")))
        bench.clock.set(1000 + number // 10)
        message = bench.store(body, places, address=address, header=header)
        stored.append((message.offset, message.record_size, places, address, message.store_ms))
        if number % 9 == 0:
            bench.log.append(DONE, b"done" * number)
    bench.log.submit()
    bench.engine.finish_all()
    return bench.engine.image(), stored


def found(sifted):
    flat = list(sifted.found)
    return list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))


@pytest.mark.parametrize("queue_id", [1, 2, 3, 1 << 33, (1 << 60) + 5, 640, 99])
@pytest.mark.parametrize("since_ms", [0, 1015])
def test_of_a_queue_it_finds_what_entered_it_and_where(block, queue_id, since_ms):
    data, stored = block
    sifted = Sieve(queue_id, since_ms=since_ms).sift(data, 0)
    expected = []
    for offset, size, places, _, ms in stored:
        units = [unit for owner, unit, _ in places if owner == queue_id]
        if units and ms >= since_ms:
            expected.append((offset, size, units[0]))
    assert found(sifted) == expected
    assert (sifted.end, sifted.why) == (len(data), CUT_SHORT)


@pytest.mark.parametrize("exchange", [b"x", b"xy", b"", b"e" * 200, b"none"])
def test_of_an_exchange_it_finds_what_was_published_to_it(block, exchange):
    data, stored = block
    sifted = Sieve(0, exchange_prefix(b"/", exchange)).sift(data, 0)
    assert found(sifted) == [(offset, size, 0) for offset, size, _, address, _ in stored if address[1] == exchange]
    assert found(Sieve(0, exchange_prefix(b"other", exchange)).sift(data, 0)) == []


def test_copies_are_found_of_a_queue_and_not_of_an_exchange(bench):
    message = bench.store(b"x", ((1, 5, 0),), address=(b"/", b"x", b""))
    first = message.offset, message.record_size, 5
    bench.clock.set(message.store_ms + 1)
    bench.log.append_copy(message, array("q", (1, 5, 0)))
    bench.log.submit()
    bench.engine.finish_all()
    data = bench.engine.image()
    assert found(Sieve(1).sift(data, 0)) == [first, (message.offset, message.record_size, 5)]
    assert found(Sieve(0, exchange_prefix(b"/", b"x")).sift(data, 0)) == [(*first[:2], 0)]


def test_of_a_link_the_place_is_its_messages(bench):
    places = [(number + 1, number, 0) for number in range(700)]
    message = bench.store(b"x", places)
    bench.log.submit()
    bench.engine.finish_all()
    data = bench.engine.image()
    for owner, unit, _ in places:
        assert found(Sieve(owner).sift(data, 0)) == [(message.offset, message.record_size, unit)]


def test_a_block_may_end_anywhere(block):
    data, _ = block
    every = found(Sieve(1).sift(data, 0))
    for cut in (1, 7, 8, 87, 88, 500, 5000, 50_000):
        sifted = Sieve(1).sift(data[:-cut], 0)
        assert sifted.why == CUT_SHORT and sifted.end <= len(data) - cut
        assert found(sifted) == [place for place in every if place[0] < sifted.end]
        if sifted.size:
            assert sifted.end + sifted.size > len(data) - cut


def test_a_blank_or_what_is_no_record_ends_it(block):
    data, stored = block
    blank = (4096).to_bytes(4, "big") + bytes.fromhex("cbd43194") + bytes(4088)
    sifted = Sieve(1).sift(data + blank, 0)
    assert (sifted.why, sifted.end, sifted.size) == (BLANK, len(data), 4096)
    at = stored[100][0]
    for place in (at + 5, at + 30, at + 84):  # magic, offset, size of the body
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        sifted = Sieve(1).sift(bytes(damaged), 0)
        assert (sifted.why, sifted.end) == (INVALID, at)
    assert Sieve(1).sift(data, 8).why == INVALID


def test_no_byte_makes_it_read_beyond_the_block(block):
    data, _ = block
    random = Random(11)
    for _ in range(2000):
        damaged = bytearray(data[: random.randrange(200, 20_000)])
        for _ in range(random.randrange(1, 5)):
            damaged[random.randrange(len(damaged))] ^= random.randrange(1, 256)
        for sieve in (Sieve(1), Sieve(0, exchange_prefix(b"/", b"x"))):
            sifted = sieve.sift(bytes(damaged), 0)
            assert 0 <= sifted.end <= len(damaged)
            assert all(0 <= unit < 1 << 63 for *_, unit in found(sifted))
