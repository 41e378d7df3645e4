"""Apache RocketMQ as processes of one's own: name server and broker on free loopback ports, quick to retry."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from corduroy.client.remoting import DEFAULT_TOPIC, Remoting
from tests.clients.broker import until

PEERS = Path(
    os.environ.get("PEERS_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "peers"
)
START_SECONDS = 60
BROKER = {
    "brokerClusterName": "DefaultCluster",
    "brokerName": "broker-a",
    "brokerId": 0,
    "brokerRole": "ASYNC_MASTER",
    "flushDiskType": "ASYNC_FLUSH",
    "brokerIP1": "127.0.0.1",
    "bindAddress": "127.0.0.1",
    "autoCreateTopicEnable": "true",
    "autoCreateSubscriptionGroup": "true",
    "mappedFileSizeCommitLog": 64 << 20,
    "diskMaxUsedSpaceRatio": 99,
    "diskSpaceCleanForciblyRatio": "0.99",
    "diskSpaceWarningLevelRatio": "0.99",
    "registerNameServerPeriod": 10000,
    "waitTimeMillsInSendQueue": 20_000,  # 200 by default: a busy machine is told that the broker is
    "waitTimeMillsInAckQueue": 20_000,
    "waitTimeMillsInTransactionQueue": 20_000,
    "osPageCacheBusyTimeOutMills": 20_000,
    "enablePropertyFilter": "true",
    "recallMessageEnable": "true",
    "messageDelayLevel": "1s 2s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s",
    "transactionCheckInterval": 1000,
    "transactionTimeOut": 1000,
    "transactionOpBatchInterval": 200,
    "timerPrecisionMs": 100,
}
QUICK = list(BROKER)[list(BROKER).index("enablePropertyFilter") :]  # what the tests need of any broker


def library():
    """The folder of RocketMQ's jars, the newest; None if there is none."""
    if named := os.environ.get("CORDUROY_ROCKETMQ_LIB"):
        return Path(named)
    folders = sorted(each for each in (PEERS / "rocketmq").glob("*") if any(each.glob("rocketmq-broker-*.jar")))
    return folders[-1] if folders else None


def missing():
    """Why it cannot be started; empty if it can."""
    if not shutil.which("java"):
        return "no java"
    return "" if library() else "no jars of RocketMQ (CORDUROY_ROCKETMQ_LIB names their folder)"


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Apache:
    """start() and stop() it; clients are given `name_server`."""

    kind = "apache"

    def __init__(self, folder: Path):
        self._folder = folder
        self._processes = []
        namesrv, self.port, high_availability = free_ports(3)
        self.name_server = f"127.0.0.1:{namesrv}"
        store = folder / "store"
        self._write("namesrv.conf", listenPort=namesrv, bindAddress="127.0.0.1", kvConfigPath=folder / "kv.json")
        self._write(
            "broker.conf",
            **BROKER,
            listenPort=self.port,
            haListenPort=high_availability,
            namesrvAddr=self.name_server,
            storePathRootDir=store,
            storePathCommitLog=store / "commitlog",
        )

    def _write(self, name, **keys):
        (self._folder / name).write_text("".join(f"{key}={value}\n" for key, value in keys.items()))

    def _java(self, main, *options, heap):
        log = self._folder / f"{main.rpartition('.')[2]}.log"
        line = ["java", f"-Xms{heap}m", f"-Xmx{heap}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        line += [f"-Duser.home={self._folder}", f"-Drocketmq.home.dir={self._folder}", "-cp", f"{library()}/*", main]
        with open(log, "wb") as out:
            process = subprocess.Popen([*line, *options], stdout=out, stderr=out, start_new_session=True)
        self._processes.append(process)

        def booted():
            assert process.poll() is None, f"it ended with {process.returncode}: {log.read_text()}"
            return "boot success" in log.read_text()

        until(booted, START_SECONDS, f"{main} to boot")

    def start(self):
        """Both processes, and wait until they serve."""
        self._java("org.apache.rocketmq.namesrv.NamesrvStartup", "-c", self._folder / "namesrv.conf", heap=128)
        self.start_broker()
        return self

    def start_broker(self):
        """The broker, the first time or after kill_broker()."""
        self._java("org.apache.rocketmq.broker.BrokerStartup", "-c", self._folder / "broker.conf", heap=512)
        asyncio.run(self._registered())  # its first registration may time out; the next is 10 s later

    async def _registered(self):
        client = Remoting(self.name_server)
        await client.start()
        async with asyncio.timeout(START_SECONDS):
            while await client.route_if_there(DEFAULT_TOPIC) is None:
                await asyncio.sleep(0.1)
        await client.stop()

    def kill_broker(self):
        """End the broker at once."""
        process = self._processes.pop()
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self):
        """End both."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
