"""The index beside a dict of units: any order, trimmed, unloaded and loaded again."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.queue.index import ABSENT, CHUNK_BYTES, CHUNK_UNITS, CODE_MAX, FOUND, NOT_LOADED, Index

OFFSETS = st.one_of(st.integers(0, 1700), st.sampled_from([0, 511, 512, 1023, 1024, 1535]))
UNITS = st.builds(
    lambda log_offset, body_size, overhead, code: (log_offset, body_size + overhead, body_size, code),
    st.integers(0, (1 << 48) - 1),
    st.integers(0, (1 << 31) - 1),
    st.integers(1, 0xFFFF),
    st.integers(0, CODE_MAX),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), OFFSETS, UNITS),
        st.tuples(st.just("fill"), OFFSETS, UNITS),
        st.tuples(st.just("trim"), OFFSETS, st.none()),
        st.tuples(st.just("checkpoint"), st.just(0), st.none()),
        st.tuples(st.just("unload"), st.just(0), st.none()),
        st.tuples(st.just("load"), OFFSETS, st.none()),
    ),
    max_size=30,
)


class Model:
    """Units in a dict, and a store of chunks as the checkpointer keeps one."""

    def __init__(self):
        self.index, self.units, self.store = Index(), {}, {}
        self.begin = self.end = 0

    def put(self, offset, unit):
        if offset // CHUNK_UNITS in self.store and not self.index.loaded(offset):
            self.load(offset, None)  # what replay does first
        self.index.put(offset, *unit)
        if offset >= self.begin:
            self.units[offset] = unit
            self.end = max(self.end, offset + 1)

    def fill(self, offset, unit):
        for each in range(offset, offset + 600):
            self.put(each, unit)

    def trim(self, begin, _):
        self.index.trim(begin)
        self.begin = max(self.begin, begin)
        self.end = max(self.end, self.begin)
        self.units = {offset: unit for offset, unit in self.units.items() if offset >= self.begin}

    def checkpoint(self, *_):
        for number in sorted(self.index.unstored):
            self.store[number] = self.index.chunk_bytes(number)
        self.index.stored |= self.index.unstored
        self.index.unstored.clear()
        for number in self.index.forget_stored():
            del self.store[number]

    def unload(self, *_):
        for number in self.index.loaded_chunks():
            if number in self.index.stored and number not in self.index.unstored:
                self.index.unload(number)

    def load(self, offset, _):
        number = offset // CHUNK_UNITS
        if number in self.store:
            self.index.load(number, self.store[number])

    def check(self):
        index = self.index
        assert (index.begin, index.end) == (self.begin, self.end)
        for offset in range(max(0, self.begin - 2), self.end + 3, 1 if self.end - self.begin < 600 else 37):
            found = index.find(offset)
            unit = self.units.get(offset)
            if found == NOT_LOADED:
                assert offset // CHUNK_UNITS in self.store and not index.loaded(offset)
            elif unit is None:
                assert found == ABSENT
            else:
                assert found == FOUND and (index.log_offset, index.size, index.body_size, index.code) == unit


@given(STEPS)
def test_it_is_a_dict_of_units_wherever_its_chunks_are(steps):
    model = Model()
    for name, *arguments in steps:
        getattr(model, name)(*arguments)
        model.check()
    model.checkpoint()
    for number in list(model.store):
        model.load(number * CHUNK_UNITS, None)
    model.check()
    assert all(model.index.find(offset) == FOUND for offset in model.units)


@given(st.permutations(range(40)), st.integers(0, 600))
def test_replay_may_come_in_any_order_and_twice(order, first):
    index = Index(first)
    for offset in [*order, *order]:
        index.put(first + offset, 1000 + offset, 20, 5, offset)
    assert (index.begin, index.end) == (first, first + 40)
    for offset in order:
        assert index.find(first + offset) == FOUND and index.log_offset == 1000 + offset


@pytest.mark.parametrize(
    ("body_size", "overhead"), [(0x0A0B0C0D - 0x0102, "0102"), (0x0A0B0C0D, "0000"), (0, "ffff")]
)
def test_a_unit_is_rocketmqs_with_the_overhead_above_the_log_offset(body_size, overhead):
    index = Index()
    index.put(1, 0x030405060708, 0x0A0B0C0D, body_size, 0x1112131415161718)
    assert index.chunk_bytes(0)[20:40].hex() == overhead + "0304050607080a0b0c0d1112131415161718"
    assert index.find(1) == FOUND
    assert (index.log_offset, index.size, index.code) == (0x030405060708, 0x0A0B0C0D, 0x1112131415161718)
    assert index.body_size == (body_size or 0x0A0B0C0D - 0xFFFF)


def test_a_full_chunk_asks_to_be_stored_and_a_stored_one_again_when_it_changes():
    index = Index()
    for offset in range(CHUNK_UNITS):
        assert index.unstored == set()
        index.put(offset, 1, 1, 0, 0)
    assert index.unstored == {0}
    index.stored, index.unstored = {0}, set()
    index.put(5, 2, 2, 0, 0)
    assert index.unstored == {0}


def test_the_chunk_that_fills_stays_in_memory():
    index = Index()
    index.put(0, 1, 1, 0, 0)
    index.stored.add(0)
    index.unload(0)
    assert index.loaded(0) and index.find(0) == FOUND


def test_what_is_loaded_never_replaces_newer_units():
    index = Index()
    for offset in range(CHUNK_UNITS + 1):
        index.put(offset, offset, 1, 0, 0)
    index.load(0, bytes(CHUNK_BYTES))
    assert index.find(7) == FOUND
    index.trim(CHUNK_UNITS)
    index.load(0, bytes(CHUNK_BYTES))
    assert index.loaded_chunks() == [1]


def test_an_extent_from_a_checkpoint_waits_for_its_chunks():
    index = Index()
    index.restore(100, 1000, {0})
    assert [index.find(offset) for offset in (99, 100, 600)] == [ABSENT, NOT_LOADED, ABSENT]


@pytest.mark.parametrize("begin", [5, 512, 10_000])
def test_trimming_beyond_the_end_moves_the_end(begin):
    index = Index()
    index.put(0, 1, 1, 0, 0)
    index.trim(begin)
    assert (index.begin, index.end) == (begin, begin)
    index.put(begin, 2, 2, 0, 0)
    assert index.find(begin) == FOUND


def test_a_queue_of_few_messages_takes_little_memory():
    tracemalloc.start()
    try:
        indexes = [Index() for _ in range(1000)]
        for index in indexes:
            index.put(0, 4096, 100, 5, 0)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1_500_000  # 50,000 queues, each used once, are to fit into a small machine
    assert [index.find(0) for index in indexes] == [FOUND] * 1000
