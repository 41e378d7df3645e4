"""What the figures have to reach: `must` is the bar, `goal` what is aimed at. What does not exceed it reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CPU = "broker_cpu_s_per_million"
OF_PEER = "_of_peer"  # a figure of this ending is ours divided by the peer's, both medians of the same run


@dataclass(frozen=True)
class Target:
    """A bar for one figure of one row; None: there is no such bar."""

    row: str
    figure: str
    must: float | None
    goal: float | None
    unit: str


TARGETS = (
    Target("transient-16", CPU, 3.5, 2, "CPU-s per million"),
    Target("transient-100-window", CPU, 1.5, 0.8, "CPU-s per million"),
    Target("durable", CPU, 9, 6, "CPU-s per million"),
    Target("durable-4", CPU, 9, 6, "CPU-s per million"),
    Target("fanout-10", CPU, 2, 1, "CPU-s per million deliveries"),
    Target("window-1", CPU, 110, 80, "CPU-s per million"),
    Target("window-1", "confirm_p50_of_floor", None, 1.5, "x (fdatasync + round trip)"),
    Target("latency", "p99_ms" + OF_PEER, 1.0, 0.5, "x the peer's p99"),
    *(
        Target(row, "cpu_of_plain", 2.5, None, "x the plain durable path")
        for row in ("ttl", "expired", "dead-letter", "priority-5", "tx-50")
    ),
    Target("backlog-fill", "broker_rss_anon_mb", 150, None, "MiB anonymous, all waiting"),
    Target("spill-fill", "broker_rss_anon_mb", 300, 200, "MiB anonymous, all waiting"),
    Target("backlog-fill", CPU, 8, 5, "CPU-s per million"),
    Target("backlog-fill", "last_tenth_of_first", 1.15, 1.05, "x, the last tenth over the first"),
    Target("backlog-fill", "broker_rss_anon_peak_mb", 300, 200, "MiB anonymous at most"),
    Target("backlog-drain", CPU, 5, 3, "CPU-s per million"),
    Target("backlog-drain", "last_tenth_of_first", 1.15, 1.05, "x, the last tenth over the first"),
    Target("backlog-drain", "broker_rss_anon_peak_mb", 300, 200, "MiB anonymous at most"),
    Target("queues-50k", "broker_rss_anon_mb", 250, None, "MiB anonymous, 50,000 queues"),
    Target("queues-50k-start", "broker_rss_anon_mb", 250, None, "MiB anonymous, 50,000 queues"),
    Target("queues-50k-start", "ready_s", 10, None, "s from start to ready"),
    Target("queues-10k-in-turn", "cpu_of_one_queue", 1.5, 1.2, "x one queue"),
    Target("queues-10k-in-turn", "stall_ms", 10, None, "ms, the longest stall of the loop"),
    Target("small-fill", "broker_rss_anon_peak_mb", 400, None, "MiB anonymous at most"),
    Target("small-start", "ready_s", 10, 5, "s from start to ready"),
    Target("small-start", "broker_rss_anon_mb", 400, None, "MiB anonymous"),
    Target("small-drain", "broker_rss_anon_peak_mb", 400, None, "MiB anonymous at most"),
    Target("retention", "cpu_of_none", 1.5, 1.2, "x without retention"),
    Target("retention", "stall_ms", 10, None, "ms, the longest stall of the loop"),
    Target("delayed-fill", "rss_anon_mb_per_million", 60, 45, "MiB anonymous per million waiting"),
    Target("delayed-fire", "p99_ms", 20, 5, "ms late, p99"),
    Target("delayed-fire", "max_ms", None, 20, "ms late, the latest"),
    Target("native-sync", CPU, 12, 8, "CPU-s per million"),
    Target("native-async", CPU, 10, 6, "CPU-s per million"),
    Target("native-batch", CPU, 3, 2, "CPU-s per million"),
    Target("native-drain", CPU, 3, 2, "CPU-s per million"),
    Target("native-latency", "p99_ms" + OF_PEER, 1.0, 0.5, "x the peer's p99"),
    Target("native-topics-1000", "cpu_of_one_topic", 1.2, None, "x one topic"),
    Target("idle", "broker_rss_anon_mb", 100, None, "MiB anonymous"),
    Target("idle", "broker_cpu_pct", 0.1, None, "% of a core"),
    Target("idle", "ready_s", 1.0, None, "s from start to ready, no data"),
)


@dataclass(frozen=True)
class Verdict:
    """How a target fared: `word` is goal, must, MISSED, or - when there is no figure."""

    target: Target
    ours: float | None
    peer: float | None
    word: str


def judge(target: Target, ours: dict[str, Any], peer: dict[str, Any]) -> Verdict:
    """Hold the medians of one row against a target. A target with only a goal is not missed, at worst not reached."""
    name = target.figure.removesuffix(OF_PEER)
    mine, other = ours.get(name), peer.get(name)
    value = mine
    if target.figure.endswith(OF_PEER):
        value = mine / other if mine is not None and other else None
    if value is None:
        word = "-"
    elif target.goal is not None and value <= target.goal:
        word = "goal"
    elif target.must is None:
        word = "not yet"
    else:
        word = "must" if value <= target.must else "MISSED"
    return Verdict(target, value, None if target.figure.endswith(OF_PEER) else other, word)
