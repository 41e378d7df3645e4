"""PerfTest, RabbitMQ's own load tool, through the load scripts beside the checkout (../shared/peers)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.broker import ROOT, Broker, end_group
from tests.bench.procfs import usage
from tests.bench.session import LoadError

SCRIPT = ROOT.parent / "shared" / "peers" / "load" / "amqp.sh"
GRACE_SECONDS = 75.0  # for a JVM to start and to stop, beyond what is measured


def missing() -> str:
    """Why PerfTest cannot run here; empty when it can."""
    if not SCRIPT.exists():
        return "PerfTest: no ../shared/peers/load/amqp.sh beside the checkout"
    if shutil.which("java") is None or shutil.which("taskset") is None:
        return "PerfTest: java or taskset is not installed"
    if not any(_installed()):
        return "PerfTest is not installed: ../shared/peers/install.sh loadtools"
    return ""


def library() -> str:
    """The class path of an installed PerfTest."""
    return f"{next(_installed()).parent}/*"


def _installed() -> Iterator[Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("PEERS_HOME") or cache / "peers")
    return home.glob("perf-test/*/.done")


def run(broker: Broker, scenario: str, timing: tuple[float, float], core: int | None) -> dict[str, Any]:
    """Put amqp.sh's scenario on the broker; its figures, with what of the broker's memory is anonymous beside them.

    timing: seconds of warm-up, seconds measured. core: where PerfTest runs.
    """
    warmup, seconds = timing
    host, port = broker.address
    command = [str(SCRIPT), host, str(port), scenario, "--broker-pid", str(broker.pid)]
    command += ["--warmup", f"{warmup:g}", "--secs", f"{seconds:g}"]
    environment = {**os.environ, "LOAD_CPUS": "" if core is None else str(core)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as process:
        try:
            out, err = process.communicate(timeout=warmup + seconds + GRACE_SECONDS)
        except BaseException as error:
            end_group(process, first=signal.SIGINT)  # the script's own way to end PerfTest
            if isinstance(error, subprocess.TimeoutExpired):
                raise LoadError(f"PerfTest did not end in {error.timeout:g} s") from None
            raise
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if process.returncode or not lines:
        raise LoadError(f"PerfTest: {(err or out).strip()[-300:] or process.returncode}")
    result: dict[str, Any] = json.loads(lines[-1])
    if not result["recv_per_s"]:
        raise LoadError("PerfTest received nothing")
    result["broker_rss_anon_mb"] = round(usage(broker.pid).rss_anon_mb, 1)
    return result
