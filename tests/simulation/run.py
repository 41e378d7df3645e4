"""Runs seeds, and says in one line how to run a failing one again."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterable

import core
from tests.simulation.simulation import Simulation


def run_seed(seed: int, trace: bool = False) -> str:
    """Run one seed; return '' or what went wrong, with the line that repeats it."""
    logging.getLogger("core").setLevel(logging.CRITICAL)  # disks fail here all the time
    simulation = Simulation(seed)
    try:
        simulation.run()
    except Exception as error:
        if trace:
            traceback.print_exc()
        pure = "CORDUROY_PURE=1 " if core.uncompiled_because else ""
        what = f"{type(error).__name__}: {str(error)[:600]}"
        ends = ", ".join(simulation.ends)
        return f"seed {seed} ({ends}): {what}\n    {pure}python -m tests.simulation --seeds {seed}"
    return ""


def run_seeds(seeds: Iterable[int], seconds: float = float("inf"), trace: bool = False) -> list[str]:
    """Run seeds until the time is up; return what failed."""
    failed = []
    end = time.monotonic() + seconds
    for seed in seeds:
        if time.monotonic() >= end:
            break
        said = run_seed(seed, trace)
        if said:
            failed.append(said)
    return failed
