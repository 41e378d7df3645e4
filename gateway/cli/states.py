"""The two states of a data directory: the one that state/ keeps, and the one that the log alone gives."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from core.disk.store import Store
from core.errors import LogCorrupt
from core.log.recovery import ReadFiles, Walk
from core.state.apply import Applier
from core.state.compare import Loaded
from core.state.model import Model
from core.state.restore import Scan, load
from core.state.snapshot import Stamp, read_chunk
from gateway.cli.errors import Refused


class Kept(NamedTuple):
    """The state of state/ and the log from its stamp on."""

    state: Loaded
    stamp: int


def load_state(store: Store, scan: Scan) -> Loaded:
    """What the store and the records that scan() gives make. Raises StoreDamaged, MsgspecError, StoreRefused."""
    store.open()
    applier = Applier(Model(), _never, _never, _never, _never)
    load(store, applier, scan)
    return Loaded(applier, partial(read_chunk, store))


def load_kept(store: Store, files: ReadFiles, tail: int, start_of: Callable[[int], int] = int) -> Kept:
    """As a start would, up to `tail`; start_of(stamp) is where the log is read from. Raises LogCorrupt, too."""
    start = 0

    def read_on(stamp: Stamp, on_record: Any) -> None:
        nonlocal start
        start = stamp.offset
        if start and not files.first <= start <= tail:
            raise LogCorrupt(f"it reflects the log up to {start}, but the log spans {files.first} to {tail}")
        Walk(files, on_record, stamp.counters, tail).run(max(start_of(start), files.first))

    return Kept(load_state(store, read_on), start)


@contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """An empty directory for this process alone, gone afterwards; what an interrupted one left goes first."""
    path.mkdir(mode=0o750, exist_ok=True)
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"{path} is in use: another mqgateway {path.name} is at work") from None
        for left in path.iterdir():
            shutil.rmtree(left)
        yield path
        shutil.rmtree(path)
    finally:
        os.close(lock)


def _never(*arguments: Any) -> Any:
    raise AssertionError("nothing living is built here")
