"""The pages of an LMDB file: whatever LMDB wrote hangs together; whatever bit is flipped, nothing is taken for what it
is not, nothing that was written is missing, and the process lives."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from core.disk.pages import BRANCH, check, check_large
from core.disk.store import FILE, MARK, TABLES, Store, copy_store, read_row
from core.state.snapshot import StoreDamaged

FLIPS = 450


def live(store, rng, transactions):
    """Change the store as checkpoints do, and more wildly; returns what it holds: (table, key) -> value."""
    held = {}
    for _ in range(transactions):
        puts, deletes = {}, {}
        for _ in range(rng.choice((1, 5, 60, 300))):
            table = rng.choice(TABLES)
            key = rng.randbytes(rng.choice((1, 2, 2))) + b"k" * rng.choice((0, 6, 14, 300))  # some come again and again
            if rng.random() < 0.45:
                deletes.setdefault(table, []).append(key)
                puts[table] = [row for row in puts.get(table, []) if row[0] != key]
                held.pop((table, key), None)
            else:
                value = rng.randbytes(rng.choice((0, 10, 60, 1500, 5000, 10240)))
                puts.setdefault(table, []).append((key, value))
                held[table, key] = value
        store.commit({table: list(dict(rows).items()) for table, rows in puts.items()}, deletes, {})
    return held


def found_in(store):
    return {(table, key): value for table in TABLES for key, value in store.rows(table)}


@pytest.mark.parametrize("seed", range(4))
def test_what_lmdb_leaves_after_any_transaction_hangs_together(tmp_path, seed):
    store = Store(tmp_path)
    store.open()
    rng = Random(seed)
    for _ in range(25):
        live(store, rng, rng.choice((1, 1, 4)))
        check_large(tmp_path / FILE, check(tmp_path / FILE))
    store.close()


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A file with trees of some levels, free pages, large values; and what it holds."""
    store = Store(tmp_path_factory.mktemp("full"))
    store.open()
    held = live(store, Random(7), 12)
    store.commit({"queues": [(b"%06d" % n, b"%d" % n * 9) for n in range(2000)]}, {}, {})
    held.update({("queues", b"%06d" % n): b"%d" % n * 9 for n in range(2000)})
    store.commit({}, {"queues": [b"%06d" % n for n in range(0, 2000, 3)]}, {})
    for n in range(0, 2000, 3):
        del held["queues", b"%06d" % n]
    store.close()
    return (store.path / FILE).read_bytes(), held


def places(data, seed):
    """Everywhere, and more often where pages begin, in the first pages, and in branches."""
    rng = Random(seed)
    pages = len(data) // 4096
    branches = [page for page in range(2, pages) if data[page * 4096 + 10] == BRANCH]
    for _ in range(FLIPS // 4):
        yield rng.choice(branches) * 4096 + rng.randrange(4096)
        yield rng.randrange(len(data))
        yield rng.randrange(pages) * 4096 + rng.randrange(40)
        yield rng.randrange(2) * 4096 + rng.randrange(160)


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_is_told_or_changes_nothing(tmp_path, full, seed):
    data, held = full
    told = same = 0
    for number, at in enumerate(places(data, seed)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << number % 8
        path = tmp_path / f"{number}"
        path.mkdir()
        (path / FILE).write_bytes(damaged)
        store = Store(path)
        try:
            store._open()
            assert found_in(store) == held, f"byte {at}"
            assert all(store.get(*place) == value for place, value in held.items()), f"byte {at}"
            same += 1
            if same % 4:
                continue
            store.commit({"chunks": [(b"new", bytes(20_000))]}, {}, {table: [b""] for table in ("chunks", "queues")})
            left = {key: value for key, value in held.items() if key[0] not in ("chunks", "queues")}
            assert found_in(store) == left | {("chunks", b"new"): bytes(20_000)}, f"byte {at}"
        except StoreDamaged:
            told += 1
        finally:
            store.close()
            (path / FILE).unlink()
    assert told > FLIPS // 3 and same > FLIPS // 10


def test_what_is_found_damaged_later_is_noted_and_the_next_open_begins_anew(tmp_path, caplog):
    store = Store(tmp_path)
    store.open()
    store.commit({"chunks": [(b"%d" % n, b"value of %d" % n * 1000) for n in range(9)]}, {}, {})
    store.close()
    data = (tmp_path / FILE).read_bytes()
    at = data.index(b"value of 5value of 5")
    (tmp_path / FILE).write_bytes(data[: at + 9] + b"7" + data[at + 10 :])
    store.open()
    assert store.get("chunks", b"4") == b"value of 4" * 1000
    with pytest.raises(StoreDamaged, match="the next start rebuilds it"):
        store.get("chunks", b"5")
    assert (tmp_path / MARK).exists()
    store.close()
    with pytest.raises(StoreDamaged):
        copy_store(tmp_path, tmp_path / "copy")
    store.open()
    assert store.rows("chunks") == [] and not (tmp_path / MARK).exists()
    assert [record.message for record in caplog.records] == ["state is damaged, rebuilding it from the log"]
    store.close()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_damaged_head_of_a_large_value_stops_what_would_free_its_pages(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr("core.disk.store.LARGE_AT_ONCE", 1000 if at_once else 0)
    store = Store(tmp_path)
    store.open()
    store.commit({"chunks": [(b"%d" % n, b"value of %d" % n * 1000) for n in range(9)]}, {}, {})
    store.close()
    data = bytearray((tmp_path / FILE).read_bytes())
    head = data.index(b"value of 5value of 5") - 16
    data[head + 14] ^= 0x40
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(StoreDamaged, match="large value"):
        read_row(tmp_path, "chunks", b"1")
    store.open()
    if not at_once:
        store.commit({"meta": [(b"stamp", b"1")]}, {}, {})
        for _ in range(2):
            with pytest.raises(StoreDamaged, match="large value"):
                store.commit({}, {"chunks": [b"5"]}, {})
        assert store.get("chunks", b"5") == b"value of 5" * 1000
        store.close()
        store.open()
    assert store.rows("chunks") == []
    store.close()


WRITER = """
import sys
from random import Random
from core.disk.store import Store
store, rng, number = Store(sys.argv[1]), Random(5), 0
store.open()
while True:
    store.commit({"chunks": [(b"%d" % rng.randrange(300), rng.randbytes(10_000)) for _ in range(9)]}, {}, {})
    number += 1
    store.commit({"meta": [(b"count", b"%d" % number)]}, {"chunks": [b"%d" % rng.randrange(300)]}, {})
    if number == 3:
        print("begun", flush=True)
"""


def test_beside_a_broker_that_makes_checkpoints(tmp_path):
    path = tmp_path / "state"
    line = [sys.executable, "-c", WRITER, str(path)]
    writer = subprocess.Popen(line, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    try:
        assert writer.stdout.readline() == b"begun\n"
        seen = 0
        for number in range(10):
            now = int(read_row(path, "meta", b"count"))
            copy = tmp_path / f"{number}"
            copy.mkdir()
            assert copy_store(path, copy)
            copied = Store(copy)
            copied.open()
            assert seen <= now <= int(copied.get("meta", b"count")) and len(copied.rows("chunks")) > 5
            copied.close()
            seen = now
    finally:
        writer.kill()
        writer.communicate()
    assert seen > 3


def test_it_may_grow_by_a_lot_while_it_is_copied(tmp_path, monkeypatch):
    path, copy = tmp_path / "state", tmp_path / "copy"
    copy.mkdir()
    written = Store(path)
    written.open()
    written.commit({"facts": [(b"a", b"1")]}, {}, {})
    written.close()
    grow = f"import sys; from {Store.__module__} import Store; store = Store(sys.argv[1]); store.open(); " + (
        "store.commit({'chunks': [(b'%d' % n, bytes(10_000)) for n in range(2_000)]}, {}, {})"
    )

    def checked(*arguments):
        subprocess.run([sys.executable, "-c", grow, str(path)], check=True, cwd=Path(__file__).parents[3])
        return check(*arguments)

    monkeypatch.setattr("core.disk.store.check", checked)
    assert copy_store(path, copy)
    monkeypatch.undo()
    assert (copy / FILE).stat().st_size > 10 << 20 and read_row(copy, "facts", b"a") == b"1"
