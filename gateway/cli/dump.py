"""`mqgateway dump`: everything durable of a data directory, as JSON lines in one file (core/state/dump_lines.py).

Nothing of the directory is changed. The file has its name only when all of it is on the disk.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from io import BufferedIOBase, BufferedWriter, FileIO
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from core.disk.ops import FileOps
from core.disk.store import read_row
from core.errors import StoreRefused
from core.state.dump import Dump
from core.state.dump_lines import VERSION, Head, encode
from core.state.snapshot import STAMP_KEY, Stamp, StoreDamaged
from gateway.cli.data import Watch, WatchedLog, check_whole, held_by_us
from gateway.cli.errors import EX_IOERR, Refused

COMPRESSED = ".gz"
PARTIAL = ".partial"
BUFFER_BYTES = 1 << 20


class Dumped(NamedTuple):
    """How many facts and messages, each message once, were written."""

    facts: int
    messages: int
    written_bytes: int


def dump(data_dir: Path, to: Path, segment_bytes: int, watch: Watch) -> Dumped:
    """Write the dump to `to`, which must not be there. Raises Refused, StoreRefused, LogCorrupt, OSError; nothing of
    that name is there then."""
    if to.exists():
        raise Refused(f"{to} is there already")
    with held_by_us(data_dir) as held:
        if held is None:
            raise Refused(f"a broker is running on {data_dir}: stop it, or make a backup and dump that")
        with _new_file(to) as write:
            done = Dump(write)
            found = _with_log(data_dir, segment_bytes, watch, done.read)
            check_whole(found, not held.unclean, _known_end(data_dir))
            made = datetime.now(UTC).isoformat(timespec="seconds")
            head = Head(version=VERSION, made=made, by=f"corduroy-mq {version('corduroy-mq')}")
            write(encode(head) + b"\n")
            done.write_facts()
            _with_log(data_dir, segment_bytes, watch, lambda files: done.write_messages(files, found.tail))
            done.end()
    return Dumped(done.facts, done.messages, to.stat().st_size)


def _with_log(data_dir: Path, segment_bytes: int, watch: Watch, work: Callable[[WatchedLog], Any]) -> Any:
    files = WatchedLog(data_dir / "commitlog", segment_bytes, watch)
    try:
        return work(files)
    finally:
        files.close()


def _known_end(data_dir: Path) -> int:
    """The log offset up to which the last checkpoint reflects the log; 0 if it cannot be read."""
    try:
        row = read_row(data_dir / "state", "meta", STAMP_KEY)
        return 0 if row is None else msgspec.msgpack.decode(row, type=Stamp).offset
    except (StoreDamaged, StoreRefused, msgspec.MsgspecError):
        return 0


@contextmanager
def _new_file(to: Path) -> Iterator[Callable[[bytes], object]]:
    """What writes to the file. It gets its name at the end of the block, and is gone if that raises."""
    partial = to.with_name(to.name + PARTIAL)

    def write(data: bytes) -> None:
        with _told(to):
            stream.write(data)

    with _told(to):
        raw = BufferedWriter(FileIO(partial, "w"), BUFFER_BYTES)
    compressed = to.suffix == COMPRESSED
    stream = cast(BufferedIOBase, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if compressed else raw)
    try:
        yield write
        with _told(to):
            if compressed:
                stream.close()
            raw.flush()
            os.fsync(raw.fileno())
            raw.close()
            partial.rename(to)
            FileOps().sync_directory(str(to.parent))
    except BaseException:
        partial.unlink(missing_ok=True)
        with suppress(OSError):  # what its buffer holds cannot be written either
            raw.close()
        raise


@contextmanager
def _told(to: Path) -> Iterator[None]:
    """An error of the file itself is told by its name: others are of the data directory."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{to} cannot be written: {error.strerror}", EX_IOERR) from None
