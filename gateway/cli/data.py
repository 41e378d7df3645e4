"""A broker's data directory, as the storage commands see it: only to be read, perhaps beside the broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.disk.files import UNFINISHED, DataDirectory, SegmentFiles
from core.disk.ops import ReadOnlyOps
from core.errors import DirectoryInUse
from gateway.cli.errors import Refused

Watch = Callable[[int, int], Callable[[int], None]]


class WatchedLog(SegmentFiles):
    """A log that is only read. watch(first, end) gives what is called with the log offset of every read."""

    def __init__(self, directory: Path, segment_bytes: int, watch: Watch):
        super().__init__(directory, segment_bytes, ops=ReadOnlyOps())
        self._progress = watch(self.first, self.end)

    def read(self, offset: int, size: int) -> bytes:
        """See SegmentFiles."""
        self._progress(offset)
        return super().read(offset, size)


@contextmanager
def held_by_us(data_dir: Path, command: str = "") -> Iterator[DataDirectory | None]:
    """Keep brokers from starting here meanwhile; None: one is running already. command: see DataDirectory. Raises
    Refused, StoreRefused."""
    if not any((data_dir / name).exists() for name in ("commitlog", *UNFINISHED.values())):
        raise Refused(f"{data_dir} is no data directory: it has no commitlog/")
    try:
        directory = DataDirectory(data_dir, command)
    except DirectoryInUse:
        yield None
        return
    try:
        yield directory
    finally:
        directory.release()
