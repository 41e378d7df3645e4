"""Apache RocketMQ's own Java client as a push consumer that pops, by the mode that its group is set to."""

import subprocess
from pathlib import Path

import pytest

from protocols.remoting.codes import Request
from tests.clients.broker import until
from tests.clients.native import native
from tests.namesrv.test_peers import java
from tests.namesrv.test_peers import pytestmark as conditions

pytestmark = [*conditions, pytest.mark.ours]
PROGRAM = Path(__file__).with_name("PopMember.java")
QUEUES = 4  # of a topic that Java's producer makes


def behind(client):
    """How many messages the group has not acked."""
    found = 0
    for queue in range(QUEUES):
        fields = {"consumerGroup": "poppers", "topic": "Popped", "queueId": queue}
        most = int(client.ask(Request.GET_MAX_OFFSET, fields)[0]["extFields"]["offset"])
        found += most - int(client.ask(Request.QUERY_CONSUMER_OFFSET, fields)[0]["extFields"]["offset"])
    return found


def test_a_java_program_pops(start_broker, tmp_path):
    broker = start_broker("rocketmq.brokerName=broker-a")
    addresses = broker.addresses["namesrv"], broker.addresses["remoting"]
    line = java(tmp_path, "256m", str(PROGRAM), *addresses, "Popped")
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=150)
    said = done.stdout.splitlines()
    expected = ",".join(f"m{number} popped" for number in (0, 1, 2, 3, 4, 6, 7, 8, 9)) + ",waited popped"
    assert said[-3:] == ["there true", "waited true", expected], done.stdout
    client = native(broker)
    until(lambda: behind(client) == 0, 30, "everything is acked")
    client.close()
