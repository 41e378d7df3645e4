"""Stands in for core.disk.store.Store: four tables in memory, changed by whole transactions only.

What was committed survives a crash; a crash in the midst of a commit leaves all of it or nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence

from tests.simulation.disk import Crash, SimDisk

Row = tuple[bytes, bytes]
TABLES = ("meta", "facts", "queues", "chunks")


class SimStore:
    """The tables of one simulated machine. fail_in = so many commits from now one fails with EIO; None = never."""

    def __init__(self, disk: SimDisk):
        self._disk = disk
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self.fail_in: int | None = None
        self.commits = 0
        self.is_open = False
        self.drop()

    def open(self) -> None:
        """See Store."""
        self.is_open = True

    def close(self) -> None:
        """See Store."""
        self.is_open = False

    def drop(self) -> None:
        """See Store: what the operator does by deleting `state/`, too."""
        self._tables = {table: {} for table in TABLES}

    def copy(self) -> dict[str, dict[bytes, bytes]]:
        """All tables as they are now."""
        return {table: dict(rows) for table, rows in self._tables.items()}

    def restore(self, tables: dict[str, dict[bytes, bytes]]) -> None:
        """Put back what copy() gave."""
        self._tables = {table: dict(rows) for table, rows in tables.items()}

    def rows(self, table: str) -> list[Row]:
        """See Store."""
        return sorted(self._tables[table].items())

    def get(self, table: str, key: bytes) -> bytes | None:
        """See Store."""
        return self._tables[table].get(key)

    def commit(
        self,
        puts: Mapping[str, Sequence[Row]],
        deletes: Mapping[str, Iterable[bytes]],
        prefixes: Mapping[str, Iterable[bytes]],
    ) -> None:
        """See Store."""
        if self.fail_in is not None:
            self.fail_in -= 1
            if self.fail_in < 0:
                self.fail_in = None
                raise OSError(errno.EIO, "Input/output error")
        before = self.copy()
        for table, keys in deletes.items():
            for key in keys:
                self._tables[table].pop(key, None)
        for table, keys in prefixes.items():
            for prefix in keys:
                for key in [key for key in self._tables[table] if key.startswith(prefix)]:
                    del self._tables[table][key]
        for table, rows in puts.items():
            self._tables[table].update(rows)
        try:
            self._disk.step()
        except Crash:
            self.restore(before)
            raise
        self.commits += 1
        self._disk.step()

    def used_bytes(self) -> int:
        """See Store."""
        return sum(len(key) + len(value) for rows in self._tables.values() for key, value in rows.items())
