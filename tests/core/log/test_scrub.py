"""Scrubbing: every damaged place of the log is named, a torn end is not taken for one, nothing is changed."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import LogCorrupt
from core.log.scrub import scrub

SEGMENT = 64 << 10
MESSAGES = 300  # three segments
LAST_BATCH = 5


def fill(disk, count=MESSAGES):
    """Messages, five in a batch; where their records lie: [(offset, size)]."""
    disk.open()
    messages = []
    for number in range(count):
        messages.append(disk.store(bytes([number % 256]) * 500))
        if number % LAST_BATCH == LAST_BATCH - 1:
            disk.commit()
    reopen(disk)
    return [(each.offset, each.record_size) for each in messages]


def reopen(disk):
    disk.files.close()
    disk.open()


def look(disk):
    """The offsets that on_record got, and what was found."""
    seen = []
    return seen, scrub(disk.files, lambda view: seen.append(view.offset))


def spans(found):
    return [(each.offset, each.upto) for each in found.damages]


def test_a_sound_log_is_read_from_end_to_end(disk):
    places = fill(disk)
    seen, found = look(disk)
    assert seen == [offset for offset, _ in places]
    assert found == (0, sum(places[-1]), MESSAGES, 0, [])
    assert found.tail > 2 * SEGMENT


def test_any_changed_byte_of_any_record_is_found_and_the_rest_is_read(disk):
    places = fill(disk)

    @settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.integers(0, MESSAGES - 2 * LAST_BATCH), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
    def check(number, at, change):
        offset, size = places[number]
        place = offset + int(at * size)
        old = disk.files.read(place, 1)
        disk.raw(place, bytes([old[0] ^ change]))
        seen, found = look(disk)
        disk.raw(place, old)
        assert spans(found) == [(offset, places[number + 1][0])]
        assert seen == [other for other, _ in places[:number]] and found.records == MESSAGES - 1

    check()


def test_several_damages_are_all_named(disk):
    places = fill(disk)
    for number in (7, 8, 100, 250):
        disk.raw(places[number][0] + 30, b"\xff" * 20)
    _, found = look(disk)
    assert spans(found) == [(places[first][0], places[after][0]) for first, after in ((7, 9), (100, 101), (250, 251))]
    assert "later" in found.damages[0].text and found.records == MESSAGES - 4


def test_a_torn_end_is_no_damage(disk):
    places = fill(disk)
    offset, size = places[-3]
    disk.raw(offset + size // 2, b"\xff")  # in the last batch, whose other records prove nothing: no confirm came
    seen, found = look(disk)
    assert found.damages == [] and found.tail == offset == seen[-1] + places[-4][1]
    assert found.torn_bytes == sum(places[-1]) - offset


def test_a_transaction_that_is_not_whole_ends_the_log(disk):
    places = fill(disk, 10)
    end = sum(places[-1])
    disk.open(end, (0, 10, 0, 0, 0))
    disk.worker.run()
    disk.log.join(2000)
    first = disk.store(b"one")
    last = disk.store(b"two")
    disk.log.end_joined([])
    disk.commit()
    reopen(disk)
    assert look(disk)[1].records == 13  # and the one that ends it
    disk.raw(last.offset + 40, b"\xff\xff")
    seen, found = look(disk)
    assert found.tail == end == first.offset and found.damages == [] and len(seen) == 10


def test_a_record_of_another_place_is_none(disk):
    places = fill(disk)
    (first, size), (second, same) = places[100], places[101]
    assert size == same
    disk.raw(second, disk.files.read(first, size))
    assert spans(look(disk)[1]) == [(second, places[102][0])]


def test_what_cannot_be_understood_is_a_damage(disk):
    places = fill(disk)

    def refuse(view):
        if view.offset == places[20][0]:
            raise LogCorrupt("a fact that only a newer version knows")

    found = scrub(disk.files, refuse)
    assert spans(found) == [(places[20][0], places[21][0])] and found.records == MESSAGES
    assert found.damages[0].text == "cannot be read: a fact that only a newer version knows"


def test_a_number_that_is_missing_is_found(disk):
    disk.open()
    disk.store(b"x" * 500)
    disk.commit()
    end = disk.log.appended
    reopen(disk)
    disk.open(end, (0, 5, 0, 0, 0))  # the next is not number 1
    disk.worker.run()
    message = disk.store(b"y" * 500)
    disk.commit()
    reopen(disk)
    found = look(disk)[1]
    assert spans(found) == [(end, end + message.record_size)]
    assert found.damages[0].text == "its queue offset is 5, due was 1"


def test_freed_segments_are_not_missed(disk):
    places = fill(disk)
    disk.files.remove_front(SEGMENT)
    seen, found = look(disk)
    assert found.first == SEGMENT and found.damages == []
    assert seen == [offset for offset, _ in places if offset >= SEGMENT]


def test_a_batch_that_arrives_while_we_read_is_no_damage(disk):
    places = fill(disk)
    offset, size = places[150]
    record = disk.files.read(offset, size)
    disk.raw(offset, bytes(size))
    looks = []

    class Arriving:
        """The segment files; that record is there from the second look on."""

        first, end, segment_bytes = disk.files.first, disk.files.end, disk.files.segment_bytes
        next_data = disk.files.next_data

        def read(self, at, wanted):
            data = disk.files.read(at, wanted)
            if at <= offset < at + wanted and not looks:
                looks.append(at)
                disk.raw(offset, record)
            return data

    found = scrub(Arriving(), lambda view: None)
    assert looks and found.damages == [] and found.records == MESSAGES
