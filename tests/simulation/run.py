"""Runs seeds, and says in one line how to run a failing one again."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import core
from tests.simulation.simulation import Simulation


@contextmanager
def silent(logger: logging.Logger) -> Iterator[None]:
    """It says nothing of what comes; other tests of this process hear it again afterwards."""
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def run_seed(seed: int, trace: bool = False) -> str:
    """Run one seed; return '' or what went wrong, with the line that repeats it."""
    simulation = Simulation(seed)
    try:
        with silent(logging.getLogger("core")):  # disks fail here all the time
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
