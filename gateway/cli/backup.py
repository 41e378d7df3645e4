"""`mqgateway backup`: a copy of the data directory from which a broker starts, also of one that is running.

The state is copied first, as its last checkpoint left it; then the log is read and checked from end to end, and copied
up to where it ended then: a start on the copy does what a start after kill -9 does. What was confirmed before the
command began is in it. The copy has its name only when all of it is on the disk.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from core.disk.files import NAME_DIGITS
from core.disk.ops import CHUNK_BYTES, FileOps
from core.disk.store import Store, copy_store
from core.errors import LogCorrupt
from core.log.scrub import scrub
from core.state.snapshot import Stamp, read_stamp
from gateway.cli.data import Watch, WatchedLog, check_whole, held_by_us
from gateway.cli.errors import Refused

TRIES = 5  # while the log loses segments that the state copied before still needs
PARTIAL = ".partial"


class Copied(NamedTuple):
    """online: of a running broker; first, tail = the log offsets copied; written_bytes = what the copy's log takes."""

    online: bool
    first: int
    tail: int
    written_bytes: int


def backup(data_dir: Path, to: Path, segment_bytes: int, watch: Watch) -> Copied:
    """Copy data_dir to `to`, which must not be there. Raises Refused, StoreRefused, StoreDamaged, LogCorrupt, OSError;
    nothing of that name is there then."""
    if to.exists():
        raise Refused(f"{to} is there already")
    partial = to.with_name(to.name + PARTIAL)
    with held_by_us(data_dir) as held:
        files, stamp = _begin(data_dir, partial, segment_bytes, watch)
        try:
            found = scrub(files, lambda view: None)
            check_whole(found, held is not None and not held.unclean, stamp)
            written = _copy_log(files, found.tail, partial / "commitlog")
        finally:
            files.close()
        if held is None or held.unclean:
            (partial / "abort").touch()
    _sync(partial)
    partial.rename(to)
    FileOps().sync_directory(str(to.parent))
    return Copied(held is None, found.first, found.tail, written)


def _begin(data_dir: Path, partial: Path, segment_bytes: int, watch: Watch) -> tuple[WatchedLog, int]:
    """Copy the state, and open a log that has all that it needs; the log offset up to which the state reflects it."""
    for _ in range(TRIES):
        with suppress(FileNotFoundError):
            shutil.rmtree(partial)
        (partial / "state").mkdir(mode=0o750, parents=True)
        stamp = Stamp()
        if copy_store(data_dir / "state", partial / "state"):
            store = Store(partial / "state")
            store.open()
            stamp = read_stamp(store) or stamp
            store.close()
        files = WatchedLog(data_dir / "commitlog", segment_bytes, watch)
        if stamp.offset == 0 or files.first <= stamp.offset:
            return files, stamp.offset
        files.close()
    raise LogCorrupt(f"the state reflects the log up to {stamp.offset}, but it begins at {files.first}")


def _copy_log(files: WatchedLog, tail: int, to: Path) -> int:
    """Copy what lies in front of `tail`, in files of full size with holes where there is nothing but zeros."""
    to.mkdir(mode=0o750)
    written = 0
    for base in range(files.first, max(tail, files.first + 1), files.segment_bytes):
        with open(to / f"{base:0{NAME_DIGITS}d}", "xb") as file:
            file.truncate(files.segment_bytes)
            at, upto = base, min(tail, base + files.segment_bytes)
            while (at := files.next_data(at)) < upto:
                block = files.read(at, min(CHUNK_BYTES, upto - at))
                written += os.pwrite(file.fileno(), block, at - base)
                at += len(block)
            os.fsync(file.fileno())
    return written


def _sync(directory: Path) -> None:
    """Make all names and files durable; the segments are."""
    for path in (directory / "state").iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    for path in (directory / "state", directory / "commitlog", directory, directory.parent):
        FileOps().sync_directory(str(path))
