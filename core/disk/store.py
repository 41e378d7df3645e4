"""LMDB under `state/`: four tables of bytes, written in one durable transaction at a time.

It is a cache of the log. Whatever cannot be read is thrown away and rebuilt from the log; only a newer version's files
and missing rights refuse a start. Before it is opened its pages are walked (pages.py), and each row has a CRC-32: what
is damaged is never taken for what was written. What turns out to be damaged while the broker runs is noted in the file
`damaged`, so that the next start rebuilds it.
"""

from __future__ import annotations

import logging
import os
import shutil
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import lmdb

from core.disk.pages import check, check_large, read_metas
from core.errors import StoreRefused
from core.state.snapshot import StoreDamaged

FORMAT = 3  # 2: a unit of a queue's index tells how much of its record is not body; 3: rows have a CRC
FORMAT_KEY = b"format"
TABLES = ("meta", "facts", "queues", "chunks")
MAP_BYTES = 64 << 30  # address space, not disk: far above need
READERS_MAX = 64
CRC_BYTES = 4
FILE, MARK = "data.mdb", "damaged"
ROWS_AT_ONCE = 1000  # to sort them keeps Python's lock, and the loop waiting: 0.2 ms; of 60,000 rows 60 ms
LARGE_AT_ONCE = 10_000  # so many heads of large values are looked at before it is opened: 30 ms, of a cold file 0.5 s
TRIES = 3  # to read the pages of a running broker
DAMAGED = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.IncompatibleError,
    lmdb.BadDbiError,
)
Row = tuple[bytes, bytes]

log = logging.getLogger(__name__)


class Store:
    """One directory. `commit` belongs to the checkpointer's thread, `get` to any thread; blocks until done."""

    def __init__(self, path: str | Path, map_bytes: int = MAP_BYTES):
        self.path = Path(path)
        self._map_bytes = map_bytes
        self._env: lmdb.Environment | None = None
        self._tables: dict[str, Any] = {}
        self._large: array[int] | None = None  # what check_large() has still to look at

    def open(self) -> None:
        """Open, or create; what is damaged is dropped, with one log line. Raises StoreRefused."""
        try:
            self._open()
        except StoreDamaged as error:
            text = "state is damaged, rebuilding it from the log"
            log.warning(text, extra={"path": str(self.path), "error": str(error)})
            self.drop()
            self._open()

    def _open(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if (self.path / MARK).exists():
                raise StoreDamaged((self.path / MARK).read_text())
            self._large = _check(self.path)
            self._env = lmdb.open(
                str(self.path),
                map_size=self._map_bytes,
                max_dbs=len(TABLES),
                max_readers=READERS_MAX,
                readahead=False,
            )
            _check_size(self._env, self.path)
            self._tables = {name: self._env.open_db(name.encode()) for name in TABLES}
            found = self._env.begin(db=self._tables["meta"]).get(FORMAT_KEY)
        except DAMAGED as error:
            self.close()
            raise StoreDamaged(str(error)) from None
        except (lmdb.Error, OSError) as error:
            self.close()
            raise StoreRefused(f"{self.path} cannot be used: {error}") from None
        if found is None:
            with self._env.begin(write=True, db=self._tables["meta"]) as transaction:
                transaction.put(FORMAT_KEY, b"%d" % FORMAT)
        elif not found.isdigit():
            self.close()
            raise StoreDamaged("its format version is not a number")
        elif int(found) < FORMAT:
            self.close()
            raise StoreDamaged(f"it was written by an older version (format {int(found)}, this one writes {FORMAT})")
        elif int(found) > FORMAT:
            self.close()
            raise StoreRefused(
                f"{self.path} was written by a newer version (format {int(found)}, this one reads up to {FORMAT}): "
                f"start that version, or delete the directory: it is rebuilt from the log"
            )

    def drop(self) -> None:
        """Delete every file of the store, so that open() begins with an empty one."""
        self.close()
        try:
            shutil.rmtree(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreRefused(f"{self.path} cannot be deleted: {error}") from None

    def rows(self, table: str) -> list[Row]:
        """All rows of a table, by key. Raises StoreDamaged."""
        assert self._env is not None
        try:
            with self._env.begin(db=self._tables[table]) as transaction:
                return [(key, unsealed(key, row)) for key, row in transaction.cursor() if key != FORMAT_KEY]
        except (*DAMAGED, StoreDamaged) as error:
            raise self._found_damaged(str(error)) from None

    def get(self, table: str, key: bytes) -> bytes | None:
        """One value, or None. Raises StoreDamaged."""
        if self._env is None:
            return None
        try:
            with self._env.begin(db=self._tables[table]) as transaction:
                row = transaction.get(key)
                return None if row is None else unsealed(key, row)
        except (*DAMAGED, StoreDamaged) as error:
            raise self._found_damaged(str(error)) from None

    def _found_damaged(self, text: str) -> StoreDamaged:
        """Have the next start begin with an empty store."""
        with suppress(OSError):  # then the next start meets it again
            (self.path / MARK).write_text(text)
        return StoreDamaged(f"{self.path} is damaged, the next start rebuilds it from the log: {text}")

    def commit(
        self,
        puts: Mapping[str, Sequence[Row]],
        deletes: Mapping[str, Iterable[bytes]],
        prefixes: Mapping[str, Iterable[bytes]],
    ) -> None:
        """One durable transaction: delete keys and all keys with a prefix, then put rows; each argument by table.

        Raises OSError when the disk or the map is full or fails, StoreDamaged: then nothing changed.
        """
        assert self._env is not None
        if self._large is not None and {*puts, *deletes, *prefixes} - {"meta"}:
            self._check_large()
        try:
            with self._env.begin(write=True) as transaction:
                for table, keys in deletes.items():
                    for key in keys:
                        transaction.delete(key, db=self._tables[table])
                for table, keys in prefixes.items():
                    for prefix in keys:
                        self._delete_prefix(transaction, table, prefix)
                for table, rows in puts.items():
                    cursor = transaction.cursor(db=self._tables[table])
                    for start in range(0, len(rows), ROWS_AT_ONCE):
                        piece = [(key, sealed(key, value)) for key, value in rows[start : start + ROWS_AT_ONCE]]
                        cursor.putmulti(sorted(piece), overwrite=True)
                    cursor.close()
        except lmdb.Error as error:
            raise OSError(f"{self.path}: {error}") from error
        missing = _missing_bytes(self._env, self.path)
        if missing > 0:  # pages at its end that went in the transaction that took them, and were never written
            file = self.path / FILE
            os.truncate(file, file.stat().st_size + missing)

    def _check_large(self) -> None:
        """LMDB frees pages of large values by what their heads say: look at them before it does."""
        assert self._large is not None
        try:
            check_large(self.path / FILE, self._large)
        except StoreDamaged as error:
            raise self._found_damaged(str(error)) from None
        self._large = None

    def _delete_prefix(self, transaction: lmdb.Transaction, table: str, prefix: bytes) -> None:
        with transaction.cursor(db=self._tables[table]) as cursor:
            found = cursor.set_range(prefix)
            while found and bytes(cursor.key()).startswith(prefix):
                cursor.delete()
                found = bool(cursor.key())

    def used_bytes(self) -> int:
        """What the store takes on the disk."""
        try:
            return os.stat(self.path / FILE).st_blocks * 512
        except OSError:
            return 0

    def close(self) -> None:
        """Let go of the files. Nobody may be using them."""
        if self._env is not None:
            self._env.close()
            self._env = None


def sealed(key: bytes, value: bytes) -> bytes:
    """A row as it lies in the file."""
    return value + crc32(value, crc32(key)).to_bytes(CRC_BYTES, "little")


def unsealed(key: bytes, row: bytes) -> bytes:
    """What sealed() was given. Raises StoreDamaged."""
    value = row[:-CRC_BYTES]
    if crc32(value, crc32(key)).to_bytes(CRC_BYTES, "little") != row[-CRC_BYTES:]:
        raise StoreDamaged(f"the row {key.hex()} is not what was written")
    return value


def copy_store(path: Path, to: Path) -> bool:
    """Copy the store of a broker, which may be running, as its last checkpoint left it, into the directory `to`, which
    is there. False: there is none. Raises StoreDamaged, StoreRefused."""
    if not (path / FILE).exists():
        return False
    with _reading(path) as environment:
        environment.copy(str(to), compact=True)
    return True


def read_row(path: Path, table: str, key: bytes) -> bytes | None:
    """One value of the store of a broker, which may be running. Raises StoreDamaged, StoreRefused."""
    if not (path / FILE).exists():
        return None
    with _reading(path) as environment, environment.begin(db=environment.open_db(table.encode(), create=False)) as held:
        row = held.get(key)
        return None if row is None else unsealed(key, row)


@contextmanager
def _reading(path: Path) -> Iterator[lmdb.Environment]:
    """A store that is only read, of which all pages are sound."""
    try:
        if (path / MARK).exists():
            raise StoreDamaged((path / MARK).read_text())
        with open(path / FILE, "rb") as file:
            read_metas(file.fileno())  # before LMDB divides by what they say
        with lmdb.open(
            str(path),
            map_size=MAP_BYTES,  # what it is by default, 10 MiB, may be less than a running broker's grows to meanwhile
            readonly=True,
            max_dbs=len(TABLES),
            readahead=False,
        ) as environment:
            _check_size(environment, path)
            for left in reversed(range(TRIES)):
                try:
                    with environment.begin() as held:
                        check_large(path / FILE, check(path / FILE, held.id()))
                    break
                except StoreDamaged:  # perhaps a running broker has made two checkpoints since begin()
                    if not left:
                        raise
            yield environment
    except DAMAGED as error:
        raise StoreDamaged(str(error)) from None
    except (lmdb.Error, OSError) as error:
        raise StoreRefused(f"{path} cannot be read: {error}") from None


def _check(path: Path) -> array[int] | None:
    """Walk the pages of a store that nobody uses. What is returned is left to be looked at."""
    file = path / FILE
    if not file.exists() or not file.stat().st_size:
        return None
    large = check(file)
    if len(large) > LARGE_AT_ONCE:
        return large
    check_large(file, large)
    return None


def _missing_bytes(environment: lmdb.Environment, path: Path) -> int:
    """How much shorter its file is than the pages it counts."""
    wanted: int = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    return wanted - os.stat(path / FILE).st_size


def _check_size(environment: lmdb.Environment, path: Path) -> None:
    """Raise StoreDamaged for a file that was cut off: to touch what is missing ends the process (SIGBUS)."""
    missing = _missing_bytes(environment, path)
    if missing > 0:
        raise StoreDamaged(f"its file is cut off: {missing} bytes are missing")
