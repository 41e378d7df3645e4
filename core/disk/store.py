"""LMDB under `state/`: four tables of bytes, written in one durable transaction at a time.

It is a cache of the log. Whatever cannot be read is thrown away and rebuilt from the log; only a newer version's files
and missing rights refuse a start.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lmdb

from core.errors import StoreRefused
from core.state.snapshot import StoreDamaged

FORMAT = 2  # 2: a unit of a queue's index tells how much of its record is not body
FORMAT_KEY = b"format"
TABLES = ("meta", "facts", "queues", "chunks")
MAP_BYTES = 64 << 30  # address space, not disk: far above need
READERS_MAX = 64
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
                return list(transaction.cursor())
        except DAMAGED as error:
            raise StoreDamaged(str(error)) from None

    def get(self, table: str, key: bytes) -> bytes | None:
        """One value, or None. Raises StoreDamaged."""
        if self._env is None:
            return None
        try:
            with self._env.begin(db=self._tables[table]) as transaction:
                return transaction.get(key)
        except DAMAGED as error:
            raise StoreDamaged(str(error)) from None

    def commit(
        self,
        puts: Mapping[str, Sequence[Row]],
        deletes: Mapping[str, Iterable[bytes]],
        prefixes: Mapping[str, Iterable[bytes]],
    ) -> None:
        """One durable transaction: delete keys and all keys with a prefix, then put rows; each argument by table.

        Raises OSError when the disk or the map is full or fails: then nothing changed.
        """
        assert self._env is not None
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
                    cursor.putmulti(sorted(rows), overwrite=True)
                    cursor.close()
        except lmdb.Error as error:
            raise OSError(f"{self.path}: {error}") from error
        missing = _missing_bytes(self._env, self.path)
        if missing > 0:  # pages at its end that went in the transaction that took them, and were never written
            file = self.path / "data.mdb"
            os.truncate(file, file.stat().st_size + missing)

    def _delete_prefix(self, transaction: lmdb.Transaction, table: str, prefix: bytes) -> None:
        with transaction.cursor(db=self._tables[table]) as cursor:
            found = cursor.set_range(prefix)
            while found and bytes(cursor.key()).startswith(prefix):
                cursor.delete()
                found = bool(cursor.key())

    def used_bytes(self) -> int:
        """What the store takes on the disk."""
        try:
            return os.stat(self.path / "data.mdb").st_blocks * 512
        except OSError:
            return 0

    def close(self) -> None:
        """Let go of the files. Nobody may be using them."""
        if self._env is not None:
            self._env.close()
            self._env = None


def copy_store(path: Path, to: Path) -> bool:
    """Copy the store of a broker, which may be running, as its last checkpoint left it, into the directory `to`, which
    is there. False: there is none. Raises StoreDamaged, StoreRefused."""
    if not (path / "data.mdb").exists():
        return False
    try:
        with lmdb.open(str(path), readonly=True, readahead=False, max_dbs=len(TABLES)) as environment:
            _check_size(environment, path)
            environment.copy(str(to), compact=True)
    except DAMAGED as error:
        raise StoreDamaged(str(error)) from None
    except (lmdb.Error, OSError) as error:
        raise StoreRefused(f"{path} cannot be read: {error}") from None
    return True


def _missing_bytes(environment: lmdb.Environment, path: Path) -> int:
    """How much shorter its file is than the pages it counts."""
    wanted: int = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    return wanted - os.stat(path / "data.mdb").st_size


def _check_size(environment: lmdb.Environment, path: Path) -> None:
    """Raise StoreDamaged for a file that was cut off: to touch what is missing ends the process (SIGBUS)."""
    missing = _missing_bytes(environment, path)
    if missing > 0:
        raise StoreDamaged(f"its file is cut off: {missing} bytes are missing")
