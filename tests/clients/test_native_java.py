"""Apache RocketMQ's own Java client: a producer in all its ways, and a push consumer that gets it all."""

import subprocess
from pathlib import Path

import pytest

from tests.namesrv.test_peers import java
from tests.namesrv.test_peers import pytestmark as conditions

pytestmark = [*conditions, pytest.mark.ours]
PROGRAM = Path(__file__).with_name("Messages.java")


def test_a_java_program_sends_and_consumes(start_broker, tmp_path):
    broker = start_broker("rocketmq.brokerName=broker-a")
    line = java(tmp_path, "256m", str(PROGRAM), broker.addresses["namesrv"], "Orders")
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=150)
    said = done.stdout.splitlines()
    for way in ("sync", "async", "batch", "large", "delayed"):
        assert f"{way} SEND_OK" in said, done.stdout
    expected = "async 0,batch-1 0,batch-2 0,delayed 0,large 0,oneway 0,retried 1,sync 0"
    assert said[-2:] == ["all true", expected], done.stdout
