"""`mqgateway verify`: whether every record of the log is sound, and whether the state is what the log says.

The log is read once, from its first segment to its end. On the way a second state is built from it alone, in a
directory of its own; then the state on the disk is loaded as a start would load it, and the two are compared. Nothing
of the broker's is changed. Beside a running broker it looks at what was there when it began.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from core.disk.store import Store, copy_store
from core.errors import LogCorrupt
from core.log.recovery import Walk
from core.log.scrub import Scrubbed, scrub
from core.state.apply import Applier
from core.state.compare import Loaded, count_units, differences
from core.state.model import Model
from core.state.records import QueueFact
from core.state.restore import load
from core.state.snapshot import StoreDamaged, read_chunk
from gateway.cli.data import Watch, WatchedLog, held_by_us
from gateway.cli.errors import Refused

WORKSPACE = "verify"  # in the data directory: as large as the state grows
SHOWN_MAX = 100  # damages, and differences


class Report(NamedTuple):
    """What verify() found. online: beside a running broker; segments, segment_bytes = how many files of which size;
    queues, messages = durable queues and what waits in them; stamp = log offset of the last checkpoint, -1: none that
    could be compared; findings: one line each, empty = all is well."""

    online: bool
    segments: int
    log: Scrubbed
    stamp: int
    facts: int
    queues: int
    messages: int
    findings: list[str]


def verify(data_dir: Path, segment_bytes: int, watch: Watch) -> Report:
    """Look at everything; watch(first, end) gives what is told how far it is. Raises Refused, StoreRefused, OSError."""
    with held_by_us(data_dir) as held, _workspace(data_dir / WORKSPACE) as workspace:
        kept = workspace / "kept"
        kept.mkdir()
        findings: list[str] = []
        online, clean = held is None, held is not None and not held.unclean
        try:
            there = copy_store(data_dir / "state", kept)
        except StoreDamaged as error:
            there = False
            findings.append(f"state: cannot be read, the next start rebuilds it from the log: {error}")
        files = WatchedLog(data_dir / "commitlog", segment_bytes, watch)
        try:
            report = _look(files, Store(kept) if there else None, Store(workspace / "rebuilt"), online, findings)
        finally:
            files.close()
        if clean and report.log.torn_bytes:
            findings.append(f"log: it was closed cleanly, but no valid record is at offset {report.log.tail}")
        return report


def _look(files: WatchedLog, kept: Store | None, rebuilt: Store, online: bool, findings: list[str]) -> Report:
    segments = (files.end - files.first) // files.segment_bytes
    found: list[Scrubbed] = []

    def read_all(start: int, on_record: Any, counters: Any) -> None:
        found.append(scrub(files, on_record))

    logs = _load(rebuilt, read_all)
    log = found[0]
    findings += [f"log: offsets {each.offset} to {each.upto}: {each.text}" for each in log.damages[:SHOWN_MAX]]
    if len(log.damages) > SHOWN_MAX:
        findings.append(f"log: {len(log.damages) - SHOWN_MAX} more damages")
    stamp = -1
    if kept is not None and not log.damages:
        try:
            state, stamp = _load_kept(kept, files, log.tail)
            findings += [f"state: {line}" for line in islice(differences(state, logs), SHOWN_MAX)]
        except (StoreDamaged, msgspec.MsgspecError, LogCorrupt) as error:
            findings.append(f"state: cannot be used, delete it and the next start rebuilds it from the log: {error}")
        finally:
            kept.close()
    facts = logs.applier.model.facts
    if stamp < 0:
        logs.applier.drop_baseless()
    queues = len(facts.of(QueueFact))
    report = Report(online, segments, log, stamp, len(facts.all), queues, count_units(logs), findings)
    rebuilt.close()
    return report


def _load(store: Store, scan: Any) -> Loaded:
    store.open()
    applier = Applier(Model(), _never, _never, _never)
    load(store, applier, scan)
    return Loaded(applier, partial(read_chunk, store))


def _load_kept(store: Store, files: WatchedLog, tail: int) -> tuple[Loaded, int]:
    """As a start would, up to `tail`."""
    stamp = 0

    def read_on(start: int, on_record: Any, counters: Any) -> None:
        nonlocal stamp
        stamp = start
        if start and not files.first <= start <= tail:
            raise LogCorrupt(f"it reflects the log up to {start}, but the log spans {files.first} to {tail}")
        Walk(files, on_record, counters, tail).run(max(start, files.first))

    return _load(store, read_on), stamp


def _never(*arguments: Any) -> Any:
    raise AssertionError("nothing living is built here")


@contextmanager
def _workspace(path: Path) -> Iterator[Path]:
    """An empty directory for this process alone, gone afterwards; what an interrupted one left goes first."""
    path.mkdir(mode=0o750, exist_ok=True)
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"{path} is in use: another mqgateway verify is at work") from None
        for left in path.iterdir():
            shutil.rmtree(left)
        yield path
        shutil.rmtree(path)
    finally:
        os.close(lock)
