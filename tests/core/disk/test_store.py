"""LMDB as the cache of the log: transactions, format versions, damage."""

import os
from random import Random

import lmdb
import pytest

from core.disk.store import FORMAT, FORMAT_KEY, MAP_BYTES, ROWS_AT_ONCE, Store, copy_store
from core.errors import StoreRefused
from core.state.snapshot import StoreDamaged, chunk_row, queue_key, read_chunk


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "state")
    store.open()
    yield store
    store.close()


def reopened(store):
    store.close()
    store.open()
    return store


def test_a_transaction_deletes_then_puts_and_is_there_after_reopening(store):
    store.commit(
        {"facts": [(b"b", b"2"), (b"a", b"1")], "chunks": [(b"q1", b"x"), (b"q2", b"y"), (b"r", b"z")]}, {}, {}
    )
    store.commit({"chunks": [(b"q3", b"new")]}, {"facts": [b"a", b"absent"]}, {"chunks": [b"q", b"zz"]})
    reopened(store)
    assert store.rows("facts") == [(b"b", b"2")]
    assert store.rows("chunks") == [(b"q3", b"new"), (b"r", b"z")]
    assert store.get("facts", b"b") == b"2" and store.get("facts", b"a") is None
    assert store.used_bytes() > 0


def test_more_rows_than_go_in_one_call_are_all_there_in_their_order(store):
    rows = [(b"%06d" % number, b"%d" % number) for number in range(2 * ROWS_AT_ONCE + 1)]
    shuffled = Random(5).sample(rows, len(rows))
    store.commit({"queues": shuffled}, {}, {})
    assert reopened(store).rows("queues") == rows


def test_chunks_are_kept_without_their_trailing_zeros(store):
    units = b"\x01" * 20 + bytes(10220)
    store.commit({"chunks": [chunk_row(7, 3, units)]}, {}, {})
    assert len(store.rows("chunks")[0][1]) == 20
    assert read_chunk(store, 7, 3) == units and read_chunk(store, 7, 4) is None
    store.commit({}, {}, {"chunks": [queue_key(7)]})
    assert read_chunk(store, 7, 3) is None


def test_a_transaction_that_does_not_fit_changes_nothing(tmp_path):
    store = Store(tmp_path, map_bytes=1 << 20)
    store.open()
    store.commit({"facts": [(b"a", b"1")]}, {}, {})
    with pytest.raises(OSError, match="MAP_FULL"):
        store.commit({"facts": [(b"a", b"2")], "chunks": [(b"%d" % n, bytes(10000)) for n in range(200)]}, {}, {})
    assert store.rows("facts") == [(b"a", b"1")] and store.rows("chunks") == []
    store.close()


def test_a_newer_format_is_refused_with_what_to_do(store, tmp_path):
    with store._env.begin(write=True, db=store._tables["meta"]) as transaction:
        transaction.put(FORMAT_KEY, b"%d" % (FORMAT + 1))
    store.close()
    text = rf"newer version \(format {FORMAT + 1}, this one reads up to {FORMAT}\).*delete the directory"
    with pytest.raises(StoreRefused, match=text):
        store.open()
    assert os.path.exists(tmp_path / "state" / "data.mdb")


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"\0" * 65536])
def test_what_is_no_store_is_dropped_and_begun_anew(store, caplog, content):
    store.commit({"facts": [(b"a", b"1")]}, {}, {})
    store.close()
    (store.path / "data.mdb").write_bytes(content)
    store.open()
    assert store.rows("facts") == []
    assert [record.message for record in caplog.records] == ["state is damaged, rebuilding it from the log"]


def test_a_damaged_page_is_told_apart_from_an_absent_row(store):
    store.commit({"chunks": [(b"%05d" % n, bytes(3000)) for n in range(2000)]}, {}, {})
    store.close()
    path = store.path / "data.mdb"
    damaged = bytearray(path.read_bytes())
    page = os.sysconf("SC_PAGE_SIZE")
    for at in range(3 * page, len(damaged), page):
        damaged[at : at + 16] = b"\xff" * 16
    path.write_bytes(damaged)
    with pytest.raises(StoreDamaged):
        store._open()
        store.rows("chunks")


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreRefused, match="cannot be used"):
        Store(tmp_path / "file" / "state").open()


def test_the_map_takes_addresses_and_no_disk(store):
    assert MAP_BYTES >= 64 << 30 and store.used_bytes() < 1 << 20
    assert isinstance(store._env, lmdb.Environment)


@pytest.mark.parametrize("kept", [100, 4096, 5000, 8192, 9000, 50_000])
def test_a_file_that_was_cut_off_is_damaged_and_does_not_end_the_process(store, tmp_path, caplog, kept):
    store.commit({"chunks": [(b"%d" % n, bytes([n]) * 3000) for n in range(200)]}, {}, {})
    store.close()
    file = tmp_path / "state" / "data.mdb"
    os.truncate(file, kept)
    (tmp_path / "copy").mkdir()
    with pytest.raises(StoreDamaged):
        copy_store(tmp_path / "state", tmp_path / "copy")
    store.open()
    assert store.rows("chunks") == [] and "state is damaged" in caplog.text


def test_a_file_is_as_long_as_its_pages_though_the_last_of_them_were_never_written(store):
    rng = Random(899)  # of 1,000 the one in which LMDB leaves it shorter

    def some(count, item):
        return [item() for _ in range(rng.randrange(count))]

    def key():
        return b"%d-%d" % (rng.randrange(30), rng.randrange(50))

    for _ in range(60):
        rows = some(200, lambda: (key(), bytes(rng.choice([20, 300, 3000, 10240]))))
        puts = {"chunks": rows} if rng.random() < 0.6 else {}
        deletes = {"chunks": some(200, key)} if rng.random() < 0.6 else {}
        prefixes = {"chunks": some(20, lambda: b"%d-" % rng.randrange(30))} if rng.random() < 0.6 else {}
        store.commit(puts, deletes, prefixes)
        before = store.rows("chunks")
        assert reopened(store).rows("chunks") == before
