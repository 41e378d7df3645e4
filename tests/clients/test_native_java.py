"""Apache RocketMQ's own Java client: a producer in all its ways, and a push consumer that gets it all."""

import subprocess
from pathlib import Path

import pytest

from tests.namesrv.test_peers import java
from tests.namesrv.test_peers import pytestmark as conditions

pytestmark = [*conditions, pytest.mark.ours]
PROGRAM = Path(__file__).with_name("Messages.java")


def test_a_java_program_sends_and_consumes(start_broker, tmp_path):
    broker = start_broker("rocketmq.brokerName=broker-a", "rocketmq.transactionTimeOut=1000")
    line = java(tmp_path, "256m", str(PROGRAM), broker.addresses["namesrv"], "Orders")
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=150)
    said = done.stdout.splitlines()
    states = ("COMMIT_MESSAGE", "ROLLBACK_MESSAGE", "UNKNOW")
    for way in ("sync", "async", "batch", "large", "delayed", "timed", *states):
        assert f"{way} SEND_OK" in said, done.stdout
    once = ["COMMIT_MESSAGE", "UNKNOW", "async", "batch-1", "batch-2", "delayed", "large", "oneway", "sync", "timed"]
    expected = sorted([*(f"{each} 0" for each in once), "retried 1"])
    assert said[-2:] == ["all true", ",".join(expected)], done.stdout
