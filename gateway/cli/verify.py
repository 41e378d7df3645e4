"""`mqgateway verify`: whether every record of the log is sound, and whether the state is what the log says.

The log is read once, from its first segment to its end. On the way a second state is built from it alone, in a
directory of its own; then the state on the disk is loaded as a start would load it, and the two are compared. Nothing
of the broker's is changed. Beside a running broker it looks at what was there when it began.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from core.disk.store import Store, copy_store
from core.errors import LogCorrupt
from core.log.scrub import Scrubbed, scrub
from core.state.compare import count_units, differences
from core.state.records import QueueFact
from core.state.snapshot import StoreDamaged
from gateway.cli.data import Watch, WatchedLog, held_by_us
from gateway.cli.states import load_kept, load_state, workspace

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
    with held_by_us(data_dir) as held, workspace(data_dir / WORKSPACE) as room:
        kept = room / "kept"
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
            report = _look(files, Store(kept) if there else None, Store(room / "rebuilt"), online, findings)
        finally:
            files.close()
        if clean and report.log.torn_bytes:
            findings.append(f"log: it was closed cleanly, but no valid record is at offset {report.log.tail}")
        return report


def _look(files: WatchedLog, kept: Store | None, rebuilt: Store, online: bool, findings: list[str]) -> Report:
    segments = (files.end - files.first) // files.segment_bytes
    found: list[Scrubbed] = []

    def read_all(stamp: Any, on_record: Any) -> None:
        found.append(scrub(files, on_record))

    logs = load_state(rebuilt, read_all)
    log = found[0]
    findings += [f"log: offsets {each.offset} to {each.upto}: {each.text}" for each in log.damages[:SHOWN_MAX]]
    if len(log.damages) > SHOWN_MAX:
        findings.append(f"log: {len(log.damages) - SHOWN_MAX} more damages")
    stamp = -1
    if kept is not None and not log.damages:
        try:
            state, stamp = load_kept(kept, files, log.tail)
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
