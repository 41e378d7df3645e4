"""Apache RocketMQ beside us, and its own load programs: both from the jars that ../shared/peers/install.sh unpacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench.broker import ROOT, Broker, StartError, accepts, end_group, free_ports
from tests.bench.session import LoadError

BROKER_CONF = """\
brokerClusterName=DefaultCluster
brokerName=broker-a
brokerId=0
brokerRole=ASYNC_MASTER
flushDiskType=ASYNC_FLUSH
brokerIP1=127.0.0.1
bindAddress=127.0.0.1
namesrvAddr=127.0.0.1:{namesrv}
listenPort={remoting}
haListenPort={ha}
autoCreateTopicEnable=true
autoCreateSubscriptionGroup=true
storePathRootDir={folder}/store
storePathCommitLog={folder}/store/commitlog
mappedFileSizeCommitLog=268435456
diskMaxUsedSpaceRatio=97
"""
NAMESRV_CONF = "listenPort={namesrv}\nbindAddress=127.0.0.1\nkvConfigPath={folder}/kv.json\n"
PROGRAMS = "org.apache.rocketmq.example.benchmark."
ASYNC = str(ROOT.parent / "shared" / "peers" / "load" / "RocketLoad.java")  # theirs bounds nothing, and all time out
READY_SECONDS = 40.0  # for a program to start, find its broker and send or take the first messages


def library() -> Path | None:
    """The folder of RocketMQ's jars, the newest; None when there is none."""
    if named := os.environ.get("CORDUROY_ROCKETMQ_LIB"):
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("PEERS_HOME") or cache / "peers")
    folders = sorted(each for each in (home / "rocketmq").glob("*") if any(each.glob("rocketmq-example-*.jar")))
    return folders[-1] if folders else None


def missing() -> str:
    """Why nothing of it can run here; empty when it can."""
    if shutil.which("java") is None:
        return "RocketMQ: java is not installed"
    return "" if library() else "RocketMQ is not installed: ../shared/peers/install.sh rocketmq"


class RocketMQ(Broker):
    """Apache's broker with 1 GiB of heap and G1, its defaults else (ASYNC_FLUSH: it answers before the disk has it);
    and a name server of its own, whose processor time is not counted."""

    name = "rocketmq"

    def missing(self) -> str:
        """Why it cannot be started here; empty when it can."""
        return missing()

    def _start(self) -> None:
        if reason := self.missing():
            raise StartError(reason)
        ports = dict(zip(("namesrv", "remoting", "ha"), free_ports(3), strict=True))
        folder = self.folder.resolve()
        (folder / "broker.conf").write_text(BROKER_CONF.format(folder=folder, **ports))
        (folder / "namesrv.conf").write_text(NAMESRV_CONF.format(folder=folder, **ports))
        names = self._java("namesrv.NamesrvStartup", "namesrv.conf", "256m")
        self._wait(names, partial(accepts, ports["namesrv"]))
        broker = self._java("broker.BrokerStartup", "broker.conf", "1g")
        log = folder / "java.log"
        self._wait(broker, lambda: accepts(ports["remoting"]) and log.read_bytes().count(b"boot success") >= 2)
        self.pid = broker.pid
        self.native, self.name_server = ("127.0.0.1", ports["remoting"]), f"127.0.0.1:{ports['namesrv']}"

    def _java(self, program: str, conf: str, heap: str) -> subprocess.Popen[bytes]:
        folder = self.folder.resolve()
        options = [f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=2g", f"-Duser.home={folder}"]
        options += [f"-Drocketmq.home.dir={folder}", f"-Drocketmq.log.dir={folder}/log", "-cp", f"{library()}/*"]
        return self._spawn(["java", *options, f"org.apache.rocketmq.{program}", "-c", str(folder / conf)])


@contextmanager
def program(*command: str, core: int | None) -> Iterator[subprocess.Popen[bytes]]:
    """A load program in Java, for as long as the context lasts: one of Apache's by its name, or a source file."""
    with tempfile.TemporaryDirectory() as home, open(Path(home) / "out", "wb") as out:
        java = ["java", "-Xmx768m", "-XX:+UseSerialGC", f"-Duser.home={home}", f"-Drocketmq.client.logRoot={home}"]
        java += ["-Dcom.rocketmq.remoting.clientAsyncSemaphoreValue=1000", "-cp", f"{library()}/*"]
        what = command[0] if command[0].endswith(".java") else PROGRAMS + command[0]
        process = subprocess.Popen(
            [*java, what, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
        try:
            yield process
            if process.poll() is not None:
                last = (Path(home) / "out").read_text(errors="replace").strip()[-300:]
                raise LoadError(f"{command[0]} ended with {process.returncode}: {last}")
        finally:
            end_group(process)


def wait_until(done: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float, what: str) -> None:
    """Ask done() ten times a second until it is true."""
    end = time.monotonic() + seconds
    while not done():
        if process.poll() is not None or time.monotonic() > end:
            raise LoadError(f"{what} in {seconds:.0f} s")
        time.sleep(0.1)
