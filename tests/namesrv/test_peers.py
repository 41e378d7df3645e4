"""Apache RocketMQ's own broker and mqadmin with our name server. Needs Java, and RocketMQ's jars where the benchmarks
look for them ($PEERS_HOME/rocketmq/VERSION, by default under ~/.cache/peers)."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.clients.broker import until

HOME = Path(os.environ.get("PEERS_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "peers")
JARS = sorted(path.parent for path in HOME.glob("rocketmq/*/rocketmq-broker-*.jar"))
BOOT_SECONDS = 150  # of a virtual machine, on a busy one

pytestmark = [
    pytest.mark.skipif(not shutil.which("java"), reason="no java"),
    pytest.mark.skipif(not JARS, reason=f"no RocketMQ under {HOME}"),
    pytest.mark.timeout(600),
]


def java(folder, memory, *command):
    classpath = f"{JARS[-1]}/*"
    places = [f"-Duser.home={folder}", f"-Drocketmq.home.dir={folder}", f"-Drocketmq.log.dir={folder}/log"]
    return ["java", f"-Xmx{memory}", *places, "-cp", classpath, *command]


def free_port():
    """A port below the ephemeral ones for which the two beside it are free, too: the broker takes them."""
    for port in range(21011, 29000, 10):
        try:
            for each in (port - 2, port, port + 1):
                socket.create_server(("127.0.0.1", each)).close()
            return port
        except OSError:
            continue
    raise AssertionError("no free port")


@pytest.fixture
def cluster(start, tmp_path):
    """(our name server, mqadmin(*words) -> what it printed, the broker's port)."""
    server, port = start(), free_port()
    (tmp_path / "broker.conf").write_text(
        f"brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\nbrokerIP1=127.0.0.1\n"
        f"bindAddress=127.0.0.1\nnamesrvAddr=127.0.0.1:{server.port}\nlistenPort={port}\nhaListenPort={port + 1}\n"
        f"storePathRootDir={tmp_path}/store\nstorePathCommitLog={tmp_path}/store/commitlog\n"
        "mappedFileSizeCommitLog=16777216\ndiskMaxUsedSpaceRatio=97\n"
    )
    (tmp_path / "conf").mkdir()
    output = tmp_path / "broker.out"
    startup = ("org.apache.rocketmq.broker.BrokerStartup", "-c", str(tmp_path / "broker.conf"))
    with open(output, "wb") as out:
        direct = "-XX:MaxDirectMemorySize=512m"
        broker = subprocess.Popen(java(tmp_path, "512m", direct, *startup), stdout=out, stderr=out)

    def booted():
        assert broker.poll() is None, output.read_text()
        return "boot success" in output.read_text()

    def mqadmin(*words):
        main = "org.apache.rocketmq.tools.command.MQAdminStartup"
        done = java(tmp_path, "128m", main, *words, "-n", f"127.0.0.1:{server.port}")
        return subprocess.run(done, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120).stdout

    try:
        until(booted, BOOT_SECONDS, "the broker's boot line")
        yield server, mqadmin, port, broker
    finally:
        broker.terminate()
        try:
            broker.wait(30)
        except subprocess.TimeoutExpired:
            broker.kill()


def test_a_real_broker_registers_and_real_mqadmin_prints_what_it_prints_elsewhere(cluster):
    server, mqadmin, port, broker = cluster

    def printed(expected, *words):
        """What mqadmin prints, once it has that: it waits 3 s for an answer, which is little on a busy machine."""
        return until(lambda: (text := mqadmin(*words)) and re.search(expected, text) and text, 250, expected)

    created = f"create topic to 127.0.0.1:{port} success."
    printed(re.escape(created), "updateTopic", "-t", "MyTopic", "-c", "DefaultCluster", "-r", "4", "-w", "4")
    row = rf"DefaultCluster +broker-a +0 +127\.0\.0\.1:{port} +V\d_\d_\d "
    listed = printed(row, "clusterList")
    assert listed.startswith("#Cluster Name           #Broker Name            #BID  #Addr ")
    topics = printed(r"(?m)^MyTopic$", "topicList").split()
    assert {"TBW102", "DefaultCluster", "broker-a", "SCHEDULE_TOPIC_XXXX"} <= set(topics)
    route = printed("brokerDatas", "topicRoute", "-t", "MyTopic")
    assert re.sub(r"\s", "", route) == (
        f'{{"brokerDatas":[{{"brokerAddrs":{{0:"127.0.0.1:{port}"}},"brokerName":"broker-a",'
        '"cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":'
        '[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}'
    )
    wiped = f"wipe write perm of broker[broker-a] in name server[127.0.0.1:{server.port}] OK, {len(topics)}"
    printed(re.escape(wiped), "wipeWritePerm", "-b", "broker-a")
    printed("No topic route info in name server for the topic: Nope", "topicRoute", "-t", "Nope")
    broker.terminate()
    until(lambda: server.client().ask(206)[1] == b'{"topicList":[]}', 60, "the broker's farewell")
