"""What a newer version wrote into the log: whoever reads it refuses, and nothing of it is skipped, cut or mended."""

import pytest

from core.errors import LogCorrupt, StoreRefused
from core.log.mend import find
from core.log.scrub import scrub
from tests.core.log.newer import NEWER
from tests.core.log.test_recovery import fill, recover


def write_newer(disk, message, kind):
    """Put a record of a newer version where a message's lies."""
    disk.raw(message.offset, NEWER[kind](disk.files.read(message.offset, message.record_size)))


def refuse_newer(disk, offset):
    """All that reads the log names the record there, and changes nothing."""
    before = disk.files.read(0, disk.files.end)
    for work in (recover, lambda disk: scrub(disk.files, lambda view: None), lambda disk: find(disk.files, False, 0)):
        with pytest.raises(StoreRefused, match=f"record at log offset {offset} is of a kind .* start the version"):
            work(disk)
    assert disk.files.read(0, disk.files.end) == before


@pytest.mark.parametrize("kind", NEWER)
@pytest.mark.parametrize("number", [12, 19])
def test_a_record_of_a_newer_version_is_refused_and_neither_skipped_nor_cut_nor_mended(disk, kind, number):
    disk.open()
    messages = fill(disk, 20)
    write_newer(disk, messages[number], kind)
    refuse_newer(disk, messages[number].offset)


@pytest.mark.parametrize("kind", NEWER)
def test_what_a_newer_version_wrote_behind_a_damage_is_not_cut_either(disk, kind):
    disk.open()
    messages = fill(disk, 20)
    disk.raw(messages[12].offset, b"\xff")
    for message in messages[13:]:
        write_newer(disk, message, kind)
    refuse_newer(disk, messages[13].offset)


@pytest.mark.parametrize("kind", NEWER)
def test_a_record_of_a_newer_version_that_is_not_whole_is_a_torn_one(disk, kind):
    disk.open()
    messages = fill(disk, 20)
    write_newer(disk, messages[19], kind)
    disk.raw(messages[19].offset + 200, b"\xff\xff")
    assert recover(disk)[0].tail == messages[19].offset


def test_a_damaged_byte_is_not_taken_for_a_newer_version(disk):
    disk.open()
    messages = fill(disk, 20)
    disk.raw(messages[12].offset + 7, b"\xab")
    with pytest.raises(LogCorrupt, match=f"damaged at offset {messages[12].offset}: .* mqgateway repair"):
        recover(disk)
