"""What the storage commands print: a few lines for a person, or one JSON object; how far they are goes to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from core.errors import LogCorrupt
from core.state.snapshot import StoreDamaged
from gateway.cli import backup as copying
from gateway.cli import dump as dumping
from gateway.cli import repair as repairing
from gateway.cli import restore as restoring
from gateway.cli import verify as verifying
from gateway.cli.errors import EX_DATAERR


def verify(data_dir: Path, segment_bytes: int, form: str) -> int:
    """Print what was found. Exit code 0 = all is well."""
    with ExitStack() as shown:
        report = verifying.verify(data_dir, segment_bytes, lambda first, end: _bar(shown, first, end))
    if form == "json":
        click.echo(json.dumps(_plain(report)))
    else:
        click.echo("\n".join(_lines(report)))
    return EX_DATAERR if report.findings else 0


def backup(data_dir: Path, to: Path, segment_bytes: int) -> int:
    """Print where the copy is. Raises LogCorrupt for a damaged state, too."""
    try:
        with ExitStack() as shown:
            copied = copying.backup(data_dir, to, segment_bytes, lambda first, end: _bar(shown, first, end))
    except StoreDamaged as error:
        raise LogCorrupt(f"{data_dir / 'state'} cannot be read: {error}; mqgateway verify tells more") from None
    beside = "the running broker" if copied.online else str(data_dir)
    click.echo(f"{to}: log offsets {copied.first} to {copied.tail} of {beside}, {copied.written_bytes} bytes")
    return 0


def dump(data_dir: Path, to: Path, segment_bytes: int) -> int:
    """Print what is in the file."""
    with ExitStack() as shown:
        done = dumping.dump(data_dir, to, segment_bytes, lambda first, end: _bar(shown, first, end))
    click.echo(f"{to}: {done.facts} facts, {done.messages} messages of {data_dir}, {done.written_bytes} bytes")
    return 0


def restore(data_dir: Path, file: Path, segment_bytes: int) -> int:
    """Print what is in the new directory."""
    with ExitStack() as shown:
        done = restoring.restore(data_dir, file, segment_bytes, lambda first, end: _bar(shown, first, end, str(file)))
    click.echo(f"{data_dir}: {done.queues} queues, {done.messages} messages; the next start builds its state/")
    return 0


def repair(data_dir: Path, segment_bytes: int, *, really: bool) -> int:
    """Print what is lost and what is, or was, done about it. Exit code 0 = a broker starts here."""
    with ExitStack() as shown:
        report = repairing.repair(data_dir, segment_bytes, lambda first, end: _bar(shown, first, end), really=really)
    if report.plan is None:
        click.echo(f"{data_dir}: nothing to repair")
        return 0
    click.echo("\n".join(report.plan.told))
    if report.folder is None:
        click.echo(f"{data_dir}: nothing was changed; mqgateway repair --yes repairs it")
        return EX_DATAERR
    click.echo(f"{data_dir}: repaired; what was overwritten is in {report.folder}")
    return 0


def _bar(shown: ExitStack, first: int, end: int, label: str = "the log") -> Callable[[int], None]:
    """A progress bar over offsets, on a terminal; what is told how far it is. One before it ends."""
    if not sys.stderr.isatty():
        return lambda offset: None
    shown.close()
    bar = shown.enter_context(click.progressbar(length=max(1, end - first), label=label, file=sys.stderr))
    return lambda offset: bar.update(max(0, offset - first - bar.pos))


def _plain(report: verifying.Report) -> dict[str, Any]:
    plain = report._asdict()
    plain["log"] = report.log._asdict() | {"damages": [each._asdict() for each in report.log.damages]}
    return plain


def _lines(report: verifying.Report) -> list[str]:
    log = report.log
    beside = ", beside the running broker" if report.online else ""
    lines = [
        f"log    {report.segments} segments, offsets {log.first} to {log.tail}{beside}: {log.records} records, "
        f"{len(log.damages)} places damaged",
        f"holds  {report.facts} facts, {report.queues} queues, {report.messages} messages waiting in them",
    ]
    if log.torn_bytes:
        lines.append(f"       {log.torn_bytes} bytes behind the end belong to no whole batch: never confirmed")
    if report.stamp >= 0:
        lines.append(f"state  of log offset {report.stamp}, and the log from there on")
    elif not report.findings:
        lines.append("state  none: the next start builds it from the log")
    return [*lines, *report.findings] if report.findings else [*lines, "all is well"]
