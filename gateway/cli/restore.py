"""`mqgateway restore`: a new data directory from a dump.

While it works a file in the directory says so (DataDirectory.begin): whoever finds it there refuses, but `restore`,
which begins anew. If it cannot end, it leaves nothing behind.
"""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from core.disk.files import DataDirectory, SegmentFiles
from core.disk.ops import FileOps
from core.log.blocking import BlockingLog
from core.state.dump_lines import DumpRefused
from core.state.undump import Undump
from gateway.cli.data import Watch
from gateway.cli.dump import BUFFER_BYTES, COMPRESSED
from gateway.cli.errors import EX_CANTCREAT, EX_DATAERR, Refused

COMMAND = "restore"
OURS = ("commitlog", "state")  # what a data directory consists of
LINE_ROOM_BYTES = 1 << 20


class Restored(NamedTuple):
    """How many queues, and messages, each once."""

    queues: int
    messages: int


def restore(data_dir: Path, file: Path, segment_bytes: int, watch: Watch) -> Restored:
    """Fill data_dir, which must have no log. Raises Refused, StoreRefused, OSError; there is no log then either."""
    if not file.is_file():
        raise Refused(f"{file} is no file")
    directory = DataDirectory(data_dir, COMMAND)
    try:
        if not directory.resumed:
            _check_empty(data_dir)
        try:
            directory.begin(COMMAND)
            _remove(data_dir)
            restored = _fill(data_dir / "commitlog", file, segment_bytes, watch)
            FileOps().sync_directory(str(data_dir.parent))
        except BaseException as error:
            _remove(data_dir)
            directory.finish(COMMAND)
            if isinstance(error, DumpRefused):
                raise Refused(f"{file} cannot be restored: {error}", EX_DATAERR) from None
            raise
        directory.finish(COMMAND)
        return restored
    finally:
        directory.release()


def _check_empty(data_dir: Path) -> None:
    for name in OURS:
        if (data_dir / name).is_dir() and any((data_dir / name).iterdir()):
            raise Refused(f"{data_dir} is in use already, it has {name}/: restore into a new directory", EX_CANTCREAT)


def _remove(data_dir: Path) -> None:
    for name in OURS:
        with suppress(FileNotFoundError):
            shutil.rmtree(data_dir / name)


def _fill(commitlog: Path, file: Path, segment_bytes: int, watch: Watch) -> Restored:
    files = SegmentFiles(commitlog, segment_bytes)
    try:
        work = Undump(BlockingLog(files), segment_bytes)
        for line in _lines(file, 2 * segment_bytes + LINE_ROOM_BYTES, watch):
            work.take(line)
        work.end()
        return Restored(work.queues, work.messages)
    finally:
        files.close()


def _lines(file: Path, bytes_max: int, watch: Watch) -> Iterator[bytes]:
    """The lines of the file, up to bytes_max each, with their ends. Raises DumpRefused."""
    number = 0
    with open(file, "rb", buffering=BUFFER_BYTES) as raw:
        progress = watch(0, file.stat().st_size)
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw) if file.suffix == COMPRESSED else raw)
        try:
            while line := stream.readline(bytes_max):
                number += 1
                if len(line) == bytes_max and not line.endswith(b"\n"):
                    raise DumpRefused(f"its line {number} is longer than {bytes_max} bytes")
                yield line
                progress(raw.tell())
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DumpRefused(f"it is damaged or not whole behind line {number}: {error}") from None
