"""Key blocks on the disk: what was written is found, whatever the hashes are; what is not whole goes."""

from array import array
from random import Random

import pytest

from core.disk.key_files import HEAD_BYTES, WINDOW, Block, KeyFiles

TOP = (1 << 64) - 1


@pytest.fixture
def files(tmp_path):
    made = KeyFiles(tmp_path / "keys")
    assert made.open() == []
    return made


def flat(pairs):
    return array("Q", [number for pair in sorted(pairs) for number in pair])


def hashes(kind, random, count):
    if kind == "even":
        return [random.getrandbits(64) for _ in range(count)]
    if kind == "crowded":
        return [random.choice((0, 1, TOP, TOP - 1, random.getrandbits(20))) for _ in range(count)]
    return [random.choice((5, 6)) for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, WINDOW, WINDOW + 1, 5000])
@pytest.mark.parametrize("kind", ["even", "crowded", "two"])
def test_every_hash_is_found_with_all_its_places_and_no_other(files, kind, count):
    random = Random(count)
    pairs = [(value, 1000 + at) for at, value in enumerate(hashes(kind, random, count))]
    block = files.write(1000, 9000, flat(pairs))
    assert block == Block(1000, 9000, count)
    places = {}
    for value, at in pairs:
        places.setdefault(value, []).append(at)
    asked = random.sample(sorted(places), min(len(places), 300)) + [0, 1, 2, 5, 6, 7, TOP, 1 << 63]
    for value in asked:
        assert files.search(block, value) == places.get(value, [])


def test_they_are_there_when_opened_again_in_the_order_of_the_log(files, tmp_path):
    blocks = [files.write(begin, begin + 10, flat([(begin, begin)])) for begin in (500, 7, 1 << 40)]
    again = KeyFiles(tmp_path / "keys")
    assert again.open() == sorted(blocks)
    assert again.search(blocks[1], 7) == [7]
    again.remove(blocks[:2])
    again.remove(blocks[:2])
    assert again.open() == [blocks[2]]


@pytest.mark.parametrize("damage", ["head", "short", "name", "unfinished", "empty"])
def test_what_is_no_whole_block_goes(files, tmp_path, damage):
    files.write(5, 10, flat([(1, 5), (2, 6)]))
    path = tmp_path / "keys" / f"{5:020d}"
    data = path.read_bytes()
    if damage == "head":
        path.write_bytes(bytes([data[0], data[1] ^ 1]) + data[2:])
    elif damage == "short":
        path.write_bytes(data[:-1])
    elif damage == "name":
        path.rename(path.with_name(f"{6:020d}"))
    elif damage == "unfinished":
        path.rename(path.with_suffix(".new"))
    else:
        path.write_bytes(b"")
    assert files.open() == [] and list((tmp_path / "keys").iterdir()) == []


def test_a_file_cut_off_since_it_was_opened_finds_nothing_and_hurts_nobody(files, tmp_path):
    block = files.write(5, 10, flat([(value << 40, 5) for value in range(5000)]))
    path = tmp_path / "keys" / f"{5:020d}"
    with open(path, "r+b") as file:
        file.truncate(HEAD_BYTES + 80)
    assert files.search(block, 4000 << 40) == []
