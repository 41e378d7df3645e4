"""The broker as a process: started as a user starts it, ended by its pid, killed without a word."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pika

READY_SECONDS = 30  # an uncompiled start on a busy machine
STOP_SECONDS = 10  # the command contract's promise
LISTENERS = ("amqp", "http", "metrics", "remoting", "remoting_vip", "namesrv")


def until(condition, seconds: float = 10, what: str = "condition"):
    """Poll `condition()` until it is true and return its value; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)
    return value


def parameters(broker, **changes) -> pika.ConnectionParameters:
    """pika's parameters for the broker as guest, with changes."""
    settings = {"host": "127.0.0.1", "port": broker.port, "socket_timeout": 10, "blocked_connection_timeout": 30}
    return pika.ConnectionParameters(**(settings | changes))


class External:
    """A broker that is already running, at CORDUROY_TEST_AMQP and (optional) CORDUROY_TEST_HTTP."""

    def __init__(self, amqp: str, http: str | None):
        self.port = int(amqp.rpartition(":")[2])
        self.http = http

    def alive(self) -> bool:
        """Whether a look at the process says it runs; unknown here."""
        return True

    def rss_anon(self) -> int:
        """Anonymous memory in bytes; unknown here, hence constant."""
        return 0


class Broker:
    """One `mqgateway` process on loopback ports of its own choice; start(), then stop(), kill9() or restart()."""

    def __init__(self, folder: Path, *options: str, definitions: dict | None = None):
        self.folder = folder
        self.data = folder / "data"
        self.options = list(options)
        if definitions is not None:
            file = folder / "definitions.json"
            file.write_text(json.dumps(definitions))
            self.options.append(f"definitions.file={file}")
        self.process: subprocess.Popen | None = None
        self.addresses: dict = {}
        self._starts = 0

    def command(self, ready: Path) -> list[str]:
        """The command line, as a user would type it."""
        settings = [f"listeners.{name}=127.0.0.1:0" for name in LISTENERS] + self.options
        executable = Path(sys.executable).with_name("mqgateway")
        line = [str(executable), "--data-dir", str(self.data), "--ready-file", str(ready)]
        return line + [word for setting in settings for word in ("--set", setting)]

    def spawn(self) -> Path:
        """Start the process, without waiting; return the ready file's path."""
        assert self.process is None or self.process.poll() is not None, "already running"
        self._starts += 1
        ready = self.folder / f"ready.{self._starts}"
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(self.command(ready), stdout=log, stderr=log, cwd=self.folder)
        return ready

    @property
    def log_file(self) -> Path:
        """Where the latest start's output goes."""
        return self.folder / f"log.{self._starts}"

    @property
    def log(self) -> str:
        """What the latest start has printed so far."""
        return self.log_file.read_text(errors="replace")

    def start(self) -> "Broker":
        """Start and wait for the ready file."""
        ready = self.spawn()

        def answered():
            if self.process.poll() is not None:
                raise AssertionError(f"the broker ended with {self.process.returncode}:\n{self.log[-4000:]}")
            return ready.exists()

        until(answered, READY_SECONDS, "ready file")
        self.addresses = json.loads(ready.read_text())
        return self

    def wait_refused(self, seconds: float = READY_SECONDS) -> str:
        """For a start that must fail: wait for its end and return what it printed."""
        code = self.process.wait(seconds)
        assert code > 0, f"expected a refusal, got exit code {code}:\n{self.log}"
        return self.log

    @property
    def port(self) -> int:
        """The AMQP port really bound."""
        return int(self.addresses["amqp"].rpartition(":")[2])

    @property
    def pid(self) -> int:
        """The process that holds the state."""
        return self.addresses["pid"]

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def rss_anon(self) -> int:
        """Anonymous memory in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon")

    def metric(self, name: str) -> float:
        """A sample's value, whatever its labels."""
        with urllib.request.urlopen(f"http://{self.addresses['metrics']}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return float(re.search(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)[1])

    def stop(self) -> None:
        """SIGTERM; exit code 0 within the promised time."""
        os.kill(self.process.pid, signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"still running {STOP_SECONDS} s after SIGTERM:\n{self.log[-4000:]}") from None
        assert code == 0, f"exit code {code} after SIGTERM:\n{self.log[-4000:]}"

    def kill9(self) -> None:
        """SIGKILL: no flush, no goodbye."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def restart(self) -> "Broker":
        """Stop in order and start again on the same data folder."""
        self.stop()
        return self.start()
