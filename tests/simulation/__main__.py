"""python -m tests.simulation --seeds 1-200 [--trace] [--plant NAME]: exit code 1 if a seed fails."""

from __future__ import annotations

import argparse
import sys

import core
from tests.simulation.run import run_seed


def main(words: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", default="1-100", help="a number, or first-last")
    parser.add_argument("--trace", action="store_true", help="show the stack of a failure")
    parser.add_argument("--plant", help="plant a bug of planted.py, and stop when it is found")
    options = parser.parse_args(words)
    if options.plant:
        if not core.uncompiled_because:
            parser.error("--plant needs CORDUROY_PURE=1: compiled classes cannot be changed")
        from tests.simulation.planted import BUGS

        BUGS[options.plant]()
    first, _, last = options.seeds.partition("-")
    failed = 0
    for seed in range(int(first), int(last or first) + 1):
        said = run_seed(seed, options.trace)
        if said:
            failed += 1
            print(said, flush=True)
            if options.plant:
                break
    print(f"{failed} seeds failed of {options.seeds}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
