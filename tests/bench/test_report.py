"""Targets and tables: medians, verdicts, and what is not measured is not judged."""

import json

import pytest

from tests.bench.native import NATIVE
from tests.bench.procfs import Usage
from tests.bench.report import Results, table
from tests.bench.scenarios import PATHS, SCENARIOS, SHAPES
from tests.bench.targets import CPU, TARGETS, Target, judge

BAR = Target("row", "figure", 10, 5, "x")


@pytest.mark.parametrize(
    ("ours", "word"), [({"figure": 5}, "goal"), ({"figure": 10}, "must"), ({"figure": 10.1}, "MISSED"), ({}, "-")]
)
def test_a_figure_reaches_what_it_does_not_exceed(ours, word):
    assert judge(BAR, ours, {}).word == word


def test_only_a_goal_cannot_be_missed():
    assert judge(Target("row", "figure", None, 5, "x"), {"figure": 6}, {}).word == "not yet"


def test_a_ratio_is_judged_only_beside_a_peer():
    ratio = Target("row", "figure_of_peer", 1, 0.5, "x")
    assert judge(ratio, {"figure": 2}, {}).word == "-"
    assert judge(ratio, {"figure": 2}, {"figure": 4}).word == "goal"
    assert judge(ratio, {"figure": 5}, {"figure": 4}).word == "MISSED"


def test_medians_of_the_runs_are_judged_and_every_line_is_kept(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    for cpu in (3.0, 9.0, 1.0):
        results.add("transient-16", "ours", {CPU: cpu})
    results.add("transient-16", "rabbitmq", {CPU: 12.0})
    (verdict,) = results.verdicts()
    assert (verdict.ours, verdict.peer, verdict.word) == (3.0, 12.0, "must")
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line.get(CPU) for line in lines] == [3.0, 9.0, 1.0, 12.0, None]
    assert lines[-1]["reached"] == "must"


def test_a_table_leaves_out_columns_without_a_figure():
    assert table(["a", "b", "c"], [["1", "", "333"]]) == "| a | c   |\n|---|-----|\n| 1 | 333 |"


def test_every_target_and_every_shape_belongs_to_a_scenario():
    names = {scenario.name for scenario in SCENARIOS} | {"delayed-fill", "delayed-fire", *PATHS}
    names |= {"backlog-fill", "backlog-drain", "small-fill", "small-start", "small-drain", "spill-fill"}
    names |= {scenario.name for scenario in NATIVE} | {"native-topics-1000"}
    names |= {"queues-50k", "queues-50k-start", "queues-10k-in-turn", "retention"}
    assert {target.row for target in TARGETS} <= names
    assert set(SHAPES) <= names
    assert {scenario.stands_for for scenario in SCENARIOS if scenario.stands_for} <= names


def test_cpu_time_is_exact_while_all_threads_live_and_else_in_ticks():
    before = Usage(user_s=1.0, system_s=1.0, threads={1: 5_000_000, 2: 1_000_000})
    living = Usage(user_s=1.5, system_s=1.5, threads={1: 9_000_000, 2: 1_000_000, 3: 2_000_000})
    ended = Usage(user_s=1.5, system_s=1.5, threads={1: 9_000_000})
    assert living.cpu_s_since(before) == 0.006
    assert ended.cpu_s_since(before) == 1.0
