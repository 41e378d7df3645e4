"""A broker's data directory, as the storage commands see it: only to be read, perhaps beside the broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.disk.files import UNFINISHED, DataDirectory, SegmentFiles
from core.disk.ops import ReadOnlyOps
from core.errors import DirectoryInUse, LogCorrupt
from core.log.scrub import Scrubbed
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


def check_whole(found: Scrubbed, clean: bool, known_end: int = 0) -> None:
    """Raise LogCorrupt unless all of the log is there. clean: the broker stopped cleanly, so that no end can be torn;
    known_end: a checkpoint reflects the log up to here."""
    if found.damages:
        damage = found.damages[0]
        raise LogCorrupt(f"the log is damaged at offset {damage.offset} ({damage.text}); mqgateway repair mends it")
    if clean and found.torn_bytes:
        raise LogCorrupt(
            f"the log is damaged at offset {found.tail}: it was closed cleanly, but no valid record is there; "
            f"mqgateway repair mends it"
        )
    if found.tail < known_end:
        raise LogCorrupt(
            f"the log is damaged at offset {found.tail}: the state reflects it up to {known_end}, but no valid record "
            f"is there; mqgateway repair mends it"
        )


@contextmanager
def held_by_us(data_dir: Path, command: str = "") -> Iterator[DataDirectory | None]:
    """Keep brokers from starting here meanwhile; None: one is running already. command: see DataDirectory. Raises
    Refused, StoreRefused."""
    if not any((data_dir / name).exists() for name in ("commitlog", *UNFINISHED.values())):
        raise Refused(f"{data_dir} is no data directory: it has no commitlog/; --data-dir says where it is")
    try:
        directory = DataDirectory(data_dir, command)
    except DirectoryInUse:
        yield None
        return
    try:
        yield directory
    finally:
        directory.release()
