"""`mqgateway repair`: a data directory on which no broker starts is made one again, with the least loss.

It is planned on a log that is only seen as mended (core/log/mend.py); then, if asked to, carried out:

    save what is overwritten, and the plan, in a folder of their own ──► mark the directory as being repaired ──►
    fill ──► append what only state/ knows (core/state/lost.py) ──► put state/ aside if no start could use it ──► unmark

Interrupted behind the mark, it goes on by the same plan: what it had appended is erased and appended again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from core.disk.files import DataDirectory, SegmentFiles
from core.disk.ops import CHUNK_BYTES, FileOps
from core.disk.store import Store, copy_store
from core.errors import LogCorrupt
from core.log.blocking import BlockingLog
from core.log.mend import MendedLog, Missing, Stretch, find, written_to
from core.log.record import DONE, LINK, STATE, STORE
from core.log.recovery import OFFSET_MAX, Walk
from core.state.compare import Loaded, differences
from core.state.lost import Lost, Restated, lost_messages, restate
from core.state.snapshot import Stamp, StoreDamaged, read_stamp
from gateway.cli.data import Watch, WatchedLog, held_by_us
from gateway.cli.errors import Refused
from gateway.cli.states import Kept, load_kept, load_state, workspace

COMMAND = WORKSPACE = "repair"
FOLDER = "repaired-{}"
PLAN = "plan.json"
PARTIAL = ".partial"
SHOWN_MAX = 20  # ranges of a queue
KIND_TITLES = {
    STORE: "messages",
    STATE: "declarations and deletions",
    DONE: "acknowledgements: what they settled is delivered again",
    LINK: "messages in many queues",
}


class Plan(msgspec.Struct):
    """What is done: fill these stretches of the log, which ends at `tail` then; aside: state/ is of no use; restated:
    what is in the log before state/'s stamp has to be said anew; told: what is lost, a line for each."""

    stretches: list[Stretch]
    tail: int
    counters: tuple[int, ...]
    aside: bool
    restated: bool
    told: list[str]


class Report(NamedTuple):
    """folder: where the damaged bytes are, None = nothing was changed; plan: None = there is nothing to repair."""

    plan: Plan | None
    folder: Path | None


class _Seen(NamedTuple):
    """Both states, of the mended log; kept is None when state/ says nothing, or nothing that can be read."""

    plan: Plan
    kept: Kept | None
    rebuilt: Loaded
    lost: list[Lost]


def repair(data_dir: Path, segment_bytes: int, watch: Watch, *, really: bool) -> Report:
    """Say what is to be done, and `really` do it. Raises Refused, StoreRefused, OSError."""
    with held_by_us(data_dir, COMMAND) as held:
        if held is None:
            raise Refused(f"a broker is running on {data_dir}: stop it first")
        folder, plan = _unfinished(data_dir) if held.resumed else (None, None)
        if folder is not None and (folder / "state").exists():  # all was done but the last step
            held.finish(COMMAND)
            return Report(plan, folder)
        with workspace(data_dir / WORKSPACE) as room:
            files = WatchedLog(data_dir / "commitlog", segment_bytes, watch)
            try:
                seen = _look(files, data_dir, room, held, plan)
                plan = seen.plan
                if not (plan.stretches or plan.aside):
                    return Report(None, None)
                if not really:
                    return Report(plan, None)
                if folder is None:
                    folder = _save(data_dir, files, plan)
            finally:
                files.close()
            held.begin(COMMAND)
            _carry_out(data_dir, segment_bytes, seen)
        if plan.aside and (data_dir / "state").exists():
            (data_dir / "state").rename(folder / "state")
            FileOps().sync_directory(str(folder))
        held.finish(COMMAND)
        return Report(plan, folder)


# -- looking


def _look(files: WatchedLog, data_dir: Path, room: Path, held: DataDirectory, plan: Plan | None) -> _Seen:
    kept_path = room / "kept"
    kept_path.mkdir()
    unusable, stamp = "", Stamp()
    try:
        there = copy_store(data_dir / "state", kept_path)
        if there:
            stamp = _stamp(kept_path)
    except (StoreDamaged, msgspec.MsgspecError) as error:
        there, unusable = False, str(error)
    if plan is None:
        stretches = find(files, not held.unclean, stamp.offset if stamp.offset <= files.end else 0)
    else:
        stretches = plan.stretches
    log = MendedLog(files, stretches)
    missing = Missing({filler.offset for filler in log.fillers if filler.offset >= stamp.offset}, log.first)
    rebuilt, tail, counters = _rebuild(Store(room / "rebuilt"), log, missing, plan)
    kept = None
    if there:
        try:
            kept = load_kept(Store(kept_path), log, tail, lambda start: _behind(stretches, start))
        except (StoreDamaged, msgspec.MsgspecError, LogCorrupt) as error:
            unusable = str(error)
    differing = kept is not None and not stretches and next(differences(kept.state, rebuilt), None) is not None
    (rebuilt if kept is None else kept.state).applier.drop_baseless()
    if kept is None:
        lost = list(lost_messages(rebuilt, stretches))
    else:
        lost = list(lost_messages(kept.state, stretches, rebuilt))
    if plan is None:
        restated = kept is not None and any(each.start < kept.stamp for each in stretches)
        inside = kept is not None and _behind(stretches, kept.stamp) != kept.stamp
        if differing and not stretches:
            unusable = "it is not what the log says"
        told = [*_places(stretches), *_losses(lost, missing), *_of_state(unusable, restated, stamp.offset)]
        plan = Plan(stretches, tail, counters, bool(unusable) or inside, restated, told)
    return _Seen(plan, kept, rebuilt, lost)


def _stamp(path: Path) -> Stamp:
    store = Store(path)
    store.open()
    try:
        return read_stamp(store) or Stamp()
    finally:
        store.close()


def _rebuild(store: Store, log: MendedLog, missing: Missing, plan: Plan | None) -> tuple[Loaded, int, tuple[int, ...]]:
    """What the log alone gives, where it ends, and its counters there."""
    ends: list[tuple[int, tuple[int, ...]]] = []

    def read_all(stamp: Any, on_record: Any) -> None:
        def record(view: Any) -> None:
            missing.record(view)
            on_record(view)

        walk = Walk(log, record, upto=OFFSET_MAX if plan is None else plan.tail)
        ends.append((walk.run(log.first), tuple(walk.counters)))

    rebuilt = load_state(store, read_all)
    return rebuilt, *ends[0]


def _behind(stretches: list[Stretch], offset: int) -> int:
    """Where to read on: behind a stretch, when its filler does not begin just there."""
    for each in stretches:
        if each.start < offset < each.stop:
            return each.stop
    return offset


# -- telling


def _places(stretches: list[Stretch]) -> Iterator[str]:
    for start, stop in stretches:
        yield f"log    offsets {start} to {stop}: no valid record in {stop - start} bytes"


def _losses(lost: list[Lost], missing: Missing) -> Iterator[str]:
    for fact, ranges in lost:
        count = sum(end - start for start, end in ranges)
        shown = ", ".join(
            f"{start}" if end == start + 1 else f"{start} to {end - 1}" for start, end in ranges[:SHOWN_MAX]
        )
        more = f" and {len(ranges) - SHOWN_MAX} more ranges" if len(ranges) > SHOWN_MAX else ""
        yield f"lost   queue '{fact.name}' in vhost '{fact.vhost}': {count} messages, offsets {shown}{more}"
    for kind, count in sorted(missing.counts.items()):
        if count:
            yield f"lost   {count} records of {KIND_TITLES.get(kind, 'another kind')}"


def _of_state(unusable: str, restated: bool, stamp: int) -> Iterator[str]:
    if unusable:
        yield f"state  is put aside, the next start builds it from the log: {unusable}"
    elif restated:
        yield f"state  knows what lay in front of log offset {stamp}: what is declared and done is said anew in the log"


# -- doing


def _save(data_dir: Path, files: WatchedLog, plan: Plan) -> Path:
    """What will be overwritten, and the plan."""
    folder = data_dir / FOLDER.format(_last_number(data_dir) + 1)
    partial = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(mode=0o750)
        for stretch in plan.stretches:
            with open(partial / f"{stretch.start:020d}-{stretch.stop:020d}", "wb") as file:
                at = stretch.start
                while at < stretch.stop:
                    block = files.read(at, min(CHUNK_BYTES, stretch.stop - at))
                    file.write(block)
                    at += len(block)
                _sync(file)
        with open(partial / PLAN, "wb") as file:
            file.write(msgspec.json.encode(plan))
            _sync(file)
        FileOps().sync_directory(str(partial))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)
    FileOps().sync_directory(str(data_dir))
    return folder


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _last_number(data_dir: Path) -> int:
    found = [path.name.rpartition("-")[2] for path in data_dir.glob(FOLDER.format("*"))]
    return max((int(number) for number in found if number.isdigit()), default=0)


def _unfinished(data_dir: Path) -> tuple[Path, Plan]:
    """The folder and plan of a repair that was interrupted."""
    folder = data_dir / FOLDER.format(_last_number(data_dir))
    try:
        return folder, msgspec.json.decode((folder / PLAN).read_bytes(), type=Plan)
    except (OSError, msgspec.MsgspecError) as error:
        raise Refused(f"a repair was interrupted here, but its plan cannot be read: {folder / PLAN}: {error}") from None


def _carry_out(data_dir: Path, segment_bytes: int, seen: _Seen) -> None:
    plan = seen.plan
    files = SegmentFiles(data_dir / "commitlog", segment_bytes)
    try:
        for filler in MendedLog(files, plan.stretches).fillers:
            files.write_and_sync([(filler.offset, [filler.bytes()])], True)
        if plan.restated:
            if seen.kept is None:
                raise Refused("a repair was interrupted here, and state/ has changed since")
            files.erase(plan.tail, written_to(files, plan.tail))
            log = BlockingLog(files, plan.tail, plan.counters)
            what = Restated(seen.kept.state, seen.rebuilt, seen.lost, plan.stretches, files.read)
            restate(log, what, int(time.time() * 1000))
            log.commit()
    finally:
        files.close()
