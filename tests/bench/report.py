"""Rows of figures as tables that read as Markdown, and as lines of JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.bench.targets import CPU, TARGETS, Verdict, judge

COLUMNS = (  # title, figure, decimals
    ("sent/s", "sent_per_s", 0),
    ("recv/s", "recv_per_s", 0),
    ("CPU s/M", CPU, 2),
    ("broker CPU %", "broker_cpu_pct", 1),
    ("driver CPU %", "driver_cpu_pct", 0),
    ("p50 ms", "p50_ms", 3),
    ("p99 ms", "p99_ms", 3),
    ("p99.9 ms", "p999_ms", 3),
    ("confirm p50", "confirm_p50_ms", 3),
    ("confirm p99", "confirm_p99_ms", 3),
    ("RSS MiB", "broker_rss_mb", 0),
    ("RssAnon MiB", "broker_rss_anon_mb", 0),
)
SHOWN = {figure for _, figure, _ in COLUMNS} | {"secs", "blocked", "broker_system_pct", "driver_cpu_s_per_million"}
DRIVER_LIMIT_PCT = 90  # above it the driver, not the broker, may have set the rate
Medians = dict[tuple[str, str], dict[str, Any]]


class Results:
    """All rows of this run; each is also a line of JSON in the file, written at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._failed: dict[tuple[str, str], str] = {}

    def add(self, row: str, broker: str, figures: dict[str, Any]) -> None:
        """Keep one row's figures of one run."""
        self._rows.setdefault((row, broker), []).append(figures)
        self._write({"row": row, "broker": broker, **figures})

    def fail(self, scenario: str, broker: str, reason: str) -> None:
        """Keep that a scenario could not be measured, and why."""
        self._failed[scenario, broker] = reason
        self._write({"row": scenario, "broker": broker, "failed": reason})

    def failures(self) -> dict[tuple[str, str], str]:
        """(scenario, broker) -> the reason."""
        return self._failed

    def medians(self) -> Medians:
        """(row, broker) -> the median of each figure over its runs."""
        return {key: median(rows) for key, rows in self._rows.items()}

    def verdicts(self) -> list[Verdict]:
        """Every target of a row that was measured on our broker."""
        medians = self.medians()
        peers = {row: figures for (row, broker), figures in medians.items() if broker != "ours"}
        held = [target for target in TARGETS if (target.row, "ours") in medians]
        verdicts = [judge(each, medians[each.row, "ours"], peers.get(each.row, {})) for each in held]
        for verdict in verdicts:
            bars = {"must": verdict.target.must, "goal": verdict.target.goal}
            figures = {"ours": verdict.ours, "peer": verdict.peer, **bars, "reached": verdict.word}
            self._write({"target": verdict.target.row, "figure": verdict.target.figure, **figures})
        return verdicts

    def _write(self, fields: dict[str, Any]) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")


def median(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure that is a number, and how many rows there were."""
    figures = {name: [row[name] for row in rows if isinstance(row.get(name), int | float)] for name in rows[0]}
    return {name: statistics.median(values) for name, values in figures.items() if values} | {"runs": len(rows)}


def figures_table(medians: Medians) -> str:
    """One line per row and broker, with what one core does beside the CPU seconds, and figures of the row's own."""
    titles = ["row", "broker", "runs", *(title for title, _, _ in COLUMNS), "=/s on one core", "other"]
    lines = []
    for (row, broker), figures in sorted(medians.items(), key=lambda item: list(medians).index(item[0])):
        cells = [number(figures.get(figure), decimals) for _, figure, decimals in COLUMNS]
        cpu = figures.get(CPU)
        others = [f"{name}={value:g}" for name, value in figures.items() if name not in SHOWN | {"runs", "scenario"}]
        if figures.get("blocked"):
            others.append(f"blocked={figures['blocked']:g}")
        if figures.get("driver_cpu_pct", 0) >= DRIVER_LIMIT_PCT:
            others.append("(the driver was the limit)")
        one_core = number(1e6 / cpu if cpu else None, 0)
        lines.append([row, broker, str(figures["runs"]), *cells, one_core, " ".join(others)])
    return table(titles, lines)


def targets_table(verdicts: list[Verdict]) -> str:
    """One line per target: ours, the bars, the peer's and the ratio, and what was reached."""
    lines = []
    for verdict in verdicts:
        target, ours, peer = verdict.target, verdict.ours, verdict.peer
        ratio = number(ours / peer if ours is not None and peer else None, 3)
        bars = [number(bar, 2) for bar in (ours, target.must, target.goal, peer)]
        lines.append([target.row, target.unit, *bars, ratio, verdict.word])
    return table(["row", "figure", "ours", "must", "goal", "peer", "ours/peer", "reached"], lines)


def number(value: float | None, decimals: int) -> str:
    """A figure as the tables show it; empty when there is none."""
    return "" if value is None else f"{value:,.{decimals}f}"


def table(titles: list[str], lines: Iterable[list[str]]) -> str:
    """A Markdown table whose columns also line up as plain text; a column without any figure is left out."""
    rows = [titles, *lines]
    used = [at for at in range(len(titles)) if len(rows) == 1 or any(row[at] for row in rows[1:])]
    widths = [max(len(row[at]) for row in rows) for at in used]
    shown = ["| " + " | ".join(row[at].ljust(width) for at, width in zip(used, widths)) + " |" for row in rows]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)
