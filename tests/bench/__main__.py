"""`python -m tests.bench [--peer installed|none] [--check] [scenario ...]`: README.md says how to read the figures."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.bench import build, perftest
from tests.bench.broker import ROOT, Broker, Gateway, RabbitMQ, StartError
from tests.bench.native import NATIVE
from tests.bench.report import Results, figures_table, targets_table
from tests.bench.retention import RETENTION
from tests.bench.rocketmq import RocketMQ
from tests.bench.scale import SCALE
from tests.bench.scenarios import SCENARIOS, Bench, Scenario
from tests.bench.session import LoadError

ALL = SCENARIOS + SCALE + RETENTION + NATIVE
PEERS = {peer.name: peer for peer in (RabbitMQ, RocketMQ)}
RESULTS = ROOT / "build" / "bench" / "results.jsonl"
SPARE_DISK_MB = 2048
NICE = -5  # where allowed: brokers and drivers alike go before what else runs on the machine
EXIT_FAILED, EXIT_USAGE = 1, 2


def arguments() -> argparse.Namespace:
    """What was asked for, on the command line and in the environment."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Environment: BENCH=name,... (scenarios), SECS (10, measured), WARMUP (4), RUNS (1, the median "
        "counts), BACKLOG (1000000), BENCH_DIR (build/bench: where the brokers keep their data).",
    )
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="default: all; --list names them")
    parser.add_argument("--peer", choices=["installed", "none"], default=os.environ.get("PEER", "installed"))
    parser.add_argument("--peer-only", action="store_true", help="without our broker")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a target is missed or a scenario fails")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    return parser.parse_args()


def selected(names: list[str], no_perftest: str) -> list[Scenario]:
    """The scenarios of these names, or all: then our driver's stand-ins only where PerfTest is missing. `native` names
    all that are of RocketMQ's protocol."""
    known = {scenario.name: scenario for scenario in ALL}
    native = [scenario.name for scenario in NATIVE]
    names = [each for name in names for each in (native if name == "native" else [name])]
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"unknown scenario {unknown[0]!r}: {', '.join(known)}")
    if names:
        return [known[name] for name in names]
    return [scenario for scenario in SCENARIOS if no_perftest or not scenario.stands_for]


def announce(scenarios: list[Scenario], bench: Bench, runs: int, brokers: int) -> None:
    """Say what is about to happen, how long it takes and what it needs; refuse when the disk has not that much."""
    needs = [scenario.needs(bench, runs) for scenario in scenarios]
    minutes = sum(seconds for seconds, _ in needs) * brokers / 60
    need = int(max(disk_mb for _, disk_mb in needs) * brokers)
    free = shutil.disk_usage(bench.folder).free >> 20
    print(f"About {math.ceil(minutes)} minutes; up to {need:,} MiB of disk in {shown(bench.folder)}, "
          f"where {free:,} MiB are free; deleted at the end.")  # fmt: skip
    pinned = f"Broker on core {bench.broker_core}, driver on core {bench.driver_core}"
    print(f"{pinned if bench.broker_core is not None else 'Both on the only core'}, nice {os.nice(0)}.")
    if free < need + SPARE_DISK_MB:
        raise SystemExit(f"not enough disk: {need:,} MiB and {SPARE_DISK_MB:,} MiB to spare; BENCH_DIR names another")


def shown(path: Path) -> str:
    """A path as it is shown: below the checkout, relative to it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def measure(scenario: Scenario, bench: Bench, brokers: list[Broker], runs: int, results: Results) -> None:
    """All runs of one scenario, the brokers taking turns, each with the others standing still."""
    failed = set()
    for turn in range(max(runs, scenario.runs)):
        for broker in brokers:
            if broker.name in failed:
                continue
            began = time.monotonic()
            try:
                if not broker.alive():
                    broker.destroy()
                    broker.start()
                with contextlib.ExitStack() as stack:
                    for other in brokers:
                        if other is not broker:
                            stack.enter_context(other.paused())
                    for row, figures in scenario.measure(bench, broker):
                        results.add(row, broker.name, figures)
            except (LoadError, StartError, OSError) as error:
                failed.add(broker.name)
                ended = "" if isinstance(error, StartError) or broker.alive() else f" (it ended: {broker.last_words()})"
                results.fail(scenario.name, broker.name, f"{error}{ended}")
                broker.destroy()
            took = time.monotonic() - began
            word = "failed" if broker.name in failed else "done"
            print(f"  {scenario.name} {turn + 1}, {broker.name}: {word} in {took:.0f} s", file=sys.stderr, flush=True)


def run_all(scenarios: list[Scenario], bench: Bench, brokers: list[Broker], runs: int, results: Results) -> None:
    """Every scenario; ours starts each one on an empty folder, a peer goes on as it is."""
    no_perftest = perftest.missing()
    try:
        for scenario in scenarios:
            if scenario.perftest and no_perftest:
                print(f"  {scenario.name}: skipped, {no_perftest}", file=sys.stderr)
                continue
            wanted = [broker for broker in brokers if broker.name in ("ours", scenario.peer)]
            for broker in set(brokers) - set(wanted):
                broker.destroy()
            measure(scenario, bench, wanted, runs, results)
            for broker in brokers:
                if broker.name == "ours":
                    broker.destroy()
    finally:
        for broker in brokers:
            broker.destroy()


def report(results: Results) -> bool:
    """Print the tables and what failed; was everything reached?"""
    verdicts = results.verdicts()
    if medians := results.medians():
        print(f"\n{figures_table(medians)}")
    if verdicts:
        print(f"\n{targets_table(verdicts)}")
    for (scenario, broker), reason in results.failures().items():
        print(f"\n{scenario} failed on {broker}: {reason}")
    print(f"\nLines of JSON: {shown(RESULTS)}. Load average at the end: {os.getloadavg()[0]:.1f}.")
    return not results.failures() and all(verdict.word in ("goal", "must", "not yet") for verdict in verdicts)


def environment(name: str, default: str, kind: type = int):
    """A number from the environment, above 0."""
    text = os.environ.get(name) or default
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise SystemExit(f"{name}: {text!r} is not a number above 0")
    return value


def ready_bench(options: argparse.Namespace) -> Bench:
    """Compile the driver, choose the cores, go there, and make the folder."""
    drivers = build.load_driver(), build.load_driver("native_driver")
    cores = sorted(os.sched_getaffinity(0))
    pair = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    if pair[1] is not None:
        os.sched_setaffinity(0, {pair[1]})
    with contextlib.suppress(OSError):
        os.nice(NICE - os.nice(0))  # what this process starts inherits it
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1000")  # to be in time at 5,000 messages a second
    folder = Path(os.environ.get("BENCH_DIR") or ROOT / "build" / "bench") / f"data-{os.getpid()}"
    folder.mkdir(parents=True)
    count = environment("BACKLOG", "1000000")
    return Bench(*drivers, environment("WARMUP", "4", float), environment("SECS", "10", float), count, folder, *pair)


def uncompiled() -> str:
    """A warning when our broker would run from source: its figures then say nothing about the targets."""
    done = subprocess.run([sys.executable, str(ROOT / "core" / "compiled.py")], capture_output=True)
    return "" if done.returncode == 0 else "Our broker is NOT compiled as its source stands: make setup."


def main() -> int:
    """Run what was asked for; the exit code."""
    options = arguments()
    if options.list:
        print("\n".join(f"{scenario.name:22} {scenario.text}" for scenario in ALL))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILED))
    names = options.scenarios or [name for name in os.environ.get("BENCH", "").split(",") if name]
    scenarios = selected(names, perftest.missing())
    runs = environment("RUNS", "1")
    try:
        bench = ready_bench(options)
    except build.BuildError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    brokers: list[Broker] = [] if options.peer_only else [Gateway(bench.folder / "ours", bench.broker_core)]
    for name in sorted({scenario.peer for scenario in scenarios}) if options.peer == "installed" else ():
        peer = PEERS[name](bench.folder / name, bench.broker_core)
        if reason := peer.missing():
            print(f"No peer: {reason}.")
        else:
            brokers.append(peer)
    RESULTS.unlink(missing_ok=True)
    results = Results(RESULTS)
    try:
        announce(scenarios, bench, runs, len(brokers))
        if not options.peer_only and (warning := uncompiled()):
            print(warning)
        run_all(scenarios, bench, brokers, runs, results)
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)
    return EXIT_FAILED if not report(results) and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
