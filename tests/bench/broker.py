"""The brokers under load: ours, and RabbitMQ beside it. Both run on one core, on free loopback ports, in a folder of
their own that is deleted at the end; what is stopped is what was started here, by its pid."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = ROOT / ".venv" / "bin" / "mqgateway"
SETTINGS = ROOT / "conf" / "gateway.yaml"
TLS_LISTENERS = {"amqps", "mqtts", "stomps", "https"}  # off until there is a certificate
START_SECONDS = 90.0
STOP_SECONDS = 30.0
RABBITMQ_SERVERS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
RABBITMQ_PORTS = ("amqp", "mqtt", "stomp", "web_stomp", "management", "prometheus", "dist", "epmd")
RABBITMQ_PLUGINS = "rabbitmq_management,rabbitmq_mqtt,rabbitmq_stomp,rabbitmq_web_stomp,rabbitmq_prometheus"
RABBITMQ_CONF = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
mqtt.listeners.tcp.1 = 127.0.0.1:{mqtt}
stomp.listeners.tcp.1 = 127.0.0.1:{stomp}
web_stomp.tcp.ip = 127.0.0.1
web_stomp.tcp.port = {web_stomp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus}
distribution.listener.interface = 127.0.0.1
num_acceptors.tcp = 10
log.console.level = warning
log.file.level = warning
vm_memory_high_watermark.absolute = 4GB
disk_free_limit.absolute = 2GB
"""


class StartError(Exception):
    """A broker did not come up, or is not there to be started; the text says why."""


class Broker:
    """A broker's process. start() gives the seconds until it accepts; then `pid` and `address` are known, of one that
    speaks RocketMQ's protocol `native`, its remoting port, and `name_server`, and of ours `metrics`, where it is asked
    for them."""

    name = metrics = name_server = ""
    pid = 0
    address = native = ("", 0)

    def __init__(self, folder: Path, core: int | None) -> None:
        self.folder = folder
        self._core = core
        self.options: list[str] = []  # of the command line, from the next start on; ours only
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> float:
        """Start it on the data in its folder (the first time: none)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return time.monotonic() - began

    def stop(self) -> None:
        """End what start() began, asked first, then made to. Its data stays."""
        for process in reversed(self._processes):
            end_group(process)
        self._processes.clear()

    def alive(self) -> bool:
        """True while all that start() began is there."""
        return bool(self._processes) and all(process.poll() is None for process in self._processes)

    def last_words(self) -> str:
        """The end of what it wrote last."""
        logs = sorted(self.folder.glob("*.log"), key=lambda log: log.stat().st_mtime)
        lines = logs[-1].read_text(errors="replace").splitlines() if logs else []
        return " | ".join(line.strip() for line in lines[-4:])[-600:]

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still meanwhile, so that the other broker is measured as if it were alone."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, sign: signal.Signals) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)

    def destroy(self) -> None:
        """stop(), and delete its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        raise NotImplementedError

    def _spawn(self, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
        core = self._core
        with open(self.folder / f"{Path(command[0]).name}.log", "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **environment},
                preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            )
        self._processes.append(process)
        return process

    def _wait(self, process: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
        """Ask done() until it is true, for as long as the process lives and at most START_SECONDS."""
        end = time.monotonic() + START_SECONDS
        while not done():
            if process.poll() is not None or time.monotonic() > end:
                why = "did not accept in time" if process.poll() is None else f"ended with {process.returncode}"
                raise StartError(f"{self.name} {why}: {self.last_words()}")
            time.sleep(0.01)


class Gateway(Broker):
    """Our broker, compiled, all listeners on any free port, everything else at its default."""

    name = "ours"

    def _start(self) -> None:
        if not GATEWAY.exists():
            raise StartError(f"{GATEWAY.relative_to(ROOT)} is missing: make setup")
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [str(GATEWAY), "--data-dir", str(self.folder / "data"), "--ready-file", str(ready)]
        for listener in listeners():
            command += ["--set", f"listeners.{listener}=127.0.0.1:0"]
        process = self._spawn(command + self.options)
        self._wait(process, ready.exists)
        facts = json.loads(ready.read_text())
        self.metrics = str(facts["metrics"])
        host, _, port = facts["amqp"].rpartition(":")
        self.pid, self.address = int(facts["pid"]), (host, int(port))
        host, _, port = facts["remoting"].rpartition(":")
        self.native, self.name_server = (host, int(port)), str(facts["namesrv"])


class RabbitMQ(Broker):
    """An installed RabbitMQ, set as ../shared/peers/start.sh sets it, with a port mapper and ports of its own."""

    name = "rabbitmq"

    def missing(self) -> str:
        """Why it cannot be started here; empty when it can."""
        if not any(map(shutil.which, RABBITMQ_SERVERS)) or shutil.which("epmd") is None:
            return "no RabbitMQ is installed (rabbitmq-server, epmd)"
        return ""

    def _start(self) -> None:
        if reason := self.missing():
            raise StartError(reason)
        server = next(filter(None, map(shutil.which, RABBITMQ_SERVERS)))
        ports = dict(zip(RABBITMQ_PORTS, free_ports(len(RABBITMQ_PORTS)), strict=True))
        folder = self.folder.resolve()
        (folder / "rabbitmq.conf").write_text(RABBITMQ_CONF.format(**ports))
        (folder / "enabled_plugins").write_text(f"[{RABBITMQ_PLUGINS}].")
        mapper = {"ERL_EPMD_PORT": str(ports["epmd"]), "ERL_EPMD_ADDRESS": "127.0.0.1", "HOME": str(folder)}
        epmd = self._spawn(["epmd"], **mapper)
        self._wait(epmd, lambda: accepts(ports["epmd"]))
        process = self._spawn(
            [server],
            RABBITMQ_NODENAME=f"bench{os.getpid()}@localhost",
            RABBITMQ_DIST_PORT=str(ports["dist"]),
            RABBITMQ_CONFIG_FILE=str(folder / "rabbitmq.conf"),
            RABBITMQ_MNESIA_BASE=str(folder / "mnesia"),
            RABBITMQ_LOG_BASE=str(folder / "log"),
            RABBITMQ_CONF_ENV_FILE="/dev/null",
            RABBITMQ_ENABLED_PLUGINS_FILE=str(folder / "enabled_plugins"),
            RABBITMQ_PID_FILE=str(folder / "node.pid"),
            **mapper,
        )
        for listener in ("amqp", "prometheus", "management"):
            self._wait(process, partial(accepts, ports[listener]))
        self.pid, self.address = process.pid, ("127.0.0.1", ports["amqp"])


def listeners() -> list[str]:
    """The listeners that are on by default, as conf/gateway.yaml has them."""
    values = yaml.safe_load(SETTINGS.read_text())["listeners"]
    return [name for name, value in values.items() if value != "off" and name not in TLS_LISTENERS]


def accepts(port: int) -> bool:
    """True when somebody accepts connections on that loopback port."""
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on just now."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


def end_group(process: subprocess.Popen[Any], *, first: signal.Signals = signal.SIGTERM) -> None:
    """End a process that leads a session of its own, and with it its children."""
    for sign, seconds in ((first, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # children that stayed behind
