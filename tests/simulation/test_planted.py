"""The simulator finds planted bugs, and says nothing of the same seeds without them."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.simulation.planted import BUGS

SEEDS = "1-60"
LATER = {"8.4-limit-bytes": "52-90", "8.4-stream": "20-60", "8.6-early": "82-120"}  # what earlier seeds do not find
ROOT = Path(__file__).parents[2]


# A Violation, or what the core itself notices.
FOUND = r"Violation: |AssertionError: offset \d+ (of queue \w+ came back|lies in no piece)|LogCorrupt: "


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT, env={**os.environ, "CORDUROY_PURE": "1"}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@cache
def honest(seed: str) -> subprocess.CompletedProcess[str]:
    return simulate("--seeds", seed)


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found_and_the_seed_that_finds_it_passes_without_it(name):
    planted = simulate("--seeds", LATER.get(name, SEEDS), "--plant", name)
    assert planted.returncode == 1, planted.stdout + planted.stderr
    found = re.search(rf"^seed (\d+) .*({FOUND})", planted.stdout, re.MULTILINE)
    assert found, planted.stdout + planted.stderr
    assert honest(found[1]).returncode == 0, honest(found[1]).stdout + honest(found[1]).stderr


def test_the_line_that_is_printed_repeats_the_failure():
    first = simulate("--seeds", SEEDS, "--plant", "recovery-last")
    seed = re.search(r"python -m tests\.simulation --seeds (\d+)", first.stdout)[1]
    again = simulate("--seeds", seed, "--plant", "recovery-last")
    assert first.stdout.splitlines()[:2] == again.stdout.splitlines()[:2]
